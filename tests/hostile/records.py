"""A TLS client that can also write records which no TLS client would write.

It shakes hands by Python's own ssl, takes the secrets from its key log, and from then on encrypts by itself.
"""

import asyncio
import os
import socket
import ssl
import struct
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

import aiotls
from tests.hostile.handmade import prf
from tests.support.pairs import BarePeer
from tests.support.pki import named
from tests.support.servers import port_of

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
KEY_UPDATE = b"\x18\x00\x00\x01\x00"
"""A message that only tells that the sender changes its keys."""

SERVER_CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256"
"""What the server must be told to use."""


def plain_record(content_type: int, payload: bytes, version: int = 0x0303) -> bytes:
    """A record without protection."""
    return struct.pack("!BHH", content_type, version, len(payload)) + payload


class RecordPeer(BarePeer):
    """The client; `records` are the protected ones that it writes besides."""

    _secret = b""
    _key = b""
    _iv = b""
    _sequence = 0

    @classmethod
    async def connected(cls, server: aiotls.Server, version: str, folder: Path) -> Self:
        """Shakes hands with `server`, whose `ciphers` must be `SERVER_CIPHERS`.

        Args:
            server: It listens on 127.0.0.1.
            version: ``"TLSv1.2"`` or ``"TLSv1.3"``.
            folder: For the key log.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=named.ca.cert_pem.decode())
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace(".", "_")]
        log = folder / f"keys-{os.urandom(8).hex()}"
        context.keylog_filename = str(log)
        near = socket.socket()
        near.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(near, ("127.0.0.1", port_of(server)))
        peer = cls(near, context, server=False)
        heard = _Listening(peer._incoming)
        peer._incoming = heard  # type: ignore[assignment]
        await peer.handshake()
        secrets = {line.split()[0]: line.split()[1:] for line in log.read_text().splitlines() if line[:1] != "#"}
        if version == "TLSv1.3":
            peer._use(bytes.fromhex(secrets["CLIENT_TRAFFIC_SECRET_0"][1]))
        else:
            client_random, master = (bytes.fromhex(text) for text in secrets["CLIENT_RANDOM"])
            server_random = bytes(heard.first[11:43])
            block = prf(master, b"key expansion" + server_random + client_random, 40)
            peer._key, peer._iv = block[:16], block[32:36]
            peer._sequence = 1  # its Finished was the first
        return peer

    async def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        await asyncio.get_running_loop().sock_sendall(self.end, data)

    def record(self, content_type: int, payload: bytes, *, padding: int = 0) -> bytes:
        """The next protected record."""
        number = self._sequence
        self._sequence += 1
        if self._secret:
            inner = payload + bytes([content_type] if content_type else []) + bytes(padding)
            header = struct.pack("!BHH", APPLICATION_DATA, 0x0303, len(inner) + 16)
            nonce = bytes(a ^ b for a, b in zip(self._iv, number.to_bytes(12, "big"), strict=True))
            return header + AESGCM(self._key).encrypt(nonce, inner, header)
        explicit = number.to_bytes(8, "big")
        head = explicit + struct.pack("!BHH", content_type, 0x0303, len(payload))
        sealed = explicit + AESGCM(self._key).encrypt(self._iv + explicit, payload, head)
        return struct.pack("!BHH", content_type, 0x0303, len(sealed)) + sealed

    def key_update(self) -> bytes:
        """A KeyUpdate in its record; what follows is under the new key (RFC 8446, section 7.2)."""
        record = self.record(HANDSHAKE, KEY_UPDATE)
        self._use(_expand_label(self._secret, b"traffic upd", 32))
        return record

    async def hears_an_alert(self) -> str:
        """Reads to the end, which must be a fatal alert and then the end of the stream; returns OpenSSL's reason."""
        try:
            while await self.read():
                pass
        except ssl.SSLError as error:
            reason = error.reason or ""
            assert "ALERT" in reason, reason
            assert await self.read_eof()
            return reason
        raise AssertionError("an end without an alert")

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key, self._iv = _expand_label(secret, b"key", 16), _expand_label(secret, b"iv", 12)
        self._sequence = 0


class _Listening:
    """A MemoryBIO that remembers what came first."""

    def __init__(self, below: ssl.MemoryBIO) -> None:
        self._below = below
        self.first = bytearray()

    def write(self, data: bytes) -> int:
        self.first += data
        return self._below.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def _expand_label(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, section 7.1) without context."""
    name = b"tls13 " + label
    info = struct.pack("!HB", size, len(name)) + name + b"\0"
    return HKDFExpand(hashes.SHA256(), size, info).derive(secret)
