"""The reading side of a stream: what was received and not read yet."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from . import checks
from .errors import StateError, StreamDestroyed, presentable
from .onread import OwnBuffer
from .stream_state import Data, StreamState


class Readable(StreamState):
    """A stream that can be read."""

    __slots__ = ()

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

        Args:
            size: How many; 0 or more.

        Returns:
            So many bytes.

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

        Args:
            separator: At least one byte.

        Returns:
            What stands before it, and the separator.

        Raises:
            asyncio.IncompleteReadError: The stream ended before; ``partial`` has what came.
            asyncio.LimitOverrunError: `high_water_mark` bytes (64 KiB if that is less) hold no separator; they stay.
            TLSError: The connection failed.
            OptionTypeError: The separator is no bytes-like object.
        """
        separator = checks.octets("separator", separator)
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

        Returns:
            The line; ``b""`` at the end.

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
        if self._stalled:
            self._control_reading()
        elif not self._flowing:
            self._flowing = True
            if "data" in self._listeners and not self._held and not self._read_ended and self._onread is None:
                self._control_reading()
            else:
                # Later, so that whoever wants the data has time to begin.
                self._soon(self._flow)
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
        self._used_await = True
        if self._onread is not None:
            raise StateError("the data goes to onread")
        self._used_read = True
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
        if self._flowing and not self._held and self._onread is None:
            self._emit("data", data)
            return
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.append(data)
        self._held += len(data)
        if self._reader is not None:
            if self._held >= self._wanted:
                self._wake_reader()
        elif self._flowing and self._onread is not None:
            self._pour(self._onread)
        elif self._held >= self.high_water_mark:
            self._control_reading()

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
        self._soon(self._after_end)

    def _flow(self) -> None:
        """Hands what is held to the listeners, or begins to throw it away."""
        if self._used_read and "data" not in self._listeners:
            self._flowing = False
            self._control_reading()
            return
        if self._onread is not None:
            self._pour(self._onread)
        while self._flowing and self._chunks and not self.destroyed:
            data = self._chunks.popleft()[self._offset :]
            self._offset = 0
            self._held -= len(data)
            self._emit("data", data)
        self._control_reading()
        if self._flowing and not self._held and self._read_ended:
            self._at_end()

    def _pour(self, onread: OwnBuffer) -> None:
        """Copies what is held into the user's memory, piece by piece, until the user says stop."""
        try:
            while self._flowing and self._held and not self.destroyed:
                more = onread.put(self._take(onread.room()))
                if self.destroyed or self._onread is None:
                    return
                if not more:
                    self.pause()
                elif self._flowing:
                    # Asked for ahead, so that the function can tell at once that it has none.
                    onread.room()
        except BaseException as error:
            self._flowing = False
            self._listener_failed("onread", presentable(error), ())
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise

    def _stall(self) -> None:
        """A pipe waits for its destination: nothing flows, and no more is taken than may be buffered."""
        self._stalled += 1
        self._flowing = False

    def _unstall(self) -> None:
        """The destination is ready again; what the user has paused stays so."""
        self._stalled -= 1
        if not self._paused and "data" in self._listeners:
            self.resume()

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
        """Throws away what is held; nobody wants more."""
        self._chunks = self._onread = None
        self._held = self._offset = 0

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # ---- what carries the stream

    def _soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Calls `function` in the next turn of the loop."""
        self._loop.call_soon(function, *arguments)

    def _take_data(self, wanted: bool) -> None:
        """Lets the peer's data come, or leaves it where it is."""
        raise NotImplementedError

    def _after_end(self) -> None:
        """The end was read."""
        raise NotImplementedError
