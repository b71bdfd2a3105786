"""The readable side of `TLSSocket`: two styles of reading, one buffer, one flow control."""

import asyncio
import hashlib
import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiotls
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, client_options, gone, server_options, tls_pair, until

MEBIBYTE = os.urandom(1024) * 1024


def test_read_gives_what_is_there(run: Run) -> None:
    async def main() -> None:
        async with tls_pair() as (client, server):
            client.write(b"hello")
            assert await server.read(1) == b"h"
            assert await server.read(100) == b"ello"
            assert await server.read(0) == b""
            client.end(b"the rest")
            assert await server.read() == b"the rest"
            assert await server.read() == b""
            assert await server.read(5) == b""
            assert server.at_eof()
            assert not server.readable

    run(main)


def test_readexactly(run: Run) -> None:
    """Across records and writes; too short a stream gives up what came (asyncio's own exception)."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            reading = asyncio.create_task(server.readexactly(100_000))
            for start in range(0, 100_005, 9_999):
                client.write(MEBIBYTE[start : min(start + 9_999, 100_005)])
                await asyncio.sleep(0)
            assert await reading == MEBIBYTE[:100_000]
            assert await server.readexactly(0) == b""
            client.end()
            with pytest.raises(asyncio.IncompleteReadError) as failure:
                await server.readexactly(6)
            assert failure.value.partial == MEBIBYTE[100_000:100_005]
            assert failure.value.expected == 6

    run(main)


def test_readuntil(run: Run) -> None:
    """The separator may arrive in pieces; without one, what came is in the exception."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            reading = asyncio.create_task(server.readuntil(b"\r\n\r\n"))
            for piece in (b"GET / HTTP/1.0\r", b"\nHost: x\r\n", b"\r", b"\nbody"):
                client.write(piece)
                await asyncio.sleep(0.001)
            assert await reading == b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"
            with pytest.raises(ValueError, match="separator"):
                await server.readuntil(b"")
            client.end()
            with pytest.raises(asyncio.IncompleteReadError) as failure:
                await server.readuntil(b"\n")
            assert failure.value.partial == b"body"
            assert failure.value.expected is None

    run(main)


def test_readuntil_has_a_limit(run: Run) -> None:
    """A separator that does not come ends in LimitOverrunError, not in memory; the data stays."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            client.write(MEBIBYTE.replace(b"\n", b"\0"))
            with pytest.raises(asyncio.LimitOverrunError):
                await server.readuntil(b"\n")
            assert 65536 <= server.readable_length < len(MEBIBYTE)
            assert await server.readexactly(len(MEBIBYTE)) == MEBIBYTE.replace(b"\n", b"\0")

    run(main)


def test_readline(run: Run) -> None:
    async def main() -> None:
        async with tls_pair() as (client, server):
            client.write(b"one\ntwo\n\nno newline")
            client.end()
            assert [await server.readline() for _ in range(5)] == [b"one\n", b"two\n", b"\n", b"no newline", b""]

        async with tls_pair() as (client, server):
            client.write(bytes(2**18))
            with pytest.raises(ValueError, match="separator"):
                await server.readline()

    run(main)


def test_async_for_ends_with_the_stream(run: Run) -> None:
    async def main() -> None:
        async with tls_pair() as (client, server):
            client.end(MEBIBYTE)
            chunks = [chunk async for chunk in server]
            assert all(chunks)
            assert b"".join(chunks) == MEBIBYTE

    run(main)


def test_one_reader_at_a_time(run: Run) -> None:
    """A second one is told at once; the first is not disturbed."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            first = asyncio.create_task(server.read(10))
            await asyncio.sleep(0)
            with pytest.raises(aiotls.StateError):
                await server.read(10)
            client.write(b"for the first")
            assert await first == b"for the fi"
            assert await server.read(10) == b"rst"

    run(main)


@pytest.mark.parametrize("size", ["10", 1.5, None, b"x"])
def test_sizes_of_a_wrong_type(run: Run, size: Any) -> None:
    async def main() -> None:
        async with tls_pair() as (_client, server):
            with pytest.raises((TypeError, ValueError), match="size"):
                await server.readexactly(size)
            with pytest.raises(ValueError, match="size"):
                await server.readexactly(-1)

    run(main)


