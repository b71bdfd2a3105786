"""Clients and what goes wrong around them: answers that never come, servers that never read, loops that end.

The rows of the failure model that concern connections have their tests in ``hostile/``; those of the way to the server
in ``test_connect_failures.py``.
"""

import asyncio
import contextlib
import gc
import sys
import textwrap
import threading
from typing import Any

import pytest

import aiotls
from tests.conftest import LoopFactory, Run
from tests.support.bad_servers import BadServer, Visitor, behaving
from tests.support.pairs import client_options, gone, until
from tests.support.pki import named
from tests.support.programs import environment
from tests.support.servers import echo, port_of, serving, to
from tests.test_server_memory import COMMON, measured
from tests.test_server_process import in_process

VERSIONS = ("TLSv1.2", "TLSv1.3")
by_version = pytest.mark.parametrize("version", VERSIONS)


# ---- questions


@by_version
def test_a_check_that_never_answers(run: Run, version: str) -> None:
    """Failure model 19, for clients: the timeout ends it; the function is cancelled, the server sees an end."""

    async def main() -> None:
        cancelled = asyncio.Event()

        async def never(*_: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async with serving(echo, max_version=version) as server:
            server.on("tls_client_error", lambda *_: None)
            visitor = Visitor(to(server, check_server_identity=never, handshake_timeout=0.2))
            error = await visitor.failed()
            assert isinstance(error, aiotls.HandshakeTimeout)
            assert error.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            assert visitor.secure == 0
            await cancelled.wait()
            await until(lambda: not server.get_connections())

    run(main)


@by_version
@pytest.mark.parametrize("answer", ["accept", "refuse"])
def test_an_answer_after_the_end(run: Run, version: str, answer: str) -> None:
    """Failure model 19, for clients: what a check answers when its connection is gone is heard by nobody."""

    async def main() -> None:
        asked, go_on, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def late(*_: Any) -> None:
            asked.set()
            while not go_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await go_on.wait()
            answered.set()
            if answer == "refuse":
                raise LookupError("too late")

        async with serving(echo, max_version=version) as server:
            server.on("tls_client_error", lambda *_: None)
            visitor = Visitor(to(server, check_server_identity=late))
            await asked.wait()
            visitor.client.destroy()
            await visitor.gone()
            go_on.set()
            await answered.wait()
            await until(lambda: not server.get_connections())
            assert (visitor.errors, visitor.closed, visitor.secure) == ([], [False], 0)

    run(main)


def test_a_lookup_that_never_answers(run: Run) -> None:
    """Failure model 19, for clients: it is no part of the handshake; `timeout` tells of it, and destroying ends it."""

    async def main() -> None:
        cancelled = asyncio.Event()

        async def never(*_: Any) -> str:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return "127.0.0.1"

        visitor = Visitor(aiotls.connect("a.test", 1, **client_options(lookup=never, timeout=0.05)))
        await visitor.client.wait_for("timeout")
        assert visitor.client.connecting
        visitor.client.destroy()
        await cancelled.wait()
        await visitor.gone()
        assert (visitor.errors, visitor.closed) == ([], [False])

    run(main)


@by_version
def test_functions_that_are_asked_of_a_silent_server(run: Run, version: str) -> None:
    """Failure model 19, for clients: no listener is called, and no function asked, before there is anything to tell."""

    async def main() -> None:
        asked: list[str] = []

        async def behave(server: BadServer) -> None:
            await server.flight()
            await server.told()

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor(
                handshake_timeout=0.2,
                request_ocsp=True,
                alpn_protocols=["h2"],
                check_server_identity=lambda *_: asked.append("check"),
            )
            for event in ("keylog", "ocsp_response", "session", "secure", "secure_connect"):
                visitor.client.on(event, lambda *_, event=event: asked.append(event))
            assert (await visitor.failed()).code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            assert asked == []

    run(main)


# ---- servers that do not read

SLOW = (
    COMMON
    + """
    PEERS, SIZE = 50, 64 * 2**20

    async def main():
        accepted = []
        server = aiotls.create_server(accepted.append, cert=CERT, key=KEY, pause_on_connect=True)
        waiting = 0
        ended = []
        drained = asyncio.Event()

        async def push(client):
            nonlocal waiting
            block, sent, full = bytes(2**16), 0, False
            try:
                while sent < SIZE:
                    if not client.write(block):
                        assert client.writable_length >= client.high_water_mark
                        if not full:
                            full = True
                            waiting += 1
                        await client.drain()
                    sent += len(block)
                client.end()
                await client.wait_closed()
            except (aiotls.StateError, ConnectionError):
                ended.append(sent)

        context = aiotls.create_secure_context(ca=CA)
        async with server:
            await server.listen(0, "127.0.0.1")
            port = server.address().port
            clients = [await aiotls.connect("127.0.0.1", port, secure_context=context) for _ in range(PEERS)]
            while len(accepted) < PEERS:
                await asyncio.sleep(0)
            size = resident()
            tasks = [asyncio.ensure_future(push(client)) for client in clients]
            clients[0].on("drain", drained.set)
            while waiting < PEERS:
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
            grown = resident() - size
            assert not drained.is_set() and not any(task.done() for task in tasks)
            # The one that is read after all gets rid of everything.
            total = 0
            reader = next(each for each in accepted if each.remote_port == clients[0].local_port)
            async for chunk in reader.resume():
                total += len(chunk)
            assert total == SIZE, total
            assert drained.is_set()
            reader.end()
            await tasks[0]
            for client in clients[1:]:
                client.destroy()
            await asyncio.gather(*tasks)
            assert len(ended) == PEERS - 1 and max(ended) < SIZE
            for each in accepted:
                each.destroy()
            await quiet(server)
            print(grown, 0, len(asyncio.all_tasks()))

    asyncio.run(main())
"""
)


def test_fifty_servers_that_do_not_read() -> None:
    """Failure model 23, for clients: 64 MiB are written to each, with "drain"; destroying frees; one reads on."""
    assert measured(SLOW) < 64 * 2**20


# ---- loops and processes that end

CLIENT = """
    import asyncio, contextlib, gc, os, sys
    import aiotls

    port, how = int(sys.argv[1]), sys.argv[2]
    kept = []
    asked = []

    async def never(*_):
        asked.append(True)
        await asyncio.Event().wait()

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 60

        def to_server(**options):
            return aiotls.connect("127.0.0.1", port, ca=os.environ["TEST_CA"], servername="localhost", **options)

        for number in range(4):
            client = await to_server()
            client.write(b"x" * 100_000)
            if number % 2:
                await client.read(1)
            kept.append(client)
        kept.append(to_server())
        kept.append(to_server(check_server_identity=never))
        kept.append(aiotls.connect("a.test", port, lookup=never))
        while len(asked) < 2:
            await asyncio.sleep(0)
        if how == "exit":
            raise SystemExit

    if how == "exit":
        print("done")
    if how in ("run", "exit"):
        asyncio.run(main())
    else:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        if how != "leave":
            loop.close()
    if how == "collect":
        kept.clear()
        gc.collect()
    elif how == "use":
        for each in kept:
            repr(each)
            for name in ("destroy", "close", "end", "reset_and_destroy"):
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    getattr(each, name)()
    print("done")
"""


@pytest.mark.parametrize("how", ["run", "exit", "collect", "use", "leave"])
def test_a_loop_that_ends_under_clients(run: Run, how: str) -> None:
    """Failure model 25, for clients: no hang, no warning, no "Task was destroyed"; the server sees them go."""

    async def main() -> None:
        async with serving(echo) as server:
            server.on("tls_client_error", lambda *_: None)
            server.on("secure_connection", lambda socket: socket.on("error", lambda _: None))
            # A loop that is not closed is a fault of the program.
            flags = ["-X", "dev", "-W", "error"] if how != "leave" else ["-W", "ignore::ResourceWarning"]
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                *flags,
                "-c",
                textwrap.dedent(CLIENT),
                str(port_of(server)),
                how,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment(TEST_CA=named.ca.cert_pem.decode()),
            )
            output, errors = await child.communicate()
            assert errors.decode() == ""
            assert (output, child.returncode) == (b"done\n", 0)
            await until(lambda: not server.get_connections())

    run(main)


