"""A whole TLS connection without I/O.

Ciphertext goes in by `feed` and out by `drain`; in between, `advance` lets the connection do what it can and reports it
as notices.  Wires drive it, and programs that bring their own I/O can do the same::

    connection = Connection(settings, hostname="example.com")
    while connection.phase in (Phase.HANDSHAKE, Phase.ASKING):
        connection.advance()
        if connection.question is not None:  # a client is asked for the server's identity
            connection.answer(connection.check_identity())
            continue
        transmit(connection.drain())
        if connection.phase is Phase.HANDSHAKE:
            connection.feed(receive())

A connection has a phase and at most one question; everything else about its state follows from them.
"""

from collections.abc import Callable
from typing import Any, Self

from . import _native, notices
from .alpn import from_wire
from .certificate import PeerCertificate
from .cipher import Cipher, EphemeralKeyInfo, ephemeral_key
from .connection_settings import Ask, ConnectionSettings
from .context import SecureContext
from .errors import (
    OptionError,
    ServerIdentityError,
    StateError,
    from_failure,
    option_failure,
    verification_code,
)
from .identity import check_server_identity, match_names, plain_name
from .phases import Phase, move
from .questions import (
    CertificateQuestion,
    ClientQuestion,
    HelloQuestion,
    Question,
    SessionQuestion,
    StapleQuestion,
    VerifyQuestion,
)
from .session import ClientSession

Notice = tuple[int, object]
Data = bytes | bytearray | memoryview

READ_LIMIT = 256 * 1024


