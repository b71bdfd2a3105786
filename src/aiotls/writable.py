"""The writing side of a stream: what was written and has not left yet."""

import asyncio
from typing import Any, Self

from . import checks
from .errors import StreamDestroyed, WriteAfterEnd
from .stream_state import Data, StreamState


class Writable(StreamState):
    """A stream that can be written to."""

    __slots__ = ()

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
            raise self._refusal()
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
        """Writes several pieces, one after the other, as one.

        Args:
            chunks: Any number of ``bytes``, or of other objects with the buffer protocol.

        Returns:
            What `write` returns.
        """
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
        """True, because TLS ends each direction by itself.

        Returns:
            True.
        """
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

    def _refusal(self) -> BaseException:
        """Why nothing more can be written."""
        if not self.destroyed:
            return WriteAfterEnd()
        return self._error if self._error is not None else StreamDestroyed()

    def _drained(self) -> None:
        """Everything written has left."""
        self._needs_drain = False
        drainers, self._drainers = self._drainers, None
        for future in drainers or ():
            if not future.done():
                future.set_result(None)
        self._emit("drain")

    # ---- what carries the stream

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
