"""What connections of one kind start with."""

import enum
import hashlib
from dataclasses import dataclass

from . import _native
from .context import SecureContext
from .tickets import TicketKeyRing

MIN_DH_SIZE = 1024
"""The default of `min_dh_size`, in bits."""


class Ask(enum.IntFlag):
    """What a handshake stops for, and what is collected on the way.

    Source: SSL_CTX_set_client_hello_cb(3), SSL_CTX_set_cert_cb(3), SSL_set_retry_verify(3).
    """

    NOTHING = 0
    """Nothing is asked."""
    HELLO = _native.ASK_HELLO
    """A server: the client's name, protocols and session are known."""
    CERTIFICATE = _native.ASK_CERTIFICATE
    """A server: its certificate is about to be sent."""
    VERIFY = _native.ASK_VERIFY
    """A client: the server's chain is verified; is it the right server?"""
    SESSION = _native.ASK_SESSION
    """A server: there are new sessions to keep."""
    CLIENT = _native.ASK_CLIENT
    """A server: the client's chain is verified; is it welcome?"""
    STAPLE = _native.ASK_STAPLE
    """A client: the server has stapled an OCSP response, or none."""
    KEYLOG = _native.ASK_KEYLOG
    """Lines for a key log are collected."""
    TICKETS = _native.ASK_TICKETS
    """A client's sessions are collected."""
    TRACE = _native.ASK_TRACE
    """A trace is printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What a `Connection` starts with; made once, used for any number of them.

    Source: SSL_CTX_new(3), SSL_CTX_set_verify(3).
    """

    context: SecureContext
    """Keys, certificates, whom to trust."""
    server: bool
    """Which side it is."""
    asks: Ask = Ask.NOTHING
    """What a handshake stops for, and what is collected."""
    request_cert: bool = False
    """Whether a client is asked for a certificate."""
    reject_unauthorized: bool = True
    """Whether a peer that is not authorized is refused."""
    alpn: bytes = b""
    """Protocols in their wire form, most wanted first."""
    tickets: TicketKeyRing | None = None
    """None for those of the context."""
    reneg_limit: int = 3
    """How many renegotiations a client may ask for within `reneg_window`."""
    reneg_window: float = 600.0
    """In seconds."""
    min_dh_size: int = MIN_DH_SIZE
    """The smallest ephemeral DH key, in bits, that a client takes from its server."""

    @property
    def session_policy(self) -> bytes:
        """What a client's sessions are bound to besides the name of the server."""
        policy, size = self.context._policy, self.min_dh_size
        return policy if size == MIN_DH_SIZE else hashlib.sha256(policy + size.to_bytes(4, "big")).digest()

    def native(self) -> _native.Settings:
        """The same for the compiled core.

        Returns:
            What `Connection` makes its engine of.
        """
        return _native.Settings(
            self.context._native,
            (self.tickets or self.context._tickets)._native,
            server=self.server,
            # As numbers: an enumeration takes its time.
            asks=int(self.asks) if self.server else int(self.asks) | _native.ASK_VERIFY,
            request_cert=self.request_cert,
            reject_unauthorized=self.reject_unauthorized,
            alpn=self.alpn,
            reneg_limit=self.reneg_limit,
            reneg_window=self.reneg_window,
            min_dh_size=self.min_dh_size,
        )
