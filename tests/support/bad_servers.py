"""Servers that do not behave: Python's own ssl shakes hands, and its bytes are cut, changed, or followed by our own.

>>> async with behaving(behave, version="TLSv1.3") as stage:
...     error = await stage.visitor().failed()

`behave` is called with a `BadServer` for every connection; what it raises fails the test.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

import aiotls
from tests.hostile.handmade import prf
from tests.hostile.records import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    SERVER_CIPHERS,
    plain_record,
)
from tests.support.pairs import BarePeer, client_options
from tests.support.pki import Identity, named

VERSIONS = ("TLSv1.2", "TLSv1.3")
CERTIFICATE, KEY_UPDATE = 11, 24
CLOSED_WITHIN = 5.0
"""Seconds to wait for a close that comes at once: far less than any timeout, more than a busy machine needs."""

ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    90: "user_cancelled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
}
"""The alerts of RFC 8446, section 6, that a client may send, as OpenSSL spells them."""


class Exhausted(Exception):
    """What the server was allowed to send has left."""


class BadServer(BarePeer):
    """One connection of a client, seen from its server; every step is made by hand."""

    budget: int | None = None
    """How many bytes may leave; the next one raises `Exhausted`."""
    piece: int | None = None
    """The size of each write."""
    change: Callable[[bytes], bytes] = staticmethod(lambda flight: flight)
    """What becomes of a flight before it leaves."""
    sent = 0
    """How many bytes have left."""

    def __init__(self, end: socket.socket, stage: "Stage") -> None:
        super().__init__(end, stage.context, server=True)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stage = stage
        self._keys: _Keys | None = None
        self._secure = False
        self._server_random = b""
        self.hello = b""
        """The client's first flight."""

    async def flight(self) -> bytes:
        """Reads the client's first flight; returns the answer, which does not leave."""
        while len(self.hello) < 5 or len(self.hello) < 5 + int.from_bytes(self.hello[3:5], "big"):
            heard = await asyncio.get_running_loop().sock_recv(self.end, 65536)
            assert heard, "the client has gone before its hello"
            self.hello += heard
        self._incoming.write(self.hello)
        with contextlib.suppress(ssl.SSLError):  # it waits for more, or has no answer
            self._tls.do_handshake()
        answer = self._outgoing.read()
        self._server_random = answer[11:43]
        return answer

    @staticmethod
    def server_hello(flight: bytes) -> bytes:
        """Its first message, in its record."""
        message = flight[5 : 9 + int.from_bytes(flight[6:9], "big")]
        return plain_record(HANDSHAKE, message)

    async def handshake(self) -> None:
        """Shakes hands to its end; then `record` protects as the server does."""
        answer = await self.flight()
        await self.send(self.change(answer))
        await super().handshake()
        self._secure = True
        if self._tls.version() == "TLSv1.3":
            self._keys = _Keys13(self._stage.secret("SERVER_TRAFFIC_SECRET_0", self.hello))
        else:
            random = self._server_random + self.hello[11:43]
            block = prf(self._stage.secret("CLIENT_RANDOM", self.hello), b"key expansion" + random, 40)
            self._keys = _Keys12(block[16:32], block[36:40])

    def protect(self) -> None:
        """Lets `record` protect as the rest of the first flight of TLS 1.3 is protected."""
        self._keys = _Keys13(self._stage.secret("SERVER_HANDSHAKE_TRAFFIC_SECRET", self.hello))

    def record(self, content_type: int, payload: bytes, *, padding: int = 0) -> bytes:
        """The next protected record."""
        assert self._keys is not None, "the keys are not there yet"
        return self._keys.seal(content_type, payload, padding)

    def key_update(self) -> bytes:
        """A KeyUpdate in its record; what follows is under the new key (RFC 8446, section 7.2)."""
        assert isinstance(self._keys, _Keys13)
        record = self.record(HANDSHAKE, b"\x18\x00\x00\x01\x00")
        self._keys = _Keys13(_expand_label(self._keys.secret, b"traffic upd", 32))
        return record

    async def send(self, data: bytes) -> None:
        """Sends bytes as they are; that the client has gone is seen by `told`."""
        left = len(data) if self.budget is None else min(len(data), self.budget - self.sent)
        size = self.piece or left or 1
        for start in range(0, left, size):
            with contextlib.suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(self.end, data[start : min(start + size, left)])
        self.sent += left
        if left < len(data):
            raise Exhausted

    async def told(self) -> str:
        """Reads to the end, which the client has to make within seconds; the name of its alert, or nothing."""
        heard, alert = b"", ""
        async with asyncio.timeout(CLOSED_WITHIN):
            while data := await self.hear():
                heard += data
                while len(heard) >= 5 and len(heard) >= (size := 5 + int.from_bytes(heard[3:5], "big")):
                    record, heard = heard[:size], heard[size:]
                    alert = alert or self._alert(record)
        return alert

    async def hear(self) -> bytes:
        """What comes next; nothing at the end, which may be a reset."""
        try:
            return await asyncio.get_running_loop().sock_recv(self.end, 65536)
        except ConnectionError:
            return b""

    def _alert(self, record: bytes) -> str:
        """What a record of the client says, if it is an alert: in plain, or protected."""
        if record[0] == ALERT and len(record) == 7:
            return ALERTS[record[6]]
        self._incoming.write(record)
        try:
            if not self._secure:
                self._tls.do_handshake()
                self._secure = True
            while self._tls.read(65536):
                pass
        except ssl.SSLWantReadError:
            return ""
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError as error:
            name = (error.reason or "").lower()
            return name.partition("alert_")[2] or (name if name == "no_renegotiation" else "")
        return "close_notify"

    async def _send(self) -> None:
        if data := self._outgoing.read():
            await self.send(self.change(data))


