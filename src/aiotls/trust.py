"""Whom to trust: stores of CA certificates; that for contexts without `ca` is made once and shared."""

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from . import _native, ca_sources, checks
from .ca_sources import Authorities
from .errors import OptionError, option_failure


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom one context trusts."""

    store: _native.TrustStore
    own: list[_native.Certificate]
    """The certificates of the option `ca`."""
    digest: bytes
    """Sessions are bound to it: it tells apart what decides whether a peer's certificate is good."""

    @classmethod
    def of(cls, ca: tuple[bytes, ...] | None, crls: tuple[bytes, ...] = (), *, partial_chain: bool = False) -> "Trust":
        """What the options `ca`, `crl` and `allow_partial_trust_chain` say.

        Args:
            ca: PEM texts; None is the default of now, an empty tuple trusts nothing.
            crls: PEM texts of revocation lists.
            partial_chain: Whether a chain may end below a root.

        Raises:
            OptionError: An entry cannot be parsed.
        """
        own = ca_certificates(ca or ())
        if ca is None:
            default = default_trust()
            trusted: tuple[bytes, ...] = (default.digest,)
            store = _store(default.authorities) if crls else default.store
        else:
            trusted, store = ca, _store(own)
        for name, pem in zip(checks.item_names("crl", len(crls)), crls, strict=True):
            try:
                store.add_crl(pem)
            except _native.NativeError as error:
                words = "it is no revocation list in PEM"
                raise option_failure(error.args[0], name, words, "ERR_CRYPTO_OPERATION_FAILED") from None
        kind = bytes((ca is None, partial_chain))
        return cls(store, own, digest(trusted, crls, (kind,)))


def digest(*groups: tuple[bytes, ...]) -> bytes:
    """Equal for the same texts in the same groups, and for no others."""
    whole = hashlib.sha256()
    for texts in groups:
        whole.update(len(texts).to_bytes(4, "big"))
        for text in texts:
            whole.update(hashlib.sha256(text).digest())
    return whole.digest()


def ca_certificates(ca: tuple[bytes, ...]) -> list[_native.Certificate]:
    """The certificates in the PEM texts of the option `ca`.

    Raises:
        OptionError: An entry cannot be parsed.
    """
    named = zip(checks.item_names("ca", len(ca)), ca, strict=True)
    return [certificate for name, pem in named for certificate in parse_certificates(pem, name)]


def parse_certificates(pem: bytes, option: str) -> list[_native.Certificate]:
    """All certificates of a PEM text.

    Raises:
        OptionError: It cannot be parsed, or holds none.
    """
    certificates = read_certificates(pem, option)
    if not certificates:
        raise OptionError(f"{option} holds no certificate", option=option)
    return certificates


def read_certificates(pem: bytes, option: str) -> list[_native.Certificate]:
    """All certificates of a text, which may hold none.

    Raises:
        OptionError: One of them cannot be parsed.
    """
    try:
        return _native.Certificate.from_pem(pem)
    except _native.NativeError as error:
        failure = error.args[0]
        raise option_failure(failure, option, f"{failure.reason}: a certificate in it is broken") from None


@dataclass(frozen=True, slots=True)
class DefaultTrust:
    """What is trusted where `ca` is not given.  It does not change: another default is another object."""

    authorities: Authorities
    store: _native.TrustStore
    digest: bytes
    """Sessions are bound to it: equal where the same certificates are trusted."""

    @classmethod
    def of(cls, authorities: Authorities) -> "DefaultTrust":
        return cls(authorities, _store(authorities), authorities.digest)


def default_trust() -> DefaultTrust:
    """What is trusted by default now; loaded when it is first asked for, once.

    Raises:
        OptionError: The environment says what cannot work.
    """
    return _default.get()


def replace_default_trust(certificates: Iterable[_native.Certificate]) -> None:
    """Changes what contexts trust by default that are made from now on."""
    _default.replace(DefaultTrust.of(Authorities(certificates)))


class _Default:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trust: DefaultTrust | None = None

    def get(self) -> DefaultTrust:
        if self._trust is None:
            authorities = ca_sources.default()
            with self._lock:
                # A replacement that came first stays.
                self._trust = self._trust or DefaultTrust.of(authorities)
        return self._trust

    def replace(self, trust: DefaultTrust) -> None:
        with self._lock:
            self._trust = trust


def _store(certificates: Iterable[_native.Certificate]) -> _native.TrustStore:
    store = _native.TrustStore()
    for certificate in certificates:
        store.add(certificate)
    return store


_default = _Default()
