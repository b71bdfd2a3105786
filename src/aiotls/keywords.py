"""The keywords that users write, as types.

`aiotls.context_options` and `aiotls.options` say what each may be and turn them into frozen values.
"""

from __future__ import annotations

import difflib
import os
import pathlib
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from .alpn import ProtocolNames
from .credentials import CertificateInput, KeyInput, Octets, Passphrase, PfxInput
from .errors import OptionTypeError
from .names import snake_case

if TYPE_CHECKING:
    from .context import SecureContext
    from .psk import PSK
    from .tickets import TicketKeyRing


class ContextKeywords(TypedDict, total=False):
    """The options of a secure context."""

    ca: CertificateInput
    allow_partial_trust_chain: bool | None
    cert: CertificateInput
    key: KeyInput
    passphrase: Passphrase | None
    pfx: PfxInput
    ciphers: str | None
    sigalgs: str | None
    ecdh_curve: str
    dhparam: str | Octets | pathlib.Path | None
    min_version: str | ssl.TLSVersion | None
    max_version: str | ssl.TLSVersion | None
    secure_protocol: str | None
    secure_options: int | None
    crl: CertificateInput
    honor_cipher_order: bool | None
    session_id_context: str | None
    session_timeout: int | None
    ticket_keys: bytes | bytearray | memoryview | TicketKeyRing | None
    certificate_compression: Sequence[Literal["zlib", "brotli", "zstd"]] | None
    private_key_engine: str | None
    private_key_identifier: str | None
    client_cert_engine: str | None


class SocketKeywords(ContextKeywords, total=False):
    """What every TLS connection takes, whatever carries it."""

    secure_context: SecureContext | None
    alpn_protocols: ProtocolNames | None
    reject_unauthorized: bool | None
    handshake_timeout: float | None
    close_timeout: float | None
    require_close_notify: bool | None
    allow_half_open: bool | None
    high_water_mark: int | None
    timeout: float | None
    no_delay: bool | None
    keep_alive: bool | None
    keep_alive_initial_delay: float | None
    enable_trace: bool | None


class ClientKeywords(SocketKeywords, total=False):
    """What a client takes besides."""

    servername: str | Literal[False] | None
    check_server_identity: Callable[[str, Any], Any] | None
    session: bytes | bytearray | memoryview | None
    request_ocsp: bool | None
    min_dh_size: int


class OnRead(TypedDict):
    """Where received data goes instead of to ``"data"`` listeners and readers."""

    buffer: bytearray | memoryview | Callable[[], bytearray | memoryview]
    """A ``bytearray`` or a writable ``memoryview`` that is used again and again, or a function that is asked for one
    before each piece."""
    callback: Callable[[int, Any], bool | None]
    """Called with the number of bytes and the buffer that they stand in; False pauses the socket."""


class ConnectKeywords(ClientKeywords, total=False):
    """The options of `connect`."""

    host: str | None
    port: int | None
    path: str | os.PathLike[str] | None
    socket: Any
    lookup: Callable[..., Any] | None
    family: int | None
    local_address: str | None
    local_port: int | None
    auto_select_family: bool | None
    auto_select_family_attempt_timeout: float | None
    onread: OnRead | None
    psk_callback: Callable[[str | None], PSK | None] | None


class ServerSideKeywords(SocketKeywords, total=False):
    """What a server's connections take besides."""

    request_cert: bool | None
    pause_on_connect: bool | None
    alpn_callback: Callable[..., Any] | None
    sni_callback: Callable[[str], Any] | None
    check_client_identity: Callable[..., Any] | None
    psk_identity_hint: str | None


class ServerKeywords(ServerSideKeywords, total=False):
    """The options of `create_server`."""

    max_connections: int | None
    drop_max_connection: bool | None
    psk_callback: Callable[..., bytes | None] | None


class WrapKeywords(ClientKeywords, ServerSideKeywords, total=False):
    """The options of `TLSSocket`."""

    is_server: bool | None
    host: str | None
    onread: OnRead | None
    psk_callback: Callable[..., Any] | None


_ELSEWHERE: dict[str, frozenset[str]] = {
    "create_server": ServerKeywords.__optional_keys__,
    "connect": ConnectKeywords.__optional_keys__,
    "TLSSocket": WrapKeywords.__optional_keys__,
}
CONTEXT_NAMES: frozenset[str] = ContextKeywords.__optional_keys__


def check_names(keywords: Mapping[str, object], known: frozenset[str], function: str) -> None:
    """Refuses keywords that do not exist.

    Raises:
        OptionTypeError: It names the nearest option that exists, or the snake_case one for a camelCase name.
    """
    if known.issuperset(keywords):
        return
    for name in keywords:
        if name in known:
            continue
        snake = snake_case(name)
        if snake != name and snake in known:
            raise OptionTypeError(f"{function}: the option is spelt {snake!r}, not {name!r}", option=name)
        owners = [function for function, names in _ELSEWHERE.items() if snake in names]
        if owners:
            raise OptionTypeError(f"{function} has no option {name!r}; {snake!r} is one of {owners[0]}", option=name)
        near = difflib.get_close_matches(snake, sorted(known), 1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise OptionTypeError(f"{function} has no option {name!r}{advice}", option=name)
