"""PKCS#12 files that other programs write, and other programs as the peers of who is in them."""

import re
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support import pkcs12
from tests.support.peers import (
    Peer,
    curl,
    gnutls_client,
    needs,
    node_client,
    openssl_client,
    openssl_server,
    python_client,
)
from tests.support.pki import Named
from tests.support.servers import echo, port_of, serving
from tests.test_identities import SOURCES, Both, asking_for, options_of, wanting
from tests.test_pfx import WORDS, assert_shows_chain_ec, only

UNSUPPORTED = "ERR_CRYPTO_UNSUPPORTED_OPERATION"

# ---- files of the program openssl

TRIPLE_DES = ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1")
OPENSSL_FORMS: dict[str, tuple[tuple[str, ...], Any]] = {
    "defaults": ((), "sample"),
    "as bytes": ((), b"sample"),
    "AES-256-CBC": (("-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256"), "sample"),
    "AES-128-CBC, SHA-1": (("-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC", "-macalg", "sha1"), "sample"),
    "SHA-512": (("-macalg", "sha512"), "sample"),
    "triple DES": (TRIPLE_DES, "sample"),
    "certificates open": (("-certpbe", "NONE"), "sample"),
    "key open": (("-keypbe", "NONE"), "sample"),
    "all open under a MAC": (("-keypbe", "NONE", "-certpbe", "NONE"), "sample"),
    "all open, no MAC": (pkcs12.OPEN, None),
    "no MAC": (("-nomac",), "sample"),
    "many rounds": (("-iter", "50000"), "sample"),
    "a name": (("-name", "наш ключ"), "sample"),
    "words of all the world": ((), WORDS),
    "words of all the world, triple DES": (TRIPLE_DES, WORDS),
    "empty passphrase": ((), ""),
    "empty passphrase, none given": ((), None),
    "empty passphrase, triple DES": (TRIPLE_DES, ""),
}


@needs("openssl")
@pytest.mark.parametrize("form", OPENSSL_FORMS)
def test_openssl_files(run: Run, pki: Named, tmp_path: Path, form: str) -> None:
    """``openssl pkcs12 -export`` writes them, ``openssl s_client`` verifies what they hold: leaf and intermediate."""
    arguments, passphrase = OPENSSL_FORMS[form]
    data = pkcs12.by_openssl(pki.chain_ec, encoded(passphrase), *arguments)
    (tmp_path / "ca.pem").write_bytes(pki.ca_ec.cert_pem)

    async def main() -> None:
        trust = ("-CAfile", tmp_path / "ca.pem", "-verify_return_error", "-showcerts")
        async with (
            serving(echo, **only(data, passphrase)) as server,
            openssl_client(*trust, port=port_of(server)) as peer,
        ):
            await assert_echoes(peer)
            assert len(re.findall("BEGIN CERTIFICATE", peer.text)) == 2

    run(main)


def encoded(passphrase: Any) -> bytes:
    return passphrase.encode() if isinstance(passphrase, str) else passphrase or b""


@needs("openssl")
@pytest.mark.parametrize("passphrase", [None, "", "guessed wrongly"])
@pytest.mark.parametrize("arguments", [("-nomac",), ("-nomac", *TRIPLE_DES[:4]), ("-nomac", "-certpbe", "NONE")])
def test_wrong_passphrases_without_a_mac(pki: Named, arguments: tuple[str, ...], passphrase: str | None) -> None:
    """KEYS-02, failure model 32: nothing but the decryption tells, and it tells an error that names `pfx`."""
    data = pkcs12.by_openssl(pki.chain_ec, b"sample", *arguments)
    with pytest.raises(aiotls.OptionError, match="pfx") as raised:
        aiotls.create_secure_context(pfx=data, passphrase=passphrase)
    assert raised.value.option == "pfx"
    assert "guessed" not in f"{raised.value} {raised.value!r}"


@needs("openssl")
@pytest.mark.parametrize(
    "arguments",
    [
        ("-legacy",),
        pkcs12.RC2,
        ("-legacy", "-certpbe", "PBE-SHA1-RC4-128"),
        ("-nomac", *pkcs12.RC2[:-2]),
    ],
    ids=" ".join,
)
def test_keys_03_legacy(pki: Named, arguments: tuple[str, ...]) -> None:
    """KEYS-03: what ``openssl pkcs12 -export -legacy`` writes."""
    with pytest.raises(aiotls.OptionError, match="Unsupported PKCS12 PFX data") as raised:
        aiotls.create_secure_context(pfx=pkcs12.by_openssl(pki.server_ec, b"sample", *arguments), passphrase="sample")
    assert (raised.value.code, raised.value.option) == (UNSUPPORTED, "pfx")


