"""What connections of one kind start with."""

import enum
from dataclasses import dataclass

from . import _native
from .context import SecureContext
from .tickets import TicketKeyRing


class Ask(enum.IntFlag):
    """What a handshake stops for, and what is collected on the way."""

    NOTHING = 0
    HELLO = _native.ASK_HELLO
    CERTIFICATE = _native.ASK_CERTIFICATE
    VERIFY = _native.ASK_VERIFY
    SESSION = _native.ASK_SESSION
    CLIENT = _native.ASK_CLIENT
    STAPLE = _native.ASK_STAPLE
    KEYLOG = _native.ASK_KEYLOG
    TICKETS = _native.ASK_TICKETS
    TRACE = _native.ASK_TRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Made once, used for any number of connections."""

    context: SecureContext
    server: bool
    asks: Ask = Ask.NOTHING
    request_cert: bool = False
    reject_unauthorized: bool = True
    alpn: bytes = b""
    """Protocols in their wire form, most wanted first."""
    tickets: TicketKeyRing | None = None
    """None for those of the context."""
    reneg_limit: int = 3
    """How many renegotiations a client may ask for within `reneg_window`."""
    reneg_window: float = 600.0
    """In seconds."""

    def native(self) -> _native.Settings:
        """The same for the core."""
        return _native.Settings(
            self.context._native,
            (self.tickets or self.context._tickets)._native,
            server=self.server,
            asks=self.asks if self.server else self.asks | Ask.VERIFY,
            request_cert=self.request_cert,
            reject_unauthorized=self.reject_unauthorized,
            alpn=self.alpn,
            reneg_limit=self.reneg_limit,
            reneg_window=self.reneg_window,
        )
