"""Loops in threads: each has its reactor, and none waits for another's."""

import asyncio
import gc
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import aiotls
from tests.conftest import _LOOP_FACTORIES, LoopFactory, open_descriptors
from tests.reactor.remote import pattern
from tests.support.pairs import client_options, server_options, until
from tests.support.pki import named
from tests.support.servers import echo, port_of, serving, to
from tests.test_server_process import in_process

PATIENCE = 12.0


class Threads:
    """Coroutine functions, each on a loop in a thread of its own."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, main: Callable[..., Coroutine[Any, Any, Any]], *words: Any, factory: LoopFactory) -> None:
        def body() -> None:
            try:
                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(asyncio.wait_for(main(*words), PATIENCE))
            except BaseException as error:
                self.failures.append(error)

        self._threads.append(threading.Thread(target=body))
        self._threads[-1].start()

    def join(self) -> None:
        """Waits for all; raises what one of them raised."""
        for each in self._threads:
            each.join()
        if self.failures:
            raise self.failures[0]


class Meeting:
    """Threads wait for each other in it, and their loops go on meanwhile."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count, timeout=PATIENCE)

    async def all_here(self) -> None:
        await asyncio.to_thread(self._barrier.wait)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_all_kinds_of_loops_together(version: str) -> None:
    """Four loops, of every kind there is, talk to each other with one context; sessions of one resume at any."""
    keys = bytes(range(48))
    serving_context = aiotls.create_secure_context(**server_options(max_version=version, ticket_keys=keys))
    trusting = aiotls.create_secure_context(ca=client_options()["ca"], max_version=version)
    ports: list[int] = []
    sessions: list[bytes] = []
    meeting = Meeting(4)
    block = pattern(300_000)

    async def main(number: int) -> None:
        async with aiotls.create_server(echo, secure_context=serving_context) as server:
            await server.listen(0, "127.0.0.1")
            ports.append(port_of(server))
            await meeting.all_here()

            async def visit(port: int, session: bytes | None) -> bool:
                options: dict[str, Any] = {"secure_context": trusting, "servername": "localhost", "session": session}
                client = aiotls.connect("127.0.0.1", port, **options)
                client.on("session", sessions.append)
                async with client:
                    reused = client.is_session_reused() is True
                    client.end(block)
                    assert await client.read() == block
                return reused

            assert not any(await asyncio.gather(*(visit(port, None) for port in ports for _ in range(3))))
            await meeting.all_here()
            known = list(sessions)
            await meeting.all_here()
            chosen = random.Random(number).choices(known, k=12)
            reused = await asyncio.gather(*(visit(ports[index % 4], each) for index, each in enumerate(chosen)))
            assert all(reused)
            await meeting.all_here()

    threads = Threads()
    factories = list(_LOOP_FACTORIES.values())
    for number in range(4):
        threads.start(main, number, factory=factories[number % len(factories)])
    threads.join()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_no_lock_is_shared(loop_factory: LoopFactory, version: str) -> None:
    """While one loop is stopped inside the core, in a handshake, another shakes hands, moves data and comes to its end.

    A function for pre-shared keys is called in the midst of a tick; here it does not return before the other loop is
    done.  So nothing that the other needs may be held by the first.
    """
    inside, done = threading.Event(), threading.Event()

    def slow(socket: aiotls.TLSSocket, identity: str) -> bytes:
        inside.set()
        assert done.wait(PATIENCE)
        return b"k" * 32

    async def first() -> None:
        options: dict[str, Any] = {"max_version": version, **({"ciphers": "PSK"} if version == "TLSv1.2" else {})}
        async with aiotls.create_server(echo, psk_callback=slow, **server_options(**options)) as server:
            await server.listen(0, "127.0.0.1")
            key = aiotls.PSK("somebody", b"k" * 32)
            async with to(server, psk_callback=lambda _: key, check_server_identity=lambda *_: None, **options) as one:
                one.end(b"first")
                assert await one.read() == b"first"

    async def second() -> None:
        assert await asyncio.to_thread(inside.wait, PATIENCE)
        try:
            async with serving(echo) as server, to(server) as client:
                client.end(block)
                assert await client.read() == block
        finally:
            done.set()

    block = pattern(3 * 2**20)
    threads = Threads()
    threads.start(first, factory=loop_factory)
    threads.start(second, factory=loop_factory)
    threads.join()


