"""A TLS 1.2 client by hand, for certificates that no library would load: it signs with the key that it is given.

ECDHE-ECDSA-AES128-GCM-SHA256 over X25519 alone; the server is not verified.  RFC 5246, RFC 8422.
"""

import asyncio
import hashlib
import os
import socket
import struct
from collections.abc import Sequence
from typing import Self

from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256"

_HANDSHAKE, _CHANGE_CIPHER_SPEC, _DATA = 22, 20, 23
_CLIENT_HELLO, _CERTIFICATE, _KEY_EXCHANGE, _CERTIFICATE_VERIFY, _CLIENT_KEY_EXCHANGE, _FINISHED = 1, 11, 12, 15, 16, 20
_SERVER_HELLO_DONE = 14


class Refused(Exception):
    """The server ended the connection, with an alert or without."""


class HandmadeClient:
    """One connection; `connected` makes it."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._incoming = b""
        self._handshake = b""
        self._messages: list[tuple[int, bytes]] = []
        self._sealing: tuple[AESGCM, bytes] | None = None
        self._opening: tuple[AESGCM, bytes] | None = None
        self._sent = self._received = 0

    @classmethod
    async def connected(cls, end: socket.socket, chain: Sequence[bytes], key: ec.EllipticCurvePrivateKey) -> Self:
        """Shakes hands, showing these certificates.

        Args:
            end: A connected socket.
            chain: Certificates as they travel, the leaf first.
            key: A P-256 key, to sign with.

        Raises:
            Refused: The server does not want it.
        """
        client = cls(end)
        random = os.urandom(32)
        await client._say(_CLIENT_HELLO, _client_hello(random))
        heard: dict[int, bytes] = {}
        while _SERVER_HELLO_DONE not in heard:
            kind, body = await client._next_message()
            heard[kind] = body
        server_random = heard[2][2:34]
        own = X25519PrivateKey.generate()
        shared = own.exchange(X25519PublicKey.from_public_bytes(heard[_KEY_EXCHANGE][4:36]))
        await client._say(_CERTIFICATE, _vector(3, b"".join(_vector(3, each) for each in chain)))
        public = own.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        await client._say(_CLIENT_KEY_EXCHANGE, _vector(1, public))
        signature = key.sign(client._handshake, ec.ECDSA(hashes.SHA256()))
        await client._say(_CERTIFICATE_VERIFY, b"\x04\x03" + _vector(2, signature))
        master = prf(shared, b"master secret" + random + server_random, 48)
        block = prf(master, b"key expansion" + server_random + random, 40)
        await client._send(_CHANGE_CIPHER_SPEC, b"\x01")
        client._sealing = AESGCM(block[:16]), block[32:36]
        transcript = hashlib.sha256(client._handshake).digest()
        await client._say(_FINISHED, prf(master, b"client finished" + transcript, 12))
        kind, _ = await client._next_record()
        assert kind == _CHANGE_CIPHER_SPEC
        client._opening = AESGCM(block[16:32]), block[36:40]
        kind, _ = await client._next_message()
        assert kind == _FINISHED
        return client

    async def write(self, data: bytes) -> None:
        await self._send(_DATA, data)

    async def read(self) -> bytes:
        """The data of the next record."""
        kind, data = await self._next_record()
        assert kind == _DATA
        return data

    # ---- messages and records

    async def _say(self, kind: int, body: bytes) -> None:
        message = bytes([kind]) + _vector(3, body)
        self._handshake += message
        for start in range(0, len(message), 2**14):
            await self._send(_HANDSHAKE, message[start : start + 2**14])

    async def _next_message(self) -> tuple[int, bytes]:
        while not self._messages:
            kind, data = await self._next_record()
            assert kind == _HANDSHAKE
            self._handshake += data
            while data:
                size = 4 + int.from_bytes(data[1:4], "big")
                while len(data) < size:
                    _, more = await self._next_record()
                    self._handshake += more
                    data += more
                self._messages.append((data[0], data[4:size]))
                data = data[size:]
        return self._messages.pop(0)

    async def _send(self, kind: int, data: bytes) -> None:
        if self._sealing is not None:
            aead, salt = self._sealing
            number = self._sent.to_bytes(8, "big")
            head = number + struct.pack("!BHH", kind, 0x0303, len(data))
            data = number + aead.encrypt(salt + number, data, head)
            self._sent += 1
        record = struct.pack("!BHH", kind, 0x0303, len(data)) + data
        try:
            await asyncio.get_running_loop().sock_sendall(self._end, record)
        except ConnectionError as error:
            raise Refused from error

    async def _next_record(self) -> tuple[int, bytes]:
        header = await self._exactly(5)
        data = await self._exactly(int.from_bytes(header[3:], "big"))
        if header[0] == 21:
            raise Refused(data)
        if self._opening is not None:
            aead, salt = self._opening
            head = self._received.to_bytes(8, "big") + header[:3] + (len(data) - 24).to_bytes(2, "big")
            data = aead.decrypt(salt + data[:8], data[8:], head)
            self._received += 1
        return header[0], data

    async def _exactly(self, size: int) -> bytes:
        while len(self._incoming) < size:
            try:
                more = await asyncio.get_running_loop().sock_recv(self._end, 65536)
            except ConnectionError as error:
                raise Refused from error
            if not more:
                raise Refused
            self._incoming += more
        data, self._incoming = self._incoming[:size], self._incoming[size:]
        return data


def _client_hello(random: bytes) -> bytes:
    extensions: dict[int, bytes] = {
        0: _vector(2, b"\0" + _vector(2, b"localhost")),
        10: _vector(2, b"\x00\x1d\x00\x17"),
        11: _vector(1, b"\0"),
        13: _vector(2, b"\x04\x03\x08\x04\x04\x01"),
        0xFF01: b"\0",
    }
    listed = b"".join(struct.pack("!H", kind) + _vector(2, body) for kind, body in extensions.items())
    return b"\x03\x03" + random + b"\0" + _vector(2, b"\xc0\x2b") + b"\x01\0" + _vector(2, listed)


def _vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """P_SHA256 (RFC 5246, section 5); the label is part of the seed."""

    def mac(data: bytes) -> bytes:
        code = hmac.HMAC(secret, hashes.SHA256())
        code.update(data)
        return code.finalize()

    out, a = b"", seed
    while len(out) < size:
        a = mac(a)
        out += mac(a + seed)
    return out[:size]
