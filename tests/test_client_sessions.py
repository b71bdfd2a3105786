"""Sessions of a client: what tells of them, and what uses them."""

import random
from typing import Any

import pytest

import aiotls
from aiotls.constants import SSL_OP_NO_TICKET
from tests.conftest import Run
from tests.support.pairs import tls_pair
from tests.support.servers import serving, to
from tests.support.sessions import (
    NEW,
    RENEWED,
    WORDS,
    Store,
    first_session,
    greet,
    long_ago,
    ticket_of,
    visit,
    with_ticket,
)


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestTelling:
    """The event "session", `get_session` and `get_tls_ticket`."""

    def test_session_comes_after_secure_connect(self, run: Run) -> None:
        """SES-03: under TLS 1.2 once, and never before "secure_connect"."""

        async def main() -> None:
            events: list[str] = []
            async with serving(greet, secure_protocol="TLSv1_2_method") as server:
                client = to(server, allow_half_open=True)
                client.on("session", lambda _: events.append("session"))
                client.on("secure_connect", lambda: events.append("secure_connect"))
                async with client:
                    assert await client.read() == WORDS
                    assert events == ["secure_connect", "session"]

        run(main)

    def test_how_many(self, run: Run, version: str) -> None:
        """One for a full handshake under TLS 1.2, none when it is resumed; under TLS 1.3 two, and one."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                first = await visit(server)
                assert len(first.sessions) == NEW[version]
                assert len(set(first.sessions)) == NEW[version]
                again = await visit(server, session=first.sessions[0])
                assert again.reused is True
                assert len(again.sessions) == RENEWED[version]

        run(main)

    def test_get_session(self, run: Run, version: str) -> None:
        """None before the handshake and after the close; in between what the last "session" said."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                client = to(server, allow_half_open=True)
                assert client.get_session() is None
                assert client.get_tls_ticket() is None
                sessions: list[bytes] = []
                client.on("session", sessions.append)
                await client
                assert await client.read() == WORDS
                session = client.get_session()
                assert type(session) is bytes
                assert session == sessions[-1]
                assert client.get_tls_ticket() == ticket_of(session)
                client.close()
                await client.wait_closed()
                assert client.get_session() is None
                assert client.get_tls_ticket() is None

        run(main)

    def test_without_tickets(self, run: Run) -> None:
        """A TLS 1.2 session with an identifier has no ticket."""

        async def main() -> None:
            store = Store()
            async with serving(greet, max_version="TLSv1.2", secure_options=SSL_OP_NO_TICKET) as server:
                store.serve(server)
                first = await visit(server)
                again = await visit(server, session=first.last)
                assert (first.reused, again.reused) == (False, True)
                for seen in (first, again):
                    assert (seen.ticket_at_first, seen.ticket) == (None, None)

        run(main)

    def test_a_client_that_wants_no_tickets(self, run: Run) -> None:
        """`SSL_OP_NO_TICKET` of a client: TLS 1.2 goes without tickets, and there is nothing to resume."""

        async def main() -> None:
            async with serving(greet, max_version="TLSv1.2") as server:
                seen = await visit(server, secure_options=SSL_OP_NO_TICKET)
                assert seen.ticket is None
                again = await visit(server, secure_options=SSL_OP_NO_TICKET, session=seen.session)
                assert again.reused is False

        run(main)

    def test_a_server_has_no_ticket(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with tls_pair(server={"max_version": version}) as (near, far):
                far.write(b"x")
                assert await near.readexactly(1) == b"x"
                assert near.get_tls_ticket()
                assert far.get_tls_ticket() is None

        run(main)

    def test_secrets_stay_inside(self, run: Run, version: str) -> None:
        """No session in the words about a socket or an error (failure model 30)."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session = await first_session(server)
                client = to(server, session=session)
                async with client:
                    text = repr(client)
                with pytest.raises(aiotls.OptionError) as refusal:
                    to(server, session=session[:40])
                text += str(refusal.value) + repr(refusal.value)
                for secret in (session, session[:40], ticket_of(session)):
                    assert repr(secret)[2:-1] not in text
                    assert secret.hex() not in text

        run(main)


class TestUsing:
    """`session=` and `set_session`."""

    def test_session_option(self, run: Run, version: str) -> None:
        async def main() -> None:
            resumed: list[bool | None] = []
            async with serving(greet, max_version=version) as server:
                server.on("secure_connection", lambda tls: resumed.append(tls.is_session_reused()))
                first = await visit(server)
                for kind in (bytes, bytearray, memoryview):
                    seen = await visit(server, session=kind(first.last))
                    assert seen.reused is True
                    assert seen.authorized is True
                    assert seen.authorization_error is None
                    assert seen.peer == first.peer
            assert resumed == [False, True, True, True]

        run(main)

    def test_set_session(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session = await first_session(server)
                client = to(server)
                client.set_session(session)
                async with client:
                    assert client.is_session_reused() is True
                    assert await client.read() == WORDS

        run(main)

    def test_set_session_comes_too_late(self, run: Run, version: str) -> None:
        """A connection that is secure has its session already."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session = await first_session(server)
                async with to(server) as client:
                    with pytest.raises(aiotls.StateError):
                        client.set_session(session)
                    assert client.is_session_reused() is False
                    assert await client.read() == WORDS

        run(main)

    @pytest.mark.parametrize("value", ["text", 1, True, ["list"], object()])
    def test_wrong_types(self, run: Run, value: Any) -> None:
        async def main() -> None:
            async with serving(greet) as server:
                with pytest.raises(aiotls.OptionTypeError, match="session") as refusal:
                    to(server, session=value)
                assert refusal.value.code == "ERR_INVALID_ARG_TYPE"
                client = to(server)
                with pytest.raises(TypeError, match="session"):
                    client.set_session(value)
                async with client:
                    assert await client.read() == WORDS

        run(main)

    @pytest.mark.parametrize("value", [b"", b"garbage", bytes(5000)])
    def test_what_is_no_session(self, run: Run, value: bytes) -> None:
        """What no "session" event ever gave is refused at once."""

        async def main() -> None:
            async with serving(greet) as server:
                with pytest.raises(aiotls.OptionError, match="session"):
                    to(server, session=value)

        run(main)

    @pytest.mark.parametrize("name", [b"\xffocalhost", b"l\xc3calhost"])
    def test_a_name_that_is_no_text(self, run: Run, name: bytes) -> None:
        """A session whose name has suffered is refused like any other garbage."""

        async def main() -> None:
            async with serving(greet) as server:
                session = await first_session(server)
                with pytest.raises(aiotls.OptionError, match="session"):
                    to(server, session=session.replace(b"localhost", name, 1))

        run(main)

    def test_another_version(self, run: Run) -> None:
        """A session of TLS 1.2 is of no use to a server of TLS 1.3, nor the other way round."""

        async def main() -> None:
            async with (
                serving(greet, max_version="TLSv1.2", ticket_keys=bytes(48)) as old,
                serving(greet, min_version="TLSv1.3", ticket_keys=bytes(48)) as new,
            ):
                sessions = {old: await first_session(old), new: await first_session(new)}
                for server, other in ((old, new), (new, old)):
                    seen = await visit(server, session=sessions[other])
                    assert seen.reused is False
                    assert seen.authorized is True
                    assert (await visit(server, session=sessions[server])).reused is True

        run(main)

    def test_expired_in_the_hands_of_the_client(self, run: Run, version: str) -> None:
        """The server decides; a client that has kept a session for long just connects."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session = await first_session(server)
                seen = await visit(server, session=long_ago(session))
                assert seen.authorized is True

        run(main)

    def test_flipped_bits(self, run: Run, version: str) -> None:
        """A session that has suffered is no danger: the client connects, or says why not."""

        async def main() -> None:
            choice = random.Random(15)
            async with serving(greet, max_version=version) as server:
                first = await visit(server)
                for _ in range(150):
                    damaged = bytearray(first.last)
                    damaged[choice.randrange(len(damaged))] ^= 1 << choice.randrange(8)
                    try:
                        seen = await visit(server, session=damaged)
                    except aiotls.TLSError:
                        continue
                    assert seen.reused is not None

        run(main)

    def test_a_ticket_of_any_length(self, run: Run, version: str) -> None:
        """A forged ticket means a full handshake, however long it is."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session = await first_session(server)
                for size in (1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 200, 1000, 10_000):
                    seen = await visit(server, session=with_ticket(session, bytes(size)))
                    assert seen.reused is False
                    assert seen.authorized is True

        run(main)
