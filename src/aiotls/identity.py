"""Does a certificate belong to the name that was asked for (RFC 9525)?

The rules: an IP address is looked for among the IP addresses of subjectAltName only.  A host name is looked for among
its DNS names; only when there is none, among the common names of the subject.  One ``*`` may stand in the left-most
label, beside other characters too (RFC 6125 allowed that, RFC 9525 no longer does), where at least two labels follow
and that label is no A-label.  A name in a certificate that holds anything but visible ASCII never matches, and neither
does a host that only looks like a name: an address in a loose spelling (``010.0.0.1``) or with a zone, or a pattern.
"""

import functools
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .certificate import PeerCertificate
from .checks import describe, wrong_type
from .errors import OptionError, ServerIdentityError

LONGEST_HOST = 255
"""How long a host name may be in ASCII, in characters (RFC 1035, section 2.3.4)."""
LONGEST_ADDRESS = 45
"""How long an IP address without a zone may be, in characters (inet_ntop(3))."""

PeerNames: TypeAlias = tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[str, ...]]
"""DNS names, packed IP addresses, common names."""


def check_server_identity(hostname: str, certificate: PeerCertificate | Mapping[str, Any]) -> None:
    """Checks that `certificate` belongs to `hostname`.

    It is what `connect` does by default, after the chain was verified; a function of your own may call it and check
    more.

    Args:
        hostname: A DNS name, also in Unicode, or an IP address.
        certificate: A `PeerCertificate`, or a dict with ``subject`` and ``subjectaltname`` as its `to_dict` has them.

    Raises:
        ServerIdentityError: It does not; `reason` says which names it has.  Its code is
            ``ERR_TLS_CERT_ALTNAME_INVALID``, or ``ERR_TLS_CERT_ALTNAME_FORMAT`` for a ``subjectaltname`` that is
            quoted wrongly or cannot be read.
        OptionTypeError: `certificate` is none.

    Example::

        def check(hostname, certificate):
            aiotls.check_server_identity(hostname, certificate)
            if certificate.fingerprint256 not in PINNED:
                raise ValueError("not the certificate that we know")
    """
    host = str(hostname)
    names = _names(host, certificate)
    if matches(host, names.dns, names.addresses, names.common_names):
        return
    raise ServerIdentityError(_reason(host, names), host, certificate)


def match_names(hostname: str, names: PeerNames) -> bool:
    """Whether a certificate with these names belongs to `hostname`; the verdict is that of `check_server_identity`.

    Args:
        hostname: A DNS name or an IP address.
        names: DNS names, packed IP addresses and common names.
    """
    dns, addresses, common_names = names
    return matches(
        hostname,
        [name.decode("latin-1") for name in dns],
        # Read only where the host is an address.
        (text for text in map(_unpack, addresses) if text),
        common_names,
    )


def matches(hostname: str, dns: Iterable[str], addresses: Iterable[str], common_names: Iterable[str]) -> bool:
    """The rules of this module, over names in text form; addresses are canonical."""
    try:
        # In ASCII first: only then does it show whether it is an address (CVE-2026-48618).
        address, labels = _parse_host(hostname)
    except OptionError:
        return False
    if address is not None:
        return address in addresses
    return bool(labels) and any(_match_pattern(labels, pattern) for pattern in (dns or common_names))


def plain_name(hostname: str) -> str | None:
    """The DNS name that a host is, in lower case and without a trailing dot; None for an address and the like.

    A certificate that has this very name among its DNS names belongs to the host, whatever else it has.
    """
    try:
        return ".".join(_parse_host(hostname)[1]) or None
    except OptionError:
        return None


# A client asks for the same few hosts.  What is kept is short: a host that is too long is an error, and none is kept.
@functools.lru_cache(maxsize=256)
def _parse_host(hostname: str) -> tuple[str | None, list[str]]:
    """The address that a host is, or else the labels of the name that it is; neither for one that is no name."""
    host = ascii_hostname(hostname).removesuffix(".")
    address = canonical_address(host)
    labels = host.lower().split(".")
    if address is not None or not all(labels) or _NO_NAME.search(host):
        return address, []
    return None, labels


def ascii_hostname(hostname: object, option: str = "host") -> str:
    """A host name or address with non-ASCII labels in their ASCII form (RFC 3490), otherwise as it was.

    Args:
        hostname: What the user wrote.
        option: The option to name when it is wrong.

    Raises:
        OptionError: It is empty, too long, or holds what no host name can.
    """
    if not isinstance(hostname, str):
        raise wrong_type(option, "a str", hostname)
    name = hostname
    if not hostname.isascii() and len(hostname) <= 4 * LONGEST_HOST:
        try:
            name = hostname.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise OptionError(f"{option}: {hostname!r:.80} has no ASCII form", option=option) from error
    if not 1 <= len(name) <= LONGEST_HOST:
        raise OptionError(f"{option} must have 1 to {LONGEST_HOST} characters, not {len(name)}", option=option)
    if name.startswith("["):
        raise OptionError(f"{option}: an IPv6 address stands without brackets, not {hostname!r:.80}", option=option)
    if not _is_visible_ascii(name):
        raise OptionError(f"{option}: {hostname!r:.80} holds a character that no host name can have", option=option)
    return name


