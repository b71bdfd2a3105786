"""A certificate for each name, and clients that tell which one a server has shown them."""

import asyncio
import functools
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import aiotls
from tests.support.pki import Identity, named
from tests.support.servers import echo, port_of, to


@functools.cache
def identity_of(name: str) -> Identity:
    """A P-256 certificate of `pki.ca` for this name, which is its common name too."""
    return named.ca.issue([name], key="ec", purposes=["server"])


def credentials(identity: Identity | str) -> dict[str, Any]:
    """The options `cert` and `key` of an identity, or of that for a name."""
    if isinstance(identity, str):
        identity = identity_of(identity)
    return {"cert": identity.chain_pem, "key": identity.key_pem}


def common_name(socket: aiotls.TLSSocket) -> str | None:
    """The common name in the peer's certificate; None without one."""
    certificate = socket.get_peer_certificate()
    return str(certificate.subject["CN"]) if certificate else None


async def shown(server: aiotls.Server, servername: str | bool, **options: Any) -> str | None:
    """The common name in the certificate that a client gets when it asks for `servername`."""
    options = {"servername": servername, "reject_unauthorized": False, **options}
    async with to(server, **options) as client:
        return common_name(client)


async def shown_to_another(server: aiotls.Server, servername: str) -> bytes | None:
    """The same, as DER, for a client on Python's own ssl, which sends a name exactly as it is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    target = ("127.0.0.1", port_of(server))
    reader, writer = await asyncio.open_connection(*target, ssl=context, server_hostname=servername)
    try:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.write(b"x")
        await reader.readexactly(1)
        return bytes(certificate)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def refused(server: aiotls.Server, **options: Any) -> Any:
    """The error of a client whose handshake fails; it never becomes secure, and closes with had_error."""
    client = to(server, **options)
    events: list[str] = []
    for name in ("secure", "secure_connect"):
        client.on(name, lambda *_, name=name: events.append(name))
    closed = asyncio.ensure_future(client.wait_for("close"))
    await asyncio.sleep(0)
    with pytest.raises(aiotls.TLSError) as failure:
        await client
    assert await closed is True
    assert events == []
    return failure.value


def answering(style: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """What the user may write: `function` itself (``"plain"``), or an ``async`` one that takes its time."""

    async def later(*arguments: Any) -> Any:
        await asyncio.sleep(0.005)
        return function(*arguments)

    return later if style == "async" else function


class Accepted:
    """A listener of `"secure_connection"` that echoes, and writes down who came."""

    def __init__(self) -> None:
        self.names: asyncio.Queue[str | bool | None] = asyncio.Queue()
        self.peers: asyncio.Queue[tuple[bool, str | None]] = asyncio.Queue()
        """`authorized` and `authorization_error` of each."""

    async def __call__(self, socket: aiotls.TLSSocket) -> None:
        self.names.put_nowait(socket.servername)
        self.peers.put_nowait((socket.authorized, socket.authorization_error))
        await echo(socket)


class ClientErrors:
    """A listener of `"tls_client_error"` of a server that keeps what it is told."""

    def __init__(self, server: aiotls.Server) -> None:
        self._told: asyncio.Queue[tuple[Any, str | bool | None]] = asyncio.Queue()
        server.on("tls_client_error", self._tell)

    def _tell(self, error: BaseException, socket: aiotls.TLSSocket) -> None:
        self._told.put_nowait((error, socket.servername))

    async def next(self) -> tuple[Any, str | bool | None]:
        """The next error, and the `servername` of its socket at that moment."""
        return await self._told.get()

    @property
    def empty(self) -> bool:
        """Whether everything that was told has been taken."""
        return self._told.empty()
