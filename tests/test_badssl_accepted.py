"""The situations of badssl.com that a client must accept, against real servers on loopback; and one too many."""

import functools
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

import aiotls
from tests.conftest import Run
from tests.support.bad_servers import Visitor
from tests.support.pairs import until
from tests.support.peers import needs, node_server
from tests.support.pki import Identity, IdentityFiles, named, new_rsa_key
from tests.support.servers import serving, to
from tests.test_badssl import HOST, certified, server_of
from tests.test_dhparam import dh_group, dh_prime

pytestmark = needs("openssl")

VERSIONS = ["TLSv1.2", "TLSv1.3"]
DHE = "DHE-RSA-AES128-GCM-SHA256"


async def accepted(port: int, **options: Any) -> aiotls.TLSSocket:
    """A client that trusts `pki.ca` alone, verified by it; to be destroyed."""
    client = await aiotls.connect(**{"host": "localhost", "port": port, "ca": named.ca.cert_pem, **options})
    assert client.authorized
    assert client.authorization_error is None
    return client


def is_good(run: Run, files: IdentityFiles, **options: Any) -> None:
    """Connects to ``openssl s_server`` by either version and says something."""

    async def main() -> None:
        for version in VERSIONS:
            async with server_of(files, f"-{version.replace('TLSv', 'tls').replace('.', '_')}") as peer:
                client = await accepted(peer.port, **options)
                assert client.get_protocol() == version
                client.write(b"are you there\n")
                await peer.saw("are you there")
                client.destroy()
                await client.wait_closed()

    run(main)


# ---- certificates


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_digests(run: Run, tmp_path: Path, digest: str) -> None:
    """badssl: sha256, sha384, sha512."""
    key = named.server.write(tmp_path).key
    files = certified(tmp_path, "leaf", named.ca.write(tmp_path), digest, key=key)
    is_good(run, files)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=["ecc256", "ecc384"])
def test_curves(run: Run, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    """badssl: ecc256, ecc384."""
    is_good(run, named.ca.issue(HOST, key=ec.generate_private_key(curve)).write(tmp_path))


@pytest.mark.parametrize("bits", [2048, 4096])
def test_rsa_keys(run: Run, tmp_path: Path, bits: int) -> None:
    """badssl: rsa2048, rsa4096."""
    is_good(run, named.ca.issue(HOST, key=new_rsa_key(bits)).write(tmp_path))


def test_rsa_8192(run: Run, tmp_path: Path) -> None:
    """badssl: rsa8192."""
    is_good(run, named.ca.issue(HOST, key=rsa_8192()).write(tmp_path))


@functools.cache
def rsa_8192() -> rsa.RSAPrivateKey:
    """A key of this size, at once: its primes are those of two groups of RFC 7919, which no client can see."""
    p, q, e = prime_of_ffdhe6144(), dh_prime(2048), 65537
    d = rsa.rsa_recover_private_exponent(e, p, q)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, p * q)
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def prime_of_ffdhe6144() -> int:
    """RFC 7919, appendix A.4."""
    shift, extra = 6014, 64
    total = term = 1 << shift + extra
    for divisor in range(1, 2000):
        term //= divisor
        total += term
    return int(2**6144 - 2**6080 + ((total >> extra) + 15705020) * 2**64 - 1)


def test_names_without_a_subject(run: Run, tmp_path: Path) -> None:
    """badssl: no-common-name, no-subject: the subjectAltName decides."""
    for attributes in ([], [(NameOID.ORGANIZATION_NAME, "no common name")]):
        identity = named.ca.issue(HOST, common_name=None, attributes=attributes, key="ec")
        assert "CN" not in identity.certificate.subject.rfc4514_string()
        is_good(run, identity.write(tmp_path))


def test_1000_names(run: Run, tmp_path: Path) -> None:
    """badssl: 1000-sans: the last of them counts as well as the first."""
    names = [f"host{number}.example" for number in range(999)] + HOST
    files = named.ca.issue(names, key="ec", common_name=None).write(tmp_path)
    is_good(run, files)
    is_good(run, files, servername="host0.example")


