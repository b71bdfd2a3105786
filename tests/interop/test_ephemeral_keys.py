"""get_ephemeral_key_info: the key exchange in our words, in those of OpenSSL and in those of Node."""

from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.accepting import accepting
from tests.interop.node_facts import node
from tests.support.pairs import tls_pair
from tests.support.peers import needs, openssl_client, openssl_server
from tests.support.pki import Named, named

# What is told of a connection does not depend on the loop.
pytestmark = pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)

Key = aiotls.EphemeralKeyInfo

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}

CURVES = {
    "X25519": Key("ECDH", "X25519", 253),
    "X448": Key("ECDH", "X448", 448),
    "P-256": Key("ECDH", "prime256v1", 256),
    "P-384": Key("ECDH", "secp384r1", 384),
    "P-521": Key("ECDH", "secp521r1", 521),
}
"""By their names in lists of groups."""

DHE = "DHE-RSA-AES128-GCM-SHA256"

HYBRID = pytest.mark.skipif(
    not any(aiotls.openssl_version.startswith(f"OpenSSL {series}") for series in ("3.5", "3.6", "4.")),
    reason="this OpenSSL has no hybrid groups",
)

by_curve = pytest.mark.parametrize("curve", CURVES)


def in_our_words(told: dict[str, Any]) -> Key | None:
    """What Node says."""
    return Key(told["type"], told.get("name"), told["size"]) if told else None


def temporary_key(key: Key) -> str:
    """What ``openssl s_client`` says."""
    return f"{key.name}, {key.size} bits" if key.name in ("X25519", "X448") else f"ECDH, {key.name}, {key.size} bits"


async def connected(port: int, **options: Any) -> Key | None:
    """What a client of ours says."""
    chosen: dict[str, Any] = {"ca": named.ca.cert_pem, "close_timeout": 0.1, **options}
    async with aiotls.connect("localhost", port, **chosen) as socket:
        return socket.get_ephemeral_key_info()


def own(pki: Named, directory: Path) -> tuple[str | Path, ...]:
    files = pki.server.write(directory)
    return "-cert", files.chain, "-key", files.key


class TestClient:
    """INFO-01: what a client tells, and what others tell of the same server."""

    @needs("openssl", "node")
    @by_curve
    def test_curves(self, run: Run, pki: Named, version: str, curve: str, tmp_path: Path) -> None:
        async def main() -> None:
            flags = ("-groups", curve, VERSION_FLAGS[version])
            async with openssl_server(*own(pki, tmp_path), *flags) as server:
                assert await connected(server.port) == CURVES[curve]
                async with node("client", port=server.port) as peer:
                    assert in_our_words((await peer.event("facts"))["ephemeral"]) == CURVES[curve]
                async with openssl_client(VERSION_FLAGS[version], port=server.port) as peer:
                    said = await peer.saw(r"^Server Temp Key: (.*)$")
                    assert said[1] == temporary_key(CURVES[curve])

        run(main)

    @needs("openssl", "node")
    def test_a_group_of_the_server(self, run: Run, pki: Named, tmp_path: Path) -> None:
        """Finite fields under TLS 1.2: a group without a name, of the size that the server has chosen."""

        async def main() -> None:
            async with openssl_server(*own(pki, tmp_path), "-tls1_2", "-cipher", DHE) as server:
                expected = Key("DH", None, 2048)
                assert await connected(server.port, ciphers=DHE) == expected
                async with node("client", port=server.port) as peer:
                    assert in_our_words((await peer.event("facts"))["ephemeral"]) == expected

        run(main)

    @needs("openssl")
    @pytest.mark.parametrize("bits", [2048, 3072])
    def test_a_finite_field(self, run: Run, pki: Named, bits: int, tmp_path: Path) -> None:
        """Under TLS 1.3 such groups have names (RFC 7919)."""

        async def main() -> None:
            group = f"ffdhe{bits}"
            async with openssl_server(*own(pki, tmp_path), "-tls1_3", "-groups", group) as server:
                assert await connected(server.port, ecdh_curve=group) == Key("DH", group, bits)

        run(main)

    @needs("openssl", "node")
    def test_none(self, run: Run, pki: Named, tmp_path: Path) -> None:
        """The server's own key decrypts the secret: nothing is ephemeral."""

        async def main() -> None:
            async with openssl_server(*own(pki, tmp_path), "-tls1_2", "-cipher", "AES128-GCM-SHA256") as server:
                assert await connected(server.port, ciphers="AES128-GCM-SHA256") is None
                async with node("client", port=server.port, ciphers="AES128-GCM-SHA256") as peer:
                    assert (await peer.event("facts"))["ephemeral"] == {}

        run(main)

    @needs("node")
    def test_a_server_of_node(self, run: Run, pki: Named, version: str) -> None:
        """Which itself tells nothing, as ours."""

        async def main() -> None:
            async with node("server", pki.server, max_version=version, ecdh_curve="P-384") as server:
                assert await connected(server.port) == CURVES["P-384"]
                assert (await server.event("facts"))["ephemeral"] is None

        run(main)

    @HYBRID
    @pytest.mark.parametrize("group", ["X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"])
    def test_a_hybrid_group(self, run: Run, group: str) -> None:
        async def main() -> None:
            async with tls_pair(client={"ecdh_curve": group}, server={"ecdh_curve": group}) as (client, server):
                assert client.get_ephemeral_key_info() == Key("KEM", group, None)
                assert server.get_ephemeral_key_info() is None

        run(main)


