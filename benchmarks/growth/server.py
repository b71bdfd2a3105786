"""The server under test: ``python -m benchmarks.growth.server CERT KEY CONVERSATION``; see `side`.

CONVERSATION is ``lines`` (see `benchmarks.server`) or ``messages``: then a line ``D SIZE COUNT`` or ``U SIZE COUNT``
asks for messages, or announces them.
"""

import asyncio
import gc
import sys
import time
from pathlib import Path
from typing import Any

import aiotls
from benchmarks.growth.side import Answer, facts, obey
from benchmarks.server import Conversation


async def messages(socket: aiotls.TLSSocket) -> None:
    """One client that moves messages, each written at once and read as a whole."""
    while line := await socket.readline():
        direction, size, count = line.split()
        if direction == b"D":
            message = bytes(int(size))
            for _ in range(int(count)):
                socket.write(message)
                await socket.drain()
        else:
            for _ in range(int(count)):
                await socket.readexactly(int(size))
            socket.write(b"OK\n")
    socket.end()


def host_name(kind: str, number: int) -> str:
    """What is added for names of a kind, and what a client asks for where it is ``"exact"``."""
    return {"exact": f"n{number}.example", "wildcard": f"*.w{number}.example", "part": f"a*.p{number}.example"}[kind]


class GrowthServer:
    """What it can be asked to do."""

    def __init__(self, cert: Path, key: Path, conversation: str) -> None:
        self._identity: dict[str, Any] = {"cert": cert, "key": key}
        listener = Conversation if conversation == "lines" else messages
        self._server = aiotls.create_server(listener, **self._identity)

    async def main(self) -> None:
        """Obeys."""
        async with self._server:
            await self._server.listen(0, "127.0.0.1", backlog=1024)
            await obey({"port": self.port, "empty": self.empty, "add_names": self.add_names})

    async def port(self) -> Answer:
        address = self._server.address()
        assert address is not None
        return {"port": address.port}

    async def empty(self) -> Answer:
        """Waits until no connection is left, those that only linger included."""
        # Those that linger have no event.
        while self._server.get_connections():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        return {}

    async def add_names(self, kind: str, first: int, count: int, distinct: bool) -> Answer:
        """Adds names, with one context or one for each; the CPU time of `add_context` alone, and the memory."""
        shared = aiotls.create_secure_context(**self._identity)
        contexts = [shared] * count
        before = await facts()
        made = time.process_time()
        if distinct:
            contexts = [aiotls.create_secure_context(**self._identity) for _ in range(count)]
        made = time.process_time() - made
        names = [host_name(kind, number) for number in range(first, first + count)]
        gc.collect()
        added = time.process_time()
        for name, context in zip(names, contexts, strict=True):
            self._server.add_context(name, context)
        added = time.process_time() - added
        after = await facts()
        return {"added": added, "made": made, "memory": after["resident"] - before["resident"]}


if __name__ == "__main__":
    asyncio.run(GrowthServer(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]).main())
