"""The certificate objects of both sides of a connection."""

import base64
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import aiotls
from aiotls.certificate import PeerCertificate
from tests.conftest import Run
from tests.support import odd_certificates as odd
from tests.support.odd_catalogue import CATALOGUE, made
from tests.support.pairs import tls_pair
from tests.support.peers import needs
from tests.support.pki import Identity, Named
from tests.support.visits import credentials


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def serial(identity: Identity) -> int:
    return identity.certificate.serial_number


def number(certificate: PeerCertificate) -> int:
    text = certificate.serial_number or ""
    assert text == text.upper()
    assert ":" not in text
    return int(text, 16)


def chain_of(certificate: PeerCertificate | None) -> Iterator[PeerCertificate]:
    """It, its issuer and so on; a root that is its own issuer ends it."""
    while certificate:
        yield certificate
        issuer = certificate.issuer_certificate
        certificate = None if issuer is certificate else issuer


def test_a_chain(run: Run, pki: Named, version: str) -> None:
    """CERT-03, CERT-07: leaf and intermediate in one PEM; the client trusts the root alone."""

    async def main() -> None:
        server = {
            **credentials(pki.chain_a),
            "max_version": version,
            "request_cert": True,
            "reject_unauthorized": False,
        }
        client = {"ca": pki.ca_a.cert_pem, "check_server_identity": lambda *_: None}
        async with tls_pair(client=client, server=server) as (near, far):
            assert near.authorized
            leaf = near.get_peer_certificate()
            assert leaf
            assert leaf.subject == {"emailAddress": "adam@example.com", "CN": "Ádám Lippai"}
            assert leaf.issuer == {"CN": "ca1 intermediate"}
            assert number(leaf) == serial(pki.chain_a)
            assert leaf.issuer_certificate is None
            detailed, intermediate, root = chain_of(near.get_peer_certificate(True))
            assert detailed == leaf
            assert (intermediate.subject, intermediate.issuer) == ({"CN": "ca1 intermediate"}, {"CN": "ca1"})
            assert root.subject == root.issuer == {"CN": "ca1"}
            assert root.issuer_certificate is root
            assert [number(each) for each in (detailed, intermediate, root)] == [
                serial(pki.chain_a),
                serial(pki.int_a),
                serial(pki.ca_a),
            ]
            own = far.get_certificate()
            assert own == leaf
            for nobody in (far.get_peer_certificate(), far.get_peer_certificate(True), near.get_certificate()):
                assert nobody is not None
                assert not nobody
                assert nobody.to_dict() == {}

    run(main)


def test_an_intermediate_in_ca(run: Run, pki: Named, version: str) -> None:
    """CERT-04: the leaf alone as `cert`, its issuer in `ca`; the client gets both."""

    async def main() -> None:
        leaf = {"cert": pki.chain_a.cert_pem, "key": pki.chain_a.key_pem, "ca": pki.int_a.cert_pem}
        client = {"ca": pki.ca_a.cert_pem, "check_server_identity": lambda *_: None}
        async with tls_pair(client=client, server={**leaf, "max_version": version}) as (near, _):
            assert near.authorized
            found = list(chain_of(near.get_peer_certificate(True)))
            assert [each.raw for each in found] == [pki.chain_a.der, pki.int_a.der, pki.ca_a.der]
            assert [number(each) for each in found] == [serial(each) for each in (pki.chain_a, pki.int_a, pki.ca_a)]

    run(main)


BROKEN_NAMES = [
    b"",
    b"junk",
    b"\x30\x02\x82\x05",
    odd.sequence(odd.tlv(0x8E, b"x")),
    odd.sequence(odd.tlv(0x02, b"\1")),
]


@pytest.mark.parametrize("value", BROKEN_NAMES)
def test_broken_names(run: Run, version: str, value: bytes) -> None:
    """CERT-05: a self-signed certificate with a subjectAltName that is none: refused cleanly, or without names."""

    async def main() -> None:
        der = odd.certificate(extensions=[odd.extension(odd.SUBJECT_ALT_NAME, value)])
        server = {**odd.credentials(der), "max_version": version}
        try:
            async with tls_pair(client={"reject_unauthorized": False}, server=server) as (near, far):
                for certificate in (
                    near.get_peer_certificate(),
                    near.get_peer_certificate(True),
                    far.get_certificate(),
                ):
                    assert certificate
                    assert certificate.subjectaltname is None
                    assert "subjectaltname" not in certificate.to_dict()
                    assert certificate.subject == {"CN": "odd"}
                assert not near.authorized
        except (aiotls.OptionError, aiotls.PeerError):
            return

    run(main)


