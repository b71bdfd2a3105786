"""Where CA certificates come from: the bundle of Mozilla's, the machine, and the file of AIOTLS_EXTRA_CA_CERTS.

Each is loaded when it is first needed, once in a process, whichever thread asks.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator

import certifi

from . import _native
from .environment import variable
from .errors import OptionError
from .security_warning import warn_security
from .switches import taken

EXTRA_VARIABLE = "AIOTLS_EXTRA_CA_CERTS"
SYSTEM_VARIABLE = "AIOTLS_USE_SYSTEM_CA"


class Authorities:
    """CA certificates in their order, none twice; never changed.

    Of a certificate that comes twice, the one counts that says for what it is trusted (``TRUSTED CERTIFICATE``), so
    that nothing is trusted for more than it should be.
    """

    def __init__(self, certificates: Iterable[_native.Certificate]) -> None:
        self._certificates: dict[bytes, _native.Certificate] = {}
        for certificate in certificates:
            der = certificate.der()
            known = self._certificates.get(der)
            if known is None or known.trusted_der() == der:
                self._certificates[der] = certificate

    def __iter__(self) -> Iterator[_native.Certificate]:
        return iter(self._certificates.values())

    @functools.cached_property
    def pems(self) -> tuple[str, ...]:
        """Each as a text of its own."""
        return tuple(map(_pem, self))

    @functools.cached_property
    def digest(self) -> bytes:
        """Equal for the same certificates, in whatever order, and for no others."""
        hashes = sorted(hashlib.sha256(certificate.trusted_der()).digest() for certificate in self)
        return hashlib.sha256(b"".join(hashes)).digest()


def _pem(certificate: _native.Certificate) -> str:
    der = certificate.trusted_der()
    text = ssl.DER_cert_to_PEM_cert(der)
    return text if der == certificate.der() else text.replace(" CERTIFICATE-----", " TRUSTED CERTIFICATE-----")


def default() -> Authorities:
    """What a program trusts unless it says otherwise, by its switches and its environment.

    Raises:
        OptionError: AIOTLS_USE_SYSTEM_CA has a value that says nothing.
    """
    return Authorities(certificate for source in _default_sources() for certificate in source())


def _default_sources() -> list[Callable[[], Authorities]]:
    with_system = _use_system_ca()
    if taken().use_openssl_ca:
        return [system, extra]
    if with_system:
        return [bundled, system, extra]
    if variable(_PATHS.openssl_cafile_env) or variable(_PATHS.openssl_capath_env):
        return [system, extra]
    return [bundled, extra]


def extra() -> Authorities:
    """The certificates in the file that AIOTLS_EXTRA_CA_CERTS names; a file that cannot be loaded is a warning."""
    found = _extra()
    # Not while it is being loaded: who shows warnings may make a context for it.
    while _complaints:
        warn_security(_complaints.pop())
    return found


class _Source:
    def __init__(self, load: Callable[[], Iterable[_native.Certificate]]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._loaded: Authorities | None = None

    def __call__(self) -> Authorities:
        with self._lock:
            if self._loaded is None:
                self._loaded = Authorities(self._load())
            return self._loaded


def _load_bundled() -> list[_native.Certificate]:
    return _native.Certificate.from_pem(certifi.contents().encode())


def _load_system() -> Iterator[_native.Certificate]:
    """What OpenSSL would look at; like OpenSSL, each of the two variables replaces its own half."""
    yield from _readable(pathlib.Path(variable(_PATHS.openssl_cafile_env) or _PATHS.openssl_cafile))
    folders = variable(_PATHS.openssl_capath_env) or _PATHS.openssl_capath
    for folder in filter(None, folders.split(os.pathsep)):
        with contextlib.suppress(OSError):
            for path in sorted(pathlib.Path(folder).iterdir()):
                # Whoever takes a certificate out of service takes away its name of this form.
                if _HASHED_NAME.fullmatch(path.name):
                    yield from _readable(path)


def _readable(path: pathlib.Path) -> list[_native.Certificate]:
    """The certificates of a file, without those that are broken."""
    try:
        pem = path.read_bytes() if path.is_file() else b""
    except OSError:
        return []
    with contextlib.suppress(_native.NativeError):
        return _native.Certificate.from_pem(pem)
    found: list[_native.Certificate] = []
    for frame in _PEM_FRAME.findall(pem):
        with contextlib.suppress(_native.NativeError):
            found += _native.Certificate.from_pem(frame)
    return found


def _load_extra() -> list[_native.Certificate]:
    path = variable(EXTRA_VARIABLE)
    if not path:
        return []
    try:
        # A pipe would keep us waiting.
        pem = b"" if pathlib.Path(path).is_fifo() else pathlib.Path(path).read_bytes()
        found = _native.Certificate.from_pem(pem)
        why = None if found else "it holds no certificate"
    except OSError as error:
        found, why = [], error.strerror
    except _native.NativeError as error:
        found, why = [], error.args[0].reason
    if why:
        _complaints.append(f"ignoring extra certs from {path}, load failed: {why} ({EXTRA_VARIABLE})")
    return found


def _use_system_ca() -> bool:
    value = variable(SYSTEM_VARIABLE) or ""
    if value not in ("", "0", "1"):
        raise OptionError(f"{SYSTEM_VARIABLE} must be 1 or 0, not {value!r:.80}", option=SYSTEM_VARIABLE)
    return value == "1" or taken().use_system_ca


_PATHS = ssl.get_default_verify_paths()
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_PEM_FRAME = re.compile(rb"-----BEGIN [^\n]*?-----\r?\n.*?-----END [^\n]*?-----", re.DOTALL)
_complaints: list[str] = []
_extra = _Source(_load_extra)
bundled = _Source(_load_bundled)
system = _Source(_load_system)