FORKED = """
    import asyncio, os, socket
    import aiotls

    CERT, KEY, CA = os.environ["TEST_CERT"], os.environ["TEST_KEY"], os.environ["TEST_CA"]
    context = aiotls.create_secure_context(ca=CA)

    async def use():
        asyncio.get_running_loop().slow_callback_duration = 60
        # The library has been used before the fork, random numbers and all.
        async with aiotls.create_server(lambda socket: socket.end(b"x"), cert=CERT, key=KEY) as server:
            await server.listen(0, "127.0.0.1")
            async with aiotls.connect("127.0.0.1", server.address().port, secure_context=context) as client:
                assert await client.read() == b"x"

    async def greet(port):
        asyncio.get_running_loop().slow_callback_duration = 60
        client = aiotls.connect("127.0.0.1", port, secure_context=context)
        try:
            await client
        except aiotls.ConnectionLost:
            pass

    asyncio.run(use())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        children = []
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                try:
                    asyncio.run(greet(port))
                finally:
                    os._exit(0)
            children.append(pid)
        hellos = set()
        for _ in children:
            near, _ = listening.accept()
            with near:
                hello = b""
                while len(hello) < 5 or len(hello) < 5 + int.from_bytes(hello[3:5], "big"):
                    more = near.recv(65536)
                    if not more:
                        break
                    hello += more
                hellos.add((hello[11:43], hello[44:76]))
        for pid in children:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len({random for random, _ in hellos}) == 20, "two children sent the same random number"
    assert len({session for _, session in hellos}) == 20, "two children sent the same session id"
    asyncio.run(use())
    print("done")
"""


