"""The certificate of a peer, or our own: a frozen object over its DER, taken apart when a field is asked for.

The fields are read here rather than by the package cryptography, because peers send what it refuses: names with other
characters than they should have, broken extensions.  A field that cannot be read is None; nothing else is lost.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from . import distinguished_name
from .der import BOOLEAN, OBJECT_IDENTIFIER, Element, read
from .general_name import GeneralName, parse_name

if TYPE_CHECKING:
    from cryptography import x509


class PeerCertificate:
    """A certificate; without any, it is empty and false.

    Args:
        der: The certificate as it travels; empty for none.
        issuer: The certificate of its issuer, where the chain is known.

    Example::

        certificate = socket.get_peer_certificate()
        if certificate:
            print(certificate.subject["CN"], certificate.valid_to)
    """

    __slots__ = ("_body", "_issuer", "raw")

    raw: bytes
    """The DER."""

    def __init__(self, der: bytes = b"", issuer: PeerCertificate | None = None) -> None:
        object.__setattr__(self, "raw", bytes(der))
        object.__setattr__(self, "_issuer", issuer)
        object.__setattr__(self, "_body", None)

    @classmethod
    def from_chain(cls, chain: Sequence[bytes]) -> PeerCertificate:
        """The first certificate of a chain, linked with those of its issuers; a root is its own issuer.

        Args:
            chain: DER certificates, leaf first; what does not fit to the one before it ends the chain.
        """
        certificates = [cls(der) for der in chain]
        for position, certificate in enumerate(certificates):
            for candidate in (certificate, *certificates[position + 1 : position + 2]):
                if certificate._issuer is None and candidate._may_have_issued(certificate):
                    object.__setattr__(certificate, "_issuer", candidate)
        return certificates[0] if certificates else cls()

    @property
    def subject(self) -> dict[str, str | list[str]]:
        """Its attributes by OpenSSL's short name; one that is there more than once has a list."""
        return distinguished_name.as_dict(self._parsed().subject) if self else {}

    @property
    def issuer(self) -> dict[str, str | list[str]]:
        return distinguished_name.as_dict(self._parsed().issuer) if self else {}

    @property
    def subjectaltname(self) -> str | None:
        """The names, as text, each with its kind: ``"DNS:a.example, IP Address:192.0.2.1"``."""
        names = self._general_names()
        return None if names is None else ", ".join(map(str, names))

    @property
    def info_access(self) -> dict[str, list[str]] | None:
        """Where to ask about it: ``{"OCSP - URI": [...], "CA Issuers - URI": [...]}``."""
        try:
            value = self._extension(_AUTHORITY_INFO_ACCESS)
            if value is None:
                return None
            access: dict[str, list[str]] = {}
            for description in value.children():
                method, location = description.children()
                name = parse_name(location)
                oid = method.oid()
                access.setdefault(f"{_ACCESS_METHODS.get(oid, oid)} - {name.kind}", []).append(name.value)
            return access
        except ValueError:
            return None

    @property
    def ca(self) -> bool | None:
        """Whether it may sign certificates."""
        if not self:
            return None
        try:
            constraints = self._extension(_BASIC_CONSTRAINTS)
            usage = self._extension(_KEY_USAGE)
            if constraints is None:
                return False
            flags = [child for child in constraints.children() if child.tag == BOOLEAN]
            may_sign = usage is None or bool(usage.bits() and usage.bits()[0] & 0x04)
            return may_sign and bool(flags) and flags[0].boolean()
        except ValueError:
            return None

    @property
    def ext_key_usage(self) -> list[str] | None:
        """What it may be used for: object identifiers."""
        try:
            value = self._extension(_EXT_KEY_USAGE)
            return None if value is None else [child.oid() for child in value.children()]
        except ValueError:
            return None

    @property
    def modulus(self) -> str | None:
        """Of an RSA key, in upper-case hexadecimal digits."""
        rsa = self._rsa_key()
        return None if rsa is None else f"{rsa[0]:X}"

    @property
    def exponent(self) -> str | None:
        """Of an RSA key, such as ``"0x10001"``."""
        rsa = self._rsa_key()
        return None if rsa is None else f"{rsa[1]:#x}"

    @property
    def bits(self) -> int | None:
        """The size of an RSA or EC key."""
        rsa = self._rsa_key()
        if rsa is not None:
            return rsa[0].bit_length()
        point = self._ec_point()
        if not point:
            return None
        size = len(point) - 1 if point[0] != 4 else (len(point) - 1) // 2
        return _CURVE_BITS.get(self.asn1_curve or "", size * 8)

    @property
    def pubkey(self) -> bytes | None:
        """The public key: the point of an EC key, the SubjectPublicKeyInfo of any other."""
        if not self:
            return None
        point = self._ec_point()
        return self._parsed().public_key.encoded if point is None else point

    @property
    def asn1_curve(self) -> str | None:
        """OpenSSL's name of the curve of an EC key."""
        if not self or self._parsed().key_algorithm != _EC_KEY:
            return None
        curve = self._parsed().key_parameters
        return None if curve is None else _CURVES.get(curve, curve)

    @property
    def nist_curve(self) -> str | None:
        """NIST's name of the curve of an EC key, where it has one."""
        return _NIST_CURVES.get(self.asn1_curve or "")

    @property
    def valid_from(self) -> datetime.datetime | None:
        return self._time(0)

    @property
    def valid_to(self) -> datetime.datetime | None:
        return self._time(1)

    @property
    def fingerprint(self) -> str | None:
        """The SHA-1 digest of the DER, as upper-case pairs with colons between them."""
        return self._digest("sha1")

    @property
    def fingerprint256(self) -> str | None:
        """The SHA-256 digest, in the same form."""
        return self._digest("sha256")

    @property
    def fingerprint512(self) -> str | None:
        """The SHA-512 digest, in the same form."""
        return self._digest("sha512")

    @property
    def serial_number(self) -> str | None:
        """In upper-case hexadecimal digits."""
        if not self:
            return None
        number = self._parsed().serial_number.integer()
        digits = f"{abs(number):X}"
        padded = digits if number == 0 or len(digits) % 2 == 0 else f"0{digits}"
        return f"-{padded}" if number < 0 else padded

    @property
    def issuer_certificate(self) -> PeerCertificate | None:
        """The certificate of the issuer, where it is known; that of a root is itself."""
        return self._issuer

    @property
    def x509(self) -> x509.Certificate | None:
        """The same certificate as an object of the package cryptography.

        Raises:
            ValueError: It is too odd for it.
        """
        if not self:
            return None
        from cryptography import x509

        return x509.load_der_x509_certificate(self.raw)

    def to_dict(self) -> dict[str, Any]:
        """All fields as one dict, in the shape and with the keys of the reference; what is absent has no key.

        A root that stands as its own issuer is a dict that holds itself.
        """
        return self._to_dict({})

    def __bool__(self) -> bool:
        return bool(self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PeerCertificate) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        if not self:
            return "PeerCertificate()"
        try:
            return f"PeerCertificate(subject={self.subject!r}, serial_number={self.serial_number!r})"
        except ValueError:
            return f"PeerCertificate({len(self.raw)} bytes that are no certificate)"

    def __reduce__(self) -> tuple[Any, ...]:
        return PeerCertificate.from_chain, (self._chain(),)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a PeerCertificate is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a PeerCertificate is immutable")

    _issuer: PeerCertificate | None
    _body: _Body | None

    def _to_dict(self, known: dict[int, dict[str, Any]]) -> dict[str, Any]:
        if not self:
            return {}
        fields = {key: getattr(self, name) for key, name in _DICT_KEYS.items()}
        for key in ("valid_from", "valid_to"):
            fields[key] = fields[key] and _time_text(fields[key])
        result = {key: value for key, value in fields.items() if value is not None}
        known[id(self)] = result
        issuer = self._issuer
        if issuer is not None:
            result["issuerCertificate"] = known.get(id(issuer)) or issuer._to_dict(known)
        return result

    def _chain(self) -> list[bytes]:
        chain = [self.raw] if self else []
        certificate: PeerCertificate = self
        while certificate._issuer is not None and certificate._issuer is not certificate:
            certificate = certificate._issuer
            chain.append(certificate.raw)
        return chain

    def _parsed(self) -> _Body:
        if self._body is None:
            object.__setattr__(self, "_body", _Body(self.raw))
        assert self._body is not None
        return self._body

    def _may_have_issued(self, other: PeerCertificate) -> bool:
        try:
            return self._parsed().subject.encoded == other._parsed().issuer.encoded
        except ValueError:
            return False

    def _time(self, which: int) -> datetime.datetime | None:
        if not self:
            return None
        element = self._parsed().validity[which]
        try:
            return element.time()
        except ValueError:
            return None

    def _extension(self, oid: str) -> Element | None:
        value = self._parsed().extensions.get(oid) if self else None
        return None if value is None else read(value)

    def _general_names(self) -> list[GeneralName] | None:
        try:
            value = self._extension(_SUBJECT_ALT_NAME)
            return None if value is None else [parse_name(element) for element in value.children()]
        except ValueError:
            return None

    def _rsa_key(self) -> tuple[int, int] | None:
        if not self or self._parsed().key_algorithm not in _RSA_KEYS:
            return None
        try:
            modulus, exponent = read(self._parsed().key).children()
            return modulus.integer(), exponent.integer()
        except ValueError:
            return None

    def _ec_point(self) -> bytes | None:
        return self._parsed().key if self and self._parsed().key_algorithm == _EC_KEY else None

    def _digest(self, algorithm: str) -> str | None:
        if not self:
            return None
        digest = hashlib.new(algorithm, self.raw, usedforsecurity=False).digest()
        return digest.hex(":").upper()


