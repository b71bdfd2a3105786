"""Two ends of one connection: without I/O, in memory, and over everything that can carry TLS.

`Pair` is two `aiotls.Connection` objects wired in memory; `streams` gives both ends of something that carries bytes;
`tls_pair` puts a client and a server `TLSSocket` on them; `BarePeer` is Python's own ssl, for what an aiotls peer never
does: falling silent, hanging up without close_notify.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import aiotls
from aiotls import _native
from aiotls.connection import Notice
from tests.support.pki import named

KINDS = ("socketpair", "tcp", "transport", "streams", "duplex", "tls-in-tls", "tls-in-tls-crossed")
"""What can carry TLS; crossed: the inner client runs over the outer server."""


def client_options(**options: Any) -> dict[str, Any]:
    """The options of a client that trusts `pki.ca` and asks for localhost."""
    return {"ca": named.ca.cert_pem, "servername": "localhost", **options}


def server_options(**options: Any) -> dict[str, Any]:
    """The options of a server for localhost, with a P-256 key."""
    return {"cert": named.server_ec.chain_pem, "key": named.server_ec.key_pem, **options}


# ---- without I/O


@dataclass
class Side:
    """One connection and what it has reported."""

    connection: aiotls.Connection
    notices: list[Notice] = field(default_factory=list)

    @property
    def kinds(self) -> list[int]:
        """The notices without their payloads."""
        return [kind for kind, _ in self.notices]

    @property
    def received(self) -> bytes:
        """The application data so far."""
        return b"".join(
            payload for kind, payload in self.notices if kind == _native.NOTICE_DATA and isinstance(payload, bytes)
        )

    @property
    def error(self) -> Exception:
        """The exception for the failure that was reported."""
        (failure,) = [payload for kind, payload in self.notices if kind == _native.NOTICE_FAILED]
        return self.connection.error(failure)


class Pair:
    """A client and a server, wired to each other.

    Args:
        client: Settings of the client; a context that trusts `pki.ca` by default.
        server: Settings of the server; with `pki.server_ec` by default.
        hostname: What the client verifies the certificate for.
        servername: What the client sends as server name.
        ask_always: Whether the client asks about each certificate.
    """

    def __init__(
        self,
        *,
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        hostname: str = "localhost",
        servername: str | None = "localhost",
        ask_always: bool = True,
    ) -> None:
        self.client = Side(
            aiotls.Connection(
                _settings(server=False, **(client or {})),
                servername=servername,
                hostname=hostname,
                ask_always=ask_always,
            )
        )
        self.server = Side(aiotls.Connection(_settings(server=True, **(server or {}))))

    @classmethod
    def connected(cls, **options: Any) -> Self:
        """A pair whose handshake is done."""
        pair = cls(**options)
        pair.run()
        assert pair.client.connection.phase is aiotls.Phase.OPEN
        assert pair.server.connection.phase is aiotls.Phase.OPEN
        return pair

    def run(self, *, answer: bool = True) -> None:
        """Lets both talk until neither has anything to say; questions get the standard answer when `answer` is true."""
        while self.turn(answer=answer):
            pass

    def turn(self, *, answer: bool = True, size: int | None = None) -> bool:
        """Lets each side say something once, in pieces of `size` bytes; answers whether anything happened."""
        happened = False
        for side, other in ((self.client, self.server), (self.server, self.client)):
            notices = side.connection.advance()
            side.notices += notices
            if answer and side.connection.question is not None:
                side.connection.answer(side.connection.check_identity())
                happened = True
            data = side.connection.drain()
            for start in range(0, len(data), size or len(data) or 1):
                other.connection.feed(data[start : start + (size or len(data))])
                other.notices += other.connection.advance()
            happened = happened or bool(data or notices)
        return happened


def _settings(*, server: bool, **options: Any) -> aiotls.ConnectionSettings:
    chosen = {"cert", "key", "ca", "min_version", "max_version", "ciphers", "ecdh_curve", "sigalgs"} & options.keys()
    context: dict[str, Any] = {name: options.pop(name) for name in chosen}
    defaults = server_options() if server else {"ca": named.ca.cert_pem}
    if "context" not in options:
        options["context"] = aiotls.create_secure_context(**{**defaults, **context})
    return aiotls.ConnectionSettings(server=server, **options)


# ---- what carries TLS


class MemoryDuplex:
    """One end of a stream in memory that follows the `aiotls.Duplex` protocol.

    A write completes in a later turn of the loop, and not while the stream is stalled or the other end holds much.
    """

    LIMIT = 256 * 1024

    def __init__(self) -> None:
        self.peer: MemoryDuplex
        self.closed = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._queued: list[bytes] = []
        self._incoming = bytearray()
        self._ended = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @classmethod
    def pair(cls) -> tuple["MemoryDuplex", "MemoryDuplex"]:
        """Both ends."""
        one, other = cls(), cls()
        one.peer, other.peer = other, one
        return one, other

    def stall(self) -> None:
        """Keeps what is written until `flow`."""
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    async def read(self, size: int) -> bytes:
        while not self._incoming and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._incoming[:size])
        del self._incoming[:size]
        if len(self._incoming) < self.LIMIT:
            self._room.set()
        return data

    def write(self, data: bytes) -> None:
        self._queued.append(data)

    async def drain(self) -> None:
        await asyncio.sleep(0)
        await self._flowing.wait()
        await self.peer._room.wait()
        queued, self._queued = self._queued, []
        for data in queued:
            self.peer.deliver(data)

    def deliver(self, data: bytes) -> None:
        """Lets this end receive something; nothing is the end."""
        self._incoming += data
        self._ended = self._ended or not data
        if len(self._incoming) >= self.LIMIT:
            self._room.clear()
        self._changed.set()

    def write_eof(self) -> None:
        self.peer.deliver(b"")

    def close(self) -> None:
        self.closed.set()
        self._room.set()
        self.peer.deliver(b"")
        self.deliver(b"")


async def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection on loopback."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        near = socket.socket()
        near.setblocking(False)
        accepting = loop.create_task(loop.sock_accept(listening))
        await loop.sock_connect(near, listening.getsockname())
        far, _ = await accepting
    return near, far


@contextlib.asynccontextmanager
async def streams(kind: str) -> AsyncIterator[tuple[Any, Any]]:
    """The client's and the server's end of a stream of one of `KINDS`."""
    loop = asyncio.get_running_loop()
    if kind in ("socketpair", "tcp"):
        near, far = socket.socketpair() if kind == "socketpair" else await tcp_pair()
        with near, far:
            yield near, far
    elif kind == "transport":
        ends = [(await loop.create_connection(asyncio.Protocol, sock=end))[0] for end in await tcp_pair()]
        try:
            yield ends[0], ends[1]
        finally:
            for end in ends:
                end.abort()
    elif kind == "streams":
        pairs = [await asyncio.open_connection(sock=end) for end in await tcp_pair()]
        try:
            yield pairs[0], pairs[1]
        finally:
            for _, writer in pairs:
                writer.transport.abort()
    elif kind == "duplex":
        yield MemoryDuplex.pair()
    else:
        async with tls_pair("socketpair") as (outer_client, outer_server):
            yield (outer_client, outer_server) if kind == "tls-in-tls" else (outer_server, outer_client)


@contextlib.asynccontextmanager
async def tls_pair(
    kind: str = "socketpair",
    *,
    client: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    secure: bool = True,
) -> AsyncIterator[tuple[aiotls.TLSSocket, aiotls.TLSSocket]]:
    """A client and a server socket over one of `KINDS`; both are gone at the end.

    Args:
        kind: What carries them.
        client: Options of the client, besides `client_options`.
        server: Options of the server, besides `server_options`.
        secure: Whether to wait for both handshakes.
    """
    async with streams(kind) as (client_stream, server_stream):
        far = aiotls.TLSSocket(server_stream, is_server=True, **server_options(**(server or {})))
        near = aiotls.connect(socket=client_stream, **client_options(**(client or {})))
        try:
            if secure:
                await asyncio.gather(near, far)
            yield near, far
        finally:
            await gone(near)
            await gone(far)


async def until(condition: Callable[[], object]) -> None:
    """Lets the loop turn until something holds; the time limit of the test is the bound."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def gone(*sockets: aiotls.TLSSocket) -> None:
    """Destroys sockets and waits until they are closed."""
    for each in sockets:
        each.destroy()
        with contextlib.suppress(aiotls.TLSError):
            await each.wait_closed()


