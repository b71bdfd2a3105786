"""Server: accepts TLS connections."""

import asyncio
import errno as errno_numbers
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Self, Unpack

from . import checks, notices
from .connection import ConnectionSettings
from .emitter import Emitter, Listener
from .errors import ConnectError, OptionTypeError, StateError, errno_name
from .keywords import ServerKeywords
from .options import ServerOptions
from .socket_info import Address
from .tls_socket import TLSSocket
from .wires.choice import check_stream
from .wires.reactor import ReactorListener, ReactorWire

BACKLOG = 511
"""How many connections the system lets wait to be accepted, by default."""


def create_server(listener: Callable[[TLSSocket], Any] | None = None, **options: Unpack[ServerKeywords]) -> "Server":
    """Makes a TLS server.

    Args:
        listener: A plain or ``async`` function, added to ``"secure_connection"``.
        options: Among others ``key``, ``cert``, ``ca``, ``alpn_protocols``, ``request_cert``,
            ``reject_unauthorized``, ``handshake_timeout`` (seconds), ``secure_context``.

    Raises:
        OptionError: An option cannot work; the error names it.

    Example::

        async def handle(socket):
            async for chunk in socket:
                socket.write(chunk)
                await socket.drain()

        server = aiotls.create_server(handle, key=Path("key.pem"), cert=Path("cert.pem"))
        async with server:
            await server.listen(8443)
            await server.serve_forever()
    """
    if listener is not None and not callable(listener):
        raise OptionTypeError(f"listener must be callable or None, not {listener!r:.80}", option="listener")
    server = Server(ServerOptions.parse(options))
    if listener is not None:
        server.on("secure_connection", listener)
    return server


