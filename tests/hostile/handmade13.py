"""A TLS 1.3 client by hand, for what no library would offer: pre-shared keys in any order, with any binders.

TLS_AES_256_GCM_SHA384 over X25519 alone; the server is not verified, and no certificate is shown.  RFC 8446.
"""

import asyncio
import hashlib
import hmac
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _TICKET, _CERTIFICATE, _CERTIFICATE_REQUEST, _FINISHED = 1, 2, 4, 11, 13, 20
_PRE_SHARED_KEY, _KEY_SHARE = 41, 51
_SIZE = 48
"""Of SHA-384."""


class Refused(Exception):
    """The server ended the connection, with an alert or without."""


@dataclass(frozen=True)
class Offer:
    """One entry of the pre_shared_key extension."""

    identity: bytes
    key: bytes | None = None
    """None: the binder is made up."""
    age: int = 0
    label: bytes = b"res binder"
    """Or ``ext binder``, for keys that are no tickets; some servers expect the wrong one."""


class HandmadeClient:
    """One connection; `connected` makes it."""

    selected: int | None = None
    """Which offer the server has taken."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._incoming = b""
        self._transcript = hashlib.sha384()
        self._messages: list[bytes] = []
        self._partial = b""
        self._sealing: _Keys | None = None
        self._opening: _Keys | None = None
        self._resumption = b""

    @classmethod
    async def connected(cls, end: socket.socket, offers: Sequence[Offer] = ()) -> Self:
        """Shakes hands.

        Args:
            end: A connected socket.
            offers: Pre-shared keys, in their order.

        Raises:
            Refused: The server does not want it.
        """
        client = cls(end)
        own = X25519PrivateKey.generate()
        await client._send(_HANDSHAKE, client._note(client_hello(own, offers)))
        hello = await client._next_message(_SERVER_HELLO)
        extensions = _extensions(hello)
        early = _extract(bytes(_SIZE), bytes(_SIZE))
        if _PRE_SHARED_KEY in extensions:
            client.selected = int.from_bytes(extensions[_PRE_SHARED_KEY], "big")
            key = offers[client.selected].key
            assert key is not None
            early = _extract(bytes(_SIZE), key)
        shared = own.exchange(X25519PublicKey.from_public_bytes(extensions[_KEY_SHARE][4:]))
        secret = _extract(_derive(early, b"derived", hashlib.sha384()), shared)
        sending = _derive(secret, b"c hs traffic", client._transcript)
        receiving = _derive(secret, b"s hs traffic", client._transcript)
        client._opening = _Keys(receiving)
        asked = False
        while (message := await client._next_message())[0] != _FINISHED:
            asked = asked or message[0] == _CERTIFICATE_REQUEST
        master = _extract(_derive(secret, b"derived", hashlib.sha384()), bytes(_SIZE))
        traffic = [_derive(master, label, client._transcript) for label in (b"c ap traffic", b"s ap traffic")]
        client._sealing = _Keys(sending)
        if asked:
            await client._send(_HANDSHAKE, client._note(_message(_CERTIFICATE, bytes(4))))
        await client._send(_HANDSHAKE, client._note(_message(_FINISHED, _finished(sending, client._transcript))))
        client._resumption = _derive(master, b"res master", client._transcript)
        client._sealing, client._opening = _Keys(traffic[0]), _Keys(traffic[1])
        return client

    async def ticket(self) -> Offer:
        """The next ticket of the server, to be offered."""
        body = (await self._next_message(_TICKET))[4:]
        age_add, nonce_size = int.from_bytes(body[4:8], "big"), body[8]
        nonce, rest = body[9 : 9 + nonce_size], body[9 + nonce_size :]
        identity = rest[2 : 2 + int.from_bytes(rest[:2], "big")]
        return Offer(identity, _expand(self._resumption, b"resumption", nonce), age_add)

    async def write(self, data: bytes) -> None:
        await self._send(_DATA, data)

    # ---- messages and records

    def _note(self, message: bytes) -> bytes:
        self._transcript.update(message)
        return message

    async def _next_message(self, wanted: int | None = None) -> bytes:
        while len(self._partial) < 4 or len(self._partial) < 4 + int.from_bytes(self._partial[1:4], "big"):
            kind, data = await self._next_record()
            assert kind == _HANDSHAKE
            self._partial += data
        size = 4 + int.from_bytes(self._partial[1:4], "big")
        message, self._partial = self._partial[:size], self._partial[size:]
        assert wanted in (None, message[0])
        return self._note(message)

    async def _send(self, kind: int, data: bytes) -> None:
        if self._sealing is not None:
            data, kind = self._sealing.seal(data + bytes([kind])), _DATA
        await asyncio.get_running_loop().sock_sendall(self._end, struct.pack("!BHH", kind, 0x0303, len(data)) + data)

    async def _next_record(self) -> tuple[int, bytes]:
        while True:
            head = await self._take(5)
            kind, data = head[0], await self._take(int.from_bytes(head[3:], "big"))
            if kind == _CHANGE_CIPHER_SPEC:
                continue
            if self._opening is not None and kind == _DATA:
                data = self._opening.open(data, head).rstrip(b"\0")
                data, kind = data[:-1], data[-1]
            if kind == _ALERT:
                raise Refused(f"alert {data[1]}")
            return kind, data

    async def _take(self, size: int) -> bytes:
        while len(self._incoming) < size:
            more = await asyncio.get_running_loop().sock_recv(self._end, 65536)
            if not more:
                raise Refused("the end of the stream")
            self._incoming += more
        taken, self._incoming = self._incoming[:size], self._incoming[size:]
        return taken


def client_hello(own: X25519PrivateKey, offers: Sequence[Offer]) -> bytes:
    """A ClientHello, with its binders."""
    public = own.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    schemes = b"".join(scheme.to_bytes(2, "big") for scheme in (0x0403, 0x0804, 0x0401, 0x0807))
    extensions = b"".join(
        _extension(number, body)
        for number, body in (
            (0, _vector(2, b"\0" + _vector(2, b"localhost"))),
            (10, _vector(2, b"\x00\x1d")),
            (13, _vector(2, schemes)),
            (43, _vector(1, b"\x03\x04")),
            (45, _vector(1, b"\x01")),
            (_KEY_SHARE, _vector(2, b"\x00\x1d" + _vector(2, public))),
        )
    )
    fixed = b"\x03\x03" + os.urandom(32) + _vector(1, os.urandom(32)) + _vector(2, b"\x13\x02") + b"\x01\x00"
    if not offers:
        return _message(_CLIENT_HELLO, fixed + _vector(2, extensions))
    identities = _vector(2, b"".join(_vector(2, each.identity) + each.age.to_bytes(4, "big") for each in offers))
    made_up = [os.urandom(_SIZE) for _ in offers]

    def hello(binders: list[bytes]) -> bytes:
        keys = _extension(_PRE_SHARED_KEY, identities + _vector(2, b"".join(_vector(1, each) for each in binders)))
        return _message(_CLIENT_HELLO, fixed + _vector(2, extensions + keys))

    truncated = hello(made_up)[: -(2 + len(offers) * (1 + _SIZE))]
    return hello([_binder(each, truncated) or other for each, other in zip(offers, made_up, strict=True)])


def _binder(offer: Offer, truncated: bytes) -> bytes | None:
    if offer.key is None:
        return None
    key = _derive(_extract(bytes(_SIZE), offer.key), offer.label, hashlib.sha384())
    return _finished(key, hashlib.sha384(truncated))


class _Keys:
    """The keys of one direction."""

    def __init__(self, secret: bytes) -> None:
        self._aead = AESGCM(_expand(secret, b"key", b"", 32))
        self._iv = int.from_bytes(_expand(secret, b"iv", b"", 12), "big")
        self._count = 0

    def seal(self, data: bytes) -> bytes:
        head = struct.pack("!BHH", _DATA, 0x0303, len(data) + 16)
        return self._aead.encrypt(self._nonce(), data, head)

    def open(self, data: bytes, head: bytes) -> bytes:
        return self._aead.decrypt(self._nonce(), data, head)

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self._count).to_bytes(12, "big")
        self._count += 1
        return nonce


# ---- the key schedule (RFC 8446, section 7.1)


def _extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, "sha384")


def _expand(secret: bytes, label: bytes, context: bytes, size: int = _SIZE) -> bytes:
    info = size.to_bytes(2, "big") + _vector(1, b"tls13 " + label) + _vector(1, context)
    return hmac.digest(secret, info + b"\x01", "sha384")[:size]


def _derive(secret: bytes, label: bytes, transcript: "hashlib._Hash") -> bytes:
    return _expand(secret, label, transcript.digest())


def _finished(secret: bytes, transcript: "hashlib._Hash") -> bytes:
    return hmac.digest(_expand(secret, b"finished", b""), transcript.digest(), "sha384")


# ---- encoding


def _vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _vector(3, body)


def _extension(number: int, body: bytes) -> bytes:
    return number.to_bytes(2, "big") + _vector(2, body)


def _extensions(hello: bytes) -> dict[int, bytes]:
    body = hello[4 + 2 + 32 :]
    body = body[1 + body[0] + 3 + 2 :]
    found = {}
    while body:
        number, size = struct.unpack("!HH", body[:4])
        found[number], body = body[4 : 4 + size], body[4 + size :]
    return found
