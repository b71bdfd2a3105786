"""The options of connections, clients and servers, parsed once into frozen values.

Later layers take these values; they never see the keywords again.  The secure context is made here too, so that a
wrong key or cipher shows before anything is opened.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from . import alpn, checks
from .connection_settings import MIN_DH_SIZE
from .context import SecureContext
from .context_options import ContextOptions
from .defaults import defaults
from .errors import OptionError, OptionTypeError
from .identity import ascii_hostname, is_address
from .keywords import CONTEXT_NAMES, ConnectKeywords, ServerKeywords, WrapKeywords, check_names
from .onread import OnReadOption
from .session import ClientSession

HIGH_WATER_MARK = 65536
"""The default of `high_water_mark`, in bytes."""
HANDSHAKE_TIMEOUT = 120.0
"""The default of `handshake_timeout`, in seconds."""
LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""How long the name of a Unix socket may be, in bytes (unix(7))."""
CLOSE_TIMEOUT = 30.0
"""The default of `close_timeout`, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """What every TLS connection has, whatever carries it."""

    is_server: bool
    secure_context: SecureContext
    alpn: bytes
    """Application protocols in wire form; empty for no extension."""
    request_cert: bool
    reject_unauthorized: bool
    servername: str | None
    """The name for the SNI extension, ASCII; None sends none."""
    hostname: str
    """What the certificate of the server must be made for, ASCII; empty on a server."""
    check_server_identity: Callable[[str, Any], Any] | None
    """The user's own check, plain or async; None is the usual one."""
    check_client_identity: Callable[..., Any] | None
    sni_callback: Callable[[str], Any] | None
    alpn_callback: Callable[..., Any] | None
    psk_callback: Callable[..., Any] | None
    psk_identity_hint: str | None
    session: ClientSession | None
    """What a client offers to resume."""
    request_ocsp: bool
    min_dh_size: int
    """The smallest ephemeral DH key, in bits, that a client takes from its server."""
    enable_trace: bool
    client_reneg_limit: int
    client_reneg_window: float
    """In seconds."""
    require_close_notify: bool
    handshake_timeout: float
    close_timeout: float
    allow_half_open: bool | None
    """None when it was not given: as what is wrapped, else False."""
    pause_on_connect: bool
    high_water_mark: int
    onread: OnReadOption | None
    timeout: float | None
    """Seconds without data until ``"timeout"``; None for never."""
    no_delay: bool
    keep_alive: bool
    keep_alive_initial_delay: float

    @classmethod
    def parse(cls, keywords: Mapping[str, object]) -> Self:
        """Checks the keywords of `TLSSocket`: `WrapKeywords`.

        Raises:
            OptionError: An option is unknown, has a wrong type or a wrong value; the error names it.
        """
        check_names(keywords, WrapKeywords.__optional_keys__, "TLSSocket")
        server = checks.flag(keywords, "is_server", False)
        return cls(**_socket_fields(keywords, server, "TLSSocket"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions(SocketOptions):
    """What `connect` was asked for."""

    host: str | None
    """Where to connect to, ASCII; None when it was not given, which means localhost."""
    port: int | None
    path: str | None
    """A Unix socket; it goes before `host` and `port`."""
    socket: Any
    """What to use instead of a new connection."""
    lookup: Callable[..., Any] | None
    family: int | None
    """4 or 6; None for both."""
    local_address: str | None
    local_port: int | None
    auto_select_family: bool
    auto_select_family_attempt_timeout: float

    @classmethod
    def parse(cls, keywords: Mapping[str, object]) -> Self:
        """Checks the keywords of `connect`: `ConnectKeywords`.

        Raises:
            OptionError: An option is unknown, has a wrong type or a wrong value; the error names it.
        """
        check_names(keywords, ConnectKeywords.__optional_keys__, "connect")
        port = checks.optional(keywords, "port", checks.port)
        path = checks.optional(keywords, "path", unix_path)
        socket = keywords.get("socket")
        if port is None and path is None and socket is None:
            raise OptionTypeError("connect needs a port, a path or a socket", option="port", code="ERR_MISSING_ARGS")
        delay = keywords.get("auto_select_family_attempt_timeout")
        return cls(
            **_socket_fields(keywords, False, "connect"),
            host=checks.optional(keywords, "host", _host),
            port=port,
            path=path,
            socket=socket,
            lookup=checks.optional(keywords, "lookup", checks.function),
            family=checks.optional(keywords, "family", _family),
            local_address=checks.optional(keywords, "local_address", _local_address),
            local_port=checks.optional(keywords, "local_port", checks.port),
            auto_select_family=checks.flag(keywords, "auto_select_family", True),
            auto_select_family_attempt_timeout=(
                0.25 if delay is None else checks.seconds("auto_select_family_attempt_timeout", delay)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(SocketOptions):
    """What `create_server` was asked for; the connections that it accepts take it as their own."""

    max_connections: int | None
    """None for no limit."""

    @classmethod
    def parse(cls, keywords: Mapping[str, object]) -> Self:
        """Checks the keywords of `create_server`: `ServerKeywords`.

        Raises:
            OptionError: An option is unknown, has a wrong type or a wrong value; the error names it.
        """
        check_names(keywords, ServerKeywords.__optional_keys__, "create_server")
        # Connections over the limit are always dropped; the option is taken for the sake of its name in the reference.
        checks.flag(keywords, "drop_max_connection", False)
        return cls(
            **_socket_fields(keywords, True, "create_server"),
            max_connections=checks.optional(keywords, "max_connections", count),
        )


def _socket_fields(keywords: Mapping[str, object], server: bool, function: str) -> dict[str, Any]:
    hostname, servername = ("", None) if server else _host_names(keywords)
    mark = keywords.get("high_water_mark")
    return {
        "is_server": server,
        "alpn": alpn.to_wire(keywords.get("alpn_protocols")),
        "request_cert": checks.flag(keywords, "request_cert", False),
        # Only False turns verification off: None, 0 and the like must not, by an accident in somebody's program.
        "reject_unauthorized": keywords.get("reject_unauthorized") is not False,
        "servername": servername,
        "hostname": hostname,
        "check_server_identity": checks.optional(keywords, "check_server_identity", checks.function),
        "check_client_identity": checks.optional(keywords, "check_client_identity", checks.function),
        "sni_callback": checks.optional(keywords, "sni_callback", checks.function),
        "alpn_callback": _alpn_callback(keywords),
        "psk_callback": checks.optional(keywords, "psk_callback", checks.function),
        "psk_identity_hint": checks.optional(keywords, "psk_identity_hint", checks.text),
        "session": checks.optional(keywords, "session", ClientSession.decode),
        "request_ocsp": checks.flag(keywords, "request_ocsp", False),
        "min_dh_size": checks.integer("min_dh_size", keywords.get("min_dh_size", MIN_DH_SIZE), 1, 2**31 - 1),
        "enable_trace": checks.flag(keywords, "enable_trace", False),
        "client_reneg_limit": defaults.client_reneg_limit,
        "client_reneg_window": defaults.client_reneg_window,
        "require_close_notify": checks.flag(keywords, "require_close_notify", False),
        "handshake_timeout": _seconds(keywords, "handshake_timeout", HANDSHAKE_TIMEOUT),
        "close_timeout": _seconds(keywords, "close_timeout", CLOSE_TIMEOUT),
        "allow_half_open": checks.optional(keywords, "allow_half_open", checks.boolean),
        "pause_on_connect": checks.flag(keywords, "pause_on_connect", False),
        "high_water_mark": HIGH_WATER_MARK if mark is None else count("high_water_mark", mark),
        "onread": checks.optional(keywords, "onread", OnReadOption.parse),
        "timeout": checks.optional(keywords, "timeout", _idle_timeout) or None,
        "no_delay": checks.flag(keywords, "no_delay", True),
        "keep_alive": checks.flag(keywords, "keep_alive", False),
        "keep_alive_initial_delay": checks.optional(keywords, "keep_alive_initial_delay", _idle_timeout) or 0.0,
        "secure_context": _secure_context(keywords, server, function),
    }


def _host_names(keywords: Mapping[str, object]) -> tuple[str, str | None]:
    """What the certificate must be made for, and the name for the SNI extension."""
    host = checks.optional(keywords, "host", _host)
    given = keywords.get("servername")
    if given is None:
        reached_otherwise = keywords.get("path") is not None or keywords.get("socket") is not None
        return host or "localhost", None if host is None and reached_otherwise else sni(host or "localhost")
    if given is False or given == "":
        return host or "localhost", None
    name = server_name("servername", given)
    return name, sni(name)


def server_name(option: str, value: object) -> str:
    """The name of a server, ASCII."""
    if not isinstance(value, str):
        raise checks.wrong_type(option, "a str or False", value)
    name = ascii_hostname(value, option)
    if is_address(name.removesuffix(".")):
        raise OptionError(f"{option} must be a DNS name, not the address {name!r} (RFC 6066, section 3)", option=option)
    return name


def sni(host: str) -> str | None:
    """The name for the SNI extension, for a server under this name or address; None for none."""
    # The name goes without a trailing dot, and an address does not go at all (RFC 6066, section 3).
    name = host.removesuffix(".")
    return None if not name or is_address(name) else name


def _secure_context(keywords: Mapping[str, object], server: bool, function: str) -> SecureContext:
    own = {option: value for option, value in keywords.items() if option in CONTEXT_NAMES}
    given = keywords.get("secure_context")
    if given is None:
        return SecureContext(ContextOptions.parse(own, server=server, function=function))
    if not isinstance(given, SecureContext):
        raise checks.wrong_type("secure_context", "a SecureContext", given)
    for option, value in own.items():
        if value is not None:
            raise OptionTypeError(
                f"{option} belongs to the secure context: give it to create_secure_context, not beside secure_context",
                option=option,
            )
    return given


def _seconds(keywords: Mapping[str, object], option: str, default: float) -> float:
    value = keywords.get(option)
    return default if value is None else checks.seconds(option, value)


def _idle_timeout(option: str, value: object) -> float:
    return checks.seconds(option, value, zero=True)


def _alpn_callback(keywords: Mapping[str, object]) -> Callable[..., Any] | None:
    callback = checks.optional(keywords, "alpn_callback", checks.function)
    if callback is not None and keywords.get("alpn_protocols") is not None:
        raise OptionTypeError(
            "alpn_callback and alpn_protocols both choose the protocol; give one of them",
            option="alpn_callback",
            code="ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS",
        )
    return callback


def count(option: str, value: object) -> int:
    """A number of bytes or of connections."""
    return checks.integer(option, value, 0, 2**31 - 1)


def _host(option: str, value: object) -> str:
    return ascii_hostname(value, option)


def unix_path(option: str, value: object) -> str:
    """The name of a Unix socket."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise checks.wrong_type(option, "a str or a pathlib.Path", value)
    # A NUL may only begin the name of an abstract socket of Linux (unix(7)).
    if not value or "\0" in value[1:]:
        raise OptionError(f"{option} must be the name of a Unix socket, not {value!r:.80}", option=option)
    if (length := len(os.fsencode(value))) > LONGEST_PATH:
        raise OptionError(
            f"{option}: the name of a Unix socket may have {LONGEST_PATH} bytes, not {length}", option=option
        )
    return value


def _local_address(option: str, value: object) -> str:
    address = checks.name(option, value)
    if not is_address(address):
        raise OptionError(
            f"{option} must be an IP address, not {address!r:.80}", option=option, code="ERR_INVALID_IP_ADDRESS"
        )
    return address


def _family(option: str, value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise checks.wrong_type(option, "an int", value)
    # The numbers of the families of the module socket are those of the system; their names are the same everywhere.
    number = _FAMILIES.get(getattr(value, "name", ""), int(value))
    if number not in (0, 4, 6):
        raise OptionError(f"{option} must be 4, 6, 0, or a family of the module socket, not {value}", option=option)
    return number or None


_FAMILIES = {"AF_UNSPEC": 0, "AF_INET": 4, "AF_INET6": 6}
