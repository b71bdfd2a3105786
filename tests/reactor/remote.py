"""Python's own ssl as a peer that sends exactly the bytes it is told to, when it is told to."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any, Self, TypeAlias

import aiotls
from aiotls import _native
from tests.native.test_reactor import Driver, attach
from tests.support.pairs import until
from tests.support.pki import named
from tests.support.servers import port_of, serving

OVERHEAD = 22
"""What a record of TLS 1.3 has besides its data: a header, the inner type, a tag."""
RECORD = 2**14

Crowd: TypeAlias = "tuple[aiotls.Server, list[Remote], list[aiotls.TLSSocket]]"


def stream_pair(*, tcp: bool = False, buffer: int = 2**22) -> tuple[socket.socket, socket.socket]:
    """Both ends of a stream whose buffers in the system hold much."""
    if tcp:
        with socket.socket() as listening:
            # The window is agreed upon when the connection is made.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            near = socket.socket()
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            near.connect(listening.getsockname())
            far, _ = listening.accept()
    else:
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    return near, far


class Remote:
    """A TLS client on one end of a stream; nothing leaves before `send`.

    Args:
        end: Our end.
        version: The only version it speaks.
    """

    def __init__(self, end: socket.socket, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=named.ca.cert_pem.decode())
        context.minimum_version = context.maximum_version = version
        if version is ssl.TLSVersion.TLSv1_3:
            # Of all suites: one whose records are `OVERHEAD` longer than their data.  It is the first there anyway.
            assert context.get_ciphers()[0]["name"] == "TLS_AES_256_GCM_SHA384"
        end.setblocking(False)
        self.end = end
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def last_flight(self, driver: Driver) -> bytes:
        """Shakes hands up to our last flight, which is not sent but returned."""
        while True:
            self._take()
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send(self._outgoing.read())
                driver.turn(0.05)
            else:
                return self._outgoing.read()

    def shake(self, driver: Driver) -> None:
        """Shakes hands."""
        self.send(self.last_flight(driver))

    async def join(self) -> Self:
        """Shakes hands with a socket of the running loop."""
        while True:
            self._take()
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send(self._outgoing.read())
                await asyncio.sleep(0)
            else:
                self.send(self._outgoing.read())
                return self

    def sealed(self, data: bytes) -> bytes:
        """The records of `data`."""
        self.tls.write(data)
        return self._outgoing.read()

    def sealed_to(self, size: int) -> tuple[bytes, bytes]:
        """Data whose records are `size` bytes together, and these records (TLS 1.3)."""
        full, rest = divmod(size, RECORD + OVERHEAD)
        if 0 < rest <= OVERHEAD:
            full, rest = full - 1, rest + RECORD + OVERHEAD
        data = pattern(full * RECORD)
        records = self.sealed(data) if data else b""
        while rest:
            # The last record is divided where it would be too small or too large.
            piece = min(rest, RECORD + OVERHEAD) if rest <= RECORD + OVERHEAD else rest - OVERHEAD - 1
            more = pattern(piece - OVERHEAD)
            data, records, rest = data + more, records + self.sealed(more), rest - piece
        assert len(records) == size
        return data, records

    def farewell(self) -> bytes:
        """The record of close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
            self.tls.unwrap()
        return self._outgoing.read()

    def send(self, words: bytes) -> None:
        """Hands all of `words` to the system, which has room for them."""
        assert not words or self.end.send(words) == len(words), "the system has no room"

    def received(self) -> bytes:
        """What came and was not taken yet."""
        self._take()
        data = b""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while more := self.tls.read(2**20):
                data += more
        return data

    def hang_up(self) -> None:
        """Ends the stream below."""
        self.end.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes with RST."""
        self.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end.close()

    def _take(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while data := self.end.recv(2**20):
                self._incoming.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end.close()


def dial(server: aiotls.Server) -> Remote:
    """A client that the system has connected to a server, which does not know yet."""
    end = socket.create_connection(("127.0.0.1", port_of(server)))
    end.setblocking(False)
    return Remote(end)


@contextlib.asynccontextmanager
async def crowd(
    count: int, **options: Any
) -> AsyncIterator[tuple[aiotls.Server, list[Remote], list[aiotls.TLSSocket]]]:
    """A server, secure clients of it, and the server's sockets in the same order."""
    sockets: list[aiotls.TLSSocket] = []
    with contextlib.ExitStack() as held:
        async with serving(sockets.append, **options) as server:
            remotes = []
            for _ in range(count):
                remotes.append(held.enter_context(dial(server)))
                await remotes[-1].join()
                await until(lambda: len(sockets) == len(remotes))
                remotes[-1].received()  # tickets
            yield server, remotes, sockets


def accepted(
    driver: Driver, *, tcp: bool = False, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> tuple[Remote, int]:
    """A peer and the token of our server's connection with it, both secure."""
    near, far = stream_pair(tcp=tcp)
    remote, token = Remote(near, version), attach(driver, far, server=True)
    remote.shake(driver)
    driver.until(lambda: driver.saw(token, _native.NOTICE_SECURE))
    remote.received()  # tickets
    return remote, token


def pattern(size: int) -> bytes:
    """Bytes of which no part looks like another."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]
