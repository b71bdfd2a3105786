"""export_keying_material: the same bytes as OpenSSL, GnuTLS and Node derive (RFC 5705; RFC 8446, section 7.5)."""

from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.accepting import accepting
from tests.interop.node_facts import node
from tests.support.pairs import tls_pair
from tests.support.peers import Peer, gnutls_client, needs, openssl_client, openssl_server
from tests.support.pki import Named, named

# What is told of a connection does not depend on the loop.
pytestmark = pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}

EXPORTS: list[tuple[int, str, bytes | None]] = [
    (20, "EXPERIMENTAL one", None),
    (1, "EXPERIMENTAL one", None),
    (128, "EXPERIMENTAL one", None),
    (1000, "EXPERIMENTAL two", None),
    (32, "EXPERIMENTAL one", b""),
    (32, "EXPERIMENTAL one", b"\0"),
    (32, "EXPERIMENTAL one", b"\0\1\2\3"),
    (64, "EXPERIMENTAL two", bytes(range(256))),
    (32, "EXTRACTOR-dtls_srtp", None),
    (32, "x" * 200, b"context"),
]
"""Length, label and context."""

LABEL, LENGTH = "EXPERIMENTAL openssl", 77


def derived(socket: aiotls.TLSSocket) -> list[str]:
    """What we derive of `EXPORTS`, in hex."""
    found = [socket.export_keying_material(*wanted) for wanted in EXPORTS]
    assert [len(material) for material in found] == [length for length, _, _ in EXPORTS]
    return [material.hex() for material in found]


def distinctive(socket: aiotls.TLSSocket) -> set[str]:
    """What we derive of `EXPORTS` without the single byte, which two connections may share by chance."""
    return {material for material in derived(socket) if len(material) > 2}


def asked_of_node() -> list[tuple[int, str, str | None]]:
    return [(length, label, None if context is None else context.hex()) for length, label, context in EXPORTS]


