"""Peers whose first bytes are no ClientHello, or a ClientHello in an odd shape, or nothing at all.

Whatever comes, the server emits ``"tls_client_error"`` once with a clear code, closes the connection within a second,
keeps no descriptor, and serves the next client.
"""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pki import Named, named

HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SSH_BANNER = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
PROXY_LINE = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
SMTP_GREETING = b"EHLO client.example.com\r\n"

CLOSED_WITHIN = 5.0
"""Seconds to wait for a close that comes at once: far less than `handshake_timeout`, more than a busy machine needs."""


@dataclass
class Victim:
    """A running server: its port, the failed handshakes, and the sockets of the good ones."""

    port: int
    errors: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    accepted: int = 0


@contextlib.asynccontextmanager
async def victim(**options: Any) -> AsyncIterator[Victim]:
    """A server that greets; leaving the context proves that it still serves a good client and reported nothing more."""
    running = Victim(port=0)

    def greet(socket: aiotls.TLSSocket) -> None:
        running.accepted += 1
        socket.end(b"hello")

    server = aiotls.create_server(greet, **{"cert": named.server.chain_pem, "key": named.server.key_pem, **options})
    server.on("tls_client_error", lambda error, socket: running.errors.put_nowait((error, socket)))
    await server.listen(0, "127.0.0.1")
    address = server.address()
    assert address is not None
    running.port = address.port or 0
    try:
        yield running
        assert running.errors.empty(), "a failed connection was reported more than once"
        before = running.accepted
        async with aiotls.connect("127.0.0.1", running.port, ca=named.ca.cert_pem) as good:
            assert await good.read() == b"hello"
        assert running.accepted == before + 1
        assert running.errors.empty()
    finally:
        server.close()
        await server.wait_closed()


