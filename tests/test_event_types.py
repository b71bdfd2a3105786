"""The types of events: mypy knows every name, what each listener gets, and what an answer may be."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import aiotls
from aiotls.duplex import Duplex
from aiotls.secure_pair import MemoryStream

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")

STREAM: dict[str, tuple[str, ...]] = {
    "close": ("bool",),
    "data": ("bytes",),
    "drain": (),
    "end": (),
    "error": ("Exception",),
    "finish": (),
}
EVENTS: dict[type[Duplex | aiotls.Server | aiotls.SecurePair], dict[str, tuple[str, ...]]] = {
    aiotls.TLSSocket: {
        **STREAM,
        "connect": (),
        "keylog": ("bytes",),
        "lookup": ("Exception | None", "str | None", "str | None", "str"),
        "ocsp_response": ("bytes | None",),
        "ready": (),
        "secure": (),
        "secure_connect": (),
        "session": ("bytes",),
        "timeout": (),
    },
    aiotls.Server: {
        "close": (),
        "connection": ("aiotls.TLSSocket",),
        "drop": ("aiotls.DropInfo",),
        "error": ("Exception",),
        "keylog": ("bytes", "aiotls.TLSSocket"),
        "listening": (),
        "new_session": ("bytes", "bytes"),
        "ocsp_request": ("bytes", "bytes | None"),
        "resume_session": ("bytes",),
        "secure_connection": ("aiotls.TLSSocket",),
        "tls_client_error": ("Exception", "aiotls.TLSSocket"),
    },
    aiotls.SecurePair: {"secure": ()},
    MemoryStream: STREAM,
}
"""What the listeners of each event get."""

HEAD = """
from collections.abc import Callable
from typing import Any, assert_type
import aiotls
from aiotls.secure_pair import MemoryStream

