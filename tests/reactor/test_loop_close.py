"""A loop that ends under connections: their descriptors go with it, and what is done to them later is harmless."""

import asyncio
import contextlib
import gc
import os
import socket
from typing import Any

import pytest

import aiotls
from tests.conftest import LoopFactory, open_descriptors
from tests.reactor.remote import Remote, crowd, dial
from tests.support.pairs import client_options, server_options, until
from tests.support.servers import echo, port_of, to


class Scene:
    """A server and connections in every state there is."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.peers: list[Remote] = []
        self.others: list[socket.socket] = []
        self.port = 0

    async def begin(self) -> None:
        """Opens everything and leaves it open."""
        asked = 0

        async def never(*_: object) -> None:
            nonlocal asked
            asked += 1
            await asyncio.Event().wait()

        server = aiotls.create_server(echo, **server_options())
        # In one that asks, a client waits for an answer that does not come.
        asking = aiotls.create_server(echo, sni_callback=never, **server_options())
        for each in (server, asking):
            await each.listen(0, "127.0.0.1")
        self.port = port_of(server)
        secure = [await to(server) for _ in range(5)]
        # Nothing is read of what comes; something has not left; one end has ended; one is closing.
        secure[1].pause()
        secure[1].write(bytes(300_000))
        secure[2].write(bytes(2**23))
        secure[3].end()
        secure[4].write(bytes(2**22))
        secure[4].close()
        shaking = [to(asking) for _ in range(2)]
        # Nobody takes this one: the backlog is full.
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.others.append(full)
        for _ in range(3):
            self.others.append(socket.socket())
            self.others[-1].setblocking(False)
            self.others[-1].connect_ex(full.getsockname())
        dialing = aiotls.connect("127.0.0.1", full.getsockname()[1], **client_options())
        silent = dial(server)
        half = dial(server)
        half.end.send(b"\x16\x03\x01\x02\x00\x01")
        junk = dial(server)
        junk.end.send(b"this is no hello, and the answer is an alert that nobody reads")
        await until(lambda: server.get_connections() >= 5 and asked == 2)
        # In the backlog, accepted by nobody.
        waiting = dial(server)
        self.kept += [server, asking, *secure, *shaking, dialing]
        self.peers += [silent, half, junk, waiting]

    def drop(self) -> None:
        """Forgets the connections."""
        self.kept.clear()

    def close(self) -> None:
        for end in (*(peer.end for peer in self.peers), *self.others):
            end.close()


def end(loop: asyncio.AbstractEventLoop) -> None:
    """Closes a loop as `asyncio.run` does."""

    async def last() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    loop.run_until_complete(last())
    loop.run_until_complete(loop.shutdown_asyncgens())
    # A thread that has looked up an address may not have let go of the loop yet.
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def collect() -> None:
    """Collects garbage; what a coroutine revives in its end is garbage again in a later round."""
    for _ in range(20):
        if not gc.collect():
            break


@pytest.mark.parametrize("how", ["dropped", "used"])
def test_everything_open(loop_factory: LoopFactory, how: str) -> None:
    """Failure model 25: with the loop's last reference all its descriptors are closed, and the peers see it."""
    before = open_descriptors()
    scene = Scene()
    loop = loop_factory()
    loop.set_exception_handler(lambda *_: None)
    try:
        loop.run_until_complete(scene.begin())
        assert (open_descriptors() - before).total() > 15
        end(loop)
        if how == "used":
            for each in scene.kept:
                repr(each)
                for name in ("destroy", "close_all_connections", "close"):
                    # Whatever it wants to do later, there is no later.
                    with contextlib.suppress(RuntimeError):
                        getattr(each, name, lambda: None)()
                del each
        scene.drop()
        del loop
        collect()
        for peer in scene.peers:
            peer.end.settimeout(5)
            with contextlib.suppress(ConnectionError):
                while peer.end.recv(2**16):
                    pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", scene.port)).close()
    finally:
        scene.close()
    collect()
    assert dict(open_descriptors() - before) == {}


def test_a_question_that_is_never_answered(loop_factory: LoopFactory) -> None:
    """An ``async`` check is forgotten together with its loop: nothing is printed, nothing stays open."""
    asked = 0

    async def never(*_: object) -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    async def begin() -> None:
        server = aiotls.create_server(sni_callback=never, **server_options())
        await server.listen(0, "127.0.0.1")
        client = to(server, check_server_identity=never)
        await until(lambda: asked == 1)
        other = aiotls.create_server(**server_options())
        await other.listen(0, "127.0.0.1")
        checking = to(other, check_server_identity=never)
        await until(lambda: asked == 2)
        kept.extend((server, client, other, checking))

    before = open_descriptors()
    kept: list[Any] = []
    loop = loop_factory()
    # "Task was destroyed but it is pending", says asyncio of the checks.
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(begin())
    loop.close()
    kept.clear()
    del loop
    collect()
    assert dict(open_descriptors() - before) == {}


