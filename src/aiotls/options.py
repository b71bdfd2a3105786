"""The options of connections, clients and servers, parsed once into frozen values.

Later layers take these values; they never see the keywords again.  The secure context is made here too, so that a
wrong key or cipher shows before anything is opened.  Many connections may have the same options; the session that a
client offers is of one connection, and no part of them.
"""

import os
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType, NoneType
from typing import Any, Self, TypeAlias

from . import alpn, checks
from .connection_settings import MIN_DH_SIZE, Ask, ConnectionSettings
from .context import SecureContext
from .context_options import ContextOptions
from .defaults import defaults
from .errors import OptionError, OptionTypeError
from .identity import ascii_hostname, is_address
from .keywords import CONTEXT_NAMES, ConnectKeywords, ServerKeywords, WrapKeywords, check_names
from .onread import OnReadOption

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

    settings: ConnectionSettings
    """What the connection starts with; listeners may add to it."""
    servername: str | None = None
    """The name for the SNI extension, ASCII; None sends none."""
    hostname: str = ""
    """What the certificate of the server must be made for, ASCII; empty on a server."""
    check_server_identity: Callable[[str, Any], Any] | None = None
    """The user's own check, plain or async; None is the usual one."""
    check_client_identity: Callable[..., Any] | None = None
    sni_callback: Callable[[str], Any] | None = None
    alpn_callback: Callable[..., Any] | None = None
    psk_callback: Callable[..., Any] | None = None
    psk_identity_hint: str | None = None
    require_close_notify: bool = False
    handshake_timeout: float = HANDSHAKE_TIMEOUT
    close_timeout: float = CLOSE_TIMEOUT
    allow_half_open: bool | None = None
    """None when it was not given: as what is wrapped, else False."""
    pause_on_connect: bool = False
    high_water_mark: int = HIGH_WATER_MARK
    onread: OnReadOption | None = None
    timeout: float | None = None
    """Seconds without data until ``"timeout"``; None for never."""
    no_delay: bool = True
    keep_alive: bool = False
    keep_alive_initial_delay: float = 0.0

    @classmethod
    def parse(cls, keywords: Mapping[str, object]) -> Self:
        """Checks the keywords of `TLSSocket`: `WrapKeywords`.

        Raises:
            OptionError: An option is unknown, has a wrong type or a wrong value; the error names it.
        """
        check_names(keywords, WrapKeywords.__optional_keys__, "TLSSocket")
        server = checks.flag(keywords, "is_server", False)
        host = None if server else checks.optional(keywords, "host", _host)
        return cls(**_fields(keywords, _SOCKET_CHECKS, host, server=server, function="TLSSocket"))


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class ConnectOptions(SocketOptions):
    """What `connect` was asked for; connections that ask for the same share them."""

    host: str | None = None
    """Where to connect to, ASCII; None when it was not given, which means localhost."""
    port: int | None = None
    path: str | None = None
    """A Unix socket; it goes before `host` and `port`."""
    socket: Any = None
    """What to use instead of a new connection."""
    lookup: Callable[..., Any] | None = None
    family: int | None = None
    """4 or 6; None for both."""
    local_address: str | None = None
    local_port: int | None = None
    auto_select_family: bool = True
    auto_select_family_attempt_timeout: float = 0.25

    @classmethod
    def parse(cls, keywords: Mapping[str, object]) -> "ConnectOptions":
        """Checks the keywords of `connect`: `ConnectKeywords`.

        Raises:
            OptionError: An option is unknown, has a wrong type or a wrong value; the error names it.
        """
        likeness = _likeness(keywords)
        options = None if likeness is None else _IN_USE.get(likeness)
        if options is None:
            options = cls._parse_anew(keywords)
            if likeness is not None:
                _IN_USE[likeness] = options
        return options

    @classmethod
    def _parse_anew(cls, keywords: Mapping[str, object]) -> "ConnectOptions":
        check_names(keywords, ConnectKeywords.__optional_keys__, "connect")
        if keywords.get("port") is None and keywords.get("path") is None and keywords.get("socket") is None:
            raise OptionTypeError("connect needs a port, a path or a socket", option="port", code="ERR_MISSING_ARGS")
        host = checks.optional(keywords, "host", _host)
        return cls(**_fields(keywords, _CONNECT_CHECKS, host, server=False, function="connect"), host=host)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(SocketOptions):
    """What `create_server` was asked for; the connections that it accepts take it as their own."""

    max_connections: int | None = None
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
        return cls(**_fields(keywords, _SERVER_CHECKS, None, server=True, function="create_server"))


def _likeness(keywords: Mapping[str, object]) -> tuple[object, ...] | None:
    """What is the same for the same options, and for no others; None where that cannot be told.

    Values that can change are not told, and neither are options of the context: they may be secret, or files.
    """
    if keywords.get("secure_context") is None:
        return None
    kinds = tuple(map(type, keywords.values()))
    if not _UNCHANGING.issuperset(kinds):
        return None
    # With their types, because True == 1.
    return (*keywords.items(), kinds, defaults.client_reneg_limit, defaults.client_reneg_window)


