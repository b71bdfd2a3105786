"""TLS over any duplex of coroutines: an asyncio ``(reader, writer)`` pair, another TLS socket, an object of yours."""

import asyncio
from typing import Any, Protocol, runtime_checkable

from ..connection import Connection
from .memory import MemoryWire

CHUNK = 64 * 1024
LINGER = 1.0
"""How long a closed wire may take to get rid of its last words, in seconds."""


@runtime_checkable
class Duplex(Protocol):
    """The small protocol that an object must follow to carry TLS.

    `TLSSocket` follows it itself, so TLS can run in TLS.

    Source: Python, asyncio.StreamReader and asyncio.StreamWriter.
    """

    async def read(self, size: int, /) -> bytes:
        """Reads what is there, waiting for at least one byte.

        Args:
            size: The most bytes to return.

        Returns:
            The bytes; ``b""`` at the end.
        """

    def write(self, data: bytes, /) -> object:
        """Takes all of `data`.

        Args:
            data: Any number of bytes.

        Returns:
            Nothing that counts.
        """

    async def drain(self) -> None:
        """Waits until more should be written."""

    def write_eof(self) -> object:
        """Ends the writing direction, after what was written.

        Returns:
            Nothing that counts.
        """

    def close(self) -> object:
        """Ends both directions, after what was written.

        Returns:
            Nothing that counts.
        """


class StreamPair:
    """An asyncio ``(reader, writer)`` pair as one `Duplex`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.read = reader.read
        self.write = writer.write
        self.drain = writer.drain
        self.close = writer.close
        self.is_closing = writer.is_closing

    def write_eof(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    def get_extra_info(self, name: str) -> Any:
        return self._writer.get_extra_info(name)

    def abort(self) -> None:
        self._writer.transport.abort()


class StreamWire(MemoryWire):
    """Reads and writes a duplex by two tasks, which end with the wire.

    Args:
        loop: The event loop.
        connection: What is carried.
        stream: The duplex below.
        handshake_timeout: Seconds.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: Connection, stream: Duplex, handshake_timeout: float
    ) -> None:
        super().__init__(loop, connection, handshake_timeout)
        self._stream = stream
        if hasattr(stream, "allow_half_open"):
            # From now on this wire decides when the writing side below ends.
            stream.allow_half_open = True
        self._reading = asyncio.Event()
        self._reading.set()
        self._outgoing: list[bytes] = []
        self._eof = False
        self._writing = asyncio.Event()
        self._reader = loop.create_task(self._read())
        self._writer = loop.create_task(self._write())

    async def _read(self) -> None:
        try:
            while await self._reading.wait():
                data = await self._stream.read(CHUNK)
                if not data:
                    return self.lost(None) if self._is_closing() else self.received_eof()
                self.received(data)
                # Nothing of it is kept while this waits.
                del data
        except Exception as error:
            self._broken(error)

    def _is_closing(self) -> bool:
        """Whether somebody else has closed the stream below, so that nothing can be written any more."""
        is_closing = getattr(self._stream, "is_closing", None)
        return is_closing is not None and bool(is_closing())

    async def _write(self) -> None:
        try:
            while await self._writing.wait():
                self._writing.clear()
                if self._outgoing:
                    # Nothing of it is kept while this waits.
                    self._stream.write(self._take_outgoing())
                    await self._stream.drain()
                if not self._outgoing:
                    self._taken()
                if self._outgoing:
                    # Written meanwhile, perhaps by a listener: it goes before the end.
                    continue
                if self._closed:
                    return
                if self._eof:
                    self._eof = False
                    self._stream.write_eof()
                    self.finished()
        except Exception as error:
            if self.connection.peer_ended and not self.pending():
                # The peer is gone, and nothing but our close_notify is lost with it.
                self.finished()
            else:
                self._broken(error)
        finally:
            if self._closed:
                self._close_below()

    def _take_outgoing(self) -> bytes:
        chunks, self._outgoing = self._outgoing, []
        return b"".join(chunks)

    def _close_below(self) -> None:
        """Closes what is below in order, but does not wait for its peer for long."""
        self._stream.close()
        destroy = getattr(self._stream, "destroy", None)
        if destroy is not None:
            self._loop.call_later(LINGER, destroy)

    def _broken(self, error: Exception) -> None:
        self.lost(error if isinstance(error, OSError) else OSError(None, f"the stream below failed: {error!r}"))

    # ---- MemoryWire

    def _send(self, data: bytes) -> None:
        self._outgoing.append(data)
        self._writing.set()

    def _send_eof(self) -> None:
        self._eof = True
        self._writing.set()

    def _take_below(self, wanted: bool) -> None:
        if wanted:
            self._reading.set()
        else:
            self._reading.clear()

    def _close(self, reset: bool) -> None:
        self._reader.cancel()
        if reset or self._writer.done():
            self._writer.cancel()
            getattr(self._stream, "abort", self._stream.close)()
        else:
            # The last words leave first; the writer then closes the stream.
            self._writing.set()
            limit = self._loop.call_later(LINGER, self._writer.cancel)
            self._writer.add_done_callback(lambda _: limit.cancel())

    def get_extra_info(self, name: str) -> object:
        get = getattr(self._stream, "get_extra_info", None)
        return None if get is None else get(name)
