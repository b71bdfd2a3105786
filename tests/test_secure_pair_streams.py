"""The two ends of a stream in memory, as a secure pair uses them, without TLS."""

import asyncio
import errno
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiotls
from aiotls.secure_pair import MemoryStream
from tests.conftest import Run


def ends(mark: int = 65536) -> tuple[MemoryStream, MemoryStream]:
    one, other = MemoryStream.pair(asyncio.get_running_loop())
    one.high_water_mark = other.high_water_mark = mark
    return one, other


def events_of(stream: MemoryStream) -> list[Any]:
    told: list[Any] = []
    for name in ("data", "end", "drain", "finish", "error", "close"):
        stream.on(name, lambda *arguments, name=name: told.append((name, *arguments)))
    return told


def test_each_direction_ends_by_itself(run: Run) -> None:
    """Closed is what has ended in both directions and was read to its end."""

    async def main() -> None:
        one, other = ends()
        told = events_of(other)
        one.end(b"question")
        await other.wait_for("end")
        assert told == [("data", b"question"), ("end",)]
        assert other.writable
        other.end(b"answer")
        assert await one.read() == b"answer"
        await asyncio.gather(one.wait_closed(), other.wait_closed())
        assert told == [("data", b"question"), ("end",), ("finish",), ("close", False)]
        assert one.destroyed
        await one.wait_closed()

    run(main)


def test_nothing_is_delivered_in_the_call(run: Run) -> None:
    """Two listeners that answer each other do not recurse."""

    async def main() -> None:
        one, other = ends()
        rounds = 0

        def answer(data: bytes) -> None:
            nonlocal rounds
            rounds += 1
            if rounds < 5000:
                other.write(data)
            else:
                other.end()

        one.on("data", one.write)
        other.on("data", answer)
        one.write(b"ball")
        assert rounds == 0
        await one.wait_for("end")
        assert rounds == 5000
        one.end()
        await asyncio.gather(one.wait_closed(), other.wait_closed())

    run(main)


def test_water_marks(run: Run) -> None:
    """The reader's end holds a mark's worth, then the writer's end does, and `drain` waits."""

    async def main() -> None:
        one, other = ends(100)
        assert one.write(bytes(99)) is True
        assert one.write(b"x") is False
        await one.drain()
        assert (one.writable_length, other.readable_length) == (0, 100)
        assert one.write(bytes(100)) is False
        drained = asyncio.create_task(one.drain())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not drained.done()
        assert (one.writable_length, other.readable_length) == (100, 100)
        assert len(await other.read(1)) == 1
        await drained
        assert (one.writable_length, other.readable_length) == (0, 199)
        assert (one.bytes_written, other.bytes_read) == (200, 200)
        one.destroy()
        await asyncio.gather(one.wait_closed(), other.read())
        other.destroy()

    run(main)


def test_close_gives_everything_away(run: Run) -> None:
    """Also what is over the mark; what the other end still writes is taken and thrown away."""

    async def main() -> None:
        one, other = ends(10)
        for _ in range(10):
            one.write(bytes(10))
        one.close()
        one.close()
        await one.wait_closed()
        assert other.is_closing()
        for _ in range(10):
            assert other.write(bytes(100)) is True
        await other.drain()
        assert await other.read() == bytes(100)
        await other.wait_closed()
        with pytest.raises(aiotls.StreamDestroyed):
            one.write(b"x")

    run(main)


def test_close_throws_away_what_came(run: Run) -> None:
    """Also what the other end could not get rid of; its `drain` does not wait for ever, and it closes with its end."""

    async def main() -> None:
        one, other = ends(10)
        one.end()
        assert await other.read() == b""
        other.write(bytes(10))
        await other.drain()
        other.write(bytes(10))
        drained = asyncio.create_task(other.drain())
        for _ in range(10):
            await asyncio.sleep(0)
        assert (one.readable_length, other.writable_length) == (10, 10)
        assert not drained.done()
        assert not other.destroyed
        one.close()
        assert one.readable_length == 0
        await drained
        await asyncio.gather(one.wait_closed(), other.wait_closed())
        with pytest.raises(aiotls.StreamDestroyed):
            await one.read(1)

    run(main)


def test_destroy_delivers_nothing_more(run: Run) -> None:
    async def main() -> None:
        one, other = ends()
        one.write(b"x")
        one.destroy()
        assert await other.read() == b""
        await other.wait_closed()

    run(main)


