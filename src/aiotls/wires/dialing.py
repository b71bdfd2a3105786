"""A socket that a reactor connects."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import notices
from ..connection import Connection

if TYPE_CHECKING:
    from .reactor import LoopReactor, ReactorWire


class Dialing:
    """A socket that is being connected, or is, and on which no connection has begun.

    Args:
        reactor: Whose it is.
        token: Its token.
        told: Called with the error of the system once it is known, 0 for none.
    """

    __slots__ = ("_reactor", "_token", "_told")

    def __init__(self, reactor: "LoopReactor", token: int, told: Callable[[int], object]) -> None:
        self._reactor = reactor
        self._token = token
        self._told = told

    def _notice(self, kind: int, payload: object) -> None:
        if kind == notices.CONNECTED:
            assert isinstance(payload, int)
            self._told(payload)

    def open(self, connection: Connection, handshake_timeout: float) -> "ReactorWire":
        """Starts a connection over it."""
        return self._reactor.begin(connection, self._token, handshake_timeout)

    def cancel(self) -> None:
        """Closes it; nothing more is told."""
        self._reactor.hang_up(self._token)

    close = cancel
