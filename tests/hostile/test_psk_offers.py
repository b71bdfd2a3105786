"""What a client may offer as pre-shared keys: identities without the key, and far too many of them (TLS 1.3)."""

import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.hostile.handmade13 import HandmadeClient, Offer, Refused
from tests.support.pairs import tcp_pair, until
from tests.support.pki import Named
from tests.support.psk import IDENTITY, KEY, know
from tests.support.servers import serving

SHA384 = "TLS_AES_256_GCM_SHA384"
MOST = 8
"""More identities of one hello than this need not be looked at."""


@contextlib.asynccontextmanager
async def accepted(server: aiotls.Server, secure: list[aiotls.TLSSocket]) -> AsyncIterator[socket.socket]:
    """The client's end of a connection that is handed to `server`."""
    near, far = await tcp_pair()
    secure.clear()
    server.handle_connection(far)
    with near:
        yield near
        for each in secure:
            each.destroy()  # a client that closes with a ticket unread resets the connection


def options(pki: Named, **more: Any) -> dict[str, Any]:
    """A server that knows a key, has a certificate, and asks for one of the client without insisting."""
    wanted = {"ca": pki.ca.cert_pem, "request_cert": True, "reject_unauthorized": False}
    return {"ciphers": f"{SHA384}:TLS_AES_128_GCM_SHA256", "psk_callback": know, **wanted, **more}


@pytest.mark.parametrize("order", ["ticket alone", "ticket first", "identity first", "identity first, ext binder"])
def test_an_identity_is_no_proof(run: Run, pki: Named, order: str) -> None:
    """A ticket of nobody stays nobody's, whichever known identity its owner names beside it without the key."""

    async def main() -> None:
        secure: list[aiotls.TLSSocket] = []
        async with serving(secure.append, **options(pki)) as server:
            async with accepted(server, secure) as end:
                client = await HandmadeClient.connected(end)
                await until(lambda: secure)
                assert secure[0].authorized is False
                ticket = await client.ticket()
            named = Offer(IDENTITY.encode())
            offers = {
                "ticket alone": [ticket],
                "ticket first": [ticket, named],
                "identity first": [named, ticket],
                # OpenSSL, once it has passed over a key, takes a ticket behind it for one too.
                "identity first, ext binder": [named, replace(ticket, label=b"ext binder")],
            }[order]
            async with accepted(server, secure) as end:
                try:
                    client = await HandmadeClient.connected(end, offers)
                except Refused:
                    assert offers[0] is named, "an honest client comes back with its ticket"
                    return
                assert client.selected == (1 if offers[0] is named else 0)
                await until(lambda: secure)
                assert secure[0].is_session_reused() is True
                assert secure[0].authorized is False
                assert secure[0].authorization_error == "UNABLE_TO_GET_ISSUER_CERT"

    run(main)


def test_a_key_of_another_hash(run: Run, pki: Named) -> None:
    """A key made for SHA-256 is not used with SHA-384: the known identity alone leads to a handshake by certificate."""

    async def main() -> None:
        secure: list[aiotls.TLSSocket] = []
        async with serving(secure.append, **options(pki)) as server, accepted(server, secure) as end:
            client = await HandmadeClient.connected(end, [Offer(IDENTITY.encode(), KEY)])
            assert client.selected is None
            await until(lambda: secure)
            assert secure[0].authorized is False

    run(main)


def test_too_many_identities(run: Run, pki: Named) -> None:
    """The callback is asked about a few, however many one hello names; the handshake goes on without them."""

    async def main() -> None:
        asked: list[str] = []

        def server_key(_socket: aiotls.TLSSocket, identity: str) -> bytes | None:
            asked.append(identity)
            return None

        secure: list[aiotls.TLSSocket] = []
        async with serving(secure.append, **options(pki, psk_callback=server_key)) as server:
            async with accepted(server, secure) as end:
                client = await HandmadeClient.connected(end, [Offer(b"user %d" % number) for number in range(200)])
                assert client.selected is None
                await until(lambda: secure)
                assert secure[0].authorized is False
            assert 1 <= len(asked) <= MOST
            assert asked == [f"user {number}" for number in range(len(asked))]

    run(main)


def test_identities_that_are_no_text(run: Run, pki: Named) -> None:
    """Tickets of somebody else, NULs and empty names are nobody's, and do not reach the callback as something else."""

    async def main() -> None:
        asked: list[str] = []

        def server_key(_socket: aiotls.TLSSocket, identity: str) -> bytes | None:
            asked.append(identity)
            return None

        secure: list[aiotls.TLSSocket] = []
        async with serving(secure.append, **options(pki, psk_callback=server_key)) as server:
            for identity in (b"\xff" * 192, b"\0", IDENTITY.encode() + b"\0", b"a" * 5000, b"\xed\xa0\x80"):
                async with accepted(server, secure) as end:
                    client = await HandmadeClient.connected(end, [Offer(identity)])
                    assert client.selected is None
                    await until(lambda: secure)
            assert IDENTITY not in asked

    run(main)
