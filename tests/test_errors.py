"""The tree of errors: classes, codes, words, and how failures of the core become them."""

import errno
import inspect
import pickle
import re
import ssl
from dataclasses import dataclass
from typing import Any

import pytest

from aiotls import errors
from aiotls.errors import (
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
    from_failure,
    option_failure,
    verification_code,
    verification_error,
)


@dataclass
class Failure:
    """What the core reports, without a connection that fails."""

    kind: str = "openssl"
    library: str | None = "SSL routines"
    reason: str | None = None
    code: str | None = None
    stack: tuple[str, ...] = ()
    alert_received: int | None = None
    verify_result: int = 0
    errno: int | None = None


BUILT_IN_BASES: list[tuple[type[TLSError], type[Exception]]] = [
    (TLSError, ssl.SSLError),
    (OptionError, ValueError),
    (OptionTypeError, TypeError),
    (StateError, RuntimeError),
    (PeerError, ConnectionError),
    (VerificationError, ssl.SSLCertVerificationError),
    (WireError, ConnectionError),
    (ConnectionRefused, ConnectionRefusedError),
    (ConnectTimeout, TimeoutError),
    (ConnectionLost, ConnectionResetError),
    (HandshakeTimeout, TimeoutError),
]


@pytest.mark.parametrize(("kind", "base"), BUILT_IN_BASES)
def test_existing_except_clauses_catch_it(kind: type[TLSError], base: type[Exception]) -> None:
    assert issubclass(kind, base)
    assert issubclass(kind, TLSError)


def test_the_drawn_tree_is_the_real_one() -> None:
    lines = re.findall(r"^([ │├└─]*)(\w+)", inspect.getdoc(errors) or "", re.MULTILINE)
    drawn: dict[str, str | None] = {}
    path: list[str] = []
    for indent, name in lines:
        if isinstance(getattr(errors, name, None), type):
            depth = max(len(indent) // 4 - 1, 0)
            path = [*path[:depth], name]
            drawn[name] = path[-2] if depth else None
    real = {
        name: next((base.__name__ for base in kind.__bases__ if issubclass(base, TLSError)), None)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, TLSError)
    }
    assert drawn == real


def test_text_has_code_message_and_next_step() -> None:
    error = verification_error(10)
    assert str(error).startswith("[CERT_HAS_EXPIRED] certificate has expired (")
    assert "clock" in str(error)
    assert error.message == "certificate has expired"
    assert repr(error) == "VerificationError('certificate has expired', code='CERT_HAS_EXPIRED')"


def test_without_a_hint_there_is_no_bracket() -> None:
    assert str(StateError("not now")) == "[ERR_TLS_INVALID_STATE] not now"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OptionError("x"), "ERR_INVALID_ARG_VALUE"),
        (OptionTypeError("x"), "ERR_INVALID_ARG_TYPE"),
        (StateError("x"), "ERR_TLS_INVALID_STATE"),
        (WriteAfterEnd(), "ERR_STREAM_WRITE_AFTER_END"),
        (StreamDestroyed(), "ERR_STREAM_DESTROYED"),
        (ConnectionLost("x"), "ECONNRESET"),
        (ConnectionLost.truncated(), "ERR_TLS_TRUNCATED"),
        (HandshakeTimeout(), "ERR_TLS_HANDSHAKE_TIMEOUT"),
        (ServerIdentityError("r", "h", None), "ERR_TLS_CERT_ALTNAME_INVALID"),
    ],
)
def test_usual_code_of_a_class(error: TLSError, code: str) -> None:
    assert error.code == code
    assert error.openssl_error_stack == ()
    assert error.alert is None


