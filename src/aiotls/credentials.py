"""Keys, certificates and CA certificates in every accepted shape, brought into a few: PEM, PKCS#12, a store URI.

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
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from . import checks
from .errors import OptionError, OptionTypeError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

Octets: TypeAlias = "bytes | bytearray | memoryview"
Secret: TypeAlias = "str | Octets"
Passphrase: TypeAlias = "Secret | Callable[[], Secret | None]"
Answer: TypeAlias = "bytes | Callable[[], Any] | None"
"""A passphrase, checked; a callable is still to be asked."""
CertificateItem: TypeAlias = "str | Octets | pathlib.Path | x509.Certificate"
CertificateInput: TypeAlias = "CertificateItem | Sequence[CertificateItem] | bool | None"
KeyItem: TypeAlias = "str | Octets | pathlib.Path | PrivateKeyTypes | KeyEntry"
KeyInput: TypeAlias = "KeyItem | Sequence[KeyItem] | bool | None"
PfxItem: TypeAlias = "Octets | pathlib.Path | PfxEntry"
PfxInput: TypeAlias = "Octets | pathlib.Path | Sequence[PfxItem] | bool | None"


class KeyEntry(TypedDict, total=False):
    """A private key with a passphrase of its own."""

    pem: str | Octets | pathlib.Path
    passphrase: Passphrase | None


class PfxEntry(TypedDict, total=False):
    """A PKCS#12 file with a passphrase of its own."""

    buf: Octets | pathlib.Path
    passphrase: Passphrase | None


@dataclass(frozen=True, slots=True)
class Locked:
    """What may need a passphrase.  Nothing of it stands in the representation."""

    contents: bytes = field(repr=False)
    """PEM, or DER, or a URI."""
    passphrase: Answer = field(repr=False)
    option: str
    """Where it was given, such as ``"key[1]"``."""

    def unlock(self) -> bytes | None:
        """The passphrase; to be asked for only where one is needed."""
        if callable(self.passphrase):
            return _passphrase_bytes(self.passphrase(), "passphrase")
        return self.passphrase


class KeySource(Locked):
    """A private key as PEM."""

    __slots__ = ()

    @property
    def encrypted(self) -> bool:
        return b"BEGIN ENCRYPTED PRIVATE KEY" in self.contents or b"Proc-Type: 4,ENCRYPTED" in self.contents

    def unlock(self) -> bytes | None:
        """The passphrase, where the key needs one; a callable is asked only then."""
        return super().unlock() if self.encrypted else None


class PfxSource(Locked):
    """A key with its certificates as PKCS#12."""

    __slots__ = ()


class StoreSource(Locked):
    """A key or certificates behind a URI that OpenSSL's stores know."""

    __slots__ = ()


def read_keys(key: object, passphrase: object) -> tuple[KeySource | StoreSource, ...]:
    """The private keys of the option `key`.

    Args:
        key: PEM, a path, a store URI, a private key of cryptography, or a list of those and of
            ``{"pem": ..., "passphrase": ...}``; None, False and what is empty mean none.
        passphrase: For keys that have none of their own; a callable is asked only for an encrypted key.

    Raises:
        OptionError: A value has a wrong type, cannot be read, or is no PEM.
    """
    shared = _passphrase(passphrase, "passphrase")
    if isinstance(key, list | tuple):
        return tuple(each for index, item in enumerate(key) for each in _key_item(item, f"key[{index}]", shared))
    return () if _absent(key) else _key(key, "key", shared)


def read_chains(cert: object, passphrase: object = None) -> tuple[bytes | StoreSource, ...]:
    """The certificate chains of the option `cert`: each a PEM text, leaf first, or what a store has.

    Args:
        cert: PEM, a path, a store URI or a certificate of cryptography, or a list of those; None, False and what is
            empty mean none.
        passphrase: For a store that asks for one.

    Raises:
        OptionError: A value has a wrong type, cannot be read, or is no certificate.
    """
    shared = _passphrase(passphrase, "passphrase")

    def chain(item: object, option: str) -> bytes | StoreSource:
        return _store(item, option, shared) or _certificate(item, option)

    if isinstance(cert, list | tuple):
        return tuple(chain(item, f"cert[{index}]") for index, item in enumerate(cert))
    return () if _absent(cert) else (chain(cert, "cert"),)


def read_pfxs(pfx: object, passphrase: object) -> tuple[PfxSource, ...]:
    """The PKCS#12 files of the option `pfx`.

    Args:
        pfx: Bytes, a path, or a list of those and of ``{"buf": ..., "passphrase": ...}``; None, False and what is empty
            mean none.
        passphrase: For files that have none of their own.

    Raises:
        OptionError: A value has a wrong type or cannot be read.
    """
    shared = _passphrase(passphrase, "passphrase")
    if isinstance(pfx, list | tuple):
        return tuple(_pfx_item(item, f"pfx[{index}]", shared) for index, item in enumerate(pfx))
    return () if _absent(pfx) else (_pfx(pfx, "pfx", shared),)


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


