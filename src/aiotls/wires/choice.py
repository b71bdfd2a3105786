"""Which wire carries what."""

import asyncio
import socket
import ssl
from typing import Any

from .. import checks
from ..connection import Connection
from ..errors import OptionTypeError
from .reactor import LoopReactor, ReactorWire
from .stream import Duplex, StreamPair, StreamWire
from .transport import TransportWire


def check_stream(stream: Any) -> None:
    """Refuses what no wire can carry.

    Raises:
        OptionTypeError: It is neither of the things that `TLSSocket` takes.
    """
    if isinstance(stream, ssl.SSLSocket):
        raise OptionTypeError("the stream below must not be an ssl.SSLSocket", option="stream")
    if not (isinstance(stream, socket.socket | Duplex) or _is_transport(stream) or _is_pair(stream)):
        raise OptionTypeError(
            "the stream must be a connected socket, an asyncio (reader, writer) pair or transport, or an object "
            f"with read, write, drain, write_eof and close, not {checks.describe(stream)}",
            option="stream",
        )


def open_wire(
    loop: asyncio.AbstractEventLoop, connection: Connection, stream: Any, handshake_timeout: float
) -> ReactorWire | TransportWire | StreamWire:
    """The wire for a stream that `check_stream` let pass."""
    if isinstance(stream, socket.socket):
        stream.setblocking(False)
        return LoopReactor.of(loop).attach(connection, stream, handshake_timeout)
    if _is_transport(stream):
        return TransportWire(loop, connection, stream, handshake_timeout)
    return StreamWire(loop, connection, StreamPair(*stream) if _is_pair(stream) else stream, handshake_timeout)


def close_stream(stream: Any) -> None:
    """Closes a stream that nothing has begun on."""
    if _is_pair(stream):
        stream = stream[1]
    getattr(stream, "destroy", stream.close)()


def _is_transport(stream: Any) -> bool:
    """Those of uvloop are no subclasses of asyncio's."""
    return all(hasattr(stream, method) for method in ("set_protocol", "pause_reading", "get_write_buffer_size"))


def _is_pair(stream: Any) -> bool:
    return (
        isinstance(stream, tuple)
        and len(stream) == 2
        and isinstance(stream[0], asyncio.StreamReader)
        and isinstance(stream[1], asyncio.StreamWriter)
    )
