"""Does a certificate belong to the name that was asked for (RFC 9525)?

The rules: an IP address is looked for among the IP addresses of subjectAltName only.  A host name is looked for among
its DNS names; only when there is none, among the common names of the subject.  One ``*`` may stand in the left-most
label, beside other characters too (RFC 6125 allowed that, RFC 9525 no longer does), where at least two labels follow
and no label is an A-label.  What holds anything but visible ASCII never matches.
"""

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .certificate import PeerCertificate
from .checks import wrong_type
from .errors import OptionError, ServerIdentityError

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
            quoted wrongly.
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
        [text for text in map(_unpack, addresses) if text],
        common_names,
    )


def matches(hostname: str, dns: Iterable[str], addresses: Iterable[str], common_names: Iterable[str]) -> bool:
    """The rules of this module, over names in text form; addresses are canonical."""
    address = canonical_address(hostname)
    if address is not None:
        return address in addresses
    try:
        labels = _labels(ascii_hostname(hostname))
    except OptionError:
        return False
    return any(_match_pattern(labels, pattern) for pattern in (dns or common_names))


def ascii_hostname(hostname: object, option: str = "host") -> str:
    """A host name or address with non-ASCII labels in their ASCII form (RFC 5891), otherwise as it was.

    Args:
        hostname: What the user wrote.
        option: The option to name when it is wrong.

    Raises:
        OptionError: It is empty, too long, or holds what no host name can.
    """
    if not isinstance(hostname, str):
        raise wrong_type(option, "a str", hostname)
    if not 1 <= len(hostname) <= 1024:
        raise OptionError(f"{option} must have 1 to 1024 characters, not {len(hostname)}", option=option)
    name = hostname
    if not name.isascii():
        try:
            name = hostname.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise OptionError(f"{option}: {hostname!r:.80} has no ASCII form", option=option) from error
    if not _is_visible_ascii(name):
        raise OptionError(f"{option}: {hostname!r:.80} holds a character that no host name can have", option=option)
    return name


def canonical_address(text: str) -> str | None:
    """An IP address in its shortest form; None for anything else, and for one with a zone."""
    if ":" not in text and not text[-1:].isdigit():
        return None  # the usual case: a name
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
    if isinstance(certificate, PeerCertificate):
        subject: Any = certificate.subject
        altnames = certificate.subjectaltname or ""
    elif isinstance(certificate, Mapping):
        subject = certificate.get("subject")
        altnames = certificate.get("subjectaltname") or ""
    else:
        raise wrong_type("certificate", "a PeerCertificate or a dict", certificate)
    common = subject.get("CN") if isinstance(subject, Mapping) else None
    try:
        entries = list(_split(altnames))
    except ValueError:
        message = "Invalid subject alternative name string"
        raise ServerIdentityError(
            message, host, certificate, message=message, code="ERR_TLS_CERT_ALTNAME_FORMAT"
        ) from None
    common_names = tuple(map(str, common)) if isinstance(common, list | tuple) else (str(common),) if common else ()
    addresses = (canonical_address(entry[11:]) for entry in entries if entry.startswith("IP Address:"))
    return _Names(
        dns=tuple(entry[4:] for entry in entries if entry.startswith("DNS:")),
        addresses=tuple(address for address in addresses if address),
        common_names=common_names,
        altnames=altnames,
    )


def _reason(host: str, names: _Names) -> str:
    if canonical_address(host) is not None:
        return f"IP: {host} is not in the cert's list: {', '.join(names.addresses)}"
    shown = host.removesuffix(".")
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
    labels = _labels(pattern)
    if len(labels) != len(host) or labels[1:] != host[1:]:
        return False
    if not all(host) or not all(labels) or not all(map(_is_visible_ascii, (*host, *labels))):
        return False
    first, star, rest = labels[0].partition("*")
    if not star or "xn--" in labels[0]:
        return labels[0] == host[0]
    if "*" in rest or len(labels) <= 2:
        return False
    return len(host[0]) >= len(first) + len(rest) and host[0].startswith(first) and host[0].endswith(rest)


def _labels(name: str) -> list[str]:
    return name.removesuffix(".").lower().split(".")


def _is_visible_ascii(text: str) -> bool:
    return _VISIBLE_ASCII.fullmatch(text) is not None


def _unpack(address: bytes) -> str | None:
    return str(ipaddress.ip_address(address)) if len(address) in (4, 16) else None


_DECODER = json.JSONDecoder()
_VISIBLE_ASCII = re.compile("[!-~]*")
