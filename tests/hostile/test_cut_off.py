"""Peers that are cut off, at every byte of their handshake and right behind it."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, server_options, until
from tests.support.pki import named
from tests.support.servers import port_of, to

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
BATCH = 64
"""How many peers are there at a time."""


class Victim:
    """A server that echoes, and all that it and its sockets told."""

    def __init__(self, **options: Any) -> None:
        self.failed: list[tuple[Any, aiotls.TLSSocket]] = []
        self.secure: list[aiotls.TLSSocket] = []
        self.errors: list[Any] = []
        self.server = aiotls.create_server(self.accept, **server_options(**options))
        self.server.on("tls_client_error", lambda error, socket: self.failed.append((error, socket)))
        self.server.on("error", self.errors.append)

    def accept(self, socket: aiotls.TLSSocket) -> None:
        self.secure.append(socket)
        socket.on("error", self.errors.append)
        socket.on("data", socket.write)

    async def quiet(self) -> None:
        """Waits until no connection is open."""
        await until(lambda: not self.server.get_connections())


@contextlib.asynccontextmanager
async def victim(**options: Any) -> AsyncIterator[Victim]:
    """A running one, which serves a good client at the end."""
    hurt = Victim(**options)
    async with hurt.server:
        await hurt.server.listen(0, "127.0.0.1")
        yield hurt
        await hurt.quiet()
        client = to(hurt.server)
        client.write(b"x")
        assert await client.readexactly(1) == b"x"
        client.destroy()
        await client.wait_closed()


async def connect(server: aiotls.Server) -> socket.socket:
    near = socket.socket()
    near.setblocking(False)
    await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", port_of(server)))
    return near


def cut(near: socket.socket, *, reset: bool) -> None:
    if reset:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.close()


def first_flight(version: ssl.TLSVersion) -> bytes:
    """The ClientHello of Python's own ssl."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_at_each_byte_of_the_client_hello(run: Run, version: ssl.TLSVersion, reset: bool) -> None:
    """Failure model 3: ECONNRESET once, no other event, the descriptor closed."""

    async def main() -> None:
        async with victim() as hurt:
            hello = first_flight(version)

            async def one(length: int) -> None:
                near = await connect(hurt.server)
                await asyncio.get_running_loop().sock_sendall(near, hello[:length])
                cut(near, reset=reset)

            lengths = range(len(hello) + 1)
            for start in range(0, len(lengths), BATCH):
                await asyncio.gather(*(one(length) for length in lengths[start : start + BATCH]))
            await until(lambda: len(hurt.failed) >= len(lengths))
            await hurt.quiet()
            assert {error.code for error, _ in hurt.failed} == {"ECONNRESET"}
            assert len({socket for _, socket in hurt.failed}) == len(hurt.failed) == len(lengths)
            assert hurt.secure == []
            assert hurt.errors == []

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_while_the_server_speaks(run: Run, version: ssl.TLSVersion) -> None:
    """Failure model 4: RST after so many bytes of the server's flight; the same."""

    async def main() -> None:
        async with victim() as hurt:
            loop = asyncio.get_running_loop()
            hello = first_flight(version)
            near = await connect(hurt.server)
            await loop.sock_sendall(near, hello)
            flight = len(await loop.sock_recv(near, 2**16))
            cut(near, reset=True)

            async def one(length: int) -> None:
                near = await connect(hurt.server)
                await loop.sock_sendall(near, hello)
                while length:
                    length -= len(await loop.sock_recv(near, length))
                cut(near, reset=True)

            # A signature of ECDSA is a few bytes longer or shorter each time.
            lengths = range(1, flight - 8, 8)
            for start in range(0, len(lengths), BATCH):
                await asyncio.gather(*(one(length) for length in lengths[start : start + BATCH]))
            await until(lambda: len(hurt.failed) >= len(lengths) + 1)
            await hurt.quiet()
            assert {error.code for error, _ in hurt.failed} == {"ECONNRESET"}
            assert len(hurt.failed) == len(lengths) + 1
            assert hurt.secure == []
            assert hurt.errors == []

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("listens", [True, False], ids=["listener", "no-listener"])
def test_right_after_finished(
    run: Run, loop_errors: list[dict[str, Any]], version: ssl.TLSVersion, listens: bool
) -> None:
    """Failure model 5, F5, CVE-2025-59465: RST with data under way; one report, "close", and no descriptor stays."""

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=named.ca.cert_pem.decode())
        context.minimum_version = context.maximum_version = version
        closed: list[bool] = []
        told: list[Any] = []
        failed: list[Any] = []

        def accept(socket: aiotls.TLSSocket) -> None:
            if listens:
                socket.on("error", told.append)
            socket.on("close", closed.append)
            socket.on("data", lambda _: socket.write(bytes(2**18)))
            socket.write(bytes(2**18))

        rounds = 100
        server = aiotls.create_server(accept, **server_options())
        server.on("tls_client_error", lambda error, _: failed.append(error))
        async with server:
            await server.listen(0, "127.0.0.1")

            async def one(number: int) -> None:
                near = await connect(server)
                peer = BarePeer(near, context, server=False)
                await peer.handshake()
                await peer.write(b"x" * 1000 * (number % 3))
                if number % 4:
                    await peer.read(1)
                peer.reset()

            for start in range(0, rounds, 20):
                await asyncio.gather(*(one(number) for number in range(start, start + 20)))
            await until(lambda: not server.get_connections())
            await until(lambda: len(closed) + len(failed) >= rounds)
            assert len(closed) + len(failed) == rounds
            assert len(closed) >= rounds * 3 // 4, "those that read something were secure"
            told += [report["exception"] for report in loop_errors]
            loop_errors.clear()
            assert len(told) <= len(closed)
            assert closed.count(True) == len(told), "one report for each that failed"
            assert {error.code for error in told} <= {"ECONNRESET", "EPIPE"}

    run(main)


