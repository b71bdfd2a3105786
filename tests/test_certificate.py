"""Certificate objects: usual ones against cryptography, and odd ones made byte by byte."""

import copy
import datetime
import hashlib
import ipaddress
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from aiotls.certificate import PeerCertificate
from aiotls.errors import ServerIdentityError
from aiotls.identity import check_server_identity
from tests.support.pki import Named, named, self_signed


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

    def test_what_does_not_fit_ends_it(self, pki: Named) -> None:
        assert PeerCertificate.from_chain([pki.chain_a.der, pki.ca_b.der]).issuer_certificate is None

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

    def test_pickle_and_copy_keep_the_chain(self, pki: Named) -> None:
        leaf = PeerCertificate.from_chain([pki.chain_a.der, pki.int_a.der, pki.ca_a.der])
        for twin in (pickle.loads(pickle.dumps(leaf)), copy.deepcopy(leaf)):
            assert twin == leaf
            assert twin.to_dict()["issuerCertificate"]["subject"] == leaf.issuer

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


# DER by hand, for what cryptography does not write.


def tlv(tag: int, *content: bytes) -> bytes:
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes(2, "big")
    return bytes((tag, 0x82)) + size + body


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    body = b""
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        body += bytes(reversed(septets))
    return tlv(0x06, body)


def certificate_with(extension: str, value: bytes, **options: Any) -> PeerCertificate:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier(extension), value)
    return PeerCertificate(self_signed(common_name="odd", key="ec", extensions=[(odd, False)], **options).der)


def with_names(*names: bytes) -> PeerCertificate:
    return certificate_with("2.5.29.17", tlv(0x30, *names))


def dns(name: bytes) -> bytes:
    return tlv(0x82, name)


def uri(name: bytes) -> bytes:
    return tlv(0x86, name)


def other_name(kind: str, tag: int, value: bytes) -> bytes:
    return tlv(0xA0, oid(kind), tlv(0xA0, tlv(tag, value)))


def directory_name(*attributes: tuple[str, int, bytes]) -> bytes:
    relatives = (tlv(0x31, tlv(0x30, oid(kind), tlv(tag, value))) for kind, tag, value in attributes)
    return tlv(0xA4, tlv(0x30, *relatives))


XMPP = "1.3.6.1.5.5.7.8.5"
SRV = "1.3.6.1.5.5.7.8.7"
UTF8 = 0x0C
IA5 = 0x16
PRINTABLE = 0x13

NAMES: list[tuple[Sequence[bytes], str]] = [
    ([dns(b"good.example.com"), dns(b"b.example.com")], "DNS:good.example.com, DNS:b.example.com"),
    ([dns(b"good.example.com, DNS:evil.example.com")], r'DNS:"good.example.com\u002c DNS:evil.example.com"'),
    ([dns(b'a"b\\c')], r'DNS:"a\"b\\c"'),
    ([dns(b"it's")], 'DNS:"it\'s"'),
    ([dns(b"ex\xe4mple.com")], r'DNS:"ex\u00e4mple.com"'),
    ([dns(b"a\0b")], r'DNS:"a\u0000b"'),
    ([uri(b"http://example.com/?a=b&c=d%2C")], "URI:http://example.com/?a=b&c=d%2C"),
    ([uri(b"http://a/\r\nX:y")], r'URI:"http://a/\u000d\u000aX:y"'),
    ([tlv(0x81, b"foo@example.com")], "email:foo@example.com"),
    ([tlv(0x87, bytes((8, 8, 8, 8)))], "IP Address:8.8.8.8"),
    ([tlv(0x87, b"12345")], "IP Address:<invalid length=5>"),
    ([tlv(0x87, ipaddress.ip_address("a0b:c0d:e0f::7a7b:7c7d").packed)], "IP Address:A0B:C0D:E0F:0:0:0:7A7B:7C7D"),
    ([tlv(0x88, oid("1.3.9999.12.34")[2:])], "Registered ID:1.3.9999.12.34"),
    ([other_name(XMPP, UTF8, b"abc123")], "othername:XmppAddr:abc123"),
    ([other_name(XMPP, UTF8, b"abc,123")], r'othername:"XmppAddr:abc\u002c123"'),
    ([other_name(XMPP, UTF8, "ü".encode())], "othername:XmppAddr:ü"),
    ([other_name(SRV, IA5, b"abc123")], "othername:SRVName:abc123"),
    ([other_name(SRV, IA5, b"abc\xe4")], r'othername:"SRVName:abc\u00e4"'),
    ([other_name(SRV, UTF8, b"abc123")], "othername:<unsupported>"),
    ([other_name("1.3.9999.12.34", UTF8, b"abc123")], "othername:<unsupported>"),
    (
        [directory_name(("2.5.4.6", PRINTABLE, b"DE"), ("2.5.4.7", UTF8, b"Hannover"))],
        r'DirName:"L=Hannover\u002cC=DE"',
    ),
    ([directory_name(("2.5.4.7", UTF8, "München".encode()))], "DirName:L=München"),
    ([directory_name(("2.5.4.7", UTF8, b"a,b"))], r'DirName:"L=a\\\u002cb"'),
    ([directory_name(("1.3.9999.1", UTF8, b"x"))], "DirName:1.3.9999.1=#0C0178"),
    ([tlv(0xA3, b""), tlv(0xA5, b"")], "X400Name:<unsupported>, EdiPartyName:<unsupported>"),
]


