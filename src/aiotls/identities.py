"""Who we are: certificates with their keys, from wherever the options say that they are."""

import os
import urllib.parse
from collections.abc import Callable
from typing import TypeVar

from . import _native, checks
from .context_options import ContextOptions, EngineKey
from .credentials import KeySource, Locked, PfxSource, StoreSource
from .errors import Failure, OptionError, option_failure
from .trust import parse_certificates

T = TypeVar("T")
Chain = list[_native.Certificate]
Key = tuple[str, _native.PrivateKey]
"""A key, and the option that it comes from."""


class Identities:
    """The keys and chains of the options, each chain with its own key, in whatever order they came.

    Args:
        options: Their `chains`, `keys`, `pfxs` and `engine_key` are loaded.

    Raises:
        OptionError: Something cannot be loaded, or a key belongs to no certificate; the error names it.
    """

    __slots__ = ("chains", "keys")

    chains: list[tuple[Chain, _native.PrivateKey | None]]
    """Those that come first have no key, so that the others stand before them in OpenSSL."""
    keys: list[Key]
    """Those that came without any certificate."""

    def __init__(self, options: ContextOptions) -> None:
        pairs = [pair for source in options.pfxs for pair in _pfx(source)]
        names = checks.item_names("cert", len(options.chains))
        own = [_chain(source, name) for source, name in zip(options.chains, names, strict=True)]
        chains = [*own, *(chain for _, chain in pairs)]
        keys = [(source.option, key) for source in options.keys for key in _keys(source)]
        if options.engine_key is not None:
            keys.append(("private_key_identifier", _engine_key(options.engine_key)))
        owners = {_owner(chains, key): key[1] for key in keys} if chains else {}
        self.chains = [(chain, None) for position, chain in enumerate(own) if position not in owners]
        self.chains += [(own[owner], key) for owner, key in owners.items() if owner < len(own)]
        self.chains += [(chain, key) for key, chain in pairs]
        self.keys = [] if chains else keys

    @property
    def complete(self) -> bool:
        """Whether there is a certificate with its key."""
        return any(key is not None for _, key in self.chains)

    @property
    def key_count(self) -> int:
        return sum(key is not None for _, key in self.chains) + len(self.keys)

    @property
    def encodings(self) -> tuple[bytes, ...]:
        """Every certificate as DER."""
        return tuple(certificate.der() for chain, _ in self.chains for certificate in chain)


def _chain(source: bytes | StoreSource, option: str) -> Chain:
    if isinstance(source, bytes):
        return parse_certificates(source, option)
    return _stored(source, _native.load_store_certificates, "certificate")


def _keys(source: KeySource | StoreSource) -> list[_native.PrivateKey]:
    if isinstance(source, StoreSource):
        return _stored(source, _native.load_store_keys, "private key")
    passphrase = source.unlock()
    try:
        return [_native.PrivateKey.from_pem(source.contents, passphrase)]
    except _native.NativeError as error:
        failure: Failure = error.args[0]
        if source.encrypted and failure.code != _UNSUPPORTED and "BASE64" not in (failure.code or ""):
            raise _bad_decrypt(source, failure) from None
        raise option_failure(failure, source.option) from None


def _stored(source: StoreSource, load: Callable[[str, bytes | None], list[T]], kind: str) -> list[T]:
    """What a store has at a URI."""
    uri = _decoded(source.contents.decode())
    try:
        if kind == "private key" and not uri.lower().startswith("file:"):
            # As for the key of an engine.
            found = load(uri, source.unlock())
        else:
            found = _unlocked(source, lambda passphrase: load(uri, passphrase))
    except _native.NativeError as error:
        failure: Failure = error.args[0]
        if failure.code == _BAD_DECRYPT:
            raise _bad_decrypt(source, failure) from None
        refusal = option_failure(failure, source.option, _store_words(uri, failure))
        # A PIN may stand in a URI.
        path = uri.partition(":")[2].removeprefix("//")
        refusal.openssl_error_stack = tuple(entry.replace(path, "...") for entry in failure.stack)
        raise refusal from None
    if not found:
        raise OptionError(f"{source.option}: there is no {kind} at this URI", option=source.option)
    return found


