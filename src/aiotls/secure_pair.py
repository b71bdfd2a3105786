"""create_secure_pair: TLS between two streams in memory, as it was done before `TLSSocket`; deprecated.

Ciphertext goes in and out at one stream, plaintext at the other, and the program moves the ciphertext itself.
"""

import asyncio
import warnings
from collections import deque
from typing import Any, ClassVar, Self, get_args

from .checks import wrong_type
from .context import SecureContext
from .duplex import Duplex
from .errors import ConnectionLost, OptionTypeError, StreamDestroyed, presentable
from .event_types import PairEvent, PairEvents, StreamEvents
from .options import HIGH_WATER_MARK
from .tls_socket import TLSSocket
from .wires.stream import LINGER


def create_secure_pair(
    context: SecureContext | None = None,
    is_server: bool | None = False,
    request_cert: bool | None = False,
    reject_unauthorized: bool | None = True,
    **options: Any,
) -> "SecurePair":
    """Makes a pair of streams with TLS between them; deprecated: `TLSSocket` over any stream does the same.

    Args:
        context: The secure context; None for one made of `options`.
        is_server: The side of TLS that the pair is.
        request_cert: Whether a server asks for a certificate.
        reject_unauthorized: Whether a peer that is not authorized is refused; only False lets it pass.
        options: All others of `TLSSocket`.  `high_water_mark`, in bytes, counts for both streams.

    Returns:
        The pair, at once; it begins in the next turn of the event loop.

    Raises:
        OptionError: An option cannot work; the error names it.

    Example::

        pair = aiotls.create_secure_pair(context, True)
        pair.encrypted.pipe(writer)
        while data := await reader.read(65536):
            pair.encrypted.write(data)
            await pair.encrypted.drain()
        pair.encrypted.end()

    Source: Node.js, tls.createSecurePair.
    """
    warnings.warn("create_secure_pair is deprecated; use TLSSocket", DeprecationWarning, stacklevel=2)
    given = {
        **options,
        "is_server": is_server,
        "request_cert": request_cert,
        "reject_unauthorized": reject_unauthorized,
    }
    if context is not None:
        if not isinstance(context, SecureContext):
            raise wrong_type("context", "a SecureContext", context)
        if given.get("secure_context") is not None:
            raise OptionTypeError("create_secure_pair got context and secure_context", option="context")
        given["secure_context"] = context
    return SecurePair(given)


