"""Sessions: visits that make and resume them, a store for them, and what is inside of them, for whoever forges them.

The inside is the encoding of i2d_SSL_SESSION(3) and, for tickets, that of RFC 5077, section 4.
"""

import asyncio
import contextlib
import hashlib
import hmac
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

import aiotls
from aiotls.constants import SSL_OP_NO_TICKET
from tests.support.pairs import until
from tests.support.pki import Identity
from tests.support.servers import serving, to

WORDS = b"welcome"

NEW = {"TLSv1.2": 1, "TLSv1.3": 2}
"""How many sessions a full handshake makes."""
RENEWED = {"TLSv1.2": 0, "TLSv1.3": 1}
"""How many sessions a resumption makes."""


# ---- visits


def greet(socket: aiotls.TLSSocket) -> None:
    """A listener for "secure_connection": says something and ends."""
    socket.end(WORDS)


@contextlib.asynccontextmanager
async def keeping(version: str, listener: Any = greet, **options: Any) -> AsyncIterator[aiotls.Server]:
    """A server that has to keep its sessions: TLS 1.2 by their identifiers, TLS 1.3 by stateful tickets."""
    async with serving(listener, **{"max_version": version, "secure_options": SSL_OP_NO_TICKET, **options}) as server:
        yield server


@dataclass
class Visit:
    """What a client has seen of one connection."""

    reused: bool | None = None
    authorized: bool | None = None
    authorization_error: str | None = None
    peer: bytes = b""
    """The certificate of the server."""
    words: bytes = b""
    """What the server said."""
    ticket_at_first: bytes | None = None
    """What `get_tls_ticket` said in the "secure_connect" listener."""
    sessions: list[bytes] = field(default_factory=list)
    """What the "session" event brought."""
    tickets: list[bytes | None] = field(default_factory=list)
    """What `get_tls_ticket` said in each "session" listener."""
    session: bytes | None = None
    """What `get_session` said at the end."""
    ticket: bytes | None = None
    """What `get_tls_ticket` said at the end."""

    @property
    def last(self) -> bytes:
        """The newest session."""
        assert self.session is not None
        return self.session


async def visit(server: aiotls.Server, **options: Any) -> Visit:
    """Connects to a server whose listener is `greet`, and reads to the end."""
    seen = await witness(to(server, allow_half_open=True, **options))
    assert seen.words == WORDS
    return seen


async def witness(client: aiotls.TLSSocket) -> Visit:
    """Follows a client, which may be half-open, through its connection to a server that says something and ends."""
    seen = Visit()

    def secure() -> None:
        seen.reused = client.is_session_reused()
        seen.authorized, seen.authorization_error = client.authorized, client.authorization_error
        seen.ticket_at_first = client.get_tls_ticket()
        certificate = client.get_peer_certificate()
        assert certificate is not None
        seen.peer = certificate.raw

    def session(data: bytes) -> None:
        assert seen.reused is not None, '"session" before "secure_connect"'
        assert data == client.get_session()
        seen.sessions.append(data)
        seen.tickets.append(client.get_tls_ticket())

    client.on("secure_connect", secure).on("session", session)
    async with client:
        seen.words = await client.read()
        seen.session, seen.ticket = client.get_session(), client.get_tls_ticket()
    return seen


async def first_session(server: aiotls.Server, **options: Any) -> bytes:
    """A session of a full handshake."""
    seen = await visit(server, **options)
    assert seen.reused is False
    return seen.last


class ForeignClient:
    """Python's own ssl, whose sessions are bound to nothing: it offers them under any server name."""

    def __init__(self, version: str, *, identity: Identity | None = None, tickets: bool = True) -> None:
        context = self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace(".", "_")]
        if not tickets:
            context.options |= ssl.OP_NO_TICKET
        if identity is not None:
            load_identity(context, identity)

    async def visit(
        self, port: int, name: str | None = None, session: ssl.SSLSession | None = None
    ) -> tuple[bool | None, ssl.SSLSession, bytes]:
        """Reads what a server has to say: whether the session was resumed, the newest session, and the words."""
        return await asyncio.to_thread(self._visit, port, name, session)

    def _visit(
        self, port: int, name: str | None, session: ssl.SSLSession | None
    ) -> tuple[bool | None, ssl.SSLSession, bytes]:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as below,
            self._context.wrap_socket(below, server_hostname=name, session=session) as tls,
        ):
            words = b""
            while chunk := tls.recv(4096):
                words += chunk
            assert tls.session is not None
            return tls.session_reused, tls.session, words


def load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Gives a context of Python's ssl, which reads files only, an identity."""
    with tempfile.TemporaryDirectory() as directory:
        files = identity.write(Path(directory))
        context.load_cert_chain(files.chain, files.key)


