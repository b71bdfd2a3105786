"""Two sides in one thread, of which one is counted: what `benchmarks.workload` is made of.

The side under test runs on asyncio's own loop.  The other one, its peer, is a `Connection` without I/O that acts
whenever that loop is about to wait, and is hidden from the count.  So nothing depends on what runs when.
"""

import asyncio
import ctypes
import gc
import json
import selectors
import socket as sockets
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import aiotls
from aiotls import notices
from aiotls.session import ClientSession

MIB = 2**20
WARMUP = 4
"""How many units come before those that count."""

Script = Iterator[None]
"""What a peer does; it yields when it waits for the side under test."""
Work = Callable[[int], Coroutine[Any, Any, None]]


class Counter:
    """Callgrind, seen from inside; `library` is `callgrind.c`, compiled."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.PyDLL(library)
        self._toggle = self._library.toggle
        self._toggle.argtypes, self._toggle.restype = (), None
        self._counting = False
        self.hidden = 0
        """How often something was hidden."""

    def start(self) -> None:
        """From now on instructions can be counted."""
        self._library.start()

    def hide(self, work: Callable[[], bool]) -> bool:
        """Does something that does not count."""
        if not self._counting:
            return work()
        self._toggle()
        self.hidden += 1
        done = work()
        self._toggle()
        return done

    def count(self, name: str, count: int, work: Callable[[], None]) -> None:
        """Does something that counts: `count` units under a name."""
        gc.collect()
        self.hidden = 0
        self._library.zero()
        self._counting = True
        self._toggle()
        work()
        self._toggle()
        self._counting = False
        self._library.dump(name.encode())
        print(json.dumps({"work": name, "count": count, "hidden": self.hidden}), flush=True)


class Turns(selectors.DefaultSelector):
    """A selector that lets the peer act before its loop waits."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self._counter = counter
        self.script: Script | None = None
        self.done: asyncio.Future[None] | None = None

    def select(self, timeout: float | None = None) -> Any:
        """As its base does it."""
        if self.script is not None and self._counter.hide(self._act):
            timeout = 0
        return super().select(timeout)

    def _act(self) -> bool:
        """Whether the script has come to its end."""
        assert self.script is not None
        assert self.done is not None
        try:
            next(self.script)
        except StopIteration:
            self.script = None
            self.done.set_result(None)
            return True
        return False


class Lockstep:
    """The loop of the side under test."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self._turns = Turns(counter)
        self.loop = asyncio.SelectorEventLoop(self._turns)

    def count(self, name: str, count: int, script: Callable[[int], Script], work: Work | None = None) -> None:
        """Counts what some units lead to, after a few that do not count.

        Args:
            name: What it is.
            count: How many units.
            script: The peer's part.
            work: The part of the side under test, where it does not follow from that.
        """
        self._run(script(WARMUP), work and work(WARMUP))
        todo = script(count)
        self.counter.count(name, count, lambda: self._run(todo, work and work(count)))

    def _run(self, script: Script, work: Coroutine[Any, Any, None] | None) -> None:
        self._turns.done = self.loop.create_future()
        self._turns.script = script
        task = None if work is None else self.loop.create_task(work)
        self.loop.run_until_complete(self._turns.done)
        if task is not None:
            self.loop.run_until_complete(task)


class Peer:
    """The side that is not under test: an engine over a socket that never blocks."""

    def __init__(self, connection: aiotls.Connection, below: sockets.socket) -> None:
        below.setblocking(False)
        below.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        self.connection = connection
        self.received = 0
        """Bytes of application data."""
        self.session: ClientSession | None = None
        """The newest one."""
        self.hung_up = False
        """Whether the side under test has ended its stream."""
        self._below = below
        self._outgoing = b""

    def turn(self) -> None:
        """Takes all that has come, and sends all that can go."""
        self._receive()
        while found := self.connection.advance():
            for kind, payload in found:
                self._notice(kind, payload)
        self._send()

    def _receive(self) -> None:
        while not self.hung_up:
            try:
                data = self._below.recv(MIB)
            except BlockingIOError:
                return
            if data:
                self.connection.feed(data)
            else:
                self.hung_up = True
                self.connection.feed_eof()

    def _notice(self, kind: int, payload: object) -> None:
        if kind == notices.DATA:
            assert isinstance(payload, bytes)
            self.received += len(payload)
        elif kind == notices.NEWS:
            assert isinstance(payload, list)
            for what, data in payload:
                if what == "session":
                    self.session = self.connection.client_session(data)
        elif kind == notices.ASKING:
            self.connection.answer(self.connection.check_identity())
        elif kind == notices.FAILED:
            raise self.connection.error(payload)

    def _send(self) -> None:
        self._outgoing += self.connection.drain()
        while self._outgoing:
            try:
                sent = self._below.send(self._outgoing)
            except BlockingIOError:
                return
            self._outgoing = self._outgoing[sent:]

    @property
    def sent(self) -> bool:
        """Whether everything has left."""
        return not self._outgoing

    @property
    def secure(self) -> bool:
        """Whether data can flow."""
        return self.connection.phase is aiotls.Phase.OPEN

    def until(self, condition: Callable[[], bool]) -> Script:
        """Acts until it is so."""
        while True:
            self.turn()
            if condition():
                return
            yield

    def write(self, data: bytes) -> None:
        """Sends application data, as far as there is room."""
        assert self.connection.write(data)
        self._send()

    def shutdown(self) -> None:
        """Sends our close_notify."""
        self.connection.shutdown()
        self._send()

    def close(self) -> None:
        """Closes the socket."""
        self._below.close()
