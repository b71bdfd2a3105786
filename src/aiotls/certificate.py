"""The certificate of a peer, or our own: a frozen object over its DER, taken apart when a field is asked for.

The fields are read here rather than by the package cryptography, because peers send what it refuses: names with other
characters than they should have, broken extensions.  A field that cannot be read is None; nothing else is lost.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from . import checks, distinguished_name
from .der import BOOLEAN, INTEGER, Element, read
from .general_name import GeneralName, parse_name
from .public_key import PublicKey, parse_public_key

if TYPE_CHECKING:
    from cryptography import x509


class PeerCertificate:
    """A certificate; without any, it is empty and false.

    Args:
        der: The certificate as it travels; empty for none.
        issuer: The certificate of its issuer, where the chain is known.

    Raises:
        OptionTypeError: `der` is no bytes-like object.

    Example::

        certificate = socket.get_peer_certificate()
        if certificate:
            print(certificate.subject["CN"], certificate.valid_to)
    """

    __slots__ = ("_body", "_issuer", "raw")

    raw: bytes
    """The DER."""

    def __init__(self, der: bytes = b"", issuer: PeerCertificate | None = None) -> None:
        object.__setattr__(self, "raw", checks.octets("der", der))
        object.__setattr__(self, "_issuer", issuer)
        object.__setattr__(self, "_body", None)

    @classmethod
    def from_chain(cls, chain: Sequence[bytes]) -> PeerCertificate:
        """The first certificate of a chain, linked with those of its issuers; a root is its own issuer.

        Args:
            chain: DER certificates, the leaf first, the others in any order; no more than OpenSSL would verify.
        """
        leaf, *others = [cls(der) for der in chain[:_LONGEST_CHAIN]] or [cls()]
        by_subject: dict[object, list[PeerCertificate]] = {}
        for each in others:
            by_subject.setdefault(each._canonical("subject"), []).append(each)
        certificate: PeerCertificate | None = leaf
        while certificate is not None and certificate._issuer is None:
            name = certificate._canonical("issuer")
            candidates = by_subject.get(name, [])
            if certificate._canonical("subject") == name:
                candidates = [certificate, *candidates]
            issuer = next((each for each in candidates if each._may_have_issued(certificate)), None)
            object.__setattr__(certificate, "_issuer", issuer)
            if issuer is not None and issuer is not certificate:
                by_subject[name].remove(issuer)
            certificate = issuer
        return leaf

    @property
    def subject(self) -> dict[str, str | list[str]]:
        """Its attributes by OpenSSL's short name; one that is there more than once has a list.

        Characters that cannot be decoded are replaced by U+FFFD.  A value that is no text is ``#`` and its DER in
        hexadecimal digits.
        """
        return distinguished_name.as_dict(self._parsed().subject) if self else {}

    @property
    def issuer(self) -> dict[str, str | list[str]]:
        """The subject of who signed it, in the same form."""
        return distinguished_name.as_dict(self._parsed().issuer) if self else {}

    @property
    def subjectaltname(self) -> str | None:
        """The names, as text, each with its kind: ``"DNS:a.example, IP Address:192.0.2.1"``.

        A name with a comma, a quote, a control character or the like stands in double quotes, with JSON's escapes.
        """
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
            for description in value.sequence():
                method, location = description.sequence(2)
                name = parse_name(location)
                oid = method.oid()
                access.setdefault(f"{_ACCESS_METHODS.get(oid, oid)} - {name.kind}", []).append(name.value)
            return access
        except ValueError:
            return None

    @property
    def ca(self) -> bool | None:
        """Whether it says that it may sign certificates; False where it cannot be read."""
        if not self:
            return None
        try:
            constraints = self._extension(_BASIC_CONSTRAINTS, alone=True)
            if constraints is None or not self._may_sign():
                return False
            parts = constraints.sequence()
            if [part.tag for part in parts] not in ([BOOLEAN], [BOOLEAN, INTEGER]):
                return False
            return parts[0].boolean() and all(length.integer() >= 0 for length in parts[1:])
        except ValueError:
            return False

    @property
    def ext_key_usage(self) -> list[str] | None:
        """What it may be used for: object identifiers."""
        try:
            value = self._extension(_EXT_KEY_USAGE, alone=True)
            return None if value is None else [child.oid() for child in value.sequence()]
        except ValueError:
            return None

    @property
    def modulus(self) -> str | None:
        """Of an RSA key, in upper-case hexadecimal digits."""
        modulus = self._key().modulus
        return None if modulus is None else f"{modulus:X}"

    @property
    def exponent(self) -> str | None:
        """Of an RSA key, such as ``"0x10001"``."""
        exponent = self._key().exponent
        return None if exponent is None else f"{exponent:#x}"

    @property
    def bits(self) -> int | None:
        """The size of an RSA key, or of the order of an EC key's curve."""
        return self._key().bits

    @property
    def pubkey(self) -> bytes | None:
        """The public key: the point of an EC key, the SubjectPublicKeyInfo of any other."""
        if not self:
            return None
        point = self._key().point
        return self._parsed().public_key.encoded if point is None else point

    @property
    def asn1_curve(self) -> str | None:
        """OpenSSL's name of the curve of an EC key, dotted if it has none; None for parameters without a name."""
        return self._key().curve

    @property
    def nist_curve(self) -> str | None:
        """NIST's name of the curve of an EC key, where it has one."""
        return self._key().nist_curve

    @property
    def valid_from(self) -> datetime.datetime | None:
        """In UTC; None where it is no time that a certificate may have (RFC 5280, section 4.1.2.5)."""
        return self._time(0)

    @property
    def valid_to(self) -> datetime.datetime | None:
        """In UTC, under the same rule."""
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
        number = self._parsed().serial_number
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

        try:
            return x509.load_der_x509_certificate(self.raw)
        except (x509.InvalidVersion, Warning) as error:  # a warning, where the program makes errors of them
            raise ValueError(str(error)) from error

    def to_dict(self) -> dict[str, Any]:
        """All fields as one dict, in the shape and with the keys of the reference; what is absent has no key.

        A root that stands as its own issuer is a dict that holds itself.  Only RSA and EC keys have a ``pubkey``.
        A time that is none is ``"Bad time value"``.
        """
        certificate, fields = self, self._fields()
        result = fields
        while issuer := certificate._issuer:
            if issuer is certificate:
                fields["issuerCertificate"] = fields
                break
            fields["issuerCertificate"] = further = issuer._fields()
            certificate, fields = issuer, further
        return result

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
        chain = [self]
        while (issuer := chain[-1]._issuer) is not None and issuer is not chain[-1]:
            chain.append(issuer)
        return _linked, ([each.raw for each in chain], issuer is not None)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a PeerCertificate is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a PeerCertificate is immutable")

    _issuer: PeerCertificate | None
    _body: _Body | None

    def _fields(self) -> dict[str, Any]:
        if not self:
            return {}
        fields = {key: getattr(self, name) for key, name in _DICT_KEYS.items()}
        for key in ("valid_from", "valid_to"):
            fields[key] = _time_text(fields[key])
        public_key = self._key()
        if public_key.modulus is None and public_key.point is None:
            del fields["pubkey"]
        return {key: value for key, value in fields.items() if value is not None}

    def _parsed(self) -> _Body:
        if self._body is None:
            object.__setattr__(self, "_body", _Body(self.raw))
        assert self._body is not None
        return self._body

    def _canonical(self, which: str) -> object:
        """Its subject or issuer in a form that can be compared; a broken one is like no other."""
        try:
            return distinguished_name.canonical(getattr(self._parsed(), which))
        except ValueError:
            return object()

    def _may_have_issued(self, other: PeerCertificate) -> bool:
        """Of certificates whose names fit: not one of an older key, nor one that may not sign."""
        try:
            own = self._extension(_SUBJECT_KEY_IDENTIFIER)
            wanted = other._extension(_AUTHORITY_KEY_IDENTIFIER)
            identifiers = [part.content for part in wanted.sequence() if part.tag == 0x80] if wanted else []
            fits = own is None or not identifiers or own.octets() == identifiers[0]
            return fits and (self is other or self._may_sign())
        except ValueError:
            return False

    def _may_sign(self) -> bool:
        """Whether its key usage, if it has one, allows signing certificates."""
        usage = self._extension(_KEY_USAGE, alone=True)
        return usage is None or bool((usage.bits() or b"\0")[0] & _KEY_CERT_SIGN)

    def _time(self, which: int) -> datetime.datetime | None:
        if not self:
            return None
        element = self._parsed().validity[which]
        try:
            return element.time()
        except ValueError:
            return None

    def _extension(self, oid: str, *, alone: bool = False) -> Element | None:
        """The value of an extension; of several of one kind the first, unless it must stand alone."""
        if not self:
            return None
        body = self._parsed()
        if alone and oid in body.repeated:
            raise ValueError("an extension that is there more than once")
        value = body.extensions.get(oid)
        return None if value is None else read(value)

    def _general_names(self) -> list[GeneralName] | None:
        try:
            value = self._extension(_SUBJECT_ALT_NAME)
            return None if value is None else [parse_name(element) for element in value.sequence()]
        except ValueError:
            return None

    def _key(self) -> PublicKey:
        return self._parsed().key if self else PublicKey()

    def _digest(self, algorithm: str) -> str | None:
        if not self:
            return None
        digest = hashlib.new(algorithm, self.raw, usedforsecurity=False).digest()
        return digest.hex(":").upper()


