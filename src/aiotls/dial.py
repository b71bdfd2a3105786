"""From a name to a connected socket: look the name up, then race its addresses (RFC 8305)."""

import asyncio
import errno
import functools
import inspect
import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohappyeyeballs

from .errors import ConnectError, OptionError
from .identity import canonical_address, is_address
from .options import ConnectOptions
from .wires.dialing import Dialing
from .wires.reactor import LoopReactor

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]
LookedUp = Callable[[Exception | None, str | None, str | None, str], None]


@dataclass(frozen=True, slots=True)
class LookupOptions:
    """What a `lookup` function is asked for besides the host name."""

    family: int | None
    """4, 6, or None for both."""
    all: bool
    """Whether all addresses are of use, or only the first."""


async def dial(options: ConnectOptions, looked_up: LookedUp) -> socket.socket | Dialing:
    """Connects.

    Args:
        options: Where to, and from where.
        looked_up: Told the outcome of the look-up: an error, or each address with its family and the host.

    Returns:
        A connected, non-blocking socket; where there was one address to try, its reactor has it already.

    Raises:
        ConnectError: It was not possible; the attributes tell what was tried.
    """
    if options.path is not None:
        return _dial_path(options.path)
    host = options.host or "localhost"
    try:
        addresses = await _look_up(host, options)
    except Exception as error:
        looked_up(error, None, None, host)
        raise
    for info in addresses:
        looked_up(None, str(info[4][0]), "IPv6" if info[0] == socket.AF_INET6 else "IPv4", host)
    try:
        if len(addresses) == 1 or not options.auto_select_family:
            return await _dial_one(addresses[0], options)
        below = await aiohappyeyeballs.start_connection(
            addresses,
            local_addr_infos=_local_infos(options),
            happy_eyeballs_delay=options.auto_select_family_attempt_timeout,
            interleave=1,
        )
        if options.no_delay:
            # Some systems refuse it where the peer has gone meanwhile, which is found out soon enough.
            with suppress(OSError):
                below.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return below
    except OSError as error:
        raise not_connected(error, str(addresses[0][4][0]), options) from error


def known_address(options: ConnectOptions) -> str | None:
    """The one address to try, where nothing is to be looked up or bound before."""
    if options.host is None or options.path is not None or options.local_address is not None:
        return None
    return canonical_address(options.host) if options.local_port is None else None


def not_connected(error: OSError, address: str, options: ConnectOptions) -> ConnectError:
    """The error for an address that could not be reached."""
    where = {"host": options.host, "port": options.port, "local_address": options.local_address}
    return ConnectError.from_os_error(error, syscall="connect", address=address, **where)


def _dial_path(path: str) -> socket.socket:
    try:
        below = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            below.setblocking(False)
            # At once or not at all: EAGAIN says that the server's queue is full, not that it is under way.
            below.connect(path)
        except BaseException:
            below.close()
            raise
    except OSError as error:
        raise ConnectError.from_os_error(error, syscall="connect", address=path, path=path) from error
    return below


async def _dial_one(info: AddressInfo, options: ConnectOptions) -> Dialing:
    family, kind, protocol, _, address = info
    below = socket.socket(family, kind, protocol)
    try:
        below.setblocking(False)
        if options.no_delay:
            below.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ours = _local_infos(options)
        if ours is not None:
            below.bind(_local_name(ours, family))
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[int] = loop.create_future()
        dialing = LoopReactor.of(loop).dial(below, address, functools.partial(_settle, outcome))
    except BaseException:
        below.close()
        raise
    try:
        if errno := await outcome:
            raise OSError(errno, os.strerror(errno))
    except BaseException:
        dialing.close()
        raise
    return dialing


def _settle(outcome: asyncio.Future[int], errno: int) -> None:
    if not outcome.done():
        outcome.set_result(errno)


def _local_name(infos: list[AddressInfo], family: int) -> tuple[Any, ...]:
    """What to bind to, of the family that is connected to."""
    for info in infos:
        if info[0] == family:
            return info[4]
    raise OSError(errno.EINVAL, "local_address is of another family than the address")


def _local_infos(options: ConnectOptions) -> list[AddressInfo] | None:
    """Where to connect from; None for wherever the system likes."""
    if options.local_address is None and options.local_port is None:
        return None
    port = options.local_port or 0
    given = options.local_address
    infos: list[AddressInfo] = []
    for family, default in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        if given is None or (":" in given) == (family == socket.AF_INET6):
            infos.append((family, socket.SOCK_STREAM, 0, "", (given or default, port)))
    return infos


async def _look_up(host: str, options: ConnectOptions) -> Sequence[AddressInfo]:
    """The addresses of `host`, at least one."""
    port = options.port or 0
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(options.family or 0, socket.AF_UNSPEC)
    if options.lookup is not None and not is_address(host):
        answer = options.lookup(host, LookupOptions(options.family, options.auto_select_family))
        if inspect.isawaitable(answer):
            answer = await answer
        addresses = answer if isinstance(answer, list | tuple) else [answer]
        if not addresses:
            raise ConnectError(
                f"lookup ENOTFOUND {host}", code="ENOTFOUND", syscall="getaddrinfo", host=host, port=port
            )
        return [_info(address, port) for address in addresses]
    if is_address(host) and "%" not in host:
        return [_info(host, port)]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise ConnectError(
            f"getaddrinfo ENOTFOUND {host}", code="ENOTFOUND", syscall="getaddrinfo", host=host, port=port
        ) from error
    return found


def _info(address: object, port: int) -> AddressInfo:
    text = canonical_address(str(address)) or _zoned_address(address)
    if ":" not in text:
        return (socket.AF_INET, socket.SOCK_STREAM, 0, "", (text, port))
    return (socket.AF_INET6, socket.SOCK_STREAM, 0, "", (text, port, 0, _scope(text, port)))


def _scope(address: str, port: int) -> int:
    """The number of the interface that the zone of an address names, or is; 0 without a zone."""
    zone = address.partition("%")[2]
    if not zone:
        return 0
    try:
        return int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
    except OSError as error:
        number = errno.ENODEV
        words = f"connect ENODEV {address}: there is no interface {zone}"
        raise ConnectError(words, code="ENODEV", errno=number, syscall="connect", address=address, port=port) from error


def _zoned_address(address: object) -> str:
    """The shortest form of an IPv6 address with a zone (RFC 4007, section 11)."""
    text = str(address)
    try:
        if not text.isprintable():
            raise ValueError("a zone that cannot be")
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise OptionError(f"lookup must answer with IP addresses, not {address!r:.80}", option="lookup") from None