def test_children_that_were_forked() -> None:
    """Failure model 26, for clients: twenty children with the parent's context never say hello in the same words."""
    assert in_process(FORKED, named.server_ec) == "done\n"


# ---- many of them

BROKEN = (
    COMMON
    + """
    async def main():
        async def misbehave(reader, writer):
            nonlocal served
            served += 1
            kind = served % 5
            await reader.read(100)
            if kind == 0:
                writer.write(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")
            elif kind == 1:
                writer.write(b"\\x15\\x03\\x03\\x00\\x02\\x02\\x28")
            elif kind == 2:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)
            elif kind == 3:
                writer.write(b"\\x16\\x03\\x03\\x00\\x04\\x0e\\x00\\x00\\x00")
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        served = failed = 0
        server = aiotls.create_server(lambda socket: socket.end(b"x"), cert=CERT, key=KEY)
        server.on("tls_client_error", lambda *_: None)
        broken = await asyncio.start_server(misbehave, "127.0.0.1", 0)
        with sockets.create_server(("127.0.0.1", 0)) as probe:
            nobody = probe.getsockname()[1]
        context = aiotls.create_secure_context(ca=CA)
        doubting = aiotls.create_secure_context(ca=[])
        async with server, broken:
            await server.listen(0, "127.0.0.1")
            good, bad = server.address().port, broken.sockets[0].getsockname()[1]

            async def client(number):
                nonlocal failed
                kind = number % 10
                port = {0: bad, 1: bad, 2: nobody}.get(kind, good)
                trust = doubting if kind == 3 else context
                options = {"servername": "other.test"} if kind == 4 else {}
                try:
                    if kind == 5:
                        one = aiotls.connect("127.0.0.1", port, secure_context=trust, handshake_timeout=0.001)
                        one.destroy()
                        await one.wait_for("close") if not one.destroyed else None
                        return
                    async with aiotls.connect("127.0.0.1", port, secure_context=trust, **options) as socket:
                        assert await socket.read() == b"x"
                except aiotls.TLSError:
                    failed += 1

            async def many(count):
                for start in range(0, count, 50):
                    await asyncio.gather(*(client(number) for number in range(start, start + 50)))
                await quiet(server)

            await many(1000)
            size, open_ones, before = resident(), descriptors(), failed
            await many(1000)
            assert failed - before == 500, failed - before
            grown = resident() - size
            while descriptors() > open_ones or len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0.01)
            print(grown, descriptors() - open_ones, len(asyncio.all_tasks()))

    asyncio.run(main())
"""
)


def test_connections_that_fail() -> None:
    """Failure model 27, goal 7, for clients: 1,000, half of which fail in one way or the other: nothing stays."""
    assert measured(BROKEN) < 2**20


@by_version
def test_loops_in_threads_share_a_context(loop_factory: LoopFactory, version: str) -> None:
    """Failure model 28, for clients: loops in three threads, one context, each other's sessions, collections."""
    context = aiotls.create_secure_context(ca=named.ca.cert_pem)
    failures: list[BaseException] = []
    sessions: list[bytes] = []
    ready, over = threading.Event(), threading.Event()
    ports: list[int] = []

    async def serve() -> None:
        async with serving(echo, max_version=version) as server:
            ports.append(port_of(server))
            ready.set()
            while not over.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def visit() -> None:
        def collect(*_: Any) -> None:
            gc.collect(0)

        async def one(number: int) -> None:
            # The last one may be on its way to be used by another thread.
            session = sessions.pop() if sessions and number % 3 else None
            client = aiotls.connect(
                "127.0.0.1",
                ports[0],
                secure_context=context,
                servername="localhost",
                session=session,
                check_server_identity=collect,
            )
            client.on("session", sessions.append)
            async with client:
                client.write(b"%d" % number)
                assert await client.read(10) == b"%d" % number
                assert client.authorized
            await gone(client)

        for start in range(0, 150, 10):
            await asyncio.gather(*(one(number) for number in range(start, start + 10)))

    def thread(main: Any) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main())
        except BaseException as error:
            failures.append(error)

    serving_thread = threading.Thread(target=thread, args=(serve,))
    serving_thread.start()
    assert ready.wait(10)
    threads = [threading.Thread(target=thread, args=(visit,)) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    over.set()
    serving_thread.join()
    assert failures == []
    assert sessions
