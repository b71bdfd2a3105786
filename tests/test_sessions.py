"""Sessions that a server keeps: "new_session" and "resume_session", and answers of every kind."""

import asyncio
import socket
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import client_options, until
from tests.support.pki import Named
from tests.support.servers import echo, port_of, serving, to
from tests.support.sessions import (
    NEW,
    RENEWED,
    TIMEOUT,
    WORDS,
    Store,
    first_session,
    greet,
    keeping,
    number_of,
    turns,
    visit,
    witness,
)

INTERNAL_ERROR = 80


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def patiently(request: pytest.FixtureRequest) -> bool:
    """Whether the store answers some turns of the loop later."""
    return bool(request.param == "async")


class TestKeeping:
    """Sessions are given to the application, and found again."""

    def test_kept_and_found(self, run: Run, version: str, patiently: bool) -> None:
        async def main() -> None:
            store = Store()
            resumed: list[bool | None] = []
            async with keeping(version) as server:
                store.serve(server, patiently=patiently)
                server.on("secure_connection", lambda tls: resumed.append(tls.is_session_reused()))
                session = await first_session(server)
                assert len(store.made) == len(store.sessions) == NEW[version]
                assert store.found == []
                assert all(len(each) == 32 and each in data for each, data in store.sessions.items())
                known = set(store.sessions)
                for visits in (1, 2):
                    seen = await visit(server, session=session)
                    assert seen.reused is True
                    assert seen.authorized is True
                    assert len(store.found) == visits
                    assert set(store.found) <= known
                    assert len(store.made) == NEW[version] + visits * RENEWED[version]
                assert resumed == [False, True, True]

        run(main)

    def test_each_session_of_a_chain(self, run: Run, version: str) -> None:
        """Every connection resumes what the one before it got, and never the same TLS 1.3 ticket twice."""

        async def main() -> None:
            store = Store()
            async with keeping(version) as server:
                store.serve(server)
                session = await first_session(server)
                for _ in range(4):
                    seen = await visit(server, session=session)
                    assert seen.reused is True
                    session = seen.last
                assert len(store.found) == 4
                assert len(set(store.found)) == (4 if version == "TLSv1.3" else 1)

        run(main)

    def test_a_ticket_needs_no_store(self, run: Run, version: str) -> None:
        """A TLS 1.3 ticket is told, a TLS 1.2 one is not; nobody is asked for either, and both resume."""

        async def main() -> None:
            store = Store()
            async with serving(greet, max_version=version) as server:
                store.serve(server)
                session = await first_session(server)
                made = NEW[version] if version == "TLSv1.3" else 0
                assert len(set(store.made)) == made
                asked = len(store.asked)
                assert (await visit(server, session=session)).reused is True
                assert len(set(store.made)) == made + RENEWED[version]
                assert len(store.asked) == asked

        run(main)

    def test_without_listeners_nothing_is_kept(self, run: Run, version: str) -> None:
        """Without tickets and without a store, every handshake is a full one."""

        async def main() -> None:
            async with keeping(version) as server:
                seen = await visit(server)
                for _ in range(2):
                    seen = await visit(server, session=seen.last)
                    assert seen.reused is False

        run(main)

    def test_a_store_of_several_servers(self, run: Run, version: str) -> None:
        """A session of one server is resumed by another one that asks the same store."""

        async def main() -> None:
            store = Store()
            async with keeping(version) as first, keeping(version) as second:
                store.serve(first)
                store.serve(second, patiently=True)
                seen = await visit(second, session=await first_session(first))
                assert seen.reused is True

        run(main)

    def test_session_timeout_goes_with_the_session(self, run: Run, version: str) -> None:
        async def main() -> None:
            store = Store()
            async with keeping(version, session_timeout=77) as server:
                store.serve(server)
                await first_session(server)
            assert {number_of(data, TIMEOUT) for data in store.sessions.values()} == {77}

        run(main)

    def test_client_certificate(self, run: Run, pki: Named, version: str, patiently: bool) -> None:
        """The certificate that a client showed goes with its session; so does the verdict on it."""

        async def main() -> None:
            store = Store()
            seen: list[tuple[Any, ...]] = []

            def note(tls: aiotls.TLSSocket) -> None:
                certificate = tls.get_peer_certificate()
                assert certificate is not None
                seen.append((tls.is_session_reused(), tls.authorized, certificate.raw))

            own = {"cert": pki.client_ec.chain_pem, "key": pki.client_ec.key_pem}
            async with keeping(version, request_cert=True, ca=pki.ca.cert_pem) as server:
                server.on("secure_connection", note)
                store.serve(server, patiently=patiently)
                session = await first_session(server, **own)
                assert (await visit(server, session=session, **own)).reused is True
            assert seen == [(False, True, pki.client_ec.der), (True, True, pki.client_ec.der)]

        run(main)

    def test_listeners_count_for_later_connections(self, run: Run, version: str) -> None:
        """What is added during a connection is not asked about it."""

        async def main() -> None:
            store = Store()
            accepted = asyncio.Event()
            async with keeping(version) as server:
                server.on("connection", lambda _: accepted.set())
                with socket.create_connection(("127.0.0.1", port_of(server))) as below:
                    await accepted.wait()
                    store.serve(server)
                    await witness(aiotls.connect(socket=below, **client_options(allow_half_open=True)))
                assert store.made == []
                await first_session(server)
                assert len(store.made) == NEW[version]

        run(main)


