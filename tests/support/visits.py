"""Visits to a server: who was let in, who was not, and what each side was told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiotls
from tests.support.pairs import client_options, gone, streams
from tests.support.pki import Identity, Named
from tests.support.servers import serving, to

GREETING = b"welcome"

UNKNOWN_CA = 48
BAD_CERTIFICATE = 42
UNSUPPORTED_CERTIFICATE = 43
CERTIFICATE_REVOKED = 44
CERTIFICATE_EXPIRED = 45


@dataclass(frozen=True)
class Welcome:
    """What the server knew of a connection that became secure, at that moment."""

    authorized: bool
    authorization_error: str | None
    resumed: bool | None
    certificate: bytes
    """The client's, as DER; nothing when it showed none."""


@dataclass(frozen=True)
class Visit:
    """What one connection came to, on both sides."""

    welcome: Welcome | None
    """None when the server had no ``"secure_connection"``."""
    refusal: Any
    """The exception of the server's ``"tls_client_error"``."""
    secure: bool
    """Whether the client had ``"secure_connect"``; under TLS 1.3 a refused one has it too."""
    error: Any
    """The exception of the client."""
    sessions: tuple[bytes, ...]
    """What the client could resume."""

    @property
    def verdict(self) -> tuple[bool, str | None] | str:
        """`authorized` and `authorization_error` of a client that was let in, else the code of its refusal."""
        if self.welcome is not None:
            return self.welcome.authorized, self.welcome.authorization_error
        return str(self.refusal.code)


class Host:
    """A running server that greets whom it lets in."""

    def __init__(self, server: aiotls.Server) -> None:
        self.server = server
        self.book: asyncio.Queue[Welcome | BaseException] = asyncio.Queue()
        """Every connection stands in it once."""
        server.on("secure_connection", self._greet)
        server.on("tls_client_error", lambda error, _socket: self.book.put_nowait(error))

    def _greet(self, socket: aiotls.TLSSocket) -> None:
        certificate = socket.get_peer_certificate()
        welcome = Welcome(
            authorized=socket.authorized,
            authorization_error=socket.authorization_error,
            resumed=socket.is_session_reused(),
            certificate=certificate.raw if certificate else b"",
        )
        self.book.put_nowait(welcome)
        socket.write(GREETING)
        socket.resume()

    async def visit(self, kind: str = "", **options: Any) -> Visit:
        """Connects and waits for the greeting, or for the refusal.

        Args:
            kind: One of `pairs.KINDS`, whose far end is handed to the server; by default the client dials.
            options: Options of the client, besides those of `pairs.client_options`.
        """
        if not kind:
            return await self._visit(to(self.server, **options))
        async with streams(kind) as (near, far):
            accepted = self.server.handle_connection(far)
            visit = await self._visit(aiotls.connect(socket=near, **client_options(**options)))
            await gone(accepted)
            return visit

    async def _visit(self, client: aiotls.TLSSocket) -> Visit:
        secure: list[bool] = []
        sessions: list[bytes] = []
        client.on("secure_connect", lambda: secure.append(True))
        client.on("session", sessions.append)
        error: Exception | None = None
        try:
            await client
            assert await client.readexactly(len(GREETING)) == GREETING
            client.close()
            await client.wait_closed()
        except (aiotls.TLSError, asyncio.IncompleteReadError) as failure:
            error = failure
            await gone(client)
        entry = await self.book.get()
        welcome = entry if isinstance(entry, Welcome) else None
        return Visit(welcome, None if welcome else entry, bool(secure), error, tuple(sessions))


@contextlib.asynccontextmanager
async def staying(socket: aiotls.TLSSocket) -> AsyncIterator[aiotls.TLSSocket]:
    """A connection that is secure inside and gone outside, whether or not its peer listens."""
    try:
        yield await socket
    finally:
        await gone(socket)


@contextlib.asynccontextmanager
async def hosting(**options: Any) -> AsyncIterator[Host]:
    """A server for localhost on a free port; at the end nobody may stand in its book twice."""
    async with serving(**options) as server:
        host = Host(server)
        yield host
    assert host.book.empty()


def credentials(identity: Identity | None) -> dict[str, Any]:
    """The options that show an identity, with its chain; None shows none."""
    return {"cert": identity.chain_pem, "key": identity.key_pem} if identity else {}


# ---- who may come in


class Check:
    """A check in both styles that writes down what it was asked.

    Args:
        style: ``"plain"`` or ``"async"``.
        wrong: What it raises.
        allowed: The common names that are accepted although `wrong` is given.
    """

    def __init__(self, style: str, wrong: BaseException | None = None, allowed: tuple[str, ...] = ()) -> None:
        self.calls: list[tuple[aiotls.TLSSocket, aiotls.PeerCertificate]] = []
        self.wrong = wrong
        self.allowed = allowed
        self.function: Any = self._plain if style == "plain" else self._async

    def _plain(self, socket: aiotls.TLSSocket, certificate: aiotls.PeerCertificate) -> object:
        self.calls.append((socket, certificate))
        if self.wrong is not None and certificate.subject["CN"] not in self.allowed:
            raise self.wrong
        return False

    async def _async(self, socket: aiotls.TLSSocket, certificate: aiotls.PeerCertificate) -> object:
        await asyncio.sleep(0)
        return self._plain(socket, certificate)


def demanding(pki: Named, check: Any, **options: Any) -> dict[str, Any]:
    """The options of a server that lets in who has a certificate of `pki.ca` and passes the check."""
    return {"request_cert": True, "ca": pki.ca.cert_pem, "check_client_identity": check, **options}


def known(pki: Named, **options: Any) -> dict[str, Any]:
    """A client with a good certificate, CN=client."""
    return {**credentials(pki.client_ec), **options}
