"""Cancelling a task at its n-th step, for every n: whatever was under way then must be gone with it.

A step ends where the coroutine waits.  A task can be cancelled while it waits, and also when what it waits for is there
but the task has not taken it yet; both happen in programs, for example with ``asyncio.timeout``.
"""

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Coroutine, Generator
from typing import Any

MOMENTS = ("waiting", "woken")
"""When a task is cancelled: while it waits, or when what it waits for has just come."""


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose task is cancelled at one of its steps.

    Args:
        coroutine: What to run.
        step: Which one, from 1 on.
        moment: One of `MOMENTS`.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], step: int, moment: str) -> None:
        self._coroutine = coroutine
        self._step = step
        self._moment = moment
        self._taken = 0
        self.reached = False
        """Whether there was such a step."""

    def send(self, value: Any) -> Any:
        return self._waits(self._coroutine.send(value))

    def throw(self, *error: Any) -> Any:
        return self._waits(self._coroutine.throw(*error))

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        go_on = functools.partial(self.send, None)
        while True:
            try:
                awaited = go_on()
            except StopIteration as end:
                return end.value
            try:
                go_on = functools.partial(self.send, (yield awaited))
            except BaseException as error:
                go_on = functools.partial(self.throw, error)

    def _waits(self, awaited: Any) -> Any:
        self._taken += 1
        if self._taken == self._step:
            self.reached = True
            task = asyncio.current_task()
            assert task is not None
            if self._moment == "woken" and awaited is not None:
                # The task itself is told after this.
                awaited.add_done_callback(lambda _: task.cancel())
            else:
                asyncio.get_running_loop().call_soon(task.cancel)
        return awaited


class Cancelled:
    """Runs coroutines, each cancelled one step later than the one before, until one comes to its end."""

    def __init__(self, moment: str) -> None:
        self._moment = moment
        self._done = False
        self.step = 1

    async def __aiter__(self) -> AsyncIterator[int]:
        for self.step in itertools.count(1):
            if self._done:
                return
            yield self.step

    async def run(self, coroutine: Coroutine[Any, Any, Any]) -> bool:
        """Whether it was cancelled; what it raises otherwise is raised."""
        stepped = self.stepped(coroutine)
        task = asyncio.get_running_loop().create_task(stepped)
        await asyncio.wait([task])
        self.note(stepped)
        assert task.cancelled() is stepped.reached, "whoever is cancelled ends with CancelledError"
        if not task.cancelled():
            task.result()
        return task.cancelled()

    def stepped(self, coroutine: Coroutine[Any, Any, Any]) -> Stepped:
        """A coroutine for somebody else to run; see `note`."""
        return Stepped(coroutine, self.step, self._moment)

    def note(self, stepped: Stepped) -> None:
        """After the one that took fewer steps there is no further one."""
        self._done = not stepped.reached
