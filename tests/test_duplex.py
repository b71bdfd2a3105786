"""The two sides of a stream by themselves: buffer, water marks and flow control, with nothing below them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiotls
from aiotls.duplex import Duplex
from aiotls.onread import OnReadOption


class Tray(Duplex):
    """A stream over nothing: it remembers what it was asked for, and the test is the peer."""

    def __init__(self, mark: int = 10, onread: OnReadOption | None = None) -> None:
        super().__init__(asyncio.get_running_loop(), mark, onread)
        self.wanted: list[bool] = []
        self.written = bytearray()
        self.left = 0
        self.asked_for_drain = 0
        self.ended = 0
        self.after = 0
        self.failures: list[BaseException] = []

    def _take_data(self, wanted: bool) -> None:
        self.wanted.append(wanted)

    def _write(self, data: bytes) -> int:
        self.written += data
        self.left += len(data)
        return self.left

    def _pending(self) -> int:
        return self.left

    def _want_drain(self) -> None:
        self.asked_for_drain += 1

    def _end(self) -> None:
        self.ended += 1

    def _after_end(self) -> None:
        self.after += 1

    def _listener_failed(self, event: str, error: BaseException, arguments: tuple[Any, ...]) -> None:
        self.failures.append(error)

    # What the wire would do.

    def receive(self, data: bytes) -> None:
        self._received_data(data)

    def receive_end(self) -> None:
        self._received_end()

    def let_go(self) -> None:
        self.left = 0
        self._drained()


def with_loop(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_data_stops_at_the_mark_and_starts_below_it() -> None:
    async def main() -> None:
        tray = Tray(mark=10)
        tray.receive(b"12345")
        assert tray.wanted in ([], [True])
        tray.receive(b"67890")
        assert tray.wanted[-1] is False
        assert tray.readable_length == 10
        assert await tray.read(1) == b"1"
        assert tray.wanted[-1] is True
        assert tray.bytes_read == 10

    with_loop(main)


def test_a_reader_that_wants_more_than_the_mark_gets_it() -> None:
    async def main() -> None:
        tray = Tray(mark=10)
        reading = asyncio.create_task(tray.readexactly(100))
        for _ in range(10):
            await asyncio.sleep(0)
            assert False not in tray.wanted
            tray.receive(b"x" * 10)
        assert await reading == b"x" * 100
        tray.receive(b"x" * 10)
        assert tray.wanted[-1] is False

    with_loop(main)


def test_reading_in_every_size() -> None:
    """Chunks are split and joined as the reader likes; nothing is copied out of order."""

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(min_size=1, max_size=20), max_size=10), st.lists(st.integers(1, 30), min_size=1))
    def check(chunks: list[bytes], sizes: list[int]) -> None:
        async def main() -> None:
            tray = Tray(mark=1000)
            for chunk in chunks:
                tray.receive(chunk)
            tray.receive_end()
            received = b""
            turn = 0
            while part := await tray.read(sizes[turn % len(sizes)]):
                assert len(part) <= sizes[turn % len(sizes)]
                received += part
                turn += 1
            assert received == b"".join(chunks)
            assert tray.at_eof()
            assert tray.readable_length == 0

        asyncio.run(main())

    check()


def test_readuntil_in_every_cut() -> None:
    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.sampled_from([b"a", b"b", b"ab", b"aab", b"\r", b"\n", b"\r\n", b"xyz"]), max_size=12),
        st.sampled_from([b"\n", b"\r\n", b"ab", b"aab"]),
    )
    def check(chunks: list[bytes], separator: bytes) -> None:
        async def main() -> None:
            tray = Tray(mark=1000)

            async def feed() -> None:
                for chunk in chunks:
                    tray.receive(chunk)
                    await asyncio.sleep(0)
                tray.receive_end()

            feeding = asyncio.create_task(feed())
            *expected, rest = b"".join(chunks).split(separator)
            for part in expected:
                assert await tray.readuntil(separator) == part + separator
            with pytest.raises(asyncio.IncompleteReadError) as failure:
                await tray.readuntil(separator)
            assert failure.value.partial == rest
            await feeding

        asyncio.run(main())

    check()


def test_drain_and_the_marks() -> None:
    async def main() -> None:
        tray = Tray(mark=10)
        drains: list[int] = []
        tray.on("drain", lambda: drains.append(1))
        await tray.drain()
        assert tray.write(b"123456789") is True
        await tray.drain()
        assert tray.asked_for_drain == 0
        assert tray.write(b"0") is False
        assert tray.write(b"1") is False
        assert tray.asked_for_drain == 1, "asked for once"
        waiting = [asyncio.create_task(tray.drain()) for _ in range(2)]
        await asyncio.sleep(0)
        assert tray.writable_length == 11
        tray.let_go()
        await asyncio.gather(*waiting)
        assert drains == [1]
        assert tray.write(b"more") is True
        assert tray.bytes_written == 15
        assert bytes(tray.written) == b"12345678901more"

    with_loop(main)


def test_written_in_the_drain_listener() -> None:
    """The usual producer: each "drain" writes on until write() says no; it is told again."""

    async def main() -> None:
        tray = Tray(mark=3)
        turns = 0

        def produce() -> None:
            nonlocal turns
            turns += 1
            while tray.write(b"x"):
                pass

        tray.on("drain", produce)
        produce()
        for _ in range(4):
            tray.let_go()
        assert turns == 5
        assert tray.asked_for_drain == 5
        assert len(tray.written) == 15

    with_loop(main)


def test_end_is_told_once() -> None:
    async def main() -> None:
        tray = Tray()
        assert tray.writable
        assert tray.can_write_eof() is True
        assert tray.end(b"last") is tray
        tray.end()
        tray.write_eof()
        assert tray.ended == 1
        assert not tray.writable
        with pytest.raises(aiotls.WriteAfterEnd):
            tray.write(b"x")
        assert bytes(tray.written) == b"last"

    with_loop(main)


def test_what_follows_the_end_comes_later() -> None:
    """A coroutine that has just read the end can still answer before the writing side ends by itself."""

    async def main() -> None:
        tray = Tray()
        tray.receive(b"question")
        tray.receive_end()
        assert await tray.read() == b"question"
        assert tray.after == 0
        tray.write(b"answer")
        await asyncio.sleep(0)
        assert tray.after == 1
        assert not tray.readable

    with_loop(main)


def test_flowing_data_is_not_kept() -> None:
    async def main() -> None:
        tray = Tray(mark=1)
        received: list[bytes] = []
        tray.receive(b"kept")
        tray.on("data", received.append)
        tray.receive(b"queued behind")
        assert received == []
        await asyncio.sleep(0)
        assert received == [b"kept", b"queued behind"]
        tray.receive(b"direct")
        assert received[-1] == b"direct"
        assert tray.wanted[-1] is True
        tray.receive_end()
        assert not tray.readable

    with_loop(main)


def test_two_listeners_get_every_chunk() -> None:
    async def main() -> None:
        tray = Tray()
        one: list[bytes] = []
        other: list[bytes] = []
        tray.on("data", one.append).on("data", other.append)
        await asyncio.sleep(0)
        tray.receive(b"x")
        tray.off("data", one.append)
        tray.receive(b"y")
        tray.off("data", other.append)
        tray.receive(b"z")
        assert (one, other) == ([b"x"], [b"x", b"y"])
        assert await tray.read(1) == b"z"

    with_loop(main)


def test_a_listener_added_while_paused_waits_for_resume() -> None:
    async def main() -> None:
        tray = Tray()
        received: list[bytes] = []
        assert tray.pause() is tray
        assert tray.is_paused()
        assert tray.wanted[-1] is False
        tray.on("data", received.append)
        tray.receive(b"x")
        await asyncio.sleep(0)
        assert received == []
        assert tray.resume() is tray
        assert not tray.is_paused()
        assert received == [], "never from within the call"
        await asyncio.sleep(0)
        assert received == [b"x"]
        assert tray.wanted[-1] is True

    with_loop(main)


def test_pause_takes_back_a_resume() -> None:
    """Both in one turn of the loop: paused it is."""

    async def main() -> None:
        tray = Tray()
        received: list[bytes] = []
        tray.on("data", received.append)
        await asyncio.sleep(0)
        tray.pause()
        tray.receive(b"x")
        tray.resume()
        tray.pause()
        await asyncio.sleep(0)
        assert received == []
        tray.resume()
        tray.pause()
        tray.resume()
        await asyncio.sleep(0)
        assert received == [b"x"]

    with_loop(main)


def test_paused_in_the_middle_of_the_backlog() -> None:
    async def main() -> None:
        tray = Tray(mark=1000)
        received: list[bytes] = []

        def data(chunk: bytes) -> None:
            received.append(chunk)
            tray.pause()

        for number in range(3):
            tray.receive(b"%d" % number)
        tray.receive_end()
        ends: list[int] = []
        tray.on("end", lambda: ends.append(len(received)))
        tray.on("data", data)
        for turn in range(1, 4):
            await asyncio.sleep(0)
            assert len(received) == turn
            tray.resume()
        await asyncio.sleep(0)
        assert received == [b"0", b"1", b"2"]
        assert ends == [3]

    with_loop(main)


def test_a_listener_that_reads_is_told() -> None:
    """Awaiting and a flowing "data" listener exclude each other; off() gives the stream back to the coroutines."""

    async def main() -> None:
        tray = Tray()
        received: list[bytes] = []
        tray.on("data", received.append)
        await asyncio.sleep(0)
        for operation in (tray.read(1), tray.readexactly(1), tray.readline(), tray.__anext__()):
            with pytest.raises(aiotls.StateError):
                await operation
        tray.off("data", received.append)
        tray.receive(b"x")
        assert await tray.read(1) == b"x"

    with_loop(main)


def test_a_pipe_in_every_order() -> None:
    """Whatever comes, drains, pauses and resumes when: all of it goes through once, in order, and never too much."""

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.sampled_from(["receive", "drain", "pause", "resume", "turn"]), max_size=60),
        st.integers(0, 6),
        st.booleans(),
    )
    def check(steps: list[str], mark: int, to_itself: bool) -> None:
        async def main() -> None:
            source = Tray(mark=mark)
            target = source if to_itself else Tray(mark=mark)
            assert source.pipe(target) is target
            sent = b""
            for number, step in enumerate(steps):
                before = len(target.written)
                paused, full = source.is_paused(), target.left >= mark and target.left > 0
                if step == "receive" and source._taking:
                    chunk = b"%03d" % number
                    sent += chunk
                    source.receive(chunk)
                elif step == "drain" and target.left:
                    target.let_go()
                elif step in ("pause", "resume"):
                    getattr(source, step)()
                elif step == "turn":
                    await asyncio.sleep(0)
                if paused or full:
                    assert len(target.written) == before
                assert target.left < mark + 4
                if source._taking:
                    assert source._flowing or source.readable_length < max(mark, 1)
            source.resume()
            source.receive_end()
            while not target.ended:
                await asyncio.sleep(0)
                if target.left:
                    target.let_go()
            assert target.written == sent
            assert source.readable_length == 0
            assert source.failures == target.failures == []
            assert not any(source.listeners(event) + target.listeners(event) for event in source.EVENTS)

        asyncio.run(main())

    check()


def test_two_pipes_wait_for_the_slower() -> None:
    async def main() -> None:
        source = Tray(mark=100)
        one, other = Tray(mark=1), Tray(mark=1)
        source.pipe(one)
        source.pipe(other)
        source.receive(b"x")
        await asyncio.sleep(0)
        assert one.written == other.written == b"x"
        source.receive(b"y")
        one.let_go()
        one.let_go()
        await asyncio.sleep(0)
        assert one.written == b"x"
        other.let_go()
        assert one.written == b"x", "never from within the call"
        await asyncio.sleep(0)
        assert one.written == other.written == b"xy"

    with_loop(main)


def test_own_memory_in_every_cut() -> None:
    """Chunks of all sizes into buffers of all sizes, with stops anywhere."""

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=20), max_size=10),
        st.lists(st.integers(1, 30), min_size=1, max_size=10),
        st.lists(st.sampled_from([True, None, False, "pause"]), min_size=1, max_size=10),
    )
    def check(chunks: list[bytes], sizes: list[int], answers: list[Any]) -> None:
        async def main() -> None:
            received = b""
            turn = 0

            def buffer() -> bytearray:
                return bytearray(sizes[turn % len(sizes)])

            def callback(size: int, buffer: bytearray) -> Any:
                nonlocal received, turn
                assert not tray.is_paused()
                received += buffer[:size]
                answer = answers[turn % len(answers)]
                turn += 1
                return answer if answer != "pause" else tray.pause().is_paused()

            tray = Tray(mark=10, onread=OnReadOption(buffer, callback))
            ends: list[int] = []
            tray.on("end", lambda: ends.append(len(received)))
            for chunk in chunks:
                tray.receive(chunk)
                assert tray.readable_length == 0 or tray.is_paused()
            tray.receive_end()
            while not ends:
                tray.resume()
                await asyncio.sleep(0)
            assert received == b"".join(chunks)
            assert ends == [len(received)]
            assert tray.failures == []

        asyncio.run(main())

    check()
