"""The fast path: connections over descriptors of our own, all of a loop's in one set.

The compiled `Reactor` holds the descriptors of all connections in one set, and the event loop watches that set by its
one descriptor.  When something happens there, one tick of the reactor does all that can be done (accepting, shaking
hands, reading, decrypting, sending) and returns a list of notices, which are handed to the sinks here.
"""

import asyncio
import os
import socket
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from .. import _native, notices
from ..connection import Connection, Data
from . import Sink
from .dialing import Dialing

_ATTRIBUTE = "_aiotls_reactor"


class Acceptor(Protocol):
    """Who is told about what a listening descriptor brings."""

    def _accepted(self, wire: "ReactorWire", kind: int, payload: object) -> None:
        """The first notice of a new connection."""

    def _dropped(self, fd: int) -> None:
        """There is no room for a new connection; the descriptor is to be closed."""

    def _accept_failed(self, errno: int) -> None:
        """The system is out of something; the listener has paused and should be resumed later."""


class LoopReactor:
    """The reactor of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.native = _native.Reactor()
        self._sinks: dict[int, Sink] = {}
        self._listeners: dict[int, ReactorListener] = {}
        self._backlog: list[tuple[int, int, object]] = []
        self._scheduled: asyncio.Handle | None = None
        # Notices are being handed to their sinks.
        self._telling = False
        # At its end a tick, or a turn, looks whether there is more to do.
        self._busy = False
        # How many turns have been asked for.
        self._turns = 0
        self._soon: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.in_core = False
        self._later: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        loop.add_reader(self.native.fileno(), self._tick)
        _reactors.add(self)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "LoopReactor":
        """The reactor of `loop`, which lives as long as the loop does."""
        reactor: LoopReactor | None = getattr(loop, _ATTRIBUTE, None)
        if reactor is None:
            reactor = cls(loop)
            setattr(loop, _ATTRIBUTE, reactor)
        return reactor

    # ---- ticks

    def _tick(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        self._busy = True
        try:
            self.in_core = True
            try:
                polled = self.native.poll()
            finally:
                self.in_core = False
            if self._later:
                self._do_later()
            backlog, self._backlog = self._backlog, []
            self._tell(backlog + polled if backlog else polled)
        finally:
            self._flush(tell=False)

    def _tell(self, found: list[tuple[int, int, object]]) -> None:
        """Hands notices to their sinks."""
        self._telling = True
        sinks = self._sinks
        rest = iter(found)
        try:
            for token, kind, payload in rest:
                sink = sinks.get(token)
                if sink is not None:
                    sink._notice(kind, payload)
                else:
                    self._accept(token, kind, payload)
        finally:
            # Only what ends the program (KeyboardInterrupt) comes out of a sink; no notice is lost by it.
            self._backlog.extend(rest)
            self._telling = False

    def _flush(self, *, tell: bool) -> None:
        """What was written since the tick or turn began leaves.

        What follows is told at once or, without `tell`, in the next tick: tasks that a tick has woken up come before.
        """
        self._busy = False
        told, more, deadline = self.native.flush(not self._soon and not self._turns)
        try:
            if self._backlog or not tell:
                self._backlog += told
            elif told:
                self._tell(told)
        finally:
            if self._soon:
                # Behind the tasks that were woken up or begun.
                self._loop.call_soon(self._turn, self._soon)
                self._turns += 1
                self._soon = deque()
            if more or self._backlog:
                self.schedule()
            if deadline is not None:
                self._arm(deadline)

    def _turn(self, calls: "deque[tuple[Callable[..., object], tuple[Any, ...]]]") -> None:
        """Calls what was to be called soon."""
        self._busy = True
        self._turns -= 1
        try:
            while calls:
                function, arguments = calls.popleft()
                function(*arguments)
        finally:
            if calls:
                self._loop.call_soon(self._turn, calls)
                self._turns += 1
            self._flush(tell=True)

    def soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Calls `function` after the listeners that are being told, and after the tasks that these wake up or start."""
        if self._telling:
            self._soon.append((function, arguments))
        else:
            self._loop.call_soon(function, *arguments)

    def later(self, function: Callable[..., object], *arguments: Any) -> None:
        """Does something once the core can be used again: a function for pre-shared keys runs inside it."""
        self._later.append((function, arguments))

    def _do_later(self) -> None:
        calls, self._later = self._later, []
        for function, arguments in calls:
            function(*arguments)

    def _accept(self, token: int, kind: int, payload: object) -> None:
        if kind in (notices.ACCEPT_FAILED, notices.DROPPED):
            assert isinstance(payload, int)
            listener = self._listeners.get(token)
            if listener is not None and kind == notices.ACCEPT_FAILED:
                listener.failed(payload)
            elif listener is not None:
                listener.acceptor._dropped(payload)
            elif kind == notices.DROPPED:
                os.close(payload)
            return
        listener = self._listeners.get(self.native.listener(token))
        if listener is not None:
            listener.acceptor._accepted(ReactorWire(self, token), kind, payload)
        else:
            self.native.close_connection(token)

    def schedule(self) -> None:
        """Asks for a tick, because there is something to tell that no descriptor will."""
        if self._scheduled is None and not self._busy:
            self._scheduled = self._loop.call_soon(self._tick)

    # ---- time

    def arm(self) -> None:
        """Sets the timer for the earliest deadline."""
        deadline = self.native.deadline()
        if deadline is not None:
            self._arm(deadline)

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(0.0, deadline - time.monotonic()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.native.expire()
        self.schedule()
        self.arm()

    # ---- what comes and goes

    def listen(self, listener: "ReactorListener", fd: int, settings: _native.Settings, **options: float) -> int:
        token = self.native.listen(
            fd,
            settings,
            handshake_timeout=options["handshake_timeout"],
            no_delay=bool(options["no_delay"]),
            announce=bool(options["announce"]),
            most=int(options["most"]),
        )
        self._listeners[token] = listener
        return token

    def forget(self, token: int) -> None:
        self._listeners.pop(token, None)

    def connect(self, address: str, port: int, told: Callable[[int], object], *, no_delay: bool) -> Dialing:
        """Connects to a numeric address without a zone.

        Raises:
            OSError: It cannot be tried.
        """
        return self._dial(self.native.connect(address, port, no_delay), told)

    def dial(self, sock: socket.socket, address: Any, told: Callable[[int], object]) -> Dialing:
        """Connects a non-blocking socket, which is taken over, to a numeric address.

        Raises:
            OSError: It cannot be tried.
        """
        with suppress(BlockingIOError, InterruptedError):
            sock.connect(address)
        return self._dial(self.native.dial(sock.detach()), told)

    def _dial(self, token: int, told: Callable[[int], object]) -> Dialing:
        dialing = self._sinks[token] = Dialing(self, token, told)
        return dialing

    def hang_up(self, token: int) -> None:
        """Closes what was dialled and has not begun."""
        self._sinks.pop(token, None)
        self.native.hang_up(token)

    def begin(self, connection: Connection, token: int, handshake_timeout: float) -> "ReactorWire":
        """Starts a connection over what was dialled."""
        self.native.begin(connection.engine, token, handshake_timeout=handshake_timeout)
        if not self._busy:
            self.schedule()
            self.arm()
        return ReactorWire(self, token, connection)

    def attach(self, connection: Connection, sock: socket.socket, handshake_timeout: float) -> "ReactorWire":
        """Starts a connection over a connected socket, which is taken over."""
        token = self.native.attach(connection.engine, sock.detach(), handshake_timeout=handshake_timeout)
        self.schedule()
        self.arm()
        return ReactorWire(self, token, connection)

    def bind(self, token: int, sink: Sink) -> None:
        self._sinks[token] = sink

    def close_connection(self, token: int, reset: bool) -> None:
        self._sinks.pop(token, None)
        if self.native.close_connection(token, reset=reset):
            self.arm()
            self.schedule()

    def abandon(self) -> None:
        """Closes everything without a word, in a process that has only inherited it."""
        self._sinks.clear()
        self._listeners.clear()
        self.native.abandon()


class ReactorWire:
    """One connection of a reactor."""

    __slots__ = ("_native", "_reactor", "_token", "connection")

    def __init__(self, reactor: LoopReactor, token: int, connection: Connection | None = None) -> None:
        self._reactor = reactor
        self._native = reactor.native
        self._token = token
        if connection is not None:
            self.connection = connection

    def engine(self) -> _native.Engine | None:
        """The engine that the reactor made for an accepted connection."""
        return self._native.engine(self._token)

    def start(self, sink: Sink) -> None:
        """From now on notices go to `sink`."""
        self._reactor.bind(self._token, sink)

    def soon(self, function: Callable[..., object], *arguments: Any) -> None:
        self._reactor.soon(function, *arguments)

    def write(self, data: Data) -> int:
        if self._reactor.in_core:
            self._reactor.later(self.write, bytes(data))
            return len(data)
        pending = self._native.write(self._token, data)
        if pending < 0:
            self._reactor.schedule()
            return self.pending()
        return pending

    def pending(self) -> int:
        return 0 if self._reactor.in_core else self._native.pending(self._token)

    def want_drain(self) -> None:
        self._do(self._native.want_drain)

    def end(self) -> None:
        self._do(self._native.end)

    def pause(self) -> None:
        self._do(self._native.pause)

    def resume(self) -> None:
        self._do(self._native.resume)

    def push(self) -> None:
        self._do(self._native.push)

    def answered(self) -> None:
        self._do(self._native.answered)

    def _do(self, work: Callable[[int], None]) -> None:
        """Asks something of the core, from which something may follow."""
        if self._reactor.in_core:
            self._reactor.later(work, self._token)
        else:
            work(self._token)
            self._reactor.schedule()

    def close(self, reset: bool = False) -> None:
        if self._reactor.in_core:
            self._reactor.later(self.close, reset)
        else:
            self._reactor.close_connection(self._token, reset)

    def fileno(self) -> int:
        return -1 if self._reactor.in_core else self._native.fd(self._token)

    def get_extra_info(self, name: str) -> object:
        fd = self.fileno()
        if fd < 0 or name not in ("sockname", "peername"):
            return None
        sock = socket.socket(fileno=fd)
        try:
            return sock.getsockname() if name == "sockname" else sock.getpeername()
        except OSError:
            return None
        finally:
            sock.detach()


class ReactorListener:
    """A listening socket whose connections the reactor accepts."""

    # How long to wait, in seconds, before accepting again after the system was out of descriptors or memory.
    RETRY = 0.25

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        settings: _native.Settings,
        acceptor: Acceptor,
        *,
        handshake_timeout: float,
        no_delay: bool,
        announce: bool,
        most: int,
    ) -> None:
        self._loop = loop
        self._reactor = LoopReactor.of(loop)
        self._retry: asyncio.TimerHandle | None = None
        self.acceptor = acceptor
        self._token = self._reactor.listen(
            self,
            sock.detach(),
            settings,
            handshake_timeout=handshake_timeout,
            no_delay=no_delay,
            announce=announce,
            most=most,
        )

    def failed(self, errno: int) -> None:
        """Accepting has paused: it goes on a little later."""
        self._retry = self._loop.call_later(self.RETRY, self._resume)
        self.acceptor._accept_failed(errno)

    def _resume(self) -> None:
        self._retry = None
        self._reactor.native.pause_listener(self._token, False)
        self._reactor.schedule()

    def update(self, settings: _native.Settings, *, announce: bool, most: int) -> None:
        """Connections accepted from now on start with `settings`."""
        if self._reactor.in_core:
            self._reactor.later(lambda: self.update(settings, announce=announce, most=most))
            return
        self._reactor.native.update_listener(self._token, settings, announce, most)

    def close(self) -> None:
        """Stops accepting; what was accepted goes on."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._reactor.native.unlisten(self._token)

    def connections(self) -> int:
        """How many of the accepted connections are open."""
        return self._reactor.native.counts(self._token)[0]

    def close_connections(self) -> None:
        """Closes those connections that nobody has heard of yet: they are in their handshake."""
        self._reactor.native.close_connections(self._token)
        self._reactor.arm()

    def forget(self) -> None:
        """The last connection has closed."""
        self._reactor.forget(self._token)


_reactors: "weakref.WeakSet[LoopReactor]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """A forked child shares the descriptors and the descriptor set of its parent, and must leave both alone."""
    for reactor in list(_reactors):
        reactor.abandon()
    _reactors.clear()


_register: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_after_fork_in_child)
