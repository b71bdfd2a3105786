"""What a listener does to connections while others of the same tick wait to be told something."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import LoopFactory, Run
from tests.reactor.remote import Remote, crowd, dial
from tests.support.pairs import client_options, server_options, until
from tests.support.servers import echo, port_of, serving, to

COUNT = 6
METHODS = ("destroy", "reset_and_destroy", "close")


class Told:
    """What each socket was told, in order, and how many had data in the turn of the loop in which the first had."""

    def __init__(self, sockets: list[aiotls.TLSSocket], inside: Callable[[aiotls.TLSSocket], object]) -> None:
        self.sockets = sockets
        self.events: dict[int, list[Any]] = {}
        self.first: aiotls.TLSSocket | None = None
        self.in_first_turn = 0
        self._inside = inside
        for number, each in enumerate(sockets):
            self.events[number] = []
            event: Any
            for event in ("data", "end", "finish", "drain", "error", "close"):
                each.on(event, lambda *words, each=each, event=event: self._tell(each, event, words))

    def _tell(self, each: aiotls.TLSSocket, event: str, words: tuple[Any, ...]) -> None:
        self.events[self.sockets.index(each)].append(words[0] if event == "data" else event)
        if event == "close":
            return
        if self.first is None:
            self.first = each
            self._turn_over = False
            asyncio.get_running_loop().call_soon(self._turn_ends)
            self._inside(each)
        elif event == "data" and not self._turn_over:
            self.in_first_turn += 1

    def _turn_ends(self) -> None:
        self._turn_over = True


async def ended(remote: Remote) -> None:
    """Waits for the end of the stream."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while await loop.sock_recv(remote.end, 2**16):
            pass


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("whom", ["itself", "next", "previous", "others", "all"])
def test_sockets_that_have_data_waiting(run: Run, whom: str, method: str) -> None:
    """All have data in the same tick; who is ended by the first listener hears of nothing but its close."""

    async def main() -> None:
        async with crowd(COUNT) as (_, remotes, sockets):
            ends: list[aiotls.TLSSocket] = []

            def inside(first: aiotls.TLSSocket) -> None:
                number = sockets.index(first)
                ends.extend(
                    {
                        "itself": [first],
                        "next": [sockets[(number + 1) % COUNT]],
                        "previous": [sockets[number - 1]],
                        "others": [each for each in sockets if each is not first],
                        "all": sockets,
                    }[whom]
                )
                for each in ends:
                    getattr(each, method)()

            told = Told(sockets, inside)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for number, remote in enumerate(remotes):
                remote.send(remote.sealed(b"one %d" % number))
            await until(lambda: told.first is not None)
            first = told.first
            left = [each for each in sockets if each not in ends]
            for each in ends:
                remote = remotes[sockets.index(each)]
                if method == "close":
                    remote.send(remote.farewell())
                    remote.hang_up()
                await ended(remote)
            for each in left:
                remote = remotes[sockets.index(each)]
                remote.send(remote.sealed(b"two"))
            await until(lambda: all(told.events[sockets.index(each)][-1:] == [b"two"] for each in left))
            await until(lambda: all(told.events[sockets.index(each)][-1:] == ["close"] for each in ends))
            for number, each in enumerate(sockets):
                events = told.events[number]
                greeting = [b"one %d" % number]
                if each in left:
                    assert events == [*greeting, b"two"]
                else:
                    assert [event for event in events if isinstance(event, bytes)] == greeting * (each is first)
                    assert events.count("close") == 1
                    assert "error" not in events
            # It was one tick: whoever was left heard of its data in the same turn of the loop.
            assert told.in_first_turn == len([each for each in left if each is not first])

    run(main)


@pytest.mark.parametrize("event", ["end", "error", "drain", "finish"])
def test_everything_ended_in_another_event(run: Run, event: Any) -> None:
    """The same for what is not data: the first listener closes all connections, and nobody hears of the event again."""

    async def main() -> None:
        async with crowd(COUNT, allow_half_open=True) as (server, remotes, sockets):
            if event == "drain":
                for each in sockets:
                    assert each.write(bytes(8 * 2**20)) is False
            for _ in range(10):
                await asyncio.sleep(0)
            told = Told(sockets, lambda _: server.close_all_connections())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if event == "finish":
                for each in sockets:
                    each.end()
            elif event == "drain":
                reading = [asyncio.create_task(ended(remote)) for remote in remotes]
            for remote in remotes:
                if event == "end":
                    remote.send(remote.farewell())
                elif event == "error":
                    remote.reset()
            await until(lambda: not server.get_connections())
            await until(lambda: all(events[-1:] == ["close"] for events in told.events.values()))
            heard = [events for events in told.events.values() if event in events]
            assert len(heard) == 1
            assert all(len(events) <= 2 for events in told.events.values())
            if event == "drain":
                await asyncio.gather(*reading)

    run(main)