# ---- another implementation


class BarePeer:
    """Python's own ssl over a TCP connection, each step by hand.

    Args:
        end: Our end of a connected stream.
        context: What it starts with.
        server: Its role.
        session: A session to resume.
    """

    def __init__(
        self, end: socket.socket, context: ssl.SSLContext, *, server: bool, session: ssl.SSLSession | None = None
    ) -> None:
        end.setblocking(False)
        self.end = end
        self.context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server,
            server_hostname=None if server else "localhost",
            session=session,
        )

    @property
    def session(self) -> ssl.SSLSession | None:
        """What could be resumed."""
        return self._tls.session

    @classmethod
    def client(cls, end: socket.socket, version: ssl.TLSVersion | None = None) -> Self:
        """A client that trusts `pki.ca`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=named.ca.cert_pem.decode())
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return cls(end, context, server=False)

    async def handshake(self) -> None:
        await self._do(self._tls.do_handshake)

    async def write(self, data: bytes) -> None:
        await self._do(self._tls.write, data)

    async def read(self, size: int = 65536) -> bytes:
        """At most `size` bytes; nothing at close_notify."""
        try:
            data: bytes = await self._do(self._tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""
        return data

    async def close_notify(self) -> None:
        """Sends close_notify, and leaves the connection open."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self._send()

    async def read_eof(self) -> bool:
        """Whether the next thing that comes on the connection below is its end."""
        return not await asyncio.get_running_loop().sock_recv(self.end, 1)

    def hang_up(self) -> None:
        """Ends the stream below without a word."""
        self.end.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes with RST."""
        self.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end.close()

    async def _do(self, step: Any, *arguments: Any) -> Any:
        while True:
            try:
                result = step(*arguments)
            except ssl.SSLWantReadError:
                await self._send()
                data = await asyncio.get_running_loop().sock_recv(self.end, 65536)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                await self._send()
                return result

    async def _send(self) -> None:
        if data := self._outgoing.read():
            await asyncio.get_running_loop().sock_sendall(self.end, data)
