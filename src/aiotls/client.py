"""connect: a TLS connection to a server."""

import asyncio
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, Unpack, overload

from . import checks
from .dial import dial, known_address, not_connected
from .errors import OptionTypeError, presentable
from .keywords import ConnectKeywords
from .options import ConnectOptions
from .session import ClientSession
from .tls_socket import TLSSocket
from .wires.choice import check_stream
from .wires.reactor import LoopReactor

SecureListener = Callable[[], Any]


@overload
def connect(
    host: str, port: int, listener: SecureListener | None = None, /, **options: Unpack[ConnectKeywords]
) -> TLSSocket: ...
@overload
def connect(
    port: int, host: str | None = None, listener: SecureListener | None = None, /, **options: Unpack[ConnectKeywords]
) -> TLSSocket: ...
@overload
def connect(port: int, listener: SecureListener, /, **options: Unpack[ConnectKeywords]) -> TLSSocket: ...
@overload
def connect(listener: SecureListener | None = None, /, **options: Unpack[ConnectKeywords]) -> TLSSocket: ...
def connect(*arguments: object, **options: Unpack[ConnectKeywords]) -> TLSSocket:
    """Connects to a TLS server.

    Args:
        arguments: ``host, port``, or ``port, host``, or ``port``; after them a listener for ``"secure_connect"``.
        options: Among others ``host``, ``port``, ``path`` (a Unix socket), ``socket`` (a stream that is connected
            already), ``servername``, ``ca``, ``cert``, ``key``, ``alpn_protocols``, ``reject_unauthorized``,
            ``check_server_identity``, ``handshake_timeout`` (seconds), ``secure_context``.

    Returns:
        The socket, at once.  Awaited, or entered with ``async with``, it is connected and its server verified.

    Raises:
        OptionError: An option cannot work; the error names it, and nothing was opened.  Everything that goes wrong
            later is raised by the ``await``, or told to the ``"error"`` listeners.

    Example::

        async with aiotls.connect("example.com", 443) as socket:
            socket.write(b"GET / HTTP/1.0\\r\\nHost: example.com\\r\\n\\r\\n")
            print(await socket.read())

    Source: RFC 8446, RFC 5246; Node.js, tls.connect.
    """
    keywords, listener = _positional(arguments, dict(options))
    session = keywords.pop("session", None)
    offered = None if session is None else ClientSession.decode("session", session)
    parsed = ConnectOptions.parse(keywords)
    if parsed.socket is not None:
        check_stream(parsed.socket, "socket")
    loop = asyncio.get_running_loop()
    socket = TLSSocket.__new__(TLSSocket)
    socket._prepare(parsed, loop, session=offered)
    if listener is not None:
        socket.once("secure_connect", listener)
    if parsed.socket is not None:
        socket._wrap(parsed.socket)
        return socket
    socket._path_below = {
        "host": parsed.host,
        "port": parsed.port if parsed.path is None else None,
        "path": parsed.path,
        "local_address": parsed.local_address,
    }
    address = known_address(parsed)
    if address is None:
        socket._dialing = loop.create_task(_dial(socket, parsed))
    else:
        socket._dialing = loop.call_soon(_dial_address, socket, parsed, address)
    return socket


def _dial_address(socket: TLSSocket, options: ConnectOptions, address: str) -> None:
    """The usual way without a name, and without a task."""
    socket._emit("lookup", None, address, "IPv6" if ":" in address else "IPv4", options.host)
    if socket.destroyed:
        return
    told = functools.partial(_dialed, socket, options, address)
    try:
        reactor = LoopReactor.of(socket._loop)
        socket._dialing = reactor.connect(address, options.port or 0, told, no_delay=options.no_delay)
    except OSError as error:
        socket._fail(not_connected(error, address, options))


def _dialed(socket: TLSSocket, options: ConnectOptions, address: str, errno: int) -> None:
    if errno:
        error = OSError(errno, os.strerror(errno))
        socket._fail(not_connected(error, address, options))
        return
    dialing, socket._dialing = socket._dialing, None
    socket._begin(dialing)
    socket._emit("connect")


async def _dial(socket: TLSSocket, options: ConnectOptions) -> None:
    def looked_up(error: Exception | None, address: str | None, family: str | None, host: str) -> None:
        socket._emit("lookup", error, address, family, host)

    try:
        below = await dial(options, looked_up)
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            socket.destroy()
            raise
        socket._fail(presentable(error))
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return
    if socket.destroyed:
        below.close()
        return
    socket._begin(below)
    socket._dialing = None
    socket._emit("connect")


def _positional(
    arguments: Sequence[object], keywords: dict[str, Any]
) -> tuple[dict[str, Any], Callable[..., Any] | None]:
    """Host and port in either order, told apart by their types."""
    listener = None
    if arguments and callable(arguments[-1]):
        listener, arguments = arguments[-1], arguments[:-1]
    if len(arguments) > 2:
        raise OptionTypeError(f"connect takes a host and a port, not {checks.describe(arguments[2])}", option="host")
    port_first = arguments and isinstance(arguments[0], int) and not isinstance(arguments[0], bool)
    for option, value in zip(("port", "host") if port_first else ("host", "port"), arguments, strict=False):
        if option in keywords:
            raise OptionTypeError(f"connect got {option} twice", option=option)
        if value is not None:
            keywords[option] = value
    return keywords, listener
