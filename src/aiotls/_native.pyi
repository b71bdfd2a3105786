"""The compiled core around OpenSSL: read this first.

The core knows OpenSSL, descriptors and bytes.  It knows no asyncio and holds no Python object, so there are no cycles
through native code.  On the hot path it answers with a status or a notice and raises nothing; a call that fails outside
a connection raises `NativeError` with a `Failure` that `aiotls.errors` turns into the exception a user sees.

Engine and Reactor speak of the same things.  An `Engine` is one TLS connection over two ciphertext buffers (`feed` and
`drain`); a `Reactor` drives many engines over descriptors of its own and returns, once per tick, the list of what
Python must know.
"""

from collections.abc import Callable
from typing import Final, final

OPENSSL_VERSION: Final[str]
"""The version text of the linked OpenSSL, for example ``"OpenSSL 3.5.5 27 Jan 2026"``."""
OPENSSL_VERSION_NUMBER: Final[int]
"""Its number, ``0xMNN00PP0``: 0x30000130 is 3.0.19."""

# Statuses: what `handshake`, `read`, `write` and `shutdown` of an engine answer.
DONE: Final = 0
WANT_INPUT: Final = 1
ASKING: Final = 2
ENDED: Final = 3
FAILED: Final = 4

# Notices: what a reactor's tick, or `Connection.advance`, reports.  The payload stands behind each.
NOTICE_ASKING: Final = 1
"""A question waits for its answer: ``None``; see `Engine.question`."""
NOTICE_SECURE: Final = 2
"""The handshake is done: ``None``."""
NOTICE_DATA: Final = 3
"""Application data: ``bytes``, never empty."""
NOTICE_DRAIN: Final = 4
"""Everything written has left: ``None``.  Only after `want_drain`."""
NOTICE_ENDED: Final = 5
"""The peer will send no more: ``bool``, true when no close_notify came (a truncated stream)."""
NOTICE_FINISHED: Final = 6
"""Our close_notify and FIN have left, or the peer is gone after its own end: ``None``."""
NOTICE_FAILED: Final = 7
"""The connection is over: `Failure`."""
NOTICE_NEWS: Final = 8
"""Key log lines and the like wait in `Engine.news`: ``None``."""
NOTICE_ACCEPTED: Final = 9
"""A new descriptor, before its handshake: ``None``.  Only from listeners that asked for it."""
NOTICE_ACCEPT_FAILED: Final = 10
"""A listener cannot accept (EMFILE and its like) and has paused itself: ``int``, the errno."""
NOTICE_DROPPED: Final = 11
"""A listener has more connections than it may: ``int``, the descriptor, which is the caller's to close."""
NOTICE_CONNECTED: Final = 12
"""What was dialled is connected: 0; or ``int``, the errno why not."""

# Questions a handshake may stop for (bits of `Settings.asks`), and what it then says in `Engine.question`.
ASK_HELLO: Final = 1
"""A server: the ClientHello was read, nothing is decided; see `Engine.hello`."""
ASK_CERTIFICATE: Final = 2
"""A server: a certificate will be shown to a client that wants an OCSP response."""
ASK_VERIFY: Final = 4
"""A client: the server's chain is good, or a session or a key stands for it."""
ASK_SESSION: Final = 8
"""A server: sessions were made, and are to be stored before the last flight leaves; see `Engine.sessions`."""
ASK_CLIENT: Final = 16
"""A server: the client's chain is good; the last flight has not left."""
ASK_STAPLE: Final = 32
"""A client: asks for an OCSP response, and stops when it knows whether there is one; see `Engine.stapled`."""
# News to collect, and what else to do on the way.
ASK_KEYLOG: Final = 256
ASK_TICKETS: Final = 512
"""A client: its new sessions."""
ASK_TRACE: Final = 1024
"""Prints OpenSSL's trace on the error stream."""

class NativeError(Exception):
    """A failing OpenSSL call outside a connection; ``args[0]`` is its `Failure`."""

