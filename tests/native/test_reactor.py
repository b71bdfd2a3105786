"""`Reactor`: many engines over descriptors, by its contract in `aiotls._native`; `select` stands for the event loop."""

import contextlib
import errno
import functools
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aiotls import _native
from tests.native.test_engine import contexts

PATIENCE = 5.0
"""Seconds to wait for what comes at once."""


class Driver:
    """What an event loop does with a reactor, and the notices that came."""

    def __init__(self) -> None:
        self.reactor = _native.Reactor()
        self.notices: list[tuple[int, int, Any]] = []
        self.work = False

    def turn(self, timeout: float = 0.0) -> None:
        """One turn of the loop: waits for the descriptor when there is nothing else to do."""
        if not self.work:
            select.select([self.reactor.fileno()], [], [], timeout)
        notices = self.reactor.poll()
        self.notices += notices
        for token, kind, _ in notices:
            if kind == _native.NOTICE_ASKING:
                engine = self.reactor.engine(token)
                assert engine is not None
                engine.answer(True)
                self.reactor.answered(token)
        followed, self.work, _ = self.reactor.flush()
        self.notices += followed

    def until(self, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, self.notices
            self.turn(0.05)

    def until_received(self, token: int, size: int) -> None:
        self.until(lambda: len(self.data(token)) >= size)

    def kinds(self, token: int) -> list[int]:
        return [kind for each, kind, _ in self.notices if each == token]

    def data(self, token: int) -> bytes:
        return b"".join(data for each, kind, data in self.notices if each == token and kind == _native.NOTICE_DATA)

    def saw(self, token: int, kind: int) -> bool:
        return kind in self.kinds(token)


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.reactor.close()


def settings(*, server: bool, **options: Any) -> _native.Settings:
    client_context, server_context = contexts()
    return _native.Settings(server_context if server else client_context, server=server, **options)


def attach(driver: Driver, end: socket.socket, *, server: bool, timeout: float = 30.0, **options: Any) -> int:
    end.setblocking(False)
    engine = _native.Engine(settings(server=server, **options), None if server else "localhost")
    return driver.reactor.attach(engine, end.detach(), handshake_timeout=timeout)


def connected(driver: Driver) -> tuple[int, int]:
    """The tokens of a client and a server that have shaken hands."""
    near, far = socket.socketpair()
    tokens = attach(driver, near, server=False), attach(driver, far, server=True)
    driver.until(lambda: all(driver.saw(token, _native.NOTICE_SECURE) for token in tokens))
    return tokens


@contextlib.contextmanager
def listening(driver: Driver, **options: Any) -> Iterator[tuple[socket.socket, int]]:
    with socket.create_server(("127.0.0.1", 0)) as below:
        below.setblocking(False)
        token = driver.reactor.listen(
            os.dup(below.fileno()),
            settings(server=True),
            **{"handshake_timeout": 30.0, "no_delay": True, **options},
        )
        yield below, token


def test_data_in_both_directions(driver: Driver) -> None:
    near, far = connected(driver)
    block = os.urandom(2**20)
    for token in (near, far):
        pending = driver.reactor.write(token, block)
        assert pending <= len(block)
    driver.until(lambda: len(driver.data(near)) == len(driver.data(far)) == len(block))
    assert driver.data(near) == driver.data(far) == block
    assert driver.reactor.pending(near) == driver.reactor.pending(far) == 0


def test_written_before_the_handshake(driver: Driver) -> None:
    near, far = socket.socketpair()
    client, server = attach(driver, near, server=False), attach(driver, far, server=True)
    driver.reactor.write(client, b"early ")
    driver.reactor.write(client, b"bird")
    assert driver.reactor.pending(client) == 10
    driver.reactor.end(client)
    driver.until(lambda: driver.saw(server, _native.NOTICE_ENDED) and driver.saw(client, _native.NOTICE_FINISHED))
    assert driver.data(server) == b"early bird"
    kinds = driver.kinds(server)
    assert kinds.index(_native.NOTICE_SECURE) < kinds.index(_native.NOTICE_DATA) < kinds.index(_native.NOTICE_ENDED)


def test_drain_only_when_asked_for(driver: Driver) -> None:
    near, far = connected(driver)
    driver.reactor.pause(far)
    for _ in range(10):
        driver.turn()
    while driver.reactor.write(near, bytes(2**18)) < 2**18:
        driver.turn()
    assert driver.reactor.pending(near) > 0
    driver.reactor.want_drain(near)
    for _ in range(10):
        driver.turn()
    assert not driver.saw(near, _native.NOTICE_DRAIN)
    driver.reactor.resume(far)
    driver.until(lambda: driver.saw(near, _native.NOTICE_DRAIN))
    assert driver.reactor.pending(near) == 0
    driver.reactor.write(near, b"x")
    driver.until(lambda: driver.data(far).endswith(b"x"))
    assert driver.kinds(near).count(_native.NOTICE_DRAIN) == 1


def test_pause(driver: Driver) -> None:
    """Nothing is delivered between pause and resume, also not what has been read from the descriptor already."""
    near, far = connected(driver)
    driver.reactor.pause(far)
    driver.reactor.write(near, b"x" * 100_000)
    for _ in range(10):
        driver.turn(0.005)
    assert driver.data(far) == b""
    driver.reactor.resume(far)
    driver.until(lambda: len(driver.data(far)) == 100_000)


def test_end(driver: Driver) -> None:
    near, far = connected(driver)
    driver.reactor.write(near, b"last")
    driver.reactor.end(near)
    driver.until(lambda: driver.saw(near, _native.NOTICE_FINISHED) and driver.saw(far, _native.NOTICE_ENDED))
    assert driver.data(far) == b"last"
    assert (far, _native.NOTICE_ENDED, False) in driver.notices
    driver.reactor.write(far, b"answer")
    driver.until(lambda: driver.data(near) == b"answer")


def test_close_says_what_is_left(driver: Driver) -> None:
    """What the engine has produced, and close_notify, leave; nothing is reported any more for the closed token."""
    near, far = connected(driver)
    driver.reactor.write(near, b"last words")
    driver.reactor.close_connection(near)
    before = len(driver.kinds(near))
    driver.until(lambda: driver.saw(far, _native.NOTICE_ENDED))
    assert driver.data(far) == b"last words"
    assert (far, _native.NOTICE_ENDED, False) in driver.notices
    assert len(driver.kinds(near)) == before
    assert driver.reactor.fd(near) == -1
    assert driver.reactor.pending(near) == 0


def test_reset(driver: Driver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as below:
        near = socket.create_connection(below.getsockname())
        far, _ = below.accept()
    client, server = attach(driver, near, server=False), attach(driver, far, server=True)
    driver.until(lambda: all(driver.saw(token, _native.NOTICE_SECURE) for token in (client, server)))
    driver.reactor.close_connection(client, reset=True)
    driver.until(lambda: driver.saw(server, _native.NOTICE_FAILED))
    (failure,) = [payload for token, kind, payload in driver.notices if (token, kind) == (server, 7)]
    assert failure.kind == "system"
    assert failure.errno == 104


def test_calls_for_a_token_that_is_gone(driver: Driver) -> None:
    """Harmless, every one of them: a caller cannot know what the next poll will say."""
    near, far = connected(driver)
    for token in (near, far):
        driver.reactor.close_connection(token)
        driver.reactor.close_connection(token)
    for token in (near, far, 12345):
        driver.reactor.write(token, b"x")
        driver.reactor.want_drain(token)
        driver.reactor.end(token)
        driver.reactor.pause(token)
        driver.reactor.resume(token)
        driver.reactor.answered(token)
        assert driver.reactor.pending(token) == 0
        assert driver.reactor.fd(token) == -1
        assert driver.reactor.listener(token) == 0
    driver.turn()
    assert driver.reactor.engine(12345) is None


def test_listen(driver: Driver) -> None:
    with listening(driver) as (below, listener):
        clients = [attach(driver, socket.create_connection(below.getsockname()), server=False) for _ in range(20)]
        driver.until(lambda: all(driver.saw(token, _native.NOTICE_SECURE) for token in clients))

        def accepted() -> list[int]:
            return [
                token
                for token, kind, _ in driver.notices
                if kind == _native.NOTICE_SECURE and driver.reactor.listener(token) == listener
            ]

        driver.until(lambda: len(accepted()) == 20)
        assert driver.reactor.counts(listener) == (20, 0)
        for token in clients:
            driver.reactor.write(token, b"%d" % token)
        driver.until(lambda: sum(len(driver.data(token)) for token in accepted()) == sum(len(str(t)) for t in clients))
        driver.reactor.unlisten(listener)
        for token in (*clients, *accepted()):
            driver.reactor.close_connection(token)
        driver.turn()
        assert driver.reactor.counts(listener) == (0, 0)


def test_announce(driver: Driver) -> None:
    """A listener that asks for it hears of each descriptor before its handshake."""
    with listening(driver, announce=True) as (below, listener), socket.create_connection(below.getsockname()) as silent:
        driver.until(lambda: driver.notices)
        ((token, kind, _),) = driver.notices
        assert kind == _native.NOTICE_ACCEPTED
        assert driver.reactor.listener(token) == listener
        assert driver.reactor.counts(listener) == (1, 1)
        driver.reactor.close_connections(listener)
        driver.turn()
        silent.settimeout(PATIENCE)
        assert silent.recv(1) == b""
        assert driver.reactor.counts(listener) == (0, 0)


def test_a_paused_listener(driver: Driver) -> None:
    with listening(driver, announce=True) as (below, listener):
        driver.reactor.pause_listener(listener, True)
        with socket.create_connection(below.getsockname()):
            for _ in range(5):
                driver.turn(0.005)
            assert driver.notices == []
            driver.reactor.pause_listener(listener, False)
            driver.until(lambda: driver.notices)


def test_other_settings(driver: Driver) -> None:
    """Connections that come later start with the new ones."""
    with listening(driver) as (below, listener):
        driver.reactor.update_listener(listener, settings(server=True, alpn=b"\x02h2"), False)
        end = socket.create_connection(below.getsockname())
        client = attach(driver, end, server=False, alpn=b"\x02h2")
        driver.until(lambda: driver.saw(client, _native.NOTICE_SECURE))
        engine = driver.reactor.engine(client)
        assert engine is not None
        assert engine.alpn() == b"h2"


def test_handshake_timeout(driver: Driver) -> None:
    """The deadline is the earliest; expire ends what is late, and only that."""
    assert driver.reactor.deadline() is None
    near, far = socket.socketpair()
    other, silent = socket.socketpair()
    late = attach(driver, near, server=True, timeout=0.02)
    patient = attach(driver, other, server=True, timeout=100.0)
    deadline = driver.reactor.deadline()
    assert deadline is not None
    assert deadline - time.monotonic() < 0.03
    time.sleep(max(0.0, deadline - time.monotonic()) + 0.001)
    driver.reactor.expire()
    driver.until(lambda: driver.saw(late, _native.NOTICE_FAILED))
    (failure,) = [payload for token, kind, payload in driver.notices if token == late]
    assert failure.kind == "timeout"
    assert driver.kinds(patient) == []
    deadline = driver.reactor.deadline()
    assert deadline is not None
    assert deadline - time.monotonic() > 50
    far.close()
    silent.close()


def test_junk_and_hang_up(driver: Driver) -> None:
    for words, kind in ((b"*" * 100, "openssl"), (b"", "eof")):
        near, far = socket.socketpair()
        token = attach(driver, near, server=True)
        far.sendall(words)
        far.shutdown(socket.SHUT_WR)
        driver.until(functools.partial(driver.saw, token, _native.NOTICE_FAILED))
        (failure,) = [payload for each, _, payload in driver.notices if each == token]
        assert failure.kind == kind
        far.close()


def test_fair(driver: Driver) -> None:
    """A connection with endless data leaves each tick its turn for the others."""
    near, far = connected(driver)
    one, other = connected(driver)
    block = bytes(2**22)
    driver.reactor.write(near, block)
    for number in range(20):
        if driver.reactor.pending(near) < 2**21:
            driver.reactor.write(near, block)
        driver.reactor.write(one, b"%02d" % number)
        before = len(driver.data(far))
        driver.until_received(other, 2 * (number + 1))
        assert len(driver.data(far)) - before < 16 * 2**20


def test_no_wake_up_is_lost(driver: Driver) -> None:
    """Ping-pong, one byte in flight: the descriptor, or flush, tells of every one."""
    near, far = connected(driver)
    for number in range(300):
        token, peer = (near, far) if number % 2 else (far, near)
        before = len(driver.data(peer))
        if driver.reactor.write(token, b"x") < 0:
            driver.work = True
        driver.until_received(peer, before + 1)


def test_close_with_everything_open() -> None:
    """The reactor takes its descriptors with it, and its calls do nothing any more."""
    driver = Driver()
    near, far = connected(driver)
    with listening(driver) as (_, listener):
        driver.reactor.write(near, bytes(2**20))
        driver.reactor.close()
        driver.reactor.close()
        assert driver.reactor.fd(near) == driver.reactor.fd(far) == -1
        driver.reactor.write(near, b"x")
        assert driver.reactor.poll() == []
        assert driver.reactor.flush() == ([], False, None)
        assert driver.reactor.counts(listener)[1] == 0


def test_a_listener_that_cannot_accept_pauses() -> None:
    """An error that lasts is told once; the loop does not turn in place (here: a datagram socket, EOPNOTSUPP)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        driver = Driver()
        settings = _native.Settings(contexts()[1], server=True)
        listener = driver.reactor.listen(
            os.dup(datagrams.fileno()), settings, handshake_timeout=PATIENCE, no_delay=False
        )
        datagrams.sendto(b"x", datagrams.getsockname())
        driver.turn(PATIENCE)
        assert driver.notices == [(listener, _native.NOTICE_ACCEPT_FAILED, errno.EOPNOTSUPP)]
        driver.turn()
        assert len(driver.notices) == 1
        driver.reactor.close()


def test_a_flood_without_data_leaves_the_others_their_turn() -> None:
    """A server that answers with HelloRequest records for ever: each turn ends, so the handshake can time out."""
    records = (b"\x16\x03\x03\x40\x00" + bytes(16384)) * 16

    def flood() -> None:
        end, _ = door.accept()
        with end, contextlib.suppress(OSError):
            end.recv(65536)
            while True:
                end.sendall(records)

    with socket.create_server(("127.0.0.1", 0)) as door:
        server = threading.Thread(target=flood)
        server.start()
        near = socket.create_connection(door.getsockname())
        engine = _native.Engine(_native.Settings(contexts()[0], server=False), "localhost")
        driver = Driver()
        token = driver.reactor.attach(engine, near.detach(), handshake_timeout=0.2)
        while not driver.notices:
            driver.turn(0.05)
            driver.reactor.expire()
        (told, kind, failure), *_ = driver.notices
        assert (told, kind, failure.kind) == (token, _native.NOTICE_FAILED, "timeout")
        driver.reactor.close()
        server.join()
