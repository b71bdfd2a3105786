"""ClientHello messages that are broken, huge, or in pieces, and what else may come before one is complete."""

import asyncio
import contextlib
import random
import socket as sockets
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, server_options, until
from tests.support.pki import named
from tests.support.servers import echo, port_of, to

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
CLOSED_WITHIN = 5.0
"""Seconds to wait for a close that comes at once."""


class Victim:
    """A server, and what it told."""

    def __init__(self, **options: Any) -> None:
        self.failed: asyncio.Queue[Any] = asyncio.Queue()
        self.secure = 0
        self.server = aiotls.create_server(self.accept, **server_options(**options))
        self.server.on("tls_client_error", lambda error, _: self.failed.put_nowait(error))

    async def accept(self, socket: aiotls.TLSSocket) -> None:
        self.secure += 1
        await echo(socket)


@contextlib.asynccontextmanager
async def victim(**options: Any) -> AsyncIterator[Victim]:
    """At the end a good client is served, and nothing is open that should not be."""
    hurt = Victim(**options)
    async with hurt.server:
        await hurt.server.listen(0, "127.0.0.1")
        yield hurt
        await until(lambda: not hurt.server.get_connections())
        assert hurt.failed.empty()
        secure = hurt.secure
        async with to(hurt.server) as client:
            client.end(b"x")
            assert await client.read() == b"x"
        assert hurt.secure == secure + 1


async def connect(hurt: Victim) -> sockets.socket:
    near = sockets.socket()
    near.setblocking(False)
    await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", port_of(hurt.server)))
    return near


async def say(hurt: Victim, words: bytes, *, end: bool = False) -> bytes:
    """Sends `words`; returns what came before the server closed."""
    loop = asyncio.get_running_loop()
    answer = b""
    with await connect(hurt) as near:
        async with asyncio.timeout(CLOSED_WITHIN):
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(near, words)
                if end:
                    near.shutdown(sockets.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while more := await loop.sock_recv(near, 2**16):
                    answer += more
    return answer


def client_hello(version: ssl.TLSVersion) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(3))
def test_mutated(run: Run, version: ssl.TLSVersion, seed: int) -> None:
    """Failure model 8: three bytes are others; whatever it means then, there is one report and a close."""

    async def main() -> None:
        chance = random.Random(seed)
        hello = client_hello(version)
        count = 100
        async with victim(alpn_protocols=["h2"]) as hurt:

            async def one() -> None:
                changed = bytearray(hello)
                for _ in range(3):
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                answer = await say(hurt, bytes(changed), end=True)
                assert answer[:1] in (b"", b"\x15", b"\x16")

            for _ in range(count // 20):
                await asyncio.gather(*(one() for _ in range(20)))
            codes = [(await hurt.failed.get()).code for _ in range(count)]
            assert all(code == "ECONNRESET" or code.startswith("ERR_SSL_") for code in codes)
            assert hurt.secure == 0

    run(main)


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        pytest.param(bytes(4096), {"ERR_SSL_WRONG_VERSION_NUMBER"}, id="zeros"),
        pytest.param(b"\xff" * 4096, {"ERR_SSL_WRONG_VERSION_NUMBER"}, id="ones"),
        pytest.param(
            b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(37),
            {"ERR_SSL_UNSUPPORTED_PROTOCOL", "ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_LENGTH_MISMATCH"},
            id="sslv2-hello",
        ),
        pytest.param(b"\x05\x01\x00" + bytes(16), {"ERR_SSL_WRONG_VERSION_NUMBER"}, id="socks5"),
        pytest.param(b"\x04\x01\x01\xbb\x7f\x00\x00\x01\x00", {"ERR_SSL_WRONG_VERSION_NUMBER"}, id="socks4"),
        pytest.param(
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12), {"ERR_SSL_WRONG_VERSION_NUMBER"}, id="proxy-v2"
        ),
        pytest.param(b"\x16\xfe\xfd\x00\x00" + bytes(64), {"ERR_SSL_WRONG_VERSION_NUMBER"}, id="dtls"),
    ],
)
def test_other_protocols(run: Run, words: bytes, codes: set[str]) -> None:
    """Failure model 8: a clear code, no hang, one report."""

    async def main() -> None:
        async with victim() as hurt:
            await say(hurt, words)
            error = await hurt.failed.get()
            assert error.code in codes

    run(main)


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes(run: Run, seed: int) -> None:
    """Failure model 8: forty peers at a time that babble."""

    async def main() -> None:
        chance = random.Random(seed)
        async with victim() as hurt:
            await asyncio.gather(*(say(hurt, chance.randbytes(chance.randrange(5, 3000)), end=True) for _ in range(40)))
            codes = {(await hurt.failed.get()).code for _ in range(40)}
            assert all(code == "ECONNRESET" or code.startswith("ERR_SSL_") for code in codes)

    run(main)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(struct.pack("!BHH", 22, 0x0301, 0), id="empty-handshake"),
        pytest.param(struct.pack("!BHH", 23, 0x0303, 0), id="empty-data"),
        pytest.param(b"\x15\x03\x01\x00\x02\x01\x5a", id="warnings"),
        pytest.param(b"\x14\x03\x03\x00\x01\x01", id="change-cipher-spec"),
    ],
)
@pytest.mark.parametrize("behind", [False, True], ids=["first", "behind-the-hello"])
def test_records_without_any_use(run: Run, record: bytes, behind: bool) -> None:
    """Failure model 9: five thousand of them are not waited for, before a ClientHello or in a handshake."""

    async def main() -> None:
        async with victim() as hurt:
            before = client_hello(ssl.TLSVersion.TLSv1_3) if behind else b""
            answer = await say(hurt, before + record * 5000)
            error = await hurt.failed.get()
            assert error.code.startswith("ERR_SSL_")
            assert answer or not behind, "there was a ServerHello"

    run(main)