@pytest.mark.parametrize("event", ["connection", "secure_connection", "tls_client_error", "keylog"])
def test_everything_ended_in_an_event_of_the_server(run: Run, event: Any) -> None:
    """Of several peers that come at once, the first one's event ends them all, and the server goes on."""

    async def main() -> None:
        calls = 0
        async with serving() as server:

            def inside(*_: object) -> None:
                nonlocal calls
                calls += 1
                if calls == 1:
                    server.close_all_connections()

            with contextlib.ExitStack() as held:
                server.on(event, inside)
                remotes = [held.enter_context(dial(server)) for _ in range(COUNT)]
                if event == "tls_client_error":
                    for remote in remotes:
                        remote.send(b"junk that is no record at all")
                else:
                    joining = [asyncio.create_task(remote.join()) for remote in remotes]
                await until(lambda: calls)
                await until(lambda: not server.get_connections())
                if event != "tls_client_error":
                    for task in joining:
                        task.cancel()
                    await asyncio.gather(*joining, return_exceptions=True)
            server.off(event, inside)
            server.on("secure_connection", lambda each: each.end(b"new"))
            async with to(server) as client:
                assert await client.read() == b"new"

    run(main)


@pytest.mark.parametrize("method", METHODS)
def test_the_server_closed_and_listening_again(run: Run, method: str) -> None:
    """In a listener of data: another server takes the port and, perhaps, the descriptor; both have what is theirs."""

    async def main() -> None:
        async with crowd(COUNT) as (server, remotes, sockets):
            port = port_of(server)
            other = aiotls.create_server(lambda each: each.end(b"other"), **server_options())
            listening: list[asyncio.Task[aiotls.Server]] = []

            def inside(first: aiotls.TLSSocket) -> None:
                server.close()
                getattr(first, method)()
                listening.append(other.listen(port, "127.0.0.1"))

            told = Told(sockets, inside)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for remote in remotes:
                remote.send(remote.sealed(b"x"))
            await until(lambda: listening)
            await listening[0]
            async with other:
                async with to(other) as client:
                    assert await client.read() == b"other"
                for each, remote in zip(sockets, remotes, strict=True):
                    if each is not told.first:
                        remote.send(remote.sealed(b"y"))
                await until(
                    lambda: all(
                        told.events[number] == [b"x", b"y"]
                        for number, each in enumerate(sockets)
                        if each is not told.first
                    )
                )
            server.close_all_connections()

    run(main)


@pytest.mark.parametrize("method", ["destroy", "reset_and_destroy"])
def test_a_descriptor_that_is_used_again_at_once(run: Run, method: str) -> None:
    """A new connection gets the number of one that has notices waiting: each token has its own data."""

    async def main() -> None:
        async with serving(echo) as below, crowd(2) as (_, remotes, sockets):
            greeting = b"to the old one, which is gone"
            again: list[tuple[aiotls.TLSSocket, socket.socket]] = []

            def inside(first: aiotls.TLSSocket) -> None:
                victim = sockets[1 - sockets.index(first)]
                number = victim._wire.fileno()  # type: ignore[union-attr]
                getattr(victim, method)()
                # The lowest number that is free; the old one is above all that are in use, or it is the hole itself.
                spare = []
                while True:
                    end = socket.socket()
                    if end.fileno() == number:
                        break
                    assert end.fileno() < number
                    spare.append(end)
                for each in spare:
                    each.close()
                end.setblocking(False)
                assert end.connect_ex(("127.0.0.1", port_of(below))) in (0, 115)
                client = aiotls.connect(socket=end, **client_options())
                client.on("data", received.extend)
                client.end(b"new")
                again.append((client, end))

            received = bytearray()
            told = Told(sockets, inside)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for remote in remotes:
                remote.send(remote.sealed(greeting))
            await until(lambda: again)
            client = again[0][0]
            await client.wait_closed()
            assert bytes(received) == b"new"
            assert told.first is not None
            number = sockets.index(told.first)
            assert told.events[number] == [greeting]
            await until(lambda: told.events[1 - number])
            assert told.events[1 - number] == ["close"]

    run(main)


def test_new_connections_from_inside(run: Run) -> None:
    """Each of several listeners of one tick opens a connection to the same server, and speaks over it."""

    async def main() -> None:
        async with crowd(COUNT) as (server, remotes, sockets):
            heard: list[bytes] = []
            made: list[aiotls.TLSSocket] = []
            server.on("secure_connection", lambda each: each.on("data", heard.append))

            def inside(words: bytes) -> None:
                client = to(server)
                client.write(b"again " + words)
                made.append(client)

            for each in sockets:
                each.on("data", inside)
            await asyncio.sleep(0)
            for number, remote in enumerate(remotes):
                remote.send(remote.sealed(b"%d" % number))
            await until(lambda: len(heard) == COUNT)
            assert sorted(heard) == [b"again %d" % number for number in range(COUNT)]
            for client in made:
                client.destroy()

    run(main)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("event", ["data", "end", "error"])
