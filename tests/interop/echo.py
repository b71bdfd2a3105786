"""An aiotls server that echoes, for peers to talk to; it writes down what it knows of each connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiotls
from tests.support.pki import Identity, named


@dataclass(frozen=True)
class Seen:
    """What the server knows of a connection after its handshake."""

    protocol: str | None
    cipher: str | None
    alpn: str | bool | None
    servername: str | bool | None
    authorized: bool
    authorization_error: str | None
    resumed: bool
    peer: str | None
    """The common name in the peer's certificate."""


@dataclass
class EchoServer:
    """A running server: connections and failed handshakes, in the order in which they came."""

    port: int
    connections: asyncio.Queue[Seen] = field(default_factory=asyncio.Queue)
    errors: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)


@contextlib.asynccontextmanager
async def echo_server(
    identity: Identity | None = None, *, host: str = "127.0.0.1", path: Path | None = None, **options: Any
) -> AsyncIterator[EchoServer]:
    """A server with this identity (RSA, for localhost, by default) on a free port of `host`, or on a Unix socket."""
    identity = identity or named.server
    running = EchoServer(port=0)

    async def echo(socket: aiotls.TLSSocket) -> None:
        running.connections.put_nowait(_seen(socket))
        with contextlib.suppress(ConnectionError):  # a peer that the test has ended
            async for chunk in socket:
                socket.write(chunk)
                await socket.drain()

    server = aiotls.create_server(echo, **{"cert": identity.chain_pem, "key": identity.key_pem, **options})
    server.on("tls_client_error", lambda error, _socket: running.errors.put_nowait(error))
    if path:
        await server.listen(path=str(path))
    else:
        await server.listen(0, host)
        running.port = port_of(server)
    try:
        yield running
    finally:
        server.close_all_connections()
        server.close()
        await server.wait_closed()


def port_of(server: aiotls.Server) -> int:
    """The port that a server listens on."""
    address = server.address()
    assert address is not None
    assert address.port is not None
    return address.port


def _seen(socket: aiotls.TLSSocket) -> Seen:
    cipher = socket.get_cipher()
    certificate = socket.get_peer_x509_certificate()
    names = [attribute.value for attribute in certificate.subject] if certificate else []
    return Seen(
        protocol=socket.get_protocol(),
        cipher=cipher.name if cipher else None,
        alpn=socket.alpn_protocol,
        servername=socket.servername,
        authorized=socket.authorized,
        authorization_error=socket.authorization_error,
        resumed=bool(socket.is_session_reused()),
        peer=str(names[-1]) if names else None,
    )
