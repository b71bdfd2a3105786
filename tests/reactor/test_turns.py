"""The loop's other work goes on while connections are busy: counted in turns of the loop, not in seconds."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.reactor.remote import Remote, crowd, dial, pattern, stream_pair
from tests.support.pairs import client_options, gone, server_options, until
from tests.support.servers import echo, port_of, serving, to

SHARE, ARENA = 2**17, 2**18
SENDING = 2**18
"""Plaintext of one connection in a tick, of all, and what is sent (`reactor.rs`); a turn may have two ticks."""


class Loop:
    """Watches the turns of the running loop, and what happens in each.

    Args:
        work: How much of what makes the loop busy has been done so far.
    """

    def __init__(self, work: Callable[[], int]) -> None:
        self.turns = 0
        self.most = 0
        """The most work that was done between two turns."""
        self.late = 0
        """The most turns that a timer, or another reader of the loop, had to wait for."""
        self._work = work
        self._before = work()
        self._loop = asyncio.get_running_loop()
        self._running = True
        self._ours, self._theirs = socket.socketpair()
        for end in (self._ours, self._theirs):
            end.setblocking(False)
        self._waits = {"timer": 0, "reader": 0}
        self._due = 0.0

    async def __aenter__(self) -> "Loop":
        self._loop.call_soon(self._turn)
        self._loop.add_reader(self._ours, self._readable)
        self._start_timer()
        self._theirs.send(b"x")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running = False
        self._timer.cancel()
        self._loop.remove_reader(self._ours)
        self._ours.close()
        self._theirs.close()

    def _turn(self) -> None:
        if not self._running:
            return
        self.turns += 1
        now = self._work()
        self.most, self._before = max(self.most, now - self._before), now
        self._waits["reader"] += 1
        if self._loop.time() > self._due:
            self._waits["timer"] += 1
        self.late = max(self.late, *self._waits.values())
        self._loop.call_soon(self._turn)

    def _start_timer(self) -> None:
        self._waits["timer"] = 0
        # uvloop counts whole milliseconds.
        self._due = self._loop.time() + 0.003
        self._timer = self._loop.call_later(0.001, self._start_timer)

    def _readable(self) -> None:
        self._waits["reader"] = 0
        self._ours.recv(1)
        self._theirs.send(b"x")


@contextlib.asynccontextmanager
async def quiet() -> AsyncIterator[Callable[[], Any]]:
    """A connection that asks and is answered; the function does that once and returns how many turns it took."""
    async with serving(echo) as server, to(server) as client:
        turns = 0
        running = True

        def turn() -> None:
            nonlocal turns
            turns += 1
            if running:
                asyncio.get_running_loop().call_soon(turn)

        async def ask() -> int:
            before = turns
            client.write(b"?")
            assert await client.readexactly(1) == b"?"
            return turns - before

        turn()
        await ask()
        try:
            yield ask
        finally:
            running = False


@contextlib.asynccontextmanager
async def uploads(count: int, size: int) -> AsyncIterator[list[aiotls.TLSSocket]]:
    """Server sockets, paused, whose peers have sent so much that the system has; nobody has read it."""
    sockets: list[aiotls.TLSSocket] = []
    with contextlib.ExitStack() as held:
        for _ in range(count):
            near, far = stream_pair(tcp=True)
            remote = held.enter_context(Remote(near))
            each = aiotls.TLSSocket(far, is_server=True, pause_on_connect=True, **server_options())
            await asyncio.gather(remote.join(), each)
            remote.send(remote.sealed(pattern(size)))
            sockets.append(each)
        try:
            yield sockets
        finally:
            await gone(*sockets)


@pytest.mark.parametrize("count", [1, 6])
def test_uploads(run: Run, count: int) -> None:
    """Between two turns no connection gets more than two shares, and all together no more than two ticks have."""

    async def main() -> None:
        size = 3 * 2**20
        got = [0] * count
        async with uploads(count, size) as sockets, quiet() as ask:
            one = Loop(lambda: got[0])
            async with Loop(lambda: sum(got)) as loop, one:
                for number, each in enumerate(sockets):

                    def data(chunk: bytes, number: int = number) -> None:
                        got[number] += len(chunk)

                    each.on("data", data)
                    each.resume()
                while sum(got) < count * size:
                    # A question and its answer: two ends in this loop, with a round of the others before each.
                    assert await ask() <= 8 + count
                assert 0 < one.most <= 2 * SHARE
                assert 0 < loop.most <= 2 * ARENA
                assert loop.late <= 3
                assert loop.turns >= count * size // (2 * ARENA)

    run(main)


def test_bulk_that_lasts(run: Run) -> None:
    """Also after hundreds of turns, in each of which there is more to do, a turn has no more than its ticks."""

    async def main() -> None:
        received = 0

        def data(chunk: bytes) -> None:
            nonlocal received
            received += len(chunk)

        async with serving(lambda each: each.on("data", data)) as server, quiet() as ask:
            clients = [to(server) for _ in range(4)]
            await asyncio.gather(*clients)
            block = bytes(2**20)

            async def send(client: aiotls.TLSSocket) -> None:
                while True:
                    client.write(block)
                    await client.drain()

            sending = [asyncio.create_task(send(client)) for client in clients]
            async with Loop(lambda: received) as loop:
                while loop.turns < 300:
                    assert await ask() <= 12
                assert 0 < loop.most <= 2 * ARENA
                assert loop.late <= 3
            for task in sending:
                task.cancel()
            await gone(*clients)

    run(main)


@pytest.mark.parametrize("count", [1, 6])
def test_downloads(run: Run, count: int) -> None:
    """Writers that never wait, and peers that take everything at once: a turn sends no more than its ticks may."""

    async def main() -> None:
        size = 24 * 2**20 // count
        async with crowd(count) as (_, remotes, sockets), quiet() as ask:

            def left() -> int:
                return sum(each.writable_length for each in sockets)

            def work() -> int:
                for remote in remotes:
                    with contextlib.suppress(BlockingIOError):
                        while remote.end.recv(2**20):
                            pass
                return -left()

            for each in sockets:
                each.write(bytes(size))
            async with Loop(work) as loop:
                while left():
                    assert await ask() <= 8 + count
                assert 0 < loop.most <= 2 * (SENDING + 2**17)
                assert loop.late <= 3

    run(main)


def test_a_crowd_of_handshakes(run: Run) -> None:
    """Three hundred clients at once: a turn accepts 64 at most in each tick, and finishes 16 handshakes."""

    async def main() -> None:
        with contextlib.ExitStack() as held:
            await handshakes(held)

    async def handshakes(held: contextlib.ExitStack) -> None:
        async with serving() as server, quiet() as ask:
            secured = 0

            def count(_: aiotls.TLSSocket) -> None:
                nonlocal secured
                secured += 1

            server.on("secure_connection", count)
            clients = [held.enter_context(dial(server)) for _ in range(300)]
            accepted = Loop(server.get_connections)
            async with Loop(lambda: secured) as loop, accepted:
                joining = [asyncio.create_task(client.join()) for client in clients]
                while secured < 300:
                    assert await ask() <= 12
                await asyncio.gather(*joining)
                assert accepted.most <= 2 * 64
                assert loop.most <= 2 * 16
                assert max(loop.late, accepted.late) <= 3

    run(main)


def test_a_crowd_of_our_clients(run: Run) -> None:
    """A hundred and fifty connections that are dialed at once are shaken hands with in turns, too."""

    async def main() -> None:
        async with serving() as server, quiet() as ask:
            secured = 0

            def count() -> None:
                nonlocal secured
                secured += 1

            context = aiotls.create_secure_context(ca=client_options()["ca"])
            options: dict[str, Any] = {"secure_context": context, "servername": "localhost"}
            async with Loop(lambda: secured) as loop:
                clients = [aiotls.connect("127.0.0.1", port_of(server), **options) for _ in range(150)]
                for client in clients:
                    client.on("secure", count)
                while secured < 150:
                    assert await ask() <= 16
                assert loop.most <= 2 * 16
                assert loop.late <= 3
            await gone(*clients)

    run(main)


def test_a_flood_of_pings(run: Run) -> None:
    """Peers that send a small record as soon as they can: their answers do not keep the loop for themselves."""

    async def main() -> None:
        async with crowd(100) as (_, remotes, sockets), quiet() as ask:
            count = 0

            def answer(chunk: bytes, each: aiotls.TLSSocket) -> None:
                nonlocal count
                count += len(chunk)
                each.write(chunk)

            for each in sockets:
                each.on("data", functools.partial(answer, each=each))
            records = [b"".join(remote.sealed(b".") for _ in range(200)) for remote in remotes]
            async with Loop(lambda: count) as loop:
                for remote, words in zip(remotes, records, strict=True):
                    remote.send(words)
                while count < 100 * 200:
                    assert await ask() <= 10
                await until(lambda: not any(each.writable_length for each in sockets))
                assert loop.late <= 3

    run(main)


def test_a_listener_that_keeps_writing(run: Run) -> None:
    """Two ends that answer each other without end leave the loop its turns."""

    async def main() -> None:
        def serve(each: aiotls.TLSSocket) -> None:
            each.on("data", each.write)
            each.on("error", lambda _: None)  # the client goes away while it is written to

        async with serving(serve) as server, quiet() as ask:
            count = 0

            def back(chunk: bytes, client: aiotls.TLSSocket) -> None:
                nonlocal count
                count += 1
                if not client.destroyed:
                    client.write(chunk)

            clients = [to(server) for _ in range(3)]
            await asyncio.gather(*clients)
            async with Loop(lambda: count) as loop:
                for client in clients:
                    client.on("data", functools.partial(back, client=client))
                    client.write(bytes(100_000))
                for _ in range(50):
                    assert await ask() <= 12
                assert count
                assert loop.late <= 3
            await gone(*clients)

    run(main)
