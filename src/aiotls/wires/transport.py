"""TLS over an asyncio transport that somebody else made."""

import asyncio
from contextlib import suppress

from ..connection import Connection
from .memory import MemoryWire


class TransportWire(MemoryWire, asyncio.Protocol):
    """Takes a transport over by becoming its protocol.

    Args:
        loop: The event loop.
        connection: What is carried.
        transport: A connected transport for both directions.
        handshake_timeout: Seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Connection,
        transport: asyncio.Transport,
        handshake_timeout: float,
    ) -> None:
        super().__init__(loop, connection, handshake_timeout)
        self._transport = transport
        # With both marks at zero, `resume_writing` says that everything has left.
        transport.set_write_buffer_limits(high=0, low=0)
        transport.set_protocol(self)
        transport.resume_reading()

    # ---- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self.received(data)

    def eof_received(self) -> bool:
        self.received_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost(exc if isinstance(exc, OSError) else None)

    def pause_writing(self) -> None:
        """The transport holds something: the next thing it says is `resume_writing`."""

    def resume_writing(self) -> None:
        self._taken()

    # ---- MemoryWire

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
        if not self._transport.get_write_buffer_size():
            self._in_flight = 0

    def _send_eof(self) -> None:
        # The peer may be gone: then nothing but the end of the stream is lost with it.
        with suppress(OSError, RuntimeError):
            if self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()
        self.finished()

    def _take_below(self, wanted: bool) -> None:
        if self._transport.is_closing():
            return
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _close(self, reset: bool) -> None:
        if reset:
            self._transport.abort()
        else:
            self._transport.close()

    def get_extra_info(self, name: str) -> object:
        info: object = self._transport.get_extra_info(name)
        return info