@pytest.mark.parametrize("trusting", ["client", "server", "nobody"])
def test_rsa_fields(run: Run, pki: Named, version: str, trusting: str) -> None:
    """CERT-06: every field of LEAF-A and of its issuer, who is known to the client, sent by the server, or neither."""

    async def main() -> None:
        server: dict[str, Any] = {**credentials(pki.leaf_a), "max_version": version}
        client: dict[str, Any] = {"reject_unauthorized": False, "ca": []}
        if trusting != "nobody":
            (client if trusting == "client" else server)["ca"] = pki.ca_a.cert_pem
        async with tls_pair(client=client, server=server) as (near, _):
            own = near.get_certificate()
            assert own is not None
            assert own.to_dict() == {}
            brief, leaf = near.get_peer_certificate(), near.get_peer_certificate(True)
            assert brief == leaf
            assert brief
            assert leaf
            assert brief.issuer_certificate is None
            assert "issuerCertificate" not in brief.to_dict()
            look_at_leaf_a(leaf, pki)
            issuer = leaf.issuer_certificate
            if trusting == "nobody":
                assert issuer is None
                assert "issuerCertificate" not in leaf.to_dict()
                return
            assert issuer
            assert issuer.raw == pki.ca_a.der
            assert issuer.ca is issuer.to_dict()["ca"] is True
            assert issuer.issuer_certificate is issuer
            fields = leaf.to_dict()["issuerCertificate"]
            assert fields["issuerCertificate"] is fields

    run(main)


def look_at_leaf_a(leaf: PeerCertificate, pki: Named) -> None:
    assert leaf.ca is False
    assert leaf.subject["emailAddress"] == "agent1@example.com"
    assert number(leaf) == serial(pki.leaf_a)
    assert leaf.exponent == "0x10001"
    assert leaf.bits == 2048 == len(leaf.modulus or "") * 4
    assert int(leaf.modulus or "", 16) > 1 << 2047
    for text, digest in ((leaf.fingerprint, "sha1"), (leaf.fingerprint256, "sha256"), (leaf.fingerprint512, "sha512")):
        assert text == hashlib.new(digest, pki.leaf_a.der).digest().hex(":").upper()
    spki = pki.leaf_a.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    own, known = hashlib.sha256(leaf.pubkey or b""), hashlib.sha256(spki)
    assert own.hexdigest() == known.hexdigest()
    assert base64.b64encode(own.digest()) == base64.b64encode(known.digest())
    assert leaf.info_access is not None
    assert leaf.info_access["OCSP - URI"] == ["http://ocsp.example.com/"]
    fields = leaf.to_dict()
    assert fields["serialNumber"] == leaf.serial_number
    assert fields["infoAccess"] == leaf.info_access
    assert fields["raw"] == pki.leaf_a.der


def test_ec_fields(run: Run, pki: Named, version: str) -> None:
    """CERT-06: SELF-EC: the curve by both names, the point as key, itself as issuer."""

    async def main() -> None:
        server = {**credentials(pki.self_ec), "max_version": version}
        async with tls_pair(client={"reject_unauthorized": False}, server=server) as (near, _):
            found = near.get_peer_certificate(True)
            assert found
            assert (found.exponent, found.modulus, found.info_access) == (None, None, None)
            assert (found.asn1_curve, found.nist_curve, found.bits) == ("prime256v1", "P-256", 256)
            assert found.pubkey is not None
            assert (len(found.pubkey), found.pubkey[0]) == (65, 4)
            assert found.issuer_certificate is found
            fields = found.to_dict()
            assert fields["issuerCertificate"] is fields
            assert fields["pubkey"] == found.pubkey
            assert not fields.keys() & {"exponent", "modulus", "infoAccess"}
            assert (fields["asn1Curve"], fields["nistCurve"], fields["bits"]) == ("prime256v1", "P-256", 256)

    run(main)


def test_a_certificate_alone(run: Run, pki: Named, version: str) -> None:
    """CERT-06: only the whole chain has issuers, even if the certificate is its own."""

    async def main() -> None:
        server = {**credentials(pki.self_ec), "max_version": version}
        async with tls_pair(client={"reject_unauthorized": False}, server=server) as (near, far):
            for alone in (near.get_peer_certificate(), near.get_peer_certificate(False), far.get_certificate()):
                assert alone
                assert alone.issuer_certificate is None
                assert "issuerCertificate" not in alone.to_dict()

    run(main)


def test_x509(run: Run, pki: Named, version: str) -> None:
    """CERT-08: cryptography's objects on both sides; the issuer through the chain."""

    async def main() -> None:
        server = {
            **credentials(pki.chain_a),
            "max_version": version,
            "request_cert": True,
            "reject_unauthorized": False,
        }
        async with tls_pair(client={"reject_unauthorized": False, "ca": []}, server=server) as (near, far):
            own = far.get_x509_certificate()
            assert own is not None
            assert own.serial_number == serial(pki.chain_a)
            assert far.get_peer_x509_certificate() is None
            assert near.get_x509_certificate() is None
            assert near.get_peer_x509_certificate() == own == pki.chain_a.certificate
            leaf, intermediate = chain_of(near.get_peer_certificate(True))
            assert leaf.x509 == own
            assert intermediate.x509 == pki.int_a.certificate
            assert intermediate.issuer_certificate is None

    run(main)


