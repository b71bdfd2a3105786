"""The machine: its cores, what its processes have used, and what it is."""

import contextlib
import os
import platform
import re
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def cores() -> list[int]:
    """The cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started in here run on that core alone, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


def cpu_time(pid: int) -> float:
    """The CPU time of a process, user and system, in seconds: in ticks of 10 ms as a rule."""
    if (stat := PROC / str(pid) / "stat").exists():
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    seconds = 0.0
    for part in re.split("[-:]", _ps(pid, "time")):
        seconds = seconds * 60 + float(part)
    return seconds


def ended_time() -> float:
    """The CPU time of all processes that we have started and that have ended, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    if (status := PROC / str(pid) / "status").exists():
        found = re.search(r"^VmRSS:\s*(\d+)", status.read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return int(_ps(pid, "rss")) * 1024


def busy_time() -> float | None:
    """The seconds that all cores together have worked since the machine was started; None where nobody says."""
    if not (stat := PROC / "stat").exists():
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal
    fields = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def allow_descriptors(wanted: int) -> int:
    """Raise the number of descriptors that a process may have, as far as possible up to `wanted`; what it then is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return wanted


@dataclass(frozen=True)
class Machine:
    """What the figures were measured on."""

    cpu: str
    cores: int
    system: str
    python: str

    @classmethod
    def here(cls) -> "Machine":
        """This one."""
        system = f"{platform.system()} {platform.release()}, {platform.machine()}"
        return cls(_cpu_model(), len(cores()), system, platform.python_version())


def _cpu_model() -> str:
    if (info := PROC / "cpuinfo").exists() and (found := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        return found[1].strip()
    return platform.processor() or platform.machine()


def _ps(pid: int, column: str) -> str:
    command = ["ps", "-o", f"{column}=", "-p", str(pid)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
