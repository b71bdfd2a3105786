"""The benchmark's client on aiotls: ``client.py HOST PORT CA N CONCURRENCY RESUME``, with ``LOOP=uvloop`` on uvloop.

Makes N verified connections, CONCURRENCY at a time, each sends ``D 1``, reads a byte and closes in order.  Prints one
line of JSON with the time and the CPU time of the measured connections.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiotls

host, port, ca = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
count, concurrency, resume = (int(argument) for argument in sys.argv[4:7])


class Load:
    """Connections one after the other, several at a time."""

    def __init__(self, context: aiotls.SecureContext) -> None:
        self.context = context
        self.session: bytes | None = None
        self.resumed = 0

    async def connection(self, session: bytes | None) -> aiotls.TLSSocket:
        socket = aiotls.connect(host, port, servername="localhost", secure_context=self.context, session=session)
        await socket
        socket.write(b"D 1\n")
        if len(await socket.readexactly(1)) != 1:
            raise RuntimeError("no answer")
        self.resumed += bool(socket.is_session_reused())
        return socket

    async def worker(self, todo: Iterator[int]) -> None:
        for _ in todo:
            socket = await self.connection(self.session)
            socket.end()
            await socket.wait_closed()

    async def first(self) -> None:
        """The connection whose session the others resume."""
        socket = await self.connection(None)
        # The tickets of TLS 1.3 came before the byte.
        self.session = socket.get_session()
        socket.end()
        await socket.wait_closed()

    async def many(self, connections: int) -> None:
        self.resumed = 0
        todo = iter(range(connections))
        await asyncio.gather(*(self.worker(todo) for _ in range(min(concurrency, connections))))


async def main() -> None:
    load = Load(aiotls.create_secure_context(ca=ca, min_version="TLSv1.3", ecdh_curve="X25519"))
    if resume:
        await load.first()
    warmup = max(count // 4, concurrency)
    await load.many(warmup)
    elapsed, cpu = time.perf_counter(), time.process_time()
    await load.many(count)
    elapsed, cpu = time.perf_counter() - elapsed, time.process_time() - cpu
    version = f"{sys.version.split()[0]} {type(asyncio.get_running_loop()).__module__} {aiotls.openssl_version}"
    warmup += bool(resume)
    figures = {"n": count, "warmup": warmup, "resumed": load.resumed, "elapsed": elapsed, "cpu": cpu}
    print(json.dumps(figures | {"version": version}))


if __name__ == "__main__":
    if os.environ.get("LOOP") == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