def _decoded(uri: str) -> str:
    """OpenSSL takes a file URI as it stands, where RFC 3986 has characters written as ``%20`` and the like."""
    scheme, _, path = uri.partition(":")
    if scheme.lower() != "file" or "%" not in path or os.path.exists(path.removeprefix("//")):
        return uri
    return f"{scheme}:{urllib.parse.unquote(path)}"


def _store_words(uri: str, failure: Failure) -> str:
    scheme, _, path = uri.partition(":")
    if scheme.lower() == "file":
        return f"OpenSSL finds nothing at this file URI: {_file_words(path.removeprefix('//'), failure)}"
    said = " ".join((failure.reason or "", *failure.stack))
    if "unregistered scheme" in said or "No store loader found" in said:
        return (
            f"OpenSSL has no provider for {scheme} URIs; activate one in the file that OPENSSL_CONF names, "
            "and let OPENSSL_MODULES name the folder that it is in"
        )
    return f"OpenSSL finds nothing at this {scheme} URI: {failure.reason}"


def _file_words(path: str, failure: Failure) -> str:
    """OpenSSL tries other schemes too, and its words for that depend on its version."""
    if "\0" in path:
        return "a name cannot hold a NUL"
    if not path.startswith("/"):
        return "path must be absolute"
    if not os.path.exists(path):
        return "No such file or directory"
    return "it is a folder" if os.path.isdir(path) else failure.reason or "it cannot be read"


def _pfx(source: PfxSource) -> list[tuple[_native.PrivateKey, Chain]]:
    try:
        return _unlocked(source, lambda passphrase: _native.load_pkcs12(source.contents, passphrase))
    except _native.NativeError as error:
        raise option_failure(error.args[0], source.option, _pfx_words(source, error.args[0])) from None


def _pfx_words(source: PfxSource, failure: Failure) -> str:
    if failure.reason == _MAC_FAILURE:
        return f"{failure.reason}: {_advice(source)}"
    if failure.code is None:
        return "it is no PKCS#12 file, or a part of it is of an unknown kind"
    if failure.code.startswith("ERR_OSSL_ASN1"):
        return f"{failure.reason}: it is no PKCS#12 file"
    if failure.code == _UNSUPPORTED:
        return f"{failure.reason}: its algorithms are too old; write it anew with openssl pkcs12 -export"
    return failure.reason or ""


def _engine_key(source: EngineKey) -> _native.PrivateKey:
    try:
        # A token may count a login without a PIN as a failed one, so a callable is asked at once.
        return _native.load_engine_key(source.engine, source.identifier, source.lock.unlock())
    except _native.NativeError as error:
        raise option_failure(error.args[0], "private_key_engine") from None


def _unlocked(source: Locked, load: Callable[[bytes | None], T]) -> T:
    """What `load` loads with the passphrase; a callable is asked for it when it turns out to be needed."""
    if not callable(source.passphrase):
        return load(source.passphrase)
    try:
        return load(None)
    except _native.NativeError as error:
        if error.args[0].code != _BAD_DECRYPT and error.args[0].reason != _MAC_FAILURE:
            raise
    return load(source.unlock())


def _owner(chains: list[Chain], key: Key) -> int:
    """The position of the chain whose leaf a key belongs to."""
    option, private = key
    for position, chain in enumerate(chains):
        if chain[0].matches(private):
            return position
    # OpenSSL has other words where the types differ, and they depend on its version.
    raise OptionError(
        f"{option}: key values mismatch: it belongs to no certificate that stands first in its chain",
        option=option,
        code="ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        library="x509 certificate routines",
        reason="key values mismatch",
    )


def _bad_decrypt(source: Locked, failure: Failure) -> OptionError:
    # OpenSSL's own words differ with the version, with the cipher, and even by chance: a wrong passphrase may yield
    # bytes that pass for padding.
    return option_failure(failure, source.option, f"bad decrypt: {_advice(source)}", _BAD_DECRYPT)


def _advice(source: Locked) -> str:
    return "the passphrase is wrong" if source.passphrase else "it is encrypted and there is no passphrase"


_BAD_DECRYPT = "ERR_OSSL_BAD_DECRYPT"
_UNSUPPORTED = "ERR_CRYPTO_UNSUPPORTED_OPERATION"
_MAC_FAILURE = "mac verify failure"