async def said_last(port: int, data: bytes) -> bytes:
    """Sends `data` and waits until the server has closed; returns what the server said.  The peer does not close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        async with asyncio.timeout(CLOSED_WITHIN):
            with contextlib.suppress(ConnectionError):
                return await reader.read()
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(HTTP_REQUEST, "ERR_SSL_HTTP_REQUEST", id="http"),
        pytest.param(b"POST" + HTTP_REQUEST[3:], "ERR_SSL_HTTP_REQUEST", id="http-post"),
        pytest.param(SSH_BANNER, "ERR_SSL_WRONG_VERSION_NUMBER", id="ssh"),
        pytest.param(PROXY_LINE, "ERR_SSL_WRONG_VERSION_NUMBER", id="proxy-line"),
        pytest.param(SMTP_GREETING, "ERR_SSL_WRONG_VERSION_NUMBER", id="smtp"),
        pytest.param(b"*" * 1024, "ERR_SSL_WRONG_VERSION_NUMBER", id="stars"),
        pytest.param(b"\n\n\n\n\n\n", "ERR_SSL_WRONG_VERSION_NUMBER", id="lines"),
    ],
)
def test_another_protocol(run: Run, data: bytes, code: str) -> None:
    """A clear code, and no alert: a peer that does not speak TLS could not read it."""

    async def main() -> None:
        async with victim() as server:
            said = await said_last(server.port, data)
            error, socket = await server.errors.get()
            assert error.code == code
            assert error.library == "SSL routines"
            assert error.code == f"ERR_SSL_{error.reason.upper().replace(' ', '_')}"
            assert isinstance(error, aiotls.TLSError)
            assert isinstance(error, ssl.SSLError)
            assert isinstance(socket, aiotls.TLSSocket)
            assert said == b""

    run(main)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes(run: Run, seed: int) -> None:
    async def main() -> None:
        data = random.Random(seed).randbytes(2048)
        async with victim() as server:
            await said_last(server.port, data)
            error, _socket = await server.errors.get()
            assert error.code.startswith("ERR_SSL_")

    run(main)


def test_a_megabyte_of_junk(run: Run) -> None:
    async def main() -> None:
        async with victim() as server:
            await said_last(server.port, b"*" * 2**21)
            error, _socket = await server.errors.get()
            assert error.code == "ERR_SSL_WRONG_VERSION_NUMBER"

    run(main)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(struct.pack("!BHH", 22, 0x0301, 0xFFFF), id="handshake-65535"),
        # OpenSSL 3.0 looks at the length of one so little too long only when all of it has come.
        pytest.param(struct.pack("!BHH", 22, 0x0301, 16384 + 257) + bytes(16384 + 257), id="handshake-16641"),
        pytest.param(struct.pack("!BHH", 22, 0x0301, 0) + bytes(5), id="handshake-empty"),
    ],
)
def test_record_of_an_impossible_length(run: Run, header: bytes) -> None:
    """Refused with an alert (RFC 8446, section 5.1)."""

    async def main() -> None:
        async with victim() as server:
            said = await said_last(server.port, header)
            error, _socket = await server.errors.get()
            assert error.code.startswith("ERR_SSL_")
            assert said[:1] == b"\x15"

    run(main)


@pytest.mark.parametrize("content_type", [20, 21, 23, 24, 128])
def test_other_records_first(run: Run, content_type: int) -> None:
    """Application data, an alert or a change of ciphers before any ClientHello."""

    async def main() -> None:
        record = struct.pack("!BHH", content_type, 0x0301, 2) + b"\x02\x00"
        async with victim() as server:
            await said_last(server.port, record * 8)
            error, _socket = await server.errors.get()
            assert isinstance(error, aiotls.PeerError)
            assert error.code.startswith("ERR_SSL_")

    run(main)


def test_handshake_message_of_16_megabytes(run: Run) -> None:
    """A ClientHello that announces more than any ClientHello may have is refused on its first record."""

    async def main() -> None:
        message = b"\x01\xff\xff\xff" + bytes(16380)
        record = struct.pack("!BHH", 22, 0x0301, len(message)) + message
        async with victim() as server:
            said = await said_last(server.port, record)
            error, _socket = await server.errors.get()
            assert error.code == "ERR_SSL_EXCESSIVE_MESSAGE_SIZE"
            assert said[:1] == b"\x15"

    run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_one_byte_at_a_time(run: Run, pki: Named, version: ssl.TLSVersion) -> None:
    """A valid ClientHello is a valid ClientHello, however many packets carry it."""

    async def main() -> None:
        async with victim() as server:
            client = MemoryClient(pki, version)
            reader, writer = await slow_connection(server.port)
            for byte in client.hello():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            assert await client.talk(reader, writer) == b"hello"
            writer.close()
            await writer.wait_closed()
            assert server.errors.empty()
            assert server.accepted == 1

    run(main)


def test_one_byte_records(run: Run, pki: Named) -> None:
    """A ClientHello in as many records as it has bytes: served or refused, never a hang."""

    async def main() -> None:
        async with victim() as server:
            hello = MemoryClient(pki, ssl.TLSVersion.TLSv1_3).hello()
            message = hello[5:]
            records = b"".join(struct.pack("!BHHB", 22, 0x0301, 1, byte) for byte in message)
            reader, writer = await slow_connection(server.port)
            writer.write(records)
            async with asyncio.timeout(CLOSED_WITHIN):
                answer = await reader.readexactly(6)
            writer.close()
            await writer.wait_closed()
            if answer[0] == 22:
                assert answer[5] == 2, "not a ServerHello"
            await server.errors.get()

    run(main)


@pytest.mark.parametrize("length", [0, 1, 4, 5, 6, 11, 64])
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_hang_up(run: Run, pki: Named, length: int, reset: bool) -> None:
    """A peer that goes away before its ClientHello is complete: ECONNRESET, once (also without a single byte)."""

    async def main() -> None:
        async with victim() as server:
            hello = MemoryClient(pki, ssl.TLSVersion.TLSv1_3).hello()
            _reader, writer = await slow_connection(server.port)
            writer.write(hello[:length])
            if reset:
                # Closing with nothing to linger for sends RST instead of FIN.
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            writer.close()
            error, conn = await server.errors.get()
            assert error.code == "ECONNRESET"
            assert isinstance(error, ConnectionResetError)
            assert isinstance(conn, aiotls.TLSSocket)
            if not reset:
                assert "socket hang up" in str(error)

    run(main)


def test_half_close_before_the_client_hello(run: Run) -> None:
    """A peer that only ends its direction is told the end of ours, and is not waited for."""

    async def main() -> None:
        async with victim() as server:
            reader, writer = await slow_connection(server.port)
            writer.write_eof()
            async with asyncio.timeout(CLOSED_WITHIN):
                assert await reader.read() == b""
            error, _socket = await server.errors.get()
            assert error.code == "ECONNRESET"
            writer.close()
            await writer.wait_closed()

    run(main)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
def test_silence(run: Run, sent: bytes) -> None:
    """Who says nothing, or less than a record header, is closed when `handshake_timeout` is over."""

    async def main() -> None:
        async with victim(handshake_timeout=0.3) as server:
            await said_last(server.port, sent)
            error, _socket = await server.errors.get()
            assert error.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            assert isinstance(error, TimeoutError)

    run(main)


def test_many_at_once(run: Run) -> None:
    """A crowd of them: each is reported once, and none stops another."""

    async def main() -> None:
        async with victim() as server:
            junk = [HTTP_REQUEST, SSH_BANNER, b"*" * 1024, struct.pack("!BHH", 22, 0x0301, 0xFFFF)]
            await asyncio.gather(*(said_last(server.port, data) for data in junk * 16))
            codes = [(await server.errors.get())[0].code for _ in range(len(junk) * 16)]
            assert codes.count("ERR_SSL_HTTP_REQUEST") == 16
            assert codes.count("ERR_SSL_WRONG_VERSION_NUMBER") == 32

    run(main)


def test_junk_on_a_wrapped_socket(run: Run, pki: Named) -> None:
    """Junk that waits in an accepted socket before TLS is put on it: `error`, `close`, and no alert."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as peer:
            peer.connect(listener.getsockname())
            peer.sendall(b"*" * 1024)
            peer.setblocking(False)
            accepted, _address = listener.accept()
            wrapped = aiotls.TLSSocket(accepted, is_server=True, cert=pki.server.cert_pem, key=pki.server.key_pem)
            events: list[Any] = []
            closed: asyncio.Future[bool] = loop.create_future()
            wrapped.on("error", lambda error: events.append(getattr(error, "code", None)))
            wrapped.on("close", closed.set_result)
            events.append(await closed)
            assert events == ["ERR_SSL_WRONG_VERSION_NUMBER", True]
            with contextlib.suppress(ConnectionResetError):
                assert await loop.sock_recv(peer, 1024) == b""

    run(main)


def test_a_server_that_speaks_first(run: Run) -> None:
    """The same from the other side: our client meets a server of another protocol (ERR-08)."""

    async def main() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(SSH_BANNER)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(aiotls.ProtocolError) as failure:
                await aiotls.connect("127.0.0.1", port)
            assert failure.value.code in ("ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG")

    run(main)


class MemoryClient:
    """A TLS client of Python's own ssl without a socket, so that its bytes can be sent as a test likes."""

    def __init__(self, pki: Named, version: ssl.TLSVersion) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=pki.ca.cert_pem.decode())
        context.minimum_version = context.maximum_version = version
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def hello(self) -> bytes:
        """The ClientHello, in its record."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Finishes the handshake and reads to the end."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._exchange(reader, writer)
        received = b""
        while True:
            try:
                chunk = self._tls.read()
            except ssl.SSLWantReadError:
                await self._exchange(reader, writer)
            except ssl.SSLZeroReturnError:
                return received
            else:
                if not chunk:
                    return received
                received += chunk

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._outgoing.read())
        data = await reader.read(65536)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


async def slow_connection(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection that sends each write at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reader, writer