# ---- files of GnuTLS and Java


@needs("certtool")
@pytest.mark.parametrize("cipher", ["3des-pkcs12", "3des", "aes-128", "aes-256"])
def test_gnutls_files(run: Run, pki: Named, tmp_path: Path, cipher: str) -> None:
    """``certtool --to-p12`` writes them."""
    data = pkcs12.by_certtool(pki.chain_ec, tmp_path, "--password", "sample", "--pkcs-cipher", cipher)
    run(lambda: assert_shows_chain_ec(pki, **only(data)))


@needs("certtool")
def test_gnutls_files_without_a_passphrase(run: Run, pki: Named, tmp_path: Path) -> None:
    """``certtool --null-password``: the empty passphrase, or none, opens them."""
    data = pkcs12.by_certtool(pki.chain_ec, tmp_path, "--null-password")

    async def main() -> None:
        for passphrase in (None, ""):
            await assert_shows_chain_ec(pki, **only(data, passphrase))

    run(main)


@needs("certtool")
@pytest.mark.parametrize("cipher", ["arcfour", "rc2-40"])
def test_keys_03_gnutls_legacy(pki: Named, tmp_path: Path, cipher: str) -> None:
    """KEYS-03: the old algorithms, from another program."""
    data = pkcs12.by_certtool(pki.chain_ec, tmp_path, "--password", "sample", "--pkcs-cipher", cipher)
    with pytest.raises(aiotls.OptionError, match="Unsupported PKCS12 PFX data") as raised:
        aiotls.create_secure_context(pfx=data, passphrase="sample")
    assert raised.value.code == UNSUPPORTED


@needs("keytool")
def test_java_key_stores(run: Run, pki: Named, tmp_path: Path) -> None:
    """A key store with one entry, as ``keytool`` writes it."""
    data = pkcs12.by_keytool([pki.chain_ec], tmp_path)
    run(lambda: assert_shows_chain_ec(pki, **only(data)))


@needs("keytool", "openssl")
def test_java_key_stores_with_two_entries(run: Run, pki: Named, both: Both, ca_file: Path, tmp_path: Path) -> None:
    """Both entries are identities of ours."""
    data = pkcs12.by_keytool([both.rsa, both.ec], tmp_path)

    async def main() -> None:
        async with serving(echo, **only(data)) as server:
            for (kind, _), wish in OPENSSL.items():
                arguments = ("-CAfile", ca_file, "-verify_return_error", *wish)
                async with openssl_client(*arguments, port=port_of(server)) as peer:
                    await assert_echoes(peer)
                    await peer.saw(rf"^subject=CN ?= ?the {kind} one$")

    run(main)


@needs("keytool")
def test_keys_03_java_legacy(pki: Named, tmp_path: Path) -> None:
    """KEYS-03: a key store with the algorithms of old Java."""
    data = pkcs12.by_keytool([pki.server_ec], tmp_path, "sample", "-J-Dkeystore.pkcs12.legacy")
    with pytest.raises(aiotls.OptionError, match="Unsupported PKCS12 PFX data") as raised:
        aiotls.create_secure_context(pfx=data, passphrase="sample")
    assert raised.value.code == UNSUPPORTED


# ---- several identities, and what each peer can verify

OPENSSL = {
    ("rsa", "TLSv1.2"): ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("ec", "TLSv1.2"): ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("rsa", "TLSv1.3"): ("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256"),
    ("ec", "TLSv1.3"): ("-tls1_3", "-sigalgs", "ECDSA+SHA256:RSA+SHA256"),
}
GNUTLS = {
    "rsa": "-SIGN-ALL:+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-SHA256",
    "ec": "-SIGN-ALL:+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SHA256:+SIGN-RSA-SHA256",
}
kinds = pytest.mark.parametrize("kind", ["rsa", "ec"])
versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


@pytest.fixture(scope="module")
def both(pki: Named) -> Both:
    return Both.issued(pki)


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, both: Both) -> dict[str, Any]:
    """Both identities, in each of the ways there are."""
    return options_of(request.param, both)


