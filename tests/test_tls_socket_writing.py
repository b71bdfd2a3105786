"""The writable side of `TLSSocket`: everything is taken, the marks tell when to wait, nothing is lost or reordered."""

import asyncio
import hashlib
import itertools
import os
import socket
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

MEBIBYTE = os.urandom(1024) * 1024


def test_the_64th_write_is_one_too_many(run: Run) -> None:
    """DATA-01: with the default mark of 64 KiB, when nothing can be sent yet; drain comes once."""

    async def main() -> None:
        async with tls_pair(secure=False) as (client, server):
            drains: list[None] = []
            client.on("drain", lambda: drains.append(None))
            drained = asyncio.ensure_future(client.wait_for("drain"))
            answers = [client.write(MEBIBYTE[:1024]) for _ in range(64)]
            assert answers == [True] * 63 + [False]
            assert client.writable_length == 65536
            assert await server.readexactly(65536) == MEBIBYTE[:65536]
            await drained
            assert client.writable_length == 0
            assert client.bytes_written == 65536
            client.write(b"little")
            assert await server.read(10) == b"little"
            assert len(drains) == 1

    run(main)


@pytest.mark.parametrize(("given", "mark"), [(128_000, 128_000), (None, 65536), (0, 0), (1, 1)])
def test_high_water_mark(run: Run, given: int | None, mark: int) -> None:
    """DATA-08."""

    async def main() -> None:
        async with tls_pair(client={"high_water_mark": given}, secure=False) as (client, server):
            assert client.high_water_mark == mark
            if mark > 1:
                assert client.write(bytes(mark - 1)) is True
            assert client.write(b"x") is False
            await client.drain()
            assert await server.readexactly(max(mark, 1)) == bytes(max(mark - 1, 0)) + b"x"

    run(main)


def test_mark_zero_always_asks_for_drain(run: Run) -> None:
    """DATA-08: every write() answers False, and every drain() and "drain" comes."""

    async def main() -> None:
        async with tls_pair(client={"high_water_mark": 0}) as (client, server):
            for number in range(5):
                drained = asyncio.ensure_future(client.wait_for("drain"))
                await asyncio.sleep(0)
                assert client.write(b"%d" % number) is False
                await client.drain()
                await drained
            assert await server.readexactly(5) == b"01234"

    run(main)


@pytest.mark.parametrize("mark", [-1, 1.5, "1", True, 2**40])
def test_marks_that_cannot_be(run: Run, mark: Any) -> None:
    async def main() -> None:
        with pytest.raises(aiotls.OptionError, match="high_water_mark"):
            aiotls.connect("127.0.0.1", 1, high_water_mark=mark)

    run(main)


def test_anything_with_a_buffer(run: Run) -> None:
    """bytes, bytearray, memoryview, array: taken as they are at the call, whatever becomes of them."""

    async def main() -> None:
        async with tls_pair(secure=False) as (client, server):
            buffer = bytearray(b"one ")
            client.write(buffer)
            buffer[:] = b"XXXX"
            view = memoryview(bytearray(b"two three "))[:4]
            client.write(view)
            view[:] = b"YYYY"
            await client
            buffer = bytearray(b"three ")
            client.write(buffer)
            buffer.clear()
            client.writelines([b"four ", bytearray(b"five "), memoryview(b"six")])
            client.end()
            assert await server.read() == b"one two three four five six"

    run(main)


