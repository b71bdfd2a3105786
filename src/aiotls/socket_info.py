"""What a TLS socket knows about its connection and about the path below."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from . import checks
from .certificate import PeerCertificate
from .cipher import Cipher, EphemeralKeyInfo
from .connection import Connection
from .errors import OptionTypeError, StateError
from .phases import Phase

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from .wires import Wire
    from .wires.dialing import Dialing


# Once: on Python 3.11 it takes a while to find a member of an enumeration.
_SECURE = frozenset({Phase.OPEN, Phase.ENDING})


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a connection, or what a server listens on.

    Source: ip(7), ipv6(7), unix(7).
    """

    address: str
    """The IP address, or the path of a Unix socket."""
    family: str
    """``"IPv4"``, ``"IPv6"`` or ``"Unix"``."""
    port: int | None
    """None for a Unix socket."""

    @classmethod
    def of(cls, name: object) -> "Address | None":
        """Makes one from a socket name as Python gives it.

        Args:
            name: What ``getsockname`` or ``getpeername`` of a ``socket.socket`` has returned.

        Returns:
            The address; None for what is none.
        """
        if isinstance(name, bytes):
            name = name.decode("utf-8", "surrogateescape")
        if isinstance(name, str):
            return cls(name, "Unix", None)
        if not isinstance(name, tuple) or len(name) < 2:
            return None
        return cls(str(name[0]), "IPv6" if len(name) == 4 else "IPv4", int(name[1]))


@dataclass(frozen=True, slots=True)
class DropInfo:
    """A connection that a server had no room for; None for what was not known any more.

    Source: accept(2).
    """

    local_address: str | None
    """Where it came to: an IP address, or the path of a Unix socket."""
    local_port: int | None
    """The port that it came to."""
    local_family: str | None
    """``"IPv4"``, ``"IPv6"`` or ``"Unix"``."""
    remote_address: str | None
    """Where it came from."""
    remote_port: int | None
    """The port that it came from."""
    remote_family: str | None
    """As `local_family`."""

    @classmethod
    def of(cls, local: object, remote: object) -> "DropInfo":
        """Makes one from the names of both ends as Python gives them.

        Args:
            local: What ``getsockname`` of a ``socket.socket`` has returned.
            remote: What ``getpeername`` has returned.

        Returns:
            The addresses.
        """
        return cls(*_parts(local), *_parts(remote))


def _parts(name: object) -> tuple[str | None, int | None, str | None]:
    address = Address.of(name)
    return (None, None, None) if address is None else (address.address, address.port, address.family)


