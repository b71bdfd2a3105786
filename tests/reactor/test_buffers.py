"""What connections keep in memory: nothing while they are idle, and never more than the water marks allow."""

import asyncio
import os

import pytest

import aiotls
from tests.conftest import Run
from tests.reactor.remote import pattern
from tests.support.pairs import KINDS, tls_pair, until
from tests.support.pki import named
from tests.test_server_memory import COMMON
from tests.test_server_process import in_process

SHARE = {"reactor": 2**17, "transport": 2**18, "streams": 2**18}
"""By wire: how much of the data of one connection it takes at once."""

measurable = pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="the system does not tell the resident size there"
)

ACCEPT = (
    COMMON
    + """
    import sys, tracemalloc

    context = aiotls.create_secure_context(cert=CERT, key=KEY)

    async def accept(wire, found, **options):
        \"\"\"Listens; the sockets of those that connect, over one of the wires, get into `found`.\"\"\"
        asyncio.get_running_loop().slow_callback_duration = 60
        options |= {"secure_context": context}
        if wire == "reactor":
            server = aiotls.create_server(found.append, **options)
            server.on("error", print)
            await server.listen(0, "127.0.0.1")
            return server, server.address().port

        def wrap(stream):
            found.append(aiotls.TLSSocket(stream, is_server=True, **options))

        if wire == "transport":
            class Opening(asyncio.Protocol):
                def connection_made(self, transport):
                    wrap(transport)

            server = await asyncio.get_running_loop().create_server(Opening, "127.0.0.1", 0)
        else:
            server = await asyncio.start_server(lambda *pair: wrap(pair), "127.0.0.1", 0)
        return server, server.sockets[0].getsockname()[1]

    def traced():
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
"""
)

IDLE = (
    ACCEPT
    + """
    COUNT = 90
    BLOCK = os.urandom(100_000)

    async def main():
        (wire,) = sys.argv[1:]
        found = []
        server, port = await accept(wire, found)
        trusting = aiotls.create_secure_context(ca=CA)

        async def connect(count):
            clients = [await aiotls.connect("127.0.0.1", port, secure_context=trusting) for _ in range(count)]
            while len(found) < len(clients):
                await asyncio.sleep(0)
            await asyncio.gather(*found) if wire != "reactor" else None
            return clients

        async def move(one, other, style):
            one.write(BLOCK)
            if style == "await":
                for _ in range(len(BLOCK) // 1000):
                    await other.readexactly(1000)
            elif style == "pause":
                other.pause()
                await asyncio.sleep(0)
                one.write(BLOCK)
                await asyncio.sleep(0)
                other.resume()
                await other.readexactly(2 * len(BLOCK))
            else:
                done = asyncio.get_running_loop().create_future()
                count = 0

                def data(chunk):
                    nonlocal count
                    count += len(chunk)
                    if count == len(BLOCK):
                        done.set_result(None)

                other.on("data", data)
                await done
                other.off("data", data)
            await one.drain()

        async def traffic(pairs):
            # One after the other: what is needed while it lasts is needed once.
            for number, (near, far) in enumerate(pairs):
                style = ("await", "event", "pause")[number % 3]
                await move(near, far, style)
                await move(far, near, style)

        clients = await connect(COUNT)
        # Once around with a few, so that what all share is there.
        pairs = list(zip(clients, found))
        await traffic(pairs[:10])
        tracemalloc.start()
        python, size = traced(), resident()
        await traffic(pairs[10:])
        for _ in range(5):
            await asyncio.sleep(0)
        ends = 2 * (COUNT - 10)
        print((traced() - python) // ends, (resident() - size) // ends)
        for each in (*clients, *found):
            each.destroy()
        server.close()
        for _ in range(20):
            await asyncio.sleep(0)

    asyncio.run(main())
"""
)


@measurable
@pytest.mark.parametrize("wire", ["reactor", "transport", "streams"])
def test_idle_connections(wire: str) -> None:
    """After traffic in both directions, in each style, an end keeps less than half a record, whatever carried it."""
    python, resident = map(int, in_process(IDLE, named.server_ec, wire, timeout=18.0).split())
    assert python < 4096
    assert resident < 8192


