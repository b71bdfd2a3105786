"""A server and its process: threads and loops, fork, running out of descriptors, and fairness."""

import asyncio
import gc
import itertools
import os
import re
import signal
import socket as sockets
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import LoopFactory, Run
from tests.support.pairs import client_options, server_options, until
from tests.support.pki import Identity, named
from tests.support.servers import echo, port_of, serving, to

ROOT = Path(__file__).parent.parent


def in_process(program: str, identity: Identity, *arguments: str, timeout: float = 15.0) -> str:
    """Runs a program in its own process, with warnings as errors; returns what it printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TEST_CERT": identity.chain_pem.decode(),
        "TEST_KEY": identity.key_pem.decode(),
        "TEST_CA": named.ca.cert_pem.decode(),
    }
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # How long a step takes is the machine's affair, though asyncio has a word on it.
    words = (line for line in done.stderr.splitlines() if not re.fullmatch("Executing <.*> took .* seconds", line))
    assert "\n".join(words) == ""
    return done.stdout


def test_several_servers_on_one_loop(run: Run) -> None:
    """Each with its own certificate and its own clients; closing one does not disturb another."""

    async def main() -> None:
        async with (
            serving(lambda socket: socket.end(b"first")) as first,
            serving(
                lambda socket: socket.end(b"second"), cert=named.server.chain_pem, key=named.server.key_pem
            ) as second,
            serving(echo) as third,
        ):
            kept = await to(third)
            for server, words, identity in (
                (first, b"first", named.server_ec),
                (second, b"second", named.server),
                (first, b"first", named.server_ec),
            ):
                async with to(server) as client:
                    assert client.get_peer_certificate().raw == identity.der  # type: ignore[union-attr]
                    assert await client.read() == words
            first.close()
            await first.wait_closed()
            async with to(second) as client:
                assert await client.read() == b"second"
            kept.end(b"third")
            assert await kept.read() == b"third"
            await kept.wait_closed()

    run(main)


def test_loops_in_threads_share_a_context(loop_factory: LoopFactory) -> None:
    """Two loops in two threads, one SecureContext each for clients and servers, handshakes in all directions."""
    server_context = aiotls.create_secure_context(**server_options())
    client_context = aiotls.create_secure_context(ca=named.ca.cert_pem)
    ports: dict[int, int] = {}
    ready = threading.Barrier(2, timeout=15)
    failures: list[BaseException] = []

    async def main(number: int) -> None:
        async with aiotls.create_server(echo, secure_context=server_context) as server:
            await server.listen(0, "127.0.0.1")
            ports[number] = port_of(server)
            await asyncio.to_thread(ready.wait)

            async def client(port: int) -> None:
                options: dict[str, Any] = {"secure_context": client_context, "servername": "localhost"}
                async with aiotls.connect("127.0.0.1", port, **options) as socket:
                    socket.end(b"x" * 50_000)
                    assert await socket.read() == b"x" * 50_000

            await asyncio.gather(*(client(port) for port in ports.values() for _ in range(20)))
            await asyncio.to_thread(ready.wait)

    def thread(number: int) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main(number))
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []


def test_loops_one_after_the_other(loop_factory: LoopFactory) -> None:
    """A closed loop with everything on it forgotten does not disturb the next one (its descriptors come again)."""

    async def main() -> None:
        async with serving(echo) as server, to(server) as client:
            client.end(b"x")
            assert await client.read() == b"x"

    for _ in range(5):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())


def test_fork_after_listen(run: Run) -> None:
    """A child that inherits everything, and even runs a loop of its own, does not disturb its parent."""

    async def main() -> None:
        async with serving(echo) as server:
            client = await to(server)
            client.write(b"before")
            assert await client.readexactly(6) == b"before"
            for behaviour in ("exit", "collect", "serve"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test runner
                    child = os.fork()
                if child == 0:
                    _child(behaviour)
                _, status = os.waitpid(child, 0)  # noqa: ASYNC222 - no thread beside a fork
                assert os.waitstatus_to_exitcode(status) == 0, behaviour
                client.write(b"after " + behaviour.encode())
                assert await client.readexactly(6 + len(behaviour)) == b"after " + behaviour.encode()
                async with to(server) as other:
                    other.end(b"new")
                    assert await other.read() == b"new"
            client.close()
            await client.wait_closed()

    run(main)


def _child(behaviour: str) -> None:
    """What the forked child does; it never returns."""
    status = 1
    try:
        signal.alarm(10)
        if behaviour == "collect":
            gc.collect()
        elif behaviour == "serve":
            asyncio._set_running_loop(None)

            async def main() -> None:
                async with serving(echo) as server, to(server) as client:
                    client.end(b"child")
                    assert await client.read() == b"child"

            asyncio.run(main())
        status = 0
    finally:
        os._exit(status)


def test_out_of_descriptors() -> None:
    """EMFILE: accepting pauses, is reported (not in a storm), and goes on when descriptors are free again."""
    output = in_process(
        """
        import asyncio, os, resource, time
        import aiotls

        async def echo(socket):
            async for chunk in socket:
                socket.write(chunk)

        async def main():
            errors = []
            server = aiotls.create_server(echo, cert=os.environ["TEST_CERT"], key=os.environ["TEST_KEY"])
            server.on("error", errors.append)
            context = aiotls.create_secure_context(ca=os.environ["TEST_CA"])
            async with server:
                await server.listen(0, "127.0.0.1")
                port = server.address().port
                good = await aiotls.connect("127.0.0.1", port, secure_context=context)
                limit = 40
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
                plain = []
                hoard = []
                while True:
                    try:
                        hoard.append(os.open("/dev/null", os.O_RDONLY))
                    except OSError:
                        break
                os.close(hoard.pop())
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                plain.append(writer)
                while not errors:
                    await asyncio.sleep(0.01)
                used = time.process_time()
                await asyncio.sleep(0.4)
                used = time.process_time() - used
                assert used < 0.3, f"busy while it cannot accept: {used}"
                assert len(errors) <= 4, len(errors)
                assert errors[0].errno == 24, errors
                good.write(b"still served")
                assert await good.readexactly(12) == b"still served"
                for fd in hoard:
                    os.close(fd)
                async with asyncio.timeout(3):
                    async with aiotls.connect("127.0.0.1", port, secure_context=context) as client:
                        client.write(b"again")
                        assert await client.readexactly(5) == b"again"
                for writer in plain:
                    writer.close()
                good.close()
                await good.wait_closed()
            print("done")

        asyncio.run(main())
        """,
        named.server_ec,
    )
    assert output == "done\n"


def test_leaving_with_everything_open() -> None:
    """The interpreter ends with a live server and live sockets: no hang, no warning, no crash."""
    output = in_process(
        """
        import asyncio, os, sys
        import aiotls

        kept = []

        async def main():
            server = aiotls.create_server(kept.append, cert=os.environ["TEST_CERT"], key=os.environ["TEST_KEY"])
            await server.listen(0, "127.0.0.1")
            for _ in range(3):
                client = await aiotls.connect("127.0.0.1", server.address().port, ca=os.environ["TEST_CA"])
                client.write(b"x" * 100_000)
                kept.append(client)
            kept.append(server)
            print("done")

        import warnings
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(main())
        """,
        named.server_ec,
    )
    assert output == "done\n"


def test_one_busy_connection_does_not_starve_the_others(run: Run) -> None:
    """While one client pulls and pushes as fast as it can, twenty others get their answers in between."""

    async def main() -> None:
        async with serving(echo) as server:
            moved = 0

            async def bulk() -> None:
                nonlocal moved
                client = await to(server)
                block = bytes(2**18)

                async def push() -> None:
                    while True:
                        client.write(block)
                        await client.drain()

                pushing = asyncio.create_task(push())
                try:
                    async for chunk in client:
                        moved += len(chunk)
                finally:
                    pushing.cancel()
                    client.destroy()

            async def small(number: int) -> list[int]:
                async with to(server) as client:
                    between = []
                    for _ in range(20):
                        before = moved
                        client.write(b"%04d" % number)
                        assert await client.readexactly(4) == b"%04d" % number
                        between.append(moved - before)
                    return between

            busy = asyncio.create_task(bulk())
            await until(lambda: moved >= 2**20)
            between = await asyncio.gather(*(small(number) for number in range(20)))
            assert not busy.done()
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)
            # An answer is one trip through the loop; a starved one would wait for tens of megabytes.
            assert max(max(each) for each in between) < 64 * 2**20
            assert sorted(itertools.chain(*between))[len(between) * 10] < 16 * 2**20

    run(main)


def test_a_crowd_in_handshake_does_not_stop_data(run: Run) -> None:
    """Two hundred clients at once, and every one of them is served."""

    async def main() -> None:
        async with serving(echo) as server:
            context = aiotls.create_secure_context(ca=client_options()["ca"])

            async def one(number: int) -> None:
                options: dict[str, Any] = {"secure_context": context}
                async with aiotls.connect("127.0.0.1", port_of(server), **options) as client:
                    client.write(b"%03d" % number)
                    assert await client.readexactly(3) == b"%03d" % number

            await asyncio.gather(*(one(number) for number in range(200)))

    run(main)


def test_reset_before_accept(run: Run) -> None:
    """ECONNABORTED and its like: a client that is gone before it is accepted harms nobody."""

    async def main() -> None:
        async with serving(echo) as server:
            errors: list[Any] = []
            server.on("error", errors.append)
            server.on("tls_client_error", lambda error, _: errors.append(error))
            for _ in range(20):
                gone = sockets.create_connection(("127.0.0.1", port_of(server)))
                gone.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                gone.close()
            async with to(server) as client:
                client.end(b"x")
                assert await client.read() == b"x"
            assert all(getattr(error, "code", None) == "ECONNRESET" for error in errors)

    run(main)


@pytest.mark.parametrize("tasks", [2, 8])
def test_no_wake_up_is_lost(run: Run, tasks: int) -> None:
    """Requests and answers in lockstep over several connections, written from other tasks and from timers."""

    async def main() -> None:
        async with serving(echo) as server:
            loop = asyncio.get_running_loop()

            async def one(number: int) -> None:
                async with to(server) as client:
                    for turn in range(150):
                        message = turn.to_bytes(2, "big")
                        way = (turn + number) % 4
                        if way == 0:
                            client.write(message)
                        elif way == 1:
                            loop.call_soon(client.write, message)
                        elif way == 2:
                            loop.call_later(0, client.write, message)
                        else:
                            loop.call_soon(client.write, message[:1])
                            loop.call_soon(client.write, message[1:])
                        assert await client.readexactly(2) == message

            await asyncio.gather(*(one(number) for number in range(tasks)))

    run(main)
