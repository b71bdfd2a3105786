"""Many peers that do nothing, in the middle of a handshake and behind it: the others are served meanwhile."""

import asyncio
import contextlib
import socket
import ssl
from typing import Any

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, until
from tests.support.pki import named
from tests.support.servers import echo, port_of, serving


async def connect(server: aiotls.Server) -> socket.socket:
    near = socket.socket()
    near.setblocking(False)
    await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", port_of(server)))
    return near


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=named.ca.cert_pem.decode())
    return context


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


async def served(server: aiotls.Server, context: aiotls.SecureContext) -> None:
    options: dict[str, Any] = {"secure_context": context, "servername": "localhost"}
    async with aiotls.connect("127.0.0.1", port_of(server), **options) as client:
        client.end(b"x")
        assert await client.read() == b"x"


def test_slowloris(run: Run) -> None:
    """Failure model 1, F4: 300 peers stall at every prefix of a ClientHello; each is told of once, and closed."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        hello = client_hello()
        context = aiotls.create_secure_context(ca=named.ca.cert_pem)
        errors: list[tuple[Any, aiotls.TLSSocket]] = []
        count = 300
        async with serving(echo, handshake_timeout=2.0) as server:
            server.on("tls_client_error", lambda *arguments: errors.append(arguments))
            stalled = await asyncio.gather(*(connect(server) for _ in range(count)))
            for number, near in enumerate(stalled):
                await loop.sock_sendall(near, hello[: number % len(hello)])
            await until(lambda: server.get_connections() == count)
            for _ in range(20):
                await served(server, context)
            await until(lambda: len(errors) >= count)
            await until(lambda: not server.get_connections())
            assert len({socket for _, socket in errors}) == len(errors) == count
            assert {error.code for error, _ in errors} == {"ERR_TLS_HANDSHAKE_TIMEOUT"}
            for near in stalled:
                assert await loop.sock_recv(near, 1) == b""
                near.close()
            await served(server, context)

    run(main)


def test_idle_peers(run: Run) -> None:
    """Failure model 2: 200 that say nothing stay, until their user asks otherwise or the peer goes."""

    async def main() -> None:
        trusting = client_context()
        context = aiotls.create_secure_context(ca=named.ca.cert_pem)
        accepted: list[aiotls.TLSSocket] = []
        closed: list[bool] = []

        def accept(socket: aiotls.TLSSocket) -> None:
            accepted.append(socket)
            socket.on("error", lambda _: None)
            socket.on("close", closed.append)
            socket.on("data", socket.write)

        count = 200
        async with serving(accept, handshake_timeout=1.0, keep_alive=True, keep_alive_initial_delay=30.0) as server:
            peers = []
            for _ in range(count):
                peer = BarePeer(await connect(server), trusting, server=False)
                await peer.handshake()
                peers.append(peer)
            await until(lambda: len(accepted) == count)
            for _ in range(20):
                await served(server, context)
            await until(lambda: server.get_connections() == count)
            await peers[7].write(b"still here")
            assert await peers[7].read() == b"still here"
            for number, socket in enumerate(accepted[:count]):
                if number % 2:
                    socket.set_timeout(0.01, socket.destroy)
            await until(lambda: server.get_connections() == count // 2)
            for number, peer in enumerate(peers):
                if number % 2:
                    assert await peer.read() == b"", "closed in order"
                    peer.end.close()
                else:
                    peer.reset()
            await until(lambda: not server.get_connections())
            await until(lambda: len(closed) >= count + 20)
            await served(server, context)

    run(main)
