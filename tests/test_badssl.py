"""The situations of badssl.com that a client must refuse, against real servers on loopback; see `REFUSED`.

What it must accept is in ``test_badssl_accepted.py``.
"""

import contextlib
import functools
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.bad_servers import ALERTS, Visitor
from tests.support.peers import Peer, gnutls_server, needs, openssl_server
from tests.support.pki import Authority, Identity, IdentityFiles, named, self_signed

HOST = ["localhost"]
LEGACY = "DEFAULT:@SECLEVEL=0"

# ---- certificates that only ``openssl`` makes

_CONFIGURATION = "[req]\ndistinguished_name = dn\n[dn]\n"


def openssl(*words: str | Path) -> None:
    """Runs ``openssl``, which must succeed."""
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == 0, done.stderr


def certified(
    folder: Path, name: str, issuer: IdentityFiles, digest: str, *, key: Path, ca: bool = False
) -> IdentityFiles:
    """A certificate for localhost, or of an authority, whose signature has this digest.

    Args:
        folder: Where to.
        name: The common name, and that of the files.
        issuer: Who signs.
        digest: ``"sha1"``, ``"sha256"`` and so on.
        key: The file of its private key.
        ca: Whether it is an authority.
    """
    configuration, cert, chain = folder / "req.cnf", folder / f"{name}.pem", folder / f"{name}.chain.pem"
    configuration.write_text(_CONFIGURATION)
    extensions = (
        ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"]
        if ca
        else ["basicConstraints=CA:FALSE", "subjectAltName=DNS:localhost"]
    )
    openssl(
        *("req", "-x509", "-new", "-config", configuration, f"-{digest}", "-days", "5", "-subj", f"/CN={name}"),
        *("-key", key, "-CA", issuer.cert, "-CAkey", issuer.key, "-out", cert),
        *(word for extension in extensions for word in ("-addext", extension)),
    )
    chain.write_bytes(cert.read_bytes() + issuer.chain.read_bytes())
    return IdentityFiles(cert, chain, key)


@contextlib.asynccontextmanager
async def server_of(files: IdentityFiles, *arguments: str | Path) -> AsyncIterator[Peer]:
    """``openssl s_server`` that shows the leaf and all of its chain file."""
    async with openssl_server("-cert", files.cert, "-key", files.key, "-cert_chain", files.chain, *arguments) as peer:
        yield peer


async def refusal(port: int, **options: Any) -> Any:
    """The error of a client that trusts `pki.ca`, and asks for localhost; it must not become secure."""
    visitor = Visitor(aiotls.connect("localhost", port, **{"ca": named.ca.cert_pem, **options}))
    error = await visitor.failed()
    assert visitor.secure == visitor.client.bytes_read == 0
    return error


# ---- certificates


@functools.cache
def bundled(name: str) -> Authority:
    """The root that some product has brought to its users' machines, of which its key became known."""
    return Authority.root(name, key="ec")


@functools.cache
def intermediate() -> Authority:
    return named.ca.intermediate("badssl intermediate", key="ec")


def without_chain(identity: Identity) -> Identity:
    """The same, which shows its leaf alone."""
    return Identity(identity.certificate, identity.key)


def with_root(identity: Identity, root: Authority) -> Identity:
    """The same, which shows its root, too."""
    return Identity(identity.certificate, identity.key, (*identity.intermediates, root.certificate))


def interception(name: str) -> Callable[[], Identity]:
    """Somebody in the middle, whose root nobody here trusts."""
    return lambda: with_root(bundled(name).issue(HOST, key="ec"), bundled(name))


@functools.cache
def revoked() -> Identity:
    return named.ca.issue(HOST, key="ec")


@dataclass(frozen=True)
class Refused:
    """What a server shows, and what comes of it."""

    identity: Callable[[], Identity]
    code: str
    alert: int
    options: Callable[[], dict[str, Any]] = field(default=dict)


UNKNOWN_CA, BAD_CERTIFICATE, CERTIFICATE_REVOKED, CERTIFICATE_EXPIRED = 48, 42, 44, 45

