"""Nobody waits for a busy connection: counted in ticks and in turns of the loop, never in seconds."""

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from aiotls import _native
from tests.native.test_reactor import Driver, attach, listening, settings
from tests.reactor.remote import Remote, accepted, pattern, stream_pair

SHARE, ARENA = 2**17, 2**18
"""The plaintext of one connection in a tick, and of all (`reactor.rs`)."""
ACCEPTS, HANDSHAKES = 64, 16
SENDS, SENDING = 2**17, 2**18
"""What one connection may send in a tick, and all of them."""


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Peers that are gone at the end."""
    with ExitStack() as stack:
        yield stack


class Ticks(Driver):
    """Remembers what each connection got in each tick."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Counter[int]] = []

    def tick(self) -> Counter[int]:
        """One turn; how many bytes each connection got in it."""
        before = len(self.notices)
        self.turn()
        got: Counter[int] = Counter()
        for token, kind, payload in self.notices[before:]:
            if kind == _native.NOTICE_DATA:
                got[token] += len(payload)
        self.got.append(got)
        return got


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    ticks = Ticks()
    yield ticks
    ticks.reactor.close()


def busy(ticks: Ticks, held: ExitStack, count: int, size: int = 3 * 2**20) -> list[int]:
    """Connections whose peers have sent `size` bytes each, all of which the system has; none has been read."""
    tokens = []
    block = pattern(size)
    for _ in range(count):
        remote, token = accepted(ticks, tcp=True)
        held.enter_context(remote)
        ticks.reactor.pause(token)
        remote.send(remote.sealed(block))
        tokens.append(token)
    for _ in range(3):
        assert not ticks.tick()
    for token in tokens:
        ticks.reactor.resume(token)
    return tokens


def test_a_share_is_all_that_one_gets(ticks: Ticks, held: ExitStack) -> None:
    """A connection alone gets 128 KiB in a tick and no more, and wants the next one at once."""
    (token,) = busy(ticks, held, 1)
    while len(ticks.data(token)) < 3 * 2**20:
        assert 0 < ticks.tick()[token] <= SHARE
        assert ticks.work or len(ticks.data(token)) == 3 * 2**20


@pytest.mark.parametrize("count", [2, 4, 5, 9])
def test_busy_ones_take_turns(ticks: Ticks, held: ExitStack, count: int) -> None:
    """However many, a tick has 256 KiB, and none gets its second share before each of the others has its first."""
    tokens = busy(ticks, held, count)
    sums: Counter[int] = Counter()
    # While all have more than a share left.
    while max(sums.values(), default=0) < 3 * 2**20 - 2 * SHARE:
        got = ticks.tick()
        assert got.total() <= ARENA
        assert all(part <= SHARE for part in got.values())
        sums += got
        # Some get less than a share in a turn: one takes `PULLS` pieces of ciphertext in it at most.
        assert max(sums[token] for token in tokens) - min(sums[token] for token in tokens) <= 2 * SHARE


@pytest.mark.parametrize("count", [1, 4, 8, 16])
def test_a_quiet_one_among_busy_ones(ticks: Ticks, held: ExitStack, count: int) -> None:
    """A byte waits for one round of shares at most, two of which fit into a tick."""
    quiet, token = accepted(ticks)
    held.enter_context(quiet)
    tokens = busy(ticks, held, count)
    for number in range(3):
        quiet.send(quiet.sealed(b"%d" % number))
        taken = 0
        while len(ticks.data(token)) <= number:
            assert any(ticks.tick()[other] for other in tokens), "nobody is busy any more"
            taken += 1
        assert taken <= count * SHARE // ARENA + 2


@pytest.mark.parametrize("count", [1, 8])
def test_one_that_only_sends_among_busy_ones(ticks: Ticks, held: ExitStack, count: int) -> None:
    """Its peer has made room again: the rest of what it wrote leaves within a round."""
    peer, token = accepted(ticks, tcp=True)
    held.enter_context(peer)
    block = pattern(12 * 2**20)
    ticks.reactor.write(token, block)
    for _ in range(30):
        ticks.tick()
    left = ticks.reactor.pending(token)
    assert left > 2**20
    busy(ticks, held, count)
    peer.received()
    taken = 0
    while ticks.reactor.pending(token) == left:
        ticks.tick()
        taken += 1
    assert taken <= count * SHARE // ARENA + 2


def test_sending_is_bounded(ticks: Ticks, held: ExitStack) -> None:
    """Of a large write two shares leave at once and no more in a tick, although the peer takes everything."""
    peer, token = accepted(ticks, tcp=True)
    held.enter_context(peer)
    left = 16 * 2**20
    ticks.reactor.write(token, bytes(left))
    before = ticks.reactor.pending(token)
    assert left - before <= 2 * SENDS
    while before:
        peer.received()
        ticks.tick()
        now = ticks.reactor.pending(token)
        assert before - now <= 2 * SENDS
        before = now