def test_data_listener_gets_what_came_before(run: Run) -> None:
    """The buffer is shared: what no coroutine has read goes to a listener added later, in order."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            client.write(b"abcdef")
            assert await server.read(2) == b"ab"
            received: list[bytes] = []
            ended = asyncio.ensure_future(server.wait_for("end"))
            await asyncio.sleep(0)
            server.on("data", received.append)
            assert received == [], "listeners are never called by on()"
            client.end(b"ghi")
            await ended
            assert b"".join(received) == b"cdefghi"
            assert server.readable_length == 0

    run(main)


def test_from_listener_back_to_await(run: Run) -> None:
    async def main() -> None:
        async with tls_pair() as (client, server):
            arrived = asyncio.Event()

            def data(_: bytes) -> None:
                arrived.set()

            server.on("data", data)
            client.write(b"event")
            await arrived.wait()
            with pytest.raises(aiotls.StateError, match="data"):
                await server.read(1)
            server.off("data", data)
            client.write(b"await")
            assert await server.readexactly(5) == b"await"

    run(main)


def test_end_comes_once_and_after_the_data(run: Run) -> None:
    async def main() -> None:
        async with tls_pair() as (client, server):
            events: list[str] = []
            server.on("end", lambda: events.append("end"))
            client.end(b"data")
            await until(lambda: server.bytes_read >= 4)
            await asyncio.sleep(0.01)
            assert events == [], "the end is not told before it is read"
            assert await server.read() == b"data"
            await server.wait_closed()
            assert events == ["end"]

    run(main)


def test_what_nobody_reads_stays_with_the_peer(run: Run) -> None:
    """Without a reader about `high_water_mark` bytes are taken, no more."""

    async def main() -> None:
        async with tls_pair(server={"high_water_mark": 20_000}) as (client, server):
            client.write(MEBIBYTE * 8)
            await until(lambda: server.readable_length >= 20_000)
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert 20_000 <= server.readable_length <= 20_000 + 512 * 1024
            assert server.readable_length == server.bytes_read
            assert client.writable_length > 0

    run(main)


@pytest.mark.parametrize("mark", [0, 1, 4096, 128_000])
def test_every_mark_reads_everything(run: Run, mark: int) -> None:
    """DATA-08: the mark holds for reading; 0 reads as well."""

    async def main() -> None:
        options = {"high_water_mark": mark}
        async with tls_pair(client=options, server=options) as (client, server):
            assert server.high_water_mark == mark
            client.end(MEBIBYTE)
            assert hashlib.sha256(await server.read()).digest() == hashlib.sha256(MEBIBYTE).digest()
            server.end(b"a line\n" * 10_000)
            lines = [await client.readline() for _ in range(10_000)]
            assert lines == [b"a line\n"] * 10_000

    run(main)


def test_nothing_before_resume(run: Run) -> None:
    """DATA-02, DATA-03: an echo of what piled up until write() said no comes only after resume, and whole."""

    async def main() -> None:
        async with tls_pair() as (client, server):

            async def echo() -> None:
                async for chunk in server:
                    server.write(chunk)
                    await server.drain()

            echoing = asyncio.create_task(echo())
            received = 0
            done = asyncio.Event()

            def data(chunk: bytes) -> None:
                nonlocal received
                assert not client.is_paused()
                received += len(chunk)
                if received == sent:
                    done.set()

            client.on("data", data)
            client.pause()
            assert client.is_paused()
            sent = 0
            while sent < 100 * 2**20:
                sent += len(MEBIBYTE)
                if not client.write(MEBIBYTE):
                    break
            assert sent < 100 * 2**20
            await asyncio.sleep(0.05)
            assert received == 0
            client.resume()
            assert not client.is_paused()
            await done.wait()
            echoing.cancel()

    run(main)


def test_paused_on_every_chunk(run: Run) -> None:
    """DATA-04, DATA-06: pause and resume around every chunk of 12 MiB; then close."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            digest = hashlib.sha256()
            loop = asyncio.get_running_loop()

            def data(chunk: bytes) -> None:
                digest.update(chunk)
                client.pause()
                loop.call_soon(client.resume)

            client.on("data", data)
            server.end(MEBIBYTE * 12)
            assert await client.wait_for("close") is False
            assert digest.digest() == hashlib.sha256(MEBIBYTE * 12).digest()
            assert client.bytes_read == 12 * len(MEBIBYTE)

    run(main)


def test_pause_in_the_middle_of_a_backlog(run: Run) -> None:
    """What was already received is held back too, and the end behind it."""

    async def main() -> None:
        async with tls_pair(server={"high_water_mark": 2**22}) as (client, server):
            client.end(MEBIBYTE)
            await until(lambda: server.bytes_read >= len(MEBIBYTE))
            events: list[str] = []

            def data(chunk: bytes) -> None:
                events.append("data")
                server.pause()

            server.on("data", data)
            server.on("end", lambda: events.append("end"))
            await asyncio.sleep(0.01)
            assert events == ["data"]
            while "end" not in events:
                before = len(events)
                server.resume()
                await asyncio.sleep(0.001)
                assert len(events) <= before + 2
            assert events.count("end") == 1

    run(main)


