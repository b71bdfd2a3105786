"""Which wire carries what."""

import asyncio
import socket
import ssl
from typing import Any

from .. import checks
from ..connection import Connection
from ..errors import OptionError, OptionTypeError
from .dialing import Dialing
from .reactor import LoopReactor, ReactorWire
from .stream import Duplex, StreamPair, StreamWire
from .transport import TransportWire


def check_stream(stream: Any, option: str = "stream") -> None:
    """Refuses what no wire can carry.

    Args:
        stream: What was given.
        option: The name to call it in the error.

    Raises:
        OptionTypeError: It is neither of the things that `TLSSocket` takes.
        OptionError: It is a socket without a stream.
    """
    if isinstance(stream, ssl.SSLSocket):
        raise OptionTypeError(f"{option} must not be an ssl.SSLSocket", option=option)
    if isinstance(stream, socket.socket) and stream.type != socket.SOCK_STREAM:
        raise OptionError(f"{option} must be a stream socket, not one of {stream.type.name}", option=option)
    if not (isinstance(stream, socket.socket | Duplex) or _is_transport(stream) or _is_pair(stream)):
        raise OptionTypeError(
            f"{option} must be a connected socket, an asyncio (reader, writer) pair or transport, or an object "
            f"with read, write, drain, write_eof and close, not {checks.describe(stream)}",
            option=option,
        )


def open_wire(
    loop: asyncio.AbstractEventLoop, connection: Connection, stream: Any, handshake_timeout: float
) -> ReactorWire | TransportWire | StreamWire:
    """The wire for a stream that `check_stream` let pass, or that was dialled."""
    if isinstance(stream, Dialing):
        return stream.open(connection, handshake_timeout)
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