def test_destroy_loses_what_was_not_taken(run: Run) -> None:
    async def main() -> None:
        one, other = ends(10)
        one.write(bytes(10))
        await one.drain()
        one.write(bytes(10))
        waiting = [asyncio.create_task(each) for each in (one.drain(), one.wait_closed(), one.read(1))]
        await asyncio.sleep(0)
        one.destroy()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], aiotls.StreamDestroyed)
        assert results[1] is None
        assert isinstance(results[2], aiotls.StreamDestroyed)
        assert await other.read() == bytes(10)
        await other.wait_closed()

    run(main)


def test_both_ends_fail_with_an_error(run: Run) -> None:
    """Who waits is told; else the listeners are."""

    async def main() -> None:
        one, other = ends()
        told = events_of(one)
        reading = asyncio.create_task(other.read(1))
        await asyncio.sleep(0)
        error = OSError(errno.EPIPE, "Broken pipe")
        assert one.destroy(error).destroyed
        with pytest.raises(OSError, match="Broken pipe"):
            await reading
        await other.wait_closed()
        assert told == [("error", error), ("close", True)]
        for end in (one, other):
            with pytest.raises(OSError, match="Broken pipe"):
                end.write(b"x")
            with pytest.raises(OSError, match="Broken pipe"):
                await end.drain()

    run(main)


def test_an_end_that_is_reset(run: Run) -> None:
    async def main() -> None:
        one, other = ends()
        told = events_of(other)
        one.abort()
        assert await other.wait_for("close") is True
        ((name, error),) = [entry for entry in told if entry[0] != "close"]
        assert name == "error"
        assert error.code == "ECONNRESET"

    run(main)


@pytest.mark.parametrize("style", ["plain", "async"])
def test_a_listener_that_raises(run: Run, style: str) -> None:
    """Both ends fail with its error."""

    async def main() -> None:
        one, other = ends()
        wrong = LookupError("wrong")

        def plain(_data: bytes) -> None:
            raise wrong

        async def later(data: bytes) -> None:
            await asyncio.sleep(0)
            plain(data)

        other.on("data", plain if style == "plain" else later)
        one.write(b"x")
        with pytest.raises(LookupError):
            await one.read(1)
        assert one.destroyed
        assert other.destroyed

    run(main)


@pytest.mark.parametrize("event", ["error", "close"])
def test_a_listener_that_raises_too_late(run: Run, loop_errors: list[dict[str, Any]], event: Any) -> None:
    """When the stream closes anyway, the loop's exception handler is told."""

    async def main() -> None:
        one, _other = ends()

        def listener(_: Any) -> None:
            raise LookupError("wrong")

        one.on(event, listener)
        one.destroy(OSError("broken") if event == "error" else None)
        await one.wait_for("close")

    run(main)
    (context,) = loop_errors
    assert isinstance(context["exception"], LookupError)
    assert isinstance(context["stream"], MemoryStream)
    loop_errors.clear()


def test_a_listener_that_is_cancelled(run: Run) -> None:
    async def main() -> None:
        one, other = ends()

        async def listener(_data: bytes) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

        other.on("data", listener)
        one.write(b"x")
        await other.wait_closed()
        assert await one.read() == b""

    run(main)


STEPS = st.lists(st.tuples(st.sampled_from(["write", "read", "pause", "turn"]), st.integers(1, 50)), max_size=30)


@settings(deadline=None)
@given(STEPS, st.integers(0, 60))
def test_any_order_of_steps(steps: list[tuple[str, int]], mark: int) -> None:
    """Nothing is lost or changes places, whoever is slow."""

    async def main() -> None:
        one, other = ends(mark)
        sent, received = bytearray(), bytearray()
        for step, number in steps:
            if step == "write":
                data = bytes((len(sent) + index) % 251 for index in range(number))
                sent += data
                one.write(data)
            elif step == "read" and other.readable_length:
                received += await other.read(number)
            elif step == "pause":
                other.pause()
            else:
                await asyncio.sleep(0)
        one.end()
        other.on("data", received.extend)
        other.resume()
        await other.wait_for("end")
        assert received == sent
        other.end()
        await one.read()
        await asyncio.gather(one.wait_closed(), other.wait_closed())

    asyncio.run(main())