def test_pause_and_resume_then_await(run: Run) -> None:
    """pause() and resume() are no decision for events: whoever awaits right afterwards gets everything."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            server.pause()
            client.end(b"patience")
            await asyncio.sleep(0.01)
            server.resume()
            assert await server.read() == b"patience"

    run(main)


def test_a_waiting_reader_and_resume(run: Run) -> None:
    """A reader that waits since before resume() gets the data; it does not go to nobody."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            server.pause()
            reading = asyncio.create_task(server.readexactly(8))
            await asyncio.sleep(0)
            client.write(b"patience")
            await asyncio.sleep(0.01)
            assert not reading.done(), "nothing is delivered before resume()"
            server.resume()
            assert await reading == b"patience"

    run(main)


def test_resume_without_a_listener_throws_away(run: Run) -> None:
    """CLOSE-04: what nobody wants does not keep a connection open."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            client.resume()
            server.resume()
            closed = [asyncio.ensure_future(socket.wait_for("close")) for socket in (client, server)]
            await asyncio.sleep(0)
            client.end(MEBIBYTE)
            assert await asyncio.gather(*closed) == [False, False]
            assert server.bytes_read == len(MEBIBYTE)

    run(main)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=12),
    reads=st.lists(st.integers(1, 60_000), min_size=1, max_size=6),
    mark=st.sampled_from([0, 1, 1000, 65536]),
    seed=st.integers(0, 2**16),
)
def test_no_schedule_loses_a_byte(run: Run, sizes: list[int], reads: list[int], mark: int, seed: int) -> None:
    """Writers, readers, pauses and turns of the loop in any order: every byte arrives, in order, and nobody hangs."""

    async def main() -> None:
        choose = random.Random(seed)
        expected = b"".join(choose.randbytes(size) for size in sizes)
        options = {"high_water_mark": mark}
        async with tls_pair(client=options, server=options) as (client, server):

            async def send() -> None:
                start = 0
                for size in sizes:
                    client.write(expected[start : start + size])
                    start += size
                    if choose.random() < 0.5:
                        await client.drain()
                    for _ in range(choose.randrange(3)):
                        await asyncio.sleep(0)
                client.end()

            async def disturb() -> None:
                for _ in range(choose.randrange(20)):
                    server.pause()
                    for _ in range(choose.randrange(3)):
                        await asyncio.sleep(0)
                    server.resume()
                    await asyncio.sleep(0)

            async def receive() -> bytes:
                received = bytearray()
                turn = 0
                while chunk := await server.read(reads[turn % len(reads)]):
                    received += chunk
                    turn += 1
                return bytes(received)

            _, _, received = await asyncio.gather(send(), disturb(), receive())
            assert received == expected

    run(main)


def test_parts_with_a_pause_between(run: Run) -> None:
    """DATA-07: a first part is delivered while the second is not even written."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            server.write(b"first")
            assert await client.read(100) == b"first"
            server.end(b"second")
            assert await client.read() == b"second"

    run(main)


def test_data_before_an_error_can_be_read(run: Run) -> None:
    """The error comes where it belongs: after the data."""

    async def main() -> None:
        near, far = MemoryDuplex.pair()
        server = aiotls.TLSSocket(far, is_server=True, **server_options())
        client = aiotls.connect(socket=near, **client_options(require_close_notify=True))
        await asyncio.gather(client, server)
        server.write(b"all there is")
        await until(lambda: client.readable_length >= 12)
        near.deliver(b"")
        await until(lambda: client.destroyed)
        assert await client.read(3) == b"all"
        assert await client.read(100) == b" there is"
        with pytest.raises(aiotls.ConnectionLost) as failure:
            await client.read(100)
        assert failure.value.code == "ERR_TLS_TRUNCATED"
        await gone(client, server)

    run(main)


def test_reading_from_a_destroyed_socket(run: Run) -> None:
    async def main() -> None:
        async with tls_pair() as (_client, server):
            waiting = asyncio.create_task(server.read(1))
            await asyncio.sleep(0)
            server.destroy()
            with pytest.raises(aiotls.StreamDestroyed):
                await waiting
            with pytest.raises(aiotls.StreamDestroyed) as failure:
                await server.read(1)
            assert failure.value.code == "ERR_STREAM_DESTROYED"

    run(main)