@pytest.mark.parametrize("data", ["text", 1, None, [1, 2], object()])
def test_what_is_no_data(run: Run, data: Any) -> None:
    """A TypeError, and nothing is sent or broken."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            with pytest.raises(TypeError, match="data"):
                client.write(data)
            if data is not None:
                with pytest.raises(TypeError, match="data"):
                    client.end(data)
            client.end(b"fine")
            assert await server.read() == b"fine"

    run(main)


def test_empty_writes_do_nothing(run: Run) -> None:
    async def main() -> None:
        async with tls_pair(secure=False) as (client, server):
            assert client.write(b"") is True
            await client
            assert client.write(b"") is True
            assert client.bytes_written == client.writable_length == 0
            client.write(b"x")
            client.write(b"")
            client.end(b"")
            assert await server.read() == b"x"

    run(main)


def test_many_small_writes_stay_in_order(run: Run) -> None:
    """WRAP-03 and more: thousands of writes in one turn of the loop, from several tasks."""

    async def main() -> None:
        async with tls_pair() as (client, server):

            async def send(start: int) -> None:
                for number in range(start, start + 2000):
                    client.write(number.to_bytes(4, "big"))
                    if number % 500 == 0:
                        await asyncio.sleep(0)

            sending = asyncio.gather(*(send(start) for start in (0, 10_000, 20_000)))
            data = await server.readexactly(4 * 6000)
            await sending
            numbers = [int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)]
            for start in (0, 10_000, 20_000):
                assert [number for number in numbers if start <= number < start + 2000] == list(
                    range(start, start + 2000)
                )

    run(main)


def test_writable_length_counts_application_bytes(run: Run) -> None:
    """WRAP-04, WRAP-05: as long as the stream below has not taken them; 0 after drain and after close."""

    async def main() -> None:
        near, far = MemoryDuplex.pair()
        server = aiotls.TLSSocket(far, is_server=True, **server_options())
        client = await aiotls.connect(socket=near, **client_options())
        assert client.writable_length == 0
        for length in range(1, 10):
            client.write(b"x")
            assert client.writable_length == length
        assert await server.readexactly(9) == b"x" * 9
        await client.wait_for("drain") if client.writable_length else None
        assert client.writable_length == 0
        client.end()
        assert await server.read() == b""
        assert await client.read() == b""
        await client.wait_closed()
        assert client.writable_length == 0
        await gone(server)

    run(main)


def test_drain_waits_for_a_stalled_stream(run: Run) -> None:
    """Several tasks may wait; a cancelled one does not take the others with it."""

    async def main() -> None:
        near, far = MemoryDuplex.pair()
        server = aiotls.TLSSocket(far, is_server=True, **server_options())
        client = await aiotls.connect(socket=near, **client_options(high_water_mark=1000))
        await client.drain()
        near.stall()
        assert client.write(bytes(5000)) is False
        waiting = [asyncio.create_task(client.drain()) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        assert client.writable_length == 5000
        waiting[1].cancel()
        near.flow()
        await asyncio.gather(waiting[0], waiting[2])
        assert waiting[1].cancelled()
        await client.drain()
        assert await server.readexactly(5000) == bytes(5000)
        await gone(client, server)

    run(main)


def test_drain_before_the_handshake(run: Run) -> None:
    async def main() -> None:
        async with tls_pair(secure=False) as (client, server):
            client.write(MEBIBYTE)
            await asyncio.gather(client.drain(), server.readexactly(len(MEBIBYTE)))
            assert client.writable_length == 0

    run(main)


def test_drain_of_a_failed_handshake(run: Run) -> None:
    """ERR-06: who waits for his data to leave gets the error; nobody hangs."""

    async def main() -> None:
        near, _far = MemoryDuplex.pair()
        client = aiotls.connect(socket=near, **client_options(high_water_mark=10))
        client.write(bytes(100))
        draining = asyncio.create_task(client.drain())
        await asyncio.sleep(0.01)
        near.deliver(b"")
        with pytest.raises(aiotls.ConnectionLost) as failure:
            await draining
        assert failure.value.code == "ECONNRESET"
        with pytest.raises(aiotls.ConnectionLost):
            await client.drain()
        with pytest.raises(aiotls.ConnectionLost):
            client.write(b"more")

    run(main)


def test_drain_of_a_destroyed_socket(run: Run) -> None:
    """Waiting already, or asked afterwards: neither hangs."""

    async def main() -> None:
        async with tls_pair() as (client, _server):
            await until(lambda: not client.write(MEBIBYTE))
            waiting = asyncio.create_task(client.drain())
            await asyncio.sleep(0)
            client.destroy()
            with pytest.raises(aiotls.StreamDestroyed):
                await client.drain()
            with pytest.raises(aiotls.StreamDestroyed):
                await waiting

    run(main)


def test_wrong_moments(run: Run) -> None:
    """The codes of the reference: write after end, write after destroy."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            client.end(b"last")
            assert not client.writable
            with pytest.raises(aiotls.WriteAfterEnd) as after_end:
                client.write(b"x")
            assert after_end.value.code == "ERR_STREAM_WRITE_AFTER_END"
            assert isinstance(after_end.value, RuntimeError)
            with pytest.raises(aiotls.WriteAfterEnd):
                client.end(b"x")
            client.end()
            client.write_eof()
            assert await server.read() == b"last"
            server.destroy()
            with pytest.raises(aiotls.StreamDestroyed) as after_destroy:
                server.write(b"x")
            assert after_destroy.value.code == "ERR_STREAM_DESTROYED"
            server.end()

    run(main)