Behaviour = Callable[[BadServer], Awaitable[Any]]


class Visitor:
    """A client, and all that it tells."""

    def __init__(self, client: aiotls.TLSSocket) -> None:
        self.client = client
        self.errors: list[Any] = []
        self.closed: list[bool] = []
        self.secure = 0
        self.data = b""
        self._gone = asyncio.Event()
        client.on("error", self.errors.append)
        client.on("secure_connect", self._count)
        client.on("close", self._close)

    def listen(self) -> "Visitor":
        """Lets the data flow into `data`."""
        self.client.on("data", self._take)
        return self

    async def gone(self) -> None:
        """Waits until it is closed."""
        await self._gone.wait()
        assert self.client.destroyed

    async def failed(self) -> Any:
        """Waits until it is closed; returns the error, which it must have told once, and before."""
        await self.gone()
        assert self.closed == [True]
        (error,) = self.errors
        return error

    def _count(self) -> None:
        self.secure += 1

    def _take(self, data: bytes) -> None:
        self.data += data

    def _close(self, had_error: bool) -> None:
        self.closed.append(had_error)
        self._gone.set()


class Stage:
    """A port of 127.0.0.1 where nobody is served as he should be."""

    def __init__(self, behave: Behaviour, version: str, identity: Identity, folder: Path) -> None:
        files = identity.write(folder)
        self._log = folder / "keys"
        self._behave = behave
        self._tasks: list[asyncio.Task[None]] = []
        self.port = 0
        self.version = version
        self.context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace(".", "_")]
        context.load_cert_chain(files.chain, files.key)
        context.keylog_filename = str(self._log)
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0

    def connect(self, **options: Any) -> aiotls.TLSSocket:
        """A client; its ciphers are those that `BadServer.record` knows, unless told otherwise."""
        return aiotls.connect("127.0.0.1", self.port, **client_options(**{"ciphers": SERVER_CIPHERS, **options}))

    def visitor(self, **options: Any) -> Visitor:
        """The same, watched."""
        return Visitor(self.connect(**options))

    def secret(self, label: str, hello: bytes) -> bytes:
        """A line of the key log."""
        random = hello[11:43].hex()
        for line in self._log.read_text().splitlines():
            if line.startswith(f"{label} {random} "):
                return bytes.fromhex(line.split()[2])
        raise AssertionError(f"no {label}")

    def accept(self, listening: socket.socket) -> None:
        """Takes whoever waits."""
        with contextlib.suppress(BlockingIOError):
            while True:
                end, _ = listening.accept()
                self._tasks.append(asyncio.create_task(self._serve(end)))

    async def finished(self) -> None:
        """Waits until every connection was dealt with, as meant."""
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _serve(self, end: socket.socket) -> None:
        with end:
            await self._behave(BadServer(end, self))


@contextlib.asynccontextmanager
async def behaving(
    behave: Behaviour, *, version: str = "TLSv1.3", identity: Identity | None = None
) -> AsyncIterator[Stage]:
    """A server that behaves so; at the end it must have come to the end of every behaviour.

    Args:
        behave: What happens to a connection.
        version: ``"TLSv1.2"`` or ``"TLSv1.3"``.
        identity: Its certificate; by default the everyday one.
    """
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        listening.setblocking(False)
        stage = Stage(behave, version, identity or named.server_ec, Path(folder))
        stage.port = listening.getsockname()[1]
        loop = asyncio.get_running_loop()
        loop.add_reader(listening, stage.accept, listening)
        try:
            yield stage
            await stage.finished()
        finally:
            loop.remove_reader(listening)
            await stage.stop()


async def length_of_handshake(version: str) -> int:
    """How many bytes a server sends until both sides are secure; a few more or less, as signatures are."""
    lengths: list[int] = []

    async def behave(server: BadServer) -> None:
        await server.handshake()
        lengths.append(server.sent)
        await server.told()

    async with behaving(behave, version=version) as stage:
        client = await stage.connect()
        client.destroy()
        await client.wait_closed()
    return lengths[0]


# ---- the protection of records


class _Keys12:
    """AES-128-GCM of TLS 1.2 (RFC 5288); its Finished was the first record."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._aead, self._salt = AESGCM(key), salt
        self._sequence = 1

    def seal(self, content_type: int, payload: bytes, padding: int = 0) -> bytes:
        explicit = self._sequence.to_bytes(8, "big")
        self._sequence += 1
        head = explicit + struct.pack("!BHH", content_type, 0x0303, len(payload))
        return plain_record(content_type, explicit + self._aead.encrypt(self._salt + explicit, payload, head))


class _Keys13:
    """AES-128-GCM of TLS 1.3 (RFC 8446, section 5.2)."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._aead = AESGCM(_expand_label(secret, b"key", 16))
        self._iv = int.from_bytes(_expand_label(secret, b"iv", 12), "big")
        self._sequence = 0

    def seal(self, content_type: int, payload: bytes, padding: int = 0) -> bytes:
        inner = payload + bytes([content_type] if content_type else []) + bytes(padding)
        head = struct.pack("!BHH", APPLICATION_DATA, 0x0303, len(inner) + 16)
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return head + self._aead.encrypt(nonce, inner, head)


_Keys = _Keys12 | _Keys13


def _expand_label(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, section 7.1) without context."""
    name = b"tls13 " + label
    info = struct.pack("!HB", size, len(name)) + name + b"\0"
    return HKDFExpand(hashes.SHA256(), size, info).derive(secret)
