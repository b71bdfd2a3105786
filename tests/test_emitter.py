"""Events: the order of listeners, once, off, async listeners, and names that do not exist."""

import asyncio
import gc
import weakref
from typing import Any, ClassVar

import pytest

import aiotls
from aiotls.emitter import Emitter
from tests.support.pairs import until


class Bell(Emitter):
    """An emitter that keeps what its listeners raise."""

    EVENTS: ClassVar[frozenset[str]] = frozenset({"ring", "secure_connection", "crack"})

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[tuple[str, BaseException, tuple[Any, ...]]] = []
        self.ended = 0

    def ring(self, *arguments: Any) -> bool:
        return self._emit("ring", *arguments)

    def _listener_failed(self, event: str, error: BaseException, arguments: tuple[Any, ...]) -> None:
        self.failures.append((event, error, arguments))

    def _task_done(self) -> None:
        self.ended += 1


def test_listeners_are_called_in_order_with_the_arguments() -> None:
    bell = Bell()
    calls: list[Any] = []
    assert bell.ring(1) is False
    chained = bell.on("ring", lambda *a: calls.append(("first", a))).on("ring", lambda *a: calls.append(("second", a)))
    assert chained is bell
    assert bell.ring(1, "x") is True
    assert calls == [("first", (1, "x")), ("second", (1, "x"))]


def test_the_same_listener_twice() -> None:
    bell = Bell()
    calls: list[Any] = []
    bell.on("ring", calls.append).on("ring", calls.append)
    bell.ring(1)
    bell.off("ring", calls.append)
    bell.ring(2)
    bell.off("ring", calls.append)
    bell.off("ring", calls.append)
    assert bell.ring(3) is False
    assert calls == [1, 1, 2]


def test_once() -> None:
    bell = Bell()
    calls: list[Any] = []
    bell.once("ring", calls.append)
    assert bell.listeners("ring") == (calls.append,)
    bell.ring(1)
    bell.ring(2)
    assert calls == [1]
    assert bell.listeners("ring") == ()
    bell.once("ring", calls.append).off("ring", calls.append)
    bell.ring(3)
    assert calls == [1]


def test_once_is_removed_before_it_is_called() -> None:
    """So it may emit the same event again."""
    bell = Bell()
    calls: list[Any] = []

    def listener(number: int) -> None:
        calls.append(number)
        if number < 3:
            bell.ring(number + 1)

    bell.once("ring", listener)
    bell.ring(1)
    assert calls == [1]


def test_changes_count_from_the_next_event_on() -> None:
    bell = Bell()
    calls: list[Any] = []

    def listener(number: int) -> None:
        calls.append(("listener", number))
        bell.off("ring", other)
        bell.on("ring", lambda number: calls.append(("new", number)))
        bell.off("ring", listener)

    def other(number: int) -> None:
        calls.append(("other", number))

    bell.on("ring", listener).on("ring", other)
    bell.ring(1)
    bell.ring(2)
    assert calls == [("listener", 1), ("other", 1), ("new", 2)]


def test_what_a_listener_returns_does_not_count() -> None:
    bell = Bell()
    calls: list[Any] = []

    def stop(number: int) -> bool:
        return False

    bell.on("ring", stop).on("ring", calls.append)
    assert bell.ring(1) is True
    assert calls == [1]


def test_a_listener_that_raises_does_not_stop_the_others() -> None:
    bell = Bell()
    calls: list[Any] = []
    wrong = ValueError("crack")

    def listener(number: int) -> None:
        raise wrong

    bell.on("ring", listener).on("ring", calls.append)
    bell.ring(7)
    assert calls == [7]
    assert bell.failures == [("ring", wrong, (7,))]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_passes(kind: type[BaseException]) -> None:
    bell = Bell()

    def listener() -> None:
        raise kind

    bell.on("ring", listener)
    with pytest.raises(kind):
        bell.ring()
    assert len(bell.failures) == 1