def canonical_address(text: str) -> str | None:
    """An IP address in its shortest form; None for anything else, and for one with a zone."""
    if ":" not in text and not text[-1:].isdigit():
        return None  # the usual case: a name
    return None if len(text) > LONGEST_ADDRESS else _canonical(text)


@functools.lru_cache(maxsize=256)
def _canonical(text: str) -> str | None:
    try:
        return None if "%" in text else str(ipaddress.ip_address(text))
    except ValueError:
        return None


def is_address(hostname: str) -> bool:
    """Whether a host is an IP address, with or without a zone (RFC 4007, section 11)."""
    return canonical_address(hostname.partition("%")[0]) is not None


@dataclass(frozen=True, slots=True)
class _Names:
    dns: tuple[str, ...]
    addresses: tuple[str, ...]
    common_names: tuple[str, ...]
    altnames: str


def _names(host: str, certificate: PeerCertificate | Mapping[str, Any]) -> _Names:
    if not isinstance(certificate, PeerCertificate | Mapping):
        raise wrong_type("certificate", "a PeerCertificate or a dict", certificate)
    try:
        subject, altnames = _subject_and_altnames(certificate)
        entries = list(_split(altnames))
    except ValueError as error:
        message = "Invalid subject alternative name string"
        raise ServerIdentityError(
            message, host, certificate, message=message, code="ERR_TLS_CERT_ALTNAME_FORMAT"
        ) from error
    common = subject.get("CN") if isinstance(subject, Mapping) else None
    common_names = tuple(map(str, common)) if isinstance(common, list | tuple) else (str(common),) if common else ()
    addresses = (canonical_address(entry[11:]) for entry in entries if entry.startswith("IP Address:"))
    return _Names(
        dns=tuple(entry[4:] for entry in entries if entry.startswith("DNS:")),
        addresses=tuple(address for address in addresses if address),
        common_names=common_names,
        altnames=altnames,
    )


def _subject_and_altnames(certificate: PeerCertificate | Mapping[str, Any]) -> tuple[object, str]:
    """The two fields that count.

    Raises:
        ValueError: They cannot be read.
    """
    if isinstance(certificate, PeerCertificate):
        altnames = certificate.subjectaltname
        if altnames is None and certificate and _SUBJECT_ALT_NAME in certificate._parsed().extensions:
            # There may be a DNS name among them, so the common name must not count instead.
            raise ValueError("the subject alternative names cannot be read")
        return certificate.subject, altnames or ""
    text = certificate.get("subjectaltname") or ""
    if not isinstance(text, str):
        raise ValueError(f"subjectaltname must be a str, not {describe(text)}")
    return certificate.get("subject"), text


def _reason(host: str, names: _Names) -> str:
    shown = host.removesuffix(".")
    if is_address(shown):
        return f"IP: {shown} is not in the cert's list: {', '.join(names.addresses)}"
    if names.dns:
        return f"Host: {shown}. is not in the cert's altnames: {names.altnames}"
    if names.common_names:
        return f"Host: {shown}. is not cert's CN: {','.join(names.common_names)}"
    return "Cert does not contain a DNS name"


def _split(altnames: str) -> Iterator[str]:
    """The entries of a ``subjectaltname``; a comma inside a quoted name does not end it (CVE-2021-44532).

    Raises:
        ValueError: A quoted name is not valid JSON.
    """
    entry = ""
    position = 0
    while position < len(altnames):
        if altnames[position] == '"':
            quoted, position = _DECODER.raw_decode(altnames, position)
            entry += quoted
        elif altnames.startswith(", ", position):
            yield entry
            entry = ""
            position += 2
        else:
            entry += altnames[position]
            position += 1
    if altnames:
        yield entry


def _match_pattern(host: list[str], pattern: str) -> bool:
    if not _is_visible_ascii(pattern):
        return False  # before the case is folded: the Kelvin sign would become a "k"
    labels = pattern.removesuffix(".").lower().split(".")
    if len(labels) != len(host) or labels[1:] != host[1:]:
        return False
    first, star, rest = labels[0].partition("*")
    if not star or "xn--" in labels[0]:
        return labels[0] == host[0]
    if "*" in rest or len(labels) <= 2:
        return False
    return len(host[0]) >= len(first) + len(rest) and host[0].startswith(first) and host[0].endswith(rest)


def _is_visible_ascii(text: str) -> bool:
    return _VISIBLE_ASCII.fullmatch(text) is not None


def _unpack(address: bytes) -> str | None:
    return str(ipaddress.ip_address(address)) if len(address) in (4, 16) else None


_SUBJECT_ALT_NAME = "2.5.29.17"
_DECODER = json.JSONDecoder()
_VISIBLE_ASCII = re.compile("[!-~]*")
_NO_NAME = re.compile(
    r"[:*]"
    # What getaddrinfo takes for an IPv4 address (inet_aton(3)): parts may be missing, hexadecimal or octal.
    r"|\A(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}\Z",
    re.IGNORECASE,
)