@final
class Failure:
    """Why something failed, as data: no exception, no traceback."""

    @property
    def kind(self) -> str:
        """``"openssl"``, ``"verify"`` (the peer's certificate), ``"refused"`` (an answer said no), ``"eof"`` (a hang-up
        before the handshake was done), ``"system"`` (see `errno`) or ``"timeout"`` (the handshake took too long)."""
    @property
    def library(self) -> str | None:
        """OpenSSL's library of the first error, such as ``"SSL routines"``."""
    @property
    def reason(self) -> str | None:
        """OpenSSL's reason of the first error, such as ``"wrong version number"``."""
    @property
    def code(self) -> str | None:
        """A stable code made of library and reason, such as ``"ERR_SSL_WRONG_VERSION_NUMBER"``."""
    @property
    def stack(self) -> tuple[str, ...]:
        """The further entries of OpenSSL's error queue, as it prints them."""
    @property
    def alert_sent(self) -> int | None: ...
    @property
    def alert_received(self) -> int | None: ...
    @property
    def verify_result(self) -> int:
        """The X509 verification code (``X509_V_ERR_*``), 0 when the certificate is not the cause."""
    @property
    def errno(self) -> int | None: ...

@final
class PrivateKey:
    """A private key, parsed."""

    @staticmethod
    def from_pem(pem: bytes, passphrase: bytes | None, /) -> PrivateKey:
        """Parses the first private key of `pem`; never prompts."""

@final
class Certificate:
    """A certificate, parsed."""

    @staticmethod
    def from_pem(pem: bytes, /) -> list[Certificate]:
        """All of `pem`: ``CERTIFICATE``, ``X509 CERTIFICATE`` and ``TRUSTED CERTIFICATE``; empty when there is none."""
    @staticmethod
    def from_der(der: bytes, /) -> Certificate: ...
    def der(self) -> bytes: ...
    def trusted_der(self) -> bytes:
        """With what a ``TRUSTED CERTIFICATE`` says besides about its own trust; else as `der`."""
    def matches(self, key: PrivateKey, /) -> bool: ...

@final
class TrustStore:
    """Certificates to trust, parsed once and shared by any number of contexts; not to be changed once one has it."""

    def __init__(self) -> None: ...
    def add(self, certificate: Certificate, /) -> None: ...
    def add_crl(self, pem: bytes, /) -> None:
        """From now on every certificate of a chain must stand in some revocation list, or be looked up in one."""

@final
class Context:
    """An SSL_CTX for both roles, every hook installed at birth.  Built up by `aiotls.context`, then never changed."""

    def __init__(self) -> None: ...
    def set_versions(self, minimum: int, maximum: int, /) -> None:
        """Protocol numbers (0x0303 is TLS 1.2); 0 means no limit."""
    def set_options(self, mask: int, /) -> None:
        """Adds ``SSL_OP_*`` bits."""
    def set_cipher_list(self, ciphers: str, /) -> None:
        """TLS 1.2 and below, OpenSSL's list format."""
    def set_ciphersuites(self, suites: str, /) -> None:
        """TLS 1.3, colon separated; empty for none."""
    def set_groups(self, groups: str, /) -> None: ...
    def set_sigalgs(self, sigalgs: str, /) -> None: ...
    def set_session_id_context(self, value: bytes, trust: bytes, /) -> None:
        """What a server binds sessions to; those of clients with certificates also to `trust`, a digest of what decides
        whether they are good."""
    def set_session_timeout(self, seconds: int, /) -> None: ...
    def set_trust(self, store: TrustStore, partial_chain: bool, /) -> None: ...
    def add_client_ca(self, certificate: Certificate, /) -> None:
        """Adds a name to the list a server sends when it asks for a certificate."""
    def add_identity(self, chain: list[Certificate], key: PrivateKey | None, /) -> None:
        """Leaf first.  One identity per key type is kept."""
    def add_private_key(self, key: PrivateKey, /) -> None: ...
    def set_dh(self, pem: bytes | None, /) -> None:
        """Diffie-Hellman parameters; None for a group as strong as the key."""
    def set_certificate_compression(self, algorithms: list[int], /) -> None:
        """Numbers of `certificate_compression_algorithms`; to be called when all certificates are there."""
    def set_client_cert_engine(self, engine: str, /) -> None: ...
    def security_level(self) -> int:
        """What ``@SECLEVEL=n`` in the cipher list says, or OpenSSL's own."""
    def cipher_names(self) -> list[str]:
        """OpenSSL names of the enabled suites, in order of preference."""