def test_async_listeners() -> None:
    """They run as tasks, and what they raise is told like that of plain ones; a cancelled one is no failure."""

    async def main() -> None:
        bell = Bell()
        calls: list[Any] = []
        wrong = ValueError("crack")

        async def good(number: int) -> None:
            await asyncio.sleep(0)
            calls.append(number)

        async def bad(number: int) -> None:
            await asyncio.sleep(0)
            raise wrong

        async def cancelled(number: int) -> None:
            raise asyncio.CancelledError

        bell.on("ring", good).on("ring", bad).on("ring", cancelled).once("ring", good)
        assert bell.ring(7) is True
        assert calls == []
        await until(lambda: bell.ended >= 4)
        assert calls == [7, 7]
        (stand_in,) = [error for _, error, _ in bell.failures if error is not wrong]
        assert isinstance(stand_in, aiotls.StateError)
        assert isinstance(stand_in.__cause__, asyncio.CancelledError)
        assert len(bell.failures) == 2

    asyncio.run(main())


def test_async_listeners_are_kept_alive() -> None:
    """The loop itself holds tasks only weakly; a listener must not vanish in the middle."""

    async def main() -> None:
        bell = Bell()

        async def listener() -> None:
            waiter = asyncio.get_running_loop().create_future()
            waiters.append(weakref.ref(waiter))
            await waiter

        waiters: list[weakref.ref[asyncio.Future[None]]] = []
        bell.on("ring", listener)
        bell.ring()
        await asyncio.sleep(0)
        gc.collect()
        waiter = waiters[0]()
        assert waiter is not None
        waiter.set_result(None)
        del waiter
        await until(lambda: bell.ended)

    asyncio.run(main())


def test_objects_and_methods_as_listeners() -> None:
    class Ear:
        def __init__(self) -> None:
            self.heard: list[Any] = []

        def __call__(self, number: int) -> None:
            self.heard.append(number)

        def hear(self, number: int) -> None:
            self.heard.append(-number)

    bell, ear = Bell(), Ear()
    bell.on("ring", ear).on("ring", ear.hear)
    bell.ring(1)
    bell.off("ring", ear.hear)
    bell.ring(2)
    assert ear.heard == [1, -1, 2]


def test_wait_for() -> None:
    """None, the argument, or a tuple of them; a cancelled wait leaves no listener."""

    async def main() -> None:
        bell = Bell()
        for arguments, expected in (((), None), ((1,), 1), ((1, 2), (1, 2))):
            waiting = asyncio.ensure_future(bell.wait_for("ring"))
            await asyncio.sleep(0)
            bell.ring(*arguments)
            bell.ring("too late")
            assert await waiting == expected
        waiting = asyncio.ensure_future(bell.wait_for("ring"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert bell.listeners("ring") == ()

    asyncio.run(main())


@pytest.mark.parametrize("method", ["on", "once", "off"])
def test_names_that_do_not_exist(method: str) -> None:
    """The error names the snake_case or the nearest event, at the earliest moment."""
    bell = Bell()
    call = getattr(bell, method)
    with pytest.raises(aiotls.OptionError, match="'secure_connection', not 'secureConnection'"):
        call("secureConnection", print)
    with pytest.raises(aiotls.OptionError, match="did you mean 'ring'"):
        call("rings", print)
    with pytest.raises(aiotls.OptionError, match="crack, ring, secure_connection"):
        call("zzz", print)
    with pytest.raises(TypeError, match="event"):
        call(1, print)


@pytest.mark.parametrize("listener", [None, 1, "print", []])
def test_listeners_that_cannot_be_called(listener: Any) -> None:
    bell = Bell()
    for method in (bell.on, bell.once):
        with pytest.raises(TypeError, match="listener"):
            method("ring", listener)


def test_the_events_that_are_promised() -> None:
    assert {
        "secure_connect",
        "secure",
        "keylog",
        "connect",
        "ready",
        "data",
        "end",
        "drain",
        "finish",
        "timeout",
        "error",
        "close",
        "lookup",
    } <= aiotls.TLSSocket.EVENTS
    assert {
        "listening",
        "connection",
        "secure_connection",
        "tls_client_error",
        "keylog",
        "error",
        "close",
    } <= aiotls.Server.EVENTS
