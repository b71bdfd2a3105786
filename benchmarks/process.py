"""Processes that are measured, each on its core, and what they say; none of them outlives the run."""

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from benchmarks import interrupts, machine

PATIENCE = 20.0
"""Seconds in which a program must have started, or ended."""


_living: set["Process"] = set()


class Misbehaved(Exception):
    """A program did not do what it was started for."""


class Process:
    """A program that runs on one core; a context manager that ends it."""

    def __init__(
        self, command: Sequence[str], core: int, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with interrupts.held(), log.open("wb") as errors, machine.on_core(core):
            self.popen = subprocess.Popen(
                command,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # Ctrl-C is ours, and we end them.
                start_new_session=True,
            )
            _living.add(self)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def ready(self) -> str:
        """Wait until a server says that it is ready; what else it says in that line."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in self.log.read_text(errors="replace").splitlines(keepends=True):
                if line.startswith("ready") and line.endswith("\n"):
                    return line.removeprefix("ready").strip()
            if self.popen.poll() is not None:
                raise Misbehaved(self.last_words())
            time.sleep(0.02)
        raise Misbehaved("it did not become ready")

    def last_words(self) -> str:
        """The last line that it wrote to its standard error, or how it ended."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else f"it ended with code {self.popen.poll()}"

    def end(self) -> str:
        """End it; what it still had to say on its standard output."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            said = self.popen.communicate(timeout=2)[0]
        except subprocess.TimeoutExpired:
            self.popen.kill()
            said = self.popen.communicate()[0]
        _living.discard(self)
        return said

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def end_all() -> None:
    """End what is still there, as when an interrupt came before anybody had taken hold of it."""
    with interrupts.held():
        for process in list(_living):
            process.end()


def free_port() -> int:
    """A port of the loopback interface that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
