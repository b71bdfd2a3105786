"""TLS for asyncio, on OpenSSL.

The public names, in the order of the documentation.  `connect` and `create_server` are where to begin.
"""

from . import constants
from ._native import OPENSSL_VERSION as openssl_version
from .certificate import PeerCertificate
from .ciphers import get_ciphers
from .client import connect
from .connection import Cipher, Connection, ConnectionSettings, EphemeralKeyInfo
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
from .server import Server, create_server
from .socket_info import Address
from .tls_socket import TLSSocket
from .wires.stream import Duplex

__version__ = "0.1.0"

__all__ = [
    "Address",
    "AlertReceived",
    "Cipher",
    "ConnectError",
    "ConnectTimeout",
    "Connection",
    "ConnectionLost",
    "ConnectionRefused",
    "ConnectionSettings",
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
    "Server",
    "ServerIdentityError",
    "StateError",
    "StreamDestroyed",
    "TLSError",
    "TLSSocket",
    "VerificationError",
    "WeakParametersError",
    "WireError",
    "WriteAfterEnd",
    "__version__",
    "check_server_identity",
    "connect",
    "constants",
    "create_secure_context",
    "create_server",
    "defaults",
    "get_ciphers",
    "openssl_version",
]
