"""Server: accepts TLS connections."""

import asyncio
import os
import socket
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Self, Unpack, get_args

from . import checks, notices
from .binding import bind, bind_path
from .errors import ConnectError, OptionError, OptionTypeError, StateError, WireError, errno_name
from .event_types import ServerEvent, ServerEvents
from .keywords import ServerKeywords
from .options import ServerOptions, unix_path
from .server_policy import ServerPolicy
from .socket_info import Address, DropInfo
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
            ``reject_unauthorized``, ``handshake_timeout`` (seconds), ``secure_context``; functions that decide in the
            midst of a handshake: ``sni_callback(servername)``, ``alpn_callback(socket, servername, protocols)``,
            ``check_client_identity(socket, certificate)``, plain or ``async``, and the plain
            ``psk_callback(socket, identity)``; ``max_connections``.

    Returns:
        The server, which does not listen yet.

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

    Source: RFC 8446, RFC 5246; Node.js, tls.createServer.
    """
    if listener is not None and not callable(listener):
        raise OptionTypeError(f"listener must be callable or None, not {listener!r:.80}", option="listener")
    server = Server(ServerOptions.parse(options))
    if listener is not None:
        server.on("secure_connection", listener)
    return server


class Server(ServerEvents, ServerPolicy):
    """A TLS server; `create_server` makes it.

    Events: ``"listening"``; ``"connection"(socket)`` before the handshake; ``"secure_connection"(socket)`` after it;
    ``"tls_client_error"(error, socket)`` once for each connection that never became secure;
    ``"keylog"(line, socket)``; ``"drop"(info)`` for a connection over `max_connections`; ``"error"(error)``;
    ``"close"``.

    Requests, whose listeners answer by what they return, plain or ``async``: ``"new_session"(id, data)``,
    ``"resume_session"(id) -> bytes | None``, ``"ocsp_request"(certificate, issuer) -> bytes | None``.  One that raises
    ends its connection.

    Source: RFC 8446, RFC 5246; Node.js, tls.Server.
    """

    EVENTS: ClassVar[frozenset[ServerEvent]] = frozenset(get_args(ServerEvent))

    __slots__ = (
        "_address",
        "_closed",
        "_listeners_below",
        "_path",
        "_sockets",
        "_told_close",
        "_waiters",
        "listening",
    )

    def __init__(self, options: ServerOptions) -> None:
        super().__init__(options)
        self._listeners_below: list[ReactorListener] = []
        self._sockets: set[TLSSocket] = set()
        self._address: Address | None = None
        self._path: str | None = None
        self._closed = False
        self._told_close = False
        self._waiters: list[asyncio.Future[None]] = []
        self.listening = False
        """Whether it accepts connections."""

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
        if self._closed:
            raise StateError("the server was closed; make another one", code="ERR_SERVER_NOT_RUNNING")
        if self.listening or self._listeners_below:
            raise StateError("the server is listening already", code="ERR_SERVER_ALREADY_LISTEN")
        if port is not None:
            port = checks.port("port", port)
        places = {"port": port, "path": path, "fd": fd, "sock": sock}
        if len(given := [option for option, value in places.items() if value is not None]) > 1:
            raise OptionTypeError(f"{given[0]} and {given[1]} both say where to listen; give one", option=given[1])
        checks.boolean("reuse_port", reuse_port)
        checks.boolean("ipv6_only", ipv6_only)
        if host is not None:
            host = checks.text("host", host)
        if path is not None:
            path = unix_path("path", path)
        if sock is not None and not isinstance(sock, socket.socket):
            raise checks.wrong_type("sock", "a socket.socket", sock)
        backlog = checks.integer("backlog", backlog, 0, 2**31 - 1)
        self._loop = loop = asyncio.get_running_loop()
        if fd is not None:
            sock = _adopt(checks.integer("fd", fd, 0, 2**31 - 1))
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
                sockets = [bind_path(path)]
                self._path = path
            else:
                sockets = await bind(self._loop, host, port, reuse_port, ipv6_only)
            for below in sockets:
                below.setblocking(False)
                below.listen(backlog)
        except OSError as error:
            for below in sockets:
                below.close()
            if isinstance(error, ConnectError):
                raise
            raise ConnectError.from_os_error(error, **where) from error
        if self._closed:
            for below in sockets:
                below.close()
            raise StateError("the server was closed before it listened", code="ERR_SERVER_NOT_RUNNING")
        self._address = Address.of(sockets[0].getsockname())
        for below in sockets:
            self._listeners_below.append(
                ReactorListener(
                    self._loop,
                    below,
                    self._settings.native(),
                    self,
                    handshake_timeout=self._options.handshake_timeout,
                    no_delay=self._options.no_delay and below.family != getattr(socket, "AF_UNIX", None),
                    announce=self._announces,
                    most=self._room,
                )
            )
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

    # ---- connections

    def _renew(self) -> None:
        super()._renew()
        if self._listeners_below:
            native = self._settings.native()
            for below in self._listeners_below:
                below.update(native, announce=self._announces, most=self._room)

    @property
    def _announces(self) -> bool:
        """Whether a connection must be known here before its handshake begins."""
        return "connection" in self._listeners or self._options.psk_callback is not None

    @property
    def _room(self) -> int:
        return sys.maxsize if self._most is None else max(0, self._most - self._injected())

    def handle_connection(self, stream: Any) -> TLSSocket:
        """Serves a connection that came some other way.

        Args:
            stream: What `TLSSocket` takes.

        Returns:
            The socket, before its handshake.
        """
        check_stream(stream)
        self._loop = asyncio.get_running_loop()
        full = self._most is not None and self.get_connections() >= self._most
        tls = self._new_socket()
        tls._wrap(stream)
        if full:
            names = getattr(stream[1] if isinstance(stream, tuple) else stream, "get_extra_info", lambda name: None)
            self._emit("drop", DropInfo.of(names("sockname"), names("peername")))
            tls.destroy()
            return tls
        self._renew_room()
        self._emit("connection", tls)
        return tls

    def _new_socket(self) -> TLSSocket:
        assert self._loop is not None
        tls = TLSSocket.__new__(TLSSocket)
        tls._prepare(self._options, self._loop, server=self)
        self._sockets.add(tls)
        return tls

    def _accepted(self, wire: ReactorWire, kind: int, payload: object) -> None:
        tls = self._new_socket()
        tls._accept(wire, self._settings)
        if kind == notices.ACCEPTED:
            self._emit("connection", tls)
        else:
            tls._notice(kind, payload)

    def _dropped(self, fd: int) -> None:
        with socket.socket(fileno=fd) as below:
            try:
                info = DropInfo.of(below.getsockname(), below.getpeername())
            except OSError:
                info = DropInfo.of(below.getsockname(), None)
        self._emit("drop", info)

    def _accept_failed(self, errno: int) -> None:
        words = f"accepting pauses: {os.strerror(errno)}"
        error = WireError(words, code=errno_name(errno), errno=errno, syscall="accept")
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
        self._renew_room()
        self._close_when_over()

    def get_connections(self) -> int:
        """How many connections are open, those in their handshake included."""
        return self._injected() + sum(below.connections() for below in self._listeners_below)

    @property
    def connections(self) -> int:
        """The old name of `get_connections`."""
        warnings.warn("Server.connections is deprecated; use get_connections()", DeprecationWarning, stacklevel=2)
        return self.get_connections()

    def _injected(self) -> int:
        return sum(1 for tls in self._sockets if not isinstance(tls._wire, ReactorWire) or tls._below is not None)

    def _renew_room(self) -> None:
        """The number of connections that came some other way has changed."""
        if self._most is not None:
            self._renew()

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

    def _listener_cancelled(self, arguments: tuple[Any, ...]) -> None:
        for each in arguments:
            if isinstance(each, TLSSocket):
                each.destroy()

    def _listener_failed(self, event: str, error: Exception, arguments: tuple[Any, ...]) -> None:
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


def _adopt(fd: int) -> socket.socket:
    try:
        return socket.socket(fileno=fd)
    except OSError as error:
        raise OptionError(f"fd: {fd} is no socket: {error.strerror}", option="fd", errno=error.errno) from error