class _Body:
    """The parts of a TBSCertificate (RFC 5280, section 4.1)."""

    __slots__ = (
        "extensions",
        "issuer",
        "key",
        "key_algorithm",
        "key_parameters",
        "public_key",
        "serial_number",
        "subject",
        "validity",
    )

    def __init__(self, der: bytes) -> None:
        try:
            parts = read(der).children()[0].children()
            if parts[0].tag == _VERSION:
                parts = parts[1:]
            self.serial_number, _, self.issuer, validity, self.subject, self.public_key = parts[:6]
            self.validity = validity.children()
            algorithm, key = self.public_key.children()
            kind, *parameters = algorithm.children()
            self.key = key.bits()
            self.key_algorithm = kind.oid()
            named = [parameter.oid() for parameter in parameters if parameter.tag == OBJECT_IDENTIFIER]
            self.key_parameters = named[0] if named else None
            if len(self.validity) != 2:
                raise ValueError("validity is not two times")
            self.extensions: dict[str, bytes] = {}
            for part in parts[6:]:
                if part.tag == _EXTENSIONS:
                    self.extensions = dict(map(_extension, read(part.content).children()))
        except (ValueError, IndexError) as error:
            raise ValueError(f"not an X.509 certificate: {error}") from None


def _extension(element: Element) -> tuple[str, bytes]:
    parts = element.children()
    return parts[0].oid(), parts[-1].content