class SecurePair(PairEvents):
    """Two streams with TLS between them; `create_secure_pair` makes them.

    Its one event is ``"secure"``, without arguments: the handshake is done.  `cleartext` tells whether the peer is
    authorized.

    Source: Node.js, tls.SecurePair.
    """

    EVENTS: ClassVar[frozenset[PairEvent]] = frozenset(get_args(PairEvent))

    __slots__ = ("cleartext", "encrypted")

    cleartext: TLSSocket
    """The stream of plaintext: a socket like any other, whose errors are those of the pair."""
    encrypted: "MemoryStream"
    """The stream of ciphertext: what is read from it belongs to the peer, and what the peer sends is written to it."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        inner, self.encrypted = MemoryStream.pair(asyncio.get_running_loop())
        self.cleartext = TLSSocket(inner, **options)
        inner.high_water_mark = self.encrypted.high_water_mark = self.cleartext.high_water_mark
        self.cleartext.once("secure", lambda: self._emit("secure"))

    def __repr__(self) -> str:
        return f"<SecurePair {self.cleartext!r}>"

    def destroy(self) -> None:
        """Ends both streams at once.

        What has left `cleartext`, with a close_notify if it was secure, can be read from `encrypted` for one second
        more.  What was written to either stream and has not left may be lost.

        Source: Node.js, tls.SecurePair.
        """
        self.cleartext.destroy()
        self.encrypted._let_go()

    def _listener_failed(self, event: str, error: Exception, arguments: tuple[Any, ...]) -> None:
        """The connection of a listener that raises ends with its error, as that of any socket."""
        self.cleartext._listener_failed(event, error, arguments)

    def _listener_cancelled(self, arguments: tuple[Any, ...]) -> None:
        self.destroy()


class MemoryStream(StreamEvents, Duplex):
    """One end of a stream that does not leave the process.

    It has the methods and events of a `TLSSocket` that belong to a stream, and carries any bytes.  Each direction ends
    by itself; when both have ended and the end was read, the stream is closed.
    """

    __slots__ = ("_closers", "_finished", "_peer", "_queue", "_queued", "_scheduled", "_timer")

    _peer: "MemoryStream"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, HIGH_WATER_MARK)
        # What the other end has not taken yet.
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._scheduled = False
        # Whether the other end knows that this one has ended.
        self._finished = False
        self._closers: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def pair(cls, loop: asyncio.AbstractEventLoop) -> tuple[Self, Self]:
        """Both ends."""
        one, other = cls(loop), cls(loop)
        one._peer, other._peer = other, one
        return one, other

    def is_closing(self) -> bool:
        """Whether nothing that is written arrives any more, because either end is closed."""
        return self.destroyed or self._peer.destroyed

    def close(self) -> None:
        """Closes: the other end gets what was written, and then the end; what still comes is thrown away."""
        if not self.destroyed:
            self._discard()
            self._schedule()
            self._peer._schedule()
            self._shut(had_error=False)

    def destroy(self, error: BaseException | None = None) -> Self:
        """Closes at once; what was written and was not taken is lost.

        Args:
            error: What both ends fail with; without one the other end sees the end of the stream.
        """
        if not self.destroyed:
            self._finished = True
            self._forget()
            shown = None if error is None else presentable(error)
            self._loop.call_soon(self._peer._abandoned, shown)
            if shown is None:
                self._shut(had_error=False)
            else:
                self._fail(shown)
        return self

    def abort(self) -> None:
        """Closes at once; the other end sees a reset connection."""
        self.destroy(ConnectionLost("the other end was reset"))

    async def wait_closed(self) -> None:
        """Waits until the stream is closed.

        Raises:
            TLSError: It failed while this waited.
        """
        if not self.destroyed:
            future: asyncio.Future[None] = self._loop.create_future()
            self._closers.append(future)
            await future

    # ---- from one end to the other

    def _schedule(self) -> None:
        # Not at once: two listeners that answer each other would recurse.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        peer = self._peer
        # An end that is closed keeps nothing.
        while self._queue and (peer._taking or self.destroyed) and not peer.destroyed:
            data = self._queue.popleft()
            self._queued -= len(data)
            peer._received_data(data)
        if peer.destroyed:
            self._finished = True
            self._forget()
        if self._queue:
            return
        if self._needs_drain:
            self._drained()
        if self._write_ended and not self._finished:
            self._finished = True
            self._emit("finish")
            peer._received_end()
        self._close_when_over()

    def _forget(self) -> None:
        self._queue.clear()
        self._queued = 0

    def _abandoned(self, error: Exception | None) -> None:
        """The other end was destroyed."""
        if self.destroyed:
            return
        if error is not None:
            self._fail(error)
            return
        if not self._read_ended:
            self._received_end()
        self._schedule()

    def _let_go(self) -> None:
        """Throws away what is written, and closes when what comes has been read; soon in any case."""
        if self.destroyed or self._timer is not None:
            return
        self._finished = True
        self._forget()
        if self._read_ended and not self._held:
            self.destroy()
        else:
            self._timer = self._loop.call_later(LINGER, self.destroy)

    # ---- the end

    def _close_when_over(self) -> None:
        if self._told_end and (self._finished or self._peer.destroyed) and not self.destroyed:
            self._shut(had_error=False)

    def _fail(self, error: BaseException) -> None:
        """Tells those who wait, or the listeners; that the connection has failed is the affair of its socket."""
        self._error = error
        if not self._break(error):
            self._emit("error", error)
        self._shut(had_error=True)

    def _break(self, error: BaseException) -> bool:
        told = super()._break(error)
        for future in self._closers:
            if not future.done():
                future.set_exception(error)
                told = True
        return told

    def _shut(self, *, had_error: bool) -> None:
        if self.destroyed:
            return
        self.destroyed = self._write_ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._loop.call_soon(self._tell_closed, had_error)

    def _tell_closed(self, had_error: bool) -> None:
        for future in self._closers:
            if not future.done():
                future.set_result(None)
        self._closers.clear()
        if not self._read_ended or self._drainers:
            self._break(StreamDestroyed())
        self._emit("close", had_error)

    def _listener_failed(self, event: str, error: Exception, arguments: tuple[Any, ...]) -> None:
        if self.destroyed or event == "error":
            self._loop.call_exception_handler(
                {"message": f'a listener of "{event}" failed', "exception": error, "stream": self}
            )
        else:
            self.destroy(error)

    def _listener_cancelled(self, arguments: tuple[Any, ...]) -> None:
        self.destroy()

    # ---- what carries the stream

    def _received_end(self) -> None:
        super()._received_end()
        if self._timer is not None and not self._held:
            self.destroy()

    def _take_data(self, wanted: bool) -> None:
        if wanted:
            self._peer._schedule()

    def _after_end(self) -> None:
        self._close_when_over()

    def _write(self, data: bytes) -> int:
        if data and not self._finished and not self._peer.destroyed:
            self._queue.append(data)
            self._queued += len(data)
            self._schedule()
        return self._queued

    def _pending(self) -> int:
        return self._queued

    def _want_drain(self) -> None:
        self._schedule()

    def _end(self) -> None:
        self._schedule()
