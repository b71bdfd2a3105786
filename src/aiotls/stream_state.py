"""What the two sides of a stream know, in one place: Python lets only one base of a class have slots."""

import asyncio
from collections import deque

from .emitter import Emitter
from .onread import OnReadOption, OwnBuffer

Data = bytes | bytearray | memoryview


class StreamState(Emitter):
    """The state behind `Readable` and `Writable`."""

    __slots__ = (
        "_chunks",
        "_drainers",
        "_error",
        "_flowing",
        "_held",
        "_loop",
        "_needs_drain",
        "_offset",
        "_onread",
        "_paused",
        "_read_ended",
        "_reader",
        "_received",
        "_sent",
        "_stalled",
        "_taking",
        "_told_end",
        "_used_await",
        "_used_read",
        "_wanted",
        "_write_ended",
        "destroyed",
        "high_water_mark",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, high_water_mark: int, onread: OnReadOption | None = None
    ) -> None:
        self._listeners = {}
        self._tasks = None
        self._loop = loop
        self.high_water_mark = high_water_mark
        self.destroyed = False
        self._error: BaseException | None = None
        # Whether the user awaits: then an error waits for the next await instead of being reported as unhandled.
        self._used_await = False
        # Receiving.
        self._used_read = False
        self._chunks: deque[bytes] | None = None
        self._held = 0
        # How much of the first chunk has been read.
        self._offset = 0
        # Whether the peer's data is let in.
        self._taking = True
        self._wanted = 1
        self._reader: asyncio.Future[None] | None = None
        # Memory of the user's that data goes to, instead of to listeners and readers.
        self._onread = None if onread is None else OwnBuffer(onread)
        self._flowing = onread is not None
        self._paused = False
        # How many pipes wait for their destinations.
        self._stalled = 0
        self._read_ended = False
        self._told_end = False
        self._received = 0
        # Sending.
        self._sent = 0
        self._needs_drain = False
        self._drainers: list[asyncio.Future[None]] | None = None
        self._write_ended = False
