"""HTTP in miniature: a server that gives a file and takes one, and a client that fetches and sends it."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiotls

CHUNK = 256 * 1024
GREETING = b"hello from aiotls\n"


@dataclass
class Served:
    """What our server knows of one connection."""

    protocol: str
    cipher: str
    alpn: str
    authorized: bool
    authorization_error: str | None
    resumed: bool
    size: int = 0
    seconds: float = 0.0
    sha256: str = ""


class FileServer:
    """Our server: ``GET /`` greets, ``GET /file`` gives the file, ``PUT`` takes one and answers with its SHA-256.

    Args:
        file: The file that it gives.
        size: The file's size in bytes.
        progress: Called with the number of bytes moved.
        options: Those of `aiotls.create_server`.
    """

    def __init__(self, file: Path, size: int, progress: Callable[[int], None], **options: Any) -> None:
        self._file = file
        self._size = size
        self._progress = progress
        self._server = aiotls.create_server(self._serve, **options)
        self._server.on("tls_client_error", lambda error, _socket: self.refused.put_nowait(error))
        self.served: asyncio.Queue[Served] = asyncio.Queue()
        self.refused: asyncio.Queue[aiotls.TLSError] = asyncio.Queue()
        self.port = 0

    async def __aenter__(self) -> Self:
        await self._server.listen(0, "127.0.0.1")
        address = self._server.address()
        assert address
        assert address.port
        self.port = address.port
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._server.close_all_connections()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, socket: aiotls.TLSSocket) -> None:
        served = Served(
            protocol=socket.get_protocol() or "",
            cipher=cipher.name if (cipher := socket.get_cipher()) else "",
            alpn=str(socket.alpn_protocol or ""),
            authorized=socket.authorized,
            authorization_error=socket.authorization_error,
            resumed=bool(socket.is_session_reused()),
        )
        # A peer that has what it wants may be gone before our close_notify.
        with contextlib.suppress(ConnectionError):
            head = await socket.readuntil(b"\r\n\r\n")
            method, target = head.split(b" ")[:2]
            start = time.perf_counter()
            if method == b"PUT":
                served.size, served.sha256 = await self._take(socket, head)
            else:
                served.size = await self._give(socket, target)
            served.seconds = time.perf_counter() - start
            self.served.put_nowait(served)
            socket.end()
            await socket.wait_closed()

    async def _give(self, socket: aiotls.TLSSocket, target: bytes) -> int:
        if target != b"/file":
            socket.write(_answer(len(GREETING)) + GREETING)
            await socket.drain()
            return len(GREETING)
        socket.write(_answer(self._size))
        await send_file(socket, self._file, self._progress)
        return self._size

    async def _take(self, socket: aiotls.TLSSocket, head: bytes) -> tuple[int, str]:
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        size, sha256 = await receive_file(socket, int(fields[b"content-length"]), self._progress)
        socket.write(_answer(len(sha256)) + sha256.encode())
        await socket.drain()
        return size, sha256


async def fetch(socket: aiotls.TLSSocket, target: str, progress: Callable[[int], None]) -> tuple[int, str]:
    """Asks a server for `target`; returns the number of bytes and their SHA-256."""
    socket.write(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    await socket.readuntil(b"\r\n\r\n")
    return await receive_file(socket, None, progress)


async def send(socket: aiotls.TLSSocket, file: Path, size: int, progress: Callable[[int], None]) -> str:
    """Sends the file of `size` bytes to a server; returns the SHA-256 that the server answers."""
    socket.write(f"PUT /file HTTP/1.1\r\nHost: demo\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode())
    await send_file(socket, file, progress)
    await socket.readuntil(b"\r\n\r\n")
    return (await socket.readexactly(64)).decode()


async def send_file(socket: aiotls.TLSSocket, file: Path, progress: Callable[[int], None]) -> None:
    """Writes the file, no faster than the peer takes it."""
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            socket.write(chunk)
            await socket.drain()
            progress(len(chunk))


async def receive_file(socket: aiotls.TLSSocket, size: int | None, progress: Callable[[int], None]) -> tuple[int, str]:
    """Reads `size` bytes, or all to the end; returns how many came and their SHA-256."""
    digest = hashlib.sha256()
    received = 0
    while size is None or received < size:
        chunk = await socket.read(CHUNK if size is None else min(CHUNK, size - received))
        if not chunk:
            break
        digest.update(chunk)
        received += len(chunk)
        progress(len(chunk))
    return received, digest.hexdigest()


def _answer(size: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode()