class SocketInfo:
    """The part of `TLSSocket` that tells; None stands for what is not known yet, or not any more."""

    __slots__ = ()

    _connection: Connection | None
    _wire: "Wire | None"
    _below: Any
    _names: dict[str, object] | None
    _dialing: "asyncio.Task[None] | asyncio.Handle | Dialing | None"
    _closing: bool
    destroyed: bool
    """Whether the socket was closed, by whomever; ``"close"`` may still have to be told."""
    is_server: bool
    """Whether it is the server's side of the connection."""

    if TYPE_CHECKING:

        @property
        def readable(self) -> bool: ...
        @property
        def writable(self) -> bool: ...

    # ---- what was negotiated

    @property
    def encrypted(self) -> bool:
        """True, for telling it from a plain stream."""
        return True

    @property
    def authorized(self) -> bool:
        """Whether the peer's certificate was verified and is the one that was meant."""
        connection = self._secure_connection
        return connection is not None and connection.authorized

    @property
    def authorization_error(self) -> str | None:
        """Why not: a code such as ``"CERT_HAS_EXPIRED"``; None when authorized, or when nothing was asked."""
        connection = self._secure_connection
        return None if connection is None else connection.authorization_error

    @property
    def alpn_protocol(self) -> str | Literal[False] | None:
        """The application protocol that was agreed on; False for none, None before."""
        connection = self._secure_connection
        return None if connection is None else connection.alpn_protocol or False

    @property
    def servername(self) -> str | Literal[False] | None:
        """The server name that the client sent; False for none, None while it is not known."""
        connection = self._open_connection
        if connection is None:
            return None
        name = connection.engine.servername()
        if name is None and connection.phase is Phase.HANDSHAKE:
            return None
        return name or False

    def get_protocol(self) -> str | None:
        """The protocol version, such as ``"TLSv1.3"``."""
        connection = self._secure_connection
        return None if connection is None else connection.engine.protocol()

    def get_cipher(self) -> Cipher | None:
        """The cipher suite."""
        connection = self._secure_connection
        return None if connection is None else connection.cipher

    def get_ephemeral_key_info(self) -> EphemeralKeyInfo | None:
        """The group of the key exchange; on a server None."""
        connection = self._secure_connection
        return None if connection is None or self.is_server else connection.ephemeral_key_info

    def get_shared_sigalgs(self) -> list[str] | None:
        """The signature algorithms that both sides support, such as ``"ECDSA+SHA256"``, most wanted first.

        On a client they are those for its own certificate; empty where the server did not ask for one.

        Source: SSL_get_shared_sigalgs(3).
        """
        connection = self._secure_connection
        return None if connection is None else connection.engine.shared_sigalgs()

    def is_session_reused(self) -> bool | None:
        """Whether an earlier session was resumed."""
        connection = self._secure_connection
        return None if connection is None else connection.engine.session_reused()

    def get_certificate(self) -> PeerCertificate | None:
        """Our own certificate; an empty one if there is none."""
        connection = self._open_connection
        return None if connection is None else connection.certificate()

    def get_peer_certificate(self, detailed: bool = False) -> PeerCertificate | None:
        """The certificate of the peer; an empty one if it showed none.

        Args:
            detailed: Whether `issuer_certificate` leads through the whole chain.
        """
        connection = self._open_connection
        return None if connection is None else connection.peer_certificate(detailed)

    def get_x509_certificate(self) -> "Certificate | None":
        """Our own certificate as an object of `cryptography`."""
        certificate = self.get_certificate()
        return certificate.x509 if certificate else None

    def get_peer_x509_certificate(self) -> "Certificate | None":
        """The certificate of the peer as an object of `cryptography`."""
        certificate = self.get_peer_certificate()
        return certificate.x509 if certificate else None

    def get_finished(self) -> bytes | None:
        """The last Finished message that we sent (SSL_get_finished(3)); for TLS 1.2 a channel binding (RFC 5929)."""
        connection = self._open_connection
        return None if connection is None else connection.engine.finished()

    def get_peer_finished(self) -> bytes | None:
        """The last Finished message that the peer sent."""
        connection = self._open_connection
        return None if connection is None else connection.engine.peer_finished()

    def export_keying_material(self, length: int, label: str, context: Any = None) -> bytes:
        """Derives keys from the connection that both sides can derive and nobody else (RFC 5705, RFC 8446 7.5).

        Args:
            length: How many bytes.
            label: What they are for; ASCII, registered with IANA or starting with ``EXPERIMENTAL``.
            context: Bytes that both sides know; None is no context.

        Returns:
            The bytes, the same on both sides.

        Raises:
            OptionError: Nothing can be derived from such arguments, as from a label that the protocol itself uses.
            StateError: The connection is not secure (``ERR_TLS_INVALID_STATE``).
        """
        length = checks.integer("length", length, 1, 2**20)
        label = checks.text("label", label)
        if context is not None and not isinstance(context, bytes | bytearray | memoryview):
            raise OptionTypeError(f"context must be bytes or None, not {type(context).__name__}", option="context")
        connection = self._secure_connection
        if connection is None:
            raise StateError("TLS socket connection must be securely established")
        return connection.export_keying_material(length, label, None if context is None else bytes(context))

    @property
    def _open_connection(self) -> Connection | None:
        """The connection, also while it shakes hands and after it failed, as long as it is not closed."""
        connection = self._connection
        return None if connection is None or connection.phase is Phase.CLOSED else connection

    @property
    def _secure_connection(self) -> Connection | None:
        """The connection once it is secure, and as long as it is not closed."""
        connection = self._connection
        if connection is None or connection.phase not in _SECURE:
            return None
        return connection

    # ---- state

    @property
    def connecting(self) -> bool:
        """Whether the path below is still being made."""
        if self.destroyed:
            return False
        if self._below is not None:
            return bool(getattr(self._below, "connecting", False))
        return self._dialing is not None and self._wire is None

    @property
    def secure_connecting(self) -> bool:
        """Whether the handshake is not done yet."""
        return not self.destroyed and self._secure_connection is None

    @property
    def pending(self) -> bool:
        """Whether there is no path to the peer yet."""
        return self._wire is None or self.connecting

    @property
    def ready_state(self) -> str:
        """``"opening"``, ``"open"``, ``"read_only"``, ``"write_only"`` or ``"closed"``."""
        if self.connecting:
            return "opening"
        if self.readable:
            return "open" if self.writable else "read_only"
        return "write_only" if self.writable else "closed"

    def is_closing(self) -> bool:
        """Whether the socket is closed or about to be."""
        return self._closing or self.destroyed

    # ---- the path below

    def address(self) -> Address | None:
        """Our own end."""
        return Address.of(self._name_below("sockname"))

    def _peer_address(self) -> Address | None:
        return Address.of(self._name_below("peername"))

    def _name_below(self, name: str) -> object:
        if self._wire is None or self.destroyed:
            return None
        if self._connection is None and self._names is not None:
            # In the midst of a handshake, inside a function for pre-shared keys.
            return self._names[name]
        return self._wire.get_extra_info(name)

    @property
    def local_address(self) -> str | None:
        """The IP address of our own end, or the path of its Unix socket."""
        address = self.address()
        return None if address is None else address.address

    @property
    def local_port(self) -> int | None:
        """The port of our own end; None for a Unix socket."""
        address = self.address()
        return None if address is None else address.port

    @property
    def local_family(self) -> str | None:
        """``"IPv4"``, ``"IPv6"`` or ``"Unix"``."""
        address = self.address()
        return None if address is None else address.family

    @property
    def remote_address(self) -> str | None:
        """The IP address of the peer, or the path of its Unix socket."""
        address = self._peer_address()
        return None if address is None else address.address

    @property
    def remote_port(self) -> int | None:
        """The port of the peer; None for a Unix socket."""
        address = self._peer_address()
        return None if address is None else address.port

    @property
    def remote_family(self) -> str | None:
        """``"IPv4"``, ``"IPv6"`` or ``"Unix"``."""
        address = self._peer_address()
        return None if address is None else address.family

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What asyncio's transports give: ``"peername"``, ``"sockname"``, ``"cipher"``.

        Args:
            name: What to look up.
            default: What to return for what is not known.

        Returns:
            The addresses as Python gives them, or ``(name, version, None)`` of the cipher suite.
        """
        value: Any = None
        if name in ("peername", "sockname"):
            value = self._name_below(name)
        elif name == "cipher" and (cipher := self.get_cipher()) is not None:
            value = (cipher.name, cipher.version, None)
        return default if value is None else value
