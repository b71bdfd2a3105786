"""Failure model 20: cancellation at every await point leaves no descriptor, no task and no half handshake.

Each test runs something again and again, cancelled at its first step, at its second, and so on to its end.
"""

import asyncio
import contextlib
import functools
import gc
import socket
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

import aiotls
from aiotls.constants import SSL_OP_NO_TICKET
from tests.conftest import Run, open_descriptors
from tests.support.cancelling import MOMENTS, Cancelled, Stepped
from tests.support.pairs import KINDS, client_options, gone, server_options, streams, until
from tests.support.pki import named
from tests.support.servers import echo, port_of, serving, to
from tests.support.stages import VERSIONS

BULK = bytes(range(256)) * 400
"""100 KiB: what every stream takes before anybody reads."""

by_version = pytest.mark.parametrize("version", VERSIONS)
by_moment = pytest.mark.parametrize("moment", MOMENTS)


class Traces:
    """What a cancelled task must not leave behind."""

    def __init__(self) -> None:
        self.tasks = asyncio.all_tasks()
        self.descriptors = open_sockets()
        self.connections = connections()
        self.sockets: list[weakref.ref[aiotls.TLSSocket]] = []

    def follow(self, tls: aiotls.TLSSocket) -> aiotls.TLSSocket:
        self.sockets.append(weakref.ref(tls))
        return tls

    async def vanish(self) -> None:
        """Waits until neither tasks nor descriptors are left."""
        async with asyncio.timeout(2):
            await until(lambda: asyncio.all_tasks() <= self.tasks)
            await until(lambda: not open_sockets() - self.descriptors)
        assert all(tls is None or tls.destroyed for tls in (each() for each in self.sockets))

    def forgotten(self) -> None:
        """Sees that nothing keeps a socket or its connection; to be asked when all is over."""
        gc.collect()
        assert [each() for each in self.sockets if each() is not None] == []
        assert connections() <= self.connections


def open_sockets() -> Counter[str]:
    """A loop may open something else with its first transport, and keep it."""
    return Counter({name: count for name, count in open_descriptors().items() if name.startswith("socket:")})


def connections() -> int:
    gc.collect()
    return sum(isinstance(each, aiotls.Connection) for each in gc.get_objects())


async def serves(server: aiotls.Server) -> None:
    """Sees that the server has let everybody go, and serves the next client."""
    async with asyncio.timeout(2):
        await until(lambda: not server.get_connections())
        async with to(server) as client:
            client.end(b"next")
            assert await client.read() == b"next"
        await until(lambda: not server.get_connections())


# ---- a client


async def look_up(*_: Any) -> list[str]:
    await asyncio.sleep(0)
    return ["127.0.0.1"]


async def look_up_two(*_: Any) -> list[str]:
    """Nobody listens on the first one."""
    await asyncio.sleep(0)
    return ["::1", "127.0.0.1"]


async def check(*_: Any) -> None:
    await asyncio.sleep(0)


def pass_back(tls: aiotls.TLSSocket) -> None:
    """The same as `echo`, by a pipe; nobody awaits that could be told of a client that has gone."""
    tls.on("error", lambda _: None).pipe(tls)


async def use(client: aiotls.TLSSocket, version: str, *, ends: bool = True) -> None:
    """Everything that a client may wait for; without an end of its own, leaving the block is one."""
    async with client:
        if not client.write(BULK):
            await client.wait_for("drain")
        assert await client.readexactly(len(BULK)) == BULK
        if version == "TLSv1.2":
            await client.renegotiate()
        client.write(b"one\ntwo\nthree")
        await client.drain()
        assert await client.readline() == b"one\n"
        assert await client.readuntil(b"\n") == b"two\n"
        assert await client.read(5) == b"three"
        if ends:
            client.end()
            async for _ in client:
                pass
    await client.wait_closed()


@by_moment
@by_version
@pytest.mark.parametrize(("lookup", "listener", "ends"), [(look_up, echo, True), (look_up_two, pass_back, False)])
def test_a_client_that_dials(run: Run, lookup: Any, listener: Any, ends: bool, version: str, moment: str) -> None:
    """Failure model 20: look-up, connect, handshake, check, data, renegotiation, end; and the next client is served."""

    async def main() -> None:
        async with serving(listener, max_version=version) as server:
            await serves(server)
            traces, cancelled = Traces(), Cancelled(moment)
            async for step in cancelled:
                options = client_options(lookup=lookup, check_server_identity=check, high_water_mark=1000)
                client = aiotls.connect("server.test", port_of(server), **options)
                assert await cancelled.run(use(traces.follow(client), version, ends=ends)) or step > 4
                assert client.destroyed
                del client
                await traces.vanish()
                await serves(server)
            traces.forgotten()

    run(main)