def test_bulk_in_two_threads(loop_factory: LoopFactory) -> None:
    """A connection between two loops in two threads carries 8 MiB each way, and each end sees the other's drain."""
    port: list[int] = []
    ready, over = threading.Event(), threading.Event()
    block = pattern(8 * 2**20)

    async def move(socket: aiotls.TLSSocket) -> None:
        async def send() -> None:
            for start in range(0, len(block), 100_000):
                socket.write(block[start : start + 100_000])
                await socket.drain()
            socket.end()

        sending = asyncio.create_task(send())
        assert await socket.read() == block
        await sending

    async def server_main() -> None:
        async with serving(move, allow_half_open=True) as server:
            port.append(port_of(server))
            ready.set()
            await asyncio.to_thread(over.wait, PATIENCE)
            await until(lambda: not server.get_connections())

    async def client_main() -> None:
        try:
            assert await asyncio.to_thread(ready.wait, PATIENCE)
            async with aiotls.connect("127.0.0.1", port[0], **client_options(allow_half_open=True)) as client:
                await move(client)
        finally:
            over.set()

    threads = Threads()
    threads.start(server_main, factory=loop_factory)
    threads.start(client_main, factory=loop_factory)
    threads.join()


def test_fifty_loops(loop_factory: LoopFactory) -> None:
    """Fifty loops in fifty threads, a server and a client on each: no descriptor is left."""

    async def main() -> None:
        async with serving(echo) as server, to(server) as client:
            client.end(b"x")
            assert await client.read() == b"x"

    before = open_descriptors()
    for start in range(0, 50, 5):
        threads = Threads()
        for _ in range(5):
            threads.start(main, factory=loop_factory)
        threads.join()
        assert start >= 0
    gc.collect()
    assert (open_descriptors() - before).total() == 0


WRONG = """
    import asyncio, os, random, sys, threading, time
    import aiotls

    sys.setswitchinterval(0.0002)

    CERT, KEY, CA = os.environ["TEST_CERT"], os.environ["TEST_KEY"], os.environ["TEST_CA"]

    async def echo(socket):
        async for chunk in socket:
            socket.write(chunk)
            await socket.drain()

    context = aiotls.create_secure_context(ca=CA)

    async def victims_and_hammers():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 60
        loop.set_exception_handler(lambda *_: None)
        server = aiotls.create_server(echo, cert=CERT, key=KEY)
        await server.listen(0, "127.0.0.1")

        async def victim():
            socket = await aiotls.connect("127.0.0.1", server.address().port, secure_context=context)
            socket.on("data", lambda _: None)
            return socket

        victims = [await victim() for _ in range(4)]
        calls = 0

        def hammer(number):
            # Everything that may be called, where it may not be called.
            nonlocal calls
            choose = random.Random(number)
            while not done.is_set():
                each = choose.choice(victims)
                time.sleep(0)  # lets the other threads run
                calls += 1
                if calls == 100:
                    hammering.set()
                try:
                    what = choose.randrange(8)
                    if what == 0:
                        each.write(bytes(choose.choice((1, 100_000))))
                    elif what == 1:
                        each.pause()
                    elif what == 2:
                        each.resume()
                    elif what == 3:
                        each.writable_length, each.get_protocol(), each.get_cipher()
                    elif what == 4:
                        each.get_peer_certificate()
                    elif what == 5:
                        repr(each), each.address()
                    elif choose.random() < 0.001:
                        each.end() if what == 6 else each.destroy()
                except (RuntimeError, aiotls.TLSError, TypeError, ValueError, AttributeError):
                    pass

        threads = [threading.Thread(target=hammer, args=(number,)) for number in range(2)]
        for each in threads:
            each.start()
        await asyncio.to_thread(done.wait)
        for each in threads:
            each.join()
        server.close()
        server.close_all_connections()
        for each in victims:
            each.destroy()

    async def innocents():
        asyncio.get_running_loop().slow_callback_duration = 60
        async with aiotls.create_server(echo, cert=CERT, key=KEY) as server:
            await server.listen(0, "127.0.0.1")
            block = bytes(2**17)
            assert await asyncio.to_thread(hammering.wait, 10)
            for _ in range(10):
                async with aiotls.connect("127.0.0.1", server.address().port, secure_context=context) as client:
                    client.end(block)
                    assert await client.read() == block
        print("done")

    def other():
        try:
            asyncio.run(innocents())
        finally:
            done.set()

    hammering, done = threading.Event(), threading.Event()
    beside = threading.Thread(target=other)
    beside.start()
    asyncio.run(victims_and_hammers())
    beside.join()
"""


def test_the_wrong_thread() -> None:
    """Two threads call what is another thread's; nothing crashes or hangs, and a third one's connections go on."""
    assert in_process(WRONG, named.server_ec, timeout=18.0) == "done\n"
