"""A server and its process: forks, threads, garbage collection, and an end with everything still open."""

import asyncio
import gc
import threading
from typing import Any

import pytest

import aiotls
from tests.conftest import LoopFactory
from tests.support.pairs import server_options
from tests.support.pki import named
from tests.support.servers import echo, port_of
from tests.test_server_process import in_process

PREFORK = """
    import asyncio, os, signal, socket, ssl
    import aiotls

    WORKERS, CLIENTS = 4, 40
    CERT, KEY, CA = os.environ["TEST_CERT"], os.environ["TEST_KEY"], os.environ["TEST_CA"]

    context = aiotls.create_secure_context(cert=CERT, key=KEY)
    below = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = below.getsockname()[1]

    async def before():
        asyncio.get_running_loop().slow_callback_duration = 60
        # The library has been used before the fork, random numbers and all.
        async with aiotls.create_server(lambda socket: socket.end(b"x"), secure_context=context) as server:
            await server.listen(0, "127.0.0.1")
            async with aiotls.connect("127.0.0.1", server.address().port, ca=CA) as client:
                assert await client.read() == b"x"

    async def work():
        asyncio.get_running_loop().slow_callback_duration = 60
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

        async def serve(socket):
            line = await socket.readline()
            socket.end(b"%d %s" % (os.getpid(), line))

        async with aiotls.create_server(serve, secure_context=context) as server:
            await server.listen(sock=below)
            await stop.wait()

    def client(session=None):
        # The random of each ServerHello is seen on the wire.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if session is None else session[0]
        if session is None:
            tls.load_verify_locations(cadata=CA)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        known = session[1] if session else None
        end = tls.wrap_bio(incoming, outgoing, server_hostname="localhost", session=known)
        heard = b""
        with socket.create_connection(("127.0.0.1", port)) as near:
            def step(call, *arguments):
                nonlocal heard
                while True:
                    try:
                        result = call(*arguments)
                    except ssl.SSLWantReadError:
                        near.sendall(outgoing.read())
                        data = near.recv(65536)
                        heard += data
                        incoming.write(data) if data else incoming.write_eof()
                    except ssl.SSLZeroReturnError:
                        return b""
                    else:
                        near.sendall(outgoing.read())
                        return result

            step(end.do_handshake)
            step(end.write, b"hello\\n")
            words = b""
            while more := step(end.read, 100):
                words += more
        pid, hello = words.split(maxsplit=1)
        assert hello == b"hello\\n"
        return int(pid), heard[11:43], end.session_reused, (tls, end.session)

    asyncio.run(before())
    workers = []
    for _ in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            try:
                asyncio.run(work())
            finally:
                os._exit(0)
        workers.append(pid)
    below.close()
    try:
        answers = [client() for _ in range(CLIENTS)]
        again = [client(answers[0][3]) for _ in range(CLIENTS // 2)]
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
    assert statuses == [0] * WORKERS, statuses
    assert {pid for pid, *_ in answers} <= set(workers)
    randoms = {random for _, random, *_ in answers + again}
    assert len(randoms) == CLIENTS + CLIENTS // 2, "a random number came twice"
    asyncio.run(before())
    print(sum(reused for *_, reused, _ in again))
"""


def test_workers_that_were_forked() -> None:
    """Failure model 26: pre-fork workers share a port and ticket keys, never a random number; the parent goes on."""
    assert in_process(PREFORK, named.server_ec, timeout=18.0) == "20\n"


