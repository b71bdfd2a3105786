"""A server that runs out of descriptors."""

import sys
from pathlib import Path

import pytest

from tests.support.pki import named
from tests.test_server_process import in_process

CROWDED = """
    import asyncio, errno, os, resource, time
    import aiotls

    CLIENTS = 200

    async def main():
        reports = []
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 60
        loop.set_exception_handler(lambda _loop, context: reports.append(context))
        served = 0

        async def serve(socket):
            nonlocal served
            served += 1
            await socket.read(1)
            socket.end()

        server = aiotls.create_server(serve, cert=os.environ["TEST_CERT"], key=os.environ["TEST_KEY"])
        async with server:
            await server.listen(path="crowded.sock")
            child = await asyncio.create_subprocess_exec(
                os.environ["TEST_PYTHON"], "-c", os.environ["TEST_CROWD"], str(CLIENTS),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
            while not reports:
                await asyncio.sleep(0.01)
            busy = time.process_time()
            await asyncio.sleep(0.5)
            busy = time.process_time() - busy
            assert busy < 0.4, f"a busy loop: {busy}"
            assert len(reports) <= 4, reports
            assert all(report["exception"].errno == errno.EMFILE for report in reports), reports
            assert all(report["exception"].code == "EMFILE" for report in reports), reports
            assert served < 64
            child.stdin.write(b"go")  # the clients that are served leave, and so on to the last
            await child.stdin.drain()
            async with asyncio.timeout(12):
                while served < CLIENTS:
                    await asyncio.sleep(0.01)
            assert await child.wait() == 0
            child.stdin.close()
        print("served", served)

    asyncio.run(main())
"""
CROWD = """
import os, socket, ssl, sys, threading

context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
leave = threading.Event()

def client():
    below = socket.socket(socket.AF_UNIX)
    below.connect("crowded.sock")
    with context.wrap_socket(below) as connection:
        leave.wait()
        connection.sendall(b"x")
        while connection.recv(1):
            pass

threads = [threading.Thread(target=client) for _ in range(int(sys.argv[1]))]
for each in threads:
    each.start()
os.read(0, 2)
leave.set()
for each in threads:
    each.join()
"""


def test_more_clients_than_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure model 21: EMFILE in accept pauses accepting, is told of, keeps no core busy, and everybody is served."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEST_PYTHON", sys.executable)
    monkeypatch.setenv("TEST_CROWD", CROWD)
    assert in_process(CROWDED, named.server_ec, timeout=18.0) == "served 200\n"
