"""The keys of session tickets (RFC 5077; RFC 8446, section 4.6.1)."""

import os
import threading
import weakref
from collections.abc import Callable
from typing import NoReturn

from . import _native, checks
from .errors import OptionError, OptionTypeError

KEY_LENGTH = 48
"""In bytes: 16 for a name that stands in each ticket, 16 for HMAC-SHA256, 16 for AES-128."""

_PREVIOUS = 2
"""So many earlier keys are kept on rotation."""


class TicketKeyRing:
    """The key that makes session tickets, and earlier ones that still read them.

    A ticket under an earlier key is taken, and the client gets a new one.  Servers that were given the ring follow its
    rotations, for the connections that they accept later.

    Args:
        current: 48 bytes; a random key when left out.
        previous: Earlier keys, newest first.

    Raises:
        OptionError: A key is not 48 bytes long.

    Example::

        ring = aiotls.TicketKeyRing()
        server = aiotls.create_server(handle, key=key, cert=cert, ticket_keys=ring)
        ring.rotate()

    Source: RFC 5077; RFC 8446, section 4.6.1; SSL_CTX_set_tlsext_ticket_key_evp_cb(3).
    """

    __slots__ = ("__weakref__", "_followers", "_lock", "_native")

    def __init__(self, current: bytes | None = None, *previous: bytes) -> None:
        given = [check_key("current", os.urandom(KEY_LENGTH) if current is None else current)]
        given += [check_key(f"previous[{index}]", key) for index, key in enumerate(previous)]
        self._lock = threading.Lock()
        self._native = _native.TicketKeys(given)
        self._followers: list[weakref.WeakMethod[Callable[[], None]]] = []

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the current one first."""
        return tuple(self._native.keys())

    def rotate(self, key: bytes | None = None) -> None:
        """Makes new tickets under another key from now on; the last ones still read tickets.

        Args:
            key: 48 bytes; a random key when left out.

        Raises:
            OptionError: It is not 48 bytes long.
        """
        new = check_key("key", os.urandom(KEY_LENGTH) if key is None else key)
        with self._lock:
            self._native = _native.TicketKeys([new, *self.keys[:_PREVIOUS]])
            followers = [follower() for follower in self._followers]
        for follower in followers:
            if follower is not None:
                follower()

    def follow(self, follower: Callable[[], None]) -> None:
        """Calls a method after each rotation, in the thread that rotates, as long as its object lives.

        Args:
            follower: A bound method without arguments.
        """
        with self._lock:
            self._followers = [known for known in self._followers if known() is not None]
            self._followers.append(weakref.WeakMethod(follower))

    def __repr__(self) -> str:
        return f"TicketKeyRing({len(self.keys)} keys)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a TicketKeyRing holds secret keys and cannot be pickled")


def check_key(option: str, value: object) -> bytes:
    """One key of the right length."""
    key = checks.octets(option, value)
    if len(key) != KEY_LENGTH:
        raise OptionError(
            f"{option}: session ticket keys must be exactly {KEY_LENGTH} bytes, not {len(key)}", option=option
        )
    return key


def parse_ticket_keys(option: str, value: object) -> TicketKeyRing:
    """A ring as it is, or one of the 48 bytes given.

    Raises:
        OptionError: It is neither.
    """
    if isinstance(value, TicketKeyRing):
        return value
    try:
        return TicketKeyRing(check_key(option, value))
    except OptionTypeError:
        raise checks.wrong_type(option, f"{KEY_LENGTH} bytes or a TicketKeyRing", value) from None
