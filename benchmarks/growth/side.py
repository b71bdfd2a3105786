"""A process with one side of the connections: how it is asked, and what it knows about itself."""

import asyncio
import contextlib
import gc
import json
import os
import re
import resource
import select
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiotls
from benchmarks import machine
from benchmarks.process import Misbehaved

ROOT = Path(__file__).resolve().parent.parent.parent
SPARE = 60
"""Descriptors that a process needs for itself."""

PATIENCE = 180.0
"""Seconds in which a side must have done what it was asked to."""

Answer = dict[str, Any]
Commands = Mapping[str, Callable[..., Awaitable[Answer]]]


class Side:
    """A process that is asked by lines of JSON; a context manager that ends it.

    Args:
        program: The module that it runs, which calls `obey`.
        arguments: Those of its command line.
        core: Where it runs.
    """

    def __init__(self, program: str, *arguments: str, core: int) -> None:
        with machine.on_core(core):
            self._process = subprocess.Popen(
                [sys.executable, "-m", program, *arguments],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                # Ctrl-C is ours, and we end it.
                start_new_session=True,
            )

    def ask(self, what: str, **details: Any) -> Answer:
        """Has it do something, and waits for what it says then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **details}) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            self._process.kill()
            raise Misbehaved(f"it was asked to {what}, and did not answer within {PATIENCE:g} seconds")
        line = self._process.stdout.readline()
        if not line:
            raise Misbehaved(f"it ended when it was asked to {what}, with code {self._process.wait()}")
        answer: Answer = json.loads(line)
        return answer

    def facts(self) -> Answer:
        """What it uses: see `facts`."""
        return self.ask("facts")

    def cpu(self) -> float:
        """The CPU seconds that it has used."""
        return float(self.ask("cpu")["seconds"])

    def __enter__(self) -> "Side":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The end of its input is the end of its work.
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


async def obey(commands: Commands) -> None:
    """Does what it is asked to, until its input ends, in the midst of its work too: then nobody waits for it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: _Input(reader), sys.stdin)
    known = {**COMMON, **commands}
    with contextlib.suppress(asyncio.CancelledError):
        while line := await reader.readline():
            details = json.loads(line)
            answer = await known[details.pop("do")](**details)
            print(json.dumps(answer), flush=True)
    transport.close()


class _Input(asyncio.StreamReaderProtocol):
    """Its end ends a process that is at work."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._task = asyncio.current_task()

    def eof_received(self) -> bool | None:
        if self._task is not None:
            self._task.cancel()
        return super().eof_received()


async def cpu() -> Answer:
    """The CPU seconds that the process has used."""
    return {"seconds": time.process_time()}


async def facts() -> Answer:
    """Bytes of resident memory, now and at most, descriptors, and tasks besides the one that answers."""
    gc.collect()
    status = _read(Path("/proc/self/status"))
    return {
        "resident": _kib(status, "VmRSS"),
        "peak": _kib(status, "VmHWM"),
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,
        "tasks": len(asyncio.all_tasks()) - 1,
    }


async def sockets_left() -> Answer:
    """How many objects of a connection the garbage collector knows of."""
    gc.collect()
    return {"count": sum(isinstance(each, aiotls.TLSSocket | aiotls.Connection) for each in gc.get_objects())}


async def forget_peak() -> Answer:
    """The most memory that was in use counts from now on."""
    _write(Path("/proc/self/clear_refs"), "5")
    return {}


async def make_room(wanted: int) -> Answer:
    """Asks the system for descriptors; for how many connections there are some."""
    room = wanted + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < room:
        most = max(soft, room if hard == resource.RLIM_INFINITY else min(room, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        room = most
    return {"count": min(wanted, room - SPARE)}


COMMON: Commands = {
    "cpu": cpu,
    "facts": facts,
    "sockets_left": sockets_left,
    "forget_peak": forget_peak,
    "make_room": make_room,
}


def _read(path: Path) -> str:
    return path.read_text()


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _kib(status: str, field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+)", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
