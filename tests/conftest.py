"""Fixtures for every test: event loops, certificates, and the proof that nothing was left open."""

import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import pytest

from tests.support.pki import Named, named

T = TypeVar("T")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

TIME_LIMIT = 15.0
"""Seconds that one test may run on a loop."""
SETTLE_LIMIT = 2.5
"""Seconds in which tasks must end and descriptors close: a failed connection may linger a second for its alert."""


class Run(Protocol):
    """Runs a coroutine function, with its arguments, to its end on a new event loop and returns its result."""

    def __call__(self, main: Callable[..., Coroutine[Any, Any, T]], /, *args: Any) -> T: ...


def _loop_factories() -> dict[str, LoopFactory]:
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    try:
        import uvloop
    except ImportError:
        return factories
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))  # libuv opens a pipe with its first loop and keeps it
    return {**factories, "uvloop": uvloop.new_event_loop}


_LOOP_FACTORIES = _loop_factories()


@pytest.fixture(params=list(_LOOP_FACTORIES))
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    """Makes an event loop: asyncio's own, and uvloop's when it is installed."""
    return _LOOP_FACTORIES[request.param]


@pytest.fixture
def loop_errors(request: pytest.FixtureRequest) -> Iterator[list[dict[str, Any]]]:
    """What reached the loop's exception handler: a test that expects something looks at it and clears the list."""
    errors: list[dict[str, Any]] = []
    yield errors
    if errors:
        request.node.stash[_FAILED] = True
        exceptions = [error["exception"] for error in errors if isinstance(error.get("exception"), Exception)]
        texts = "; ".join(f"{error['message']} ({error.get('exception')!r})" for error in errors)
        raise ExceptionGroup(
            f"unexpected calls of the loop's exception handler: {texts}", exceptions or [Exception(texts)]
        )


@pytest.fixture
def run(loop_factory: LoopFactory, loop_errors: list[dict[str, Any]]) -> Run:
    """Runs a coroutine function on every kind of loop; tasks or descriptors that it leaves behind fail the test."""

    def run_main(main: Callable[..., Coroutine[Any, Any, T]], /, *args: Any) -> T:
        async def supervised() -> T:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _loop, context: loop_errors.append(context))
            before = open_descriptors()
            async with asyncio.timeout(TIME_LIMIT):
                result = await main(*args)
            await _settle(before)
            return result

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(supervised())

    return run_main


@pytest.fixture(autouse=True)
def no_descriptor_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves the process with more open descriptors than it found."""
    before = open_descriptors()
    yield
    if request.node.stash.get(_FAILED, False):
        return  # its traceback keeps alive whatever it had open
    deadline = time.monotonic() + SETTLE_LIMIT
    while left := _newly_open(before):
        gc.collect()
        if time.monotonic() > deadline:
            pytest.fail(f"descriptors left open: {left}")
        time.sleep(0.01)


@pytest.fixture(scope="session")
def pki() -> Named:
    """The named identities: ``pki.ca``, ``pki.server``, ``pki.leaf_a`` and so on."""
    return named


def pytest_collection_finish() -> None:
    """Leaves the collected tests out of garbage collections, of which every test makes some."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Writes down for the fixtures whether the test has failed."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


_FAILED = pytest.StashKey[bool]()


def open_descriptors() -> Counter[str]:
    """What the process has open, as the system names it: ``socket:[4026]``, ``pipe:[4027]``, a path."""
    directory = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    found: Counter[str] = Counter()
    for name in os.listdir(directory):
        with suppress(OSError):  # the descriptor of the listing itself is gone
            found[os.readlink(f"{directory}/{name}") if directory.startswith("/proc") else name] += 1
    return found


def _newly_open(before: Counter[str]) -> list[str]:
    return sorted((open_descriptors() - before).elements())


async def _settle(before: Counter[str]) -> None:
    """Waits until the work of the running loop has ended; fails the test when it does not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_LIMIT
    current = asyncio.current_task()
    while True:
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        sockets = [kind for kind in _newly_open(before) if kind.startswith("socket:")]
        if not tasks and not sockets:
            return
        if loop.time() > deadline:
            for task in tasks:
                task.cancel()
            pytest.fail(f"left behind on the loop: tasks {tasks}, sockets {sockets}")
        await asyncio.sleep(0.01)