@by_moment
@by_version
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_over_every_stream(run: Run, kind: str, version: str, moment: str) -> None:
    """Failure model 20: what carries the connection is closed, or given back, whatever it is."""

    async def main() -> None:
        async with serving(echo, max_version=version) as server:
            await serves(server)
            traces, cancelled = Traces(), Cancelled(moment)
            async for _ in cancelled:
                async with streams(kind) as (near, far):
                    server.handle_connection(far)
                    client = aiotls.connect(socket=near, **client_options(check_server_identity=check))
                    await cancelled.run(use(traces.follow(client), version))
                    assert client.destroyed
                    await until(lambda: not server.get_connections())
                del client
                await traces.vanish()
            await serves(server)

    run(main)


@by_moment
@by_version
def test_waiting_for_a_connection(run: Run, version: str, moment: str) -> None:
    """Failure model 20: a task that only awaits the connection takes it along when it is cancelled."""

    async def main() -> None:
        async with serving(echo, max_version=version) as server:
            await serves(server)
            traces, cancelled = Traces(), Cancelled(moment)
            async for _ in cancelled:
                client = traces.follow(to(server, lookup=look_up, check_server_identity=check))
                assert await cancelled.run(entered(client)) is client.destroyed
                await gone(client)
                await traces.vanish()
                await serves(server)

    run(main)


async def entered(client: aiotls.TLSSocket) -> None:
    assert await client is client


@by_moment
@by_version
def test_a_client_that_nobody_answers(run: Run, version: str, moment: str) -> None:
    """Failure model 20: in the midst of a handshake that does not go on, or has just failed; the peer sees an end."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        traces, cancelled = Traces(), Cancelled(moment)
        async with streams("tcp") as (near, far):
            far.setblocking(False)
            client = traces.follow(aiotls.connect(socket=near, **client_options(max_version=version)))
            task = asyncio.ensure_future(cancelled.run(use(client, version)))
            assert await loop.sock_recv(far, 1) == b"\x16"
            if moment == "woken":
                far.shutdown(socket.SHUT_WR)
            assert await task
            with contextlib.suppress(ConnectionResetError):
                while await loop.sock_recv(far, 65536):
                    pass
        await traces.vanish()

    run(main)


# ---- a server


@by_moment
@by_version
def test_a_server(run: Run, version: str, moment: str) -> None:
    """Failure model 20: listening, serving and closing; the port is free again, and its client sees an end."""

    async def main() -> None:
        traces, cancelled = Traces(), Cancelled(moment)
        clients: list[aiotls.TLSSocket] = []

        async def serve(port: int) -> None:
            async with aiotls.create_server(echo, **options) as server:
                await server.listen(port, "127.0.0.1")
                client = traces.follow(to(server, allow_half_open=True))
                clients.append(client)
                await client
                client.write(b"there")
                assert await client.readexactly(5) == b"there"
                asyncio.get_running_loop().call_soon(server.close)
                asyncio.get_running_loop().call_soon(client.end)
                await server.serve_forever()
            await server.wait_closed()

        options = server_options(max_version=version)
        async with serving() as probe:
            port = port_of(probe)
        async for _ in cancelled:
            await cancelled.run(serve(port))
            for client in clients:
                with contextlib.suppress(aiotls.TLSError):
                    async with asyncio.timeout(2):
                        assert await client.read() in (b"", b"there")
                await gone(client)
            clients.clear()
            await traces.vanish()

    run(main)


async def talk(tls: aiotls.TLSSocket, version: str) -> None:
    """Everything that a listener of "secure_connection" may wait for."""
    assert await tls.readline() == b"hello\n"
    tls.write(BULK)
    await tls.drain()
    if version == "TLSv1.2":
        await tls.renegotiate()
    assert await tls.readexactly(len(BULK)) == BULK
    tls.end()
    async for _ in tls:
        pass
    await tls.wait_closed()


async def listen(client: aiotls.TLSSocket) -> bytes:
    """The other side of `talk`; what it got when it saw the end."""
    async with client:
        client.write(b"hello\n" + BULK)
        received = await client.read()
        client.end()
        return received


@by_moment
@by_version
def test_a_listener(run: Run, version: str, moment: str) -> None:
    """Failure model 20: a cancelled listener takes its connection with it, and the client sees the end."""

    async def main() -> None:
        stepped: list[Stepped] = []

        def secure(tls: aiotls.TLSSocket) -> Any:
            if tls.servername != "www.example.com":
                return echo(tls)
            stepped.append(cancelled.stepped(talk(traces.follow(tls), version)))
            return stepped[-1]

        async with serving(secure, max_version=version) as server:
            await serves(server)
            traces, cancelled = Traces(), Cancelled(moment)
            async for _ in cancelled:
                client = traces.follow(to(server, servername="www.example.com"))
                received = b""
                with contextlib.suppress(aiotls.ConnectionLost):
                    received = await listen(client)
                assert received in (BULK, BULK[: len(received)])
                await gone(client)
                cancelled.note(stepped.pop())
                assert stepped == []
                await traces.vanish()
                await serves(server)
            assert received == BULK
            del client
            traces.forgotten()

    run(main)


@by_moment
@by_version
@pytest.mark.parametrize("kind", ["tcp", "duplex"])
def test_a_server_of_one_connection(run: Run, kind: str, version: str, moment: str) -> None:
    """Failure model 20: a stream that a server's socket was made for ends with it, and the client sees that."""

    async def main() -> None:
        async def serve(tls: aiotls.TLSSocket) -> None:
            async with tls:
                await talk(tls, version)

        traces, cancelled = Traces(), Cancelled(moment)
        async for _ in cancelled:
            async with streams(kind) as (near, far):
                server = aiotls.TLSSocket(far, is_server=True, **server_options(max_version=version))
                client = aiotls.connect(socket=near, **client_options())
                serving = asyncio.ensure_future(cancelled.run(serve(traces.follow(server))))
                with contextlib.suppress(aiotls.ConnectionLost):
                    await listen(traces.follow(client))
                await serving
                await gone(client)
            del server, client, serving
            await traces.vanish()

    run(main)


