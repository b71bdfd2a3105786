"""What a server keeps of its connections when they are gone: nothing."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.pki import named

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="the system does not tell the resident size there"
)

COMMON = """
    import asyncio, contextlib, ctypes, gc, os, socket as sockets, struct
    import aiotls

    def resident():
        gc.collect()
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what is free is not what is kept
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    CERT, KEY, CA = os.environ["TEST_CERT"], os.environ["TEST_KEY"], os.environ["TEST_CA"]

    async def quiet(server):
        while server.get_connections():
            await asyncio.sleep(0)
"""

CERTIFICATES = (
    COMMON
    + """
    async def main():
        def accept(socket):
            for _ in range(5):
                certificate = socket.get_peer_certificate(True)
                certificate.to_dict()
                certificate.subject, certificate.issuer, certificate.subjectaltname, certificate.pubkey
                socket.get_peer_x509_certificate(), socket.get_x509_certificate()
            socket.end(b"x")

        def check(socket, certificate):
            certificate.to_dict()

        server = aiotls.create_server(
            accept, cert=CERT, key=KEY, ca=CA, request_cert=True, check_client_identity=check)
        context = aiotls.create_secure_context(cert=CERT, key=KEY, ca=CA)
        async with server:
            await server.listen(0, "127.0.0.1")

            async def client():
                async with aiotls.connect("127.0.0.1", server.address().port, secure_context=context) as socket:
                    assert await socket.read() == b"x"

            async def many(count):
                for _ in range(count // 20):
                    await asyncio.gather(*(client() for _ in range(20)))
                await quiet(server)

            await many(200)
            size, open_ones = resident(), descriptors()
            await many(600)
            print(resident() - size, descriptors() - open_ones, len(asyncio.all_tasks()))

    asyncio.run(main())
"""
)

FAILURES = (
    COMMON
    + """
    async def main():
        failed = 0

        def count(error, socket):
            nonlocal failed
            failed += 1

        server = aiotls.create_server(lambda socket: socket.end(b"x"), cert=CERT, key=KEY)
        server.on("tls_client_error", count)
        context = aiotls.create_secure_context(ca=CA)
        doubting = aiotls.create_secure_context(ca=[])
        async with server:
            await server.listen(0, "127.0.0.1")
            port = server.address().port

            async def client(number):
                if number % 5 == 0:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write((b"junk and more of it", b"", b"\\x16\\x03\\x01\\x00\\x05\\x01")[number // 5 % 3])
                    if number % 2:
                        linger = struct.pack("ii", 1, 0)
                        writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)
                    writer.close()
                    with contextlib.suppress(ConnectionError):
                        await writer.wait_closed()
                elif number % 5 == 1:
                    with contextlib.suppress(aiotls.VerificationError):
                        await aiotls.connect("127.0.0.1", port, secure_context=doubting)
                else:
                    async with aiotls.connect("127.0.0.1", port, secure_context=context) as socket:
                        assert await socket.read() == b"x"

            async def many(count):
                for start in range(0, count, 50):
                    await asyncio.gather(*(client(number) for number in range(start, start + 50)))
                await quiet(server)

            await many(500)
            size, open_ones, before = resident(), descriptors(), failed
            await many(2000)
            assert failed - before == 800, failed - before
            print(resident() - size, descriptors() - open_ones, len(asyncio.all_tasks()))

    asyncio.run(main())
"""
)

SLOW = (
    COMMON
    + """
    PEERS, SIZE = 50, 64 * 2**20

    async def main():
        waiting = 0
        ended = []

        async def accept(socket):
            nonlocal waiting
            block, sent, full = bytes(2**16), 0, False
            try:
                while sent < SIZE:
                    if not socket.write(block):
                        if not full:
                            full = True
                            waiting += 1
                        await socket.drain()
                    sent += len(block)
                socket.end()
            except (aiotls.StateError, ConnectionError):
                ended.append(sent)

        server = aiotls.create_server(accept, cert=CERT, key=KEY)
        server.on("error", print)
        context = aiotls.create_secure_context(ca=CA)
        async with server:
            await server.listen(0, "127.0.0.1")
            clients = [
                await aiotls.connect("127.0.0.1", server.address().port, secure_context=context)
                for _ in range(PEERS)
            ]
            size = resident()
            for client in clients:
                client.pause()
            while waiting < PEERS:
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
            grown = resident() - size
            first = clients[0].resume()
            total = 0
            async for chunk in first:
                total += len(chunk)
            assert total == SIZE, total
            for client in clients:
                client.destroy()
            await quiet(server)
            while len(ended) < PEERS - 1:
                await asyncio.sleep(0)
            assert max(ended) < SIZE
            print(grown, 0, len(asyncio.all_tasks()))

    asyncio.run(main())
"""
)


def measured(program: str) -> int:
    """Runs a program; returns by how many bytes it grew, when it kept no descriptor and no task."""
    identity = named.ca.issue(["localhost"], ip_addresses=["127.0.0.1"], key="ec")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TEST_CERT": identity.chain_pem.decode(),
            "TEST_KEY": identity.key_pem.decode(),
            "TEST_CA": named.ca.cert_pem.decode(),
        },
        capture_output=True,
        text=True,
        timeout=19,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    size, descriptors, tasks = map(int, done.stdout.split())
    assert descriptors == 0
    assert tasks == 1
    return size


def test_cve_2025_59464() -> None:
    """CVE-2025-59464: 600 client certificates, each looked at in every way, five times."""
    assert measured(CERTIFICATES) < 2**20


def test_connections_that_fail() -> None:
    """Failure model 27: 2,000 connections, two fifths of which are broken in one way or the other."""
    assert measured(FAILURES) < 2**20


def test_fifty_slow_readers() -> None:
    """Failure model 23: to each of them 64 MiB are written, by a server that waits for "drain"; one gets it all."""
    assert measured(SLOW) < 64 * 2**20
