"""Which programs can be measured here, and how to get those that cannot."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.toolchain import PEERS, ROOT, Toolchain, Unavailable

EXTRA = "pip install '.[bench]'"
NAMES = ("aiotls", "aiotls-uvloop", "c", "go", "node", "uvloop", "asyncio", "aiofastnet", "aiofastnet-uvloop")
OURS = NAMES[0]


@dataclass(frozen=True)
class Program:
    """A server ``PORT CERT KEY`` and a client ``HOST PORT CA N CONCURRENCY RESUME`` of the same make."""

    name: str
    title: str
    server: tuple[str, ...]
    client: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """A program that cannot be had here."""

    name: str
    how: str
    """How to get it."""


def find(names: tuple[str, ...], toolchain: Toolchain, node: str | None = None) -> tuple[list[Program], list[Missing]]:
    """Those of these programs that are here, built where need be, and those that are not."""
    programs, missing = [], []
    for name in names:
        try:
            programs.append(_MAKERS[name](name, toolchain, node))
        except Unavailable as reason:
            missing.append(Missing(name, str(reason)))
    return programs, missing


def _aiotls(name: str, toolchain: Toolchain, node: str | None) -> Program:
    uvloop = name.endswith("uvloop")
    if uvloop:
        _need("uvloop")
    server, client = (str(ROOT / "benchmarks" / f"{role}.py") for role in ("server", "client"))
    title = "aiotls on uvloop" if uvloop else "aiotls on asyncio's loop"
    return Program(
        name, title, (sys.executable, server), (sys.executable, client), {"LOOP": "uvloop"} if uvloop else {}
    )


def _python(name: str, toolchain: Toolchain, node: str | None) -> Program:
    aiofastnet, uvloop = name.startswith("aiofastnet"), name.endswith("uvloop")
    environment = {}
    if uvloop:
        _need("uvloop")
        environment["LOOP"] = "uvloop"
    if aiofastnet:
        _need("aiofastnet")
        environment["AIOFASTNET"] = "1"
    server, client = (str(PEERS / f"asyncio_{role}.py") for role in ("server", "client"))
    title = f"{'aiofastnet' if aiofastnet else 'Python ssl'} on {'uvloop' if uvloop else 'asyncio'}"
    return Program(name, title, (sys.executable, server), (sys.executable, client), environment)


def _node(name: str, toolchain: Toolchain, node: str | None) -> Program:
    path = shutil.which(node or "node")
    if path is None:
        raise Unavailable("install Node.js, or name one with --node PATH")
    return Program(name, "Node.js", (path, str(PEERS / "node_server.js")), (path, str(PEERS / "node_client.js")))


def _go(name: str, toolchain: Toolchain, node: str | None) -> Program:
    return Program(name, "Go", (str(toolchain.go("go_server")),), (str(toolchain.go("go_client")),))


def _c(name: str, toolchain: Toolchain, node: str | None) -> Program:
    return Program(name, "C, OpenSSL", (str(toolchain.c("c_server")),), (str(toolchain.c("c_client")),))


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise Unavailable(EXTRA)


_MAKERS: dict[str, Callable[[str, Toolchain, str | None], Program]] = {
    "aiotls": _aiotls,
    "aiotls-uvloop": _aiotls,
    "c": _c,
    "go": _go,
    "node": _node,
    "uvloop": _python,
    "asyncio": _python,
    "aiofastnet": _python,
    "aiofastnet-uvloop": _python,
}
