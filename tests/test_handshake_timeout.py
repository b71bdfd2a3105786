"""`handshake_timeout`: who does not finish its handshake is told of, and cut off, whether or not anybody listens."""

import asyncio
import contextlib
import socket as sockets
import ssl
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, MemoryDuplex, server_options, streams, tcp_pair, until
from tests.support.pki import named
from tests.support.servers import echo, port_of, serving, to

TIMEOUT = 0.25
"""Seconds."""


def client_hello(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What a client of Python's own ssl says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=named.ca.cert_pem.decode())
    context.minimum_version = context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


async def stall(server: aiotls.Server, words: bytes) -> bytes:
    """Says `words` and then nothing; returns what came before the server closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(words)
    try:
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("listen", [True, False], ids=["listener", "no-listener"])
@pytest.mark.parametrize("announce", [False, True], ids=["quiet", "announced"])
def test_stalled_at_every_prefix(run: Run, listen: bool, announce: bool) -> None:
    """F4, failure model 1: told of once each, and really closed, wherever the ClientHello stops."""

    async def main() -> None:
        hello = client_hello()
        lengths = [*range(12), 43, len(hello) // 2, len(hello) - 1, len(hello)]
        errors: list[tuple[Any, Any]] = []
        announced: list[Any] = []
        async with serving(echo, handshake_timeout=TIMEOUT) as server:
            if listen:
                server.on("tls_client_error", lambda *arguments: errors.append(arguments))
            if announce:
                server.on("connection", announced.append)
            answers = await asyncio.gather(*(stall(server, hello[:length]) for length in lengths))
            assert [bool(answer) for answer in answers] == [length == len(hello) for length in lengths]
            assert server.get_connections() == 0
            assert len(errors) == (len(lengths) if listen else 0)
            assert len({socket for _, socket in errors}) == len(errors)
            assert {error.code for error, _ in errors} <= {"ERR_TLS_HANDSHAKE_TIMEOUT"}
            assert all(isinstance(error, TimeoutError) for error, _ in errors)
            assert all(socket.destroyed and socket.server is server for _, socket in errors)
            assert len(announced) == (len(lengths) if announce else 0)
            async with to(server) as client:
                client.end(b"x")
                assert await client.read() == b"x"

    run(main)


def test_the_whole_handshake_counts(run: Run) -> None:
    """A client that says a byte now and then gets no more time than a silent one."""

    async def main() -> None:
        async with serving(handshake_timeout=TIMEOUT) as server:
            failed: asyncio.Future[Any] = asyncio.ensure_future(server.wait_for("tls_client_error"))
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))

            async def dribble() -> None:
                for byte in client_hello():
                    writer.write(bytes([byte]))
                    await asyncio.sleep(TIMEOUT / 10)

            dribbling = asyncio.create_task(dribble())
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            assert not dribbling.done()
            dribbling.cancel()
            error, _socket = await failed
            assert error.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            writer.close()

    run(main)


def test_the_handshake_is_all_that_counts(run: Run) -> None:
    """A connection that is secure may be silent for as long as it likes."""

    async def main() -> None:
        async with serving(echo, handshake_timeout=TIMEOUT) as server, to(server) as client:
            await stall(server, b"\x16")
            await stall(server, b"\x16")
            client.write(b"still here")
            assert await client.readexactly(10) == b"still here"

    run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_silent_after_the_server_has_spoken(run: Run, version: ssl.TLSVersion) -> None:
    """The flight of the server is out, and the Finished of the client never comes."""

    async def main() -> None:
        async with serving(handshake_timeout=TIMEOUT) as server:
            failed: asyncio.Future[Any] = asyncio.ensure_future(server.wait_for("tls_client_error"))
            answer = await stall(server, client_hello(version))
            assert answer[0] == 22, "a ServerHello"
            error, socket = await failed
            assert error.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            assert socket.get_protocol() is None
            assert server.get_connections() == 0

    run(main)


@pytest.mark.parametrize("kind", ["socketpair", "transport", "streams", "duplex", "tls-in-tls"])
def test_injected_connections(run: Run, kind: str) -> None:
    """It holds for `handle_connection` as well, and the stream below is closed."""

    async def main() -> None:
        async with streams(kind) as (near, far):
            server = aiotls.create_server(**server_options(handshake_timeout=TIMEOUT))
            failed: asyncio.Future[Any] = asyncio.ensure_future(server.wait_for("tls_client_error"))
            socket = server.handle_connection(far)
            error, told = await failed
            assert error.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            assert told is socket
            assert socket.destroyed
            if isinstance(near, MemoryDuplex):
                await far.closed.wait()
            server.close()
            await server.wait_closed()

    run(main)


def test_of_a_socket_without_a_server(run: Run) -> None:
    """The same for a `TLSSocket` on the server's side: whoever awaits is told."""

    async def main() -> None:
        near, far = await tcp_pair()
        with near:
            with pytest.raises(aiotls.HandshakeTimeout) as failure:
                await aiotls.TLSSocket(far, is_server=True, **server_options(handshake_timeout=TIMEOUT))
            assert failure.value.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            assert await asyncio.get_running_loop().sock_recv(_nonblocking(near), 1) == b""

    run(main)


def test_a_listener_that_destroys_the_socket_itself(run: Run) -> None:
    """What the documentation of other systems asks for does no harm here."""

    async def main() -> None:
        async with serving(handshake_timeout=TIMEOUT) as server:
            told: list[Any] = []

            def listener(error: Any, socket: aiotls.TLSSocket) -> None:
                told.append(error.code)
                socket.destroy()
                socket.destroy(error)

            server.on("tls_client_error", listener)
            assert await stall(server, b"\x16\x03") == b""
            assert told == ["ERR_TLS_HANDSHAKE_TIMEOUT"]
            assert server.get_connections() == 0

    run(main)


def test_a_handshake_that_is_just_in_time(run: Run) -> None:
    """The timer of one handshake is not that of another, and it ends with its own."""

    async def main() -> None:
        async with serving(echo, handshake_timeout=TIMEOUT) as server:
            errors: list[Any] = []
            server.on("tls_client_error", lambda error, _: errors.append(getattr(error, "code", None)))
            stalled = asyncio.create_task(stall(server, client_hello()[:50]))
            peers = []
            while not stalled.done():
                near = await _connected(server)
                peer = BarePeer.client(near)
                await peer.handshake()
                peers.append((near, peer))
                await asyncio.sleep(TIMEOUT / 10)
            assert errors == ["ERR_TLS_HANDSHAKE_TIMEOUT"]
            await until(lambda: server.get_connections() == len(peers))
            for near, peer in peers:
                await peer.write(b"x")
                assert await peer.read() == b"x"
                near.close()

    run(main)


async def _connected(server: aiotls.Server) -> sockets.socket:

    near = _nonblocking(sockets.socket())
    await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", port_of(server)))
    return near


def _nonblocking(near: sockets.socket) -> sockets.socket:
    near.setblocking(False)
    return near