def read_dhparam(dhparam: object) -> bytes | Literal["auto"] | None:
    """The option `dhparam`: a PEM text, ``"auto"``, or None.

    Raises:
        OptionError: It has a wrong type, cannot be read, or is no PEM.
    """
    if dhparam is None or dhparam == "auto":
        return dhparam
    pem = _contents(dhparam, "dhparam")
    if not _DH_LABEL.search(pem):
        raise _no_pem("dhparam", "DH parameters")
    return pem


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


def _key_item(item: object, option: str, shared: Answer) -> tuple[KeySource | StoreSource, ...]:
    if not isinstance(item, Mapping):
        return _key(item, option, shared)
    contents, passphrase = _entry(item, option, "pem", shared)
    return _key(contents, f"{option}['pem']", passphrase)


def _pfx_item(item: object, option: str, shared: Answer) -> PfxSource:
    if not isinstance(item, Mapping):
        return _pfx(item, option, shared)
    contents, passphrase = _entry(item, option, "buf", shared)
    return _pfx(contents, f"{option}['buf']", passphrase)


def _entry(item: Mapping[Any, object], option: str, contents: str, shared: Answer) -> tuple[object, Answer]:
    """A dict of contents with a passphrase of its own, which goes before the shared one."""
    for name in item:
        if name not in (contents, "passphrase"):
            raise OptionError(f"{option} may have {contents} and passphrase, not {name!r:.40}", option=option)
    own = _passphrase(item.get("passphrase"), f"{option}['passphrase']")
    return item.get(contents), shared if own is None else own


def _pfx(item: object, option: str, passphrase: Answer) -> PfxSource:
    if isinstance(item, str):
        raise checks.wrong_type(option, "a bytes-like object or a pathlib.Path", item)
    return PfxSource(_contents(item, option), passphrase, option)


def _key(item: object, option: str, passphrase: Answer) -> tuple[KeySource | StoreSource, ...]:
    if not isinstance(item, type) and callable(getattr(item, "private_bytes", None)):
        return (KeySource(_key_object(item, option), None, option),)
    stored = _store(item, option, passphrase)
    if stored is not None:
        return (stored,)
    data = _contents(item, option)
    if not _KEY_LABEL.search(data):
        raise _no_pem(option, "private key")
    blocks = _KEY_BLOCK.findall(data)
    if 1 < len(_KEY_LABEL.findall(data)) != len(blocks):
        raise OptionError(f"{option}: one of the private keys in it has no end", option=option)
    return tuple(KeySource(pem, passphrase, option) for pem in (blocks if len(blocks) > 1 else [data]))


def _store(item: object, option: str, passphrase: Answer) -> StoreSource | None:
    """What a URI stands for, where `item` is one."""
    if isinstance(item, str) and _STORE_URI.match(item) and "-----BEGIN " not in item:
        return StoreSource(checks.text(option, item).encode(), passphrase, option)
    return None


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
        return checks.encoded(option, item)
    try:
        return bytes(memoryview(item))  # type: ignore[arg-type]
    except TypeError:
        raise checks.wrong_type(option, _TEXT_OR_BYTES, item) from None


def _file(path: pathlib.Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except ValueError:
        raise OptionError(f"{option}: {str(path)!r:.80} cannot be the name of a file", option=option) from None
    except OSError as error:
        raise OptionError(
            f"{option}: cannot read {str(path)!r}: {error.strerror}",
            option=option,
            code=errno.errorcode.get(error.errno or 0, "ENOENT"),
            errno=error.errno,
        ) from error


def read_passphrase(passphrase: object) -> Answer:
    """The option `passphrase`.

    Raises:
        OptionTypeError: It is neither a text, nor bytes, nor callable.
    """
    return _passphrase(passphrase, "passphrase")


def _passphrase(value: object, option: str) -> Answer:
    if callable(value):
        return value
    return _passphrase_bytes(value, option)


def _passphrase_bytes(value: object, option: str) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return checks.encoded(option, value)
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
_DH_LABEL = re.compile(rb"-----BEGIN (?:X9\.42 )?DH PARAMETERS-----")
_STORE_URI = re.compile(r"[a-z][a-z0-9+.-]+:\S", re.IGNORECASE)
_KEY_BLOCK = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----.*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----\r?\n?", re.DOTALL
)
_KEY_LABEL = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
