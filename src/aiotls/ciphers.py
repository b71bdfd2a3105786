"""Cipher suites: their names, and one cipher list taken apart for the two lists that OpenSSL has.

OpenSSL keeps TLS 1.2 and below (SSL_CTX_set_cipher_list(3), with its own little language) apart from TLS 1.3
(SSL_CTX_set_ciphersuites(3), names only).  Users write one list; names that start with ``TLS_`` are those of TLS 1.3.
"""

from dataclasses import dataclass

from . import _native
from .errors import OptionError


def get_ciphers() -> list[str]:
    """The names of all cipher suites that this OpenSSL supports, in lower case.

    Those of TLS 1.3 start with ``tls_``.  In the option ``ciphers`` the names are written in upper case.

    Source: ciphers(1), SSL_CTX_get_ciphers(3).
    """
    return sorted({suite.lower() for suite in _native.cipher_suites()})


def get_certificate_compression_algorithms() -> list[str]:
    """What the option `certificate_compression` may name with this OpenSSL; empty where it cannot compress.

    Source: RFC 8879, SSL_CTX_set1_cert_comp_preference(3).
    """
    return [name for _, name in _native.certificate_compression_algorithms()]


@dataclass(frozen=True, slots=True)
class CipherLists:
    """One cipher list, taken apart."""

    tls12: str
    """OpenSSL's list format for TLS 1.2 and below; empty when no suite of it was named."""
    tls13: str
    """TLS 1.3 suites, colon separated; empty when none was named."""
    security_level: str
    """The last ``@SECLEVEL=n``, empty when there is none."""


def split_ciphers(ciphers: str) -> CipherLists:
    """Takes a cipher list apart.

    Args:
        ciphers: Suites of TLS 1.3 by name and OpenSSL's list format, mixed, separated by colons, commas or blanks.

    Raises:
        OptionError: No suite is named at all (``ERR_INVALID_ARG_VALUE``), or a ``TLS_`` name is unknown
            (``ERR_SSL_NO_CIPHER_MATCH``).

    Example::

        >>> split_ciphers("TLS_AES_128_GCM_SHA256:ECDHE+AESGCM:@SECLEVEL=1")
        CipherLists(tls12='ECDHE+AESGCM:@SECLEVEL=1', tls13='TLS_AES_128_GCM_SHA256', security_level='@SECLEVEL=1')
    """
    words = [word for word in ciphers.replace(",", ":").replace(" ", ":").split(":") if word]
    tls13 = [word for word in words if _is_tls13(word)]
    tls12 = [word for word in words if not _is_tls13(word)]
    levels = [word[word.index("@SECLEVEL=") :] for word in words if "@SECLEVEL=" in word]
    if all(word.startswith("@") for word in tls12):
        tls12 = []
    if not tls12 and not tls13:
        raise OptionError("ciphers names no cipher suite", option="ciphers")
    _check_known(tls13)
    return CipherLists(":".join(tls12), ":".join(tls13), levels[-1] if levels else "")


def no_cipher_match(detail: str) -> OptionError:
    """The error for a cipher list of which nothing is left."""
    return OptionError(
        f"ciphers: no cipher match: {detail}",
        option="ciphers",
        code="ERR_SSL_NO_CIPHER_MATCH",
        library="SSL routines",
        reason="no cipher match",
    )


def _is_tls13(word: str) -> bool:
    # A name with _WITH_ is the standard name of a TLS 1.2 suite (RFC 5246, appendix C).
    return word.lstrip("!-+").startswith("TLS_") and "_WITH_" not in word


def _check_known(tls13: list[str]) -> None:
    known = {suite for suite in _native.cipher_suites() if suite.startswith("TLS_")}
    for name in tls13:
        if name not in known:
            raise no_cipher_match(f"TLS 1.3 has no suite {name[:80]!r}; there are {', '.join(sorted(known))}")