@final
class TicketKeys:
    """Keys of session tickets, 48 bytes each: a name, a key for HMAC-SHA256 and one for AES-128-CBC.

    The first one makes tickets, the others only read them.  Without any, a random one is made.
    """

    def __init__(self, keys: list[bytes] = ..., /) -> None: ...
    def keys(self) -> list[bytes]: ...

@final
class Settings:
    """What every engine of one kind starts with: a context, a role, and what to ask."""

    def __init__(
        self,
        context: Context,
        tickets: TicketKeys | None = None,
        *,
        server: bool,
        asks: int = 0,
        request_cert: bool = False,
        reject_unauthorized: bool = True,
        alpn: bytes = b"",
        reneg_limit: int = 3,
        reneg_window: float = 600.0,
        min_dh_size: int = 1024,
    ) -> None: ...

@final
class Session:
    """A client's session, decoded once for any number of connections."""

    @staticmethod
    def decode(der: bytes, /) -> Session | None:
        """None for what is no encoding of a session."""
    def ticket(self) -> bytes | None: ...

@final
class Engine:
    """One TLS connection over two ciphertext buffers."""

    def __init__(self, settings: Settings, /, servername: str | None = None, expected: str | None = None) -> None:
        """A client names the server in `servername`.  It does not ask (`ASK_VERIFY`) about a certificate that has
        the very DNS name `expected`, given in lower case."""
    def feed(self, data: bytes | bytearray | memoryview, /) -> None:
        """Takes ciphertext from the peer."""
    def feed_eof(self) -> None:
        """The peer's stream has ended."""
    def drain(self, limit: int = ..., /) -> bytes:
        """Ciphertext for the peer, at most `limit` bytes; empty when there is none or it is held back."""
    def handshake(self) -> int: ...
    def read(self, limit: int, /) -> bytes | int:
        """At most `limit` bytes of application data, or a status: WANT_INPUT, ASKING, ENDED or FAILED."""
    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Encrypts all of `data`: DONE; or nothing: FAILED, or WANT_INPUT while the engine is `busy`."""
    def shutdown(self) -> int:
        """Adds our close_notify to the outgoing buffer, once."""
    def news(self) -> list[tuple[str, bytes]]:
        """What was collected since the last call: ``("keylog", line)``, ``("session", encoding)`` of a client, and
        ``("secure", b"")`` for each renegotiation that is done."""
    @property
    def question(self) -> int:
        """The ``ASK_*`` that the handshake waits for, 0 when it does not."""
    def answer(self, accept: bool, /) -> None:
        """Answers the question that waits; a refusal ends the handshake with the alert that belongs to it."""
    # What questions are about, and the answers to them; all but `set_session` and `set_psk` are a server's.
    def hello(self) -> tuple[bytes, bytes | None] | None:
        """The protocols that the client offers, in wire form, and the session that is to be looked up."""
    def use_context(self, context: Context, request_cert: bool, reject_unauthorized: bool, name: bytes, /) -> None:
        """Goes on with another context and policy; sessions are bound to `name`."""
    def use_identity(self, context: Context, /) -> None:
        """Shows the certificates of another context; trust and policy stay."""
    def choose_protocol(self, protocol: bytes | None, /) -> None:
        """None ends the handshake with the alert no_application_protocol."""
    def set_session(self, session: bytes, /) -> bool:
        """The session that a server's lookup finds; false for what is none."""
    def offer_session(self, session: Session, authorized: bool, /) -> None:
        """The session that a client offers, and whether its server was verified."""
    def identities(self) -> list[tuple[bytes, bytes | None]]:
        """Each certificate that may be shown, with its issuer, as DER."""
    def staple(self, certificate: bytes, response: bytes, /) -> None:
        """The OCSP response to send with this certificate."""
    def stapled(self) -> bytes | None: ...
    def sessions(self) -> list[tuple[bytes, bytes]]:
        """Identifier and encoding of the sessions to be stored."""
    def set_psk(self, ask: Callable[[bytes | None], object], hint: str | None, /) -> None:
        """Lets pre-shared keys be used.  `ask` is called inside `handshake`, when the engine must not be touched: on a
        server with the identity, for a key; on a client with the hint, for an identity and a key.  None stands for no
        key; False says that the handshake is to end."""
    def set_max_send_fragment(self, size: int, /) -> bool:
        """How much plaintext a record of ours holds; false when it may not be so much."""
    def shared_sigalgs(self) -> list[str]:
        """The signature algorithms that both sides support, such as ``"RSA-PSS+SHA256"``."""
    def authenticated_by_key(self) -> bool:
        """The peer proved who it is by a pre-shared key, not by a certificate."""
    def watch(self, asks: int, /) -> None:
        """Collects what `asks` says from now on."""
    def renegotiate(self, request_cert: bool, reject_unauthorized: bool, /) -> None:
        """Begins a renegotiation; a server's has a new policy."""
    def disable_renegotiation(self) -> None:
        """A peer that renegotiates from now on ends the connection."""
    @property
    def busy(self) -> bool:
        """Application data cannot be written before the renegotiation is done, and every question about it answered."""
    @property
    def failure(self) -> Failure | None: ...
    @property
    def truncated(self) -> bool:
        """The stream ended without close_notify."""
    @property
    def incoming(self) -> int:
        """Bytes of ciphertext waiting to be read."""
    @property
    def outgoing(self) -> int:
        """Bytes of ciphertext waiting to be sent."""
    # What was negotiated; before the handshake is done, or without the thing, None.
    def protocol(self) -> str | None: ...
    def cipher(self) -> tuple[str, str, str] | None:
        """OpenSSL's name, the standard name, and the version that brought it."""
    def group(self) -> str | None: ...
    def ephemeral_dh(self) -> int | None:
        """The bits of a server's ephemeral key of Diffie-Hellman over a finite field, where it is one."""
    def alpn(self) -> bytes | None: ...
    def servername(self) -> str | None: ...
    def session_reused(self) -> bool: ...
    def session(self) -> bytes | None:
        """The encoding of the session in use, if it can be resumed."""
    def verify_result(self) -> int: ...
    def certificate(self) -> bytes | None: ...
    def peer_certificate(self) -> bytes | None: ...
    def peer_chain(self) -> list[bytes]:
        """What the peer sent, leaf first (on a server too), or the verified chain when there is one."""
    def peer_names(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[str, ...]] | None:
        """DNS names, packed IP addresses and common names of the peer's certificate, without decoding the rest; None
        where they cannot be read."""
    def finished(self) -> bytes | None: ...
    def peer_finished(self) -> bytes | None: ...
    def export_keying_material(self, length: int, label: str, context: bytes | None, /) -> bytes: ...

