"""TLS for asyncio, on OpenSSL.

The public names, in the order of the documentation.  `connect` and `create_server` are where to begin.
"""

from . import certificate_authorities, constants
from ._native import OPENSSL_VERSION as openssl_version
from .certificate import PeerCertificate
from .certificate_authorities import get_ca_certificates, set_default_ca_certificates
from .cipher import Cipher, EphemeralKeyInfo
from .ciphers import get_certificate_compression_algorithms, get_ciphers
from .client import connect
from .connection import Connection
from .connection_settings import Ask, ConnectionSettings
from .context import SecureContext, create_secure_context
from .defaults import defaults
from .errors import (
    AlertReceived,
    ConnectError,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    HandshakeTimeout,
    OptionError,
    OptionTypeError,
    PeerError,
    ProtocolError,
    RenegotiationError,
    ServerIdentityError,
    StateError,
    StreamDestroyed,
    TLSError,
    VerificationError,
    WeakParametersError,
    WireError,
    WriteAfterEnd,
)
from .identity import check_server_identity
from .phases import Phase
from .psk import PSK
from .secure_pair import SecurePair, create_secure_pair
from .security_warning import SecurityWarning
from .server import Server, create_server
from .socket_info import Address, DropInfo
from .switches import take_environment
from .tickets import TicketKeyRing
from .tls_socket import TLSSocket
from .wires.stream import Duplex

__version__ = "0.1.0"

root_certificates: tuple[str, ...]
"""The CA certificates of Mozilla, each a PEM text; see `get_ca_certificates`."""


def __getattr__(name: str) -> tuple[str, ...]:
    if name == "root_certificates":
        return certificate_authorities.root_certificates
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Here, where OpenSSL can check a cipher list.
take_environment()

__all__ = [
    "PSK",
    "Address",
    "AlertReceived",
    "Ask",
    "Cipher",
    "ConnectError",
    "ConnectTimeout",
    "Connection",
    "ConnectionLost",
    "ConnectionRefused",
    "ConnectionSettings",
    "DropInfo",
    "Duplex",
    "EphemeralKeyInfo",
    "HandshakeTimeout",
    "OptionError",
    "OptionTypeError",
    "PeerCertificate",
    "PeerError",
    "Phase",
    "ProtocolError",
    "RenegotiationError",
    "SecureContext",
    "SecurePair",
    "SecurityWarning",
    "Server",
    "ServerIdentityError",
    "StateError",
    "StreamDestroyed",
    "TLSError",
    "TLSSocket",
    "TicketKeyRing",
    "VerificationError",
    "WeakParametersError",
    "WireError",
    "WriteAfterEnd",
    "__version__",
    "check_server_identity",
    "connect",
    "constants",
    "create_secure_context",
    "create_secure_pair",
    "create_server",
    "defaults",
    "get_ca_certificates",
    "get_certificate_compression_algorithms",
    "get_ciphers",
    "openssl_version",
    "root_certificates",
    "set_default_ca_certificates",
]