# ---- a store


class Store:
    """Keeps the sessions of servers, and writes down what was made, asked for and found."""

    def __init__(self) -> None:
        self.sessions: dict[bytes, bytes] = {}
        self.made: list[bytes] = []
        self.asked: list[bytes] = []
        """With identifiers of no session: see RFC 8446, appendix D.4."""
        self.found: list[bytes] = []

    def serve(self, server: aiotls.Server, *, patiently: bool = False) -> None:
        """Becomes the store of a server, whose questions it answers at once, or `patiently`: some turns later."""
        if patiently:
            server.on("new_session", self._new_session_later).on("resume_session", self._resume_session_later)
        else:
            server.on("new_session", self._new_session).on("resume_session", self._resume_session)

    def _new_session(self, session_id: bytes, data: bytes) -> None:
        assert type(session_id) is bytes
        assert type(data) is bytes
        self.made.append(session_id)
        self.sessions[session_id] = data

    def _resume_session(self, session_id: bytes) -> bytes | None:
        self.asked.append(session_id)
        data = self.sessions.get(session_id)
        if data is not None:
            self.found.append(session_id)
        return data

    async def _new_session_later(self, session_id: bytes, data: bytes) -> None:
        await turns()
        self._new_session(session_id, data)

    async def _resume_session_later(self, session_id: bytes) -> bytes | None:
        await turns()
        return self._resume_session(session_id)


async def turns(count: int = 5) -> None:
    """Lets the loop turn a few times."""
    remaining = iter(range(count))
    await until(lambda: next(remaining, None) is None)


# ---- the inside

TIME = 0xA1
TIMEOUT = 0xA2
TICKET = 0xAA
"""Tags of fields of an encoded session."""

INTEGER = 0x02
OCTETS = 0x04
SEQUENCE = 0x30


def ticket_of(session: bytes) -> bytes:
    """The ticket in an encoded session."""
    return _content(_field(session, TICKET))


def number_of(session: bytes, tag: int) -> int:
    """The number in a field of an encoded session."""
    return int.from_bytes(_content(_field(session, tag)), "big")


def with_ticket(session: bytes, ticket: bytes) -> bytes:
    """The same session with another ticket."""
    return _with_field(session, TICKET, _element(OCTETS, ticket))


def long_ago(session: bytes, seconds: int = 100_000) -> bytes:
    """The same session, made that much earlier."""
    time = number_of(session, TIME) - seconds
    return _with_field(session, TIME, _element(INTEGER, time.to_bytes(time.bit_length() // 8 + 1, "big")))


def split(session: bytes) -> tuple[bytes, bytes]:
    """What stands before OpenSSL's encoding (nothing, in what a server is given), and the encoding."""
    for start in range(len(session)):
        if session[start] == SEQUENCE:
            for header in (2, 3, 4):
                if _element(SEQUENCE, session[start + header :]) == session[start:]:
                    return session[:start], session[start:]
    raise AssertionError("no encoded session")


def _field(session: bytes, tag: int) -> bytes:
    (found,) = [content for each, content in _elements(_content(split(session)[1])) if each == tag]
    return found


def _with_field(session: bytes, tag: int, content: bytes) -> bytes:
    head, encoded = split(session)
    fields = [(each, content if each == tag else old) for each, old in _elements(_content(encoded))]
    return head + _element(SEQUENCE, b"".join(_element(each, new) for each, new in fields))


def open_ticket(ticket: bytes, key: bytes) -> bytes:
    """The encoded session in a ticket that was made with these 48 bytes."""
    name, vector, sealed, mac = ticket[:16], ticket[16:32], ticket[32:-32], ticket[-32:]
    assert name == key[:16]
    assert mac == hmac.digest(key[16:32], ticket[:-32], hashlib.sha256)
    decryptor = Cipher(algorithms.AES(key[32:]), modes.CBC(vector)).decryptor()
    unpadder = PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(sealed) + decryptor.finalize()) + unpadder.finalize()


def seal_ticket(session: bytes, key: bytes) -> bytes:
    """A ticket for an encoded session, made with these 48 bytes."""
    vector = os.urandom(16)
    encryptor = Cipher(algorithms.AES(key[32:]), modes.CBC(vector)).encryptor()
    padder = PKCS7(128).padder()
    sealed = encryptor.update(padder.update(session) + padder.finalize()) + encryptor.finalize()
    ticket = key[:16] + vector + sealed
    return ticket + hmac.digest(key[16:32], ticket, hashlib.sha256)


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _content(element: bytes) -> bytes:
    ((_, content),) = _elements(element)
    return content


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        tag, size, start = data[0], data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        assert len(data) >= start + size
        found.append((tag, data[start : start + size]))
        data = data[start + size :]
    return found