def test_destroyed_after_the_end(loop_factory: LoopFactory) -> None:
    """Sockets that outlive their loop can still be got rid of: `destroy` closes the descriptor at once."""
    loop = loop_factory()

    async def begin() -> tuple[aiotls.Server, list[aiotls.TLSSocket]]:
        server = aiotls.create_server(**server_options())
        await server.listen(0, "127.0.0.1")
        sockets: list[aiotls.TLSSocket] = []
        server.on("secure_connection", sockets.append)
        sockets.extend([await to(server) for _ in range(3)])
        await until(lambda: len(sockets) == 6)
        return server, sockets

    server, sockets = loop.run_until_complete(begin())
    numbers = [each._wire.fileno() for each in sockets]  # type: ignore[union-attr]
    port = port_of(server)
    end(loop)
    for each in sockets:
        with contextlib.suppress(RuntimeError):
            each.destroy()
    with contextlib.suppress(RuntimeError):
        server.close()
    for number in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
    del server, sockets, loop, each
    collect()


def test_a_loop_that_is_run_again(loop_factory: LoopFactory) -> None:
    """What came while the loop did not run is there when it runs again, and the server goes on."""
    loop = loop_factory()
    stack = contextlib.AsyncExitStack()
    told: list[list[bytes]] = [[] for _ in range(5)]

    async def begin() -> tuple[aiotls.Server, list[Remote], list[aiotls.TLSSocket]]:
        server, remotes, sockets = await stack.enter_async_context(crowd(5))
        for each, words in zip(sockets, told, strict=True):
            each.on("data", words.append)
        await asyncio.sleep(0)
        return server, remotes, list(sockets)

    async def again(server: aiotls.Server) -> None:
        await until(lambda: all(words[-1:] == [b"%d" % number] for words in told))
        client = await to(server)
        client.destroy()
        await client.wait_closed()

    try:
        server, remotes, sockets = loop.run_until_complete(begin())
        for number in range(4):
            for remote in remotes:
                remote.send(remote.sealed(b"%d" % number))
            # What is written while it does not run leaves at once.
            for each in sockets:
                each.write(b"%d" % number)
            for remote in remotes:
                assert remote.received() == b"%d" % number
            loop.run_until_complete(asyncio.wait_for(again(server), 5))
        assert told == [[b"0", b"1", b"2", b"3"]] * 5
    finally:
        loop.run_until_complete(stack.aclose())
        end(loop)


def test_a_loop_that_is_stopped_in_a_listener(loop_factory: LoopFactory) -> None:
    """Everybody else is still told what was found in that tick, now or when the loop runs again."""
    loop = loop_factory()
    stack = contextlib.AsyncExitStack()
    told: list[bytes] = []

    async def begin() -> list[Remote]:
        _, remotes, sockets = await stack.enter_async_context(crowd(5))
        for each in sockets:
            each.on("data", told.append)
            each.on("data", lambda _: loop.stop())
        await asyncio.sleep(0)
        return remotes

    try:
        remotes = loop.run_until_complete(begin())
        for number, remote in enumerate(remotes):
            remote.send(remote.sealed(b"%d" % number))
        while len(told) < 5:
            loop.run_forever()
        assert sorted(told) == [b"0", b"1", b"2", b"3", b"4"]
    finally:
        loop.run_until_complete(stack.aclose())
        end(loop)


def test_many_loops_that_are_left(loop_factory: LoopFactory) -> None:
    """Thirty loops, one after the other, each closed with a live connection: none keeps a descriptor."""

    async def begin(kept: list[Any]) -> None:
        server = aiotls.create_server(echo, **server_options())
        await server.listen(0, "127.0.0.1")
        client = aiotls.connect("127.0.0.1", port_of(server), **client_options())
        client.write(b"x" * 100_000)
        await client.read(1)
        kept += [server, client]

    before = open_descriptors()
    for _ in range(30):
        kept: list[Any] = []
        loop = loop_factory()
        loop.run_until_complete(begin(kept))
        end(loop)
        kept.clear()
        del loop
    collect()
    assert dict(open_descriptors() - before) == {}