class TestOdd:
    @pytest.mark.parametrize(("names", "text"), NAMES)
    def test_names_as_text(self, names: Sequence[bytes], text: str) -> None:
        assert with_names(*names).subjectaltname == text

    @pytest.mark.parametrize(
        "smuggled",
        [
            dns(b"good.example.org, DNS:x"),
            dns(b'x", DNS:good.example.org, DNS:"'),
            dns(b"x, DNS:good.example.org"),
            dns(b"good.example.org\0.evil.example"),
            uri(b"x, DNS:good.example.org"),
            tlv(0x81, b"x, DNS:good.example.org"),
            other_name(XMPP, UTF8, b"x, DNS:good.example.org"),
            directory_name(("2.5.4.7", UTF8, b"x, DNS:good.example.org")),
            uri(b"http://good.example.org/"),
        ],
    )
    def test_a_name_cannot_be_smuggled(self, smuggled: bytes) -> None:
        with pytest.raises(ServerIdentityError) as caught:
            check_server_identity("good.example.org", with_names(smuggled))
        assert caught.value.code == "ERR_TLS_CERT_ALTNAME_INVALID"

    def test_info_access(self) -> None:
        def access(method: str, name: bytes) -> bytes:
            return tlv(0x30, oid(method), name)

        ocsp = "1.3.6.1.5.5.7.48.1"
        value = tlv(
            0x30,
            access(ocsp, uri(b"http://good/\nOCSP - URI:http://evil/")),
            access(ocsp, uri(b"http://second/")),
            access("1.3.9999.12.34", uri(b"http://unknown/")),
            access(ocsp, other_name(XMPP, UTF8, b"good\0abc123")),
        )
        assert certificate_with("1.3.6.1.5.5.7.1.1", value).info_access == {
            "OCSP - URI": ["http://good/\nOCSP - URI:http://evil/", "http://second/"],
            "1.3.9999.12.34 - URI": ["http://unknown/"],
            "OCSP - othername": ["XmppAddr:good\0abc123"],
        }

    @pytest.mark.parametrize("value", [b"", b"\x30\x05\x82\x01", tlv(0x30, tlv(0x9F, b"")), b"\x82\x01a", b"junk"])
    def test_a_broken_extension_costs_only_itself(self, value: bytes) -> None:
        certificate = certificate_with("2.5.29.17", value)
        assert certificate.subjectaltname in (None, "")
        assert certificate.subject == {"CN": "odd"}
        assert certificate_with("1.3.6.1.5.5.7.1.1", value).info_access in (None, {})

    @pytest.mark.parametrize("value", ["a, b", "a/CN=b", "a + b", "a\nCN=b", "a\0b", '"quoted"', "\\"])
    def test_values_of_a_subject_stay_whole(self, value: str) -> None:
        identity = self_signed(common_name=value, key="ec", attributes=[(NameOID.LOCALITY_NAME, "L1")] * 2)
        assert PeerCertificate(identity.der).subject == {"L": ["L1", "L1"], "CN": value}

    def test_strings_of_every_type(self) -> None:
        assert with_names(directory_name(("2.5.4.7", 0x1E, "ü€".encode("utf-16-be")))).subjectaltname == "DirName:L=ü€"
        assert with_names(directory_name(("2.5.4.7", 0x1C, "ü".encode("utf-32-be")))).subjectaltname == "DirName:L=ü"
        assert with_names(directory_name(("2.5.4.7", 0x14, b"\xfc"))).subjectaltname == "DirName:L=ü"
        assert with_names(directory_name(("2.5.4.7", UTF8, b"\xff"))).subjectaltname == "DirName:L=\ufffd"

    @settings(deadline=None, max_examples=300)
    @given(data=st.data())
    def test_damage_gives_a_value_or_a_clear_error(self, data: st.DataObject) -> None:
        der = bytearray(named.leaf_a.der if data.draw(st.booleans()) else named.server_ec.der)
        for _ in range(data.draw(st.integers(1, 4))):
            der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
        certificate = PeerCertificate.from_chain([bytes(der)])
        repr(certificate)
        try:
            certificate.to_dict()
            check_server_identity("localhost", certificate)
        except ValueError:
            pass