class TestServer:
    """A server tells nothing, whatever was used."""

    @needs("node")
    @by_curve
    def test_curves(self, run: Run, version: str, curve: str) -> None:
        """And its client what it is."""

        async def main() -> None:
            async with (
                accepting(max_version=version, ecdh_curve=curve) as (port, accepted),
                node("client", port=port) as peer,
            ):
                assert in_our_words((await peer.event("facts"))["ephemeral"]) == CURVES[curve]
                assert (await accepted.get()).get_ephemeral_key_info() is None

        run(main)

    @needs("node")
    def test_a_group_of_ours(self, run: Run, pki: Named) -> None:
        async def main() -> None:
            identity: dict[str, Any] = {"cert": pki.server.chain_pem, "key": pki.server.key_pem}
            options = {"max_version": "TLSv1.2", "ciphers": DHE, "dhparam": "auto", **identity}
            async with accepting(**options) as (port, accepted), node("client", port=port) as peer:
                assert in_our_words((await peer.event("facts"))["ephemeral"]) == Key("DH", None, 2048)
                assert (await accepted.get()).get_ephemeral_key_info() is None

        run(main)


class TestResumed:
    """A resumption has a key exchange of its own under TLS 1.3 only."""

    @needs("node")
    @pytest.mark.parametrize("ciphers", ["ECDHE-RSA-AES128-GCM-SHA256", DHE])
    def test_without_one(self, run: Run, pki: Named, ciphers: str) -> None:
        async def main() -> None:
            identity: dict[str, Any] = {"cert": pki.server.chain_pem, "key": pki.server.key_pem}
            options = {"max_version": "TLSv1.2", "ciphers": ciphers, "dhparam": "auto", **identity}
            async with accepting(**options) as (port, _):
                async with node("client", port=port) as peer:
                    session = (await peer.event("session"))["session"]
                async with node("client", port=port, session=session) as peer:
                    facts = await peer.event("facts")
                    assert (facts["reused"], facts["ephemeral"]) == (True, {})
                keys: list[Key | None] = []
                ours: bytes | None = None
                for _ in range(2):
                    chosen: dict[str, Any] = {"ca": pki.ca.cert_pem, "session": ours, "close_timeout": 0.1}
                    async with aiotls.connect("localhost", port, **chosen) as client:
                        assert client.is_session_reused() is (ours is not None)
                        keys.append(client.get_ephemeral_key_info())
                        ours = client.get_session()
                assert keys[0] is not None
                assert keys[1] is None

        run(main)

    def test_with_one(self, run: Run) -> None:
        async def main() -> None:
            session: bytes | None = None
            for curve in ("X25519", "P-256"):
                context = {"ecdh_curve": curve, "ticket_keys": bytes(48), "session_id_context": "ephemeral"}
                async with tls_pair(client={"session": session}, server=context) as (client, server):
                    server.write(b"x")
                    assert await client.readexactly(1) == b"x"
                    assert client.is_session_reused() is (session is not None)
                    assert client.get_ephemeral_key_info() == CURVES[curve]
                    session = client.get_session()

        run(main)
