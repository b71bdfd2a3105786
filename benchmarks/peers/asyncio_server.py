"""A TLS server on Python's own ssl: ``asyncio_server.py PORT CERT KEY``, an `asyncio.Protocol` for each connection.

``LOOP=uvloop`` runs it on uvloop, ``AIOFASTNET=1`` on the transports of aiofastnet.  After the handshake it reads
lines: ``D <n>`` sends n bytes, ``U <n>`` takes n bytes and answers ``OK <n>``, ``E`` echoes everything after it.
"""

import asyncio
import importlib
import os
import ssl
import sys
from typing import Any, cast

CHUNK = bytes(256 * 1024)
LINE, DOWNLOAD, UPLOAD, ECHO = range(4)


class Conversation(asyncio.Protocol):
    """One client."""

    __slots__ = ("left", "line", "paused", "state", "total", "transport")

    def __init__(self) -> None:
        self.state = LINE
        self.left = self.total = 0
        self.line = b""
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        while data:
            if self.state == ECHO:
                self.transport.write(data)
                return
            if self.state == UPLOAD:
                taken = min(len(data), self.left)
                self.left -= taken
                if not self.left:
                    self.state = LINE
                    self.transport.write(b"OK %d\n" % self.total)
                if taken == len(data):
                    return
                data = data[taken:]
                continue
            line, newline, data = data.partition(b"\n")
            self.line += line
            if newline:
                self.obey()

    def obey(self) -> None:
        command, self.line = self.line, b""
        if command == b"E":
            self.state = ECHO
            return
        self.total = self.left = int(command[2:])
        self.state = UPLOAD if command.startswith(b"U") else DOWNLOAD
        if self.state == DOWNLOAD:
            self.send()

    def send(self) -> None:
        while self.left and not self.paused:
            count = min(self.left, len(CHUNK))
            self.left -= count
            self.transport.write(CHUNK if count == len(CHUNK) else CHUNK[:count])
        if not self.left:
            self.state = LINE

    def pause_writing(self) -> None:
        self.paused = True
        if self.state == ECHO:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.paused = False
        if self.state == ECHO:
            self.transport.resume_reading()
        elif self.state == DOWNLOAD:
            self.send()


async def main() -> None:
    port, cert, key = sys.argv[1:4]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"ssl": context, "backlog": 1024}
    names = [sys.version.split()[0], ssl.OPENSSL_VERSION, type(loop).__module__.partition(".")[0]]
    if os.environ.get("AIOFASTNET"):
        aiofastnet = importlib.import_module("aiofastnet")

        server = await aiofastnet.create_server(loop, Conversation, "127.0.0.1", int(port), **options)
        names.append(f"aiofastnet {aiofastnet.__version__}")
    else:
        server = await loop.create_server(Conversation, "127.0.0.1", int(port), **options)
    print("ready", *names, file=sys.stderr, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if os.environ.get("LOOP") == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
