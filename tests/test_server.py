"""Server: what it emits, whom it serves, and what becomes of those it cannot serve."""

import asyncio
import socket as sockets
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, MemoryDuplex, client_options, gone, server_options, streams
from tests.support.pki import named
from tests.support.servers import echo, port_of, serving, to

Errors = list[dict[str, Any]]


# ---- what it emits


def test_connection_comes_before_the_handshake(run: Run) -> None:
    """It is the socket of `"secure_connection"`, and has `server`, `address()` and `destroy()`."""

    async def main() -> None:
        events: list[tuple[str, aiotls.TLSSocket, bool]] = []
        async with serving(lambda socket: socket.end(b"hi")) as server:
            for name in ("connection", "secure_connection"):
                server.on(name, lambda socket, name=name: events.append((name, socket, socket.secure_connecting)))
            async with to(server) as client:
                assert await client.read() == b"hi"
                (_, first, before), (_, second, after) = events
                assert first is second
                assert (before, after) == (True, False)
                assert first.server is server
                address = first.address()
                assert address is not None
                assert address.port == port_of(server)
                assert first.remote_port == client.local_port
                assert first.is_server

    run(main)


def test_connection_may_be_destroyed(run: Run) -> None:
    """Before the handshake: the client is cut off, and nothing more is emitted for it."""

    async def main() -> None:
        async with serving() as server:
            secure: list[Any] = []
            server.on("secure_connection", secure.append)
            server.on("connection", lambda socket: socket.destroy())
            with pytest.raises(aiotls.ConnectionLost):
                await to(server)
            assert secure == []

    run(main)


def test_listeners_on_the_accepted_socket(run: Run) -> None:
    """Data that came with the handshake waits for listeners added in `"secure_connection"`."""

    async def main() -> None:
        received = bytearray()
        ended = asyncio.Event()

        def listener(socket: aiotls.TLSSocket) -> None:
            socket.on("data", received.extend)
            socket.on("end", ended.set)

        async with serving(listener) as server, to(server) as client:
            client.end(b"x" * 100_000)
            await ended.wait()
            assert bytes(received) == b"x" * 100_000

    run(main)


@pytest.mark.parametrize("style", ["plain", "async", "reading"])
def test_a_listener_that_fails(run: Run, loop_errors: Errors, style: str) -> None:
    """ERR-02, ERR-12: its connection ends; told to the socket's "error", else to the loop; others go on."""

    async def main() -> None:
        wrong = LookupError("a mistake of the user")
        errors: list[Any] = []
        fail = False

        def plain(socket: aiotls.TLSSocket) -> None:
            if fail:
                if listen:
                    socket.on("error", errors.append)
                raise wrong
            socket.on("data", socket.write)

        async def later(socket: aiotls.TLSSocket) -> None:
            await asyncio.sleep(0)
            if style == "reading" and fail:
                await socket.readexactly(1)
            plain(socket)

        async with serving(plain if style == "plain" else later) as server:
            server.on("tls_client_error", lambda error, _: errors.append(("tls_client_error", error)))
            listen = True
            async with to(server) as good:
                good.write(b"x")
                assert await good.readexactly(1) == b"x"
                fail = True
                async with to(server) as bad:
                    bad.write(b"x")
                    assert await bad.read() == b""
                    assert not bad.truncated
                assert errors == [wrong]
                listen = False
                async with to(server) as bad:
                    bad.write(b"x")
                    assert await bad.read() == b""
                assert [report["exception"] for report in loop_errors] == [wrong]
                loop_errors.clear()
                good.write(b"undisturbed")
                assert await good.readexactly(11) == b"undisturbed"

    run(main)


def test_tls_client_error(run: Run) -> None:
    """ERR-03, ERR-07: once for each connection that never became secure, with its socket."""

    async def main() -> None:
        errors: asyncio.Queue[tuple[Any, aiotls.TLSSocket]] = asyncio.Queue()
        async with serving() as server:
            server.on("tls_client_error", lambda error, socket: errors.put_nowait((error, socket)))
            for words, code in (
                (b"", "ECONNRESET"),
                (b"\x16\x03", "ECONNRESET"),
                (b"plain text\n", "ERR_SSL_WRONG_VERSION_NUMBER"),
                (b"GET / HTTP/1.1\r\n\r\n", "ERR_SSL_HTTP_REQUEST"),
            ):
                _reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
                writer.write(words)
                writer.write_eof()
                error, socket = await errors.get()
                assert error.code == code
                assert isinstance(socket, aiotls.TLSSocket)
                assert socket.server is server
                writer.close()
            assert errors.empty()

    run(main)


def test_tls_client_error_of_a_refused_certificate(run: Run) -> None:
    """AUTH-06: the alert of the client stands in it; neither side is told about a secure connection."""

    async def main() -> None:
        errors: asyncio.Queue[Any] = asyncio.Queue()
        secure: list[Any] = []
        async with serving(secure.append) as server:
            server.on("tls_client_error", lambda error, _: errors.put_nowait(error))
            client = to(server, ca=named.ca_b.cert_pem)
            client.on("secure_connect", lambda: secure.append(client))
            with pytest.raises(aiotls.VerificationError):
                await client
            error = await errors.get()
            assert error.alert == 48
            assert error.code == "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"
            assert secure == []

    run(main)


