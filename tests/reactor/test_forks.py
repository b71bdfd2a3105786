"""A fork in the middle of traffic: the child has nothing of its parent's open, and does nothing to it."""

import pytest

from tests.support.pki import named
from tests.test_server_process import in_process

COMMON = """
    import asyncio, gc, os, random, signal, socket as sockets, ssl, sys, threading, time
    import aiotls

    CERT, KEY, CA = os.environ["TEST_CERT"], os.environ["TEST_KEY"], os.environ["TEST_CA"]
    context = aiotls.create_secure_context(cert=CERT, key=KEY)
    trusting = aiotls.create_secure_context(ca=CA)

    def inherited():
        \"\"\"The sockets and descriptor sets that this process has open.\"\"\"
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                what = os.readlink(f"/proc/self/fd/{name}")
            except OSError:
                continue
            if what.startswith("socket:") or "eventpoll" in what:
                found.append((int(name), what))
        return found

    def is_listening(fd):
        below = sockets.socket(fileno=fd)
        try:
            return below.getsockopt(sockets.SOL_SOCKET, sockets.SO_ACCEPTCONN) == 1
        finally:
            below.detach()

    async def echo(socket):
        async for chunk in socket:
            socket.write(chunk)
            await socket.drain()

    def to(port):
        return aiotls.connect("127.0.0.1", port, secure_context=trusting)

    async def own_server():
        \"\"\"A server and a client of the process's own.\"\"\"
        asyncio.get_running_loop().slow_callback_duration = 60
        async with aiotls.create_server(echo, secure_context=context) as server:
            await server.listen(0, "127.0.0.1")
            async with to(server.address().port) as client:
                client.end(b"x" * 100_000)
                assert await client.read() == b"x" * 100_000

    def child(*ours, dialing=0):
        \"\"\"What a child does: it looks at what it has, then lives for itself.  Never returns.

        So many connections as are `dialing` may be nobody's yet, or nobody's any more: just made, or about to close.
        \"\"\"
        status = 1
        try:
            signal.alarm(10)
            left = [one for one in inherited() if one[0] not in ours]
            listens = [what for fd, what in left if "eventpoll" in what or is_listening(fd)]
            if len(left) > dialing or listens:
                print("the child still has", left, file=sys.stderr)
                status = 2
            elif random.random() < 0.3:
                asyncio._set_running_loop(None)
                gc.collect()
                asyncio.run(own_server())
                status = 0
            else:
                status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)

    def loops_own():
        \"\"\"The descriptors of an event loop are asyncio's business.\"\"\"
        loop = asyncio.get_running_loop()
        return {loop.fileno() if hasattr(loop, "fileno") else -1, *(
            each.fileno() for each in (loop._selector, loop._ssock, loop._csock))}

    def reap(pid):
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == 0, status
"""

INSIDE = (
    COMMON
    + """
    # A child that is forked in a listener, in the midst of a tick, while four connections move 4 MiB each way.
    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 60
        ours = loops_own()
        children = []
        chunks = 0

        def fork(_):
            nonlocal chunks
            chunks += 1
            if chunks % 3 == 1 and len(children) < 12:
                pid = os.fork()
                if pid == 0:
                    child(*ours)
                children.append(pid)

        async with aiotls.create_server(echo, secure_context=context) as server:
            await server.listen(0, "127.0.0.1")

            async def one(number):
                block = random.Random(number).randbytes(2**22)
                received = bytearray()
                client = await to(server.address().port)
                client.on("data", fork)
                client.on("data", received.extend)
                for start in range(0, len(block), 50_000):
                    client.write(block[start : start + 50_000])
                    await client.drain()
                client.end()
                await client.wait_closed()
                assert received == block
                assert not client.truncated

            await asyncio.gather(*(one(number) for number in range(4)))
        assert len(children) == 12, len(children)
        for pid in children:
            reap(pid)
        print("done")

    asyncio.run(main())
"""
)

