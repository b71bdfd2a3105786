"""Groups of the key exchange, with openssl on the other side."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.echo import echo_server
from tests.support.peers import available, needs, openssl_client, openssl_handshake, openssl_server
from tests.support.pki import Named
from tests.test_groups import HYBRID, HYBRIDS

pytestmark = needs("openssl")

SUITE = "ECDHE-RSA-AES128-SHA256"


def version_of_openssl() -> tuple[int, ...]:
    """The version of the program, which need not be that of our library."""
    if not available("openssl"):
        return (0,)
    text = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True, timeout=10).stdout
    found = re.search(r"OpenSSL (\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else (0,)


needs_hybrid = pytest.mark.skipif(
    not HYBRID or version_of_openssl() < (3, 5), reason="both sides need OpenSSL 3.5 for ML-KEM"
)


@pytest.mark.parametrize(
    ("entry", "curve", "name"),
    [
        ("CIPH-08", "prime256v1", "prime256v1"),
        ("CIPH-09", "secp256k1:prime256v1:secp521r1", "prime256v1"),
        ("CIPH-09", "secp521r1:secp384r1", "secp521r1"),
        ("CIPH-09", "X25519", "X25519"),
    ],
)
def test_a_client_with_one_suite(run: Run, pki: Named, entry: str, curve: str, name: str) -> None:
    """CIPH-08, CIPH-09: one curve, and a list of which the client does not offer all, in TLS 1.2."""

    async def main() -> None:
        options: dict[str, Any] = {"ciphers": f"-ALL:{SUITE}", "ecdh_curve": curve, "max_version": "TLSv1.2"}
        async with (
            echo_server(pki.server, **options) as server,
            openssl_client("-cipher", SUITE, port=server.port) as peer,
        ):
            peer.write(b"the reply\n")
            await peer.saw(r"^the reply$")
            told, seen = openssl_handshake(peer.text), await server.connections.get()
            assert (told.protocol, told.cipher, seen.cipher) == ("TLSv1.2", SUITE, SUITE), entry
            key = re.search(r"^(?:Server|Peer) Temp Key: (?:ECDH, )?(\S+?),", peer.text, re.MULTILINE)
            assert key is not None
            assert key[1] == name

    run(main)


def test_a_client_without_the_curve(run: Run, pki: Named) -> None:
    """CIPH-09: secp256k1 is not among what the openssl client offers, so nothing is left."""

    async def main() -> None:
        options: dict[str, Any] = {"ciphers": f"-ALL:{SUITE}", "ecdh_curve": "secp256k1", "max_version": "TLSv1.2"}
        async with (
            echo_server(pki.server, **options) as server,
            openssl_client("-cipher", SUITE, port=server.port) as peer,
        ):
            assert openssl_handshake((await peer.finished()).text).alert == 40
            assert (await server.errors.get()).code == "ERR_SSL_NO_SHARED_CIPHER"

    run(main)


@pytest.mark.parametrize("group", ["X25519", "P-384", "P-521", "X448"])
def test_a_server_with_one_group(run: Run, pki: Named, version: str, group: str, tmp_path: Path) -> None:
    """Our client offers it first or further down the list; a server that has no other one gets it."""
    flag = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}[version]
    files = pki.server.write(tmp_path)
    names = {"P-384": "secp384r1", "P-521": "secp521r1"}

    async def main() -> None:
        own = ("-cert", files.cert, "-key", files.key, "-groups", group, "-rev", flag)
        async with openssl_server(*own) as peer:
            for curve in (f"{group}:P-256", f"P-256:{group}"):
                async with aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, ecdh_curve=curve) as socket:
                    key = socket.get_ephemeral_key_info()
                    assert key is not None
                    assert key.name == names.get(group, group)

    run(main)


@needs_hybrid
@pytest.mark.parametrize("group", HYBRIDS)
def test_hybrid_groups(run: Run, pki: Named, group: str, tmp_path: Path) -> None:
    """Hybrid groups, both ways."""
    files = pki.server.write(tmp_path)

    async def main() -> None:
        async with (
            echo_server(pki.server, ecdh_curve=group) as server,
            openssl_client("-groups", f"X25519:{group}", port=server.port) as peer,
        ):
            peer.write(b"the reply\n")
            await peer.saw(r"^the reply$")
            assert re.search(rf"^Negotiated TLS1\.3 group: {group}$", peer.text, re.MULTILINE | re.IGNORECASE)
        async with openssl_server("-cert", files.cert, "-key", files.key, "-groups", group, "-rev") as peer:
            options: dict[str, Any] = {"ca": pki.ca.cert_pem, "ecdh_curve": f"X25519:{group}"}
            async with aiotls.connect("localhost", peer.port, **options) as socket:
                key = socket.get_ephemeral_key_info()
                assert key is not None
                assert (key.type, key.name) == ("KEM", group)

    run(main)


def test_hybrid_groups_beside_one_that_a_peer_knows(run: Run, pki: Named, tmp_path: Path) -> None:
    """Whatever the peer's age: what it does not know it passes over, both ways."""
    files = pki.server.write(tmp_path)
    curve = "X25519MLKEM768:X25519" if HYBRID else "X25519"

    async def main() -> None:
        async with (
            echo_server(pki.server, ecdh_curve=curve) as server,
            openssl_client("-groups", "X25519", port=server.port) as peer,
        ):
            peer.write(b"the reply\n")
            await peer.saw(r"^the reply$")
        async with (
            openssl_server("-cert", files.cert, "-key", files.key, "-groups", "X25519", "-rev") as peer,
            aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, ecdh_curve=curve) as socket,
        ):
            key = socket.get_ephemeral_key_info()
            assert key is not None
            assert key.name == "X25519"

    run(main)
