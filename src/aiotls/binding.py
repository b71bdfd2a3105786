"""From an address to a bound socket."""

import asyncio
import errno as errno_numbers
import os
import socket
import stat
from typing import Any

from .errors import ConnectError


async def bind(
    loop: asyncio.AbstractEventLoop, host: str | None, port: int, reuse_port: bool, ipv6_only: bool
) -> list[socket.socket]:
    """Sockets for a host, or for all addresses of this machine, IPv6 and IPv4, where it is None.

    Raises:
        ConnectError: The host has no address.
        OSError: The system refuses.
    """
    if host is None or host == "":
        try:
            return [_bind_address(socket.AF_INET6, ("::", port), reuse_port, ipv6_only)]
        except OSError as error:
            if error.errno not in (errno_numbers.EAFNOSUPPORT, errno_numbers.EADDRNOTAVAIL):
                raise
            return [_bind_address(socket.AF_INET, ("0.0.0.0", port), reuse_port, ipv6_only)]
    try:
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ConnectError(
            f"getaddrinfo ENOTFOUND {host}", code="ENOTFOUND", syscall="getaddrinfo", host=host, port=port
        ) from error
    family, _, _, _, address = infos[0]
    return [_bind_address(family, address, reuse_port, ipv6_only)]


def _bind_address(family: int, address: Any, reuse_port: bool, ipv6_only: bool) -> socket.socket:
    below = socket.socket(family, socket.SOCK_STREAM)
    try:
        below.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            below.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            below.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(ipv6_only))
        below.bind(address)
    except BaseException:
        below.close()
        raise
    return below


def bind_path(path: str) -> socket.socket:
    """A Unix socket; a socket file that nobody listens on any more is replaced."""
    below = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            below.bind(path)
        except OSError as error:
            if error.errno != errno_numbers.EADDRINUSE or not _is_forgotten(path):
                raise
            os.unlink(path)
            below.bind(path)
    except BaseException:
        below.close()
        raise
    return below


def _is_forgotten(path: str) -> bool:
    """Whether it is a socket file that nobody listens on any more."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
    return False
