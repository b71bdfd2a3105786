"""Certificates with any names in them, also such as nobody would issue: whose are they?

`issued` makes them, and `reason` asks in all ways.
"""

import datetime
import ipaddress
import ssl
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier

import aiotls
from aiotls.certificate import PeerCertificate
from aiotls.der import read
from aiotls.errors import ServerIdentityError
from aiotls.identity import check_server_identity, match_names
from tests.support.pairs import Pair
from tests.support.pki import DAY, Identity, named
from tests.test_server_cves import rewritten

KEY = ec.generate_private_key(ec.SECP256R1())

NO_NAME = "Cert does not contain a DNS name"
UNREADABLE = "Invalid subject alternative name string"

USER_PRINCIPAL_NAME = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
SRV_NAME = ObjectIdentifier("1.3.6.1.5.5.7.8.7")


# ---- certificates with any names


def der(tag: int, content: bytes) -> bytes:
    """One element."""
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([0x80 | len(octets)]) + octets) + content


def dns(name: bytes | str) -> bytes:
    return der(0x82, name.encode() if isinstance(name, str) else name)


def email(name: bytes) -> bytes:
    return der(0x81, name)


def uri(name: bytes) -> bytes:
    return der(0x86, name)


def ip(address: str | bytes) -> bytes:
    return der(0x87, ipaddress.ip_address(address).packed if isinstance(address, str) else address)


def typed(name: x509.GeneralName) -> bytes:
    """A name of any other kind."""
    return read(x509.SubjectAlternativeName([name]).public_bytes()).content