def test_10000_names(run: Run, tmp_path: Path) -> None:
    """badssl: 10000-sans: more than a chain may have: a clean error with an alert, no hang, whoever serves it."""
    names = [f"a-host-with-quite-a-long-name-{number}.example" for number in range(9999)] + HOST
    identity = named.ca.issue(names, key="ec", common_name=None)
    assert len(identity.der) > 100 * 1024
    files = identity.write(tmp_path)

    async def main() -> None:
        async with server_of(files) as peer:
            visitor = Visitor(aiotls.connect("localhost", peer.port, ca=named.ca.cert_pem))
            error = await visitor.failed()
            assert isinstance(error, aiotls.ProtocolError)
            assert error.code == "ERR_SSL_EXCESSIVE_MESSAGE_SIZE"
            assert visitor.secure == 0
            await peer.saw(r"SSL alert number 47\b")
        refused: list[Any] = []
        async with serving(cert=identity.chain_pem, key=identity.key_pem) as server:
            server.on("tls_client_error", lambda error, _: refused.append(error))
            assert (await Visitor(to(server)).failed()).code == "ERR_SSL_EXCESSIVE_MESSAGE_SIZE"
            await until(lambda: refused)
            assert refused[0].alert == 47

    run(main)


@pytest.mark.parametrize("order", ["right", "reversed", "root-first", "twice", "strangers"])
def test_chains(run: Run, tmp_path: Path, order: str) -> None:
    """badssl: reversed-chain: whatever stands behind the leaf, in any order, is what a path is looked for in."""
    upper = named.ca.intermediate("upper", key="ec")
    lower = upper.intermediate("lower", key="ec")
    leaf = lower.issue(HOST, key="ec")
    right = [lower.certificate, upper.certificate]
    chain = {
        "right": right,
        "reversed": right[::-1],
        "root-first": [named.ca.certificate, *right[::-1]],
        "twice": [*right, *right],
        "strangers": [named.ca_b.certificate, *right, named.int_b.certificate],
    }[order]
    files = Identity(leaf.certificate, leaf.key, tuple(chain)).write(tmp_path)

    async def main() -> None:
        async with server_of(files) as peer:
            client = await accepted(peer.port)
            await peer.saw("ACCEPT")
            client.destroy()
            await client.wait_closed()

    run(main)


@pytest.mark.parametrize("name", ["xn--n1aae7f7o.example", "фывапр.example"], ids=["a-label", "u-label"])
def test_international_names(run: Run, tmp_path: Path, name: str) -> None:
    """badssl: xn--n1aae7f7o: asked for in either form; the certificate has the one of the wire."""
    wire = name.encode("idna").decode()
    files = named.ca.issue([wire], key="ec").write(tmp_path)

    async def main() -> None:
        async with server_of(files, "-servername", wire, "-cert2", files.cert, "-key2", files.key) as peer:
            client = await accepted(peer.port, host=name, lookup=lambda *_: "127.0.0.1")
            assert client.servername == wire
            await peer.saw(f'Hostname in TLS extension: "{re.escape(wire)}"')
            client.destroy()
            await client.wait_closed()

    run(main)


@needs("node")
def test_no_sct(run: Run) -> None:
    """badssl: no-sct: nobody logs what is made here, and nobody asks; the peer is Node."""

    async def main() -> None:
        identity = named.server_ec
        async with node_server(cert=identity.chain_pem.decode(), key=identity.key_pem.decode()) as peer:
            client = await accepted(peer.port, host="127.0.0.1", servername="localhost")
            names = [extension.oid.dotted_string for extension in identity.certificate.extensions]
            assert "1.3.6.1.4.1.11129.2.4.2" not in names
            client.end(b"hello")
            assert await client.read() == b"hello"
            await client.wait_closed()

    run(main)


# ---- ciphers

CIPHERS = {
    "cbc": ["ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384", "AES128-SHA", "AES256-SHA256"],
    "static-rsa": ["AES128-GCM-SHA256", "AES256-GCM-SHA384"],
    "dh2048": [DHE, "DHE-RSA-AES256-SHA256"],
    "mozilla-modern": ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"],
}


@pytest.mark.parametrize("cipher", [cipher for ciphers in CIPHERS.values() for cipher in ciphers])
def test_ciphers(run: Run, tmp_path: Path, cipher: str) -> None:
    """badssl: cbc, static-rsa, dh2048: what such a server has is in our default list."""
    files = named.server.write(tmp_path)
    parameters = tmp_path / "dh.pem"
    parameters.write_bytes(dh_group(2048))

    async def main() -> None:
        async with server_of(files, "-tls1_2", "-cipher", cipher, "-dhparam", parameters) as peer:
            client = await accepted(peer.port)
            negotiated = client.get_cipher()
            assert negotiated is not None
            assert negotiated.name == cipher
            client.write(b"are you there\n")
            await peer.saw("are you there")
            client.destroy()
            await client.wait_closed()

    run(main)
