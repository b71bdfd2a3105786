"""The client: ``python -m benchmarks.growth.client CA``; see `side`."""

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiotls
from benchmarks.growth.side import Answer, obey

HOST = "127.0.0.1"
SOURCES = [f"127.0.0.{number}" for number in range(2, 18)]
"""Where connections come from: an address has ports for less than 30,000, those included that ended just now."""
WORKERS = 16
PIECE = 256 * 1024


class GrowthClient:
    """What it can be asked to do."""

    def __init__(self, ca: Path) -> None:
        self._context = aiotls.create_secure_context(ca=ca, min_version="TLSv1.3", ecdh_curve="X25519")
        self._idle: list[aiotls.TLSSocket] = []
        self._sources = itertools.cycle(SOURCES)

    async def main(self) -> None:
        """Obeys."""
        commands = (self.keep, self.close, self.echo, self.visits, self.down, self.up)
        await obey({command.__name__: command for command in commands})

    def _connect(self, port: int, **options: Any) -> aiotls.TLSSocket:
        options = {"servername": "localhost", "secure_context": self._context, **options}
        return aiotls.connect(HOST, port, local_address=next(self._sources), **options)

    # ---- idle connections

    async def keep(self, port: int, count: int) -> Answer:
        """Makes connections, uses each once, and keeps them open."""

        async def worker(todo: Iterator[int]) -> None:
            for _ in todo:
                socket = await self._connect(port)
                socket.write(b"D 1\n")
                await socket.readexactly(1)
                self._idle.append(socket)

        todo = iter(range(count))
        await asyncio.gather(*(worker(todo) for _ in range(WORKERS)))
        return {}

    async def close(self) -> Answer:
        """Closes them in order."""
        for socket in self._idle:
            socket.end()
        for socket in self._idle:
            await socket.wait_closed()
        self._idle.clear()
        return {}

    async def echo(self, port: int, count: int, size: int) -> Answer:
        """Messages to and fro on one connection more."""
        async with self._connect(port) as socket:
            socket.write(b"E\n")
            message = bytes(size)
            for _ in range(count):
                socket.write(message)
                await socket.readexactly(size)
        return {}

    # ---- connections one after the other

    async def visits(
        self, port: int, count: int, resume: bool = False, servername: str = "", workers: int = WORKERS
    ) -> Answer:
        """Makes connections, each used once and ended in order; how many were resumed."""
        resumed = 0
        options: dict[str, Any] = {}
        if servername:
            # The certificate is that of localhost.
            options = {"servername": servername, "check_server_identity": lambda *_: None}

        async def worker(todo: Iterator[int]) -> None:
            nonlocal resumed
            session: bytes | None = None

            def keep(new: bytes) -> None:
                nonlocal session
                session = new

            for _ in todo:
                socket = self._connect(port, session=session, **options)
                if resume:
                    socket.on("session", keep)
                await socket
                resumed += bool(socket.is_session_reused())
                socket.write(b"D 1\n")
                await socket.readexactly(1)
                socket.end()
                await socket.wait_closed()

        todo = iter(range(count))
        elapsed = time.perf_counter()
        await asyncio.gather(*(worker(todo) for _ in range(min(workers, count))))
        return {"resumed": resumed, "elapsed": time.perf_counter() - elapsed}

    # ---- messages

    async def down(self, port: int, size: int, count: int) -> Answer:
        """Has messages sent; reads them in pieces."""
        async with self._connect(port) as socket:
            socket.write(b"D %d %d\n" % (size, count))
            left = size * count
            while left:
                left -= len(await socket.read(min(left, PIECE)))
        return {}

    async def up(self, port: int, size: int, count: int) -> Answer:
        """Sends messages."""
        async with self._connect(port) as socket:
            socket.write(b"U %d %d\n" % (size, count))
            message = bytes(size)
            for _ in range(count):
                socket.write(message)
                await socket.drain()
            await socket.readline()
        return {}


if __name__ == "__main__":
    asyncio.run(GrowthClient(Path(sys.argv[1])).main())
