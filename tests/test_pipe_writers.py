"""`pipe` into what is no socket of ours: an asyncio.StreamWriter, an object with write and drain."""

import asyncio
import contextlib
import os
import ssl

import pytest

from tests.conftest import Run
from tests.support.pairs import KINDS, tcp_pair, tls_pair, until
from tests.support.pipes import Shelf, note
from tests.support.pki import named
from tests.support.sessions import load_identity

MEBIBYTE = os.urandom(1024) * 1024
MARK = 65536


@pytest.mark.parametrize("kind", KINDS)
def test_into_something_slow(run: Run, kind: str) -> None:
    """DATA-05: about a mebibyte, by a destination that takes a turn of the loop for each write."""

    async def main() -> None:
        shelf = Shelf()
        async with tls_pair(kind) as (client, server):
            assert server.pipe(shelf) is shelf
            client.end(MEBIBYTE[:-1])
            await until(lambda: shelf.calls)
            assert shelf.data == MEBIBYTE[:-1]
            assert shelf.calls == ["write_eof"]

    run(main)


def test_all_of_it_is_drained(run: Run) -> None:
    """What was written while a drain() waited gets one of its own, and the end comes after that."""

    class Ferry(Shelf):
        """Takes across what waits when it leaves; what comes later waits for the next time."""

        def __init__(self) -> None:
            super().__init__(open=False)
            self.across = b""

        async def drain(self) -> None:
            load, self.data = self.data, bytearray()
            await self.door.wait()
            self.across += load

    async def main() -> None:
        ferry = Ferry()
        async with tls_pair(server={"allow_half_open": True}) as (client, server):
            ended = note(server, "end")
            server.pipe(ferry)
            client.write(b"one ")
            await until(lambda: server.bytes_read and not ferry.data)
            client.end(b"two three")
            await until(lambda: ended)
            assert ferry.data == b"two three"
            ferry.door.set()
            await until(lambda: ferry.calls)
            assert ferry.across == b"one two three"

    run(main)


def test_not_faster_than_it_can_take(run: Run) -> None:
    """The sender's drain() waits while the destination does; what lies between them is bounded."""

    async def main() -> None:
        shelf = Shelf(open=False)
        async with tls_pair("tcp") as (client, server):
            server.pipe(shelf)
            client.write(bytes(32 * len(MEBIBYTE)))
            draining = asyncio.ensure_future(client.drain())
            await until(lambda: server.readable_length >= MARK)
            for _ in range(200):
                await asyncio.sleep(0)
            assert not draining.done()
            assert not server.is_paused(), "that is for the user to say"
            # A chunk may be as long as what one turn of a connection delivers.
            assert shelf.undrained < 4 * 256 * 1024
            assert server.readable_length < 4 * 256 * 1024
            shelf.door.set()
            await draining
            client.end()
            await until(lambda: shelf.calls)
            assert len(shelf.data) == 32 * len(MEBIBYTE)
            assert shelf.most < 4 * 256 * 1024

    run(main)


def test_end_false_for_a_writer(run: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with tls_pair() as (client, server):
            ended = note(server, "end")
            server.pipe(shelf, end=False)
            client.end(b"words")
            await until(lambda: ended)
            await until(lambda: not shelf.undrained)
            assert shelf.data == b"words"
            assert shelf.calls == []

    run(main)


# ---- asyncio's writers


def test_into_a_stream_writer(run: Run) -> None:
    """A plain TCP connection whose reader begins late: everything arrives, then its end, and it can still answer."""

    async def main() -> None:
        near, far = [await asyncio.open_connection(sock=end) for end in await tcp_pair()]
        async with tls_pair("tcp") as (client, server):
            assert server.pipe(near[1]) is near[1]
            client.write(MEBIBYTE * 16)
            draining = asyncio.ensure_future(client.drain())
            await until(lambda: server.readable_length >= MARK)
            for _ in range(200):
                await asyncio.sleep(0)
            assert not draining.done()
            assert near[1].transport.get_write_buffer_size() < 4 * 256 * 1024
            client.end()
            assert await far[0].read() == MEBIBYTE * 16
            await draining
            far[1].write(b"thanks")
            assert await near[0].read(10) == b"thanks"
        for _, writer in (near, far):
            writer.close()
            await writer.wait_closed()

    run(main)


def test_a_writer_that_cannot_end_is_closed(run: Run) -> None:
    """That of a TLS connection of asyncio: its peer sees everything, then the end."""

    async def main() -> None:
        received: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.append(await reader.read())
            writer.close()
            await writer.wait_closed()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_identity(context, named.server_ec)
        trusting = ssl.create_default_context(cadata=named.ca.cert_pem.decode())
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
            port = listening.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("localhost", port, ssl=trusting)
            assert not writer.can_write_eof()
            async with tls_pair() as (client, server):
                server.pipe(writer)
                client.end(MEBIBYTE)
                await until(lambda: received)
                assert received == [MEBIBYTE]
                assert writer.is_closing()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    run(main)