class TestWaiting:
    """Nothing flows before "new_session" is answered."""

    def test_data_flows_only_after_the_answer(self, run: Run, version: str) -> None:
        async def main() -> None:
            gates = [asyncio.Event(), asyncio.Event()]
            held: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            secured: list[aiotls.TLSSocket] = []
            told: list[str] = []

            async def first(session_id: bytes, _data: bytes) -> None:
                if not held.done():
                    held.set_result(session_id)
                    await gates[0].wait()
                    told.append("first")

            async def last(session_id: bytes, _data: bytes) -> None:
                if session_id == await held:
                    await gates[1].wait()
                    told.append("last")

            async with keeping(version, echo) as server:
                server.on("secure_connection", secured.append)
                server.on("new_session", first)
                server.on("new_session", lambda _id, _data: None)
                server.on("new_session", last)
                client = to(server)
                client.end(b"question")
                answer = asyncio.create_task(client.read())
                await held
                for gate in gates:
                    # A whole connection of somebody else passes meanwhile.
                    async with to(server) as other:
                        other.end(b"x")
                        assert await other.read() == b"x"
                    assert not answer.done()
                    assert client.bytes_read == 0
                    assert all(tls.remote_port != client.local_port for tls in secured)
                    gate.set()
                assert await answer == b"question"
                assert told == ["first", "last"]
                assert len(secured) == 3
                await client.wait_closed()

        run(main)

    def test_an_end_before_the_answer(self, run: Run, version: str) -> None:
        """SES-04: what the server said and its close_notify follow the held flight."""

        async def main() -> None:
            sockets: list[aiotls.TLSSocket] = []
            ended = asyncio.Event()
            gate = asyncio.Event()

            async def new_session(_id: bytes, _data: bytes) -> None:
                if not ended.is_set():
                    (tls,) = sockets
                    tls.end(WORDS)
                    ended.set()
                await gate.wait()

            async with keeping(version, None) as server:
                server.on("connection", sockets.append).on("new_session", new_session)
                client = to(server, require_close_notify=True)
                words = asyncio.create_task(client.read())
                await ended.wait()
                await turns()
                assert not words.done()
                gate.set()
                assert await words == WORDS
                assert not client.truncated
                await client.wait_closed()

        run(main)

    def test_an_end_in_the_listener_for_secure_connections(self, run: Run, version: str) -> None:
        """SES-04: with an answer that comes late, it reaches the client as close_notify all the same."""

        async def main() -> None:
            store = Store()
            async with keeping(version, lambda tls: tls.end()) as server:
                store.serve(server, patiently=True)
                async with to(server, require_close_notify=True) as client:
                    assert await client.read() == b""
                    assert not client.truncated

        run(main)

    @pytest.mark.parametrize("event", ["new_session", "resume_session"])
    def test_no_answer(self, run: Run, version: str, event: Any) -> None:
        """Failure model 19: `handshake_timeout` ends a connection whose question nobody answers."""

        async def main() -> None:
            store = Store()
            never = asyncio.Event()
            errors: list[Any] = []
            async with keeping(version, handshake_timeout=0.3) as server:
                server.on("tls_client_error", lambda error, _: errors.append(error))
                store.serve(server)
                session = await first_session(server)
                server.on(event, lambda *_: never.wait())
                if event == "resume_session":
                    store.sessions.clear()
                client = to(server, session=None if event == "new_session" else session)
                with pytest.raises((aiotls.TLSError, asyncio.IncompleteReadError)):
                    await client.readexactly(1)
                await until(lambda: errors)
                assert [error.code for error in errors] == ["ERR_TLS_HANDSHAKE_TIMEOUT"]
                assert server.get_connections() == 0
                await client.wait_closed()

        run(main)

    @pytest.mark.parametrize("event", ["new_session", "resume_session"])
    def test_a_client_that_does_not_wait(self, run: Run, version: str, event: Any) -> None:
        """Failure model 19: the answer comes when the client has gone, and harms nobody."""

        async def main() -> None:
            store = Store()
            asked, gate = asyncio.Event(), asyncio.Event()
            errors: list[Any] = []

            async def slow(*_: bytes) -> None:
                asked.set()
                await gate.wait()

            def secure(tls: aiotls.TLSSocket) -> None:
                tls.on("error", errors.append)
                tls.end(WORDS)

            async with keeping(version, secure) as server:
                server.on("tls_client_error", lambda error, _: errors.append(error))
                store.serve(server)
                session = await first_session(server)
                store.sessions.clear()
                server.on(event, slow)
                client = to(server, session=session if event == "resume_session" else None)
                await asked.wait()
                client.destroy()
                await client.wait_closed()
                gate.set()
                assert (await visit(server)).reused is False
                await until(lambda: server.get_connections() == 0)
                if event == "resume_session":
                    assert [error.code for error in errors] == ["ECONNRESET"]
                else:  # whose handshake was done, but for what the server had held back
                    assert len(errors) <= 1

        run(main)