def test_an_error_after_the_handshake_is_not_the_servers(run: Run) -> None:
    """ERR-10: it belongs to the socket."""

    async def main() -> None:
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        async with serving(accepted.put_nowait) as server:
            told: list[Any] = []
            server.on("tls_client_error", lambda *_: told.append("tls_client_error"))
            server.on("error", told.append)
            below = sockets.create_connection(("127.0.0.1", port_of(server)))
            peer = BarePeer.client(below)
            await peer.handshake()
            socket = await accepted.get()
            failed: asyncio.Future[Any] = asyncio.ensure_future(socket.wait_for("error"))
            await asyncio.sleep(0)
            peer.reset()
            assert (await failed).code == "ECONNRESET"
            assert told == []

    run(main)


def test_handshake_timeout(run: Run) -> None:
    """F4: a silent peer is told of, and really cut off, listener or not."""

    async def main() -> None:
        for listen in (True, False):
            async with serving(handshake_timeout=0.05) as server:
                errors: asyncio.Queue[Any] = asyncio.Queue()
                if listen:
                    server.on("tls_client_error", lambda error, *_, errors=errors: errors.put_nowait(error))
                reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
                writer.write(b"\x16\x03\x01")
                assert await reader.read() == b""
                if listen:
                    assert (await errors.get()).code == "ERR_TLS_HANDSHAKE_TIMEOUT"
                assert server.get_connections() == 0
                writer.close()

    run(main)


def test_pause_on_connect(run: Run) -> None:
    """CONN-15: nothing is delivered before resume; then everything, end included, and both close."""

    async def main() -> None:
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        async with serving(accepted.put_nowait, allow_half_open=True, pause_on_connect=True) as server:
            assert server.allow_half_open
            assert server.pause_on_connect
            async with to(server, allow_half_open=True) as client:
                client.end(b"wait for it")
                socket = await accepted.get()
                assert socket.is_paused()
                assert socket.allow_half_open
                received: list[bytes] = []
                socket.on("data", received.append)
                ended = asyncio.ensure_future(socket.wait_for("end"))
                await asyncio.sleep(0.02)
                assert received == []
                socket.resume()
                await ended
                assert b"".join(received) == b"wait for it"
                await asyncio.sleep(0.01)
                assert not socket.destroyed
                assert not client.destroyed
                socket.end()
                assert await client.read() == b""
                await asyncio.gather(client.wait_closed(), socket.wait_closed())

    run(main)


def test_without_options_sockets_are_not_half_open(run: Run) -> None:
    """CONN-15."""

    async def main() -> None:
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        async with serving(accepted.put_nowait) as server:
            assert not server.allow_half_open
            assert not server.pause_on_connect
            async with to(server) as client:
                socket = await accepted.get()
                assert not socket.allow_half_open
                assert not socket.is_paused()
                client.end()
                assert await socket.read() == b""
                assert await client.read() == b""
                await socket.wait_closed()

    run(main)


def test_keylog(run: Run) -> None:
    """KEY-01: five lines for a TLS 1.3 connection, on both sides the same; a later listener counts for later ones."""

    async def main() -> None:
        async with serving(echo) as server:
            async with to(server):
                pass
            lines: list[tuple[bytes, aiotls.TLSSocket]] = []
            server.on("keylog", lambda line, socket: lines.append((line, socket)))
            client = to(server)
            client_lines: list[bytes] = []
            client.on("keylog", client_lines.append)
            async with client:
                client.end(b"x")
                assert await client.read() == b"x"
            assert len(lines) == 5
            assert sorted(line for line, _ in lines) == sorted(client_lines)
            assert all(line.endswith(b"\n") and line.count(b" ") == 2 for line in client_lines)
            assert all(socket.encrypted is True and socket.server is server for _, socket in lines)

    run(main)


# ---- handed in


@pytest.mark.parametrize("kind", ["socketpair", "transport", "streams", "duplex", "tls-in-tls"])
def test_handle_connection(run: Run, kind: str) -> None:
    """A connection that came some other way is served like an accepted one, also by a server that does not listen."""

    async def main() -> None:
        events: list[str] = []

        def listener(socket: aiotls.TLSSocket) -> None:
            events.append("secure_connection")
            socket.end(b"hi")
            socket.resume()

        async with streams(kind) as (near, far):
            server = aiotls.create_server(listener, **server_options())
            server.on("connection", lambda _: events.append("connection"))
            socket = server.handle_connection(far)
            assert socket.server is server
            assert server.get_connections() == 1
            async with aiotls.connect(socket=near, **client_options()) as client:
                assert await client.read() == b"hi"
            server.close()
            await server.wait_closed()
            assert events == ["connection", "secure_connection"]
            assert server.get_connections() == 0

    run(main)


def test_handle_connection_that_fails(run: Run) -> None:
    async def main() -> None:
        server = aiotls.create_server(**server_options())
        errors: asyncio.Queue[Any] = asyncio.Queue()
        server.on("tls_client_error", lambda error, socket: errors.put_nowait((error, socket)))
        near, far = MemoryDuplex.pair()
        socket = server.handle_connection(far)
        far.deliver(b"*" * 100)
        error, told = await errors.get()
        assert error.code == "ERR_SSL_WRONG_VERSION_NUMBER"
        assert told is socket
        with pytest.raises(TypeError, match="stream"):
            server.handle_connection(near.closed)
        server.close()
        await server.wait_closed()
        await gone(socket)

    run(main)


def test_wrong_options_of_a_server() -> None:
    """Unknown names name the nearest one; nothing is opened."""
    with pytest.raises(TypeError, match="request_cert"):
        aiotls.create_server(requestCert=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="handshake_timeout"):
        aiotls.create_server(handshake_timeouts=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="handshake_timeout"):
        aiotls.create_server(handshake_timeout=0)