REFUSED = {
    "expired": Refused(lambda: named.ca.issue(HOST, expired=True), "CERT_HAS_EXPIRED", CERTIFICATE_EXPIRED),
    "not-yet-valid": Refused(lambda: named.ca.issue(HOST, not_yet_valid=True), "CERT_NOT_YET_VALID", BAD_CERTIFICATE),
    "wrong.host": Refused(
        lambda: named.ca.issue(["wrong.host.example"]), "ERR_TLS_CERT_ALTNAME_INVALID", BAD_CERTIFICATE
    ),
    "self-signed": Refused(lambda: self_signed(HOST), "DEPTH_ZERO_SELF_SIGNED_CERT", UNKNOWN_CA),
    "untrusted-root": Refused(
        lambda: with_root(named.ca_b.issue(HOST), named.ca_b), "SELF_SIGNED_CERT_IN_CHAIN", UNKNOWN_CA
    ),
    "incomplete-chain": Refused(
        lambda: without_chain(intermediate().issue(HOST)), "UNABLE_TO_VERIFY_LEAF_SIGNATURE", UNKNOWN_CA
    ),
    "revoked": Refused(revoked, "CERT_REVOKED", CERTIFICATE_REVOKED, lambda: {"crl": named.ca.crl([revoked()])}),
    **{
        name: Refused(interception(root), "SELF_SIGNED_CERT_IN_CHAIN", UNKNOWN_CA)
        for name, root in {
            "superfish": "Superfish, Inc.",
            "edellroot": "eDellRoot",
            "dsdtestprovider": "DSDTestProvider",
            "mitm-software": "mitmproxy",
            "known-interception": "Known Interception",
            "blocked-interception": "Blocked Interception",
        }.items()
    },
    "preact-cli": Refused(lambda: self_signed(HOST, common_name="preact"), "DEPTH_ZERO_SELF_SIGNED_CERT", UNKNOWN_CA),
    "webpack-dev-server": Refused(lambda: self_signed(HOST, is_ca=True), "DEPTH_ZERO_SELF_SIGNED_CERT", UNKNOWN_CA),
    "captive-portal": Refused(
        lambda: named.ca.issue(["login.portal.example"]), "ERR_TLS_CERT_ALTNAME_INVALID", BAD_CERTIFICATE
    ),
}


@needs("openssl")
@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
@pytest.mark.parametrize("name", REFUSED)
def test_certificates(run: Run, tmp_path: Path, name: str, version: str) -> None:
    """badssl: expired, not-yet-valid, wrong.host, self-signed, untrusted-root, incomplete-chain, revoked, superfish,
    edellroot, dsdtestprovider, preact-cli, webpack-dev-server, mitm-software, captive-portal, known-interception,
    blocked-interception: the code, and the alert that the server hears."""
    row = REFUSED[name]
    files = row.identity().write(tmp_path)

    async def main() -> None:
        async with server_of(files, f"-{version}") as peer:
            error = await refusal(peer.port, **row.options())
            assert isinstance(error, aiotls.VerificationError)
            assert error.code == row.code
            await peer.saw(rf"SSL alert number {row.alert}\b")

    run(main)


@needs("openssl")
@pytest.mark.parametrize("name", ["sha1-intermediate", "sha1-2016"])
def test_sha1(run: Run, tmp_path: Path, name: str) -> None:
    """badssl: sha1-intermediate, sha1-2016, sha1-2017: a signature with SHA-1 anywhere below the root is too weak."""
    root = named.ca.write(tmp_path)
    key = named.server.write(tmp_path).key
    if name == "sha1-intermediate":
        middle = certified(tmp_path, "weak intermediate", root, "sha1", key=key, ca=True)
        files = certified(tmp_path, "leaf", middle, "sha256", key=key)
    else:
        files = certified(tmp_path, "leaf", root, "sha1", key=key)

    async def main() -> None:
        async with server_of(files, "-cipher", LEGACY) as peer:
            error = await refusal(peer.port)
            assert isinstance(error, aiotls.PeerError)
            assert error.code in ("CA_MD_TOO_WEAK", "ERR_SSL_CA_MD_TOO_WEAK", "ERR_SSL_EE_KEY_TOO_SMALL")
            await peer.saw(r"SSL alert number \d+")
            tolerant = await aiotls.connect("localhost", peer.port, ca=named.ca.cert_pem, ciphers=LEGACY)
            assert tolerant.authorized, "it is the digest, and nothing else"
            tolerant.destroy()

    run(main)