class _Body:
    """The parts of a TBSCertificate (RFC 5280, section 4.1)."""

    __slots__ = ("extensions", "issuer", "key", "public_key", "repeated", "serial_number", "subject", "validity")

    def __init__(self, der: bytes) -> None:
        try:
            parts = read(der).sequence(3)[0].sequence()
            if parts[0].tag == _VERSION:
                parts = parts[1:]
            self.serial_number = parts[0].integer()
            self.issuer, validity, self.subject, self.public_key = parts[2:6]
            self.validity = validity.sequence(2)
            self.key = parse_public_key(self.public_key)
            self.extensions: dict[str, bytes] = {}
            self.repeated: set[str] = set()
            for part in parts[6:]:
                if part.tag == _EXTENSIONS:
                    self._add_extensions(read(part.content).sequence())
        except (ValueError, IndexError) as error:
            pem = "it is PEM; ssl.PEM_cert_to_DER_cert makes DER of it"
            words = pem if der.startswith(b"-----BEGIN ") else error
            raise ValueError(f"not an X.509 certificate: {words}") from None

    def _add_extensions(self, extensions: list[Element]) -> None:
        for extension in extensions:
            kind, *_, value = extension.sequence()
            oid = kind.oid()
            if oid in self.extensions:
                self.repeated.add(oid)
            self.extensions.setdefault(oid, value.octets())


