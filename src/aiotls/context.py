"""Secure contexts: keys, certificates, trust and protocol settings that any number of connections share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NoReturn, Unpack

from . import _native
from .ciphers import CipherLists, no_cipher_match, split_ciphers
from .constants import SSL_OP_CIPHER_SERVER_PREFERENCE
from .context_options import ContextOptions
from .credentials import KeySource
from .defaults import add_check
from .errors import Failure, OptionError, option_failure
from .keywords import ContextKeywords
from .tickets import TicketKeyRing
from .trust import ca_certificates, parse_certificates, trust_store
from .versions import VERSION_NUMBERS


def create_secure_context(**options: Unpack[ContextKeywords]) -> SecureContext:
    """Makes a secure context, which any number of connections, threads and event loops may share.

    Args:
        options: See `ContextKeywords`.  ``str`` and bytes are contents; a file is given as a `pathlib.Path`.

            - ``ca``: certificates to trust, PEM or DER, one or a list; instead of the default store.  An empty list
              trusts nothing.
            - ``allow_partial_trust_chain``: an intermediate certificate in ``ca`` is trusted like a root.
            - ``cert``: our certificate chain, leaf first; a list for several.
            - ``key``: the private keys, in any order; ``{"pem": ..., "passphrase": ...}`` for one with its own.
            - ``passphrase``: for encrypted keys; a callable is asked only when a key needs it.
            - ``ciphers``: TLS 1.3 names and OpenSSL's cipher list format, mixed.
            - ``sigalgs``: signature algorithms, colon separated.
            - ``ecdh_curve``: groups for the key exchange, colon separated; ``"auto"`` leaves them to OpenSSL.
            - ``min_version``, ``max_version``: ``"TLSv1"`` to ``"TLSv1.3"``, or members of `ssl.TLSVersion`.
            - ``secure_protocol``: a legacy method name instead of the two.
            - ``secure_options``: ``SSL_OP_*`` bits of `aiotls.constants`.
            - ``honor_cipher_order``: a server chooses by its own order.
            - ``session_id_context``: at most 32 bytes; sessions of another one are not taken.
            - ``session_timeout``: in whole seconds, 300 by default; 0 leaves OpenSSL's own, two hours.
            - ``ticket_keys``: 48 bytes for session tickets, or a `TicketKeyRing`; random ones by default.
            - ``crl``: revocation lists, PEM, one or a list; every certificate of a chain is then looked up.

    Raises:
        OptionError: An option is unknown, has a wrong type or value, or cannot be used; the error names it.

    Example::

        context = create_secure_context(key=Path("server.key"), cert=Path("server.pem"))

    Source: SSL_CTX_new(3), SSL_CTX_use_certificate(3).
    """
    return SecureContext(ContextOptions.parse(options))


class SecureContext:
    """What `create_secure_context` makes: immutable, and free to be shared.

    It has no public methods.  It holds private keys, so it cannot be pickled.
    """

    __slots__ = ("_has_identity", "_native", "_policy", "_summary", "_tickets")

    _has_identity: bool

    _native: _native.Context
    _policy: bytes
    """What decides whom it trusts, and who it is itself: sessions are bound to it."""
    _tickets: TicketKeyRing
    _summary: str

    def __init__(self, options: ContextOptions) -> None:
        object.__setattr__(self, "_native", _build(options))
        object.__setattr__(self, "_has_identity", bool(options.chains and options.keys))
        object.__setattr__(self, "_policy", _policy(options))
        object.__setattr__(self, "_tickets", options.tickets or TicketKeyRing())
        object.__setattr__(self, "_summary", _summary(options))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a SecureContext is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a SecureContext is immutable")

    def __repr__(self) -> str:
        return f"SecureContext({self._summary})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecureContext holds private keys and cannot be pickled")

    def __copy__(self) -> SecureContext:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SecureContext:
        return self


def _summary(options: ContextOptions) -> str:
    ca = "default" if options.ca is None else len(options.ca)
    return (
        f"min_version={options.min_version!r}, max_version={options.max_version!r}, "
        f"certificates={len(options.chains)}, keys={len(options.keys)}, ca={ca}"
    )


def _trust(options: ContextOptions) -> bytes:
    """A digest of what decides whether a peer's certificate is good."""
    return _digest(options.ca, options.crls, (bytes((options.allow_partial_trust_chain,)),))


def _policy(options: ContextOptions) -> bytes:
    return _digest((_trust(options),), options.chains)


def _digest(*groups: tuple[bytes, ...] | None) -> bytes:
    digest = hashlib.sha256()
    for texts in groups:
        digest.update(b"-" if texts is None else len(texts).to_bytes(4, "big"))
        for text in texts or ():
            digest.update(hashlib.sha256(text).digest())
    return digest.digest()


def _build(options: ContextOptions) -> _native.Context:
    """The order counts: the security level, which stands in the cipher list, decides which keys are strong enough."""
    context = _native.Context()
    _set_ciphers(context, options)
    _set_options(context, options)
    _set_trust(context, options)
    _add_identities(context, options)
    return context


