"""Loops in several threads: ``python -m benchmarks.threads``.

Each thread has an event loop of its own with a server and its clients, so nothing is shared but the interpreter and the
core.  What two threads do together, compared with what one does alone, says how far the work goes on beside each other;
what two processes do, how far it could on this machine.
"""

import argparse
import asyncio
import datetime
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiotls
from benchmarks.certificates import Certificates
from benchmarks.machine import Machine, cores
from benchmarks.others import Others
from benchmarks.toolchain import ROOT

PAGE = ROOT / "docs" / "performance" / "threads.md"
CLIENTS = 8
CHUNK = bytes(256 * 1024)
MIB = 2**20


@dataclass(frozen=True)
class Identity:
    """The server's, and whom its clients trust."""

    cert: Path
    key: Path
    ca: Path

    def server_context(self) -> aiotls.SecureContext:
        """A server's context; each thread has its own."""
        return aiotls.create_secure_context(cert=self.cert, key=self.key)

    def client_context(self) -> aiotls.SecureContext:
        """A client's context."""
        return aiotls.create_secure_context(ca=self.ca, min_version="TLSv1.3", ecdh_curve="X25519")


Goes = Callable[[], bool]
"""Whether the time is not over."""
Loop = Callable[[Identity, "Start"], Awaitable[float]]


class Start:
    """When it begins, and how long it lasts; what comes before is not measured."""

    def __init__(self, wait: Callable[[], object], seconds: float) -> None:
        self._wait = wait
        self._seconds = seconds

    def begin(self) -> Goes:
        """Waits for the others."""
        self._wait()
        end = time.perf_counter() + self._seconds
        return lambda: time.perf_counter() < end


# ---- what each loop does


async def handshakes(identity: Identity, start: Start) -> float:
    """Full handshakes over the loopback interface, eight at a time."""
    server = aiotls.create_server(_answer, secure_context=identity.server_context())
    context = identity.client_context()
    done = 0
    async with server:
        await server.listen(0, "127.0.0.1")
        port = _port(server)

        async def client(goes: Goes) -> None:
            nonlocal done
            while goes():
                async with aiotls.connect("127.0.0.1", port, servername="localhost", secure_context=context) as socket:
                    socket.write(b"a line\n")
                    await socket.read()
                done += 1

        await client(iter([True, False]).__next__)
        goes = start.begin()
        done = 0
        await asyncio.gather(*(client(goes) for _ in range(CLIENTS)))
    return done


async def data(identity: Identity, start: Start) -> float:
    """MiB from a server to its client over the loopback interface."""

    async def send(socket: aiotls.TLSSocket) -> None:
        try:
            while True:
                socket.write(CHUNK)
                await socket.drain()
        except (aiotls.StateError, aiotls.WireError):
            pass

    server = aiotls.create_server(send, secure_context=identity.server_context())
    context = identity.client_context()
    taken = 0
    async with server:
        await server.listen(0, "127.0.0.1")
        socket = await aiotls.connect("127.0.0.1", _port(server), servername="localhost", secure_context=context)
        await socket.read(MIB)
        goes = start.begin()
        while goes():
            taken += len(await socket.read(MIB))
        socket.destroy()
    return taken / MIB


async def engines(identity: Identity, start: Start) -> float:
    """Full handshakes of two connections in memory, without any I/O."""
    servers = aiotls.ConnectionSettings(context=identity.server_context(), server=True)
    clients = aiotls.ConnectionSettings(context=identity.client_context(), server=False)

    def handshake() -> None:
        client = aiotls.Connection(clients, servername="localhost", hostname="localhost")
        server = aiotls.Connection(servers)
        for _ in range(4):
            client.advance()
            if client.question is not None:
                client.answer(client.check_identity())
                client.advance()
            server.feed(client.drain())
            server.advance()
            client.feed(server.drain())
            if client.phase is server.phase is aiotls.Phase.OPEN:
                return
        raise RuntimeError("the handshake is not done")

    handshake()
    goes = start.begin()
    done = 0
    while goes():
        handshake()
        done += 1
    return done


def _answer(socket: aiotls.TLSSocket) -> None:
    socket.on("data", lambda _data: socket.end(b"x"))


def _port(server: aiotls.Server) -> int:
    address = server.address()
    assert address is not None
    assert address.port is not None
    return address.port


WORKS: dict[str, tuple[str, Loop]] = {
    "handshakes": ("handshakes/s, both ends, loopback", handshakes),
    "data": ("MiB/s from server to client, loopback", data),
    "engines": ("handshakes/s of two `Connection` in memory", engines),
}


# ---- where the loops are


def in_threads(work: str, identity: Identity, count: int, seconds: float) -> tuple[float, float]:
    """What loops in so many threads do in a second, all together; and how many cores they kept busy."""
    done: list[float] = []
    failures: list[BaseException] = []
    started: list[tuple[float, float]] = []
    barrier = threading.Barrier(count, action=lambda: started.append((time.perf_counter(), time.process_time())))

    def thread() -> None:
        try:
            done.append(asyncio.run(_run(work, identity, Start(barrier.wait, seconds))))
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=thread, name=f"loop {number}") for number in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if failures:
        raise failures[0]
    began, used = started[0]
    return sum(done) / seconds, (time.process_time() - used) / (time.perf_counter() - began)


