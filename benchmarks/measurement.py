"""Measures: starts a program and what it is measured with, and looks at the CPU time that the work has cost it."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import conversation, machine
from benchmarks.certificates import Certificates
from benchmarks.modes import Mode
from benchmarks.process import PATIENCE, Misbehaved, Process, free_port
from benchmarks.programs import Program
from benchmarks.results import Measurement

WARMUP = (1.0, 0.3)
"""Seconds of load before what is measured: in the first round, and in all others."""
CONNECTIONS = 1500
"""How many connections of a client are measured for each second that a measurement shall take."""
LOUD = 0.2
"""A measurement is repeated while everything else on the machine uses more cores than that."""


@dataclass
class Server:
    """A server that runs, and its port."""

    process: Process
    port: int


@dataclass
class Bench:
    """What measures: the load generator, the certificates and the server that clients talk to."""

    load: Path | None
    certificates: Certificates
    peer: Program
    """The server of clients under test."""
    logs: Path
    seconds: float
    retries: int = 0
    """How often a measurement is repeated because the machine was not quiet; the quietest counts."""
    idle: int = 1000
    """How many idle connections there shall be."""
    versions: dict[str, str] = field(default_factory=dict)
    """What each program said it is made of."""

    def __post_init__(self) -> None:
        cores = machine.cores()
        self.core, self.other_core = cores[0], cores[-1]

    def measure(
        self, mode: Mode, programs: Sequence[Program], rounds: int, told: Callable[[Measurement], None]
    ) -> None:
        """All rounds of a mode, each told: the programs take turns, and each runs from its first round to its last."""
        with contextlib.ExitStack() as stack:
            running: dict[str, Server] = {}
            for _ in range(rounds):
                for program in programs:
                    told(self._round(mode, program, running, stack))

    def _round(
        self, mode: Mode, program: Program, running: dict[str, Server], stack: contextlib.ExitStack
    ) -> Measurement:
        """One round of one program; what goes wrong is told in it."""
        try:
            if mode.kind == "client":
                return self._quietest(lambda number: self._client(mode, program))
            if mode.kind == "idle":
                # A process that had as many connections before has the memory for them already.
                with contextlib.ExitStack() as once:
                    return self._idle(mode, program, self._start(program, mode, once))
            fresh = program.name not in running
            if fresh:
                running[program.name] = self._start(program, mode, stack)
            server = running[program.name]
            return self._quietest(
                lambda number: self._load(mode, program, server, WARMUP[0] if fresh and not number else WARMUP[1])
            )
        except Exception as error:  # what another program does or says may be anything
            if broken := running.pop(program.name, None):
                broken.process.end()
            words = str(error) if isinstance(error, Misbehaved) else f"{type(error).__name__}: {error}"
            return Measurement(mode.name, program.name, error=words)

    def _quietest(self, measure: Callable[[int], Measurement]) -> Measurement:
        best = measure(0)
        for number in range(self.retries):
            if best.other <= LOUD:
                break
            best = min(best, measure(number + 1), key=lambda one: one.other)
        return best

    def _start(self, program: Program, mode: Mode, stack: contextlib.ExitStack) -> Server:
        port = free_port()
        cert, key = self.certificates.cert(mode.certificate), self.certificates.key(mode.certificate)
        command = [*program.server, str(port), str(cert), str(key)]
        log = self.logs / f"{program.name}-server.log"
        server = Server(stack.enter_context(Process(command, self.core, log, program.environment)), port)
        self.versions.setdefault(program.name, server.process.ready())
        if mode.kind == "load":
            # What a heap has seen before decides what idle connections take of it.
            conversation.hold(port, self.certificates.ca, mode.version)
        return server

    def _load(self, mode: Mode, program: Program, server: Server, warmup: float) -> Measurement:
        with self._loading(mode, server, mode.connections, warmup) as load:
            load.event("begin")
            begin, cpu, busy = time.monotonic(), machine.cpu_time(server.process.pid), machine.busy_time()
            end = load.event("end")
            cpu = machine.cpu_time(server.process.pid) - cpu
            elapsed, all_busy = time.monotonic() - begin, machine.busy_time()
        if not end["units"]:
            raise Misbehaved("nothing was done in time")
        return Measurement(
            mode.name,
            program.name,
            cost=cpu / end["units"],
            rate=end["units"] / end["elapsed"],
            busy=cpu / elapsed,
            load=end["cpu"] / end["elapsed"],
            other=_other(busy, all_busy, cpu + end["cpu"], elapsed),
        )

    def _idle(self, mode: Mode, program: Program, server: Server) -> Measurement:
        with self._loading(mode, server, self.idle, 0) as load:
            load.event("begin")
            before = machine.memory(server.process.pid)
            load.go_on()
            end = load.event("end")
            after = machine.memory(server.process.pid)
        return Measurement(mode.name, program.name, cost=(after - before) / end["units"])

    @contextlib.contextmanager
    def _loading(self, mode: Mode, server: Server, connections: int, warmup: float) -> Iterator["Load"]:
        if self.load is None:
            raise Misbehaved("there is no load generator")
        words = [mode.load, str(server.port), str(connections), str(warmup), str(self.seconds), mode.version]
        with (
            Process([str(self.load), *words], self.other_core, self.logs / "load.log") as process,
            Load(process, warmup + self.seconds + PATIENCE) as load,
        ):
            yield load

    def _client(self, mode: Mode, program: Program) -> Measurement:
        port, count = free_port(), max(100, int(CONNECTIONS * self.seconds))
        cert, key = self.certificates.cert("ecdsa"), self.certificates.key("ecdsa")
        environment = {**self.peer.environment, "ONLY_X25519": "1"}
        command = [*self.peer.server, str(port), str(cert), str(key)]
        with Process(command, self.other_core, self.logs / "peer.log", environment) as peer:
            peer.ready()
            words = ["127.0.0.1", str(port), str(self.certificates.ca), str(count), str(mode.connections)]
            said, elapsed, other = self._run_client(program, [*words, str(int(mode.resume))])
            peer_cpu = machine.cpu_time(peer.pid)
            counted = peer.end()
        if mode.resume and said["resumed"] != count:
            raise Misbehaved(f"{said['resumed']} of {count} connections were resumed")
        if counted:
            _compare(said, json.loads(counted))
        self.versions.setdefault(program.name, said["version"])
        return Measurement(
            mode.name,
            program.name,
            cost=said["cpu"] / said["n"],
            rate=said["n"] / said["elapsed"],
            busy=said["cpu"] / said["elapsed"],
            load=peer_cpu / elapsed,
            other=max(0.0, other - peer_cpu / elapsed),
        )

    def _run_client(self, program: Program, words: list[str]) -> tuple[dict[str, Any], float, float]:
        """What a client says, how long it ran, and how many cores everything but it used meanwhile."""
        log = self.logs / f"{program.name}-client.log"
        begin, busy, ended = time.monotonic(), machine.busy_time(), machine.ended_time()
        with Process([*program.client, *words], self.core, log, program.environment) as client:
            try:
                output, _ = client.popen.communicate(timeout=PATIENCE + 10 * self.seconds)
            except subprocess.TimeoutExpired:
                raise Misbehaved("it did not end in time") from None
            if client.popen.returncode != 0:
                raise Misbehaved(client.last_words())
        elapsed = time.monotonic() - begin
        said: dict[str, Any] = json.loads(output)
        return said, elapsed, _other(busy, machine.busy_time(), machine.ended_time() - ended, elapsed)


class Load:
    """The load generator while it runs: a context manager that stops it when it takes too long."""

    def __init__(self, process: Process, patience: float) -> None:
        self.process = process
        self.timer = threading.Timer(patience, process.popen.kill)

    def event(self, name: str) -> dict[str, Any]:
        """Wait for an event, and return what it says."""
        assert self.process.popen.stdout is not None
        line = self.process.popen.stdout.readline()
        if not line:
            self.process.popen.wait()
            raise Misbehaved(f"under load: {self.process.last_words()}")
        said: dict[str, Any] = json.loads(line)
        if said["event"] != name:
            raise Misbehaved(f"the load generator said {said['event']}")
        return said

    def go_on(self) -> None:
        """Tell it that we have seen what there was to see."""
        assert self.process.popen.stdin is not None
        self.process.popen.stdin.write("\n")
        self.process.popen.stdin.flush()

    def __enter__(self) -> "Load":
        self.timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()


def _other(before: float | None, after: float | None, ours: float, elapsed: float) -> float:
    """How many cores something else than `ours` used."""
    if before is None or after is None or not elapsed:
        return 0.0
    return max(0.0, (after - before - ours) / elapsed)


def _compare(said: dict[str, Any], counted: dict[str, Any]) -> None:
    """What a client says it did must be what the server has seen; it need not count the one that the others resume."""
    made = said["n"] + said["warmup"]
    if not made <= counted["handshakes"] <= made + 1:
        raise Misbehaved(f"it says {made} connections, and the server saw {counted['handshakes']}")
    if said["resumed"] > counted["resumed"]:
        raise Misbehaved(f"it says {said['resumed']} were resumed, and the server saw {counted['resumed']}")