def test_end_before_anything(run: Run) -> None:
    """An end before the handshake is kept, and reading goes on."""

    async def main() -> None:
        async with tls_pair(secure=False, server={"allow_half_open": True}) as (client, server):
            client.end()
            assert await server.read() == b""
            server.end(b"still listening?")
            assert await client.read() == b"still listening?"
            await client.wait_closed()

    run(main)


def test_reading_goes_on_after_our_end(run: Run) -> None:
    """`end` ends one direction: a request, then a long answer."""

    async def main() -> None:
        async with tls_pair(server={"allow_half_open": True}) as (client, server):
            client.end(b"request")
            assert await server.read() == b"request"
            for _ in range(16):
                server.write(MEBIBYTE)
                await asyncio.sleep(0)
            server.end()
            digest = hashlib.sha256()
            async for chunk in client:
                digest.update(chunk)
            assert digest.digest() == hashlib.sha256(MEBIBYTE * 16).digest()

    run(main)


def test_bytes_written(run: Run) -> None:
    """DATA-10: application bytes, also at close."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            counts: list[int] = []
            server.on("close", lambda _: counts.append(server.bytes_written))
            server.end(bytes(32769))
            assert server.bytes_written == 32769
            assert len(await client.read()) == 32769
            await server.wait_closed()
            await asyncio.sleep(0)
            assert counts == [32769]
            assert client.bytes_read == 32769

    run(main)


def test_finish_comes_when_our_end_has_left(run: Run) -> None:
    async def main() -> None:
        async with tls_pair() as (client, server):
            events: list[str] = []
            for name in ("finish", "end", "close"):
                client.on(name, lambda *_, name=name: events.append(name))
            finished = asyncio.ensure_future(client.wait_for("finish"))
            await asyncio.sleep(0)
            client.end(MEBIBYTE)
            assert await server.read() == MEBIBYTE
            await finished
            assert await client.read() == b""
            await client.wait_closed()
            await asyncio.sleep(0)
            assert sorted(events) == ["close", "end", "finish"]
            assert events[-1] == "close"

    run(main)


def test_both_sides_write_without_reading(run: Run) -> None:
    """No deadlock: both push 4 MiB, and read only when all of it was accepted by write()."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            for socket in (client, server):
                socket.write(MEBIBYTE * 4)
                socket.end()
            first, second = await asyncio.gather(client.read(), server.read())
            assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
            assert len(first) == 4 * len(MEBIBYTE)

    run(main)


def test_a_large_write_leaves_the_loop_to_others(run: Run) -> None:
    """However fast the peer takes it, a turn sends no more than its share."""

    async def main() -> None:
        near, far = await tcp_pair()
        peer = BarePeer.client(far)
        server = aiotls.TLSSocket(near, is_server=True, **server_options())
        await asyncio.gather(server, peer.handshake())
        far.setblocking(True)
        reader = asyncio.create_task(asyncio.to_thread(throw_away, far))
        server.write(MEBIBYTE * 64)
        waiting = [64 * 2**20, server.writable_length]
        while waiting[-1]:
            await asyncio.sleep(0)
            waiting.append(server.writable_length)
        server.destroy()
        await reader
        far.close()
        assert max(before - after for before, after in itertools.pairwise(waiting)) <= 3 * 2**20

    run(main)


def throw_away(end: socket.socket) -> None:
    """Reads ciphertext as fast as it comes, to its end."""
    while end.recv(2**20):
        pass