def in_processes(work: str, identity: Identity, count: int, seconds: float) -> float:
    """The same in so many processes of one thread each."""
    command = [sys.executable, "-m", "benchmarks.threads", "--alone", work, "--seconds", str(seconds)]
    command += ["--identity", *map(str, (identity.cert, identity.key, identity.ca))]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(count)
        ]
        for child in children:
            assert child.stdout is not None
            if child.stdout.readline() != "ready\n":
                raise RuntimeError("a process did not become ready")
        # The end of its input is what each waits for.
        for child in children:
            assert child.stdin is not None
            child.stdin.close()
        total = 0.0
        for child in children:
            assert child.stdout is not None
            total += float(child.stdout.read())
    return total / seconds


def alone(work: str, identity: Identity, seconds: float) -> None:
    """A process of `in_processes`.  Its loop is in a thread too, because the heap of the main one behaves otherwise."""

    def wait() -> None:
        print("ready", flush=True)
        sys.stdin.read()

    def run() -> None:
        print(asyncio.run(_run(work, identity, Start(wait, seconds))))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


async def _run(work: str, identity: Identity, start: Start) -> float:
    return await WORKS[work][1](identity, start)


# ---- the table


def measure(identity: Identity, most: int, seconds: float, rounds: int) -> dict[str, dict[str, Any]]:
    """Measures every work, one way after the other in each round; the medians."""
    found: dict[str, dict[str, Any]] = {}
    for work in WORKS:
        rates: dict[str, list[float]] = {"one": [], "threads": [], "busy": [], "process": [], "processes": []}
        for number in range(rounds):
            print(f"{work}: round {number + 1} of {rounds}", file=sys.stderr)
            rates["one"].append(in_threads(work, identity, 1, seconds)[0])
            together, busy = in_threads(work, identity, most, seconds)
            rates["threads"].append(together)
            rates["busy"].append(busy)
            rates["process"].append(in_processes(work, identity, 1, seconds))
            rates["processes"].append(in_processes(work, identity, most, seconds))
        found[work] = {name: statistics.median(values) for name, values in rates.items()}
    return found


def table(found: dict[str, dict[str, Any]], most: int) -> str:
    """What was measured, in Markdown."""
    lines = [
        f"| work | 1 thread | {most} threads | ratio | cores busy | 1 process | {most} processes | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for work, rates in found.items():
        one = rates["one"]
        cells = (
            f"{one:,.0f}",
            f"{rates['threads']:,.0f}",
            f"**{rates['threads'] / one:.2f}**",
            f"{rates['busy']:.2f}",
            f"{rates['process']:,.0f}",
            f"{rates['processes']:,.0f}",
            f"{rates['processes'] / rates['process']:.2f}",
        )
        lines.append(f"| {WORKS[work][0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def interpreter() -> str:
    """Whether threads share a lock here."""
    enabled = getattr(sys, "_is_gil_enabled", lambda: True)()
    return "with the GIL" if enabled else "free-threaded (without the GIL)"


def _page(text: str, disturbed: str) -> str:
    machine = Machine.here()
    return f"""# Loops in threads

Written by `python -m benchmarks.threads --write` on {datetime.date.today().isoformat()}: {machine.cpu}, \
{machine.cores} cores, {machine.system}, Python {machine.python} {interpreter()}, {aiotls.openssl_version}. \
{disturbed}

{text}

Each thread has an event loop with a server and its clients; both ends count. The first ratio says what several threads
do together, compared with one; the second the same of processes, which is what the machine can give. With the GIL,
threads go on beside each other while they are in the core or in the kernel, and take turns in the interpreter; on a
free-threaded Python nothing in aiotls makes them wait for each other.
"""


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.threads",
        description="Measures what loops in several threads do together, compared with one.",
        epilog=f"This Python is {interpreter()}.",
    )
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="how many threads, and cores (2)")
    parser.add_argument("--seconds", type=float, default=1.5, metavar="S", help="how long each measurement lasts (1.5)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how many rounds (3); medians are told")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("--alone", choices=WORKS, help=argparse.SUPPRESS)
    parser.add_argument("--identity", type=Path, nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone, Identity(*arguments.identity), arguments.seconds)
        return
    if len(cores()) < arguments.threads:
        print(f"mind: {arguments.threads} threads on {len(cores())} cores", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="aiotls-") as folder:
        certificates = Certificates.make(Path(folder))
        identity = Identity(certificates.cert("ecdsa"), certificates.key("ecdsa"), certificates.ca)
        others = Others()
        text = table(measure(identity, arguments.threads, arguments.seconds, arguments.rounds), arguments.threads)
    disturbed = others.words()
    print(f"Python {interpreter()}\n\n{text}\n\n{disturbed}")
    if arguments.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(_page(text, disturbed))
        print(f"written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
