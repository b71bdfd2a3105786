"""Streams that did something else before TLS took them over, and streams that are taken away under it."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import (
    BarePeer,
    MemoryDuplex,
    client_options,
    gone,
    server_options,
    tcp_pair,
    tls_pair,
    until,
)
from tests.support.servers import echo, port_of


def test_a_client_hello_that_waits(run: Run) -> None:
    """WRAP-10: the accepted socket is wrapped only when the ClientHello is already there."""

    async def main() -> None:
        near, far = await tcp_pair()
        client = aiotls.connect(socket=near, **client_options())
        await until(lambda: _peek(far))
        server = aiotls.TLSSocket(far, is_server=True, **server_options())
        await asyncio.gather(client, server)
        client.end(b"hello world")
        assert await server.read() == b"hello world"
        await gone(client, server)

    run(main)


@pytest.mark.parametrize("data", [b"*" * 1024, b"GET / HTTP/1.0\r\n\r\n"])
def test_junk_that_waits(run: Run, data: bytes) -> None:
    """WRAP-11: an error, "close" with had_error, and the peer gets the end without an alert."""

    async def main() -> None:
        near, far = await tcp_pair()
        with near:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(near, data)
            await until(lambda: _peek(far))
            server = aiotls.TLSSocket(far, is_server=True, **server_options())
            errors: list[Any] = []
            server.on("error", errors.append)
            assert await server.wait_for("close") is True
            (error,) = errors
            assert error.code in ("ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_HTTP_REQUEST")
            assert error.library == "SSL routines"
            assert await loop.sock_recv(near, 100) == b""

    run(main)


def test_a_tunnel(run: Run) -> None:
    """WRAP-09: TLS through a proxy that was asked for with HTTP CONNECT, over the same reader and writer."""

    async def main() -> None:
        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await reader.readuntil(b"\r\n\r\n")
            port = int(request.split(b" ")[1].rpartition(b":")[2])
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
                sink.write_eof()

            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
            writer.close()
            far_writer.close()

        server = aiotls.create_server(echo, **server_options())
        async with server, await asyncio.start_server(proxy, "127.0.0.1", 0) as tunnel:
            await server.listen(0, "127.0.0.1")
            reader, writer = await asyncio.open_connection("127.0.0.1", tunnel.sockets[0].getsockname()[1])
            writer.write(b"CONNECT localhost:%d HTTP/1.1\r\n\r\n" % port_of(server))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\n\r\n"
            async with aiotls.connect(socket=(reader, writer), **client_options()) as client:
                client.end(b"x" * 100_000)
                assert await client.read() == b"x" * 100_000

    run(main)


def test_starttls_over_a_transport(run: Run) -> None:
    """A plain protocol on an asyncio transport says its words, then hands the transport over."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = await tcp_pair()
        (near_transport, _), (far_transport, _) = [
            await loop.create_connection(asyncio.Protocol, sock=end) for end in (near, far)
        ]
        near_transport.write(b"")
        far_transport.pause_reading()
        client = aiotls.connect(socket=near_transport, **client_options())
        await asyncio.sleep(0.01)
        server = aiotls.TLSSocket(far_transport, is_server=True, **server_options())
        await asyncio.gather(client, server)
        client.end(b"upgraded")
        assert await server.read() == b"upgraded"
        await gone(client, server)

    run(main)


def test_an_inner_server_after_outer_data(run: Run) -> None:
    """WRAP-07: what the outer socket was still sending arrives first, then the inner ServerHello."""

    async def main() -> None:
        async with tls_pair("tcp") as (outer_client, outer_server):
            memory, other = MemoryDuplex.pair()
            hello = aiotls.connect(socket=memory, **client_options())
            outer_client.write(await other.read(65536))
            outer_server.write(b"a" * 2**20)
            outer_server.write(b"b" * 2**20)
            inner = aiotls.create_server(**server_options())
            accepted = inner.handle_connection(outer_server)
            assert await outer_client.readexactly(2**21) == b"a" * 2**20 + b"b" * 2**20
            answer = await outer_client.readexactly(1)
            assert answer == b"\x16"
            accepted.on("error", lambda _: None)
            inner.on("tls_client_error", lambda *_: None)
            await gone(hello, accepted)
            inner.close()
            await inner.wait_closed()

    run(main)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_written_and_destroyed_in_the_listener(run: Run, version: str) -> None:
    """CLOSE-01, CLOSE-02: the client gets all of it or nothing, then the end; both streams are closed."""

    async def main() -> None:
        near, far = MemoryDuplex.pair()
        told: list[Any] = []

        def listener(socket: aiotls.TLSSocket) -> None:
            socket.on("error", told.append)
            socket.on("close", lambda had_error: told.append(had_error))
            socket.write(b"all or nothing")
            socket.destroy()

        server = aiotls.create_server(listener, max_version=version, **server_options())
        server.handle_connection(far)
        client = aiotls.connect(socket=near, **client_options())
        client.on("error", lambda _: None)
        received: list[bytes] = []
        client.on("data", received.append)
        await client.wait_for("close")
        assert b"".join(received) in (b"", b"all or nothing")
        await far.closed.wait()
        await near.closed.wait()
        server.close()
        await server.wait_closed()
        await until(lambda: told)
        assert told == [False]

    run(main)


