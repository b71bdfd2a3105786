"""Who answers the questions of a handshake: the user's functions, and the listeners of request events."""

import asyncio
import weakref
from collections.abc import Callable, Container
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from . import checks
from .asking import Talk
from .certificate import PeerCertificate
from .connection import Connection
from .connection_settings import Ask, ConnectionSettings
from .context import SecureContext
from .errors import OptionTypeError, ProtocolError, StateError, presentable
from .psk import PSK, check_key
from .questions import CertificateQuestion, ClientQuestion, HelloQuestion, Question, SessionQuestion, VerifyQuestion
from .tickets import TicketKeyRing

if TYPE_CHECKING:
    from .tls_socket import TLSSocket


class NamedContext(NamedTuple):
    """What `add_context` adds."""

    context: SecureContext
    request_cert: bool | None
    """None leaves it to the server."""
    reject_unauthorized: bool | None


def settings_with(
    settings: ConnectionSettings, events: Container[str], *, named: bool = False, tickets: TicketKeyRing | None = None
) -> ConnectionSettings:
    """What connections start with, with what listeners add to it.

    Args:
        settings: What follows from the options.
        events: The events that have listeners.
        named: Whether a server has contexts for some names.
        tickets: The keys of a server, where they are not those of its context.
    """
    asks = settings.asks
    if "keylog" in events:
        asks |= Ask.KEYLOG
    if settings.server:
        if named or "resume_session" in events:
            asks |= Ask.HELLO
        if "ocsp_request" in events:
            asks |= Ask.CERTIFICATE
        if "new_session" in events:
            asks |= Ask.SESSION
    elif "session" in events:
        asks |= Ask.TICKETS
    if asks == settings.asks and tickets is settings.tickets:
        return settings
    return replace(settings, asks=asks, tickets=tickets)


def conversation(socket: "TLSSocket", connection: Connection, question: Question[PeerCertificate]) -> Talk:
    """The calls that answer a question; `connection` gets the answers."""
    if isinstance(question, VerifyQuestion):
        return _verify(socket, question)
    if isinstance(question, HelloQuestion):
        return _hello(socket, connection, question)
    if isinstance(question, CertificateQuestion):
        return _staple(socket, connection, question)
    if isinstance(question, SessionQuestion):
        return _store(socket, question)
    if isinstance(question, ClientQuestion):
        return _welcome(socket, question)
    return _tell(socket, question.response)


def _verify(socket: "TLSSocket", question: VerifyQuestion[PeerCertificate]) -> Talk:
    check = socket._options.check_server_identity
    _refuse_answer("check_server_identity", (yield check, question.hostname, question.certificate))


def _hello(socket: "TLSSocket", connection: Connection, question: HelloQuestion) -> Talk:
    if question.servername is not None:
        yield from _choose_context(socket, connection, question.servername)
    if socket._options.alpn_callback is not None and question.protocols:
        yield from _choose_protocol(socket, connection, question)
    if question.session_id is not None:
        for listener in _listeners(socket, "resume_session"):
            data = yield listener, question.session_id
            if data is not None:
                # What is no session, or another one, is not found: the handshake is a full one.
                connection.set_session(checks.octets("resume_session's answer", data))
                break


def _choose_context(socket: "TLSSocket", connection: Connection, servername: str) -> Talk:
    options, server = socket._options, socket.server
    named, pattern = None, servername.lower()
    if options.sni_callback is not None:
        context = yield options.sni_callback, servername
        if context is not None and not isinstance(context, SecureContext):
            raise OptionTypeError(
                "Invalid SNI context",
                option="sni_callback",
                hint=f"it must return a SecureContext or None, not {checks.describe(context)}",
            )
        named = None if context is None else NamedContext(context, None, None)
    if named is None and server is not None and (entry := server._names.find(servername)) is not None:
        named, pattern = entry.value, entry.pattern
    if named is not None:
        request, reject = named.request_cert, named.reject_unauthorized
        connection.use_context(
            named.context,
            pattern,
            request_cert=connection.request_cert if request is None else request,
            reject_unauthorized=connection.reject_unauthorized if reject is None else reject,
        )


