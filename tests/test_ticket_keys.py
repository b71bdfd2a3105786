"""The keys of session tickets: as options, on servers, in rotation, and in the hands of forgers."""

import asyncio
import os
import pickle
from typing import Any

import pytest

import aiotls
from aiotls.constants import SSL_OP_NO_TICKET
from tests.conftest import Run
from tests.support.pairs import client_options, server_options, tcp_pair
from tests.support.servers import serving
from tests.support.sessions import (
    NEW,
    RENEWED,
    TIMEOUT,
    Visit,
    first_session,
    greet,
    number_of,
    open_ticket,
    ticket_of,
    visit,
    witness,
)

LENGTH = 48
CLIENTS = 5


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestOptions:
    """What may be asked for."""

    @pytest.mark.parametrize("limits", [{"max_version": "TLSv1.2"}, {}])
    @pytest.mark.parametrize("value", [-1, -100, -(2**31), 2**31, 1.5])
    def test_session_timeout_out_of_range(self, value: float, limits: dict[str, Any]) -> None:
        """SES-01: the error names the option, the range and what was given."""
        with pytest.raises(ValueError, match="session_timeout") as refusal:
            aiotls.create_server(**server_options(session_timeout=value, **limits))
        error = refusal.value
        assert isinstance(error, aiotls.OptionError)
        assert error.code == "ERR_OUT_OF_RANGE"
        assert ("an integer" if value == 1.5 else "0..2147483647") in error.message
        assert str(value) in error.message

    @pytest.mark.parametrize("value", [0, 1, 2**31 - 1])
    def test_session_timeout(self, run: Run, version: str, value: int) -> None:
        """SES-01: 0 is accepted, which leaves it to OpenSSL, and so is the largest one; the session has it."""

        async def main() -> None:
            key = os.urandom(LENGTH)
            options: dict[str, Any] = {"session_timeout": value, "ticket_keys": key, "max_version": version}
            async with serving(greet, **options) as server:
                session = await first_session(server)
                assert number_of(open_ticket(ticket_of(session), key), TIMEOUT) == (value or 7200)

        run(main)

    @pytest.mark.parametrize(
        "value",
        [None, 0, 1, 2**100, object(), {}, [], True, False, "", lambda: None],
        ids=lambda value: repr(value)[:9],
    )
    def test_set_ticket_keys_of_a_wrong_type(self, value: Any) -> None:
        """SES-02: ERR_INVALID_ARG_TYPE, and the old keys stay."""
        server = aiotls.create_server()
        before = server.get_ticket_keys()
        with pytest.raises(TypeError) as refusal:
            server.set_ticket_keys(value)
        assert isinstance(refusal.value, aiotls.OptionTypeError)
        assert refusal.value.code == "ERR_INVALID_ARG_TYPE"
        assert server.get_ticket_keys() == before

    @pytest.mark.parametrize("size", [0, 1, 2, 47, 49, 96])
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_set_ticket_keys_of_a_wrong_length(self, size: int, kind: Any) -> None:
        """SES-02: the message says how long they must be; the old keys stay."""
        server = aiotls.create_server()
        before = server.get_ticket_keys()
        with pytest.raises(ValueError, match=r"[Ss]ession ticket keys must be (exactly )?48 bytes") as refusal:
            server.set_ticket_keys(kind(bytes(size)))
        assert isinstance(refusal.value, aiotls.OptionError)
        assert refusal.value.code == "ERR_INVALID_ARG_VALUE"
        assert server.get_ticket_keys() == before

    @pytest.mark.parametrize("make", [aiotls.create_server, aiotls.create_secure_context])
    def test_ticket_keys_option(self, make: Any) -> None:
        """SES-02: the option is checked in the same way, by servers and contexts."""
        with pytest.raises(TypeError, match="ticket_keys") as refusal:
            make(ticket_keys="x" * LENGTH)
        assert refusal.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="ticket_keys") as wrong:
            make(ticket_keys=b"x")
        assert wrong.value.code == "ERR_INVALID_ARG_VALUE"  # type: ignore[attr-defined]
        assert "exactly 48 bytes" in wrong.value.message  # type: ignore[attr-defined]
        assert "1" in wrong.value.message.removeprefix("options.ticket_keys")  # type: ignore[attr-defined]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_get_and_set(self, kind: Any) -> None:
        first, second = os.urandom(LENGTH), os.urandom(LENGTH)
        server = aiotls.create_server(ticket_keys=kind(first))
        assert server.get_ticket_keys() == first
        assert type(server.get_ticket_keys()) is bytes
        server.set_ticket_keys(kind(second))
        assert server.get_ticket_keys() == second

    def test_every_server_has_keys_of_its_own(self) -> None:
        keys = {aiotls.create_server().get_ticket_keys() for _ in range(10)}
        assert len(keys) == 10
        assert all(len(each) == LENGTH for each in keys)

    def test_keys_are_not_shown(self) -> None:
        """No key in the words about servers, contexts, rings and errors (failure model 30)."""
        key = bytes(range(65, 65 + LENGTH))
        ring = aiotls.TicketKeyRing(key)
        shown = [repr(ring), str(ring), repr(aiotls.create_server(ticket_keys=key))]
        shown.append(repr(aiotls.create_secure_context(ticket_keys=key)))
        for wrong in (key[:-1], key.decode()):
            with pytest.raises(aiotls.OptionError) as refusal:
                aiotls.create_server(ticket_keys=wrong)  # type: ignore[arg-type]
            shown += [str(refusal.value), repr(refusal.value)]
        assert all("ABCDEF" not in text and key.hex()[:12] not in text for text in shown)


