"""Certificate objects: usual ones against cryptography, what the object is, and chains of them."""

import copy
import datetime
import hashlib
import pickle
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aiotls.certificate import PeerCertificate
from aiotls.errors import OptionTypeError, ServerIdentityError
from aiotls.identity import check_server_identity
from tests.support import odd_certificates as odd
from tests.support.pki import Authority, Named, named, self_signed


class TestUsual:
    def test_rsa(self, pki: Named) -> None:
        identity = pki.leaf_a
        certificate = PeerCertificate(identity.der)
        numbers = identity.key.public_key().public_numbers()  # type: ignore[union-attr]
        assert isinstance(numbers, rsa.RSAPublicNumbers)
        assert certificate.subject == {"emailAddress": "agent1@example.com", "CN": "agent1"}
        assert certificate.issuer == {"CN": "ca1"}
        assert certificate.subjectaltname is None
        assert certificate.info_access == {
            "OCSP - URI": ["http://ocsp.example.com/"],
            "CA Issuers - URI": ["http://ca.example.com/ca1.cert"],
        }
        assert certificate.ca is False
        assert certificate.exponent == "0x10001"
        assert certificate.modulus == f"{numbers.n:X}"
        assert certificate.bits == 2048 == len(certificate.modulus) * 4
        assert certificate.pubkey == identity.key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        assert (certificate.asn1_curve, certificate.nist_curve) == (None, None)
        assert certificate.ext_key_usage == ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
        assert int(certificate.serial_number or "", 16) == identity.certificate.serial_number
        assert certificate.serial_number == (certificate.serial_number or "").upper()
        assert certificate.raw == identity.der
        assert certificate.x509 == identity.certificate

    def test_ec(self, pki: Named) -> None:
        certificate = PeerCertificate(pki.self_ec.der)
        assert (certificate.modulus, certificate.exponent, certificate.info_access) == (None, None, None)
        assert (certificate.asn1_curve, certificate.nist_curve, certificate.bits) == ("prime256v1", "P-256", 256)
        assert certificate.pubkey == pki.self_ec.key.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )
        assert certificate.subject == {"C": "US", "CN": "agent2"}

    @pytest.mark.parametrize(
        ("curve", "names"),
        [
            (ec.SECP384R1(), ("secp384r1", "P-384", 384)),
            (ec.SECP521R1(), ("secp521r1", "P-521", 521)),
            (ec.SECP256K1(), ("secp256k1", None, 256)),
        ],
    )
    def test_other_curves(self, curve: ec.EllipticCurve, names: tuple[str, str | None, int]) -> None:
        certificate = PeerCertificate(self_signed(["a"], key=ec.generate_private_key(curve)).der)
        assert (certificate.asn1_curve, certificate.nist_curve, certificate.bits) == names

    def test_ed25519(self, pki: Named) -> None:
        certificate = PeerCertificate(pki.server_ed25519.der)
        assert (certificate.bits, certificate.modulus, certificate.asn1_curve) == (None, None, None)
        assert certificate.pubkey == pki.server_ed25519.key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    def test_fingerprints(self, pki: Named) -> None:
        certificate = PeerCertificate(pki.self_ec.der)
        for value, algorithm in (
            (certificate.fingerprint, "sha1"),
            (certificate.fingerprint256, "sha256"),
            (certificate.fingerprint512, "sha512"),
        ):
            assert bytes.fromhex((value or "").replace(":", "")) == hashlib.new(algorithm, pki.self_ec.der).digest()
            assert value == (value or "").upper()
            assert set((value or "")[2::3]) == {":"}

    def test_validity(self) -> None:
        begin = datetime.datetime(2021, 3, 5, 1, 2, 3, tzinfo=datetime.UTC)
        end = datetime.datetime(2061, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
        certificate = PeerCertificate(self_signed(["a"], key="ec", not_before=begin, not_after=end).der)
        assert (certificate.valid_from, certificate.valid_to) == (begin, end)
        fields = certificate.to_dict()
        assert (fields["valid_from"], fields["valid_to"]) == ("Mar  5 01:02:03 2021 GMT", "Dec 31 23:59:59 2061 GMT")

    def test_names(self, pki: Named) -> None:
        certificate = PeerCertificate(pki.server.der)
        assert certificate.subjectaltname == (
            "DNS:localhost, DNS:*.example.com, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"
        )
        for host in ("localhost", "a.example.com", "127.0.0.1", "::1"):
            check_server_identity(host, certificate)
        with pytest.raises(ServerIdentityError) as caught:
            check_server_identity("example.org", certificate)
        assert caught.value.certificate is certificate

    def test_text_beyond_ascii(self, pki: Named) -> None:
        assert PeerCertificate(pki.chain_a.der).subject["CN"] == "Ádám Lippai"

    def test_an_attribute_that_is_there_more_than_once(self, pki: Named) -> None:
        assert PeerCertificate(pki.self_localhost.der).subject == {
            "OU": ["first unit", "second unit"],
            "CN": "localhost",
        }

    def test_ca(self, pki: Named) -> None:
        assert PeerCertificate(pki.ca_a.der).ca is True
        assert PeerCertificate(pki.self_localhost.der).ca is True
        usage = x509.KeyUsage(True, *[False] * 8)
        assert PeerCertificate(self_signed(["a"], key="ec", is_ca=True, key_usage=usage).der).ca is False


class TestObject:
    def test_none_at_all(self) -> None:
        empty = PeerCertificate()
        assert not empty
        assert empty.to_dict() == {}
        assert (empty.subject, empty.issuer, empty.raw) == ({}, {}, b"")
        for name in ("subjectaltname", "ca", "bits", "pubkey", "valid_from", "serial_number", "fingerprint", "x509"):
            assert getattr(empty, name) is None
        assert repr(empty) == "PeerCertificate()"
        assert PeerCertificate.from_chain([]) == empty
        with pytest.raises(ServerIdentityError, match="does not contain a DNS name"):
            check_server_identity("a.example", empty)

    def test_it_is_immutable(self, pki: Named) -> None:
        certificate = PeerCertificate(pki.self_ec.der)
        with pytest.raises(AttributeError, match="immutable"):
            certificate.raw = b""
        with pytest.raises(AttributeError, match="immutable"):
            del certificate.raw
        certificate.subject["CN"] = "changed"
        assert certificate.subject["CN"] == "agent2"

    def test_equality(self, pki: Named) -> None:
        assert PeerCertificate(pki.self_ec.der) == PeerCertificate(pki.self_ec.der)
        assert len({PeerCertificate(pki.self_ec.der), PeerCertificate(pki.self_ec.der)}) == 1
        assert PeerCertificate(pki.self_ec.der) != PeerCertificate(pki.self_rsa.der)

    def test_repr(self, pki: Named) -> None:
        text = repr(PeerCertificate.from_chain([pki.self_ec.der]))
        assert text.startswith("PeerCertificate(subject={'C': 'US', 'CN': 'agent2'}, serial_number=")

    @pytest.mark.parametrize("junk", [b"junk", b"\x30\x00", b"\x30\x82\xff\xff", b"\x30"])
    def test_what_is_no_certificate(self, junk: bytes) -> None:
        certificate = PeerCertificate(junk)
        with pytest.raises(ValueError, match=r"not an X.509 certificate"):
            certificate.subject  # noqa: B018
        assert repr(certificate) == f"PeerCertificate({len(junk)} bytes that are no certificate)"


class TestChain:
    def test_issuers(self, pki: Named) -> None:
        leaf = PeerCertificate.from_chain([pki.chain_a.der, pki.int_a.der, pki.ca_a.der])
        intermediate = leaf.issuer_certificate
        assert intermediate is not None
        assert intermediate.subject == leaf.issuer
        root = intermediate.issuer_certificate
        assert root is not None
        assert root.issuer_certificate is root
        assert root.subject == root.issuer

    def test_without_the_root(self, pki: Named) -> None:
        leaf = PeerCertificate.from_chain([pki.chain_a.der, pki.int_a.der])
        assert leaf.issuer_certificate is not None
        assert leaf.issuer_certificate.issuer_certificate is None

    def test_in_any_order(self, pki: Named) -> None:
        """Behind the leaf a peer may send what it wants."""
        leaf = PeerCertificate.from_chain([pki.chain_a.der, pki.ca_b.der, pki.ca_a.der, pki.leaf_a.der, pki.int_a.der])
        assert path(leaf) == [pki.chain_a.der, pki.int_a.der, pki.ca_a.der, pki.ca_a.der]

    def test_what_does_not_fit_ends_it(self, pki: Named) -> None:
        assert PeerCertificate.from_chain([pki.chain_a.der, pki.ca_b.der]).issuer_certificate is None
        assert PeerCertificate.from_chain([pki.chain_a.der, b"junk"]).issuer_certificate is None
        assert PeerCertificate.from_chain([b"junk", pki.ca_a.der]).issuer_certificate is None

    @pytest.mark.parametrize(
        "issuer",
        [
            odd.name([(odd.CN, odd.PRINTABLE, b"The Issuer")]),
            odd.name([(odd.CN, odd.UTF8, b"  THE   issuer ")]),
            odd.name([(odd.CN, odd.BMP, "the Issuer".encode("utf-16-be"))]),
        ],
    )
    def test_names_that_are_equal(self, issuer: bytes) -> None:
        """Neither the type of a string matters, nor case, nor blanks around it (RFC 5280, section 7.1)."""
        root = odd.certificate(subject=odd.common_name(b"the issuer"))
        leaf = odd.certificate(subject=odd.common_name(b"leaf"), issuer=issuer)
        assert path(PeerCertificate.from_chain([leaf, root])) == [leaf, root, root]

    @pytest.mark.parametrize(
        "issuer",
        [
            odd.common_name(b"the other issuer"),
            odd.common_name(b"theissuer"),
            odd.name([(odd.OU, odd.UTF8, b"the issuer")]),
            odd.name([(odd.CN, odd.BITS, b"\0the issuer")]),
            odd.name([(odd.CN, odd.UTF8, b"the issuer")], [(odd.CN, odd.UTF8, b"the issuer")]),
            odd.sequence(odd.sequence()),
        ],
    )
    def test_names_that_are_not(self, issuer: bytes) -> None:
        root = odd.certificate(subject=odd.common_name(b"the issuer"))
        leaf = odd.certificate(subject=odd.common_name(b"leaf"), issuer=issuer)
        assert path(PeerCertificate.from_chain([leaf, root])) == [leaf]

    def test_keys_of_one_name(self) -> None:
        """After a change of keys the identifiers tell which certificate is that of the issuer."""
        old, new = (Authority.root("root", key="ec") for _ in range(2))
        leaf = new.issue(["a.example"], key="ec")
        assert path(PeerCertificate.from_chain([leaf.der, old.der, new.der])) == [leaf.der, new.der, new.der]
        assert path(PeerCertificate.from_chain([leaf.der, old.der])) == [leaf.der]

    def test_who_may_not_sign(self) -> None:
        """A key usage without keyCertSign makes nobody's issuer; signing itself needs no such right."""
        subject = odd.common_name(b"no issuer")
        other = odd.certificate(subject=subject, extensions=[odd.key_usage(0)])
        leaf = odd.certificate(subject=odd.common_name(b"leaf"), issuer=subject)
        assert path(PeerCertificate.from_chain([leaf, other])) == [leaf]
        assert path(PeerCertificate.from_chain([other])) == [other, other]

    def test_a_broken_identifier_makes_no_issuer(self) -> None:
        subject = odd.common_name(b"issuer")
        leaf = odd.certificate(subject=odd.common_name(b"leaf"), issuer=subject)
        for kind in ("2.5.29.14", "2.5.29.15"):
            broken = odd.certificate(subject=subject, extensions=[odd.extension(kind, b"junk")])
            assert path(PeerCertificate.from_chain([leaf, broken])) == [leaf]

    def test_a_circle(self) -> None:
        """Two that name each other as issuer are one chain of two."""
        one, two = odd.common_name(b"one"), odd.common_name(b"two")
        first, second = odd.certificate(subject=one, issuer=two), odd.certificate(subject=two, issuer=one)
        leaf = PeerCertificate.from_chain([first, second])
        assert path(leaf) == [first, second]
        assert leaf.to_dict()["issuerCertificate"]["subject"] == {"CN": "two"}
        assert path(PeerCertificate.from_chain([first, second, first, second])) == [first, second, first, second]

    def test_a_long_one(self) -> None:
        """No more is linked than OpenSSL would verify; what is linked can be shown, pickled and copied."""
        names = [odd.common_name(b"%d" % number) for number in range(400)]
        chain = [odd.certificate(subject=names[number], issuer=names[number + 1]) for number in range(399)]
        leaf = PeerCertificate.from_chain(chain)
        assert path(leaf) == chain[:102]
        assert path(pickle.loads(pickle.dumps(leaf))) == chain[:102]
        fields, depth = leaf.to_dict(), 1
        while "issuerCertificate" in fields:
            fields, depth = fields["issuerCertificate"], depth + 1
        assert depth == 102

    def test_an_issuer_by_hand(self, pki: Named) -> None:
        """The user's word is taken for it."""
        certificate = PeerCertificate(pki.self_ec.der, PeerCertificate(pki.self_rsa.der))
        assert path(certificate) == [pki.self_ec.der, pki.self_rsa.der]
        assert certificate.to_dict()["issuerCertificate"]["raw"] == pki.self_rsa.der
        assert "issuerCertificate" not in PeerCertificate(pki.self_ec.der, PeerCertificate()).to_dict()

    def test_one_alone_has_no_issuer(self, pki: Named) -> None:
        assert PeerCertificate(pki.chain_a.der).issuer_certificate is None
        assert "issuerCertificate" not in PeerCertificate(pki.chain_a.der).to_dict()

    def test_a_dict_of_a_root_holds_itself(self, pki: Named) -> None:
        fields = PeerCertificate.from_chain([pki.self_ec.der]).to_dict()
        assert fields["issuerCertificate"] is fields

    def test_dicts_of_a_chain(self, pki: Named) -> None:
        fields = PeerCertificate.from_chain([pki.chain_a.der, pki.int_a.der, pki.ca_a.der]).to_dict()
        root = fields["issuerCertificate"]["issuerCertificate"]
        assert root["subject"] == {"CN": "ca1"}
        assert root["issuerCertificate"] is root

    @pytest.mark.parametrize(
        "make",
        [
            lambda: PeerCertificate.from_chain([named.chain_a.der, named.int_a.der, named.ca_a.der]),
            lambda: PeerCertificate.from_chain([named.chain_a.der, named.int_a.der]),
            lambda: PeerCertificate.from_chain([named.self_ec.der]),
            lambda: PeerCertificate(named.self_ec.der),
            lambda: PeerCertificate(named.self_ec.der, PeerCertificate(named.self_rsa.der)),
            lambda: PeerCertificate(b"junk"),
            PeerCertificate,
        ],
    )
    def test_pickle_and_copy_keep_the_chain(self, make: Callable[[], PeerCertificate]) -> None:
        certificate = make()
        for twin in (pickle.loads(pickle.dumps(certificate)), copy.deepcopy(certificate), copy.copy(certificate)):
            assert twin == certificate
            assert path(twin) == path(certificate)

    def test_keys_of_the_dict(self, pki: Named) -> None:
        common = {
            "subject", "issuer", "ca", "bits", "pubkey", "valid_from", "valid_to", "fingerprint", "fingerprint256",
            "fingerprint512", "ext_key_usage", "serialNumber", "raw",
        }  # fmt: skip
        assert set(PeerCertificate(pki.leaf_a.der).to_dict()) == common | {"modulus", "exponent", "infoAccess"}
        assert set(PeerCertificate(pki.server_ec.der).to_dict()) == common | {
            "subjectaltname",
            "asn1Curve",
            "nistCurve",
        }


def path(certificate: PeerCertificate) -> list[bytes]:
    """The certificate and its issuers; a root that is its own issuer stands there twice."""
    found = [certificate.raw]
    while (issuer := certificate.issuer_certificate) is not None:
        found.append(issuer.raw)
        if issuer is certificate:
            break
        certificate = issuer
    return found


class TestWrong:
    """What is no certificate."""

    @pytest.mark.parametrize(
        "der", ["text", None, 5, 0, True, object(), [1, 2], {}], ids=lambda value: type(value).__name__
    )
    def test_a_wrong_type(self, der: object) -> None:
        with pytest.raises(OptionTypeError, match="der must be a bytes-like object") as refusal:
            PeerCertificate(der)  # type: ignore[arg-type]
        assert (refusal.value.code, refusal.value.option) == ("ERR_INVALID_ARG_TYPE", "der")

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_pem(self, pki: Named, kind: Callable[[bytes], bytes]) -> None:
        """The words say what it is, and how it becomes what is wanted."""
        certificate = PeerCertificate(kind(pki.server_ec.cert_pem))
        with pytest.raises(ValueError, match="PEM_cert_to_DER_cert"):
            certificate.subject  # noqa: B018

    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_other_buffers(self, pki: Named, kind: Callable[[bytes], bytes]) -> None:
        certificate = PeerCertificate(kind(pki.server_ec.der))
        assert certificate == PeerCertificate(pki.server_ec.der)
        assert type(certificate.raw) is bytes