BESIDE = (
    COMMON
    + """
    # Two threads run loops, full of handshakes and of bulk; the main thread forks whenever it likes.
    stop = threading.Event()
    failures = []
    moved = [0, 0]

    async def traffic(number):
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 60
        known.update(loops_own())
        block = bytes(2**20)
        async with aiotls.create_server(echo, secure_context=context) as server:
            await server.listen(0, "127.0.0.1")

            async def bulk():
                async with to(server.address().port) as client:
                    while not stop.is_set():
                        client.write(block)
                        assert await client.readexactly(len(block)) == block
                        moved[number] += 1

            async def handshakes():
                while not stop.is_set():
                    async with to(server.address().port) as client:
                        client.end(b"x")
                        assert await client.read() == b"x"

            ready.release()
            await asyncio.gather(bulk(), bulk(), handshakes(), handshakes())

    def thread(number):
        try:
            asyncio.run(traffic(number))
        except BaseException as error:
            failures.append(error)
            ready.release()

    known = set()
    ready = threading.Semaphore(0)
    threads = [threading.Thread(target=thread, args=(number,)) for number in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        ready.acquire()
    choose = random.Random(11)
    try:
        while min(moved) < 2 and not failures:
            time.sleep(0.001)
        for _ in range(60):
            pid = os.fork()
            if pid == 0:
                child(*known, dialing=8)
            reap(pid)
            # Not always at the same place of the others' work.
            for _ in range(choose.randrange(2000)):
                pass
    finally:
        stop.set()
        for each in threads:
            each.join()
    assert not failures, failures
    print("done")
"""
)

PSK = (
    COMMON
    + """
    # A function for pre-shared keys is called in the midst of a handshake, and forks.
    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 60
        ours = loops_own()
        key = b"k" * 32

        def ask(socket, identity):
            pid = os.fork()
            if pid == 0:
                child(*ours)
            reap(pid)
            return key

        server = aiotls.create_server(echo, psk_callback=ask, ciphers="PSK", max_version="TLSv1.2")
        async with server:
            await server.listen(0, "127.0.0.1")
            options = {
                "ciphers": "PSK",
                "max_version": "TLSv1.2",
                "psk_callback": lambda hint: aiotls.PSK("someone", key),
                "check_server_identity": lambda *_: None,
                "ca": CA,
            }
            async with aiotls.connect("127.0.0.1", server.address().port, **options) as client:
                client.end(b"hello")
                assert await client.read() == b"hello"
        print("done")

    asyncio.run(main())
"""
)

ENDS = (
    COMMON
    + """
    # A child that lives on does not keep open what its parent closes.
    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 60
        accepted = asyncio.Queue()
        server = aiotls.create_server(accepted.put_nowait, secure_context=context)
        await server.listen(0, "127.0.0.1")
        port = server.address().port
        peers = []
        for _ in range(4):
            peer = await asyncio.open_connection("127.0.0.1", port, ssl=ssl_context, server_hostname="localhost")
            peers.append(peer)
        sockets = [await accepted.get() for _ in range(4)]
        alive, end = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(end)
                os.read(alive, 1)
            finally:
                os._exit(0)
        os.close(alive)
        sockets[0].close()
        sockets[1].destroy()
        sockets[2].reset_and_destroy()
        sockets[3].end(b"x" * 1000)
        async with asyncio.timeout(5):
            assert await peers[0][0].read() == b""
            assert await peers[1][0].read() == b""
            try:
                await peers[2][0].read()
            except ConnectionResetError:
                pass
            else:
                raise AssertionError("no reset")
            assert await peers[3][0].read() == b"x" * 1000
        server.close()
        server.close_all_connections()
        await server.wait_closed()
        # Nobody listens any more: the port is free.
        for _ in range(2):
            again = aiotls.create_server(secure_context=context)
            await again.listen(port, "127.0.0.1")
            again.close()
            await again.wait_closed()
        try:
            sockets_below = sockets_module.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            pass
        else:
            raise AssertionError("somebody listens")
        for _, writer in peers:
            writer.transport.abort()
        await asyncio.sleep(0)
        os.close(end)
        reap(pid)
        print("done")

    sockets_module = sockets
    ssl_context = ssl.create_default_context(cadata=CA)
    asyncio.run(main())
"""
)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(INSIDE, id="in a listener"),
        pytest.param(BESIDE, id="beside busy loops"),
        pytest.param(PSK, id="in a handshake"),
        pytest.param(ENDS, id="and it lives on"),
    ],
)
def test_fork(program: str) -> None:
    """Failure model 26: a child has none of its parent's descriptors, disturbs none of them, and can serve itself."""
    assert in_process(program, named.server_ec, timeout=18.0) == "done\n"