def _linked(chain: Sequence[bytes], rooted: bool) -> PeerCertificate:
    """A certificate with its issuers, which are not looked for; `rooted`: the last one is its own."""
    certificate: PeerCertificate | None = None
    for der in reversed(chain):
        issuer = certificate
        certificate = PeerCertificate(der, issuer)
        if rooted and issuer is None:
            object.__setattr__(certificate, "_issuer", certificate)
    return certificate or PeerCertificate()


def _time_text(time: datetime.datetime | None) -> str:
    """As OpenSSL prints it, whatever the locale: ``Aug 14 00:00:00 2017 GMT``."""
    if time is None:
        return "Bad time value"
    return f"{_MONTHS[time.month - 1]} {time.day:2} {time:%H:%M:%S} {time.year} GMT"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LONGEST_CHAIN = 102
"""A leaf, 100 intermediates, a root: see X509_VERIFY_PARAM_set_depth(3)."""

_VERSION = 0xA0
_EXTENSIONS = 0xA3

_SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
_KEY_USAGE = "2.5.29.15"
_SUBJECT_ALT_NAME = "2.5.29.17"
_BASIC_CONSTRAINTS = "2.5.29.19"
_AUTHORITY_KEY_IDENTIFIER = "2.5.29.35"
_EXT_KEY_USAGE = "2.5.29.37"
_AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1"

_KEY_CERT_SIGN = 0x04

_ACCESS_METHODS = {
    "1.3.6.1.5.5.7.48.1": "OCSP",
    "1.3.6.1.5.5.7.48.2": "CA Issuers",
    "1.3.6.1.5.5.7.48.3": "AD Time Stamping",
    "1.3.6.1.5.5.7.48.4": "ad dvcs",
    "1.3.6.1.5.5.7.48.5": "CA Repository",
    "1.3.6.1.5.5.7.48.10": "RPKI Manifest",
    "1.3.6.1.5.5.7.48.11": "Signed Object",
    "1.3.6.1.5.5.7.48.13": "RPKI Notify",
}

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
