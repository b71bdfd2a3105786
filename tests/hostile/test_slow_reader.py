"""A peer that reads slowly costs patience, not memory."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.pki import named

ROOT = Path(__file__).parent.parent.parent
MEBIBYTE = 2**20

CHILD = """
import asyncio, hashlib, os, sys
import aiotls

SIZE = 256 * 2**20
BLOCK = os.urandom(2**16) * 16


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def pull(socket):
    # No faster than the test wants: every now and then the reader sleeps, and the sender has to wait.
    digest = hashlib.sha256()
    count = 0
    async for chunk in socket:
        digest.update(chunk)
        count += len(chunk)
        if count // 2**22 != (count - len(chunk)) // 2**22:
            await asyncio.sleep(0.01)
    return digest.hexdigest(), count


async def push_awaiting(socket):
    for _ in range(SIZE // len(BLOCK)):
        socket.write(BLOCK)
        await socket.drain()
    socket.end()


async def push_with_events(socket):
    done = asyncio.get_running_loop().create_future()
    left = SIZE // len(BLOCK)

    def more():
        nonlocal left
        while left:
            left -= 1
            if not socket.write(BLOCK):
                return
        if not done.done():
            socket.end()
            done.set_result(None)

    socket.on("drain", more)
    more()
    await done


async def main():
    style, direction = sys.argv[1:]
    push = {"await": push_awaiting, "event": push_with_events}[style]
    expected = hashlib.sha256()
    for _ in range(SIZE // len(BLOCK)):
        expected.update(BLOCK)
    results = asyncio.Queue()

    async def listener(socket):
        if direction == "down":
            await push(socket)
        else:
            results.put_nowait(await pull(socket))

    server = aiotls.create_server(listener, cert=os.environ["TEST_CERT"], key=os.environ["TEST_KEY"])
    async with server:
        await server.listen(0, "127.0.0.1")
        async with aiotls.connect("127.0.0.1", server.address().port, ca=os.environ["TEST_CA"]) as client:
            peak = start = resident()

            async def watch():
                nonlocal peak
                while True:
                    peak = max(peak, resident())
                    await asyncio.sleep(0.002)

            watching = asyncio.create_task(watch())
            if direction == "down":
                results.put_nowait(await pull(client))
            else:
                await push(client)
            digest, count = await results.get()
            watching.cancel()
    assert count == SIZE, count
    assert digest == expected.hexdigest()
    print(peak - start)


asyncio.run(main())
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the system does not tell the resident size there")
@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("style", ["await", "event"])
def test_256_mebibytes(style: str, direction: str) -> None:
    """256 MiB from or to the server, in its own process: less than 64 MiB above the start, and every byte right."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), style, direction],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TEST_CERT": named.server_ec.chain_pem.decode(),
            "TEST_KEY": named.server_ec.key_pem.decode(),
            "TEST_CA": named.ca.cert_pem.decode(),
        },
        capture_output=True,
        text=True,
        timeout=19,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * MEBIBYTE