def _time_text(time: datetime.datetime) -> str:
    """As OpenSSL prints it, whatever the locale: ``Aug 14 00:00:00 2017 GMT``."""
    return f"{_MONTHS[time.month - 1]} {time.day:2} {time:%H:%M:%S} {time.year} GMT"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_VERSION = 0xA0
_EXTENSIONS = 0xA3

_SUBJECT_ALT_NAME = "2.5.29.17"
_BASIC_CONSTRAINTS = "2.5.29.19"
_KEY_USAGE = "2.5.29.15"
_EXT_KEY_USAGE = "2.5.29.37"
_AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1"

_ACCESS_METHODS = {"1.3.6.1.5.5.7.48.1": "OCSP", "1.3.6.1.5.5.7.48.2": "CA Issuers"}

_RSA_KEYS = ("1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10")
_EC_KEY = "1.2.840.10045.2.1"

_CURVES = {
    "1.2.840.10045.3.1.1": "prime192v1",
    "1.2.840.10045.3.1.7": "prime256v1",
    "1.3.132.0.10": "secp256k1",
    "1.3.132.0.33": "secp224r1",
    "1.3.132.0.34": "secp384r1",
    "1.3.132.0.35": "secp521r1",
    "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
    "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
    "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
}
_NIST_CURVES = {
    "prime192v1": "P-192",
    "secp224r1": "P-224",
    "prime256v1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}
_CURVE_BITS = {"secp521r1": 521}

_DICT_KEYS = {
    "subject": "subject",
    "issuer": "issuer",
    "subjectaltname": "subjectaltname",
    "infoAccess": "info_access",
    "ca": "ca",
    "modulus": "modulus",
    "bits": "bits",
    "exponent": "exponent",
    "pubkey": "pubkey",
    "asn1Curve": "asn1_curve",
    "nistCurve": "nist_curve",
    "valid_from": "valid_from",
    "valid_to": "valid_to",
    "fingerprint": "fingerprint",
    "fingerprint256": "fingerprint256",
    "fingerprint512": "fingerprint512",
    "ext_key_usage": "ext_key_usage",
    "serialNumber": "serial_number",
    "raw": "raw",
}
