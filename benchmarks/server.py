"""The benchmark's server on aiotls: ``server.py PORT CERT KEY``, with ``LOOP=uvloop`` on uvloop.

After the handshake it reads lines: ``D <n>`` sends n bytes, ``U <n>`` takes n bytes and answers ``OK <n>``, ``E``
echoes everything from then on.  It uses the public API alone, and ends at SIGTERM.
"""

import asyncio
import os
import sys
from pathlib import Path

import aiotls

CHUNK = bytes(256 * 1024)
LINE, UPLOAD, DOWNLOAD, ECHO = range(4)


class Conversation:
    """One client, by events."""

    __slots__ = ("left", "line", "socket", "state", "total")

    def __init__(self, socket: aiotls.TLSSocket) -> None:
        self.socket = socket
        self.state = LINE
        self.left = self.total = 0
        self.line = b""
        socket.on("data", self.data).on("drain", self.drain)

    def data(self, data: bytes) -> None:
        if self.state == ECHO:
            if not self.socket.write(data):
                self.socket.pause()
        elif self.state == UPLOAD and len(data) < self.left:
            self.left -= len(data)
        else:
            self.command(data)

    def command(self, data: bytes) -> None:
        while data:
            if self.state == ECHO:
                self.data(data)
                return
            if self.state == UPLOAD:
                taken = min(len(data), self.left)
                self.left -= taken
                data = data[taken:]
                if not self.left:
                    self.state = LINE
                    self.socket.write(b"OK %d\n" % self.total)
                continue
            start, newline, data = data.partition(b"\n")
            self.line += start
            if not newline:
                return
            command, self.line = self.line, b""
            if command.startswith(b"E"):
                self.state = ECHO
                continue
            self.total = self.left = int(command[2:])
            self.state = UPLOAD if command.startswith(b"U") else DOWNLOAD
            if self.state == DOWNLOAD:
                self.download()

    def download(self) -> None:
        while self.left:
            count = min(self.left, len(CHUNK))
            self.left -= count
            if not self.socket.write(CHUNK if count == len(CHUNK) else CHUNK[:count]):
                break
        if not self.left:
            self.state = LINE

    def drain(self) -> None:
        if self.state == DOWNLOAD:
            self.download()
        elif self.state == ECHO:
            self.socket.resume()


async def main() -> None:
    port, cert, key = sys.argv[1:4]
    server = aiotls.create_server(Conversation, cert=Path(cert), key=Path(key))
    async with server:
        await server.listen(int(port), "127.0.0.1", backlog=1024)
        print("ready", aiotls.openssl_version, type(asyncio.get_running_loop()).__module__, file=sys.stderr, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    if os.environ.get("LOOP") == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
