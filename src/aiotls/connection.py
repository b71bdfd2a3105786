"""A whole TLS connection without I/O.

Ciphertext goes in by `feed` and out by `drain`; in between, `advance` lets the connection do what it can and reports it
as notices.  Wires drive it, and programs that bring their own I/O can do the same::

    connection = Connection(settings, hostname="example.com")
    while connection.phase in (Phase.HANDSHAKE, Phase.ASKING):
        connection.advance()
        if connection.question is not None:
            connection.answer(connection.check_identity())
            continue
        transmit(connection.drain())
        if connection.phase is Phase.HANDSHAKE:
            connection.feed(receive())

A connection has a phase and at most one question; everything else about its state follows from them.
"""

from dataclasses import dataclass
from typing import Any, Self

from . import _native, notices
from .certificate import PeerCertificate
from .context import SecureContext
from .errors import ServerIdentityError, from_failure, verification_code
from .identity import check_server_identity, match_names
from .phases import Phase, move
from .questions import VerifyQuestion

Notice = tuple[int, object]
Data = bytes | bytearray | memoryview

READ_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Cipher:
    """A negotiated cipher suite."""

    name: str
    """OpenSSL's name, such as ``"ECDHE-RSA-AES128-GCM-SHA256"``."""
    standard_name: str
    """The name in the RFCs, such as ``"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"``."""
    version: str
    """The protocol version that brought the suite, such as ``"TLSv1.2"``."""


@dataclass(frozen=True, slots=True)
class EphemeralKeyInfo:
    """The ephemeral key of a key exchange."""

    type: str
    """``"ECDH"``, ``"DH"``, or ``"KEM"`` for a hybrid or post-quantum group."""
    name: str
    """The group, such as ``"X25519"`` or ``"X25519MLKEM768"``."""
    size: int | None
    """The size of the key in bits; None where it says nothing, as for a hybrid group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What connections of one kind start with; made once, used for any number of them."""

    context: SecureContext
    server: bool
    request_cert: bool = False
    reject_unauthorized: bool = True
    alpn: bytes = b""
    """Protocols in their wire form, most wanted first."""
    keylog: bool = False

    def native(self) -> _native.Settings:
        """The same for the core."""
        asks = 0 if self.server else _native.ASK_VERIFY
        return _native.Settings(
            self.context._native,
            server=self.server,
            asks=asks | (_native.ASK_KEYLOG if self.keylog else 0),
            request_cert=self.request_cert,
            reject_unauthorized=self.reject_unauthorized,
            alpn=self.alpn,
        )