@needs("openssl")
def test_expired_and_for_somebody_else(run: Run, tmp_path: Path) -> None:
    """badssl: wrong.host, expired: the chain is looked at first, so an expired one tells nothing of its names."""
    files = named.ca.issue(["wrong.host.example"], expired=True).write(tmp_path)

    async def main() -> None:
        async with server_of(files) as peer:
            assert (await refusal(peer.port)).code == "CERT_HAS_EXPIRED"

    run(main)


# ---- protocols and ciphers


@needs("openssl")
@pytest.mark.parametrize("version", ["tls1", "tls1_1"])
def test_old_versions(run: Run, tmp_path: Path, version: str) -> None:
    """badssl: tls-v1-0, tls-v1-1: refused by default, whoever says so; accepted by who asks for it."""
    files = named.server.write(tmp_path)

    async def main() -> None:
        async with server_of(files, f"-{version}", "-cipher", LEGACY) as peer:
            error = await refusal(peer.port)
            assert isinstance(error, aiotls.PeerError)
            assert error.code in ("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "ERR_SSL_UNSUPPORTED_PROTOCOL")
            options: dict[str, Any] = {"ca": named.ca.cert_pem, "min_version": "TLSv1", "ciphers": LEGACY}
            old = await aiotls.connect("localhost", peer.port, **options)
            assert old.get_protocol() == {"tls1": "TLSv1", "tls1_1": "TLSv1.1"}[version]
            old.destroy()

    run(main)


@needs("gnutls-serv")
@pytest.mark.parametrize("cipher", ["ARCFOUR-128", "3DES-CBC", "NULL"])
def test_weak_ciphers(run: Run, tmp_path: Path, cipher: str) -> None:
    """badssl: rc4, rc4-md5, 3des, null: a real server that has nothing better refuses us."""
    files = named.server.write(tmp_path)
    priority = f"NONE:+VERS-TLS1.2:+RSA:+ECDHE-RSA:+{cipher}:+SHA1:+MD5:+SHA256:+SIGN-ALL:+COMP-NULL:+GROUP-ALL"

    async def main() -> None:
        words = ("--x509certfile", files.chain, "--x509keyfile", files.key, "--disable-client-cert")
        async with gnutls_server(*words, "--priority", priority) as peer:
            error = await refusal(peer.port)
            assert isinstance(error, aiotls.AlertReceived)
            assert ALERTS[error.alert or 0] in ("handshake_failure", "insufficient_security")

    run(main)


@needs("openssl")
def test_null_of_openssl(run: Run, tmp_path: Path) -> None:
    """badssl: null: nothing is sent in plain, not even to a server that could do nothing else."""
    files = named.server.write(tmp_path)

    async def main() -> None:
        async with server_of(files, "-tls1_2", "-cipher", "eNULL:@SECLEVEL=0") as peer:
            assert (await refusal(peer.port)).alert == 40  # handshake_failure

    run(main)


@needs("openssl")
@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_no_client_certificate(run: Run, tmp_path: Path, version: str) -> None:
    """badssl: client-cert-missing: in TLS 1.3 the server's alert comes as an error behind "secure_connect"."""
    files = named.server.write(tmp_path)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(named.ca.cert_pem)

    async def main() -> None:
        async with server_of(files, f"-{version}", "-Verify", "1", "-CAfile", ca_file) as peer:
            visitor = Visitor(aiotls.connect("localhost", peer.port, ca=named.ca.cert_pem)).listen()
            error = await visitor.failed()
            assert isinstance(error, aiotls.AlertReceived)
            assert visitor.data == b""
            if version == "tls1_3":
                assert (visitor.secure, error.alert) == (1, 116)
                assert error.code == "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"
            else:
                assert (visitor.secure, error.alert) == (0, 40)

    run(main)


@needs("openssl")
@pytest.mark.parametrize("bits", [512, 1024])
def test_small_keys(run: Run, tmp_path: Path, bits: int) -> None:
    """badssl: rsa512, rsa1024: a key that is too small for the security level is refused, whoever has signed it."""
    key = tmp_path / "small.pem"
    openssl("genrsa", "-out", key, str(bits))
    files = certified(tmp_path, "leaf", named.ca.write(tmp_path), "sha256", key=key)

    async def main() -> None:
        async with server_of(files, "-cipher", LEGACY, "-tls1_2") as peer:
            error = await refusal(peer.port)
            assert isinstance(error, aiotls.PeerError)
            assert error.code in ("EE_KEY_TOO_SMALL", "ERR_SSL_EE_KEY_TOO_SMALL")

    run(main)