def _choose_protocol(socket: "TLSSocket", connection: Connection, question: HelloQuestion) -> Talk:
    offered = [protocol.decode("latin-1") for protocol in question.protocols]
    chosen = yield socket._options.alpn_callback, socket, question.servername or False, list(offered)
    if chosen is None:
        connection.deny_protocol(None)
    elif chosen in offered:
        connection.choose_protocol(chosen.encode("latin-1"))
    else:
        connection.deny_protocol(
            ProtocolError(
                f"alpn_callback returned {chosen!r:.80}, which is not among the offered {offered!r:.200}",
                code="ERR_TLS_ALPN_CALLBACK_INVALID_RESULT",
            )
        )


def _staple(socket: "TLSSocket", connection: Connection, question: CertificateQuestion) -> Talk:
    for certificate, issuer in question.identities:
        for listener in _listeners(socket, "ocsp_request"):
            response = yield listener, certificate, issuer
            if response is not None:
                connection.staple(certificate, checks.octets("ocsp_request's answer", response))
                break


def _store(socket: "TLSSocket", question: SessionQuestion) -> Talk:
    for session_id, data in question.sessions:
        for listener in _listeners(socket, "new_session"):
            yield listener, session_id, data


def _welcome(socket: "TLSSocket", question: ClientQuestion[PeerCertificate]) -> Talk:
    answer = yield socket._options.check_client_identity, socket, question.certificate
    _refuse_answer("check_client_identity", answer)


def _refuse_answer(option: str, answer: object) -> None:
    """An error that is returned, not raised, must not pass for consent."""
    if answer:
        raise OptionTypeError(
            f"{option} accepts by returning None and refuses by raising; it returned {checks.describe(answer)}",
            option=option,
        )


def _tell(socket: "TLSSocket", response: bytes | None) -> Talk:
    socket._emit("ocsp_response", response)
    yield from ()


def _listeners(socket: "TLSSocket", event: str) -> tuple[Callable[..., Any], ...]:
    return () if socket.server is None else socket.server._listeners.get(event, ())


class PskAsker:
    """Asks the user's `psk_callback` in the midst of a handshake, where OpenSSL cannot wait.

    The core holds it and is in use meanwhile: so it knows its socket weakly, the socket tells nothing but its
    addresses, and what the function does with it is done once the handshake has gone on.
    """

    __slots__ = ("_socket",)

    def __init__(self, socket: "TLSSocket") -> None:
        self._socket = weakref.ref(socket)

    def __call__(self, argument: bytes | None) -> object:
        socket = self._socket()
        if socket is None or socket.destroyed or socket._connection is None:
            return False
        connection, socket._connection = socket._connection, None
        try:
            key = self._server_key(socket, argument) if socket.is_server else self._client_key(socket, argument)
        except BaseException as error:
            connection.refuse(presentable(error))
            if isinstance(error, KeyboardInterrupt | SystemExit):
                socket._loop.call_soon(_raise, error)
            return False
        finally:
            socket._connection = connection
            if socket._trace:
                socket._loop.call_soon(socket.enable_trace)
        return False if socket.destroyed else key

    def _server_key(self, socket: "TLSSocket", identity: bytes | None) -> bytes | None:
        callback = socket._options.psk_callback
        try:
            name = (identity or b"").decode()
        except UnicodeDecodeError:
            return None
        key = None if callback is None else callback(socket, name)
        _refuse_coroutine(key)
        if key is not None and not isinstance(key, bytes | bytearray | memoryview):
            raise checks.wrong_type("psk_callback's answer", "bytes or None", key)
        return None if key is None else check_key("psk_callback's answer", key)

    def _client_key(self, socket: "TLSSocket", hint: bytes | None) -> tuple[bytes, bytes] | None:
        callback = socket._options.psk_callback
        psk = None if callback is None else callback(None if hint is None else hint.decode(errors="replace"))
        _refuse_coroutine(psk)
        if psk is None:
            return None
        if not isinstance(psk, PSK):
            raise checks.wrong_type("psk_callback's answer", "an aiotls.PSK or None", psk)
        return psk.identity.encode(), psk.key


def _refuse_coroutine(answer: object) -> None:
    if asyncio.iscoroutine(answer):
        answer.close()
        raise StateError("psk_callback must be a plain function: OpenSSL cannot wait for its answer")


def _raise(error: BaseException) -> NoReturn:
    raise error