class Server(Emitter):
    """A TLS server; `create_server` makes it.

    Events: ``"listening"``; ``"connection"(socket)`` before the handshake; ``"secure_connection"(socket)`` after it;
    ``"tls_client_error"(error, socket)`` once for each connection that never became secure;
    ``"keylog"(line, socket)``; ``"error"(error)``; ``"close"``.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset(
        {"close", "connection", "error", "keylog", "listening", "secure_connection", "tls_client_error"}
    )

    __slots__ = (
        "_address",
        "_closed",
        "_listeners_below",
        "_loop",
        "_options",
        "_path",
        "_settings",
        "_sockets",
        "_told_close",
        "_waiters",
        "listening",
    )

    def __init__(self, options: ServerOptions) -> None:
        super().__init__()
        self._options = options
        self._settings = self._current_settings()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners_below: list[ReactorListener] = []
        self._sockets: set[TLSSocket] = set()
        self._address: Address | None = None
        self._path: str | None = None
        self._closed = False
        self._told_close = False
        self._waiters: list[asyncio.Future[None]] = []
        self.listening = False

    @property
    def allow_half_open(self) -> bool:
        """Whether the sockets stay writable after the peer has ended."""
        return bool(self._options.allow_half_open)

    @property
    def pause_on_connect(self) -> bool:
        """Whether the sockets start paused."""
        return self._options.pause_on_connect

    # ---- listening

    def listen(
        self,
        port: int | None = None,
        host: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        fd: int | None = None,
        sock: socket.socket | None = None,
        backlog: int = BACKLOG,
        reuse_port: bool = False,
        ipv6_only: bool = False,
    ) -> "asyncio.Task[Self]":
        """Starts to accept connections.

        Args:
            port: 0, or nothing at all, lets the system choose: see `address`.
            host: A name or address; None for all of this machine, IPv6 and IPv4.
            path: A Unix socket; a socket file that nobody listens on any more is replaced.
            fd: A descriptor that listens, or is bound, already; it is taken over.
            sock: The same as a ``socket.socket``.
            backlog: How many connections may wait to be accepted.
            reuse_port: Lets several processes listen on the same port (SO_REUSEPORT).
            ipv6_only: With an IPv6 host, leaves IPv4 alone.

        Returns:
            Something to await: the server, listening.

        Raises:
            OptionError: An argument cannot work.
            StateError: The server is listening already, or was closed.
            ConnectError: When awaited: the system refuses, with ``EADDRINUSE`` and the like as `code`; without an
                ``await`` it is told to the ``"error"`` listeners.
        """
        if self.listening or self._listeners_below:
            raise StateError("the server is listening already", code="ERR_SERVER_ALREADY_LISTEN")
        if self._closed:
            raise StateError("the server was closed; make another one", code="ERR_SERVER_NOT_RUNNING")
        if port is not None:
            port = checks.port("port", port)
        backlog = checks.integer("backlog", backlog, 0, 2**31 - 1)
        self._loop = loop = asyncio.get_running_loop()
        if fd is not None:
            sock = socket.socket(fileno=checks.integer("fd", fd, 0, 2**31 - 1))
        if path is not None:
            path = os.fspath(path)
        task = loop.create_task(self._listen(port or 0, host, path, sock, backlog, reuse_port, ipv6_only))
        task.add_done_callback(self._listen_done)
        return task

    async def _listen(
        self,
        port: int,
        host: str | None,
        path: str | None,
        sock: socket.socket | None,
        backlog: int,
        reuse_port: bool,
        ipv6_only: bool,
    ) -> Self:
        assert self._loop is not None
        where = {"syscall": "listen", "address": path or host, "port": None if path else port, "path": path}
        sockets: list[socket.socket] = []
        try:
            if sock is not None:
                sockets = [sock]
            elif path is not None:
                sockets = [_bind_path(path)]
                self._path = path
            else:
                sockets = await _bind(self._loop, host, port, reuse_port, ipv6_only)
            for below in sockets:
                below.setblocking(False)
                below.listen(backlog)
        except OSError as error:
            for below in sockets:
                below.close()
            raise ConnectError.from_os_error(error, **where) from error
        if self._closed:
            for below in sockets:
                below.close()
            raise StateError("the server was closed before it listened", code="ERR_SERVER_NOT_RUNNING")
        for below in sockets:
            self._listeners_below.append(
                ReactorListener(
                    self._loop,
                    below,
                    self._settings.native(),
                    self,
                    handshake_timeout=self._options.handshake_timeout,
                    no_delay=self._options.no_delay and below.family != getattr(socket, "AF_UNIX", None),
                    announce="connection" in self._listeners,
                )
            )
        self._address = Address.of(sockets[0].getsockname())
        self.listening = True
        self._emit("listening")
        return self

    def _listen_done(self, task: "asyncio.Task[Self]") -> None:
        # Looking at the exception keeps asyncio from reporting it besides.
        if "error" in self._listeners and not task.cancelled() and (error := task.exception()) is not None:
            self._emit("error", error)

    def address(self) -> Address | None:
        """What the server listens on; None while it does not."""
        return self._address if self.listening else None

    def on(self, event: str, listener: Listener) -> Self:
        """Adds a listener, see `Emitter.on`; those for the handshake count for connections accepted later."""
        super().on(event, listener)
        if event in ("connection", "keylog"):
            self._settings = self._current_settings()
            for below in self._listeners_below:
                below.update(self._settings.native(), announce="connection" in self._listeners)
        return self

    def _current_settings(self) -> ConnectionSettings:
        options = self._options
        return ConnectionSettings(
            context=options.secure_context,
            server=True,
            request_cert=options.request_cert,
            reject_unauthorized=options.reject_unauthorized,
            alpn=options.alpn,
            keylog="keylog" in self._listeners,
        )

    # ---- connections

    def handle_connection(self, stream: Any) -> TLSSocket:
        """Serves a connection that came some other way.

        Args:
            stream: What `TLSSocket` takes.

        Returns:
            The socket, before its handshake.
        """
        check_stream(stream)
        self._loop = asyncio.get_running_loop()
        tls = self._new_socket()
        tls._wrap(stream)
        self._emit("connection", tls)
        return tls

    def _new_socket(self) -> TLSSocket:
        assert self._loop is not None
        tls = TLSSocket.__new__(TLSSocket)
        tls._prepare(self._options, self._loop, self)
        self._sockets.add(tls)
        return tls

    def _accepted(self, wire: ReactorWire, kind: int, payload: object) -> None:
        tls = self._new_socket()
        tls._accept(wire, self._settings)
        if kind == notices.ACCEPTED:
            self._emit("connection", tls)
        else:
            tls._notice(kind, payload)

    def _accept_failed(self, errno: int) -> None:
        error = OSError(errno, f"accepting pauses: {os.strerror(errno)}")
        if not self._emit("error", error) and self._loop is not None:
            message = f"a TLS server cannot accept connections ({errno_name(errno)}); it tries again shortly"
            self._loop.call_exception_handler({"message": message, "exception": error, "server": self})

    def _socket_secured(self, tls: TLSSocket) -> None:
        self._emit("secure_connection", tls)

    def _client_failed(self, error: BaseException, tls: TLSSocket) -> None:
        """A connection ended before it was secure."""
        self._emit("tls_client_error", error, tls)

    def _socket_closed(self, tls: TLSSocket) -> None:
        self._sockets.discard(tls)
        self._close_when_over()

    def get_connections(self) -> int:
        """How many connections are open, those in their handshake included."""
        injected = sum(1 for tls in self._sockets if not isinstance(tls._wire, ReactorWire))
        return injected + sum(below.connections() for below in self._listeners_below)

    # ---- the end

    def close(self) -> Self:
        """Stops accepting; connections go on.  When the last one has closed, ``"close"`` is emitted."""
        if not self._closed:
            self._closed = True
            self.listening = False
            for below in self._listeners_below:
                below.close()
            if self._path is not None and not self._path.startswith("\0"):
                with suppress(OSError):
                    os.unlink(self._path)
            if self._loop is not None:
                self._loop.call_soon(self._close_when_over)
        return self

    def close_all_connections(self) -> None:
        """Destroys every connection that is open, those in their handshake included."""
        for tls in list(self._sockets):
            tls.destroy()
        for below in self._listeners_below:
            below.close_connections()

    async def wait_closed(self) -> None:
        """Waits until the server and all its connections are closed and their ``async`` listeners have ended."""
        if self._told_close or (self._closed and not self._open_ends()):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        await future

    async def serve_forever(self) -> None:
        """Serves until the server is closed, or the task is cancelled, which closes it."""
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self.close_all_connections()
        await self.wait_closed()

    def _open_ends(self) -> bool:
        return bool(self._sockets or self._tasks or any(below.connections() for below in self._listeners_below))

    def _close_when_over(self) -> None:
        if not self._closed or self._open_ends():
            return
        for below in self._listeners_below:
            below.forget()
        self._listeners_below.clear()
        for future in self._waiters:
            if not future.done():
                future.set_result(None)
        self._waiters.clear()
        if not self._told_close:
            self._told_close = True
            self._emit("close")

    def _task_done(self) -> None:
        self._close_when_over()

    def _listener_failed(self, event: str, error: BaseException, arguments: tuple[Any, ...]) -> None:
        """A listener raised: its connection ends, where the event is about one; the server goes on."""
        tls = next((each for each in arguments if isinstance(each, TLSSocket)), None)
        if tls is not None and event != "tls_client_error":
            tls._listener_failed(event, error, arguments)
        elif self._loop is not None:
            self._loop.call_exception_handler(
                {"message": f'a listener of "{event}" failed', "exception": error, "server": self}
            )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "listening" if self.listening else "not listening"
        return f"<Server {state} {self._address or ''}".rstrip() + ">"


async def _bind(
    loop: asyncio.AbstractEventLoop, host: str | None, port: int, reuse_port: bool, ipv6_only: bool
) -> list[socket.socket]:
    if host is None or host == "":
        try:
            return [_bind_address(socket.AF_INET6, ("::", port), reuse_port, ipv6_only)]
        except OSError as error:
            if error.errno not in (errno_numbers.EAFNOSUPPORT, errno_numbers.EADDRNOTAVAIL):
                raise
            return [_bind_address(socket.AF_INET, ("0.0.0.0", port), reuse_port, ipv6_only)]
    try:
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConnectError(
            f"getaddrinfo ENOTFOUND {host}", code="ENOTFOUND", syscall="getaddrinfo", host=host, port=port
        ) from error
    family, _, _, _, address = infos[0]
    return [_bind_address(family, address, reuse_port, ipv6_only)]


def _bind_address(family: int, address: Any, reuse_port: bool, ipv6_only: bool) -> socket.socket:
    below = socket.socket(family, socket.SOCK_STREAM)
    try:
        below.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            below.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            below.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(ipv6_only))
        below.bind(address)
    except BaseException:
        below.close()
        raise
    return below


def _bind_path(path: str) -> socket.socket:
    below = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            below.bind(path)
        except OSError as error:
            if error.errno != errno_numbers.EADDRINUSE or _is_served(path):
                raise
            os.unlink(path)
            below.bind(path)
    except BaseException:
        below.close()
        raise
    return below


def _is_served(path: str) -> bool:
    """Whether somebody still listens on a socket file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            pass
    return True