async def check(
    TLSSocket: aiotls.TLSSocket, Server: aiotls.Server, SecurePair: aiotls.SecurePair, MemoryStream: MemoryStream,
    any_name: Any, text: str, anything: Callable[..., Any],
) -> None:
"""

GOOD = """
TLSSocket.on("data", lambda data: print(data.hex())).once("close", lambda had_error: None).off("end", print)
Server.on("secure_connection", lambda socket: socket.on("data", socket.write))
Server.on("keylog", lambda line, socket: socket.write(line))
Server.on("resume_session", {b"": b""}.get)
TLSSocket.on(any_name, print)
Server.once(any_name, anything).off(any_name, anything)
assert_type(TLSSocket.on(any_name, print), aiotls.TLSSocket)
assert_type(await Server.wait_for(any_name), Any)
for event in TLSSocket.EVENTS: TLSSocket.on(event, lambda *_: None)
for request in Server.EVENTS: Server.on(request, lambda *_: None)
for each in ("connect", "secure"): TLSSocket.once(each, lambda: None)
async def answer(session_id: bytes) -> bytes | None: return session_id or None
Server.on("resume_session", answer)
async def staple(certificate: bytes, issuer: bytes | None) -> bytes: return certificate
Server.on("ocsp_request", staple)
async def store(session_id: bytes, data: bytes) -> None: ...
Server.on("new_session", store)
async def later(data: bytes) -> None: ...
TLSSocket.on("data", later)
"""
"""Statements without an error; each on one line."""

BAD = """
TLSSocket.on(text, print)
Server.on(text, print)
Server.on("resume_session", lambda session_id: "text")
Server.on("ocsp_request", lambda certificate, issuer: True)
async def wrong_answer(session_id: bytes) -> str: return ""  # fine
Server.on("resume_session", wrong_answer)
TLSSocket.on("data", bytearray.fromhex)
TLSSocket.on("connect", None)
TLSSocket.on("connect")
"""
"""Statements with an error each, but for what is fine."""


class Line(NamedTuple):
    code: str
    wrong: bool


def lines() -> Iterator[Line]:
    """A program: of each statement whether it is wrong."""
    for code in GOOD.strip().splitlines():
        yield Line(code, wrong=False)
    for code in BAD.strip().splitlines():
        yield Line(code, wrong="# fine" not in code)
    for owner, events in EVENTS.items():
        for event, types in events.items():
            yield from lines_of(owner.__name__, event, types)
        for name in ("dta", "secureConnect", ""):
            for method in ("on", "once", "off"):
                yield Line(f"{owner.__name__}.{method}({name!r}, anything)", wrong=True)
            yield Line(f"await {owner.__name__}.wait_for({name!r})", wrong=True)
            yield Line(f"{owner.__name__}.listeners({name!r})", wrong=True)


def lines_of(owner: str, event: str, types: tuple[str, ...]) -> Iterator[Line]:
    names = [f"x{index}" for index in range(len(types))]
    listener = f"{owner}_{event}"
    parameters = ", ".join(f"{name}: {type_}" for name, type_ in zip(names, types, strict=True))
    yield Line(f"def {listener}({parameters}) -> None: ...", wrong=False)
    for method in ("on", "once", "off"):
        call = f"{owner}.{method}({event!r}, "
        yield Line(f"{call}{listener})", wrong=False)
        yield Line(f"{call}lambda {', '.join(names)}: None)", wrong=False)
        yield Line(f"{call}lambda {', '.join([*names, 'more'])}: None)", wrong=True)
        for name in names:
            yield Line(f"{call}lambda {', '.join(names)}: print({name}.missing))", wrong=True)
        if types:
            yield Line(f"{call}lambda: None)", wrong=True)
    yield Line(f"{owner}.listeners({event!r})", wrong=False)
    if types:
        result = types[0] if len(types) == 1 else f"tuple[{', '.join(types)}]"
        yield Line(f"assert_type(await {owner}.wait_for({event!r}), {result})", wrong=False)
    else:
        yield Line(f"{owner}_{event}_result = await {owner}.wait_for({event!r})", wrong=True)


def test_every_event_has_its_types(tmp_path: Path) -> None:
    """All names are known, and no others; listeners with other arguments, and answers of other types, are errors."""
    program = [Line(line, wrong=False) for line in HEAD.splitlines()]
    program += [Line(f"    {line.code}", line.wrong) for line in lines()]
    (tmp_path / "program.py").write_text("\n".join(line.code for line in program))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", tmp_path / "cache", "program.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("MYPY")},
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[int, str] = {}
    for number, error in re.findall(r"^program\.py:(\d+): error: (.*)$", checked.stdout, re.MULTILINE):
        found.setdefault(int(number), error)
    assert re.findall(r"^(?!program\.py:)\S+:\d+: error: .*$", checked.stdout, re.MULTILINE) == [], "in the library"
    accepted = [line.code for number, line in enumerate(program, 1) if line.wrong and number not in found]
    refused = {line.code: found[number] for number, line in enumerate(program, 1) if not line.wrong and number in found}
    assert (accepted, refused) == ([], {}), checked.stderr


@pytest.mark.parametrize("owner", EVENTS, ids=lambda owner: owner.__name__)
def test_no_event_is_missing(owner: type[Duplex | aiotls.Server | aiotls.SecurePair]) -> None:
    """The table of this file has the events there are."""
    assert EVENTS[owner].keys() == owner.EVENTS


def test_at_run_time_there_are_none() -> None:
    """The methods are those of the emitter, and instances have no more attributes."""
    for owner in EVENTS:
        bases = [base for base in owner.__mro__ if base.__module__ == "aiotls.event_types"]
        assert len(bases) == 1
        # Whoever asks a class of Python 3.11 for its annotations makes the dict that holds none.
        made = {"__doc__", "__module__", "__slots__", "__firstlineno__", "__static_attributes__", "__annotations__"}
        assert set(vars(bases[0])) <= made
        assert not bases[0].__annotations__
        assert bases[0].__slots__ == ()  # type: ignore[attr-defined]
