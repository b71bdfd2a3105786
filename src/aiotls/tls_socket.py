"""TLSSocket: a TLS connection as a stream, client or server, over anything."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack, get_args

from . import checks, notices
from .answering import PskAsker, conversation, settings_with
from .asking import converse
from .connection import Connection
from .connection_settings import Ask, ConnectionSettings
from .duplex import Duplex
from .errors import ConnectionLost, HandshakeTimeout, StateError, StreamDestroyed, presentable
from .event_types import SocketEvent, SocketEvents
from .idle import IdleTimer
from .keywords import WrapKeywords
from .options import SocketOptions
from .session import ClientSession
from .socket_info import SocketInfo
from .socket_waiting import SocketWaiting
from .wires import Wire
from .wires.choice import check_stream, close_stream, open_wire
from .wires.dialing import Dialing
from .wires.reactor import ReactorWire

if TYPE_CHECKING:
    from .server import Server


class TLSSocket(SocketEvents, SocketInfo, SocketWaiting):
    """A TLS connection over a connected stream.

    `aiotls.connect` and `aiotls.Server` make them; make one yourself to put TLS on a stream that exists already.

    Args:
        stream: A connected ``socket.socket`` (taken over), an asyncio ``(reader, writer)`` pair or transport, another
            `TLSSocket` (TLS in TLS), or any object with the methods of `aiotls.Duplex`.
        options: Those of `create_secure_context` and `connect`, and ``is_server``.

    Raises:
        OptionError: An option cannot work; the error names it.

    Example::

        socket = await aiotls.TLSSocket((reader, writer), is_server=True, key=key, cert=cert)
    """

    EVENTS: ClassVar[frozenset[SocketEvent]] = frozenset(get_args(SocketEvent))

    __slots__ = (
        "_asking",
        "_below",
        "_closing",
        "_dialing",
        "_early",
        "_finished",
        "_gone",
        "_path_below",
        "_timer",
        "allow_half_open",
        "truncated",
    )

    def __init__(self, stream: Any, **options: Unpack[WrapKeywords]) -> None:
        session = checks.optional(options, "session", ClientSession.decode)
        self._prepare(SocketOptions.parse(options), asyncio.get_running_loop(), session=session)
        check_stream(stream)
        self._wrap(stream)

    def _prepare(
        self,
        options: SocketOptions,
        loop: asyncio.AbstractEventLoop,
        *,
        server: "Server | None" = None,
        session: ClientSession | None = None,
    ) -> None:
        """The state before there is a connection."""
        Duplex.__init__(self, loop, options.high_water_mark, options.onread)
        self._options = options
        self.is_server = options.settings.server
        self.server = server
        self.allow_half_open = bool(options.allow_half_open)
        self.truncated = False
        """Whether the peer's stream ended without close_notify."""
        self._connection: Connection | None = None
        self._wire: Wire | None = None
        # What was written before there was a wire.
        self._early: bytearray | None = None
        self._below: Any = None
        self._path_below: dict[str, Any] | None = None
        self._dialing: asyncio.Task[None] | asyncio.Handle | Dialing | None = None
        self._asking: asyncio.Task[None] | None = None
        self._ready: list[asyncio.Future[None]] | None = None
        self._renegotiations: list[asyncio.Future[None]] | None = None
        self._session: ClientSession | None = None
        self._session_offered = session
        # Sessions of TLS 1.2 come before the connection is secure.
        self._sessions_waiting: list[bytes] | None = None
        self._secured_once = False
        self._names: dict[str, object] | None = None
        self._trace = False
        self._fragment = 0
        self._no_renegotiation = False
        self._closers: list[asyncio.Future[None]] | None = None
        self._closing = False
        self._finished = False
        # The peer has ended, and then reset the connection.
        self._gone = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle: IdleTimer | None = None
        if options.timeout:
            self.set_timeout(options.timeout)

    # ---- beginning

    def _wrap(self, stream: Any) -> None:
        """Begins over a stream that somebody else connected, or is still connecting."""
        self._below = stream
        if self._options.allow_half_open is None:
            self.allow_half_open = bool(getattr(stream, "allow_half_open", False))
        self._loop.call_soon(self._begin, stream)

    def _begin(self, stream: Any) -> None:
        if self.destroyed:
            close_stream(stream)
            return
        try:
            self._open(stream)
        except OSError as error:
            # The stream was closed meanwhile.
            self._fail(ConnectionLost.from_os_error(error, **(self._path_below or {})), secure=False)
        except Exception as error:
            self._fail(error, secure=False)

    def _open(self, stream: Any) -> None:
        options = self._options
        name = None if self.is_server else options.servername
        self._connection = connection = Connection(
            self._settings(),
            servername=name,
            hostname=options.hostname,
            ask_always=options.check_server_identity is not None,
        )
        if self._session_offered is not None and not self.is_server:
            connection.offer_session(self._session_offered)
        self._use_psk(connection)
        if self.destroyed:
            close_stream(stream)
            return
        self._start(open_wire(self._loop, connection, stream, options.handshake_timeout))

    def _settings(self) -> ConnectionSettings:
        if self.server is not None:
            return self.server._settings
        return settings_with(self._options.settings, self._listeners)

    def _accept(self, wire: ReactorWire, settings: ConnectionSettings) -> None:
        """Begins with a connection that a reactor has accepted."""
        engine = wire.engine()
        assert engine is not None
        wire.connection = self._connection = connection = Connection.adopt(engine, settings)
        self._start(wire)
        self._use_psk(connection)

    def _use_psk(self, connection: Connection) -> None:
        """Lets pre-shared keys be used, where there is a function for them."""
        options = self._options
        if options.psk_callback is not None:
            try:
                connection.use_psk(PskAsker(self), options.psk_identity_hint if self.is_server else None)
            except StateError as error:
                self._fail(error, secure=False)

    def _start(self, wire: Any) -> None:
        self._wire = wire
        wire.start(self)
        if self._options.psk_callback is not None:
            # It may ask for the addresses when the wire cannot be asked.
            self._names = {name: wire.get_extra_info(name) for name in ("sockname", "peername")}
        if self._listeners and self.server is not None and self._connection is not None:
            # Listeners of this very socket; those of the server are in its settings.
            self._watch(*self._listeners)
        if self._fragment:
            self.set_max_send_fragment(self._fragment)
        if self._trace:
            self.enable_trace()
        if self._no_renegotiation:
            self.disable_renegotiation()
        if self._early is not None:
            early, self._early = bytes(self._early), None
            wire.write(early)
        if self._needs_drain:
            wire.want_drain()
        if self._write_ended:
            wire.end()
        if not self._taking:
            wire.pause()
        if self._options.keep_alive:
            self.set_keep_alive(True, self._options.keep_alive_initial_delay)

    # ---- what the wire reports

    def _notice(self, kind: int, payload: Any) -> None:
        if kind == notices.DATA:
            if self._idle is not None:
                self._idle.touch()
            if not self._closing:
                self._received_data(payload)
        elif kind == notices.SECURE:
            self._secured()
        elif kind == notices.ENDED:
            self._peer_ended(payload)
        elif kind == notices.FINISHED:
            assert self._connection is not None
            self._connection.note(kind)
            self._finished = True
            if self._write_ended:
                self._emit("finish")
            else:
                self._write_ended = self._gone = True
            self._close_when_over()
        elif kind == notices.DRAIN:
            if self._idle is not None:
                self._idle.touch()
            self._drained()
        elif kind == notices.FAILED:
            self._wire_failed(payload)
        elif kind == notices.ASKING:
            self._asked()
        elif kind == notices.NEWS:
            self._news(payload)

    def _secured(self) -> None:
        connection = self._connection
        assert connection is not None
        connection.note(notices.SECURE)
        self._secured_once = True
        for future in self._ready or ():
            if not future.done():
                future.set_result(None)
        self._ready = None
        if self._options.pause_on_connect:
            self.pause()
        self._emit("secure")
        if self.server is not None:
            self.server._socket_secured(self)
        elif not self.is_server and not self.destroyed:
            self._emit("secure_connect")
            if not self.destroyed:
                self._emit("ready")
            waiting, self._sessions_waiting = self._sessions_waiting, None
            for session in waiting or ():
                self._new_session(session)

    def _peer_ended(self, truncated: bool) -> None:
        assert self._connection is not None
        self._connection.note(notices.ENDED)
        self.truncated = truncated
        if self._renegotiations:
            self._settle_renegotiations(ConnectionLost("the peer has ended instead of renegotiating"))
        if truncated and self._options.require_close_notify:
            self._fail(ConnectionLost.truncated())
            return
        self._received_end()
        self._close_when_over()

    def _wire_failed(self, failure: Any) -> None:
        connection = self._connection
        assert connection is not None
        secure = self._secured_once
        connection.note(notices.FAILED)
        where = self._path_below or {}
        if isinstance(failure, TimeoutError):
            error: Exception = HandshakeTimeout(**where)
        elif isinstance(failure, OSError):
            error = ConnectionLost.from_os_error(failure, **where)
        else:
            error = connection.error(failure, handshaking=not secure, **where)
        self._fail(error, secure=secure)

    # ---- the questions of the handshake

    def _asked(self) -> None:
        connection = self._connection
        assert connection is not None
        connection.note(notices.ASKING)
        if self._options.check_server_identity is None and connection.engine.question == Ask.VERIFY:
            # The usual case: nobody of the user's is asked, so the certificate need not be decoded.
            try:
                refusal: Exception | None = connection.check_identity()
            except Exception as error:
                refusal = error
            self._answer(refusal)
            return
        question = connection.question
        if question is not None:
            self._asking = converse(self._loop, conversation(self, connection, question), self._answer, self.destroy)

    def _answer(self, refusal: Exception | None) -> None:
        if self.destroyed or self._connection is None or self._wire is None:
            return
        self._connection.answer(refusal)
        self._wire.answered()

    # ---- ending

    def close(self) -> None:
        """Closes in order: what was written leaves, then close_notify; what still comes is thrown away.

        A socket that is not secure yet is destroyed instead.
        Waits `close_timeout` seconds for the peer to do the same, see `wait_closed`; then it is destroyed.
        """
        if self.destroyed or self._closing:
            return
        if self._secure_connection is None:
            self.destroy()
            return
        self._closing = True
        self._discard()
        self._paused = False
        self._control_reading()
        self.end()
        if self._read_ended:
            self._at_end()
        self._timer = self._loop.call_later(self._options.close_timeout, self.destroy)
        self._close_when_over()

    def destroy(self, error: BaseException | None = None) -> Self:
        """Closes at once.  close_notify is sent if it can be; what was written and has not left may be lost.

        Args:
            error: What to tell those who wait, or the ``"error"`` listeners.

        Raises:
            OptionTypeError: It is no exception.
        """
        if not self.destroyed:
            if error is None:
                self._shut(had_error=False)
            elif isinstance(error, BaseException):
                self._fail(presentable(error), secure=self._secured_once)
            else:
                raise checks.wrong_type("error", "an exception or None", error)
        return self

    def reset_and_destroy(self) -> Self:
        """Closes at once with RST, so that a peer over TCP sees an error (``ECONNRESET``)."""
        if not self.destroyed:
            self._shut(had_error=False, reset=True)
        return self

    def _after_end(self) -> None:
        if not self.allow_half_open:
            self.end()
        self._close_when_over()

    def _close_when_over(self) -> None:
        """Both directions have ended, and the end was read: the socket closes."""
        if self._finished and self._read_ended and not self._held and not self.destroyed:
            self._at_end()
            self._shut(had_error=False)

    def _fail(self, error: BaseException, *, secure: bool = True, of_listener: bool = False) -> None:
        """Ends with an error, and finds the one who must know.

        An error of the connection may wait for the next ``await``; one that a listener raised is told now.
        """
        if self.destroyed:
            return
        self._error = error
        told = self._break(error)
        try:
            if not secure and self.server is not None:
                self.server._client_failed(error, self)
            elif (of_listener or not told) and not self._emit("error", error):
                if of_listener:
                    self._report("a listener failed and nobody was told", error)
                else:
                    # Later, because an async listener of this very turn has not begun to wait for anything yet.
                    self._loop.call_soon(self._report_untold, error)
        finally:
            self._shut(had_error=True)

    def _report_untold(self, error: BaseException) -> None:
        if not self._used_await:
            self._report("a TLS connection failed and nobody was told", error)

    def _break(self, error: BaseException) -> bool:
        told = super()._break(error)
        for future in (*(self._ready or ()), *(self._closers or ()), *(self._renegotiations or ())):
            if not future.done():
                future.set_exception(error)
                told = True
        self._ready = self._closers = self._renegotiations = None
        return told

    def _shut(self, *, had_error: bool, reset: bool = False) -> None:
        if self.destroyed:
            return
        self.destroyed = True
        self._write_ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._idle is not None:
            self.set_timeout(None)
        for task in (self._dialing, self._asking):
            if task is not None and task is not asyncio.current_task(self._loop):
                task.cancel()
        # It knows the socket, which must be in no cycle.
        self._dialing = None
        if self._wire is not None:
            self._wire.close(reset)
        if self._connection is not None and not had_error:
            self._connection.close()
        self._soon(self._tell_closed, had_error or self._error is not None)

    def _tell_closed(self, had_error: bool) -> None:
        self._closed = True
        if self._connection is not None:
            self._connection.close()
        for future in self._closers or ():
            if not future.done():
                future.set_result(None)
        self._closers = None
        if not self._read_ended or self._drainers or self._ready or self._renegotiations:
            self._break(StreamDestroyed())
        try:
            self._emit("close", had_error)
        finally:
            if self.server is not None:
                self.server._socket_closed(self)
            # Nothing more is told; without its listeners the socket is in no cycle and its memory is free at once.
            self._listeners.clear()

    def _listener_failed(self, event: str, error: BaseException, arguments: tuple[Any, ...]) -> None:
        """A listener raised: this connection ends with its error, which is told once."""
        if error is self._error or (isinstance(error, StreamDestroyed) and (self.destroyed or self._gone)):
            # The connection's own end, which came out of an await of the listener.
            self.destroy()
            return
        if self.destroyed or event == "error":
            self._report(f'a listener of "{event}" failed', error)
            return
        self._fail(error, of_listener=True)

    def _listener_cancelled(self, arguments: tuple[Any, ...]) -> None:
        self.destroy()

    def _report(self, message: str, error: BaseException) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error, "socket": self})

    # ---- what carries the stream

    def _soon(self, function: Callable[..., object], *arguments: Any) -> None:
        if self._wire is not None:
            self._wire.soon(function, *arguments)
        else:
            self._loop.call_soon(function, *arguments)

    def _take_data(self, wanted: bool) -> None:
        if self._wire is not None and not self.destroyed:
            if wanted:
                self._wire.resume()
            else:
                self._wire.pause()

    def _write(self, data: bytes) -> int:
        if self._idle is not None:
            self._idle.touch()
        if self._wire is not None:
            return self._wire.write(data)
        if self._early is None:
            self._early = bytearray()
        self._early += data
        return len(self._early)

    def _pending(self) -> int:
        if self._wire is not None and not self.destroyed:
            return self._wire.pending()
        return len(self._early or b"")

    def _want_drain(self) -> None:
        if self._wire is not None:
            self._wire.want_drain()

    def _refusal(self) -> BaseException:
        return super()._refusal() if self.destroyed or not self._gone else StreamDestroyed("the peer is gone")

    def _end(self) -> None:
        if self._wire is not None:
            self._wire.end()

    def __repr__(self) -> str:
        side = "server" if self.is_server else "client"
        phase = "connecting" if self._connection is None else self._connection.phase.value
        state = "closed" if self.destroyed else phase
        return f"<TLSSocket {side} {state} {self.get_protocol() or ''}".rstrip() + ">"
