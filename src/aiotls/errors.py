"""Every exception of aiotls.  The class says whose fault it is, `code` says what it is.

::

    TLSError (ssl.SSLError)                     .code .library .reason .alert .openssl_error_stack
    ├── OptionError (ValueError)                you, before anything ran: .option
    │   └── OptionTypeError (TypeError)
    ├── StateError (RuntimeError)               you, at the wrong moment
    │   ├── WriteAfterEnd
    │   └── StreamDestroyed
    ├── PeerError (ConnectionError)             the peer
    │   ├── ProtocolError                       it broke the protocol, or there is nothing in common
    │   ├── AlertReceived                       it refused us: .alert
    │   ├── WeakParametersError                 what it offers is too weak
    │   ├── RenegotiationError                  it renegotiates, or refuses to
    │   └── VerificationError (ssl.SSLCertVerificationError)
    │       └── ServerIdentityError             a good certificate of somebody else: .reason .host .certificate
    └── WireError (ConnectionError)             the path: .syscall .address .port .host .path .local_address
        ├── ConnectError                        there was no way to the peer
        │   ├── ConnectionRefused (ConnectionRefusedError)
        │   └── ConnectTimeout (TimeoutError)
        ├── ConnectionLost (ConnectionResetError)
        └── HandshakeTimeout (TimeoutError)

An exception that a user's function raises passes through unchanged.
"""

import errno as errno_numbers
import ssl
from collections.abc import Iterable
from typing import Any, Protocol, Self

from .verify_codes import VERIFY_CODES, VERIFY_MESSAGES


class TLSError(ssl.SSLError):
    """The base of all errors of aiotls.

    ``str()`` gives ``[code] message``, with the next step behind it where there is a usual one.

    Args:
        message: What happened, for people.
        code: What happened, for programs: a stable name such as ``ERR_SSL_WRONG_VERSION_NUMBER`` or ``ECONNRESET``.
            Left empty, it is the usual code of the class.
        library: OpenSSL's library, such as ``"SSL routines"``; None when OpenSSL is not the source.
        reason: OpenSSL's reason, such as ``"wrong version number"``.
        alert: The number of the TLS alert that the peer sent (RFC 8446, section 6).
        openssl_error_stack: The further entries of OpenSSL's error queue.
        errno: The number of the system error.
        hint: What usually helps.

    Source: ERR_get_error(3); Python, ssl.SSLError.
    """

    default_code = "ERR_TLS"
    """The `code` of an error that was given none."""

    code: str
    """What happened, for programs."""
    library: str | None  # type: ignore[assignment]
    """OpenSSL's library, such as ``"SSL routines"``."""
    reason: str | None  # type: ignore[assignment]
    """OpenSSL's reason, such as ``"wrong version number"``."""
    message: str
    """What happened, for people, without the code and the hint."""
    hint: str | None
    """What usually helps."""
    alert: int | None
    """The number of the TLS alert that the peer sent."""
    openssl_error_stack: tuple[str, ...]
    """The further entries of OpenSSL's error queue."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        library: str | None = None,
        reason: str | None = None,
        alert: int | None = None,
        openssl_error_stack: Iterable[str] = (),
        errno: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(errno, message)
        self.message = message
        self.code = code or self.default_code
        self.library = library
        self.reason = reason
        self.alert = alert
        self.openssl_error_stack = tuple(openssl_error_stack)
        self.hint = hint or HINTS.get(self.code)

    def __str__(self) -> str:
        text = f"[{self.code}] {self.message}"
        return f"{text} ({self.hint})" if self.hint else text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, code={self.code!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.errno, self.message, self.__dict__.copy())


class OptionError(TLSError, ValueError):
    """An option or argument has a value that cannot work; nothing has been done yet.

    Args:
        message: What is wrong; it names the option.
        option: The name of the option.
    """

    default_code = "ERR_INVALID_ARG_VALUE"
    option: str | None
    """The name of the option at fault."""

    def __init__(self, message: str, *, option: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.option = option


class OptionTypeError(OptionError, TypeError):
    """An option or argument has the wrong type, does not exist, or may not stand beside another."""

    default_code = "ERR_INVALID_ARG_TYPE"


class StateError(TLSError, RuntimeError):
    """What was asked is not possible now."""

    default_code = "ERR_TLS_INVALID_STATE"


class WriteAfterEnd(StateError):
    """Data was written after `end`."""

    default_code = "ERR_STREAM_WRITE_AFTER_END"

    def __init__(self, message: str = "write after end", **details: Any) -> None:
        super().__init__(message, **details)


class StreamDestroyed(StateError):
    """The stream was used after it was destroyed."""

    default_code = "ERR_STREAM_DESTROYED"

    def __init__(self, message: str = "the stream was destroyed", **details: Any) -> None:
        super().__init__(message, **details)


class PeerError(TLSError, ConnectionError):
    """The peer did something that ends the connection."""


class ProtocolError(PeerError):
    """The peer does not speak TLS as it should, or has nothing in common with us."""

    default_code = "ERR_SSL_PROTOCOL_ERROR"


class AlertReceived(PeerError):
    """The peer ended the connection with an alert; its number is in `alert`."""

    default_code = "ERR_SSL_ALERT"


class WeakParametersError(PeerError):
    """A key or group of the peer is too small for our security level."""

    default_code = "ERR_TLS_DH_PARAM_SIZE"


class RenegotiationError(PeerError):
    """The peer renegotiates more often than it may, or does not want to."""

    default_code = "ERR_TLS_RENEGOTIATION_DISABLED"


class VerificationError(PeerError, ssl.SSLCertVerificationError):
    """The certificate of the peer was refused, or it has none.

    `code` is OpenSSL's name without ``X509_V_ERR_``, such as ``CERT_HAS_EXPIRED``; `verify_code` is its number.
    """

    default_code = "UNSPECIFIED"

    def __init__(self, message: str, *, verify_code: int = 0, **details: Any) -> None:
        super().__init__(message, **details)
        self.verify_code = verify_code
        """OpenSSL's number of the verification result."""
        self.verify_message = message
        """The same as `message`."""


