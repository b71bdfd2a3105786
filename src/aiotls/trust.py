"""Whom to trust: certificate stores, the default one parsed once per process."""

import threading

import certifi

from . import _native
from .errors import OptionError, option_failure


def trust_store(ca: tuple[bytes, ...] | None, crls: tuple[bytes, ...] = ()) -> _native.TrustStore:
    """The store for the options `ca` and `crl`.

    Args:
        ca: PEM texts; None is the default store, an empty tuple trusts nothing.
        crls: PEM texts of revocation lists.

    Raises:
        OptionError: An entry cannot be parsed.
    """
    if ca is None and not crls:
        return default_store()
    store = _native.TrustStore()
    for certificate in ca_certificates((certifi.contents().encode(),) if ca is None else ca):
        store.add(certificate)
    for index, pem in enumerate(crls):
        try:
            store.add_crl(pem)
        except _native.NativeError as error:
            words = "it is no revocation list in PEM"
            raise option_failure(error.args[0], f"crl[{index}]", words, "ERR_CRYPTO_OPERATION_FAILED") from None
    return store


def ca_certificates(ca: tuple[bytes, ...]) -> list[_native.Certificate]:
    """The certificates in the PEM texts of the option `ca`.

    Raises:
        OptionError: An entry cannot be parsed.
    """
    return [certificate for index, pem in enumerate(ca) for certificate in parse_certificates(pem, f"ca[{index}]")]


def parse_certificates(pem: bytes, option: str) -> list[_native.Certificate]:
    """All certificates of a PEM text.

    Raises:
        OptionError: It cannot be parsed, or holds none.
    """
    try:
        certificates = _native.Certificate.from_pem(pem)
    except _native.NativeError as error:
        raise option_failure(error.args[0], option) from None
    if not certificates:
        raise OptionError(f"{option} holds no certificate", option=option)
    return certificates


def default_store() -> _native.TrustStore:
    """The Mozilla CA certificates that the package certifi carries; all contexts share one parsed copy."""
    return _default.get()


class _SharedStore:
    """A store that is parsed when it is first asked for, once, whichever thread asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._store: _native.TrustStore | None = None

    def get(self) -> _native.TrustStore:
        with self._lock:
            if self._store is None:
                self._store = trust_store((certifi.contents().encode(),))
            return self._store


_default = _SharedStore()