@pytest.mark.parametrize(
    "error",
    [
        OptionError("no", option="ciphers", code="ERR_X", openssl_error_stack=["a", "b"]),
        ServerIdentityError("reason", "host.example", {"subject": {"CN": "x"}}),
        ConnectError("m", code="ENOENT", errno=errno.ENOENT, syscall="connect", address="/x", path="/x"),
        verification_error(20, library="SSL routines"),
        WriteAfterEnd(),
        HandshakeTimeout(),
    ],
)
def test_pickle_keeps_everything(error: TLSError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
    assert copy.errno == error.errno


def test_identity_error_tells_what_was_asked_and_what_was_found() -> None:
    certificate = {"subject": {"CN": "other"}}
    error = ServerIdentityError("Host: a. is not cert's CN: other", "a", certificate)
    assert error.message == "Hostname/IP does not match certificate's altnames: Host: a. is not cert's CN: other"
    assert (error.reason, error.host, error.certificate) == ("Host: a. is not cert's CN: other", "a", certificate)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (2, "UNABLE_TO_GET_ISSUER_CERT"),
        (10, "CERT_HAS_EXPIRED"),
        (18, "DEPTH_ZERO_SELF_SIGNED_CERT"),
        (19, "SELF_SIGNED_CERT_IN_CHAIN"),
        (20, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"),
        (21, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        (23, "CERT_REVOKED"),
        (94, "EC_KEY_EXPLICIT_PARAMS"),
        (9999, "UNSPECIFIED"),
    ],
)
def test_verification_code(number: int, code: str) -> None:
    assert verification_code(number) == code
    error = from_failure(Failure(kind="verify", verify_result=number), server=False)
    assert isinstance(error, VerificationError)
    assert (error.code, error.verify_code) == (code, number)


def test_an_alert_of_the_peer() -> None:
    failure = Failure(reason="tlsv1 alert unknown ca", code="ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", alert_received=48)
    error = from_failure(failure, server=True)
    assert isinstance(error, AlertReceived)
    assert (error.alert, error.code, error.library) == (48, "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "SSL routines")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ERR_SSL_WRONG_VERSION_NUMBER", ProtocolError),
        ("ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE", VerificationError),
        ("ERR_SSL_DH_KEY_TOO_SMALL", WeakParametersError),
        ("ERR_SSL_NO_RENEGOTIATION", RenegotiationError),
        (None, ProtocolError),
    ],
)
def test_openssl_errors_by_code(code: str | None, kind: type[TLSError]) -> None:
    error = from_failure(Failure(reason="why", code=code, stack=("one", "two")), server=False)
    assert type(error) is kind
    assert isinstance(error, TLSError)
    assert error.reason == "why"
    assert error.openssl_error_stack == ("one", "two")
    assert code in (None, error.code)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (True, "socket hang up"),
        (False, "Client network socket disconnected before secure TLS connection was established"),
    ],
)
def test_a_hang_up(server: bool, words: str) -> None:
    error = from_failure(Failure(kind="eof"), server=server, port=4433, local_address="127.0.0.1")
    assert isinstance(error, ConnectionLost)
    assert (error.code, error.message, error.errno) == ("ECONNRESET", words, errno.ECONNRESET)
    assert (error.port, error.local_address, error.host, error.path) == (4433, "127.0.0.1", None, None)


def test_a_slow_handshake() -> None:
    error = from_failure(Failure(kind="timeout"), server=True)
    assert isinstance(error, HandshakeTimeout)
    assert error.code == "ERR_TLS_HANDSHAKE_TIMEOUT"


def test_a_system_error() -> None:
    error = from_failure(Failure(kind="system", errno=errno.EPIPE), server=True)
    assert isinstance(error, ConnectionLost)
    assert (error.code, error.errno) == ("EPIPE", errno.EPIPE)


def test_a_refusal_passes_unchanged() -> None:
    refusal = LookupError("mine")
    assert from_failure(Failure(kind="refused"), server=False, refusal=refusal) is refusal


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ECONNREFUSED, ConnectionRefused, "ECONNREFUSED"),
        (errno.ETIMEDOUT, ConnectTimeout, "ETIMEDOUT"),
        (errno.ENOENT, ConnectError, "ENOENT"),
    ],
)
def test_errors_of_connecting(number: int, kind: type[ConnectError], code: str) -> None:
    where: dict[str, Any] = {"syscall": "connect", "address": "127.0.0.1", "port": 1}
    error = ConnectError.from_os_error(OSError(number, "text"), **where)
    assert type(error) is kind
    assert (error.code, error.errno) == (code, number)
    assert (error.syscall, error.address, error.port, error.host) == ("connect", "127.0.0.1", 1, None)
    assert error.message == f"connect {code} 127.0.0.1:1"


def test_a_failing_option() -> None:
    failure = Failure(library="x509", reason="key values mismatch", code="ERR_OSSL_X509_KEY_VALUES_MISMATCH")
    error = option_failure(failure, "key[1]")
    assert (error.option, error.code, error.reason) == ("key[1]", failure.code, failure.reason)
    assert error.message == "key[1]: key values mismatch"
