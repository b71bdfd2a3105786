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


async def worker(context: aiotls.SecureContext, todo: Iterator[int]) -> None:
    for _ in todo:
        socket = await aiotls.connect(host, port, servername="localhost", secure_context=context)
        socket.write(b"D 1\n")
        if len(await socket.readexactly(1)) != 1:
            raise RuntimeError("no answer")
        socket.end()
        await socket.wait_closed()


async def many(context: aiotls.SecureContext, connections: int) -> None:
    todo = iter(range(connections))
    await asyncio.gather(*(worker(context, todo) for _ in range(min(concurrency, connections))))


async def main() -> None:
    context = aiotls.create_secure_context(ca=ca, min_version="TLSv1.3", ecdh_curve="X25519")
    if resume:
        sys.exit("resumption is not measured here")
    warmup = max(count // 4, concurrency)
    await many(context, warmup)
    elapsed, cpu = time.perf_counter(), time.process_time()
    await many(context, count)
    elapsed, cpu = time.perf_counter() - elapsed, time.process_time() - cpu
    version = f"{sys.version.split()[0]} {type(asyncio.get_running_loop()).__module__} {aiotls.openssl_version}"
    print(json.dumps({"n": count, "warmup": warmup, "resumed": 0, "elapsed": elapsed, "cpu": cpu, "version": version}))


if __name__ == "__main__":
    if os.environ.get("LOOP") == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