def test_the_stream_is_taken_away(run: Run) -> None:
    """CLOSE-06: the transport under a server's socket is aborted after an exchange."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = await tcp_pair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=far)
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        server = aiotls.create_server(accepted.put_nowait, **server_options())
        server.handle_connection(transport)
        client = await aiotls.connect(socket=near, **client_options())
        socket = await accepted.get()
        client.write(b"x")
        assert await socket.read(1) == b"x"
        closed = [asyncio.ensure_future(each.wait_for("close")) for each in (client, socket)]
        socket.on("error", lambda _: None)
        client.on("error", lambda _: None)
        client.resume()
        socket.resume()
        await asyncio.sleep(0)
        transport.abort()
        assert not socket.destroyed, "the call itself closes nothing"
        await asyncio.gather(*closed)
        assert client.truncated or await closed[0] is True
        assert socket.destroyed
        server.close()
        await server.wait_closed()

    run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_does_not_replace_a_certificate(run: Run, version: ssl.TLSVersion) -> None:
    """A ticket from a server that asks for nothing opens no door at one with the same context that does."""

    async def main() -> None:
        context = aiotls.create_secure_context(ca=client_options()["ca"], **server_options())
        lax = aiotls.create_server(lambda socket: socket.end(b"x"), secure_context=context)
        served: list[Any] = []
        refused: list[Any] = []
        strict = aiotls.create_server(served.append, secure_context=context, request_cert=True)
        strict.on("tls_client_error", lambda error, _: refused.append(error))

        near, far = await tcp_pair()
        with near:
            lax.handle_connection(far)
            first = BarePeer.client(near, version)
            await first.handshake()
            assert await first.read() == b"x"
            session, tls_context = first.session, first.context
        near, far = await tcp_pair()
        with near:
            strict.handle_connection(far)
            second = BarePeer(near, tls_context, server=False, session=session)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await talk(second)
        assert served == []
        await until(lambda: refused)
        for server in (lax, strict):
            server.close_all_connections()
            server.close()
            await server.wait_closed()

    run(main)


async def talk(peer: BarePeer) -> None:
    """Does what an accepted client would; also an end without an alert is an exception."""
    await peer.handshake()
    await peer.write(b"x")
    while await peer.read():
        pass
    raise ConnectionResetError


def _peek(end: socket.socket) -> bool:
    try:
        return bool(end.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    ("family", "kind"),
    [(socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_SEQPACKET)],
)
def test_a_socket_without_a_stream(run: Run, family: socket.AddressFamily, kind: socket.SocketKind) -> None:
    """TLS needs a stream: refused at once, by the name of the argument, and the socket stays its owner's."""

    async def main() -> None:
        server = aiotls.create_server(**server_options())
        with socket.socket(family, kind) as below:
            calls: list[tuple[str, Callable[[], object]]] = [
                ("socket", lambda: aiotls.connect(socket=below, **client_options())),
                ("stream", lambda: aiotls.TLSSocket(below, **client_options())),
                ("stream", lambda: aiotls.TLSSocket(below, is_server=True, **server_options())),
                ("stream", lambda: server.handle_connection(below)),
            ]
            for option, call in calls:
                with pytest.raises(aiotls.OptionError, match=f"{option} must be a stream socket") as refusal:
                    call()
                assert refusal.value.option == option
                assert kind.name in refusal.value.message
            assert below.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == kind
        assert len(asyncio.all_tasks()) == 1

    run(main)
