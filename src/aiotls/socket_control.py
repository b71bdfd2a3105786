"""What a TLS socket can be told about its connection: sessions, keys, renegotiation, socket options."""

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Self, Unpack

from . import checks
from .connection import Connection
from .connection_settings import Ask
from .context import SecureContext, create_secure_context
from .duplex import Duplex
from .emitter import EventName, Listener
from .errors import HandshakeTimeout, OptionError, OptionTypeError, StateError
from .idle import IdleTimer
from .keywords import ContextKeywords
from .options import SocketOptions, server_name, sni
from .session import ClientSession

if TYPE_CHECKING:
    from .server import Server
    from .wires import Wire


LARGEST_FRAGMENT = 16384
"""The most plaintext that a record may hold (RFC 8446, section 5.1)."""
READ_AHEAD = 1024 * 1024
"""So many bytes, over the high water mark, are taken from the peer while a renegotiation waits for its answer."""


class SocketControl(Duplex):
    """The part of `TLSSocket` that steers a connection."""

    __slots__ = (
        "_connection",
        "_fragment",
        "_idle",
        "_names",
        "_no_renegotiation",
        "_options",
        "_renegotiations",
        "_secured_once",
        "_session",
        "_session_offered",
        "_sessions_waiting",
        "_trace",
        "_wire",
        "is_server",
        "server",
    )

    _closing: bool
    _connection: Connection | None
    _fragment: int
    _idle: IdleTimer | None
    _renegotiations: list[asyncio.Future[None]] | None
    _names: dict[str, object] | None
    _no_renegotiation: bool
    _options: SocketOptions
    _secured_once: bool
    _session: ClientSession | None
    _session_offered: ClientSession | None
    _sessions_waiting: list[bytes] | None
    _trace: bool
    _wire: "Wire | None"
    is_server: bool
    server: "Server | None"
    """The server that accepted it; None where there is none."""

    if TYPE_CHECKING:

        @property
        def _secure_connection(self) -> Connection | None: ...
        def _fail(self, error: BaseException) -> None: ...

    # ---- news

    def _news(self, news: list[tuple[str, bytes]] | None) -> None:
        connection = self._connection
        assert connection is not None
        for event, payload in connection.engine.news() if news is None else news:
            if self.destroyed:
                return
            if event == "secure":
                self._renegotiated()
            elif event == "session":
                if self._secured_once:
                    self._new_session(payload)
                else:
                    self._sessions_waiting = [*(self._sessions_waiting or ()), payload]
            else:
                self._emit(event, payload)
                if self.server is not None:
                    self.server._emit(event, payload, self)

    def _renegotiated(self) -> None:
        self._settle_renegotiations(None)
        self._control_reading()
        # From now on the session is the one of the renegotiation.
        self._session = None
        self._emit("secure")

    def _settle_renegotiations(self, error: Exception | None) -> None:
        futures, self._renegotiations = self._renegotiations, None
        for future in futures or ():
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

    def _new_session(self, data: bytes) -> None:
        if self._connection is not None and not self.destroyed:
            self._session = session = self._connection.client_session(data)
            if session is not None:
                self._emit("session", session.encode())

    def on(self, event: EventName, listener: Listener) -> Self:
        """Adds a listener: one for ``"data"`` lets data flow, one for ``"keylog"`` or ``"session"`` counts from now on.

        Args:
            event: The name of the event.
            listener: A plain or ``async`` function; its arguments depend on the event.

        Raises:
            OptionError: There is no such event; the error names the nearest one.
            OptionTypeError: The listener cannot be called.
        """
        super().on(event, listener)
        if event in ("keylog", "session"):
            self._watch(event)
        return self

    def _watch(self, *events: str) -> None:
        if self._connection is None or self.destroyed:
            return
        if "keylog" in events:
            self._connection.watch(Ask.KEYLOG)
        if "session" in events and not self.is_server:
            self._connection.watch(Ask.TICKETS)

    # ---- sessions of a client

    def get_session(self) -> bytes | None:
        """The session to give to a later `connect`, in its option ``session``; None while there is none.

        With TLS 1.3 there is one when the server's first ticket has come: see the event ``"session"``.
        """
        session = self._current_session()
        return None if session is None else session.encode()

    def get_tls_ticket(self) -> bytes | None:
        """The server's ticket in the session, as it stands on the wire; None while there is none."""
        session = self._current_session()
        return None if session is None else session.ticket

    def set_session(self, session: bytes) -> None:
        """Offers a session to the server; it is used where it counts for this connection, else silently not.

        Args:
            session: What `get_session` or ``"session"`` gave.

        Raises:
            OptionError: It is no session.
            StateError: The handshake has begun.
        """
        offered = ClientSession.decode("session", session)
        if self.is_server or self._connection is not None or self.destroyed:
            raise StateError("a session can be set on a client, before the handshake begins")
        self._session_offered = offered

    def _current_session(self) -> ClientSession | None:
        connection = self._secure_connection
        if connection is None or self.is_server:
            return None
        session = self._session or connection.client_session()
        if session is None and connection.engine.session_reused():
            # OpenSSL does not give a used session of TLS 1.3 away again; it is in use until a new ticket comes.
            session = self._session_offered
        return session

    # ---- the name of the server

    def set_servername(self, name: str) -> None:
        """Names the server, as the option ``servername`` does: in the handshake, and when its certificate is verified.

        Args:
            name: A DNS name, also in Unicode.

        Raises:
            OptionError: It is no DNS name.
            StateError: The handshake has begun, or this is a server (``ERR_TLS_SNI_FROM_SERVER``).

        Source: RFC 6066, section 3.
        """
        name = server_name("name", name)
        if self.is_server:
            raise StateError("the server name is the client's to choose", code="ERR_TLS_SNI_FROM_SERVER")
        if self._connection is not None or self.destroyed:
            raise StateError("the server name can be set before the handshake begins")
        self._options = replace(self._options, hostname=name, servername=sni(name))

    # ---- the certificate of a server

    def set_key_cert(self, context: SecureContext | None = None, /, **options: Unpack[ContextKeywords]) -> None:
        """Lets this connection show other certificates, while a question of its handshake is answered.

        Args:
            context: Whose keys and certificates to use; nothing else of it counts.
            options: Those of `create_secure_context`, instead of a context.

        Raises:
            OptionError: There is no certificate in it.
            StateError: The handshake is not that far, or over.

        Example::

            def choose(socket, servername, protocols):
                if protocols == ["acme-tls/1"]:
                    socket.set_key_cert(challenge)
                return protocols[0]
        """
        if context is None:
            context = create_secure_context(**options)
        elif not isinstance(context, SecureContext):
            raise checks.wrong_type("context", "a SecureContext, or options by keyword", context)
        elif options:
            raise OptionTypeError("give a context or options, not both", option="context")
        if not context._has_identity:
            raise OptionError("context holds no certificate with its key", option="context")
        connection = self._connection
        if not self.is_server or connection is None or connection.engine.question != Ask.HELLO:
            raise StateError("the certificate is chosen on a server, in sni_callback or alpn_callback")
        connection.use_identity(context)

    # ---- renegotiation

    async def renegotiate(self, *, request_cert: bool | None = None, reject_unauthorized: bool | None = None) -> None:
        """Shakes hands anew, which only TLS 1.2 and older can; ``"secure"`` is emitted when it is done.

        Args:
            request_cert: On a server: whether to ask for the client's certificate; None leaves it as it is.
            reject_unauthorized: On a server: whether to refuse clients without a good one; None leaves it as it is.

        Raises:
            PeerError: It is TLS 1.3 (``ERR_SSL_WRONG_SSL_VERSION``; the connection goes on), or the peer refuses.
            StateError: The connection is not secure, or one side has ended.

        Example::

            await socket.renegotiate(request_cert=True)
            print(socket.get_peer_certificate().subject)
        """
        for option, value in (("request_cert", request_cert), ("reject_unauthorized", reject_unauthorized)):
            if value is not None:
                checks.boolean(option, value)
        while True:
            connection, wire = self._secure_connection, self._wire
            if connection is None or wire is None:
                raise self._error or StateError("TLS socket connection must be securely established")
            if connection.peer_ended or self._write_ended:
                raise StateError("one side has ended, so nothing can be negotiated any more")
            if not connection.busy and not self._renegotiations:
                break
            # One is under way, of ours or of the peer; a second one would be lost in it.
            await self._next_renegotiation()
        connection.renegotiate(request_cert, reject_unauthorized)
        renegotiated = self._next_renegotiation()
        wire.push()
        # The peer's answer may stand behind data that nobody reads yet.
        self._control_reading()
        timer = self._loop.call_later(self._options.handshake_timeout, self._fail, HandshakeTimeout())
        try:
            await renegotiated
        finally:
            timer.cancel()

    def _next_renegotiation(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._renegotiations = [*(self._renegotiations or ()), future]
        return future

    def _reads_ahead(self) -> bool:
        if self._closing:
            # Nobody wants the data, but the peer's end stands behind it.
            return True
        return bool(self._renegotiations) and self._held < self.high_water_mark + READ_AHEAD

    def disable_renegotiation(self) -> None:
        """Ends the connection when the peer renegotiates from now on (``ERR_TLS_RENEGOTIATION_DISABLED``)."""
        self._no_renegotiation = True
        if self._connection is not None and not self.destroyed:
            self._connection.disable_renegotiation()

    def enable_trace(self) -> None:
        """Prints the messages of the connection on the error stream (SSL_trace(3)).

        They hold nothing secret but what the peer sends; application data is printed as it is on the wire.
        """
        self._trace = True
        if self._connection is not None and not self.destroyed:
            self._connection.watch(Ask.TRACE)

    def set_max_send_fragment(self, size: int) -> bool:
        """Limits the plaintext in each record that we send; smaller ones reach the peer's application sooner.

        Args:
            size: 512 to 16384 bytes, which is the default.

        Returns:
            False for other sizes, and when the socket is closed.

        Raises:
            OptionTypeError: `size` is no integer.

        Source: RFC 8446, section 5.1; SSL_CTX_set_max_send_fragment(3).
        """
        if isinstance(size, bool) or not isinstance(size, int):
            raise checks.wrong_type("size", "an int", size)
        if not 512 <= size <= LARGEST_FRAGMENT or self.destroyed:
            return False
        self._fragment = size
        return self._connection is None or self._connection.engine.set_max_send_fragment(size)

    # ---- socket options

    def set_no_delay(self, enable: bool = True) -> Self:
        """Sends small pieces at once (TCP_NODELAY); without effect where there is no TCP socket of ours below.

        Args:
            enable: Whether to.

        Raises:
            OptionTypeError: `enable` is neither True nor False.
        """
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(checks.boolean("enable", enable)))
        return self

    def set_keep_alive(self, enable: bool = False, initial_delay: float = 0.0) -> Self:
        """Lets TCP find out whether the peer is still there.

        Args:
            enable: Whether to.
            initial_delay: Seconds of silence before the first probe; 0 leaves the system's.

        Raises:
            OptionError: A value has the wrong type, or the delay is out of range.
        """
        initial_delay = checks.seconds("initial_delay", initial_delay, zero=True)
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(checks.boolean("enable", enable)))
        if enable and initial_delay and hasattr(socket, "TCP_KEEPIDLE"):
            self._set_option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, round(initial_delay)))
        return self

    def _set_option(self, level: int, option: int, value: int) -> None:
        fd = -1 if self._wire is None else self._wire.fileno()
        if fd < 0:
            return
        below = socket.socket(fileno=fd)
        try:
            below.setsockopt(level, option, value)
        except OSError:
            # Unix sockets have no TCP options, and a broken connection has none that matter.
            pass
        finally:
            below.detach()

    # ---- the idle timer

    @property
    def timeout(self) -> float | None:
        """Seconds without data until ``"timeout"``; None for never."""
        return None if self._idle is None else self._idle.seconds

    def set_timeout(self, seconds: float | None, listener: Listener | None = None) -> Self:
        """Emits ``"timeout"`` whenever no data has flowed for so long; what then happens is up to the listener.

        Args:
            seconds: Seconds without data; 0 or None for never.
            listener: Added to ``"timeout"``, for one time.

        Raises:
            OptionError: `seconds` is no duration.
        """
        seconds = None if seconds is None else checks.seconds("seconds", seconds, zero=True)
        if listener is not None:
            self.once("timeout", listener)
        if self._idle is not None:
            self._idle.stop()
            self._idle = None
        if seconds and not self.destroyed:
            self._idle = IdleTimer(self._loop, seconds, lambda: self._emit("timeout"))
        return self