def _fields(
    keywords: Mapping[str, object], table: "_Checks", host: str | None, *, server: bool, function: str
) -> dict[str, Any]:
    """What was given, checked, and what follows from several options or from the defaults that can be assigned."""
    fields = {
        option: table[option](option, value)
        for option, value in keywords.items()
        if value is not None and option in table
    }
    if "alpn_callback" in fields and keywords.get("alpn_protocols") is not None:
        raise OptionTypeError(
            "alpn_callback and alpn_protocols both choose the protocol; give one of them",
            option="alpn_callback",
            code="ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS",
        )
    if not server:
        fields["hostname"], fields["servername"] = _host_names(keywords, host)
    fields["settings"] = ConnectionSettings(
        server=server,
        asks=_asks(fields, server),
        request_cert=fields.pop("request_cert", False),
        # Only False turns verification off: None, 0 and the like must not, by an accident in somebody's program.
        reject_unauthorized=keywords.get("reject_unauthorized") is not False,
        alpn=alpn.to_wire(keywords.get("alpn_protocols")),
        reneg_limit=defaults.client_reneg_limit,
        reneg_window=defaults.client_reneg_window,
        # None is refused here.
        min_dh_size=checks.integer("min_dh_size", keywords.get("min_dh_size", MIN_DH_SIZE), 1, 2**31 - 1),
        context=_secure_context(keywords, server, function),
    )
    return fields


def _asks(fields: dict[str, Any], server: bool) -> Ask:
    """What the handshake has to stop for, and what is collected; options that say no more are taken out of `fields`."""
    asks = Ask.TRACE if fields.pop("enable_trace", False) else Ask.NOTHING
    if fields.pop("request_ocsp", False) and not server:
        asks |= Ask.STAPLE
    if server and ("sni_callback" in fields or "alpn_callback" in fields):
        asks |= Ask.HELLO
    if server and "check_client_identity" in fields:
        asks |= Ask.CLIENT
    return asks


def _host_names(keywords: Mapping[str, object], host: str | None) -> tuple[str, str | None]:
    """What the certificate must be made for, and the name for the SNI extension."""
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
    given = keywords.get("secure_context")
    if given is None:
        own = {option: value for option, value in keywords.items() if option in CONTEXT_NAMES}
        return SecureContext(ContextOptions.parse(own, server=server, function=function))
    if not isinstance(given, SecureContext):
        raise checks.wrong_type("secure_context", "a SecureContext", given)
    if not CONTEXT_NAMES.isdisjoint(keywords):
        _refuse_beside_context(keywords)
    return given


def _refuse_beside_context(keywords: Mapping[str, object]) -> None:
    for option, value in keywords.items():
        if value is not None and option in CONTEXT_NAMES:
            raise OptionTypeError(
                f"{option} belongs to the secure context: give it to create_secure_context, not beside secure_context",
                option=option,
            )


def _idle_timeout(option: str, value: object) -> float | None:
    return checks.seconds(option, value, zero=True) or None


def _delay(option: str, value: object) -> float:
    return checks.seconds(option, value, zero=True)


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


_UNCHANGING = frozenset({str, int, float, bool, NoneType, FunctionType, MethodType, SecureContext})
# The options of connections that there are, so that the next one does not parse the same again.
_IN_USE: weakref.WeakValueDictionary[tuple[object, ...], ConnectOptions] = weakref.WeakValueDictionary()

_FAMILIES = {"AF_UNSPEC": 0, "AF_INET": 4, "AF_INET6": 6}

_Checks: TypeAlias = dict[str, Callable[[str, object], Any]]

# By option: what it may be where it is given.  Where it is not, or None, its field has the default of the class.
_SOCKET_CHECKS: _Checks = {
    "request_cert": checks.boolean,
    "check_server_identity": checks.function,
    "check_client_identity": checks.function,
    "sni_callback": checks.function,
    "alpn_callback": checks.function,
    "psk_callback": checks.function,
    "psk_identity_hint": checks.text,
    "request_ocsp": checks.boolean,
    "enable_trace": checks.boolean,
    "require_close_notify": checks.boolean,
    "handshake_timeout": checks.seconds,
    "close_timeout": checks.seconds,
    "allow_half_open": checks.boolean,
    "pause_on_connect": checks.boolean,
    "high_water_mark": count,
    "onread": OnReadOption.parse,
    "timeout": _idle_timeout,
    "no_delay": checks.boolean,
    "keep_alive": checks.boolean,
    "keep_alive_initial_delay": _delay,
}
_CONNECT_CHECKS: _Checks = _SOCKET_CHECKS | {
    "port": checks.port,
    "path": unix_path,
    "socket": lambda option, value: value,
    "lookup": checks.function,
    "family": _family,
    "local_address": _local_address,
    "local_port": checks.port,
    "auto_select_family": checks.boolean,
    "auto_select_family_attempt_timeout": checks.seconds,
}
_SERVER_CHECKS: _Checks = _SOCKET_CHECKS | {"max_connections": count}