class Connection:
    """One TLS connection, client or server.

    Args:
        settings: What it starts with.
        servername: A client's server name indication; None sends none.
        hostname: The name or address that a client verifies the server's certificate for.
    """

    __slots__ = ("_refusal", "engine", "hostname", "peer_ended", "phase", "settings")

    def __init__(self, settings: ConnectionSettings, *, servername: str | None = None, hostname: str = "") -> None:
        self._begin(_native.Engine(settings.native(), servername), settings, hostname)

    @classmethod
    def adopt(cls, engine: _native.Engine, settings: ConnectionSettings) -> Self:
        """A server's connection whose engine a reactor has made."""
        connection = cls.__new__(cls)
        connection._begin(engine, settings, "")
        return connection

    def _begin(self, engine: _native.Engine, settings: ConnectionSettings, hostname: str) -> None:
        self.engine = engine
        self.settings = settings
        self.hostname = hostname
        self.phase = Phase.HANDSHAKE
        self.peer_ended = False
        """The peer's close_notify, or the end of its stream, has come."""
        self._refusal: Exception | None = None

    # ---- ciphertext

    def feed(self, data: Data) -> None:
        """Takes ciphertext from the peer."""
        self.engine.feed(data)

    def feed_eof(self) -> None:
        """The peer's stream of ciphertext has ended."""
        self.engine.feed_eof()

    def drain(self) -> bytes:
        """Ciphertext for the peer; empty when there is none.  Also after a failure: it is the alert."""
        return self.engine.drain()

    # ---- progress

    def advance(self, limit: int = READ_LIMIT) -> list[Notice]:
        """Does what can be done with what was fed.

        Args:
            limit: The most bytes of application data to take.

        Returns:
            What happened: ``(NOTICE_..., payload)``, in order.  Each has been noted in `phase`.
        """
        found: list[Notice] = []
        if self.phase is Phase.HANDSHAKE:
            self._shake_hands(found)
        if self.phase is Phase.OPEN or (self.phase is Phase.ENDING and not self.peer_ended):
            self._read(found, limit)
        return found

    def _shake_hands(self, found: list[Notice]) -> None:
        status = self.engine.handshake()
        if self.settings.keylog and (news := self.engine.news()):
            found.append((notices.NEWS, news))
        if status == _native.DONE:
            self._report(found, notices.SECURE, None)
        elif status == _native.ASKING:
            self._report(found, notices.ASKING, None)
        elif status == _native.FAILED:
            self._report(found, notices.FAILED, self.engine.failure)

    def _read(self, found: list[Notice], limit: int) -> None:
        taken = 0
        while taken < limit:
            result = self.engine.read(limit - taken)
            if isinstance(result, bytes):
                taken += len(result)
                found.append((notices.DATA, result))
                continue
            if result == _native.ENDED:
                self._report(found, notices.ENDED, self.engine.truncated)
            elif result == _native.FAILED:
                self._report(found, notices.FAILED, self.engine.failure)
            return

    def _report(self, found: list[Notice], kind: int, payload: object) -> None:
        self.note(kind)
        found.append((kind, payload))

    def note(self, kind: int) -> None:
        """Moves on to the phase that follows from a notice."""
        if kind == notices.ENDED:
            self.peer_ended = True
        target = _PHASES.get(kind)
        if target is Phase.OPEN and self.phase is Phase.ENDING:
            # Our close_notify followed the handshake at once.
            return
        if target is not None and target is not self.phase and self.phase is not Phase.CLOSED:
            self.phase = move(self.phase, target)

    # ---- what the application does

    def write(self, data: Data) -> bool:
        """Encrypts application data; answers whether that went well."""
        return self.engine.write(data) == _native.DONE

    def shutdown(self) -> None:
        """Adds our close_notify, after which nothing may be written."""
        if self.phase is Phase.OPEN:
            self.phase = move(self.phase, Phase.ENDING)
        self.engine.shutdown()

    def close(self) -> None:
        """Forgets the connection; what `drain` has is still the peer's."""
        self.phase = Phase.CLOSED

    # ---- questions

    @property
    def question(self) -> VerifyQuestion[PeerCertificate] | None:
        """What the handshake waits for."""
        if self.phase is not Phase.ASKING:
            return None
        return VerifyQuestion(self.hostname, self.peer_certificate())

    def check_identity(self) -> ServerIdentityError | None:
        """The standard answer to the question, without building the certificate when all is well."""
        names = self.engine.peer_names()
        if names is not None and match_names(self.hostname, names):
            return None
        try:
            check_server_identity(self.hostname, self.peer_certificate())
        except ServerIdentityError as error:
            return error
        return None

    def answer(self, refusal: Exception | None) -> None:
        """Answers the question: None accepts, an exception refuses.

        Where unauthorized peers are not rejected, a refusal is only remembered: see `authorization_error`.
        """
        if self.phase is not Phase.ASKING:
            return
        self._refusal = refusal
        self.phase = move(self.phase, Phase.HANDSHAKE)
        self.engine.answer(refusal is None or not self.settings.reject_unauthorized)

    def error(self, failure: object, **details: Any) -> Exception:
        """The exception for the failure of a NOTICE_FAILED; `details` are those of `from_failure`."""
        assert isinstance(failure, _native.Failure)
        return from_failure(failure, server=self.settings.server, refusal=self._refusal, **details)

    # ---- what was negotiated

    @property
    def authorized(self) -> bool:
        """Whether the peer proved who it is."""
        if self.settings.server and not self.settings.request_cert:
            return False
        return self.authorization_error is None

    @property
    def authorization_error(self) -> str | None:
        """Why the peer is not authorized: a code, such as ``"CERT_HAS_EXPIRED"``."""
        engine = self.engine
        if self.settings.server and not self.settings.request_cert:
            return None
        if engine.peer_certificate() is None:
            # A client that showed none, or a server with an anonymous suite.
            return "UNABLE_TO_GET_ISSUER_CERT"
        result = engine.verify_result()
        if result:
            return verification_code(result)
        if self._refusal is None:
            return None
        return str(getattr(self._refusal, "code", ServerIdentityError.default_code))

    @property
    def alpn_protocol(self) -> str | None:
        protocol = self.engine.alpn()
        return None if protocol is None else protocol.decode("latin-1")

    @property
    def cipher(self) -> Cipher | None:
        names = self.engine.cipher()
        return None if names is None else Cipher(*names)

    @property
    def ephemeral_key_info(self) -> EphemeralKeyInfo | None:
        group = self.engine.group()
        return None if group is None else _ephemeral_key(group)

    def peer_certificate(self, detailed: bool = True) -> PeerCertificate:
        """The peer's certificate, `detailed` with the chain that was verified or sent; empty without one."""
        chain = self.engine.peer_chain()
        return PeerCertificate.from_chain(chain if detailed else chain[:1])

    def certificate(self) -> PeerCertificate:
        """Our own certificate; empty without one."""
        own = self.engine.certificate()
        return PeerCertificate.from_chain([] if own is None else [own])


def _ephemeral_key(group: str) -> EphemeralKeyInfo:
    name, size = _GROUPS.get(group.lower(), (group, None))
    if "mlkem" in name.lower():
        return EphemeralKeyInfo("KEM", name, size)
    if name.startswith("ffdhe"):
        return EphemeralKeyInfo("DH", name, int(name.removeprefix("ffdhe")))
    return EphemeralKeyInfo("ECDH", name, size)


# The names that certificates use for the same curves, and the sizes of their keys in bits.
_GROUPS = {
    "secp256r1": ("prime256v1", 256),
    "secp384r1": ("secp384r1", 384),
    "secp521r1": ("secp521r1", 521),
    "x25519": ("X25519", 253),
    "x448": ("X448", 448),
}

_PHASES = {
    notices.ASKING: Phase.ASKING,
    notices.SECURE: Phase.OPEN,
    notices.ENDED: Phase.ENDING,
    notices.FINISHED: Phase.ENDING,
    notices.FAILED: Phase.FAILED,
}