class ServerIdentityError(VerificationError):
    """The certificate is not made for the name that was asked for (RFC 9525).

    Args:
        reason: Which names the certificate has instead.
        host: The name or address that was asked for.
        certificate: The certificate, as it was given to the check.
        message: What happened; by default made of the reason.

    Source: RFC 9525, section 6.
    """

    default_code = "ERR_TLS_CERT_ALTNAME_INVALID"
    host: str
    """The name or address that was asked for."""
    certificate: Any
    """The certificate, as it was given to the check."""

    def __init__(self, reason: str, host: str, certificate: Any, *, message: str = "", **details: Any) -> None:
        details.setdefault("verify_code", 62)
        message = message or f"Hostname/IP does not match certificate's altnames: {reason}"
        super().__init__(message, reason=reason, **details)
        self.host = host
        self.certificate = certificate


class WireError(TLSError, ConnectionError):
    """The path to the peer failed; the attributes tell where it led, as far as they apply.

    Args:
        message: What happened.
        syscall: ``"connect"``, ``"bind"`` or ``"getaddrinfo"``.
        address: The address, or the path of a Unix socket, that was tried.
        port: The port that was tried.
        host: The host name that was asked for.
        path: The path of a Unix socket that was asked for.
        local_address: The own address that was asked for.

    Source: connect(2), bind(2), getaddrinfo(3).
    """

    default_code = "ECONNRESET"
    syscall: str | None
    """What failed, such as ``"connect"``."""
    address: str | None
    """The address, or the path of a Unix socket, that was tried."""
    port: int | None
    """The port that was tried."""
    host: str | None
    """The host name that was asked for."""
    path: str | None
    """The path of a Unix socket that was asked for."""
    local_address: str | None
    """The own address that was asked for."""

    def __init__(
        self,
        message: str,
        *,
        syscall: str | None = None,
        address: str | None = None,
        port: int | None = None,
        host: str | None = None,
        path: str | None = None,
        local_address: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.syscall = syscall
        self.address = address
        self.port = port
        self.host = host
        self.path = path
        self.local_address = local_address


class ConnectError(WireError):
    """No connection could be made."""

    default_code = "ECONNREFUSED"

    @classmethod
    def from_os_error(cls, error: OSError, **where: Any) -> "ConnectError":
        """Gives a system error its class and code.

        Args:
            error: The system error.
            where: The attributes of `WireError`.

        Returns:
            The error, of the class that fits.
        """
        number = error.errno or errno_numbers.ECONNREFUSED
        target = where.get("address") or where.get("path") or where.get("host") or ""
        port = where.get("port")
        place = f"{target}:{port}" if port is not None else target
        code = errno_name(number)
        message = f"{where.get('syscall') or 'connect'} {code} {place}".rstrip()
        return _CONNECT_CLASSES.get(code, cls)(message, code=code, errno=number, **where)


class ConnectionRefused(ConnectError, ConnectionRefusedError):
    """Nobody listens there."""


class ConnectTimeout(ConnectError, TimeoutError):
    """Nobody answered in time."""

    default_code = "ETIMEDOUT"


class ConnectionLost(WireError, ConnectionResetError):
    """The connection broke; also a stream that ended without close_notify where one is required."""

    @classmethod
    def from_os_error(cls, error: OSError, **where: Any) -> Self:
        """Gives a system `error` its code; `where` are the attributes of `WireError`."""
        code = errno_name(error.errno) if error.errno else cls.default_code
        return cls(str(error) or code, code=code, errno=error.errno, **where)

    @classmethod
    def truncated(cls) -> Self:
        """Makes the error for a stream that ended without close_notify (RFC 8446, section 6.1)."""
        return cls("The peer closed the connection without close_notify; data may be missing", code="ERR_TLS_TRUNCATED")


class HandshakeTimeout(WireError, TimeoutError):
    """The handshake took longer than `handshake_timeout`."""

    default_code = "ERR_TLS_HANDSHAKE_TIMEOUT"

    def __init__(self, message: str = "TLS handshake timeout", **details: Any) -> None:
        super().__init__(message, **details)


class Failure(Protocol):
    """A failure as the compiled core reports it."""

    @property
    def kind(self) -> str: ...
    @property
    def library(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def code(self) -> str | None: ...
    @property
    def stack(self) -> tuple[str, ...]: ...
    @property
    def alert_received(self) -> int | None: ...
    @property
    def verify_result(self) -> int: ...
    @property
    def errno(self) -> int | None: ...


def from_failure(
    failure: Failure, *, server: bool, handshaking: bool = False, refusal: Exception | None = None, **where: Any
) -> Exception:
    """Turns a failed connection into the exception that its user sees.

    Args:
        failure: What the core reports.
        server: Whether this side is the server.
        handshaking: Whether the handshake was not done: then a reset and a hang-up are told in the same words.
        refusal: What the user's function raised; it stands for a refused answer, unchanged.
        where: ``syscall``, ``address``, ``port``, ``host``, ``path``, ``local_address`` of a connection that was lost.
    """
    if failure.kind == "refused" and refusal is not None:
        return refusal
    if failure.kind == "eof" or (handshaking and failure.errno in _HANG_UPS):
        message = SERVER_HANG_UP if server else CLIENT_HANG_UP
        return ConnectionLost(message, errno=errno_numbers.ECONNRESET, **where)
    if failure.kind == "timeout":
        return HandshakeTimeout(**where)
    if failure.kind == "system":
        code = errno_name(failure.errno)
        return ConnectionLost(f"The connection was lost: {code}", code=code, errno=failure.errno, **where)
    if failure.kind == "verify":
        return verification_error(failure.verify_result, library=failure.library, reason=failure.reason)
    return _openssl_error(failure)


def verification_error(verify_result: int, **details: Any) -> VerificationError:
    """The error for a number of OpenSSL's certificate verification (``X509_V_ERR_*``)."""
    code = verification_code(verify_result)
    message = VERIFY_MESSAGES.get(code) or code.lower().replace("_", " ")
    return VerificationError(message, code=code, verify_code=verify_result, **details)


def verification_code(verify_result: int) -> str:
    """OpenSSL's name of a verification result, without ``X509_V_ERR_``."""
    return VERIFY_CODES.get(verify_result, "UNSPECIFIED")


def option_failure(failure: Failure, option: str, message: str = "", code: str = "") -> OptionError:
    """The error for an option that OpenSSL does not take.

    Args:
        failure: What OpenSSL says.
        option: The option at fault.
        message: Words that say more than OpenSSL's reason.
        code: A code to use instead of OpenSSL's.
    """
    return OptionError(
        f"{option}: {message or failure.reason or 'OpenSSL does not take it'}",
        option=option,
        code=code or failure.code or "ERR_CRYPTO_OPERATION_FAILED",
        library=failure.library,
        reason=failure.reason,
        openssl_error_stack=failure.stack,
    )


def presentable(error: BaseException) -> Exception:
    """What may stand for an exception of a user's function, wherever it is raised later.

    What ends a coroutine, a generator or a program, such as a cancellation, may not do that somewhere else.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    stand_in = StateError(f"a function ended with {type(error).__name__} instead of an answer")
    stand_in.__cause__ = error
    return stand_in


def errno_name(number: int | None) -> str:
    """The name of a system error number, such as ``"ECONNRESET"``."""
    return errno_numbers.errorcode.get(number or 0, "UNKNOWN")


def _openssl_error(failure: Failure) -> TLSError:
    code = failure.code or ProtocolError.default_code
    other = ProtocolError if failure.alert_received is None else AlertReceived
    kind: type[TLSError] = _OPENSSL_CLASSES.get(code, other)
    return kind(
        failure.reason or "the TLS connection failed",
        code=code,
        library=failure.library,
        reason=failure.reason,
        alert=failure.alert_received,
        openssl_error_stack=failure.stack,
    )


def _restore(kind: type[TLSError], errno: int | None, message: str, attributes: dict[str, Any]) -> TLSError:
    error = kind.__new__(kind)
    TLSError.__init__(error, message, errno=errno)
    error.__dict__.update(attributes)
    return error


CLIENT_HANG_UP = "Client network socket disconnected before secure TLS connection was established"
SERVER_HANG_UP = "socket hang up"

_HANG_UPS = {errno_numbers.ECONNRESET, errno_numbers.EPIPE}

_CONNECT_CLASSES: dict[str, type[ConnectError]] = {"ECONNREFUSED": ConnectionRefused, "ETIMEDOUT": ConnectTimeout}

_OPENSSL_CLASSES: dict[str, type[PeerError]] = {
    "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE": VerificationError,
    "ERR_SSL_CERTIFICATE_VERIFY_FAILED": VerificationError,
    "ERR_SSL_DH_KEY_TOO_SMALL": WeakParametersError,
    "ERR_TLS_DH_PARAM_SIZE": WeakParametersError,
    "ERR_SSL_NO_RENEGOTIATION": RenegotiationError,
    "ERR_TLS_RENEGOTIATION_DISABLED": RenegotiationError,
    "ERR_TLS_SESSION_ATTACK": RenegotiationError,
}

HINTS = {
    "CERT_HAS_EXPIRED": "the peer has to renew its certificate, or this machine's clock is wrong",
    "CERT_NOT_YET_VALID": "the certificate is not valid yet, or this machine's clock is wrong",
    "DEPTH_ZERO_SELF_SIGNED_CERT": "give this very certificate as ca to trust it",
    "SELF_SIGNED_CERT_IN_CHAIN": "the root certificate is not trusted here: give it as ca",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY": "the issuer is not trusted here: give its certificate as ca",
    "UNABLE_TO_GET_ISSUER_CERT": "the chain ends below a root: give the root as ca, or allow_partial_trust_chain",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE": "the issuer is unknown: give it as ca, or have the peer send its intermediates",
    "ERR_TLS_CERT_ALTNAME_INVALID": "ask for a name that the certificate has, with host or servername",
    "ERR_SSL_WRONG_VERSION_NUMBER": "the peer does not speak TLS on this port, or only another version",
    "ERR_SSL_HTTP_REQUEST": "the peer sent a plain HTTP request",
    "ERR_SSL_NO_SHARED_CIPHER": "the two sides share no cipher, or the server has no certificate for one",
    "ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM": "the server has no key and cert, or none that the client can verify",
    "ERR_SSL_UNSUPPORTED_PROTOCOL": "the two sides share no protocol version: see min_version and max_version",
    "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION": "the peer accepts no protocol version that was offered",
    "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA": "the peer does not trust the issuer of our certificate",
    "ERR_SSL_NO_APPLICATION_PROTOCOL": "none of the offered alpn_protocols is known here",
    "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the peer knows none of the offered alpn_protocols",
    "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has to give cert and key",
    "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server asks for a certificate: give cert and key",
    "ERR_SSL_EE_KEY_TOO_SMALL": "the key is too small for the security level; '@SECLEVEL=n' in ciphers sets it",
}
