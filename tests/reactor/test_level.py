"""Nothing is forgotten between two edges: whatever arrives, whenever, is told, and so is what stands behind it."""

import random
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from aiotls import _native
from tests.native.test_reactor import Driver, attach
from tests.reactor.remote import RECORD, Remote, accepted, pattern, stream_pair

SCRATCH, SHARE, ARENA = 2**17, 2**17, 2**18
"""What one call takes from the system; the plaintext of one connection in a tick, and of all (`reactor.rs`)."""
ENDINGS = ("nothing", "close_notify", "fin", "close_notify and fin", "rst")

LAST_FLIGHTS = [
    (paused, ending)
    for paused in ("never", "before the handshake", "with the last flight")
    for ending in ENDINGS
    # A reset is told at once where nobody reads and our own last flight cannot leave.
    if paused == "never" or ending != "rst"
]


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Peers that are gone at the end."""
    with ExitStack() as stack:
        yield stack


def finish(driver: Driver, remote: Remote, token: int, data: bytes, ending: str) -> None:
    """All of `data` comes, then what stands behind it, then whatever is sent later."""
    driver.until_received(token, len(data))
    if ending == "nothing":
        remote.send(remote.sealed(b"more"))
        driver.until_received(token, len(data) + 4)
        data += b"more"
    elif ending == "rst":
        driver.until(lambda: driver.saw(token, _native.NOTICE_FAILED))
        (failure,) = [payload for each, kind, payload in driver.notices if (each, kind) == (token, 7)]
        assert failure.errno == 104
    else:
        driver.until(lambda: driver.saw(token, _native.NOTICE_ENDED))
        assert (token, _native.NOTICE_ENDED, "close_notify" not in ending) in driver.notices
        assert not driver.saw(token, _native.NOTICE_FAILED)
    assert driver.data(token) == data
    kinds = driver.kinds(token)
    assert kinds.count(_native.NOTICE_ENDED) <= 1
    assert kinds.count(_native.NOTICE_SECURE) == 1
    if ending != "nothing":
        assert kinds[-1] in (_native.NOTICE_ENDED, _native.NOTICE_FAILED)


def send(remote: Remote, records: bytes, ending: str) -> None:
    """Records with an ending right behind them."""
    remote.send(records + (remote.farewell() if "close_notify" in ending else b""))
    if "fin" in ending:
        remote.hang_up()
    elif ending == "rst":
        remote.reset()


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("size", [SCRATCH, SHARE, 2 * SHARE, ARENA])
def test_as_much_as_there_is_room_for(
    driver: Driver, held: ExitStack, size: int, off: int, ending: str, paused: bool
) -> None:
    """Plaintext or ciphertext of just the size of a buffer, at once, whatever stands behind it."""
    for exact in ("ciphertext", "plaintext"):
        remote, token = accepted(driver, tcp=True)
        held.enter_context(remote)
        if paused:
            driver.reactor.pause(token)
        if exact == "ciphertext":
            data, records = remote.sealed_to(size + off)
        else:
            records = remote.sealed(data := pattern(size + off))
        send(remote, records, ending)
        if paused:
            for _ in range(3):
                driver.turn()
            assert driver.data(token) == b""
            driver.reactor.resume(token)
        finish(driver, remote, token, data, ending)


@pytest.mark.parametrize(("paused", "ending"), LAST_FLIGHTS)
@pytest.mark.parametrize("size", [1, 3 * RECORD, SCRATCH - 1000, SHARE + 1, ARENA + 1])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_data_with_the_last_flight(
    driver: Driver, held: ExitStack, version: ssl.TLSVersion, size: int, paused: str, ending: str
) -> None:
    """A TLS 1.3 client sends data with its Finished; one of TLS 1.2 once it has ours, before we look again."""
    near, far = stream_pair(tcp=True)
    remote, token = held.enter_context(Remote(near, version)), attach(driver, far, server=True)
    if paused == "before the handshake":
        driver.reactor.pause(token)
    if version is ssl.TLSVersion.TLSv1_3:
        words = remote.last_flight(driver)
    else:
        remote.shake(driver)
        words = b""
    if paused == "with the last flight":
        driver.reactor.pause(token)
    send(remote, words + remote.sealed(data := pattern(size)), ending)
    if paused != "never":
        driver.until(lambda: driver.saw(token, _native.NOTICE_SECURE))
        for _ in range(3):
            driver.turn()
        assert driver.data(token) == b""
        driver.reactor.resume(token)
    finish(driver, remote, token, data, ending)


class Asked(Driver):
    """Leaves questions to the test."""

    def turn(self, timeout: float = 0.0) -> None:
        if not self.work:
            select.select([self.reactor.fileno()], [], [], timeout)
        self.notices += self.reactor.poll()
        followed, self.work, _ = self.reactor.flush()
        self.notices += followed

    def answer(self, token: int) -> None:
        """Says yes."""
        engine = self.reactor.engine(token)
        assert engine is not None
        engine.answer(True)
        self.reactor.answered(token)
        self.work = True


def behind_a_question(driver: Driver, held: ExitStack, size: int, ending: str) -> tuple[Remote, int, bytes]:
    """A server that asks where its sessions go, and a client that has sent everything it has to say."""
    near, far = stream_pair(tcp=True)
    remote = held.enter_context(Remote(near))
    token = attach(driver, far, server=True, asks=_native.ASK_SESSION)
    send(remote, remote.last_flight(driver) + remote.sealed(data := pattern(size)), ending)
    return remote, token, data


@pytest.mark.parametrize("ending", ["nothing", "close_notify", "fin", "close_notify and fin"])
@pytest.mark.parametrize("size", [100, SCRATCH, 3 * SCRATCH, ARENA + 1])
def test_data_behind_a_question(held: ExitStack, size: int, ending: str) -> None:
    """What comes while a question waits is there after the answer, however often the connection is looked at."""
    driver = Asked()
    remote, token, data = behind_a_question(driver, held, size, ending)
    driver.until(lambda: driver.saw(token, _native.NOTICE_ASKING))
    for _ in range(4):
        driver.turn()
        driver.reactor.pause(token)
        driver.reactor.resume(token)
        driver.work = True
    assert not driver.data(token)
    driver.answer(token)
    finish(driver, remote, token, data, ending)
    driver.reactor.close()


def many(driver: Driver, held: ExitStack, count: int) -> dict[int, Remote]:
    """Secure connections by their tokens."""
    found = {}
    for _ in range(count):
        remote, token = accepted(driver)
        found[token] = held.enter_context(remote)
    return found


def test_more_are_ready_than_are_looked_at(driver: Driver, held: ExitStack) -> None:
    """600 connections can do something at once, and the set tells of 256 at a time."""
    remotes = many(driver, held, 600)
    for number in range(2):
        for remote in remotes.values():
            remote.send(remote.sealed(b"%d" % number))
        for token in remotes:
            driver.until_received(token, number + 1)
    for remote in remotes.values():
        remote.hang_up()
    driver.until(lambda: all(driver.saw(token, _native.NOTICE_ENDED) for token in remotes))
    for token in remotes:
        assert driver.data(token) == b"01"
        assert driver.kinds(token).count(_native.NOTICE_ENDED) == 1


def test_resumed_with_everything_in_memory(driver: Driver, held: ExitStack) -> None:
    """The system has nothing more to tell, because we have it all: what a share has left is told after a resume."""
    for size in (SHARE + 1, SHARE + RECORD, SHARE + 3 * RECORD + 5):
        remote, token = accepted(driver, tcp=True)
        held.enter_context(remote)
        remote.send(remote.sealed(data := pattern(size)))
        driver.until_received(token, 1)
        while len(driver.data(token)) < SHARE:
            driver.turn()
        driver.reactor.pause(token)
        before = len(driver.data(token))
        assert before < size
        for _ in range(3):
            driver.turn()
        assert len(driver.data(token)) == before
        driver.reactor.resume(token)
        driver.until_received(token, size)
        assert driver.data(token) == data


def test_paused_and_resumed_before_anybody_looks(driver: Driver, held: ExitStack) -> None:
    """The edge came between a pause and a resume: `resume` itself is the reason to look."""
    remote, token = accepted(driver)
    held.enter_context(remote)
    for number in range(20):
        driver.reactor.pause(token)
        if number % 2:
            driver.turn()
        remote.send(remote.sealed(b"%02d" % number))
        if number % 3:
            driver.turn()
        driver.reactor.resume(token)
        if number % 5 == 0:
            driver.reactor.pause(token)
            driver.turn()
            driver.reactor.resume(token)
        driver.until_received(token, 2 * number + 2)
    assert driver.data(token) == b"".join(b"%02d" % number for number in range(20))


@pytest.mark.parametrize("ending", ["nothing", "fin", "close_notify and fin"])
def test_a_record_in_two_parts(driver: Driver, held: ExitStack, ending: str) -> None:
    """Divided at each byte of its header and near its end, with or without a pause in between."""
    for cut in (1, 2, 3, 4, 5, 6, 100, -17, -16, -2, -1):
        for paused in (False, True):
            remote, token = accepted(driver)
            held.enter_context(remote)
            records = remote.sealed(data := pattern(1000))
            remote.send(records[:cut])
            driver.turn(0.05)
            if paused:
                driver.reactor.pause(token)
            send(remote, records[cut:], ending)
            if paused:
                driver.turn()
                assert driver.data(token) == b""
                driver.reactor.resume(token)
            finish(driver, remote, token, data, ending)


@pytest.mark.parametrize("junk", [b"junk that is no record", b"\x17\x03\x03\x00\x20" + bytes(32), b"\x15"])
def test_behind_close_notify(driver: Driver, held: ExitStack, junk: bytes) -> None:
    """RFC 8446, 6.1: what comes behind close_notify is ignored; our own direction goes on."""
    remote, token = accepted(driver, tcp=True)
    held.enter_context(remote)
    remote.send(remote.sealed(b"last") + remote.farewell() + junk)
    driver.until(lambda: driver.saw(token, _native.NOTICE_ENDED))
    remote.send(junk)
    remote.hang_up()
    for _ in range(5):
        driver.turn(0.005)
    assert driver.data(token) == b"last"
    assert (token, _native.NOTICE_ENDED, False) in driver.notices
    driver.reactor.write(token, b"an answer")
    driver.reactor.end(token)
    driver.until(lambda: driver.saw(token, _native.NOTICE_FINISHED))
    assert not driver.saw(token, _native.NOTICE_FAILED)


@pytest.mark.parametrize("seed", range(12))
def test_anything_in_any_order(driver: Driver, held: ExitStack, seed: int) -> None:
    """Pieces of any size, pauses, resumes, writes and looks in an order that a seed decides: every byte comes."""
    choose = random.Random(seed)
    remote, token = accepted(driver, tcp=bool(seed % 2))
    held.enter_context(remote)
    stream = bytearray()
    sent = written = b""
    received = b""
    paused = False
    for _ in range(300):
        what = choose.randrange(6)
        if what == 0:
            data = choose.randbytes(choose.choice((1, 100, RECORD, 2 * RECORD + 1, 70_000)))
            stream += remote.sealed(data)
            sent += data
        elif what == 1 and stream:
            count = remote_send(remote, stream[: choose.choice((1, 5, 1000, RECORD, 200_000))])
            del stream[:count]
        elif what == 2:
            paused = not paused
            (driver.reactor.pause if paused else driver.reactor.resume)(token)
            driver.work = True
        elif what == 3:
            data = choose.randbytes(choose.choice((1, 5000, 100_000)))
            written += data
            if driver.reactor.write(token, data) < 0:
                driver.work = True
        elif what == 4:
            received += remote.received()
        before = len(driver.data(token))
        driver.turn()
        assert not paused or len(driver.data(token)) == before
    driver.reactor.resume(token)
    driver.work = True

    def done() -> bool:
        nonlocal received
        del stream[: remote_send(remote, stream)]
        received += remote.received()
        return len(received) == len(written) and len(driver.data(token)) == len(sent)

    driver.until(done)
    assert received == written
    assert driver.data(token) == sent
    assert driver.reactor.pending(token) == 0


def remote_send(remote: Remote, words: bytes | bytearray) -> int:
    """Sends what the system has room for."""
    try:
        return remote.end.send(words) if words else 0
    except BlockingIOError:
        return 0


def test_both_sides_full(driver: Driver, held: ExitStack) -> None:
    """Neither end has read anything, both have written too much: each drains as soon as the other reads."""
    near, far = socket.socketpair()
    tokens = attach(driver, near, server=False), attach(driver, far, server=True)
    driver.until(lambda: all(driver.saw(token, _native.NOTICE_SECURE) for token in tokens))
    for token in tokens:
        driver.reactor.pause(token)
    for token in tokens:
        driver.reactor.write(token, pattern(2 * ARENA))
        driver.reactor.want_drain(token)
    for _ in range(5):
        driver.turn()
    assert all(driver.reactor.pending(token) for token in tokens)
    for token in tokens:
        driver.reactor.resume(token)
    driver.work = True
    driver.until(lambda: all(driver.saw(token, _native.NOTICE_DRAIN) for token in tokens))
    for token in tokens:
        driver.until_received(token, 2 * ARENA)
        assert driver.data(token) == pattern(2 * ARENA)