@final
class Reactor:
    """Many engines over descriptors: one descriptor set, nested in an event loop by its own descriptor."""

    def __init__(self) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def abandon(self) -> None:
        """Closes the copies of the descriptors that a forked child has, whatever its parent was doing with them."""
    def listen(
        self,
        fd: int,
        settings: Settings,
        /,
        *,
        handshake_timeout: float,
        no_delay: bool,
        announce: bool = False,
        most: int = ...,
    ) -> int:
        """Takes `fd`, a listening socket, and accepts from it; `announce` reports each descriptor before its handshake;
        `most` connections may be open."""
    def unlisten(self, listener: int, /) -> None:
        """Stops accepting and closes the descriptor; what was accepted goes on, and the last of it takes the listener
        away."""
    def update_listener(self, listener: int, settings: Settings, announce: bool, most: int = ..., /) -> None:
        """Connections accepted from now on start with `settings`."""
    def pause_listener(self, listener: int, paused: bool, /) -> None: ...
    def dial(self, fd: int, /) -> int:
        """Takes `fd`, a socket that is being connected: NOTICE_CONNECTED tells the outcome."""
    def connect(self, address: str, port: int, no_delay: bool, /) -> int:
        """Connects to a numeric address without a zone, and watches as `dial` does."""
    def hang_up(self, token: int, /) -> None:
        """Closes what was dialled and has not begun."""
    def begin(self, engine: Engine, token: int, /, *, handshake_timeout: float) -> None:
        """Starts a client's handshake over what was dialled and is connected."""
    def attach(self, engine: Engine, fd: int, /, *, handshake_timeout: float) -> int:
        """Takes `fd`, a connected non-blocking socket, and starts the handshake."""
    def poll(self) -> list[tuple[int, int, object]]:
        """One tick: ``(token, notice, payload)``.  Writes made until `flush` are sent together."""
    def flush(self, everything: bool = True, /) -> tuple[list[tuple[int, int, object]], bool, float | None]:
        """Ends a tick: what followed from sending, as `poll` has it; whether work is left that no descriptor will tell
        of; and the deadline.  Without `everything`, the last flight to a peer that has ended already is kept for our
        close_notify, which is about to follow."""
    def deadline(self) -> float | None:
        """When `expire` should be called next, on the clock of `time.monotonic`."""
    def expire(self) -> None:
        """Ends handshakes that took too long; the notices come with the next `poll`."""
    def engine(self, token: int, /) -> Engine | None: ...
    def listener(self, token: int, /) -> int:
        """The listener that accepted this connection, 0 for an attached one."""
    def fd(self, token: int, /) -> int:
        """The descriptor, for socket options and addresses; -1 when it is closed."""
    def write(self, token: int, data: bytes | bytearray | memoryview, /) -> int:
        """Takes all of `data`; answers how many bytes of application data have not left yet, or -1 when the next `poll`
        has something to tell that no descriptor will."""
    def pending(self, token: int, /) -> int: ...
    def want_drain(self, token: int, /) -> None: ...
    def end(self, token: int, /) -> None:
        """After what was written: close_notify and FIN, then NOTICE_FINISHED."""
    def pause(self, token: int, /) -> None: ...
    def resume(self, token: int, /) -> None: ...
    def push(self, token: int, /) -> None:
        """Sends what the engine has produced."""
    def answered(self, token: int, /) -> None:
        """An answer was given to the engine: go on with the handshake."""
    def close_connection(self, token: int, /, *, reset: bool = False) -> bool:
        """Sends what the engine has produced, close_notify too where it may, then closes; never blocks.
        `reset` drops everything and sends RST.  Answers whether something is left to do."""
    def close_connections(self, listener: int, /) -> None:
        """Lets go of every connection that a listener accepted."""
    def counts(self, listener: int, /) -> tuple[int, int]:
        """Connections of a listener: all, and those still in their handshake."""