def _set_ciphers(context: _native.Context, options: ContextOptions) -> None:
    lists = split_ciphers(options.ciphers)
    minimum, maximum = VERSION_NUMBERS[options.min_version], VERSION_NUMBERS[options.max_version]
    # TLS 1.3 keeps its suites where none is named, as in OpenSSL. Without suites of TLS 1.2 there is no TLS 1.2.
    if not lists.tls12 and minimum < TLS_1_3:
        if maximum < TLS_1_3:
            raise no_cipher_match(f"only TLS 1.3 suites are named, and max_version is {options.max_version}")
        minimum = TLS_1_3
    context.set_versions(minimum, maximum)
    _take_ciphers(context, lists)


def _take_ciphers(context: _native.Context, lists: CipherLists) -> None:
    if lists.tls12:
        _take("ciphers", context.set_cipher_list, lists.tls12)
    elif lists.security_level:
        _take("ciphers", context.set_cipher_list, f"DEFAULT:{lists.security_level}")
    if lists.tls13:
        _take("ciphers", context.set_ciphersuites, lists.tls13)


def _set_options(context: _native.Context, options: ContextOptions) -> None:
    mask = options.secure_options
    if options.honor_cipher_order:
        mask |= SSL_OP_CIPHER_SERVER_PREFERENCE
    if mask:
        context.set_options(mask)
    if options.ecdh_curve != "auto":
        _take("ecdh_curve", context.set_groups, options.ecdh_curve, words="Failed to set ECDH curve")
    if options.sigalgs is not None:
        _take("sigalgs", context.set_sigalgs, options.sigalgs, words="it holds an unknown signature algorithm")
    context.set_session_id_context(options.session_id_context, _trust(options))
    context.set_session_timeout(options.session_timeout)


def _set_trust(context: _native.Context, options: ContextOptions) -> None:
    context.set_trust(trust_store(options.ca, options.crls), options.allow_partial_trust_chain)
    for certificate in ca_certificates(options.ca or ()):
        context.add_client_ca(certificate)


def _add_identities(context: _native.Context, options: ContextOptions) -> None:
    """Gives each chain its key, in whatever order they came."""
    chains = [parse_certificates(pem, f"cert[{index}]") for index, pem in enumerate(options.chains)]
    keys = [(source, _private_key(source)) for source in options.keys]
    owned = {index: _owner(chains, source, key) for index, (source, key) in enumerate(keys)} if chains else {}
    for position, chain in enumerate(chains):
        if position not in owned.values():
            _take("cert", context.add_identity, chain, None)
    for index, (source, key) in enumerate(keys):
        if index in owned:
            _take("cert", context.add_identity, chains[owned[index]], key)
        else:
            _take(source.option, context.add_private_key, key)


def _owner(chains: list[list[_native.Certificate]], source: KeySource, key: _native.PrivateKey) -> int:
    """The position of the chain whose leaf `key` belongs to."""
    for position, chain in enumerate(chains):
        if chain[0].matches(key):
            return position
    failure = _mismatch(chains, key)
    raise option_failure(failure, source.option, f"{failure.reason}: it belongs to no certificate in cert")


def _mismatch(chains: list[list[_native.Certificate]], key: _native.PrivateKey) -> Failure:
    """OpenSSL's words for it; those about a certificate of the same type say more."""
    failures: list[Failure] = []
    for chain in chains:
        try:
            chain[0].check_key(key)
        except _native.NativeError as error:
            failures.append(error.args[0])
    return min(failures, key=lambda failure: "VALUES" not in (failure.code or ""))


def _private_key(source: KeySource) -> _native.PrivateKey:
    passphrase = source.unlock()
    try:
        return _native.PrivateKey.from_pem(source.pem, passphrase)
    except _native.NativeError as error:
        failure: Failure = error.args[0]
        if source.encrypted and not _broken_pem(failure):
            raise _bad_decrypt(source, failure, passphrase) from None
        raise option_failure(failure, source.option) from None


def _broken_pem(failure: Failure) -> bool:
    return "BASE64" in (failure.code or "") or "UNSUPPORTED" in (failure.code or "")


def _bad_decrypt(source: KeySource, failure: Failure, passphrase: bytes | None) -> OptionError:
    # OpenSSL's own words differ with the version, with the cipher, and even by chance: a wrong passphrase may yield
    # bytes that pass for padding.
    advice = "the passphrase is wrong" if passphrase else "the key is encrypted and there is no passphrase"
    return option_failure(failure, source.option, f"bad decrypt: {advice}", "ERR_OSSL_BAD_DECRYPT")


def _take(option: str, setter: Callable[..., None], *values: object, words: str = "") -> None:
    """Sets what `option` stands for; `words`, with a code of ours, replace OpenSSL's where they say too little."""
    try:
        setter(*values)
    except _native.NativeError as error:
        raise option_failure(error.args[0], option, words, "ERR_CRYPTO_OPERATION_FAILED" if words else "") from None


TLS_1_2 = VERSION_NUMBERS["TLSv1.2"]
TLS_1_3 = VERSION_NUMBERS["TLSv1.3"]


def _check_default_ciphers(value: object) -> None:
    _take_ciphers(_native.Context(), split_ciphers(str(value)))


def _check_default_curve(value: object) -> None:
    if value != "auto":
        _take("ecdh_curve", _native.Context().set_groups, str(value), words="Failed to set ECDH curve")


# Only OpenSSL knows its ciphers and groups; a default that it does not take is refused when it is assigned.
add_check("ciphers", _check_default_ciphers)
add_check("ecdh_curve", _check_default_curve)