class TestRing:
    """`TicketKeyRing` by itself."""

    def test_keys(self) -> None:
        first, second, third = (os.urandom(LENGTH) for _ in range(3))
        ring = aiotls.TicketKeyRing(first, second)
        assert list(ring.keys) == [first, second]
        ring.rotate(third)
        assert list(ring.keys[:2]) == [third, first]
        ring.rotate()
        assert list(ring.keys[1:3]) == [third, first]
        assert len(ring.keys[0]) == LENGTH
        assert len(set(ring.keys)) == len(ring.keys)

    def test_random_keys(self) -> None:
        rings = [aiotls.TicketKeyRing() for _ in range(5)]
        assert len({ring.keys for ring in rings}) == 5
        assert {len(ring.keys) for ring in rings} == {1}

    def test_old_keys_are_forgotten(self) -> None:
        """However often it is rotated, a ring holds a few keys."""
        ring = aiotls.TicketKeyRing()
        first = ring.keys[0]
        for _ in range(100):
            ring.rotate()
        assert 2 <= len(ring.keys) <= 8
        assert first not in ring.keys

    @pytest.mark.parametrize("value", ["x" * LENGTH, 1, [], object()])
    def test_wrong_types(self, value: Any) -> None:
        for attempt in (
            lambda: aiotls.TicketKeyRing(value),
            lambda: aiotls.TicketKeyRing(None, value),
            lambda: aiotls.TicketKeyRing().rotate(value),
        ):
            with pytest.raises(aiotls.OptionTypeError):
                attempt()

    @pytest.mark.parametrize("size", [0, 47, 49])
    def test_wrong_lengths(self, size: int) -> None:
        ring = aiotls.TicketKeyRing()
        before = ring.keys
        for attempt in (
            lambda: aiotls.TicketKeyRing(bytes(size)),
            lambda: aiotls.TicketKeyRing(None, bytes(size)),
            lambda: ring.rotate(bytes(size)),
        ):
            with pytest.raises(aiotls.OptionError, match="48 bytes"):
                attempt()
        assert ring.keys == before

    def test_it_cannot_be_pickled(self) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(aiotls.TicketKeyRing())