CHILDREN = """
    import asyncio, os
    import aiotls

    CERT, KEY, CA = os.environ["TEST_CERT"], os.environ["TEST_KEY"], os.environ["TEST_CA"]

    async def echo(socket):
        async for chunk in socket:
            socket.write(chunk)

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 60
        async with aiotls.create_server(echo, cert=CERT, key=KEY) as server:
            await server.listen(0, "127.0.0.1")
            client = await aiotls.connect("127.0.0.1", server.address().port, ca=CA)
            secrets = set()
            for number in range(30):
                reading, writing = os.pipe()
                child = os.fork()
                if child == 0:
                    # What the child does to its copies must not be seen by the peers.
                    try:
                        lines = []
                        asyncio._set_running_loop(None)

                        async def inner():
                            asyncio.get_running_loop().slow_callback_duration = 60
                            async with aiotls.create_server(echo, cert=CERT, key=KEY) as own:
                                own.on("keylog", lambda line, _: lines.append(line))
                                await own.listen(0, "127.0.0.1")
                                async with aiotls.connect("127.0.0.1", own.address().port, ca=CA) as socket:
                                    socket.end(b"x")
                                    assert await socket.read() == b"x"

                        client.destroy()
                        server.close_all_connections()
                        server.close()
                        asyncio.run(inner())
                        os.write(writing, lines[-1].split()[-1])
                    finally:
                        os._exit(0)
                os.close(writing)
                secret = os.read(reading, 1000)
                os.close(reading)
                os.waitpid(child, 0)
                assert len(secret) >= 64, (number, secret)
                secrets.add(secret)
                client.write(b"%02d" % number)
                assert await client.readexactly(2) == b"%02d" % number
            assert len(secrets) == 30, "two children had the same secrets"
            client.close()
            await client.wait_closed()
        print("done")

    asyncio.run(main())
"""


def test_children_of_a_running_server() -> None:
    """Failure model 26: what thirty children do to what they inherit, even closing it, is not seen by the parent."""
    assert in_process(CHILDREN, named.server_ec, timeout=18.0) == "done\n"


LIVE = """
    import asyncio, contextlib, gc, os, socket, sys
    import aiotls

    CERT, KEY, CA = os.environ["TEST_CERT"], os.environ["TEST_KEY"], os.environ["TEST_CA"]
    kept, plain = [], []

    async def serve(socket):
        kept.append(socket)
        async for chunk in socket:
            socket.write(chunk)

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 60
        server = aiotls.create_server(serve, cert=CERT, key=KEY)
        await server.listen(0, "127.0.0.1")
        for number in range(4):
            client = await aiotls.connect("127.0.0.1", server.address().port, ca=CA)
            client.write(b"x" * 100_000)
            if number % 2:
                await client.read(1)
            kept.append(client)
        # Handshakes that end with the loop: a client's whose server is silent, and a server's whose client is.
        silent = socket.create_server(("127.0.0.1", 0))
        handshaking = aiotls.connect("127.0.0.1", silent.getsockname()[1], ca=CA)
        await handshaking.wait_for("connect")
        plain.extend((silent, socket.create_connection(("127.0.0.1", server.address().port))))
        kept.extend((server, handshaking))
        # And one that has not begun.
        kept.append(aiotls.connect("127.0.0.1", silent.getsockname()[1], ca=CA))

    how = sys.argv[1]
    if how == "run":
        asyncio.run(main())
    else:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    if how == "collect":
        kept.clear()
        gc.collect()
    elif how == "use":
        for each in kept:
            repr(each)
            for name in ("destroy", "close", "close_all_connections"):
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    getattr(each, name, lambda: None)()
    for each in plain:
        each.close()
    print("done")
"""


@pytest.mark.parametrize("how", ["run", "collect", "exit", "use"])
def test_a_loop_that_ends_under_a_server(how: str) -> None:
    """Failure model 25: live sockets on a closed loop: no hang, no warning, no "Task was destroyed"."""
    assert in_process(LIVE, named.server_ec, how) == "done\n"


def test_threads_and_garbage_collection(loop_factory: LoopFactory) -> None:
    """Failure model 28: four loops in four threads share two contexts, and garbage is collected in the callbacks."""
    context = aiotls.create_secure_context(**server_options())
    trusting = aiotls.create_secure_context(ca=named.ca.cert_pem)
    failures: list[BaseException] = []

    def collect(*_: Any) -> None:
        gc.collect(1)

    async def serve(socket: aiotls.TLSSocket) -> None:
        collect()
        await echo(socket)

    async def main() -> None:
        server = aiotls.create_server(serve, secure_context=context, sni_callback=collect)
        server.on("keylog", collect)
        async with server:
            await server.listen(0, "127.0.0.1")

            async def client() -> None:
                options: dict[str, Any] = {"secure_context": trusting, "check_server_identity": collect}
                async with aiotls.connect("localhost", port_of(server), **options, family=4) as socket:
                    socket.end(b"x")
                    assert await socket.read() == b"x"

            for _ in range(8):
                await asyncio.gather(*(client() for _ in range(10)))

    def thread() -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
