"""The two sides of a stream together: what was received and not read yet, what was written and has not left yet.

A stream can be used in two styles, with one buffer and one flow control: with coroutines (``await read()``,
``async for``, ``await drain()``) and with events (``"data"``, ``"end"``, ``"drain"``).  With a ``"data"`` listener the
stream flows: chunks go straight to it.  Without one they are kept for the coroutines, and once `high_water_mark` bytes
are waiting no more are taken from the peer.
"""

from typing import ClassVar, Self, TypeVar

from . import checks, pipe
from .emitter import EventName, Listener
from .readable import Readable
from .writable import Writable

Into = TypeVar("Into")


class Duplex(Readable, Writable):
    """A stream in both directions.

    What carries it is the business of subclasses: see the methods at the end of this class, of `Readable` and of
    `Writable`.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset({"data", "end", "drain", "finish", "error", "close"})

    __slots__ = ()

    def pipe(self, destination: Into, *, end: bool = True) -> Into:
        """Writes everything that comes out of this stream to another, no faster than that takes it.

        Other ``"data"`` listeners get the data too; readers do not.  After `pause` nothing goes on before `resume`.

        A destination that fails destroys this stream with its error.  A `TLSSocket` that closes without an error closes
        this stream as well: in order if it had ended in order, else at once.  When this stream closes before its end,
        the pipe is over and the destination stays as it is.

        To connect two sockets, pipe each into the other.  Give both ``allow_half_open=True`` if one direction shall go
        on after the other has ended, and ``require_close_notify=True`` if a connection that was cut off must not look
        like one that has ended.

        Args:
            destination: Another `TLSSocket` or this one, an ``asyncio.StreamWriter``, or any object with
                ``write(data)`` and ``async drain()``.
            end: Whether the destination ends with this stream: by its ``end()``, ``write_eof()``, or, if its writing
                side cannot end by itself, ``close()``.

        Returns:
            The destination.

        Raises:
            OptionTypeError: The destination is none of these.
            StateError: Nothing can be written to it any more, or this stream was destroyed, has `onread` or a reader.

        Example::

            server.on("secure_connection", lambda socket: socket.pipe(socket))
        """
        pipe.lay(self, destination, checks.boolean("end", end))
        return destination

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

    def on(self, event: EventName, listener: Listener) -> Self:
        """Adds a listener, see `Emitter.on`; one for ``"data"`` lets the data flow to it."""
        super().on(event, listener)
        if event == "data" and not self._flowing and not self._paused:
            self.resume()
        return self

    def off(self, event: EventName, listener: Listener) -> Self:
        """Removes a listener; without one for ``"data"``, data is kept for reading.

        Args:
            event: The name of the event.
            listener: What `on` or `once` was given; one that is not there is no error.

        Raises:
            OptionError: There is no such event.
        """
        super().off(event, listener)
        if event == "data" and "data" not in self._listeners and self._onread is None:
            self._flowing = False
        return self

    # ---- what carries the stream

    def close(self) -> None:
        """Closes in order: what was written leaves before."""
        raise NotImplementedError

    def destroy(self, error: BaseException | None = None) -> Self:
        """Closes at once, with an error if there is one."""
        raise NotImplementedError
