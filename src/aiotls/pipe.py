"""Pipes: what comes out of one stream goes into another, no faster than the other takes it.

A pipe consists of listeners.  Into a stream of ours it needs nothing else: ``write()`` says when to wait, ``"drain"``
when to go on.  Into anything else somebody must await ``drain()``: a task, while there is something to wait for.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from . import checks
from .errors import StateError, StreamDestroyed
from .writable import Writable

if TYPE_CHECKING:
    from .duplex import Duplex


@runtime_checkable
class Destination(Protocol):
    """What a pipe can lead to, besides a stream of ours: an ``asyncio.StreamWriter``, an object of yours.

    At the end the first of ``write_eof()``, ``end()`` and ``close()`` that there is will be called; ``write_eof()``
    not where ``can_write_eof()`` says no.
    """

    def write(self, data: bytes, /) -> object:
        """Takes all of `data`."""

    async def drain(self) -> None:
        """Waits until more should be written."""


def lay(source: "Duplex", destination: Any, end: bool) -> None:
    """Begins a pipe, see `Duplex.pipe`."""
    if not isinstance(destination, Destination) or isinstance(destination, type):
        raise checks.wrong_type(
            "destination", "a TLSSocket, an asyncio.StreamWriter or an object with write and drain", destination
        )
    if source._onread is not None:
        raise StateError("the data goes to onread")
    if source._reader is not None:
        raise StateError("somebody else is reading from this stream")
    if source.destroyed and not source._told_end:
        raise source._error if source._error is not None else StreamDestroyed()
    if isinstance(destination, Writable):
        if not destination.writable:
            raise destination._refusal()
        StreamPipe(source, destination, end).start()
    else:
        is_closing = getattr(destination, "is_closing", None)
        if is_closing is not None and is_closing():
            raise StreamDestroyed("the destination of the pipe is closed")
        WriterPipe(source, destination, end).start()


class Pipe:
    """What every pipe does with its source; subclasses know the destination.

    Args:
        source: The stream that is read.
        destination: What it is written to.
        end: Whether the destination ends with the source.
    """

    def __init__(self, source: "Duplex", destination: Any, end: bool) -> None:
        self._source = source
        self._destination = destination
        self._end = end
        self._waiting = False

    def start(self) -> None:
        source = self._source
        if source._told_end:
            source._loop.call_soon(self._source_ended)
        else:
            source.on("end", self._source_ended).on("close", self._source_closed).on("data", self._source_data)

    def stop(self) -> None:
        """Leaves both streams alone."""
        source = self._source
        source.off("end", self._source_ended).off("close", self._source_closed).off("data", self._source_data)
        self._go_on()

    def _source_data(self, data: bytes) -> None:
        raise NotImplementedError

    def _source_ended(self) -> None:
        raise NotImplementedError

    def _source_closed(self, had_error: bool) -> None:
        """It closed without an end; whether the destination still has a use is not for the pipe to say."""
        self.stop()

    def _wait(self) -> None:
        """Lets the source wait for the destination."""
        if not self._waiting:
            self._waiting = True
            self._source._stall()

    def _go_on(self) -> None:
        if self._waiting:
            self._waiting = False
            self._source._unstall()

    def _fail(self, error: BaseException) -> None:
        """The destination has failed, and the source with it."""
        self.stop()
        self._source.destroy(error)


class StreamPipe(Pipe):
    """A pipe into a stream of ours, perhaps the source itself."""

    _destination: Writable

    def __init__(self, source: "Duplex", destination: Writable, end: bool) -> None:
        super().__init__(source, destination, end)
        self._finished = False

    def start(self) -> None:
        destination = self._destination
        destination.on("drain", self._go_on).on("finish", self._destination_finished)
        destination.on("close", self._destination_closed)
        super().start()

    def stop(self) -> None:
        destination = self._destination
        destination.off("drain", self._go_on).off("finish", self._destination_finished)
        destination.off("close", self._destination_closed)
        super().stop()

    def _source_data(self, data: bytes) -> None:
        destination = self._destination
        try:
            ready = destination.write(data)
        except Exception as error:
            if destination.destroyed:
                self._destination_closed(destination._error is not None)
            else:
                self._fail(error)
            return
        if not ready:
            self._wait()

    def _source_ended(self) -> None:
        self.stop()
        if self._end:
            self._destination.end()

    def _destination_finished(self) -> None:
        self._finished = True

    def _destination_closed(self, had_error: bool) -> None:
        error = self._destination._error
        if error is not None:
            self._fail(error)
            return
        self.stop()
        if self._finished:
            # Nothing is lost, so the source may still send what it has to send.
            self._source.close()
        else:
            self._source.destroy()


class WriterPipe(Pipe):
    """A pipe into anything else, with a task while there is something to drain."""

    _destination: Destination

    def __init__(self, source: "Duplex", destination: Destination, end: bool) -> None:
        super().__init__(source, destination, end)
        # Bytes that no drain() knows of yet.
        self._written = 0
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def _source_data(self, data: bytes) -> None:
        try:
            self._destination.write(data)
        except Exception as error:
            self._fail(error)
            return
        self._written += len(data)
        if self._task is None:
            self._begin_drain()
        if self._written >= self._source.high_water_mark:
            self._wait()

    def _begin_drain(self) -> None:
        self._task = self._source._loop.create_task(self._drain())
        self._task.add_done_callback(self._drained)

    async def _drain(self) -> None:
        self._written = 0
        await self._destination.drain()

    def _drained(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            if task.cancelling():
                # Perhaps because the loop ends.
                self.stop()
                self._source.destroy()
            else:
                self._fail(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._fail(error)
        elif self._written:
            self._begin_drain()
        else:
            self._go_on()
            if self._over:
                self._end_destination()

    def _source_ended(self) -> None:
        self.stop()
        self._over = True
        if self._task is None:
            self._end_destination()

    def _source_closed(self, had_error: bool) -> None:
        super()._source_closed(had_error)
        self._abandon()

    def _end_destination(self) -> None:
        if not self._end:
            return
        destination: Any = self._destination
        try:
            for name in ("write_eof", "end", "close"):
                end = getattr(destination, name, None)
                if end is not None and (name != "write_eof" or getattr(destination, "can_write_eof", lambda: True)()):
                    end()
                    return
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._abandon()
        if self._over and self._source.destroyed:
            self._source._loop.call_exception_handler(
                {"message": "the destination of a pipe failed after the end of its source", "exception": error}
            )
        super()._fail(error)

    def _abandon(self) -> None:
        """Waits no more for the destination."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