@pytest.mark.parametrize("message", [1, 11, 20], ids=["client-hello", "certificate", "finished"])
def test_an_enormous_message(run: Run, message: int) -> None:
    """Failure model 10: 16 MiB are announced, and refused with an alert as soon as the header is there."""

    async def main() -> None:
        async with victim() as hurt:
            header = bytes([message]) + b"\xff\xff\xff"
            answer = await say(hurt, struct.pack("!BHH", 22, 0x0301, 68) + header + bytes(64))
            error = await hurt.failed.get()
            assert error.code in ("ERR_SSL_EXCESSIVE_MESSAGE_SIZE", "ERR_SSL_UNEXPECTED_MESSAGE")
            assert answer[:1] == b"\x15"

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("piece", [1, 1000, 2**16])
def test_a_large_hello(run: Run, version: ssl.TLSVersion, piece: int) -> None:
    """Failure model 11: 10 KiB of a ClientHello are a ClientHello, in however many writes."""

    async def main() -> None:
        async with victim(alpn_protocols=["h2"]) as hurt:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=named.ca.cert_pem.decode())
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols([*(f"{number:03}" + "x" * 150 for number in range(70)), "h2"])
            near = await connect(hurt)
            near.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            peer = Slow(near, context, server=False)
            peer.piece = piece
            await peer.handshake()
            assert peer.largest > 10 * 1024
            assert peer._tls.selected_alpn_protocol() == "h2"
            await peer.write(b"x")
            assert await peer.read() == b"x"
            near.close()

    run(main)


class Slow(BarePeer):
    """A client that sends in pieces."""

    piece = 1
    largest = 0

    async def _send(self) -> None:
        data = self._outgoing.read()
        self.largest = max(self.largest, len(data))
        for start in range(0, len(data), self.piece):
            await asyncio.get_running_loop().sock_sendall(self.end, data[start : start + self.piece])
            if start % 100 == 0:
                await asyncio.sleep(0)
