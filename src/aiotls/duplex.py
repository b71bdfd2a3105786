"""The two sides of a stream: what was received and not read yet, what was written and has not left yet.

A stream can be used in two styles, with one buffer and one flow control: with coroutines (``await read()``,
``async for``, ``await drain()``) and with events (``"data"``, ``"end"``, ``"drain"``).  With a ``"data"`` listener the
stream flows: chunks go straight to it.  Without one they are kept for the coroutines, and once `high_water_mark` bytes
are waiting no more are taken from the peer.
"""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Self

from . import checks
from .emitter import Emitter, Listener
from .errors import StateError, StreamDestroyed, WriteAfterEnd

Data = bytes | bytearray | memoryview


class Duplex(Emitter):
    """A stream in both directions.  What carries it is the business of subclasses: see the methods at the end."""

    EVENTS: ClassVar[frozenset[str]] = frozenset({"data", "end", "drain", "finish", "error", "close"})

    __slots__ = (
        "_chunks",
        "_drainers",
        "_error",
        "_flowing",
        "_held",
        "_loop",
        "_needs_drain",
        "_offset",
        "_paused",
        "_read_ended",
        "_reader",
        "_received",
        "_sent",
        "_taking",
        "_told_end",
        "_used_await",
        "_used_read",
        "_wanted",
        "_write_ended",
        "destroyed",
        "high_water_mark",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, high_water_mark: int) -> None:
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
        self._flowing = False
        self._paused = False
        self._read_ended = False
        self._told_end = False
        self._received = 0
        # Sending.
        self._sent = 0
        self._needs_drain = False
        self._drainers: list[asyncio.Future[None]] | None = None
        self._write_ended = False

    # ---- reading

    async def read(self, size: int = -1) -> bytes:
        """Reads what is there, waiting until there is something.

        Args:
            size: The most bytes to return; -1 to read everything up to the end.

        Returns:
            At least one byte, or ``b""`` at the end of the stream.

        Raises:
            TLSError: The connection failed; what came before can still be read.
            StateError: Somebody else is reading.
        """
        size = checks.integer("size", size, -1, sys.maxsize)
        if size == 0:
            return b""
        if size < 0:
            parts = []
            while part := await self.read(sys.maxsize):
                parts.append(part)
            return b"".join(parts)
        await self._fill(1)
        data = self._take(size)
        if not data:
            self._at_end()
        return data

    async def readexactly(self, size: int) -> bytes:
        """Reads exactly `size` bytes.

        Raises:
            asyncio.IncompleteReadError: The stream ended before; ``partial`` has what came.
            TLSError: The connection failed.
        """
        size = checks.integer("size", size, 0, sys.maxsize)
        await self._fill(size)
        if self._held < size:
            partial = self._take(self._held)
            self._at_end()
            raise asyncio.IncompleteReadError(partial, size)
        return self._take(size)

    async def readuntil(self, separator: Data = b"\n") -> bytes:
        """Reads up to and including `separator`.

        Raises:
            asyncio.IncompleteReadError: The stream ended before; ``partial`` has what came.
            asyncio.LimitOverrunError: `high_water_mark` bytes (64 KiB if that is less) hold no separator; they stay.
            TLSError: The connection failed.
        """
        separator = bytes(separator)
        if not separator:
            raise ValueError("the separator must not be empty")
        limit = max(self.high_water_mark, 65536)
        searched = 0
        while True:
            if self._chunks and len(self._chunks) > 1:
                self._join()
            waiting = self._chunks[0] if self._chunks else b""
            found = waiting.find(separator, self._offset + max(0, searched - len(separator) + 1))
            if found >= 0:
                return self._take(found + len(separator) - self._offset)
            if self._held > limit:
                raise asyncio.LimitOverrunError("the separator is not in what may be buffered", self._held)
            searched = self._held
            await self._fill(searched + 1)
            if self._held == searched:
                partial = self._take(searched)
                self._at_end()
                raise asyncio.IncompleteReadError(partial, None)

    async def readline(self) -> bytes:
        """Reads a line with its newline; without one, what stands before the end of the stream.

        Raises:
            ValueError: The line is longer than may be buffered; see `readuntil`.
        """
        try:
            return await self.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError as error:
            raise ValueError(error.args[0]) from None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.read(max(self.high_water_mark, 65536))
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def at_eof(self) -> bool:
        """Whether everything has been read and no more will come."""
        return self._read_ended and self._held == 0

    def pause(self) -> Self:
        """Stops ``"data"`` events and taking data from the peer, until `resume`."""
        self._paused = True
        self._flowing = False
        self._control_reading()
        return self

    def resume(self) -> Self:
        """Lets data flow again: to the ``"data"`` listeners, else to those who read.

        Where there is neither a listener nor ever was a reader, data is thrown away.
        """
        self._paused = False
        if not self._flowing:
            self._flowing = True
            self._loop.call_soon(self._flow)
        return self

    def is_paused(self) -> bool:
        """Whether `pause` was called and `resume` was not."""
        return self._paused

    @property
    def readable(self) -> bool:
        """Whether something can still be read."""
        return not self.destroyed and not self._told_end

    @property
    def readable_length(self) -> int:
        """Bytes that were received and not read yet."""
        return self._held

    @property
    def bytes_read(self) -> int:
        """Application bytes received so far."""
        return self._received

    async def _fill(self, size: int) -> None:
        """Waits until `size` bytes are held, or no more will come."""
        self._used_await = self._used_read = True
        if "data" in self._listeners:
            raise StateError('the data goes to the "data" listener; remove it to read')
        self._flowing = False
        while self._held < size and not self._read_ended:
            if self._error is not None:
                raise self._error
            if self.destroyed:
                raise StreamDestroyed
            if self._reader is not None:
                raise StateError("somebody else is reading from this stream")
            self._reader = self._loop.create_future()
            self._wanted = size
            self._control_reading()
            try:
                await self._reader
            finally:
                self._reader = None
                self._wanted = 1
        if self._held < size and self._error is not None:
            raise self._error

    def _take(self, size: int) -> bytes:
        """The next bytes of what is held, `size` of them or all there are."""
        chunks = self._chunks
        size = min(size, self._held)
        if not chunks or not size:
            return b""
        end = self._offset + size
        if end > len(chunks[0]):
            self._join()
            end = size
        data = chunks[0][self._offset : end]
        if end == len(chunks[0]):
            chunks.popleft()
            end = 0
        self._offset = end
        self._held -= size
        self._control_reading()
        return data

    def _join(self) -> None:
        """Makes one chunk of what is held."""
        if self._chunks and (self._offset or len(self._chunks) > 1):
            first = self._chunks.popleft()[self._offset :]
            joined = b"".join((first, *self._chunks))
            self._chunks.clear()
            self._chunks.append(joined)
            self._offset = 0

    def _received_data(self, data: bytes) -> None:
        """The hot path: a chunk of application data has come."""
        self._received += len(data)
        if self._flowing and not self._held:
            self._deliver(data)
            return
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.append(data)
        self._held += len(data)
        if self._reader is not None:
            if self._held >= self._wanted:
                self._wake_reader()
        elif self._held >= self.high_water_mark:
            self._control_reading()

    def _deliver(self, data: bytes) -> None:
        self._emit("data", data)

    def _received_end(self) -> None:
        """The peer will send no more."""
        self._read_ended = True
        self._wake_reader()
        if self._flowing and not self._held:
            self._at_end()

    def _at_end(self) -> None:
        """The reader has come to the end; the writing side follows unless the stream may be half open."""
        if self._told_end or not self._read_ended or self.destroyed:
            return
        self._told_end = True
        self._emit("end")
        # Later, so that a coroutine that has just read the end can still answer.
        self._loop.call_soon(self._after_end)

    def _flow(self) -> None:
        """Hands what is held to the listeners, or begins to throw it away."""
        if self._used_read and "data" not in self._listeners:
            self._flowing = False
            self._control_reading()
            return
        while self._flowing and self._chunks and not self.destroyed:
            data = self._chunks.popleft()[self._offset :]
            self._offset = 0
            self._held -= len(data)
            self._deliver(data)
        if self._flowing and not self._held:
            self._control_reading()
            if self._read_ended:
                self._at_end()

    def _control_reading(self) -> None:
        """Takes data from the peer, or leaves it there."""
        wanted = self._reads_ahead() or (
            not self._paused
            and (self._flowing or self._reader is not None or self._held < self.high_water_mark or not self._held)
        )
        if wanted is not self._taking:
            self._taking = wanted
            self._take_data(wanted)

    def _reads_ahead(self) -> bool:
        """Whether something has to be read that may stand behind data."""
        return False

    def _discard(self) -> None:
        """Throws away what is held."""
        self._chunks = None
        self._held = self._offset = 0

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # ---- writing

    def write(self, data: Data) -> bool:
        """Writes application data.  Everything is taken, also before the connection is secure.

        Args:
            data: ``bytes`` or any other object with the buffer protocol.

        Returns:
            True while less than `high_water_mark` bytes wait to leave; else wait for `drain`, or for the event.

        Raises:
            WriteAfterEnd: `end` was called.
            StreamDestroyed: The stream is closed.
        """
        if self._write_ended:
            if self.destroyed:
                raise self._error if self._error is not None else StreamDestroyed()
            raise WriteAfterEnd
        if not isinstance(data, bytes):
            data = checks.octets("data", data)
        self._sent += len(data)
        if self._write(data) < self.high_water_mark:
            return True
        if not self._needs_drain:
            self._needs_drain = True
            self._want_drain()
        return False

    def writelines(self, chunks: Any) -> bool:
        """Writes several pieces, one after the other, as one."""
        return self.write(b"".join(chunks))

    async def drain(self) -> None:
        """Waits until the peer has taken enough for more to be written.

        Returns at once while less than `high_water_mark` bytes wait, else when all have left.

        Raises:
            TLSError: The connection failed meanwhile.
            StreamDestroyed: The stream was closed meanwhile.
        """
        self._used_await = True
        if self._error is not None:
            raise self._error
        if not self._needs_drain:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        drainers = self._drainers = self._drainers or []
        drainers.append(future)
        try:
            await future
        finally:
            if future in drainers:
                drainers.remove(future)

    def end(self, data: Data | None = None) -> Self:
        """Ends the writing side, after what was written: the peer sees close_notify.  Reading goes on.

        Args:
            data: Something to write before.
        """
        if data is not None:
            self.write(data)
        if not self._write_ended:
            self._write_ended = True
            self._end()
        return self

    def write_eof(self) -> None:
        """The same as `end`, under asyncio's name."""
        self.end()

    def can_write_eof(self) -> bool:
        """True: TLS ends each direction by itself."""
        return True

    @property
    def writable(self) -> bool:
        """Whether something can still be written."""
        return not self._write_ended

    @property
    def writable_length(self) -> int:
        """Bytes that were written and have not been handed to the operating system yet."""
        return self._pending()

    @property
    def bytes_written(self) -> int:
        """Application bytes written so far."""
        return self._sent

    def _drained(self) -> None:
        """Everything written has left."""
        self._needs_drain = False
        drainers, self._drainers = self._drainers, None
        for future in drainers or ():
            if not future.done():
                future.set_result(None)
        self._emit("drain")

    # ---- the end

    def _break(self, error: BaseException) -> bool:
        """Gives an error to everybody who waits; answers whether somebody did."""
        waiting = [self._reader, *(self._drainers or ())]
        self._reader = self._drainers = None
        told = False
        for future in waiting:
            if future is not None and not future.done():
                future.set_exception(error)
                told = True
        return told

    # ---- listeners

    def on(self, event: str, listener: Listener) -> Self:
        """Adds a listener, see `Emitter.on`; one for ``"data"`` lets the data flow to it."""
        super().on(event, listener)
        if event == "data" and not self._flowing and not self._paused:
            self.resume()
        return self

    def off(self, event: str, listener: Listener) -> Self:
        """Removes a listener, see `Emitter.off`; without one for ``"data"``, data is kept for reading."""
        super().off(event, listener)
        if event == "data" and "data" not in self._listeners:
            self._flowing = False
        return self

    # ---- what carries the stream

    def _take_data(self, wanted: bool) -> None:
        """Lets the peer's data come, or leaves it where it is."""
        raise NotImplementedError

    def _write(self, data: bytes) -> int:
        """Takes all of `data`; answers how many bytes have not left yet."""
        raise NotImplementedError

    def _pending(self) -> int:
        raise NotImplementedError

    def _want_drain(self) -> None:
        """Asks for `_drained` once everything has left."""
        raise NotImplementedError

    def _end(self) -> None:
        """Ends the writing side."""
        raise NotImplementedError

    def _after_end(self) -> None:
        """The end was read."""
        raise NotImplementedError
