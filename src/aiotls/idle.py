"""The timer behind ``set_timeout``: tells when nothing has happened for some time."""

import asyncio
from collections.abc import Callable


class IdleTimer:
    """Calls `expired` whenever `seconds` have passed without a `touch`, again and again, until `stop`.

    A touch only notes the time, because it happens for every chunk of data; the timer itself moves on when it fires.
    """

    __slots__ = ("_expired", "_handle", "_loop", "_touched", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, expired: Callable[[], object]) -> None:
        self._loop = loop
        self._expired = expired
        self.seconds = seconds
        self._touched = loop.time()
        self._handle: asyncio.TimerHandle | None = loop.call_later(seconds, self._check)

    def touch(self) -> None:
        """Something has happened."""
        self._touched = self._loop.time()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _check(self) -> None:
        rest = self._touched + self.seconds - self._loop.time()
        if rest <= 0:
            self.touch()
            rest = self.seconds
            self._handle = self._loop.call_later(rest, self._check)
            self._expired()
        else:
            self._handle = self._loop.call_later(rest, self._check)
