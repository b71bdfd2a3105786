"""Data, ends and cancellation while a renegotiation is under way."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, client_options, gone, server_options, until
from tests.support.secured import WAYS, secured
from tests.support.servers import serving, to

TLS12 = {"max_version": "TLSv1.2"}
BULK = os.urandom(1024) * 1024
"""1 MiB."""
PIECE = 5_000


async def send(mine: aiotls.TLSSocket, stop: asyncio.Event) -> bytes:
    """Writes numbered pieces until it is to stop, and the end; answers what was written."""
    written = bytearray()
    for number in itertools.count():
        if stop.is_set():
            break
        piece = b"%06d" % number + BULK[:PIECE]
        mine.write(piece)
        written += piece
        await mine.drain()
        await asyncio.sleep(0)
    mine.end()
    return bytes(written)


async def renegotiate(mine: aiotls.TLSSocket, times: int) -> None:
    for _ in range(times):
        await mine.renegotiate()
        await asyncio.sleep(0)


@pytest.mark.parametrize("by", ["client", "server", "both"])
@pytest.mark.parametrize("way", WAYS)
def test_data_of_both_meanwhile(run: Run, way: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What both write arrives complete and in order, however often either renegotiates."""
    monkeypatch.setattr(aiotls.defaults, "client_reneg_limit", 1000)

    async def main() -> None:
        async with secured(way, TLS12) as (near, far):
            stop = asyncio.Event()
            sending = [asyncio.create_task(send(each, stop)) for each in (near, far)]
            reading = [asyncio.create_task(each.read()) for each in (far, near)]
            sides = {"client": [near], "server": [far], "both": [near, far]}[by]
            await asyncio.gather(*(renegotiate(side, 10) for side in sides))
            stop.set()
            for wrote, read in zip(sending, reading, strict=True):
                assert await wrote == await read

    run(main)


@pytest.mark.parametrize("by", ["client", "server"])
@pytest.mark.parametrize("way", WAYS)
def test_what_was_written_at_once(run: Run, way: str, by: str) -> None:
    """Both write before the handshake, in its midst and after it, without giving way to the loop between."""

    async def main() -> None:
        async with secured(way, TLS12) as (near, far):
            for each in (near, far):
                each.write(b"1" * 100_000)
            task = asyncio.create_task((near if by == "client" else far).renegotiate())
            await asyncio.sleep(0)
            for each in (near, far):
                each.write(b"2" * 100_000)
            await asyncio.sleep(0)
            for each in (near, far):
                each.write(b"3" * 100_000)
            expected = b"1" * 100_000 + b"2" * 100_000 + b"3" * 100_000
            received = await asyncio.gather(*(each.readexactly(len(expected)) for each in (near, far)))
            assert received == [expected] * 2
            await task
            for each in (near, far):
                assert each.writable_length == 0
                assert each.bytes_written == len(expected)

    run(main)


def test_listeners_of_drain(run: Run) -> None:
    """Flow control goes on: what waited for the handshake is drained after it."""

    async def main() -> None:
        async with secured(server=TLS12) as (near, far):
            far.on("data", lambda _: None)
            task = asyncio.create_task(near.renegotiate())
            await asyncio.sleep(0)
            drained: list[int] = []
            near.on("drain", lambda: drained.append(near.writable_length))
            assert near.write(BULK) is False
            await task
            await near.drain()
            await until(lambda: drained)
            await until(lambda: far.bytes_read == len(BULK))

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_behind_data_that_nobody_reads(run: Run, way: str) -> None:
    """What the client has sent before stands in the way: the server is done when it is read, or says that it waits."""

    async def main() -> None:
        async with secured(way, {**TLS12, "handshake_timeout": 3.0}) as (near, far):
            near.write(BULK)
            task = asyncio.create_task(far.renegotiate())
            for _ in range(100):
                await asyncio.sleep(0)
            assert await far.readexactly(len(BULK)) == BULK
            await task
            near.write(b"x")
            assert await far.readexactly(1) == b"x"

        async with secured(way, {**TLS12, "handshake_timeout": 1.0}) as (near, far):
            near.on("error", lambda _: None)
            near.write(BULK)
            (result,) = await asyncio.gather(far.renegotiate(), return_exceptions=True)
            assert result is None or isinstance(result, aiotls.HandshakeTimeout)

    run(main)


# ---- ends in the midst


@contextlib.asynccontextmanager
async def slow_pair() -> AsyncIterator[tuple[aiotls.TLSSocket, aiotls.TLSSocket]]:
    """A pair over memory, where each step of a handshake takes turns of the loop that a test can count."""
    one, other = MemoryDuplex.pair()
    far = aiotls.TLSSocket(other, is_server=True, **server_options(**TLS12))
    near = aiotls.connect(socket=one, **client_options())
    try:
        await asyncio.gather(near, far)
        yield near, far
    finally:
        await gone(near, far)