def cipher_suites() -> list[str]:
    """OpenSSL names of every suite that this OpenSSL can use."""

def certificate_compression_algorithms() -> list[tuple[int, str]]:
    """The number in RFC 8879 and the name of what this OpenSSL can compress certificates with."""

def dh_bits(pem: bytes, /) -> int:
    """The size of the prime of Diffie-Hellman parameters."""

def load_pkcs12(der: bytes, passphrase: bytes | None, /) -> list[tuple[PrivateKey, list[Certificate]]]:
    """Every key of a PKCS#12 file with the chain of its certificate, leaf first, as far as the file has it."""

def load_store_keys(uri: str, passphrase: bytes | None, /) -> list[PrivateKey]:
    """Private keys behind a URI of OSSL_STORE; a scheme without a loader is asked of the provider of its name.  Where a
    passphrase was wanted and did not do, the failure has the code ``ERR_OSSL_BAD_DECRYPT``; nothing prompts."""

def load_store_certificates(uri: str, passphrase: bytes | None, /) -> list[Certificate]:
    """Certificates behind a URI, in their order; otherwise as `load_store_keys`."""

def load_engine_key(engine: str, identifier: str, passphrase: bytes | None, /) -> PrivateKey:
    """A private key in a crypto engine (``ERR_CRYPTO_CUSTOM_ENGINE_NOT_SUPPORTED`` where OpenSSL has none)."""

def set_keylog_fd(fd: int, /) -> None:
    """Writes the key log lines of every connection to a descriptor that was opened for appending; -1 ends that."""

def trace_everything() -> None:
    """Lets every new connection print its trace on the error stream."""
