"""Keys, certificates and CA certificates in every accepted shape, brought into one shape: PEM.

``str`` and bytes are always contents, `pathlib.Path` is read.  Objects of the package cryptography are known by what
they can do, so it is imported only when one is given.
"""

from __future__ import annotations

import base64
import errno
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from . import checks
from .errors import OptionError, OptionTypeError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

Octets: TypeAlias = "bytes | bytearray | memoryview"
Secret: TypeAlias = "str | Octets"
Passphrase: TypeAlias = "Secret | Callable[[], Secret | None]"
CertificateItem: TypeAlias = "str | Octets | pathlib.Path | x509.Certificate"
CertificateInput: TypeAlias = "CertificateItem | Sequence[CertificateItem] | bool | None"
KeyItem: TypeAlias = "str | Octets | pathlib.Path | PrivateKeyTypes | KeyEntry"
KeyInput: TypeAlias = "KeyItem | Sequence[KeyItem] | bool | None"


class KeyEntry(TypedDict, total=False):
    """A private key with a passphrase of its own."""

    pem: str | Octets | pathlib.Path
    passphrase: Passphrase | None


@dataclass(frozen=True, slots=True)
class KeySource:
    """A private key as PEM, and what may unlock it.  Neither stands in the representation."""

    pem: bytes = field(repr=False)
    passphrase: bytes | Callable[[], Any] | None = field(repr=False)
    option: str
    """Where it was given, such as ``"key[1]"``."""

    @property
    def encrypted(self) -> bool:
        return b"BEGIN ENCRYPTED PRIVATE KEY" in self.pem or b"Proc-Type: 4,ENCRYPTED" in self.pem

    def unlock(self) -> bytes | None:
        """The passphrase, when the key needs one; a callable is asked only then."""
        if not self.encrypted:
            return None
        if callable(self.passphrase):
            return _passphrase_bytes(self.passphrase(), "passphrase")
        return self.passphrase


def read_keys(key: object, passphrase: object) -> tuple[KeySource, ...]:
    """The private keys of the option `key`.

    Args:
        key: PEM, a path, a private key of cryptography, or a list of those and of ``{"pem": ..., "passphrase": ...}``;
            None, False and what is empty mean none.
        passphrase: For keys that have none of their own; a callable is asked only for an encrypted key.

    Raises:
        OptionError: A value has a wrong type, cannot be read, or is no PEM.
    """
    shared = _passphrase(passphrase, "passphrase")
    if isinstance(key, list | tuple):
        return tuple(_key_item(item, f"key[{index}]", shared) for index, item in enumerate(key))
    if _absent(key):
        return ()
    return (_key(key, "key", shared),)


def read_chains(cert: object) -> tuple[bytes, ...]:
    """The certificate chains of the option `cert`: each a PEM text, leaf first.

    Args:
        cert: PEM, a path or a certificate of cryptography, or a list of those; None, False and what is empty mean none.

    Raises:
        OptionError: A value has a wrong type, cannot be read, or is no certificate.
    """
    return _certificates(cert, "cert") or ()


def read_ca(ca: object) -> tuple[bytes, ...] | None:
    """The CA certificates of the option `ca`, as PEM texts of one or more.

    Args:
        ca: PEM of one or many, DER, a path or a certificate of cryptography, or a list of those; an empty list trusts
            nothing.

    Returns:
        None for the default store: when `ca` is None, False or an empty text.

    Raises:
        OptionError: A value has a wrong type, cannot be read, or is no certificate.
    """
    return _certificates(ca, "ca")


def read_crls(crl: object) -> tuple[bytes, ...]:
    """The revocation lists of the option `crl`, as they were given: PEM texts.

    Args:
        crl: PEM, a path, or a list of those; None, False and what is empty mean none.

    Raises:
        OptionError: A value has a wrong type or cannot be read.
    """
    if isinstance(crl, list | tuple):
        return tuple(_contents(item, f"crl[{index}]") for index, item in enumerate(crl))
    return () if _absent(crl) else (_contents(crl, "crl"),)


def _certificates(value: object, option: str) -> tuple[bytes, ...] | None:
    if isinstance(value, list | tuple):
        return tuple(_certificate(item, f"{option}[{index}]") for index, item in enumerate(value))
    if _absent(value):
        return None
    return (_certificate(value, option),)


def _certificate(item: object, option: str) -> bytes:
    if not isinstance(item, type) and callable(getattr(item, "public_bytes", None)):
        return _certificate_object(item, option)
    data = _contents(item, option)
    if data[:1] == b"\x30":
        return _armour(data)
    if not _CERTIFICATE_LABEL.search(data):
        raise _no_pem(option, "certificate")
    return data


def _certificate_object(item: Any, option: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    if not isinstance(item, x509.Certificate):
        raise checks.wrong_type(option, _TEXT_OR_BYTES, item)
    return item.public_bytes(Encoding.PEM)


def _key_item(item: object, option: str, shared: bytes | Callable[[], Any] | None) -> KeySource:
    if not isinstance(item, Mapping):
        return _key(item, option, shared)
    for name in item:
        if name not in ("pem", "passphrase"):
            raise OptionError(f"{option} may have pem and passphrase, not {name!r:.40}", option=option)
    own = _passphrase(item.get("passphrase"), f"{option}['passphrase']")
    return _key(item.get("pem"), f"{option}['pem']", shared if own is None else own)


def _key(item: object, option: str, passphrase: bytes | Callable[[], Any] | None) -> KeySource:
    if not isinstance(item, type) and callable(getattr(item, "private_bytes", None)):
        return KeySource(_key_object(item, option), None, option)
    data = _contents(item, option)
    if not _KEY_LABEL.search(data):
        raise _no_pem(option, "private key")
    return KeySource(data, passphrase, option)


def _key_object(item: Any, option: str) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    try:
        pem = item.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    except (TypeError, ValueError) as error:
        raise checks.wrong_type(option, "a private key that can be exported", item) from error
    return checks.octets(option, pem)


def _contents(item: object, option: str) -> bytes:
    if isinstance(item, pathlib.Path):
        return _file(item, option)
    if isinstance(item, str):
        return item.encode()
    try:
        return bytes(memoryview(item))  # type: ignore[arg-type]
    except TypeError:
        raise checks.wrong_type(option, _TEXT_OR_BYTES, item) from None


def _file(path: pathlib.Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(
            f"{option}: cannot read {str(path)!r}: {error.strerror}",
            option=option,
            code=errno.errorcode.get(error.errno or 0, "ENOENT"),
            errno=error.errno,
        ) from error


def _passphrase(value: object, option: str) -> bytes | Callable[[], Any] | None:
    if callable(value):
        return value
    return _passphrase_bytes(value, option)


def _passphrase_bytes(value: object, option: str) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes | bytearray | memoryview):
        # Only the type is told: the value was meant to be a secret.
        kind = type(value).__name__
        raise OptionTypeError(f"{option} must be a str, bytes or a callable, not an instance of {kind}", option=option)
    return bytes(value)


def _absent(value: object) -> bool:
    """None, False, 0 and empty contents mean that the option was not given; an empty dict is a mistake."""
    return value is None or (isinstance(value, bool | int | str | bytes | bytearray | memoryview) and not value)


def _armour(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


def _no_pem(option: str, kind: str) -> OptionError:
    return OptionError(f"{option} holds no PEM {kind}; a file is given as a pathlib.Path", option=option)


_TEXT_OR_BYTES = "a str or a bytes-like object"
_CERTIFICATE_LABEL = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")
_KEY_LABEL = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
