"""The options of a secure context, parsed once."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from . import checks
from .credentials import (
    KeySource,
    Locked,
    PfxSource,
    StoreSource,
    read_ca,
    read_chains,
    read_crls,
    read_dhparam,
    read_keys,
    read_passphrase,
    read_pfxs,
)
from .defaults import defaults
from .errors import OptionError
from .keywords import CONTEXT_NAMES, check_names
from .tickets import TicketKeyRing, parse_ticket_keys
from .versions import parse_method, parse_version


@dataclass(frozen=True, slots=True)
class EngineKey:
    """A private key that a crypto engine keeps."""

    engine: str
    identifier: str = field(repr=False)
    lock: Locked = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions:
    """What a secure context is made of; defaults are filled in."""

    ca: tuple[bytes, ...] | None
    """PEM texts; None is the default store, an empty tuple trusts nothing."""
    allow_partial_trust_chain: bool
    chains: tuple[bytes | StoreSource, ...]
    """PEM texts, each a certificate chain with the leaf first, or where such chains are kept."""
    keys: tuple[KeySource | StoreSource, ...]
    pfxs: tuple[PfxSource, ...]
    engine_key: EngineKey | None
    client_cert_engine: str | None
    ciphers: str
    sigalgs: str | None
    ecdh_curve: str
    dhparam: bytes | Literal["auto"] | None
    """A PEM text; None for no Diffie-Hellman key exchange over finite fields in TLS 1.2."""
    min_version: str
    max_version: str
    secure_options: int
    honor_cipher_order: bool
    session_id_context: bytes
    session_timeout: int
    """In seconds."""
    crls: tuple[bytes, ...]
    """PEM texts of revocation lists; without any, nothing is looked up."""
    tickets: TicketKeyRing | None
    """None for random keys."""
    certificate_compression: tuple[str, ...]
    """Names of algorithms, most wanted first."""

    @classmethod
    def parse(
        cls, keywords: Mapping[str, object], *, server: bool = False, function: str = "create_secure_context"
    ) -> "ContextOptions":
        """Checks keywords and fills in the defaults.

        Args:
            keywords: What the user wrote: `ContextKeywords`.
            server: Whether the context is for a server, which honours its own cipher order by default.
            function: The function to name in errors.

        Raises:
            OptionError: An option is unknown, has a wrong type or a wrong value; the error names it.
        """
        check_names(keywords, CONTEXT_NAMES, function)
        minimum, maximum = _versions(keywords)
        passphrase = keywords.get("passphrase")
        return cls(
            ca=read_ca(keywords.get("ca")),
            allow_partial_trust_chain=checks.flag(keywords, "allow_partial_trust_chain", False),
            chains=read_chains(keywords.get("cert"), passphrase),
            keys=read_keys(keywords.get("key"), passphrase),
            pfxs=read_pfxs(keywords.get("pfx"), passphrase),
            engine_key=_engine_key(keywords),
            client_cert_engine=checks.optional(keywords, "client_cert_engine", checks.name),
            ciphers=_ciphers(keywords.get("ciphers")),
            sigalgs=checks.optional(keywords, "sigalgs", checks.name),
            ecdh_curve=checks.name("ecdh_curve", keywords.get("ecdh_curve", defaults.ecdh_curve)),
            dhparam=read_dhparam(keywords.get("dhparam")),
            min_version=minimum,
            max_version=maximum,
            secure_options=_secure_options(keywords.get("secure_options")),
            honor_cipher_order=checks.flag(keywords, "honor_cipher_order", server),
            session_id_context=_session_id_context(keywords.get("session_id_context")),
            session_timeout=_session_timeout(keywords.get("session_timeout")),
            crls=read_crls(keywords.get("crl")),
            tickets=checks.optional(keywords, "ticket_keys", parse_ticket_keys),
            certificate_compression=_certificate_compression(keywords.get("certificate_compression"), maximum),
        )


def _engine_key(keywords: Mapping[str, object]) -> EngineKey | None:
    engine = checks.optional(keywords, "private_key_engine", checks.name)
    identifier = checks.optional(keywords, "private_key_identifier", checks.name)
    if engine is None and identifier is None:
        return None
    for given, option, other in (
        (identifier, "private_key_identifier", "private_key_engine"),
        (engine, "private_key_engine", "private_key_identifier"),
    ):
        if given is None:
            raise OptionError(f"{other} needs {option} beside it", option=option)
    if keywords.get("key"):
        raise OptionError("the private key comes from key or from private_key_engine, not from both", option="key")
    passphrase = keywords.get("passphrase")
    return EngineKey(str(engine), str(identifier), Locked(b"", read_passphrase(passphrase), "private_key_identifier"))


def _certificate_compression(value: object, max_version: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise checks.wrong_type("certificate_compression", "a list of algorithms", value)
    for index, name in enumerate(value):
        if name not in ("zlib", "brotli", "zstd"):
            raise OptionError(
                f"certificate_compression[{index}] must be 'zlib', 'brotli', or 'zstd', not {name!r:.40}",
                option="certificate_compression",
            )
    if value and max_version != "TLSv1.3":
        raise OptionError(
            f"certificate_compression needs TLSv1.3, and max_version is {max_version}", option="certificate_compression"
        )
    return tuple(value)


def _versions(keywords: Mapping[str, object]) -> tuple[str, str]:
    minimum = keywords.get("min_version")
    maximum = keywords.get("max_version")
    method = keywords.get("secure_protocol")
    if method is None:
        return (
            defaults.min_version if minimum is None else parse_version(minimum, "min_version"),
            defaults.max_version if maximum is None else parse_version(maximum, "max_version"),
        )
    for option, value in (("min_version", minimum), ("max_version", maximum)):
        if value is not None:
            raise OptionError(
                f"{option} and secure_protocol both choose the protocol versions; give {option} alone",
                option=option,
                code="ERR_TLS_PROTOCOL_VERSION_CONFLICT",
            )
    return parse_method(method, defaults.min_version)


def _ciphers(value: object) -> str:
    return defaults.ciphers if value is None else checks.text("ciphers", value) or defaults.ciphers


def _secure_options(value: object) -> int:
    return 0 if value is None else checks.integer("secure_options", value, 0, 2**64 - 1)


def _session_timeout(value: object) -> int:
    return 300 if value is None else checks.integer("session_timeout", value, 0, 2**31 - 1)


def _session_id_context(value: object) -> bytes:
    """By default one for each program, so that programs on one machine do not take each other's sessions."""
    if value is None:
        return hashlib.sha256("\0".join(sys.argv).encode("utf-8", "surrogateescape")).digest()[:16]
    name = checks.encoded("session_id_context", checks.name("session_id_context", value))
    if len(name) > 32:
        raise OptionError(
            f"session_id_context may have 32 bytes, not {len(name)}",
            option="session_id_context",
            code="ERR_OUT_OF_RANGE",
        )
    return name
