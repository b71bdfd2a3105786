"""Renegotiation with peers of another kind: silent, declining, and with another certificate than before.

The peer is Python's own ssl, which answers a renegotiation but cannot begin one.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, client_options, gone, server_options, tcp_pair, until
from tests.support.pki import Identity, IdentityFiles, Named
from tests.support.servers import serving

NO_RENEGOTIATION = 1 << 30
"""SSL_OP_NO_RENEGOTIATION: a HelloRequest, or a ClientHello, is answered with the warning no_renegotiation."""
ALLOW_CLIENT_RENEGOTIATION = 1 << 8
NO_RESUMPTION = 1 << 16
"""SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION: each one is a full handshake, with certificates."""


@contextlib.asynccontextmanager
async def silent_client(way: str, **options: Any) -> AsyncIterator[tuple[BarePeer, aiotls.TLSSocket]]:
    """A client that shakes hands and then does nothing by itself, and our server socket."""
    near, far = await tcp_pair()
    with near:
        peer = BarePeer.client(near, ssl.TLSVersion.TLSv1_2)
        async with serving(**options) as server:
            secure: list[aiotls.TLSSocket] = []
            if way == "wrapped":
                secure.append(aiotls.TLSSocket(far, is_server=True, **server_options(**options)))
            else:
                server.on("secure_connection", secure.append)
                server.handle_connection(far)
            await peer.handshake()
            await until(lambda: secure)
            await secure[0]
            yield peer, secure[0]
            await gone(secure[0])


@contextlib.asynccontextmanager
async def bare_server(
    files: IdentityFiles, options: int, **ours: Any
) -> AsyncIterator[tuple[BarePeer, aiotls.TLSSocket]]:
    """A server with these options of OpenSSL that answers nothing by itself, and our client."""
    near, far = await tcp_pair()
    with far:
        peer = BarePeer(far, server_context(files, options), server=True)
        mine = aiotls.connect(socket=near, **client_options(**ours))
        await asyncio.gather(peer.handshake(), mine)
        yield peer, mine
        await gone(mine)


def server_context(files: IdentityFiles, options: int) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.chain, files.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= options
    return context


@contextlib.asynccontextmanager
async def reading(peer: BarePeer) -> AsyncIterator[None]:
    """The peer reads, and so answers, meanwhile."""
    task = asyncio.create_task(peer.read())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# ---- silent


@pytest.mark.parametrize("way", ["wrapped", "handed"])
def test_a_client_that_does_not_answer(run: Run, way: str) -> None:
    """A server waits for `handshake_timeout`, then the connection is over."""

    async def main() -> None:
        async with silent_client(way, handshake_timeout=1.0) as (_, mine):
            with pytest.raises(aiotls.HandshakeTimeout) as caught:
                await mine.renegotiate()
            assert caught.value.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            assert mine.destroyed

    run(main)


def test_a_server_that_does_not_answer(run: Run, pki: Named, tmp_path: Path) -> None:
    async def main() -> None:
        files = pki.server.write(tmp_path)
        async with bare_server(files, ALLOW_CLIENT_RENEGOTIATION, handshake_timeout=1.0) as (_, mine):
            with pytest.raises(aiotls.HandshakeTimeout):
                await mine.renegotiate()
            assert mine.destroyed

    run(main)


def test_the_time_of_a_renegotiation_ends_with_it(run: Run, pki: Named, tmp_path: Path) -> None:
    """A renegotiation that was answered leaves no clock behind that ends the connection later."""

    async def main() -> None:
        files = pki.server.write(tmp_path)
        async with bare_server(files, ALLOW_CLIENT_RENEGOTIATION, handshake_timeout=1.0) as (peer, mine):
            async with reading(peer):
                await mine.renegotiate()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(mine.wait_for("close"), 1.5)
            assert not mine.destroyed

    run(main)


# ---- declining


def test_a_client_that_declines(run: Run) -> None:
    """It answers with the warning no_renegotiation, which the server's await raises."""

    async def main() -> None:
        near, far = await tcp_pair()
        with near:
            peer = BarePeer.client(near, ssl.TLSVersion.TLSv1_2)
            peer.context.options |= NO_RENEGOTIATION
            peer = BarePeer(near, peer.context, server=False)
            mine = aiotls.TLSSocket(far, is_server=True, **server_options())
            await asyncio.gather(peer.handshake(), mine)
            async with reading(peer):
                with pytest.raises(aiotls.RenegotiationError) as caught:
                    await mine.renegotiate()
            assert caught.value.code == "ERR_SSL_NO_RENEGOTIATION"
            await gone(mine)

    run(main)


def test_a_server_that_declines(run: Run, pki: Named, tmp_path: Path) -> None:
    async def main() -> None:
        async with bare_server(pki.server.write(tmp_path), NO_RENEGOTIATION) as (peer, mine):
            async with reading(peer):
                with pytest.raises(aiotls.RenegotiationError) as caught:
                    await mine.renegotiate()
            assert caught.value.code == "ERR_SSL_NO_RENEGOTIATION"

    run(main)


# ---- another certificate


@pytest.mark.parametrize("resumption", [True, False])
def test_the_same_certificate_again(run: Run, pki: Named, resumption: bool, tmp_path: Path) -> None:
    """With the session of before or by a full handshake: the server is who it was."""

    async def main() -> None:
        options = ALLOW_CLIENT_RENEGOTIATION | (0 if resumption else NO_RESUMPTION)
        checks: list[str] = []
        check = {"check_server_identity": lambda name, _certificate: checks.append(name)}
        async with bare_server(pki.server.write(tmp_path), options, **check) as (peer, mine):
            async with reading(peer):
                await mine.renegotiate()
                await mine.renegotiate()
            assert mine.authorized is True
            assert mine.get_peer_certificate().raw == pki.server.der  # type: ignore[union-attr]
            assert checks[0] == "localhost"

    run(main)


@pytest.mark.parametrize("other", ["server_ec", "impostor", "stranger", "renewed"])
@pytest.mark.parametrize("verify", [True, False])
def test_another_certificate(run: Run, pki: Named, other: str, verify: bool, tmp_path: Path) -> None:
    """The client refuses a server that is somebody else all of a sudden, even a good one, whatever it rejects."""
    identities: dict[str, Identity] = {
        "server_ec": pki.server_ec,
        "impostor": pki.ca.issue(["other.example"]),
        "stranger": pki.leaf_local,
        "renewed": pki.ca.issue(["localhost"], key=pki.server.key),
    }

    async def main() -> None:
        first, second = pki.server.write(tmp_path), identities[other].write(tmp_path)
        options = ALLOW_CLIENT_RENEGOTIATION | NO_RESUMPTION
        async with bare_server(first, options, reject_unauthorized=verify) as (peer, mine):
            assert mine.authorized is True
            peer._tls.context = server_context(second, options)
            errors: list[Any] = []
            mine.on("error", errors.append)
            answering = asyncio.create_task(peer.read())
            with pytest.raises(aiotls.PeerError) as caught:
                await mine.renegotiate()
            assert mine.destroyed
            assert caught.value.code
            with pytest.raises(ssl.SSLError, match="ALERT"):
                await answering
            assert errors == []

    run(main)
