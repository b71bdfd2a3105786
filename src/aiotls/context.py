"""Secure contexts: keys, certificates, trust and protocol settings that any number of connections share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Unpack

from . import _native, diagnostics
from .ciphers import CipherLists, no_cipher_match, split_ciphers
from .constants import SSL_OP_CIPHER_SERVER_PREFERENCE
from .context_options import ContextOptions
from .defaults import add_check
from .errors import OptionError, StateError, option_failure
from .identities import Identities
from .keywords import ContextKeywords
from .security_warning import warn_security
from .tickets import TicketKeyRing
from .trust import Trust, digest
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
              A key or a certificate may also be a store URI, such as ``file:...`` or ``pkcs11:...``.
            - ``pfx``: PKCS#12, a key with its chain; ``{"buf": ..., "passphrase": ...}`` for one with its own. Further
              certificates in it are not trusted.
            - ``passphrase``: for encrypted keys; a callable is asked only when one is needed.
            - ``ciphers``: TLS 1.3 names and OpenSSL's cipher list format, mixed.
            - ``sigalgs``: signature algorithms, colon separated.
            - ``ecdh_curve``: groups for the key exchange, colon separated; ``"auto"`` leaves them to OpenSSL.
            - ``dhparam``: DH parameters in PEM, of 1024 bits or more, or ``"auto"`` for a group as strong as the key;
              without it a server uses no ephemeral DH over finite fields in TLS 1.2.
            - ``min_version``, ``max_version``: ``"TLSv1"`` to ``"TLSv1.3"``, or members of `ssl.TLSVersion`.
            - ``secure_protocol``: a legacy method name instead of the two.
            - ``secure_options``: ``SSL_OP_*`` bits of `aiotls.constants`.
            - ``honor_cipher_order``: a server chooses by its own order.
            - ``session_id_context``: at most 32 bytes; sessions of another one are not taken.
            - ``session_timeout``: in whole seconds, 300 by default; 0 leaves OpenSSL's own, two hours.
            - ``ticket_keys``: 48 bytes for session tickets, or a `TicketKeyRing`; random ones by default.
            - ``certificate_compression``: ``"zlib"``, ``"brotli"``, ``"zstd"``, most wanted first (RFC 8879).
            - ``private_key_engine``, ``private_key_identifier``, ``client_cert_engine``: crypto engines, where OpenSSL
              has them.
            - ``crl``: revocation lists, PEM, one or a list; every certificate of a chain is then looked up.

    Returns:
        The context.

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

    __slots__ = ("_has_identity", "_native", "_policy", "_sessions", "_summary", "_tickets")

    _has_identity: bool
    _sessions: dict[bytes, _native.Session]
    """Those that clients have offered lately, decoded."""
    _native: _native.Context
    _policy: bytes
    """What decides whom it trusts, and who it is itself: sessions are bound to it."""
    _tickets: TicketKeyRing
    _summary: str

    def __init__(self, options: ContextOptions) -> None:
        diagnostics.begin()
        trust = Trust.of(options.ca, options.crls, partial_chain=options.allow_partial_trust_chain)
        native, identities, bound = _build(options, trust)
        object.__setattr__(self, "_native", native)
        object.__setattr__(self, "_has_identity", identities.complete)
        object.__setattr__(self, "_policy", digest((bound,), identities.encodings))
        object.__setattr__(self, "_tickets", options.tickets or TicketKeyRing())
        object.__setattr__(self, "_sessions", {})
        object.__setattr__(self, "_summary", _summary(options, identities))

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


def _summary(options: ContextOptions, identities: Identities) -> str:
    ca = "default" if options.ca is None else len(options.ca)
    return (
        f"min_version={options.min_version!r}, max_version={options.max_version!r}, "
        f"certificates={len(identities.chains)}, keys={identities.key_count}, ca={ca}"
    )


def _build(options: ContextOptions, trust: Trust) -> tuple[_native.Context, Identities, bytes]:
    """The context, what it shows, and a digest of what decides whether a peer's certificate is good.

    The order counts: the security level, which stands in the cipher list, decides which keys are strong enough.
    """
    context = _new_context()
    _set_ciphers(context, options)
    _set_options(context, options)
    bound = digest((trust.digest, bytes((context.security_level(),))))
    context.set_session_id_context(options.session_id_context, bound)
    _set_trust(context, options, trust)
    identities = _add_identities(context, options)
    _set_dhparam(context, options.dhparam)
    _set_certificate_compression(context, options.certificate_compression)
    return context, identities, bound


def _new_context() -> _native.Context:
    try:
        return _native.Context()
    except _native.NativeError as error:
        failure = error.args[0]
        raise StateError(
            f"OpenSSL cannot make a context: {failure.reason}",
            code=failure.code or "",
            library=failure.library,
            reason=failure.reason,
            openssl_error_stack=failure.stack,
            hint="the file that OPENSSL_CONF names may have to activate the default provider",
        ) from None


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
    context.set_session_timeout(options.session_timeout)


def _set_dhparam(context: _native.Context, dhparam: bytes | str | None) -> None:
    if dhparam is None:
        return
    if isinstance(dhparam, str):
        _take("dhparam", context.set_dh, None)
        return
    try:
        bits = _native.dh_bits(dhparam)
    except _native.NativeError as error:
        words = "these are no DH parameters in PEM"
        raise option_failure(error.args[0], "dhparam", words, "ERR_CRYPTO_OPERATION_FAILED") from None
    if bits < 1024:
        raise OptionError(f"dhparam: DH parameter is less than 1024 bits: {bits}", option="dhparam")
    if bits < 2048:
        warn_security(f"dhparam: DH parameter is less than 2048 bits: {bits}")
    words = f"the security level does not allow {bits} bits; '@SECLEVEL=n' in ciphers sets it"
    _take("dhparam", context.set_dh, dhparam, words=words)


def _set_trust(context: _native.Context, options: ContextOptions, trust: Trust) -> None:
    context.set_trust(trust.store, options.allow_partial_trust_chain)
    for certificate in trust.own:
        context.add_client_ca(certificate)


def _add_identities(context: _native.Context, options: ContextOptions) -> Identities:
    identities = Identities(options)
    for chain, key in identities.chains:
        _take("cert", context.add_identity, chain, key)
    for option, key in identities.keys:
        _take(option, context.add_private_key, key)
    if options.client_cert_engine is not None:
        _take("client_cert_engine", context.set_client_cert_engine, options.client_cert_engine)
    return identities


def _set_certificate_compression(context: _native.Context, names: tuple[str, ...]) -> None:
    numbers = {name: number for number, name in _native.certificate_compression_algorithms()}
    for name in names:
        if name not in numbers:
            raise OptionError(
                f"certificate_compression: this OpenSSL cannot do {name}; it can do {', '.join(numbers) or 'nothing'}",
                option="certificate_compression",
                code="ERR_CRYPTO_OPERATION_FAILED",
            )
    if names:
        words = "an algorithm may stand there once"
        _take("certificate_compression", context.set_certificate_compression, [numbers[n] for n in names], words=words)


def _take(option: str, setter: Callable[..., None], *values: object, words: str = "") -> None:
    """Sets what `option` stands for; `words`, with a code of ours, replace OpenSSL's where they say too little."""
    try:
        setter(*values)
    except _native.NativeError as error:
        raise option_failure(error.args[0], option, words, "ERR_CRYPTO_OPERATION_FAILED" if words else "") from None


TLS_1_3 = VERSION_NUMBERS["TLSv1.3"]


def _check_default_ciphers(value: object) -> None:
    _take_ciphers(_new_context(), split_ciphers(str(value)))


def _check_default_curve(value: object) -> None:
    if value != "auto":
        _take("ecdh_curve", _new_context().set_groups, str(value), words="Failed to set ECDH curve")


# Only OpenSSL knows its ciphers and groups; a default that it does not take is refused when it is assigned.
add_check("ciphers", _check_default_ciphers)
add_check("ecdh_curve", _check_default_curve)
