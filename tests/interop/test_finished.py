"""get_finished and get_peer_finished: tls-unique (RFC 5929) and the Finished messages of other implementations."""

import asyncio
import re
import ssl
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.accepting import accepting
from tests.interop.node_facts import node
from tests.support.pairs import BarePeer, client_options, gone, server_options, tcp_pair, tls_pair
from tests.support.peers import Peer, needs, openssl_client, openssl_server
from tests.support.pki import Named, named
from tests.support.sessions import load_identity

# What is told of a connection does not depend on the loop.
pytestmark = pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)

SIZES = {"TLSv1.2": {12}, "TLSv1.3": {32, 48}}
"""How long a Finished message is: under TLS 1.3 as long as the hash of the suite."""
VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


def both(socket: aiotls.TLSSocket) -> tuple[bytes, bytes]:
    """Our Finished message and the peer's."""
    mine, theirs = socket.get_finished(), socket.get_peer_finished()
    assert type(mine) is type(theirs) is bytes
    protocol = socket.get_protocol()
    assert protocol is not None
    assert {len(mine), len(theirs)} <= SIZES[protocol]
    return mine, theirs


def tls_unique(socket: aiotls.TLSSocket) -> bytes:
    """The first Finished message of the last handshake: the client's, but the server's where a session is resumed."""
    mine, theirs = both(socket)
    client_first = not socket.is_session_reused()
    return mine if client_first is not socket.is_server else theirs


class BoundPeer(BarePeer):
    """Python's own ssl, which knows tls-unique."""

    def tls_unique(self) -> bytes:
        binding: bytes | None = self._tls.get_channel_binding("tls-unique")
        assert binding
        return binding


class TestPython:
    """INFO-01: against Python's own ssl, in full handshakes and resumed ones."""

    def test_it_is_the_client(self, run: Run) -> None:
        async def main() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=named.ca.cert_pem.decode())
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            settings = aiotls.create_secure_context(**server_options())
            seen: set[bytes] = set()
            session: ssl.SSLSession | None = None
            for resumed in (False, True, False):
                near, far = await tcp_pair()
                with near:
                    peer = BoundPeer(near, context, server=False, session=session if resumed else None)
                    server = aiotls.TLSSocket(far, is_server=True, secure_context=settings)
                    await asyncio.gather(peer.handshake(), server)
                    assert server.is_session_reused() is resumed
                    assert tls_unique(server) == peer.tls_unique()
                    seen.add(peer.tls_unique())
                    session = peer.session
                    await gone(server)
            assert len(seen) == 3

        run(main)

    def test_it_is_the_server(self, run: Run) -> None:
        async def main() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            load_identity(context, named.server_ec)
            session: bytes | None = None
            for resumed in (False, True):
                near, far = await tcp_pair()
                with far:
                    peer = BoundPeer(far, context, server=True)
                    client = aiotls.connect(socket=near, **client_options(session=session))
                    await asyncio.gather(peer.handshake(), client)
                    assert client.is_session_reused() is resumed
                    assert tls_unique(client) == peer.tls_unique()
                    session = client.get_session()
                    await gone(client)

        run(main)


async def finished_messages(peer: Peer) -> list[str]:
    """What ``-msg`` shows of the Finished messages, ours and its own, in their order."""
    pattern = r"^(?:<<<|>>>) TLS 1\.[23], Handshake \[length [0-9a-f]{4}\], Finished\n((?: {4}[0-9a-f ]+\n)+)"
    await peer.saw(pattern + r"[\s\S]*" + pattern)
    # Behind the header of the message.
    return [re.sub(r"\s", "", found)[8:] for found in re.findall(pattern, peer.text, re.MULTILINE)]


@needs("openssl")
class TestOpenSSL:
    """INFO-01: what passes is what we tell."""

    def test_it_is_the_client(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with (
                accepting() as (port, accepted),
                openssl_client("-msg", VERSION_FLAGS[version], port=port) as peer,
            ):
                socket = await accepted.get()
                ours, theirs = (message.hex() for message in both(socket))
                # Under TLS 1.3 the server comes first.
                expected = [theirs, ours] if version == "TLSv1.2" else [ours, theirs]
                assert await finished_messages(peer) == expected

        run(main)

    def test_it_is_the_server(self, run: Run, pki: Named, version: str, tmp_path: Path) -> None:
        async def main() -> None:
            files = pki.server.write(tmp_path)
            own = ("-cert", files.chain, "-key", files.key)
            async with (
                openssl_server(*own, "-msg", VERSION_FLAGS[version]) as peer,
                aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, close_timeout=0.1) as socket,
            ):
                ours, theirs = (message.hex() for message in both(socket))
                expected = [ours, theirs] if version == "TLSv1.2" else [theirs, ours]
                assert await finished_messages(peer) == expected

        run(main)


@needs("node")
class TestNode:
    """INFO-01: both messages are the same on both sides, mirrored."""

    def test_it_is_the_client(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with (
                accepting(max_version=version) as (port, accepted),
                node("client", port=port) as peer,
            ):
                facts = await peer.event("facts")
                socket = await accepted.get()
                ours, theirs = (message.hex() for message in both(socket))
                assert (facts["peer_finished"], facts["finished"]) == (ours, theirs)

        run(main)

    def test_it_is_the_server(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with (
                node("server", pki.server, max_version=version) as peer,
                aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem) as socket,
            ):
                facts = await peer.event("facts")
                ours, theirs = (message.hex() for message in both(socket))
                assert (facts["peer_finished"], facts["finished"]) == (ours, theirs)

        run(main)


@pytest.mark.parametrize("by", ["client", "server"])
def test_of_the_last_handshake(run: Run, by: str) -> None:
    """A renegotiation has Finished messages of its own, and tls-unique is made of them (RFC 5929, section 3)."""

    async def main() -> None:
        async with tls_pair(client={"max_version": "TLSv1.2"}) as (client, server):
            before = both(client)
            await (client if by == "client" else server).renegotiate()
            await exchange(client, server)
            assert both(client) == both(server)[::-1]
            assert not set(both(client)) & set(before)
            assert tls_unique(client) == tls_unique(server)

    run(main)


async def exchange(client: aiotls.TLSSocket, server: aiotls.TLSSocket) -> None:
    for one, other in ((client, server), (server, client)):
        one.write(b"x")
        assert await other.readexactly(1) == b"x"


def test_data_changes_nothing(run: Run, version: str) -> None:
    """They belong to the handshake."""

    async def main() -> None:
        options: dict[str, Any] = {"max_version": version}
        async with tls_pair(client=options) as (client, server):
            before = both(client), both(server)
            for _ in range(3):
                await exchange(client, server)
            assert (both(client), both(server)) == before
            assert before[0] == before[1][::-1]

    run(main)