def test_sending_to_many_is_bounded(ticks: Ticks, held: ExitStack) -> None:
    """Sixty peers make room at the same time: a tick does not send a share to each of them."""
    peers = {}
    for _ in range(60):
        peer, token = accepted(ticks, tcp=True)
        peers[token] = held.enter_context(peer)
        ticks.reactor.write(token, bytes(6 * 2**20))
    while ticks.work:
        ticks.tick()

    def pending() -> int:
        return sum(ticks.reactor.pending(token) for token in peers)

    before = pending()
    most = 0
    for peer in peers.values():
        with contextlib.suppress(BlockingIOError):
            while peer.end.recv(2**20):
                pass
    for _ in range(10):
        ticks.tick()
        most, before = max(most, before - pending()), pending()
    assert 0 < most <= SENDING + 4 * SENDS


def test_a_quiet_one_among_senders(ticks: Ticks, held: ExitStack) -> None:
    """Twelve large writes, and peers that take everything at once: a byte for somebody else waits for one round."""
    quiet, token = accepted(ticks)
    held.enter_context(quiet)
    peers = {}
    for _ in range(12):
        peer, sender = accepted(ticks, tcp=True)
        peers[sender] = held.enter_context(peer)
        ticks.reactor.write(sender, bytes(8 * 2**20))
    for number in range(3):
        quiet.send(quiet.sealed(b"%d" % number))
        taken = 0
        while len(ticks.data(token)) <= number:
            for peer in peers.values():
                with contextlib.suppress(BlockingIOError):
                    while peer.end.recv(2**20):
                        pass
            ticks.tick()
            taken += 1
            assert taken <= 12 * SENDS // SENDING + 2
        assert all(ticks.reactor.pending(sender) for sender in peers)


# Each is the record of a HelloRequest message, which a client skips.
HELLO_REQUESTS = b"\x16\x03\x03\x40\x00" + bytes(2**14)


@pytest.mark.parametrize("flooding", [1, HANDSHAKES, 3 * HANDSHAKES])
def test_handshakes_that_never_end(ticks: Ticks, held: ExitStack, flooding: int) -> None:
    """Servers that send HelloRequest messages without end do not keep another handshake waiting."""
    floods = []
    for _ in range(flooding):
        near, far = stream_pair(tcp=True)
        floods.append(held.enter_context(near))
        attach(ticks, far, server=False)
    near, far = stream_pair()
    tokens = attach(ticks, near, server=False), attach(ticks, far, server=True)

    def flood() -> None:
        for each in floods:
            each.setblocking(False)
            try:
                while True:
                    each.send(HELLO_REQUESTS * 8)
            except BlockingIOError:
                pass

    flood()
    taken = 0
    while not all(ticks.saw(token, _native.NOTICE_SECURE) for token in tokens):
        ticks.tick()
        flood()
        taken += 1
        # A round of 16 handshakes in each tick, and five steps of ours.
        assert taken <= 6 * (flooding // HANDSHAKES + 2)
    assert not any(ticks.saw(token, _native.NOTICE_FAILED) for token, *_ in ticks.notices)


def test_a_crowd_that_comes_at_once(ticks: Ticks, held: ExitStack) -> None:
    """In a tick 64 are accepted and 16 handshakes done, so a connection that is there already is not kept waiting."""
    quiet, token = accepted(ticks)
    held.enter_context(quiet)
    with listening(ticks) as (below, listener):
        below.listen(1000)
        clients: list[socket.socket] = []
        for _ in range(400):
            client = held.enter_context(socket.socket())
            client.setblocking(False)
            assert client.connect_ex(below.getsockname()) in (0, 115)
            clients.append(client)
        hellos = _native.Engine(settings(server=False), "localhost")
        hellos.handshake()
        hello = hellos.drain()
        for client in clients:
            client.send(hello)
        answered: set[socket.socket] = set()
        known = sent = 0
        while len(answered) < 400:
            quiet.send(quiet.sealed(b"x"))
            sent += 1
            ticks.tick()
            assert len(ticks.data(token)) >= sent - 1
            before, known = known, ticks.reactor.counts(listener)[0]
            assert known - before <= ACCEPTS
            newly = {client for client in clients if client not in answered and has_data(client)}
            assert len(newly) <= HANDSHAKES
            answered |= newly
        assert known == 400


def has_data(end: socket.socket) -> bool:
    """Whether something has come."""
    try:
        return bool(end.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_a_crowd_of_pings(ticks: Ticks, held: ExitStack) -> None:
    """300 connections with one byte each: all are served in the two ticks that the set needs to tell of them."""
    remotes: dict[int, Remote] = {}
    for _ in range(300):
        remote, token = accepted(ticks)
        remotes[token] = held.enter_context(remote)
    for _ in range(3):
        for remote in remotes.values():
            remote.send(remote.sealed(b"."))
        got = ticks.tick() + ticks.tick() + ticks.tick()
        assert got == Counter(dict.fromkeys(remotes, 1))