@needs("openssl")
@kinds
@versions
def test_openssl(run: Run, both: Both, ca_file: Path, source: dict[str, Any], kind: str, version: str) -> None:
    """``openssl s_client`` gets what it can verify."""

    async def main() -> None:
        arguments = ("-CAfile", ca_file, "-verify_return_error", *OPENSSL[kind, version])
        async with (
            serving(echo, **source) as server,
            openssl_client(*arguments, port=port_of(server)) as peer,
        ):
            await assert_echoes(peer)
            await peer.saw(rf"^subject=CN ?= ?the {kind} one$")

    run(main)


@needs("gnutls-cli")
@kinds
@versions
def test_gnutls(run: Run, both: Both, ca_file: Path, kind: str, version: str) -> None:
    """``gnutls-cli`` gets what it can verify."""
    exchange = f":-KX-ALL:+ECDHE-{'RSA' if kind == 'rsa' else 'ECDSA'}" if version == "TLSv1.2" else ""
    priority = f"NORMAL:-VERS-ALL:+VERS-TLS{version.removeprefix('TLSv')}{exchange}:{GNUTLS[kind]}"
    options = options_of("PFX and PEM", both)

    async def main() -> None:
        arguments = ("--x509cafile", ca_file, "--priority", priority)
        async with (
            serving(echo, **options) as server,
            gnutls_client(*arguments, port=port_of(server)) as peer,
        ):
            await peer.saw(rf"^ - subject `CN=the {kind} one'")
            await peer.saw(r"^- Status: The certificate is trusted\.")
            await assert_echoes(peer)

    run(main)


@needs("curl")
@kinds
def test_curl(run: Run, both: Both, ca_file: Path, kind: str) -> None:
    """curl gets what its cipher list allows."""
    suite = wanting(kind, "TLSv1.2")["ciphers"]

    def answer(socket: aiotls.TLSSocket) -> None:
        socket.on("data", lambda _: socket.end(b"HTTP/1.0 200 OK\r\n\r\n"))

    async def main() -> None:
        async with serving(answer, **options_of("two PFX", both)) as server:
            limits = ("--tls-max", "1.2", "--ciphers", suite)
            result = await curl("--cacert", ca_file, *limits, f"https://localhost:{port_of(server)}/")
            assert result.exit_code == 0, result.text
            assert f"subject: CN=the {kind} one" in result.errors

    run(main)


@pytest.mark.parametrize("client", [pytest.param("node", marks=needs("node")), "python"])
@kinds
def test_scripted(run: Run, pki: Named, both: Both, client: str, kind: str) -> None:
    """Node and Python's own ssl get what their cipher lists allow."""
    start = node_client if client == "node" else python_client

    async def main() -> None:
        async with serving(echo, **options_of("one PFX with both", both)) as server:
            wish = {"max_version": "TLSv1.2", "ciphers": wanting(kind, "TLSv1.2")["ciphers"]}
            where = {"host": "127.0.0.1", "port": port_of(server), "servername": "localhost"}
            async with start(ca=pki.ca.cert_pem.decode(), **where, **wish) as peer:
                secure = await peer.event("secure")
                assert f"the {kind} one" in str(secure["peer"])
                peer.write_eof()

    run(main)


@needs("openssl")
@kinds
@versions
def test_openssl_asks_us(
    run: Run, pki: Named, both: Both, ca_file: Path, tmp_path: Path, kind: str, version: str
) -> None:
    """``openssl s_server`` says what it can verify of a client, and gets that."""
    files = pki.server.write(tmp_path)
    wish = asking_for(kind, version)

    async def main() -> None:
        arguments = ("-Verify", "1", "-verify_return_error", "-CAfile", ca_file, "-client_sigalgs", wish)
        async with openssl_server("-cert", files.chain, "-key", files.key, *arguments) as peer:
            options: dict[str, Any] = {"ca": pki.ca.cert_pem, "max_version": version}
            async with aiotls.connect("localhost", peer.port, **options, **options_of("PFX and PEM", both)) as client:
                client.write(b"hello\n")
                await peer.saw(r"^hello$")
                await peer.saw(rf"^subject=CN ?= ?the {kind} one$")

    run(main)


async def assert_echoes(peer: Peer) -> None:
    peer.write(b"hello\n")
    await peer.saw(r"^hello$")
