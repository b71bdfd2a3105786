"""Certificates byte by byte, for what no library writes: DER, and the certificate around it.

>>> certificate(subject=name([(CN, UTF8, b"odd")]), extensions=[alternative_names(dns(b"a, DNS:b"))])
"""

import base64
import copy
import itertools
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import aiotls
from aiotls.certificate import PeerCertificate

KEY = ec.generate_private_key(ec.SECP256R1())
"""What signs every certificate, and the key in it unless told otherwise."""

# ---- DER (X.690)

BOOLEAN, INTEGER, BITS, OCTETS, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8, NUMERIC, PRINTABLE, T61, IA5 = 0x0C, 0x12, 0x13, 0x14, 0x16
UTC_TIME, GENERALIZED_TIME, VISIBLE, UNIVERSAL, BMP = 0x17, 0x18, 0x1A, 0x1C, 0x1E
SEQUENCE, SET = 0x30, 0x31


def tlv(tag: int, *content: bytes) -> bytes:
    """One element."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + body


def sequence(*content: bytes) -> bytes:
    return tlv(SEQUENCE, *content)


def integer(number: int) -> bytes:
    return tlv(INTEGER, number.to_bytes((number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    body = b""
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        body += bytes(reversed(septets))
    return tlv(OID, body)


# ---- names (RFC 5280, sections 4.1.2.4 and 4.2.1.6)

CN, C, L, O, OU = "2.5.4.3", "2.5.4.6", "2.5.4.7", "2.5.4.10", "2.5.4.11"  # noqa: E741
Attribute = tuple[str, int, bytes]
"""Object identifier, tag and content."""

XMPP, SRV, NAI = "1.3.6.1.5.5.7.8.5", "1.3.6.1.5.5.7.8.7", "1.3.6.1.5.5.7.8.8"
MAILBOX, UPN = "1.3.6.1.5.5.7.8.9", "1.3.6.1.4.1.311.20.2.3"
UNKNOWN = "1.3.9999.12.34"


def name(*relatives: Iterable[Attribute]) -> bytes:
    """A distinguished name; each of its parts may have several attributes."""
    parts = ((sequence(oid(kind), tlv(tag, value)) for kind, tag, value in relative) for relative in relatives)
    return sequence(*(tlv(SET, *part) for part in parts))


def common_name(value: bytes, tag: int = UTF8) -> bytes:
    return name([(CN, tag, value)])


def email(value: bytes) -> bytes:
    return tlv(0x81, value)


def dns(value: bytes) -> bytes:
    return tlv(0x82, value)


def uri(value: bytes) -> bytes:
    return tlv(0x86, value)


def address(packed: bytes) -> bytes:
    return tlv(0x87, packed)


def registered(dotted: str) -> bytes:
    return tlv(0x88, oid(dotted)[2:])


def other_name(kind: str, tag: int, value: bytes) -> bytes:
    return tlv(0xA0, oid(kind), tlv(0xA0, tlv(tag, value)))


def directory_name(*relatives: Iterable[Attribute]) -> bytes:
    return tlv(0xA4, name(*relatives))


X400_ADDRESS = tlv(0xA3, sequence())
PARTY_NAME = tlv(0xA5, tlv(0xA1, tlv(UTF8, b"party")))

# ---- extensions

BASIC_CONSTRAINTS, KEY_USAGE, EXT_KEY_USAGE = "2.5.29.19", "2.5.29.15", "2.5.29.37"
SUBJECT_ALT_NAME, AUTHORITY_INFO_ACCESS = "2.5.29.17", "1.3.6.1.5.5.7.1.1"
OCSP, CA_ISSUERS = "1.3.6.1.5.5.7.48.1", "1.3.6.1.5.5.7.48.2"


def extension(kind: str, value: bytes, critical: bytes = b"") -> bytes:
    return sequence(oid(kind), critical, tlv(OCTETS, value))


def alternative_names(*names: bytes) -> bytes:
    return extension(SUBJECT_ALT_NAME, sequence(*names))


def info_access(*descriptions: tuple[str, bytes]) -> bytes:
    """Pairs of an access method and a name."""
    return extension(AUTHORITY_INFO_ACCESS, sequence(*(sequence(oid(kind), where) for kind, where in descriptions)))


def ext_key_usage(*purposes: str) -> bytes:
    return extension(EXT_KEY_USAGE, sequence(*map(oid, purposes)))


def constraints(*content: bytes) -> bytes:
    return extension(BASIC_CONSTRAINTS, sequence(*content))


def key_usage(*bits: int) -> bytes:
    """The bits as RFC 5280 counts them, below 8: 5 is keyCertSign."""
    return extension(KEY_USAGE, tlv(BITS, bytes((0, sum(0x80 >> bit for bit in bits)))))


TRUE, FALSE = tlv(BOOLEAN, b"\xff"), tlv(BOOLEAN, b"\0")

# ---- keys

RSA, RSA_PSS, EC = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "1.2.840.10045.2.1"
P_256 = "1.2.840.10045.3.1.7"
POINT = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def public_key(kind: str, key: bytes, *parameters: bytes) -> bytes:
    """A SubjectPublicKeyInfo."""
    return sequence(sequence(oid(kind), *parameters), tlv(BITS, b"\0", key))


def rsa_key(modulus: int, exponent: int, kind: str = RSA, parameters: bytes = tlv(NULL)) -> bytes:
    return public_key(kind, sequence(integer(modulus), integer(exponent)), parameters)


def ec_key(curve: str, point: bytes) -> bytes:
    return public_key(EC, point, oid(curve))


def explicit_curve(p: int, a: int, b: int, generator: bytes, order: int) -> bytes:
    """ECParameters that spell a curve over a prime field out (RFC 3279, section 2.3.5)."""
    size = (p.bit_length() + 7) // 8
    field = sequence(oid("1.2.840.10045.1.1"), integer(p))
    curve = sequence(tlv(OCTETS, a.to_bytes(size, "big")), tlv(OCTETS, b.to_bytes(size, "big")))
    return sequence(integer(1), field, curve, tlv(OCTETS, generator), integer(order), integer(1))


# ---- the certificate

_serial_numbers = itertools.count(1)
_ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"))
_VERSION_3 = tlv(0xA0, integer(2))


def certificate(
    *,
    version: bytes = _VERSION_3,
    serial: bytes | None = None,
    subject: bytes | None = None,
    issuer: bytes | None = None,
    validity: Sequence[bytes] = (tlv(UTC_TIME, b"200101000000Z"), tlv(UTC_TIME, b"491231235959Z")),
    key: bytes = ec_key(P_256, POINT),
    extensions: Sequence[bytes] = (),
    rest: bytes = b"",
) -> bytes:
    """A certificate, as it travels, signed by `KEY`; each part is DER, and need not be what it should.

    Args:
        version: Its version; nothing for version 1.
        serial: Its serial number; one that no other has.
        subject: Its subject, CN=odd.
        issuer: That of its issuer, the subject.
        validity: Two times.
        key: A SubjectPublicKeyInfo; that of `KEY`.
        extensions: What it says besides.
        rest: What follows the extensions.
    """
    subject = common_name(b"odd") if subject is None else subject
    to_be_signed = sequence(
        version,
        integer(next(_serial_numbers)) if serial is None else serial,
        _ECDSA_WITH_SHA256,
        subject if issuer is None else issuer,
        sequence(*validity),
        subject,
        key,
        tlv(0xA3, sequence(*extensions)) if extensions else b"",
        rest,
    )
    signature = KEY.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    return sequence(to_be_signed, _ECDSA_WITH_SHA256, tlv(BITS, b"\0", signature))


def pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def credentials(*chain: bytes) -> dict[str, Any]:
    """The options `cert` and `key` for a certificate with the public key of `KEY`, and those behind it."""
    return {
        "cert": b"".join(map(pem, chain)),
        "key": KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }


# ---- what may be asked of one

_FIELDS = [field for field, value in vars(PeerCertificate).items() if isinstance(value, property)]


def examine(asked: PeerCertificate | bytes) -> int:
    """Asks a certificate for everything; anything but a value or a ValueError fails.  Answers how often it raised."""
    found = PeerCertificate.from_chain([asked]) if isinstance(asked, bytes) else asked
    looks: list[Callable[[], object]] = [
        *(lambda field=field: getattr(found, field) for field in _FIELDS),
        found.to_dict,
        lambda: aiotls.check_server_identity("localhost", found),
        lambda: aiotls.check_server_identity("127.0.0.1", found),
    ]
    raised = 0
    for look in looks:
        try:
            look()
        except ValueError:
            raised += 1
    assert repr(found)
    assert found == PeerCertificate(found.raw)
    assert hash(found) == hash(PeerCertificate(found.raw))
    for twin in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert twin == found
    assert bool(found) is bool(found.raw)
    return raised
