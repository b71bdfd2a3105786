"""A TLS client on Python's own ssl: ``asyncio_client.py HOST PORT CA N CONCURRENCY RESUME``.

``LOOP=uvloop`` runs it on uvloop, ``AIOFASTNET=1`` on the transports of aiofastnet.  It makes N verified connections,
CONCURRENCY at a time, each sends ``D 1``, reads a byte and closes in order, and prints one line of JSON.
"""

import asyncio
import importlib
import json
import os
import ssl
import sys
import time
from collections.abc import Iterator
from typing import Any, cast

host, port, ca = sys.argv[1], int(sys.argv[2]), sys.argv[3]
count, concurrency, resume = (int(argument) for argument in sys.argv[4:7])


class Context(ssl.SSLContext):
    """A context that resumes `session`, for which event loops have no option."""

    session: ssl.SSLSession | None = None

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        return super().wrap_bio(*arguments, **{**options, "session": self.session})


class Visit(asyncio.Protocol):
    """One connection."""

    __slots__ = ("closed", "loop", "resumed", "session", "transport")

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.session: ssl.SSLSession | None = None
        self.resumed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(b"D 1\n")

    def data_received(self, data: bytes) -> None:
        if resume:
            tls = self.transport.get_extra_info("ssl_object")
            self.session, self.resumed = tls.session, tls.session_reused
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if error:
            self.closed.set_exception(error)
        else:
            self.closed.set_result(None)


async def visit(context: Context) -> Visit:
    loop = asyncio.get_running_loop()
    if os.environ.get("AIOFASTNET"):
        aiofastnet = importlib.import_module("aiofastnet")

        _, made = await aiofastnet.create_connection(loop, Visit, host, port, ssl=context, server_hostname="localhost")
    else:
        _, made = await loop.create_connection(Visit, host, port, ssl=context, server_hostname="localhost")
    one = cast(Visit, made)
    await one.closed
    return one


async def worker(context: Context, todo: Iterator[int]) -> int:
    resumed = 0
    for _ in todo:
        resumed += (await visit(context)).resumed
    return resumed


async def many(context: Context, connections: int) -> int:
    todo = iter(range(connections))
    return sum(await asyncio.gather(*(worker(context, todo) for _ in range(min(concurrency, connections)))))


async def main() -> None:
    if resume and os.environ.get("AIOFASTNET"):
        sys.exit("aiofastnet has no sessions")
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    warmup = max(count // 4, concurrency)
    if resume:
        context.session = (await visit(context)).session
    await many(context, warmup)
    elapsed, cpu = time.perf_counter(), time.process_time()
    resumed = await many(context, count)
    elapsed, cpu = time.perf_counter() - elapsed, time.process_time() - cpu
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    version = f"{sys.version.split()[0]} {ssl.OPENSSL_VERSION} {loop}"
    result = {"n": count, "warmup": warmup + resume, "resumed": resumed, "elapsed": elapsed, "cpu": cpu}
    print(json.dumps({**result, "version": version}))


if __name__ == "__main__":
    if os.environ.get("LOOP") == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