@needs("node")
class TestNode:
    """INFO-02: with a context and without one."""

    def test_it_is_the_client(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with (
                accepting(max_version=version) as (port, accepted),
                node("client", port=port, exports=asked_of_node()) as peer,
            ):
                facts = await peer.event("facts")
                assert derived(await accepted.get()) == facts["exported"]

        run(main)

    def test_it_is_the_server(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with (
                node("server", pki.server, max_version=version, exports=asked_of_node()) as peer,
                aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem) as socket,
            ):
                facts = await peer.event("facts")
                assert derived(socket) == facts["exported"]

        run(main)


async def exported_by_openssl(peer: Peer) -> str:
    return (await peer.saw(r"^ *Keying material: ([0-9A-F]+)$"))[1].lower()


@needs("openssl")
class TestOpenSSL:
    """INFO-02: ``-keymatexport`` of both programs."""

    FLAGS = ("-keymatexport", LABEL, "-keymatexportlen", str(LENGTH))

    def test_it_is_the_client(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with (
                accepting(max_version=version) as (port, accepted),
                openssl_client(*self.FLAGS, VERSION_FLAGS[version], port=port) as peer,
            ):
                socket = await accepted.get()
                assert socket.export_keying_material(LENGTH, LABEL).hex() == await exported_by_openssl(peer)

        run(main)

    def test_it_is_the_server(self, run: Run, pki: Named, version: str, tmp_path: Path) -> None:
        async def main() -> None:
            files = pki.server.write(tmp_path)
            own = ("-cert", files.chain, "-key", files.key)
            async with (
                openssl_server(*own, *self.FLAGS, VERSION_FLAGS[version]) as peer,
                aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, close_timeout=0.1) as socket,
            ):
                assert socket.export_keying_material(LENGTH, LABEL).hex() == await exported_by_openssl(peer)

        run(main)


@needs("gnutls-cli")
def test_gnutls(run: Run, version: str, ca_file: Path) -> None:
    """INFO-02: ``gnutls-cli --keymatexport``."""

    async def main() -> None:
        async with accepting(max_version=version) as (port, accepted):
            flags = ("--x509cafile", ca_file, f"--keymatexport={LABEL}", f"--keymatexportsize={LENGTH}")
            async with gnutls_client(*flags, port=port) as peer:
                socket = await accepted.get()
                said = await peer.saw(r"^- Key material: ([0-9a-f]+)$")
                assert socket.export_keying_material(LENGTH, LABEL).hex() == said[1]

    run(main)


def test_of_a_resumed_connection(run: Run, version: str) -> None:
    """Each connection has its own, resumed ones too, and both sides agree on it."""

    async def main() -> None:
        seen: set[str] = set()
        session: bytes | None = None
        async with accepting(max_version=version) as (port, accepted):
            for resumed in (False, True, True):
                options: dict[str, Any] = {"ca": named.ca.cert_pem, "session": session}
                async with aiotls.connect("localhost", port, **options) as client:
                    server = await accepted.get()
                    server.write(b"x")
                    assert await client.readexactly(1) == b"x"
                    assert client.is_session_reused() is resumed
                    assert derived(client) == derived(server)
                    seen |= distinctive(client)
                    session = client.get_session()
                    server.end()
        assert len(seen) == 3 * sum(length > 1 for length, *_ in EXPORTS)

    run(main)


@pytest.mark.parametrize("by", ["client", "server"])
def test_after_a_renegotiation(run: Run, by: str) -> None:
    """The keys are new, and so is what is derived of them."""

    async def main() -> None:
        async with tls_pair(client={"max_version": "TLSv1.2"}) as (client, server):
            before = distinctive(client)
            await (client if by == "client" else server).renegotiate()
            for one, other in ((client, server), (server, client)):
                one.write(b"x")
                assert await other.readexactly(1) == b"x"
            assert derived(client) == derived(server)
            assert not distinctive(client) & before

    run(main)


def test_while_a_direction_has_ended(run: Run, version: str) -> None:
    """It can be derived as long as the connection is open in one direction; then it is an error."""

    async def main() -> None:
        half_open = {"allow_half_open": True, "max_version": version}
        async with tls_pair(client=half_open, server={"allow_half_open": True}) as (client, server):
            before = derived(client)
            client.end()
            assert await server.read() == b""
            assert derived(client) == derived(server) == before
            server.end()
            assert await client.read() == b""
            await client.wait_closed()
            with pytest.raises(aiotls.StateError) as refusal:
                client.export_keying_material(20, LABEL)
            assert refusal.value.code == "ERR_TLS_INVALID_STATE"

    run(main)


@pytest.mark.parametrize(
    ("protocol", "arguments"),
    [
        ("TLSv1.2", (32, "client finished")),
        ("TLSv1.2", (32, "server finished")),
        ("TLSv1.2", (32, "master secret")),
        ("TLSv1.2", (32, "extended master secret")),
        ("TLSv1.2", (32, "key expansion")),
        ("TLSv1.2", (32, "label", bytes(65536))),
        ("TLSv1.3", (32, "x" * 250)),
        ("TLSv1.3", (2**20, "label")),
        ("TLSv1.3", (16384, "label")),
    ],
)
def test_what_cannot_be_derived(run: Run, protocol: str, arguments: tuple[Any, ...]) -> None:
    """Labels that TLS needs for itself (RFC 5705, section 4), and what does not fit: an error, and all goes on."""

    async def main() -> None:
        async with tls_pair(client={"max_version": protocol}) as (client, server):
            for socket in (client, server):
                with pytest.raises(aiotls.TLSError) as refusal:
                    socket.export_keying_material(*arguments)
                assert refusal.value.code
            assert derived(client) == derived(server)
            client.write(b"x")
            assert await server.readexactly(1) == b"x"

    run(main)


@pytest.mark.parametrize(("suite", "size"), [("TLS_AES_128_GCM_SHA256", 32), ("TLS_AES_256_GCM_SHA384", 48)])
def test_the_longest_of_tls_1_3(run: Run, suite: str, size: int) -> None:
    """So much comes of a hash and no more (HKDF-Expand; RFC 5869, section 2.3): a longer one is out of range."""

    async def main() -> None:
        async with tls_pair(client={"ciphers": suite, "min_version": "TLSv1.3"}) as (client, server):
            longest = 255 * size
            assert client.export_keying_material(longest, LABEL) == server.export_keying_material(longest, LABEL)
            for length in (longest + 1, 16384, 2**20):
                with pytest.raises(aiotls.OptionError, match="length") as refusal:
                    client.export_keying_material(length, LABEL)
                assert (refusal.value.code, refusal.value.option) == ("ERR_OUT_OF_RANGE", "length")
            assert derived(client) == derived(server)

    run(main)