class Connection:
    """One TLS connection, client or server.

    Args:
        settings: What it starts with.
        servername: A client's server name indication; None sends none.
        hostname: The name or address that a client verifies the server's certificate for.
        ask_always: Whether a client asks too when the server's certificate, verified, has the very name `hostname`.

    Source: SSL_new(3), BIO_s_mem(3); RFC 8446.
    """

    __slots__ = (
        "_denial",
        "_refusal",
        "engine",
        "hostname",
        "peer_ended",
        "phase",
        "reject_unauthorized",
        "request_cert",
        "settings",
    )

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        servername: str | None = None,
        hostname: str = "",
        ask_always: bool = True,
    ) -> None:
        expected = None if ask_always or settings.server else plain_name(hostname)
        try:
            engine = _native.Engine(settings.native(), servername, expected)
        except _native.NativeError as error:
            raise from_failure(error.args[0], server=settings.server) from None
        self._begin(engine, settings, hostname)

    @classmethod
    def adopt(cls, engine: _native.Engine, settings: ConnectionSettings) -> Self:
        """A server's connection whose engine a reactor has made.

        Args:
            engine: The engine of the compiled core.
            settings: What it started with.
        """
        connection = cls.__new__(cls)
        connection._begin(engine, settings, "")
        return connection

    def _begin(self, engine: _native.Engine, settings: ConnectionSettings, hostname: str) -> None:
        self.engine = engine
        """The part of it in the compiled core."""
        self.settings = settings
        """What it started with."""
        self.hostname = hostname
        """What a client verifies the server's certificate for."""
        self.phase = Phase.HANDSHAKE
        """Where it stands."""
        self.peer_ended = False
        """The peer's close_notify, or the end of its stream, has come."""
        self.request_cert = settings.request_cert
        """Whether a client is asked for a certificate."""
        self.reject_unauthorized = settings.reject_unauthorized
        """Whether a peer that is not authorized is refused."""
        self._refusal: Exception | None = None
        # Why no application protocol was chosen.
        self._denial: Exception | None = None

    # ---- ciphertext

    def feed(self, data: Data) -> None:
        """Takes the ciphertext in `data` from the peer."""
        self.engine.feed(data)

    def feed_eof(self) -> None:
        """The peer's stream of ciphertext has ended."""
        self.engine.feed_eof()

    def drain(self) -> bytes:
        """The ciphertext for the peer; empty when there is none.  Also after a failure: it is the alert."""
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
        if self.phase is Phase.ASKING and self.engine.failure is not None:
            # The peer has gone meanwhile.
            self._report(found, notices.FAILED, self.engine.failure)
        if self.phase is Phase.HANDSHAKE:
            self._shake_hands(found)
        if self.phase is Phase.OPEN or (self.phase is Phase.ENDING and not self.peer_ended):
            self._read(found, limit)
        return found

    def _shake_hands(self, found: list[Notice]) -> None:
        status = self.engine.handshake()
        self._tell_news(found)
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
            self._tell_news(found)
            if isinstance(result, bytes):
                taken += len(result)
                found.append((notices.DATA, result))
                continue
            if result == _native.ASKING:
                self._report(found, notices.ASKING, None)
            elif result == _native.ENDED:
                self._report(found, notices.ENDED, self.engine.truncated)
            elif result == _native.FAILED:
                self._report(found, notices.FAILED, self.engine.failure)
            return

    def _tell_news(self, found: list[Notice]) -> None:
        if news := self.engine.news():
            found.append((notices.NEWS, news))

    def _report(self, found: list[Notice], kind: int, payload: object) -> None:
        self.note(kind)
        found.append((kind, payload))

    def note(self, kind: int) -> None:
        """Moves on to the phase that follows from a notice of this `kind`."""
        if kind == notices.ENDED:
            self.peer_ended = True
        self.phase = notices.AFTER[self.phase][kind]

    # ---- what the application does

    def write(self, data: Data) -> bool:
        """Encrypts the application data in `data`.

        Returns:
            Whether that went well.
        """
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
    def question(self) -> Question[PeerCertificate] | None:
        """What the handshake waits for."""
        if self.phase in (Phase.FAILED, Phase.CLOSED):
            return None
        ask = _QUESTIONS.get(self.engine.question)
        return None if ask is None else ask(self)

    def _hello_question(self) -> HelloQuestion:
        wire, session_id = self.engine.hello() or (b"", None)
        try:
            protocols = from_wire(wire)
        except OptionError:
            # OpenSSL ends the handshake when it gets there.
            protocols = ()
        return HelloQuestion(self.engine.servername(), protocols, session_id)

    def _certificate_question(self) -> CertificateQuestion:
        return CertificateQuestion(tuple(self.engine.identities()))

    def _verify_question(self) -> VerifyQuestion[PeerCertificate]:
        return VerifyQuestion(self.hostname, self.peer_certificate())

    def _client_question(self) -> ClientQuestion[PeerCertificate]:
        return ClientQuestion(self.peer_certificate())

    def _session_question(self) -> SessionQuestion:
        return SessionQuestion(tuple(self.engine.sessions()))

    def _staple_question(self) -> StapleQuestion:
        return StapleQuestion(self.engine.stapled())

    def use_context(self, context: SecureContext, name: str, *, request_cert: bool, reject_unauthorized: bool) -> None:
        """Goes on with another context, for a name of the server; sessions are bound to the name.

        Args:
            context: The context.
            name: The name it is for.
            request_cert: Whether to ask the client for a certificate.
            reject_unauthorized: Whether to refuse one without a good one.
        """
        self.engine.use_context(context._native, request_cert, reject_unauthorized, name.encode())
        self.request_cert = request_cert
        self.reject_unauthorized = reject_unauthorized

    def use_identity(self, context: SecureContext) -> None:
        """Shows the certificates of another `context`."""
        self.engine.use_identity(context._native)

    def choose_protocol(self, protocol: bytes) -> None:
        """Agrees on an application `protocol`, one that the client has offered."""
        self.engine.choose_protocol(protocol)

    def deny_protocol(self, reason: Exception | None) -> None:
        """Fails the handshake with the alert no_application_protocol; `reason` stands for the failure."""
        self._denial = reason
        self.engine.choose_protocol(None)

    def set_session(self, data: bytes) -> bool:
        """Gives a server the session that the client asks for, in `data`.

        Returns:
            Whether it is one.
        """
        return self.engine.set_session(data)

    def offer_session(self, session: ClientSession) -> None:
        """Lets a client resume a `session`, where it counts for this connection."""
        settings = self.settings
        if session.counts_for(self.hostname, settings.session_policy, reject_unauthorized=settings.reject_unauthorized):
            session.offer(self.engine, settings.context._sessions)

    def client_session(self, data: bytes | None = None) -> ClientSession | None:
        """The session with the encoding `data`, or the one in use, bound to this connection."""
        data = data or self.engine.session()
        if data is None:
            return None
        return ClientSession(self.hostname, self.settings.session_policy, self.authorized, data)

    def staple(self, certificate: bytes, response: bytes) -> None:
        """Sends an OCSP `response` with a `certificate`, both DER."""
        self.engine.staple(certificate, response)

    def refuse(self, reason: Exception) -> None:
        """Takes the `reason` why a pre-shared key was not given; the handshake ends by itself."""
        self._refusal = reason

    def check_identity(self) -> ServerIdentityError | None:
        """The standard answer to the question, without building the certificate when all is well."""
        if self.engine.authenticated_by_key():
            return None
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

        Args:
            refusal: None, or what stands for the failure.
        """
        question = self.engine.question
        if not question or self.phase in (Phase.FAILED, Phase.CLOSED):
            return
        if self.phase is Phase.ASKING:
            self.phase = move(self.phase, Phase.HANDSHAKE)
        accept = refusal is None
        if question in (Ask.VERIFY, Ask.CLIENT):
            self._refusal = refusal
            accept = accept or not self.reject_unauthorized
        elif refusal is not None:
            self._refusal = refusal
        self.engine.answer(accept)

    def error(self, failure: object, **details: Any) -> Exception:
        """The exception for the failure that a notice has told.

        Args:
            failure: What came with the notice.
            details: Where the connection led: the attributes of `WireError`; and whether it was ``handshaking``.
        """
        assert isinstance(failure, _native.Failure)
        if self._denial is not None and failure.code == "ERR_SSL_NO_APPLICATION_PROTOCOL":
            return self._denial
        return from_failure(failure, server=self.settings.server, refusal=self._refusal, **details)

    # ---- renegotiation (TLS 1.2)

    @property
    def busy(self) -> bool:
        """Whether application data has to wait: for a renegotiation, or for an answer about it."""
        return self.engine.busy

    def renegotiate(self, request_cert: bool | None, reject_unauthorized: bool | None) -> None:
        """Begins a renegotiation; a server's has a new policy, where one is given.

        Args:
            request_cert: On a server: whether to ask for a certificate; None leaves it as it is.
            reject_unauthorized: On a server: whether to refuse a client without a good one; None leaves it as it is.

        Raises:
            PeerError: The protocol version has none.
        """
        request = self.request_cert if request_cert is None else request_cert
        reject = self.reject_unauthorized if reject_unauthorized is None else reject_unauthorized
        try:
            self.engine.renegotiate(request, reject)
        except _native.NativeError as error:
            raise from_failure(error.args[0], server=self.settings.server) from None
        if self.settings.server:
            self.request_cert, self.reject_unauthorized = request, reject

    def disable_renegotiation(self) -> None:
        """A peer that renegotiates from now on ends the connection."""
        self.engine.disable_renegotiation()

    def watch(self, asks: Ask) -> None:
        """Collects what `asks` says from now on."""
        self.engine.watch(asks)

    def use_psk(self, ask: Callable[[bytes | None], object], hint: str | None) -> None:
        """Lets pre-shared keys be used.

        Args:
            ask: Called in the midst of a handshake, see the core's ``set_psk``.
            hint: What a server tells its clients, up to TLS 1.2; None for nothing.

        Raises:
            StateError: The hint is too long (``ERR_TLS_PSK_SET_IDENTITY_HINT_FAILED``).
        """
        try:
            self.engine.set_psk(ask, hint)
        except _native.NativeError:
            raise StateError("Failed to set PSK identity hint", code="ERR_TLS_PSK_SET_IDENTITY_HINT_FAILED") from None

    # ---- what was negotiated

    @property
    def authorized(self) -> bool:
        """Whether the peer proved who it is."""
        if (self.settings.server and not self.request_cert) or self.engine.question:
            # What is still being asked is not known to be so.
            return False
        return self.authorization_error is None

    @property
    def authorization_error(self) -> str | None:
        """Why the peer is not authorized: a code, such as ``"CERT_HAS_EXPIRED"``."""
        engine = self.engine
        if self.settings.server and not self.request_cert:
            return None
        if not engine.authenticated_by_key():
            if engine.peer_certificate() is None:
                # A client that showed none, or a server with an anonymous suite.
                return "UNABLE_TO_GET_ISSUER_CERT"
            if result := engine.verify_result():
                return verification_code(result)
        if self._refusal is None:
            return None
        return str(getattr(self._refusal, "code", ServerIdentityError.default_code))

    @property
    def alpn_protocol(self) -> str | None:
        """The application protocol that was agreed on."""
        protocol = self.engine.alpn()
        return None if protocol is None else protocol.decode("latin-1")

    @property
    def cipher(self) -> Cipher | None:
        """The negotiated cipher suite."""
        names = self.engine.cipher()
        return None if names is None else Cipher(*names)

    @property
    def ephemeral_key_info(self) -> EphemeralKeyInfo | None:
        """The ephemeral key of the key exchange."""
        if self.engine.session_reused() and self.engine.protocol() != "TLSv1.3":
            # There was no key exchange, though OpenSSL still names the group of the first one.
            return None
        return ephemeral_key(self.engine.group(), self.engine.ephemeral_dh())

    def export_keying_material(self, length: int, label: str, context: bytes | None) -> bytes:
        """Derives keys that both sides can derive; see `TLSSocket.export_keying_material`.

        Args:
            length: How many bytes.
            label: What they are for.
            context: Bytes that both sides know; None is no context.

        Returns:
            So many bytes.

        Raises:
            OptionError: It cannot be done with such arguments.
        """
        try:
            return self.engine.export_keying_material(length, label, context)
        except _native.NativeError as error:
            failure = error.args[0]
            if failure.reason == "internal error":
                words = f"the cipher suite cannot derive {length} bytes"
                raise option_failure(failure, "length", words, "ERR_OUT_OF_RANGE") from None
            raise option_failure(failure, "label", f"no key can be derived with it: {failure.reason}") from None

    def peer_certificate(self, detailed: bool = True) -> PeerCertificate:
        """The peer's certificate, `detailed` with the chain that was verified or sent; empty without one."""
        if detailed:
            return PeerCertificate.from_chain(self.engine.peer_chain())
        return PeerCertificate(self.engine.peer_certificate() or b"")

    def certificate(self) -> PeerCertificate:
        """Our own certificate; empty without one."""
        return PeerCertificate(self.engine.certificate() or b"")


_QUESTIONS: dict[int, Callable[[Connection], Question[PeerCertificate]]] = {
    Ask.HELLO: Connection._hello_question,
    Ask.CERTIFICATE: Connection._certificate_question,
    Ask.VERIFY: Connection._verify_question,
    Ask.CLIENT: Connection._client_question,
    Ask.SESSION: Connection._session_question,
    Ask.STAPLE: Connection._staple_question,
}