def test_before_accept(run: Run) -> None:
    """Failure model 22: gone before it was accepted; nobody else notices, and nobody is told of anything worse."""

    async def main() -> None:
        async with victim() as hurt:
            good = await to(hurt.server)
            for _ in range(20):
                for near in [socket.create_connection(("127.0.0.1", port_of(hurt.server))) for _ in range(10)]:
                    cut(near, reset=True)
                good.write(b"x")
                assert await good.readexactly(1) == b"x"
            good.close()
            await good.wait_closed()
            await hurt.quiet()
            assert hurt.errors == []
            assert {error.code for error, _ in hurt.failed} <= {"ECONNRESET"}
            assert hurt.server.listening

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("strict", [False, True], ids=["default", "require_close_notify"])
def test_end_without_close_notify(run: Run, version: ssl.TLSVersion, strict: bool) -> None:
    """Failure model 6: the data so far, then the end with `truncated`; or, where it is asked for, an error."""

    async def main() -> None:
        async with victim(require_close_notify=strict) as hurt:
            near = await connect(hurt.server)
            peer = BarePeer.client(near, version)
            await peer.handshake()
            await peer.write(b"all there was")
            await until(lambda: hurt.secure and hurt.secure[0].bytes_read == 13)
            (accepted,) = hurt.secure
            closed = asyncio.ensure_future(accepted.wait_for("close"))
            await asyncio.sleep(0)
            peer.hang_up()
            assert await closed is strict
            assert accepted.truncated
            assert [error.code for error in hurt.errors] == (["ERR_TLS_TRUNCATED"] if strict else [])
            assert await peer.read() == b"all there was"
            near.close()

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("half_open", [False, True])
def test_close_notify(run: Run, version: ssl.TLSVersion, half_open: bool) -> None:
    """Failure model 7: answered with our own; the peer that goes on is heard no more, half open or not."""

    async def main() -> None:
        async with victim(allow_half_open=half_open) as hurt:
            near = await connect(hurt.server)
            peer = BarePeer.client(near, version)
            await peer.handshake()
            await peer.write(b"x")
            assert await peer.read() == b"x"
            (accepted,) = hurt.secure
            ended = asyncio.ensure_future(accepted.wait_for("end"))
            await asyncio.sleep(0)
            await peer.close_notify()
            await ended
            assert not accepted.truncated
            with contextlib.suppress(ConnectionError):
                # A record after close_notify: not a word of it may be delivered.
                await asyncio.get_running_loop().sock_sendall(near, b"\x17\x03\x03\x00\x05" + bytes(5))
            if half_open:
                assert not accepted.destroyed
                accepted.end(b"goodbye")
                assert await peer.read() == b"goodbye"
            assert await peer.read() == b""
            near.close()
            await hurt.quiet()
            assert accepted.bytes_read == 1
            assert hurt.errors == []

    run(main)
