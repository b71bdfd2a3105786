"""The signals that end a run: each becomes a `KeyboardInterrupt`, but never in the midst of starting a process."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_held = 0
_pending = False


def install() -> None:
    """Take them from now on."""
    for number in SIGNALS:
        signal.signal(number, _handle)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Whatever comes in here is told at the end of it."""
    global _held, _pending
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if _pending and not _held:
        _pending = False
        raise KeyboardInterrupt


def _handle(number: int, frame: FrameType | None) -> None:
    global _pending
    if not _held:
        raise KeyboardInterrupt
    _pending = True
