"""Several identities at once: openssl and GnuTLS get the one whose signature they verify."""

import base64
import re
from typing import Any

import pytest

from tests.conftest import Run
from tests.interop.echo import echo_server
from tests.support.peers import Peer, gnutls_client, needs, openssl_client
from tests.support.pki import Identity, Named

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


def all_three(pki: Named) -> dict[str, Any]:
    """RSA, P-256 and Ed25519; keys and certificates in different orders."""
    rsa, ec, ed25519 = pki.server, pki.server_ec, pki.server_ed25519
    return {
        "cert": [ec.chain_pem, ed25519.chain_pem, rsa.chain_pem],
        "key": [rsa.key_pem, ec.key_pem, ed25519.key_pem],
        "ca": pki.ca.cert_pem,
    }


async def certificate(peer: Peer) -> bytes:
    """The certificate that the program has printed, as DER."""
    found = await peer.saw(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
    return base64.b64decode(found[1])


@needs("openssl")
@pytest.mark.parametrize("own", ["openssl", "ours"])
@pytest.mark.parametrize(
    ("identity", "sigalgs", "kind"),
    [
        ("server", "RSA-PSS+SHA256:RSA+SHA256", "RSA-PSS"),
        ("server", "RSA-PSS+SHA512", "RSA-PSS"),
        ("server_ec", "ECDSA+SHA256:RSA+SHA256", "ECDSA"),
        ("server_ed25519", "ed25519:RSA+SHA256", "[Ee][Dd]25519"),
    ],
)
def test_openssl(run: Run, pki: Named, version: str, identity: str, sigalgs: str, kind: str, own: str) -> None:
    """``s_client -sigalgs`` gets what it can verify, whosever order counts."""
    expected: Identity = getattr(pki, identity)
    suites = "ECDHE+aRSA" if identity == "server" else "ECDHE+aECDSA"

    async def main() -> None:
        arguments = (VERSION_FLAGS[version], "-sigalgs", sigalgs, "-cipher", suites, "-servername", "localhost")
        async with (
            echo_server(**all_three(pki), honor_cipher_order=own == "ours") as server,
            openssl_client(*arguments, port=server.port) as peer,
        ):
            assert await certificate(peer) == expected.der
            await peer.saw(rf"^Peer signature type: {kind}$")
            peer.write(b"hello\n")
            await peer.saw(r"^hello$")
            assert (await server.connections.get()).protocol == version

    run(main)


@needs("openssl")
@pytest.mark.parametrize("sigalgs", ["ECDSA+SHA512", "rsa_pss_pss_sha256", "ed448"])
def test_openssl_that_can_verify_none(run: Run, pki: Named, sigalgs: str) -> None:
    """TLS 1.3: a P-256 key signs with SHA-256 only, and there is neither an RSA-PSS key nor an Ed448 one."""

    async def main() -> None:
        async with (
            echo_server(**all_three(pki)) as server,
            openssl_client("-tls1_3", "-sigalgs", sigalgs, port=server.port) as peer,
        ):
            assert re.search(r"SSL alert number 40\b", (await peer.finished()).text)
            assert (await server.errors.get()).code.startswith("ERR_SSL_NO_S")
            assert server.connections.empty()

    run(main)


@needs("gnutls-cli")
@pytest.mark.parametrize(
    ("identity", "signature"),
    [
        ("server", "RSA-PSS-RSAE-SHA256"),
        ("server_ec", "ECDSA-SECP256R1-SHA256"),
        ("server_ed25519", "EDDSA-ED25519"),
    ],
)
def test_gnutls(run: Run, pki: Named, identity: str, signature: str) -> None:
    """The same for GnuTLS, which has a list for handshakes alone."""
    expected: Identity = getattr(pki, identity)

    async def main() -> None:
        priority = f"--priority=NORMAL:-VERS-ALL:+VERS-TLS1.3:-SIGN-ALL:+SIGN-{signature}:+SIGN-RSA-SHA256"
        arguments = (priority, "--no-ca-verification", "--print-cert")
        async with echo_server(**all_three(pki)) as server, gnutls_client(*arguments, port=server.port) as peer:
            assert await certificate(peer) == expected.der
            await peer.saw(rf"(?i)^- Description: .*\({signature}\)")

    run(main)