async def outcome(task: "asyncio.Task[None]") -> BaseException | None:
    """How a renegotiation ended: with None, or with an error that says why not."""
    (result,) = await asyncio.gather(task, return_exceptions=True)
    assert result is None or isinstance(result, aiotls.TLSError | asyncio.CancelledError), result
    return result


@pytest.mark.parametrize("turns", range(0, 16, 2))
@pytest.mark.parametrize("ending", ["same", "other", "both"])
@pytest.mark.parametrize("by", ["client", "server"])
def test_end(run: Run, by: str, ending: str, turns: int) -> None:
    """`end` in the midst: what was written before it arrives, or the reader learns that it did not; nobody waits on."""

    async def main() -> None:
        async with slow_pair() as (near, far):
            mine, other = (near, far) if by == "client" else (far, near)
            enders = {"same": [mine], "other": [other], "both": [mine, other]}[ending]
            for each in enders:
                each.write(b"first ")
            task = asyncio.create_task(mine.renegotiate())
            for _ in range(turns):
                await asyncio.sleep(0)
            for each in enders:
                each.end(b"tail")
            received = await asyncio.gather(other.read(), mine.read(), return_exceptions=True)
            for reader, writer, data in ((other, mine, received[0]), (mine, other, received[1])):
                written = b"first tail" if writer in enders else b""
                assert isinstance(data, aiotls.TLSError) or reader.truncated or data == written
            await outcome(task)
            for each in (near, far):
                with contextlib.suppress(aiotls.TLSError):
                    await each.wait_closed()

    run(main)


@pytest.mark.parametrize("by", ["client", "server"])
@pytest.mark.parametrize("way", WAYS)
def test_end_after_it(run: Run, way: str, by: str) -> None:
    """Who awaits the renegotiation and then ends loses nothing, and is closed in order."""

    async def main() -> None:
        async with secured(way, TLS12) as (near, far):
            mine, other = (near, far) if by == "client" else (far, near)
            mine.write(b"first ")
            await mine.renegotiate()
            mine.end(b"tail")
            other.end(b"answer")
            assert [*await asyncio.gather(other.read(), mine.read())] == [b"first tail", b"answer"]
            await asyncio.gather(near.wait_closed(), far.wait_closed())
            assert not near.truncated
            assert not far.truncated

    run(main)


@pytest.mark.parametrize("method", ["close", "destroy", "reset_and_destroy"])
@pytest.mark.parametrize("turns", range(0, 12, 3))
@pytest.mark.parametrize("by", ["client", "server"])
def test_destroy(run: Run, by: str, turns: int, method: str) -> None:
    """Whoever awaits is told, and both sides are closed."""

    async def main() -> None:
        async with slow_pair() as (near, far):
            mine, other = (near, far) if by == "client" else (far, near)
            other.on("error", lambda _: None)
            other.on("data", lambda _: None)
            closed = [asyncio.ensure_future(each.wait_for("close")) for each in (mine, other)]
            task = asyncio.create_task(mine.renegotiate())
            for _ in range(turns):
                await asyncio.sleep(0)
            getattr(mine, method)()
            await asyncio.gather(*closed)
            assert task.done()
            await outcome(task)

    run(main)


@pytest.mark.parametrize("turns", range(0, 12, 3))
@pytest.mark.parametrize("by", ["client", "server"])
def test_destroyed_by_the_peer(run: Run, by: str, turns: int) -> None:
    async def main() -> None:
        async with slow_pair() as (near, far):
            mine, other = (near, far) if by == "client" else (far, near)
            task = asyncio.create_task(mine.renegotiate())
            for _ in range(turns):
                await asyncio.sleep(0)
            other.destroy()
            await outcome(task)
            mine.close()
            with contextlib.suppress(aiotls.ConnectionLost):
                await mine.wait_closed()

    run(main)


@pytest.mark.parametrize("turns", range(0, 14, 2))
@pytest.mark.parametrize("by", ["client", "server"])
@pytest.mark.parametrize("way", ["accepted", "memory"])
def test_failure_model_20_cancelled(run: Run, way: str, by: str, turns: int) -> None:
    """Failure model 20: whoever no longer waits disturbs nothing; the handshake goes on, and so does the data."""

    async def main() -> None:
        async with secured(way, TLS12) as (near, far):
            mine, other = (near, far) if by == "client" else (far, near)
            task = asyncio.create_task(mine.renegotiate())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert not mine.destroyed
            mine.write(b"there")
            assert await other.readexactly(5) == b"there"
            other.write(b"back")
            assert await mine.readexactly(4) == b"back"
            await mine.renegotiate()

    run(main)


def test_the_server_closes(run: Run) -> None:
    """Closing a server with a renegotiation under way ends it with the rest."""

    async def main() -> None:
        accepted: list[aiotls.TLSSocket] = []
        async with serving(accepted.append, **TLS12) as server:
            near = await to(server)
            await until(lambda: accepted)
            task = asyncio.create_task(near.renegotiate())
            await asyncio.sleep(0)
            server.close_all_connections()
            await outcome(task)
            await gone(near)

    run(main)
