"""The options `cert`, `key` and `passphrase`: several identities at once, and which of them a peer gets."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import aiotls
from tests.support.pairs import Pair
from tests.support.pki import Identity, Named, named

ALGORITHMS = {"server": "RSA-PSS+SHA256:RSA+SHA256", "server_ec": "ECDSA+SHA256", "server_ed25519": "ed25519"}
"""What a client verifies, by the identity that it then gets."""
RSA_TOO = ":RSA+SHA256"
"""The root has signed with RSA: clients of TLS 1.2 have to offer that as well."""


def shown(server: aiotls.SecureContext, **client: Any) -> list[bytes]:
    """The chain that a client gets, as DER, leaf first."""
    context = aiotls.create_secure_context(ca=client.pop("ca", named.ca.cert_pem), **client)
    pair = Pair.connected(client={"context": context, "reject_unauthorized": False}, server={"context": server})
    return pair.client.connection.engine.peer_chain()


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    """A protocol version."""
    return str(request.param)


@pytest.mark.parametrize("order", list(itertools.permutations(ALGORITHMS)), ids="-".join)
@pytest.mark.parametrize("turned", [0, 1, 2])
def test_chains_and_keys_in_any_order(pki: Named, order: tuple[str, ...], turned: int) -> None:
    """`cert`, one per key, any order: RSA, P-256 and Ed25519, and every client gets its own."""
    identities: list[Identity] = [getattr(pki, name) for name in order]
    keys = [identity.key_pem for identity in (*identities[turned:], *identities[:turned])]
    server = aiotls.create_secure_context(cert=[identity.chain_pem for identity in identities], key=keys)
    for name, algorithms in ALGORITHMS.items():
        for version in ("TLSv1.2", "TLSv1.3"):
            rest = RSA_TOO if version == "TLSv1.2" and name != "server" else ""
            chain = shown(server, sigalgs=algorithms + rest, max_version=version, **suites_for(name))
            assert chain[0] == getattr(pki, name).der, (name, version)


def suites_for(name: str) -> dict[str, Any]:
    """In TLS 1.2 it is the suite that decides between RSA and the others."""
    return {"ciphers": "ECDHE+aRSA" if name == "server" else "ECDHE+aECDSA"}


def test_each_chain_goes_with_its_own_intermediates(pki: Named, version: str) -> None:
    """Two identities of two authorities: what is sent are the certificates between each and its own root."""
    one, other = pki.chain_b, pki.chain_ec
    server = aiotls.create_secure_context(
        cert=[other.chain_pem, one.chain_pem], key=[one.key_pem, other.key_pem], max_version=version
    )
    for identity, ca, name in ((one, pki.ca_b, "server"), (other, pki.ca_ec, "server_ec")):
        algorithms = ALGORITHMS[name] + ("" if name == "server" else RSA_TOO)
        chain = shown(server, ca=ca.cert_pem, sigalgs=algorithms, **suites_for(name))
        sent = [
            certificate.public_bytes(Encoding.DER) for certificate in (identity.certificate, *identity.intermediates)
        ]
        assert chain[: len(sent)] == sent


KEYS: dict[str, Callable[[Identity, Path], Any]] = {
    "bytes": lambda own, _: own.key_pem,
    "str": lambda own, _: own.key_pem.decode(),
    "bytearray": lambda own, _: bytearray(own.key_pem),
    "memoryview": lambda own, _: memoryview(own.key_pem),
    "list": lambda own, _: [own.key_pem],
    "tuple": lambda own, _: (own.key_pem,),
    "dict": lambda own, _: [{"pem": own.key_pem}],
    "dict of a path": lambda own, folder: [{"pem": own.write(folder).key}],
    "path": lambda own, folder: own.write(folder).key,
    "list of a path": lambda own, folder: [own.write(folder).key],
    "object of cryptography": lambda own, _: own.key,
    "list of an object": lambda own, _: [own.key],
    "encrypted": lambda own, _: own.key_pem_encrypted(b"password"),
    "encrypted in a dict": lambda own, _: [{"pem": own.key_pem_encrypted(b"inner"), "passphrase": "inner"}],
    "after its certificate": lambda own, _: own.chain_pem + own.key_pem,
}
CERTS: dict[str, Callable[[Identity, Path], Any]] = {
    "bytes": lambda own, _: own.chain_pem,
    "str": lambda own, _: own.chain_pem.decode(),
    "bytearray": lambda own, _: bytearray(own.chain_pem),
    "memoryview": lambda own, _: memoryview(own.chain_pem),
    "list": lambda own, _: [own.chain_pem],
    "tuple": lambda own, _: (own.chain_pem.decode(),),
    "path": lambda own, folder: own.write(folder).chain,
    "list of a path": lambda own, folder: [own.write(folder).chain],
    "object of cryptography": lambda own, _: own.certificate,
    "list of an object": lambda own, _: [own.certificate],
    "DER": lambda own, _: own.der,
    "list of DER": lambda own, _: [bytearray(own.der)],
    "X509 CERTIFICATE": lambda own, _: own.chain_pem.replace(b"CERTIFICATE", b"X509 CERTIFICATE"),
    "TRUSTED CERTIFICATE": lambda own, _: own.chain_pem.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"),
    "before its key": lambda own, _: own.chain_pem + own.key_pem,
}


@pytest.mark.parametrize("identity", ["server", "server_ec", "server_ed25519"])
@pytest.mark.parametrize("shape", KEYS)
def test_shapes_of_keys(pki: Named, tmp_path: Path, shape: str, identity: str) -> None:
    """OPT-01: every shape of a private key, RSA, P-256 and Ed25519, signs a handshake."""
    own: Identity = getattr(pki, identity)
    server = aiotls.create_secure_context(cert=own.chain_pem, key=KEYS[shape](own, tmp_path), passphrase="password")
    assert shown(server)[0] == own.der


@pytest.mark.parametrize("shape", CERTS)
def test_shapes_of_certificates(pki: Named, tmp_path: Path, shape: str) -> None:
    """OPT-01: every shape of a certificate; those of texts bring their chain."""
    own = pki.chain_b
    server = aiotls.create_secure_context(cert=CERTS[shape](own, tmp_path), key=own.key_pem)
    chain = shown(server, ca=[])
    assert chain[0] == own.der
    alone = "DER" in shape or "object" in shape
    assert len(chain) == (1 if alone else 2)


def test_shapes_side_by_side(pki: Named, tmp_path: Path) -> None:
    """A list may hold one of each."""
    rsa, ec, ed25519 = pki.server, pki.server_ec, pki.server_ed25519
    server = aiotls.create_secure_context(
        cert=[ec.certificate, rsa.write(tmp_path).chain, ed25519.der],
        key=[{"pem": ed25519.key_pem_encrypted(b"its own").decode(), "passphrase": b"its own"}, rsa.key, ec.key_pem],
    )
    for name, own in (("server", rsa), ("server_ec", ec), ("server_ed25519", ed25519)):
        assert shown(server, sigalgs=ALGORITHMS[name])[0] == own.der


# ---- passphrases


@pytest.mark.parametrize("answer", ["password", b"password", bytearray(b"password"), memoryview(b"password")])
def test_a_passphrase_is_asked_for_when_it_is_needed(pki: Named, answer: Any) -> None:
    """A callable is asked once for each key that is encrypted, and for no other."""
    asked: list[str] = []

    def ask() -> Any:
        asked.append("passphrase")
        return answer

    own, other = pki.server, pki.server_ec
    aiotls.create_secure_context(cert=own.chain_pem, key=own.key_pem, passphrase=ask)
    aiotls.create_secure_context(passphrase=ask)
    inner: Any = [{"pem": own.key_pem_encrypted(b"inner"), "passphrase": "inner"}]
    aiotls.create_secure_context(cert=own.chain_pem, key=inner, passphrase=ask)
    assert asked == []
    keys = [own.key_pem_encrypted(b"password"), other.key_pem]
    server = aiotls.create_secure_context(cert=[own.chain_pem, other.chain_pem], key=keys, passphrase=ask)
    assert asked == ["passphrase"]
    assert shown(server, sigalgs=ALGORITHMS["server"])[0] == own.der
    keys = [own.key_pem_encrypted(b"password"), other.key_pem_encrypted(b"password", traditional=True)]
    aiotls.create_secure_context(cert=[own.chain_pem, other.chain_pem], key=keys, passphrase=ask)
    assert asked == ["passphrase"] * 3


@pytest.mark.parametrize("answer", [None, "", b"", "another"])
def test_an_answer_that_does_not_open_the_key(pki: Named, answer: Any) -> None:
    """As if it had been given as a text: an error at once that does not tell it."""
    key = pki.server.key_pem_encrypted(b"password")
    for passphrase in (answer, lambda: answer):
        with pytest.raises(aiotls.OptionError, match="bad decrypt") as caught:
            aiotls.create_secure_context(key=key, passphrase=passphrase)
        assert (caught.value.code, caught.value.option) == ("ERR_OSSL_BAD_DECRYPT", "key")
        assert "another" not in str(caught.value)


# ---- what does not fit together


def test_a_key_that_belongs_to_no_certificate(pki: Named) -> None:
    """An error, whatever their types; it names the key."""
    rsa, ec, ed25519 = pki.server, pki.server_ec, pki.server_ed25519
    for cert, key, option in (
        (rsa.chain_pem, ec.key_pem, "key"),
        ([rsa.chain_pem, ec.chain_pem], [rsa.key_pem, ed25519.key_pem], r"key\[1\]"),
        ([ec.chain_pem], [pki.client_ec.key_pem], r"key\[0\]"),
        ([rsa.chain_pem, ec.chain_pem], [pki.leaf_a.key_pem, ec.key_pem], r"key\[0\]"),
    ):
        with pytest.raises(aiotls.OptionError, match=f"{option}: .*it belongs to no certificate that stands first"):
            aiotls.create_secure_context(cert=cert, key=key)


def test_a_certificate_without_its_key(pki: Named, version: str) -> None:
    """It is taken, as the reference does, and not shown: the other one is."""
    rsa, ec = pki.server, pki.server_ec
    server = aiotls.create_secure_context(cert=[ec.chain_pem, rsa.chain_pem], key=rsa.key_pem)
    assert shown(server, max_version=version)[0] == rsa.der