@by_moment
@by_version
def test_a_listener_of_a_socket(run: Run, version: str, moment: str) -> None:
    """Failure model 20: a listener of the socket's own events takes its connection with it too."""

    async def main() -> None:
        async with serving(echo, max_version=version) as server:
            await serves(server)
            traces, cancelled = Traces(), Cancelled(moment)
            async for _ in cancelled:
                client = traces.follow(to(server))
                stepped = cancelled.stepped(spoken(client))
                client.once("secure_connect", functools.partial(returned, stepped))
                assert await client.wait_for("close") is False
                cancelled.note(stepped)
                del client, stepped
                await traces.vanish()
                await serves(server)
            traces.forgotten()

    run(main)


def returned(coroutine: Stepped) -> Stepped:
    return coroutine


async def spoken(client: aiotls.TLSSocket) -> None:
    client.write(BULK)
    await client.drain()
    assert await client.readexactly(len(BULK)) == BULK
    client.end()
    assert await client.read() == b""


# ---- those who answer the questions of a handshake

Asked = Callable[..., Any]


@contextlib.asynccontextmanager
async def asking(question: Any, version: str, answer: Asked) -> AsyncIterator[tuple[aiotls.Server, dict[str, Any]]]:
    """A server and the options of its client, where `answer` answers a question."""
    by_server = question in ("sni_callback", "alpn_callback", "check_client_identity")
    options: dict[str, Any] = {question: answer} if by_server else {}
    if question == "check_client_identity":
        options |= {"request_cert": True, "ca": named.ca.cert_pem}
    if question in ("new_session", "resume_session"):
        options["secure_options"] = SSL_OP_NO_TICKET
    client: dict[str, Any] = {"alpn_protocols": ["echo"], "request_ocsp": True}
    if question == "check_client_identity":
        client |= {"cert": named.client_ec.chain_pem, "key": named.client_ec.key_pem}
    async with serving(echo, max_version=version, **options) as server:
        if question == "resume_session":
            sessions: list[bytes] = []
            server.on("new_session", lambda *_: None)
            async with to(server).on("session", sessions.append) as first:
                first.end(b"x")
                await first.read()
            client["session"] = sessions[-1]
        if question in ("new_session", "resume_session", "ocsp_request"):
            listeners: Any = server
            listeners.on(question, answer)
        elif not by_server:
            client[question] = answer
        yield server, client


ANSWERS: dict[str, Any] = {
    "lookup": "127.0.0.1",
    "check_server_identity": None,
    "sni_callback": None,
    "alpn_callback": "echo",
    "check_client_identity": None,
    "new_session": None,
    "resume_session": None,
    "ocsp_request": None,
}


@by_version
@pytest.mark.parametrize("question", ANSWERS)
def test_whoever_is_asked(run: Run, question: str, version: str) -> None:
    """Failure model 20: an answer that is cancelled is no consent: nobody is let in, and the next one is served."""

    async def main() -> None:
        asked: list[Stepped] = []
        secure: list[aiotls.TLSSocket] = []

        async def answer() -> Any:
            for _ in range(3):
                await asyncio.sleep(0)
            return ANSWERS[question]

        def ask(*_: Any) -> Coroutine[Any, Any, Any]:
            asked.append(cancelled.stepped(answer()))
            return asked[-1]

        cancelled = Cancelled("waiting")
        async with asking(question, version, ask) as (server, options):
            server.on("secure_connection", secure.append)
            traces = Traces()
            async for _ in cancelled:
                chosen = client_options(**{"lookup": look_up, **options})
                client = aiotls.connect("server.test", port_of(server), **chosen)
                answered = b""
                with contextlib.suppress(aiotls.TLSError):
                    async with client:
                        client.end(b"x")
                        answered = await client.read()
                assert asked
                cancelled.note(asked[0])
                assert answered == (b"" if asked[0].reached else b"x")
                assert len(secure) == (0 if asked[0].reached else 1)
                asked.clear()
                await until(lambda: not server.get_connections())
                await traces.vanish()
            assert cancelled.step == 5

    run(main)