def common_name(text: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.NameAttribute[str]:
    """Whatever it holds."""
    return x509.NameAttribute(NameOID.COMMON_NAME, text, _type=kind, _validate=False)


def issued(
    *names: bytes, cn: str | None = None, subject: x509.Name | None = None, san: bytes | None = None
) -> Identity:
    """A certificate of `pki.ca` with these names, which are elements, and this common name.

    Args:
        names: The names of its subjectAltName extension; none for no such extension.
        cn: The common name of its subject; None for an empty subject.
        subject: The whole subject instead.
        san: The whole content of the extension instead.
    """
    if subject is None:
        subject = x509.Name([] if cn is None else [common_name(cn)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(named.ca.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )
    if names or san is not None:
        content = der(0x30, b"".join(names)) if san is None else san
        extension = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, content)
        builder = builder.add_extension(extension, critical=False)
    return Identity(builder.sign(named.ca.key, hashes.SHA256()), KEY)


# ---- asking


def dict_reason(host: Any, certificate: Any) -> str | None:
    """None when a certificate belongs to a host, else the reason why not."""
    try:
        check_server_identity(host, certificate)
    except ServerIdentityError as error:
        return error.reason
    return None


def reason(host: str, identity: Identity) -> str | None:
    """The same for a real certificate, seen in a handshake; the core's names must lead to the same verdict, and so must
    the certificates about which it asks nobody."""
    options: dict[str, Any] = {
        "client": {"reject_unauthorized": False},
        "server": {"cert": identity.cert_pem, "key": identity.key_pem},
        "hostname": host,
        "servername": None,
    }
    connection = Pair.connected(**options).client.connection
    unasked = Pair.connected(**options, ask_always=False).client.connection
    assert unasked.authorization_error == connection.authorization_error
    seen = PeerCertificate(connection.engine.peer_certificate() or b"")
    found = dict_reason(host, seen)
    assert dict_reason(host, seen.to_dict()) == found
    names = connection.engine.peer_names()
    assert names is not None
    assert match_names(host, names) is (found is None)
    assert connection.authorized is (found is None)
    assert connection.authorization_error == (None if found is None else "ERR_TLS_CERT_ALTNAME_INVALID")
    return found


def not_san(host: str, altnames: str) -> str:
    return f"Host: {host}. is not in the cert's altnames: {altnames}"


def not_cn(host: str, cn: str) -> str:
    return f"Host: {host}. is not cert's CN: {cn}"


def not_ip(host: str, addresses: str = "") -> str:
    return f"IP: {host} is not in the cert's list: {addresses}"


# ---- names that only look as if they were read


@pytest.mark.parametrize(
    "value",
    [
        typed(x509.OtherName(USER_PRINCIPAL_NAME, der(0x0C, b"a.com"))),
        typed(x509.OtherName(SRV_NAME, der(0x16, b"a.com"))),
        typed(x509.OtherName(SRV_NAME, der(0x16, b"_https.a.com"))),
        typed(x509.OtherName(ObjectIdentifier("1.2.3"), der(0x05, b""))),
        typed(x509.OtherName(ObjectIdentifier("1.2.3"), der(0x30, dns("a.com")))),
        typed(x509.DirectoryName(x509.Name([common_name("a.com")]))),
        typed(x509.DirectoryName(x509.Name([common_name("x, DNS:a.com")]))),
        typed(x509.RegisteredID(ObjectIdentifier("1.2.3"))),
    ],
)
def test_names_of_other_kinds(value: bytes) -> None:
    """CVE-2024-6119: an otherName, or anything else that is no DNS name, is compared with no host."""
    assert reason("a.com", issued(value)) == NO_NAME
    assert reason("192.0.2.1", issued(value)) == not_ip("192.0.2.1")
    assert reason("a.com", issued(value, dns("a.com"))) is None
    assert reason("b.com", issued(value, dns("a.com"))) is not None
    assert reason("b.com", issued(value, cn="b.com")) is None


UNREADABLE_NAMES = {
    "cut off": b"\x30\x05\x82",
    "not a sequence": dns("a.com"),
    "more behind it": der(0x30, dns("a.com")) + b"\x05\x00",
    "an unknown kind": der(0x30, dns("a.com") + der(0x8A, b"x")),
    "an empty object identifier": der(0x30, dns("a.com") + der(0x88, b"")),
    "in pieces": der(0x30, der(0xA2, der(0x16, b"a.com"))),
    "empty": b"",
}


@pytest.mark.parametrize("case", UNREADABLE_NAMES)
def test_names_that_cannot_be_read(case: str) -> None:
    """There may be a DNS name among them, so the common name must not count in their place."""
    certificate = PeerCertificate(issued(san=UNREADABLE_NAMES[case], cn="cn.com").der)
    with pytest.raises(ServerIdentityError, match=UNREADABLE) as caught:
        check_server_identity("cn.com", certificate)
    assert caught.value.code == "ERR_TLS_CERT_ALTNAME_FORMAT"
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("host", ["first.com", "second.com", "cn.com"])
def test_two_extensions_of_names(host: str) -> None:
    """RFC 5280, section 4.2: there may be one, so the chain is refused, and the common name does not count."""
    names = [x509.SubjectAlternativeName([x509.DNSName(name)]) for name in ("first.com", "second.com")]
    stand_in = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.99"), names[1].public_bytes())
    good = named.ca.issue(common_name="cn.com", key=KEY, extensions=[(names[0], False), (stand_in, False)])
    twice = rewritten(good, b"\x06\x03\x55\x1d\x63", b"\x06\x03\x55\x1d\x11")
    assert dict_reason("cn.com", PeerCertificate(twice)) is not None
    pair = Pair(server={"cert": ssl.DER_cert_to_PEM_cert(twice), "key": good.key_pem}, hostname=host, servername=None)
    pair.run()
    assert isinstance(pair.client.error, aiotls.VerificationError)


def test_no_names_at_all() -> None:
    """An extension without names is as good as none."""
    assert reason("cn.com", issued(san=b"\x30\x00", cn="cn.com")) is None


@pytest.mark.parametrize("raw", [b"x", b"\x30\x00", b"\x30\x03\x02\x01\x00"])
def test_what_is_no_certificate(raw: bytes) -> None:
    with pytest.raises(ServerIdentityError):
        check_server_identity("a.com", PeerCertificate(raw))


def test_an_empty_certificate() -> None:
    assert dict_reason("a.com", PeerCertificate()) == NO_NAME
    assert dict_reason("192.0.2.1", PeerCertificate()) == not_ip("192.0.2.1")


@pytest.mark.parametrize("altnames", [["DNS:a.com"], (("DNS", "a.com"),), 1, b"DNS:a.com"])
def test_a_dict_of_another_shape(altnames: Any) -> None:
    """Names in another form than text are not skipped, which would let the common name count."""
    with pytest.raises(ServerIdentityError, match=UNREADABLE):
        check_server_identity("a.com", {"subject": {"CN": "a.com"}, "subjectaltname": altnames})