FLOODER = """
    import select, socket, ssl, sys

    port, count = map(int, sys.argv[1:])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    ends = []
    for _ in range(count):
        end = context.wrap_socket(socket.create_connection(("127.0.0.1", port)))
        end.setblocking(False)
        ends.append(end)
    block = bytes(2**16)
    sent = 0
    writable = ends
    # Until the system has taken nothing for a while.
    while writable:
        for end in writable:
            try:
                sent += end.send(block)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
        writable = select.select([], ends, [], 0.3)[1]
    print(sent, flush=True)
    sys.stdin.read()
"""

FLOODED = (
    ACCEPT
    + f"""
    FLOODER = {FLOODER!r}
"""
    + """
    import textwrap

    COUNT = 40

    async def main():
        wire, state = sys.argv[1:]
        found = []
        server, port = await accept(wire, found, pause_on_connect=state == "paused")
        warm = await aiotls.connect("127.0.0.1", port, ca=CA)
        while not found:
            await asyncio.sleep(0)
        warm.write(bytes(2**20))
        found.pop().destroy()
        warm.destroy()
        size = resident()
        flooder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(FLOODER), str(port), str(COUNT),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        sent = int(await flooder.stdout.readline())
        assert len(found) == COUNT
        held = max(each.readable_length for each in found)
        print(sent // COUNT, held, (resident() - size) // COUNT)
        # They are stopped, not stuck.
        for each in found:
            reading = asyncio.ensure_future(each.read(1))
            await asyncio.sleep(0)
            if state == "paused":
                each.resume()
            assert await reading == bytes(1)
            each.destroy()
        flooder.stdin.close()
        await flooder.wait()
        server.close()
        for _ in range(20):
            await asyncio.sleep(0)

    asyncio.run(main())
"""
)


@measurable
@pytest.mark.parametrize("state", ["paused", "unread"])
@pytest.mark.parametrize("wire", SHARE)
def test_readers_against_a_flood(wire: str, state: str) -> None:
    """Failure model 23: a reader that is paused, or that nobody reads from, holds a water mark and a share at most."""
    sent, held, resident = map(int, in_process(FLOODED, named.server_ec, wire, state, timeout=18.0).split())
    mark, share = 65536, SHARE[wire]
    assert sent > 2 * (mark + share), "that was no flood"
    assert held <= mark + share
    # Besides what is held: ciphertext that was taken and not decrypted, and what a connection is.
    assert resident < mark + 2 * share + 100_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1000, 2**16, 2**20])
def test_a_writer_that_obeys(run: Run, kind: str, chunk: int) -> None:
    """It stops at False: a water mark and one chunk is the most that waits, and drain comes once it has left."""

    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            server.pause()
            block = pattern(chunk)
            written = 0
            for _ in range(10_000):
                more = client.write(block)
                written += chunk
                assert client.writable_length < client.high_water_mark + chunk
                assert more is (client.writable_length < client.high_water_mark)
                if not more and not await drained(client):
                    break
            else:
                raise AssertionError("the peer reads nothing and it still goes on")
            server.resume()
            assert await server.readexactly(written) == block * (written // chunk)
            await client.drain()
            assert client.writable_length == 0

    async def drained(client: aiotls.TLSSocket) -> bool:
        """Whether what waits leaves within some turns."""
        waiting = asyncio.ensure_future(client.drain())
        for _ in range(50):
            await asyncio.sleep(0)
        if waiting.done():
            return True
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return False

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_that_does_not(run: Run, kind: str) -> None:
    """All that it wrote waits, and no more; nothing is lost, and the end comes behind it."""

    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            server.pause()
            blocks = [pattern(2**18 + number) for number in range(40)]
            total = 0
            for block in blocks:
                client.write(block)
                total += len(block)
                assert client.writable_length <= total
                await asyncio.sleep(0)
            assert client.writable_length > total // 8
            client.end()
            server.resume()
            assert await server.read() == b"".join(blocks)
            await until(lambda: client.writable_length == 0)

    run(main)
