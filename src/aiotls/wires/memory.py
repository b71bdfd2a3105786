"""What the two wires have in common that hand ciphertext to somebody else."""

import asyncio
from collections.abc import Callable
from typing import Any

from .. import notices
from ..connection import READ_LIMIT, Connection, Data, Notice
from ..phases import Phase
from . import Sink


class MemoryWire:
    """Drives a connection by its buffers; subclasses move the ciphertext.

    Args:
        loop: The event loop.
        connection: What is carried.
        handshake_timeout: Seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Connection, handshake_timeout: float) -> None:
        self.connection = connection
        self._loop = loop
        self._sink: Sink | None = None
        self._waiting = bytearray()
        self._in_flight = 0
        self._want_drain = False
        self._paused = False
        self._ending = False
        self._closed = False
        self._advancing = False
        # Asked for inside the handshake, when the engine cannot be used: whether with a reset.
        self._close_later: bool | None = None
        self._in_core = False
        self._handshake_timeout = handshake_timeout
        self._timer: asyncio.TimerHandle | None = loop.call_later(handshake_timeout, self._timed_out)

    def start(self, sink: Sink) -> None:
        """Begins: notices go to `sink`."""
        self._sink = sink
        self._loop.call_soon(self.advance)

    def soon(self, function: Callable[..., object], *arguments: Any) -> None:
        self._loop.call_soon(function, *arguments)

    # ---- what comes in

    def received(self, data: Data) -> None:
        self.connection.feed(data)
        self.advance()

    def received_eof(self) -> None:
        self.connection.feed_eof()
        self.advance()

    def lost(self, error: OSError | None) -> None:
        """The stream below is gone."""
        if self._closed:
            return
        if error is None:
            # There is nothing to hold back any more, and nothing more can be said.
            self._paused = False
            self.received_eof()
            self._tell(notices.FINISHED, None)
        else:
            self._tell(notices.FAILED, error)

    def advance(self) -> None:
        """Lets the connection do what it can, tells what happened, and sends what came of it."""
        if self._closed or self._sink is None or self._advancing:
            return
        self._advancing = True
        try:
            # What is paused is the application's data: a handshake goes on.
            while not self._closed and (found := self._drive()):
                # What was produced leaves first: after a failure it is the alert.
                self._flush()
                for kind, payload in found:
                    self._tell(kind, payload)
        finally:
            self._advancing = False
        if self._close_later is not None:
            self.close(self._close_later)
        elif not self._closed:
            self._time_renegotiation()
            self._flush()

    def _drive(self) -> list[Notice]:
        self._in_core = True
        try:
            found = self.connection.advance(0 if self._paused else READ_LIMIT)
        finally:
            self._in_core = False
        return [] if self._close_later is not None else found

    def _tell(self, kind: int, payload: object) -> None:
        if kind in (notices.SECURE, notices.FAILED):
            self._stop_timer()
            self._control_below()
        if not self._closed and self._sink is not None:
            if kind == notices.FAILED:
                self.connection.note(kind)
            self._sink._notice(kind, payload)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_renegotiation(self) -> None:
        """A renegotiation may take as long as a handshake."""
        if self.connection.phase not in (Phase.OPEN, Phase.ENDING):
            return
        if not self.connection.busy:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._handshake_timeout, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        self._tell(notices.FAILED, TimeoutError())

    # ---- what goes out

    def write(self, data: Data) -> int:
        if self._waiting or not self._may_write():
            self._waiting += data
        else:
            self._encrypt(data)
        if not self._advancing:
            self._flush()
        return self.pending()

    def _may_write(self) -> bool:
        connection = self.connection
        return connection.phase in (Phase.OPEN, Phase.ENDING) and not connection.busy

    def _encrypt(self, data: Data) -> None:
        if self.connection.write(data):
            self._in_flight += len(data)

    def _flush(self) -> None:
        connection = self.connection
        may_write = self._may_write()
        if self._waiting and may_write:
            waiting, self._waiting = bytes(self._waiting), bytearray()
            self._encrypt(waiting)
        finishing = self._ending and may_write
        if finishing:
            self._ending = False
            connection.shutdown()
        if data := connection.drain():
            self._send(data)
        if finishing:
            self._send_eof()

    def push(self) -> None:
        if not self._advancing:
            self._flush()

    def pending(self) -> int:
        return len(self._waiting) + self._in_flight

    def want_drain(self) -> None:
        self._want_drain = True
        if not self.pending():
            self._loop.call_soon(self._taken)

    def end(self) -> None:
        self._ending = True
        if not self._advancing:
            self._flush()

    def finished(self) -> None:
        """Our end of the stream has left."""
        self._loop.call_soon(self._tell, notices.FINISHED, None)

    def _taken(self) -> None:
        """The stream below has taken everything given to it."""
        self._in_flight = 0
        if self._want_drain and not self.pending():
            self._want_drain = False
            self._tell(notices.DRAIN, None)

    # ---- control

    def pause(self) -> None:
        self._paused = True
        self._control_below()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._control_below()
            self._loop.call_soon(self.advance)

    def _control_below(self) -> None:
        self._take_below(not self._paused or self.connection.phase in (Phase.HANDSHAKE, Phase.ASKING))

    def answered(self) -> None:
        self._loop.call_soon(self.advance)

    def close(self, reset: bool = False) -> None:
        if self._closed:
            return
        if self._in_core:
            self._close_later = reset
            return
        self._closed = True
        self._stop_timer()
        if not reset:
            self.connection.shutdown()
            if data := self.connection.drain():
                self._send(data)
        self.connection.close()
        self._sink = None
        self._close(reset)

    def fileno(self) -> int:
        return -1

    # ---- for subclasses

    def _take_below(self, wanted: bool) -> None:
        """Reads from the stream below, or leaves there what it has."""
        raise NotImplementedError

    def _send(self, data: bytes) -> None:
        raise NotImplementedError

    def _send_eof(self) -> None:
        """Ends the stream below where it can be ended by itself, then calls `finished`."""
        raise NotImplementedError

    def _close(self, reset: bool) -> None:
        raise NotImplementedError