class TestServers:
    """Which servers resume which tickets."""

    @pytest.mark.parametrize("version", ["default", "TLSv1.2"])
    def test_three_servers_in_rotation(self, run: Run, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """SES-05, SES-06: equal keys resume, random ones do not, restored ones do again."""
        if version != "default":
            monkeypatch.setattr(aiotls.defaults, "max_version", version)
        protocol = "TLSv1.3" if version == "default" else version
        shared = os.urandom(LENGTH)

        async def main() -> None:
            servers = [aiotls.create_server(greet, **server_options(ticket_keys=shared)) for _ in range(3)]
            assert [server.get_ticket_keys() for server in servers] == [shared] * 3
            protocols: set[str | None] = set()
            for server in servers:
                server.on("secure_connection", lambda tls: protocols.add(tls.get_protocol()))
            visits: list[Visit] = []
            first: bytes | None = None
            for turn in range(3):
                for server in servers:
                    near, far = await tcp_pair()
                    server.handle_connection(far)
                    seen = await witness(
                        aiotls.connect(socket=near, **client_options(session=first, allow_half_open=True))
                    )
                    first = first or seen.sessions[0]
                    if turn < 2:  # all tickets of this connection have come
                        server.set_ticket_keys(os.urandom(LENGTH) if turn == 0 else shared)
                    visits.append(seen)
            for server in servers:
                server.close_all_connections()
                server.close()
                await server.wait_closed()
            assert protocols == {protocol}
            check(visits)

        def check(visits: list[Visit]) -> None:
            assert [seen.reused for seen in visits] == [False, True, True, False, False, False, True, True, True]
            offered = visits[0].tickets[0]
            assert offered
            middle = []
            for seen in visits:
                assert len(seen.sessions) == (RENEWED if seen.reused else NEW)[protocol]
                if seen.reused:
                    assert seen.ticket_at_first == offered
                elif protocol == "TLSv1.3":
                    assert seen.ticket_at_first is None
                else:
                    assert seen.ticket_at_first == seen.tickets[0]
                if not seen.reused:
                    middle.append(seen.tickets[0])
            assert len(set(middle)) == 4

        run(main)

    def test_other_keys(self, run: Run, version: str) -> None:
        """By default every server has keys of its own, so nothing of one is of use to another."""

        async def main() -> None:
            async with serving(greet, max_version=version) as one, serving(greet, max_version=version) as two:
                session = await first_session(one)
                assert (await visit(two, session=session)).reused is False
                assert (await visit(one, session=session)).reused is True

        run(main)

    def test_restart(self, run: Run, version: str) -> None:
        """A server that is given the keys of the one before it takes its tickets."""

        async def main() -> None:
            keys: bytes | None = None
            session: bytes | None = None
            for reused in (False, True, True):
                async with serving(greet, max_version=version, ticket_keys=keys) as server:
                    keys = server.get_ticket_keys()
                    seen = await visit(server, session=session)
                    assert seen.reused is reused
                    session = seen.last

        run(main)

    def test_keys_are_those_of_later_connections(self, run: Run, version: str) -> None:
        """A connection that is under way keeps its keys; the next one has the new ones."""

        async def main() -> None:
            old, new = os.urandom(LENGTH), os.urandom(LENGTH)
            async with serving(greet, max_version=version, ticket_keys=old) as server:
                server.once("connection", lambda _: server.set_ticket_keys(new))
                seen = await visit(server)
                assert server.get_ticket_keys() == new
                assert ticket_of(seen.last)[:16] == old[:16]
                assert (await visit(server, session=seen.last)).reused is False
                session = await first_session(server)
                assert ticket_of(session)[:16] == new[:16]
                assert (await visit(server, session=session)).reused is True
                server.set_ticket_keys(old)
                assert (await visit(server, session=seen.last)).reused is True
                assert (await visit(server, session=session)).reused is False

        run(main)

    def test_set_secure_context_keeps_the_keys(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                keys = server.get_ticket_keys()
                session = await first_session(server)
                server.set_secure_context(**server_options(max_version=version))
                assert server.get_ticket_keys() == keys
                assert (await visit(server, session=session)).reused is True
                server.set_secure_context(**server_options(max_version=version, ticket_keys=bytes(LENGTH)))
                assert server.get_ticket_keys() == bytes(LENGTH)
                assert (await visit(server, session=session)).reused is False

        run(main)

    def test_keys_of_a_context(self, run: Run, version: str) -> None:
        """Servers that share a context share the keys that it was given."""

        async def main() -> None:
            key = os.urandom(LENGTH)
            context = aiotls.create_secure_context(**server_options(max_version=version, ticket_keys=key))
            session: bytes | None = None
            for reused in (False, True):
                async with aiotls.create_server(greet, secure_context=context) as server:
                    await server.listen(0, "127.0.0.1")
                    assert server.get_ticket_keys() == key
                    seen = await visit(server, session=session)
                    assert seen.reused is reused
                    session = seen.last

        run(main)

    def test_no_ticket(self, run: Run, version: str) -> None:
        """`SSL_OP_NO_TICKET`: no ticket, or one that holds nothing, and no resumption without a store."""

        async def main() -> None:
            key = os.urandom(LENGTH)
            options: dict[str, Any] = {"max_version": version, "ticket_keys": key}
            async with (
                serving(greet, **options) as usual,
                serving(greet, **options, secure_options=SSL_OP_NO_TICKET) as server,
            ):
                seen = await visit(server)
                assert seen.ticket is None if version == "TLSv1.2" else len(seen.ticket or b"") == 32
                for session in (seen.last, await first_session(usual)):
                    assert (await visit(server, session=session)).reused is False

        run(main)


class TestRotation:
    """A ring on servers."""

    def test_a_ticket_under_a_previous_key_is_renewed(self, run: Run, version: str) -> None:
        """SES-09: it resumes, and so does the one that the client then gets."""

        async def main() -> None:
            ring = aiotls.TicketKeyRing()
            async with serving(greet, max_version=version, ticket_keys=ring) as server:
                assert server.get_ticket_keys() == ring.keys[0]
                session = old = await first_session(server)
                for _ in range(6):
                    assert ticket_of(session)[:16] == ring.keys[0][:16]
                    ring.rotate()
                    assert server.get_ticket_keys() == ring.keys[0]
                    for _ in range(2):
                        seen = await visit(server, session=session)
                        assert (seen.reused, seen.authorized) == (True, True)
                    session = seen.last
                assert (await visit(server, session=old)).reused is False

        run(main)

    def test_servers_follow_their_ring(self, run: Run, version: str) -> None:
        """One ring for two servers, one of them by `set_ticket_keys`; and a server that has left it."""

        async def main() -> None:
            ring = aiotls.TicketKeyRing()
            async with (
                serving(greet, max_version=version, ticket_keys=ring) as one,
                serving(greet, max_version=version) as two,
            ):
                two.set_ticket_keys(ring)
                session = await first_session(one)
                assert (await visit(two, session=session)).reused is True
                ring.rotate()
                assert {one.get_ticket_keys(), two.get_ticket_keys()} == {ring.keys[0]}
                assert (await visit(two, session=session)).reused is True
                alone = os.urandom(LENGTH)
                two.set_ticket_keys(alone)
                ring.rotate()
                assert (one.get_ticket_keys(), two.get_ticket_keys()) == (ring.keys[0], alone)
                assert (await visit(two, session=session)).reused is False
                assert (await visit(one, session=session)).reused is True

        run(main)

    @pytest.mark.parametrize("way", ["ring", "set_ticket_keys"])
    def test_keys_change_under_load(self, run: Run, version: str, way: str) -> None:
        """Failure model 16: keys that change every 10 ms fail no handshake, and a ring resumes through it."""

        async def main() -> None:
            ring = aiotls.TicketKeyRing()
            resumed: list[bool | None] = []
            async with serving(greet, max_version=version, ticket_keys=ring) as server:
                errors: list[Any] = []
                server.on("tls_client_error", lambda error, _: errors.append(error))
                remaining = iter(range(1200))

                async def change() -> None:
                    turned = 0
                    while True:
                        await asyncio.sleep(0.01)
                        if way == "set_ticket_keys":
                            server.set_ticket_keys(os.urandom(LENGTH))
                        elif len(resumed) >= turned + CLIENTS:  # however slow the machine is
                            turned = len(resumed)
                            ring.rotate()

                async def client() -> None:
                    session: bytes | None = None
                    while next(remaining, None) is not None:
                        seen = await visit(server, session=session)
                        assert seen.authorized is True
                        session = seen.last
                        resumed.append(seen.reused)

                changing = asyncio.create_task(change())
                await asyncio.gather(*(client() for _ in range(CLIENTS)))
                changing.cancel()
                assert errors == []
                assert len(resumed) == 1200
                if way == "ring":
                    assert resumed.count(True) > 600
                session = await first_session(server)
                assert (await visit(server, session=session)).reused is True

        run(main)