def test_utf_8(run: Run, pki: Named) -> None:
    """CERT-07: characters beyond ASCII, decoded."""

    async def main() -> None:
        async with tls_pair(client={"reject_unauthorized": False}, server=credentials(pki.chain_a)) as (near, _):
            found = near.get_peer_certificate()
            assert found
            assert found.subject["CN"] == found.to_dict()["subject"]["CN"] == "Ádám Lippai"

    run(main)


def test_both_sides(run: Run, pki: Named, version: str) -> None:
    """CERT-03: with a client certificate each side sees the other's, in full."""

    async def main() -> None:
        asks = {"request_cert": True, "ca": pki.ca.cert_pem, "max_version": version}
        async with tls_pair(client=credentials(pki.client), server={**credentials(pki.server), **asks}) as (near, far):
            for one, other, identity in ((near, far, pki.client), (far, near, pki.server)):
                theirs = other.get_peer_certificate(True)
                assert one.get_certificate() == theirs
                assert [each.raw for each in chain_of(theirs)] == [identity.der, pki.ca.der]

    run(main)


# ---- keys of other kinds


def private(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_other_curves(run: Run, curve: ec.EllipticCurve) -> None:
    async def main() -> None:
        key = ec.generate_private_key(curve)
        der = odd.certificate(key=key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        server = {"cert": odd.pem(der), "key": private(key)}
        async with tls_pair(client={"reject_unauthorized": False}, server=server) as (near, _):
            found = near.get_peer_certificate()
            assert found
            assert (found.asn1_curve, found.bits) == (curve.name, curve.key_size)
            assert found.pubkey == key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    run(main)


def test_compressed_point(run: Run) -> None:
    """It is told as it was sent."""

    async def main() -> None:
        point = odd.KEY.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        der = odd.certificate(key=odd.ec_key(odd.P_256, point))
        server = {**odd.credentials(der), "max_version": "TLSv1.3"}
        async with tls_pair(client={"reject_unauthorized": False}, server=server) as (near, _):
            found = near.get_peer_certificate()
            assert found
            assert (found.pubkey, found.bits, found.asn1_curve) == (point, 256, "prime256v1")

    run(main)


def test_ed448(run: Run) -> None:
    """The SubjectPublicKeyInfo is there as an attribute alone."""

    async def main() -> None:
        key = ed448.Ed448PrivateKey.generate()
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        der = odd.certificate(key=spki)
        server = {"cert": odd.pem(der), "key": private(key)}
        async with tls_pair(client={"reject_unauthorized": False}, server=server) as (near, _):
            found = near.get_peer_certificate()
            assert found
            assert (found.pubkey, found.bits) == (spki, None)
            assert "pubkey" not in found.to_dict()

    run(main)


@needs("openssl")
def test_rsa_pss(run: Run, tmp_path: Path) -> None:
    """An RSA key like any other."""

    command = "openssl req -x509 -newkey rsa-pss -nodes -keyout key.pem -subj /CN=pss -out cert.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)

    async def main() -> None:
        server = {"cert": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
        async with tls_pair(client={"reject_unauthorized": False}, server=server) as (near, _):
            found = near.get_peer_certificate()
            assert found
            assert (found.bits, found.exponent, len(found.modulus or "")) == (2048, "0x10001", 512)

    run(main)


# ---- odd ones


FAMILIES = sorted({which.partition(":")[0] for which in CATALOGUE} - {"key"})
TOO_LONG = {"serial: 64 KiB", "subject: string 64 KiB"}
REFUSED_BY_SOME = {which for which in CATALOGUE if which.startswith("from: bad")}


@pytest.mark.parametrize("family", FAMILIES)
def test_odd_certificates_of_a_server(run: Run, family: str) -> None:
    """CVE-2019-15604: what a client is told of odd certificates is what stands in them."""

    async def main() -> None:
        refused = set()
        for which in (each for each in CATALOGUE if each.startswith(f"{family}: ")):
            der = made(which)
            try:
                async with tls_pair(client={"reject_unauthorized": False}, server=odd.credentials(der)) as (near, far):
                    for found in (near.get_peer_certificate(), near.get_peer_certificate(True), far.get_certificate()):
                        assert found
                        assert found.raw == found.to_dict()["raw"] == der
            except (aiotls.OptionError, aiotls.PeerError):
                refused.add(which)
        assert refused <= TOO_LONG | REFUSED_BY_SOME, refused

    run(main)