def test_an_interrupt_in_a_listener(loop_factory: LoopFactory, event: Any, kind: type[BaseException]) -> None:
    """It stops the loop; once the loop runs again, every other connection is told what it was to be told, in order."""
    loop = loop_factory()
    # What an "error" listener raises is also told here.
    loop.set_exception_handler(lambda *_: None)
    told: dict[int, list[Any]] = {number: [] for number in range(COUNT)}
    stack = contextlib.AsyncExitStack()
    never = loop.create_future()

    async def begin() -> tuple[list[Remote], list[aiotls.TLSSocket]]:
        _, remotes, sockets = await stack.enter_async_context(crowd(COUNT))
        for number, each in enumerate(sockets):
            each.on("data", told[number].append)
            each.on("error", told[number].append)
            each.on("end", functools.partial(told[number].append, "end"))
            each.once(event, interrupt)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return remotes, sockets

    def interrupt(*_: object) -> None:
        if not any(isinstance(words, kind) for words in interrupted):
            interrupted.append(kind("enough"))
            raise interrupted[0]

    interrupted: list[BaseException] = []
    try:
        remotes, sockets = loop.run_until_complete(begin())
        for number, remote in enumerate(remotes):
            remote.send(remote.sealed(b"%d" % number))
            if event == "error":
                remote.reset()
            else:
                remote.send(remote.farewell())
                remote.hang_up()
        with pytest.raises(kind, match="enough"):
            loop.run_until_complete(never)
        loop.run_until_complete(asyncio.wait_for(until(lambda: all(told.values())), 5))
        loop.run_until_complete(asyncio.wait_for(until(lambda: all(each.destroyed for each in sockets)), 5))
        first = [number for number, each in enumerate(sockets) if isinstance(each._error, RuntimeError | kind)]
        for number, words in told.items():
            assert words[0] == b"%d" % number
            if number not in first:
                assert words[1:] == ["end"] if event != "error" else isinstance(words[1], ConnectionResetError)
                assert len(words) == 2
        assert len(first) == (event != "error")
    finally:
        never.cancel()
        loop.run_until_complete(stack.aclose())
        loop.close()


@pytest.mark.parametrize("what", ["reset", "end"])
def test_an_interrupt_before_the_others_are_told(loop_factory: LoopFactory, what: str) -> None:
    """What follows from the end of a tick that was interrupted is told behind what was found in it."""
    loop = loop_factory()
    told: dict[int, list[Any]] = {number: [] for number in range(COUNT)}
    stack = contextlib.AsyncExitStack()
    never = loop.create_future()

    async def begin() -> tuple[list[Remote], list[aiotls.TLSSocket]]:
        _, remotes, sockets = await stack.enter_async_context(crowd(COUNT, allow_half_open=True))
        for number, each in enumerate(sockets):
            each.on("data", told[number].append)
            each.on("data", functools.partial(interrupt, each))
            each.on("error", told[number].append)
            each.on("finish", functools.partial(told[number].append, "finish"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return remotes, sockets

    def interrupt(first: aiotls.TLSSocket, _: bytes) -> None:
        if interrupted:
            return
        interrupted.append(first)
        for each, remote in zip(sockets, remotes, strict=True):
            if each is not first:
                if what == "reset":
                    remote.reset()
                    each.write(b"in vain")
                else:
                    each.end(b"the last word")
        raise KeyboardInterrupt("enough")

    interrupted: list[aiotls.TLSSocket] = []
    try:
        remotes, sockets = loop.run_until_complete(begin())
        for number, remote in enumerate(remotes):
            remote.send(remote.sealed(b"%d" % number))
        with pytest.raises(KeyboardInterrupt, match="enough"):
            loop.run_until_complete(never)
        loop.run_until_complete(asyncio.wait_for(until(lambda: sum(map(len, told.values())) == 2 * COUNT), 5))
        for number, words in told.items():
            assert words[0] == b"%d" % number
            if sockets[number] is interrupted[0]:
                assert isinstance(words[1], RuntimeError)
            elif what == "reset":
                assert isinstance(words[1], aiotls.ConnectionLost)
            else:
                assert words[1] == "finish"
    finally:
        never.cancel()
        loop.run_until_complete(stack.aclose())
        loop.close()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_when_a_socket_closes(loop_factory: LoopFactory, kind: type[BaseException]) -> None:
    """Its server has counted it all the same, so waiting for the server ends."""
    loop = loop_factory()
    loop.set_exception_handler(lambda *_: None)
    never = loop.create_future()

    def interrupt(had_error: bool) -> None:
        raise kind("enough")

    def accept(socket: aiotls.TLSSocket) -> None:
        socket.on("close", interrupt).resume()

    async def begin() -> tuple[aiotls.Server, aiotls.TLSSocket]:
        server = aiotls.create_server(accept, **server_options())
        await server.listen(0, "127.0.0.1")
        client = await to(server)
        await until(lambda: server._sockets)
        return server, client

    try:
        server, client = loop.run_until_complete(begin())
        server.close()
        client.close()
        with pytest.raises(kind, match="enough"):
            loop.run_until_complete(never)
        loop.run_until_complete(asyncio.wait_for(server.wait_closed(), 5))
        loop.run_until_complete(client.wait_closed())
    finally:
        loop.close()
