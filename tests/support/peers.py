"""Other programs as peers, on loopback: `openssl`, GnuTLS, `curl`, Node and Python's own ssl.

Each function starts one process and is an async context manager; leaving it ends the process, whatever happened.
Nothing here sleeps: `Peer.saw` and `ScriptedPeer.event` wait for what the program says, with a bound.

A program that is not installed skips the test (`needs`); with ``AIOTLS_REQUIRE_PEERS=1`` it fails the test instead.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds to wait for a peer to say or do something."""


def available(program: str) -> bool:
    """True when `program` is installed: ``"openssl"``, ``"gnutls-cli"``, ``"gnutls-serv"``, ``"curl"``, ``"node"``."""
    return shutil.which(program) is not None


def needs(*programs: str) -> pytest.MarkDecorator:
    """A mark that skips tests without these programs, unless ``AIOTLS_REQUIRE_PEERS=1`` asks for them."""
    missing = [program for program in programs if not available(program)]
    required = os.environ.get("AIOTLS_REQUIRE_PEERS") == "1"
    return pytest.mark.skipif(bool(missing) and not required, reason=f"not installed: {', '.join(missing)}")


def openssl_client(*arguments: str | Path, port: int = 0) -> contextlib.AbstractAsyncContextManager["Peer"]:
    """``openssl s_client``; `port` on 127.0.0.1, or ``-connect`` or ``-unix`` in the arguments.

    What is written to it goes to the server; at the end of its input it closes the connection.
    """
    connect = ("-connect", f"127.0.0.1:{port}") if port else ()
    return _running("openssl", "s_client", *connect, *arguments)


@contextlib.asynccontextmanager
async def openssl_server(
    *arguments: str | Path, host: str = "127.0.0.1", unix: Path | None = None
) -> AsyncIterator["Peer"]:
    """``openssl s_server`` on a port of its own choice (see `Peer.port`), or on a Unix socket."""
    accept = ("-unix", unix.name) if unix else ("-accept", f"[{host}]:0" if ":" in host else f"{host}:0")
    # It refuses the path of a Unix socket that is longer than 31 characters, so it starts where the socket is.
    async with _running("openssl", "s_server", *accept, *arguments, cwd=unix and unix.parent) as peer:
        address = await peer.saw(r"^ACCEPT *(.*)$")
        peer.port = 0 if unix else int(address[1].rpartition(":")[2])
        yield peer


def openssl_handshake(text: str) -> "Handshake":
    """Reads the report of ``openssl s_client`` (without ``-quiet`` and ``-brief``)."""
    session = re.search(r"^(New|Reused), (\S+), Cipher is (\S+)$", text, re.MULTILINE)
    completed = session is not None and session[2] != "(NONE)"
    return Handshake(
        protocol=_first(r"^ +Protocol +: (\S+)$", text) or (session[2] if session and completed else None),
        cipher=session[3] if session and completed else None,
        alpn=_first(r"^ALPN protocol: (\S+)$", text),
        reused=session[1] == "Reused" if session and completed else None,
        verify=_first(r"^ *Verify return code: \d+ \((.*)\)$", text),
        alert=_number(_first(r"SSL alert number (\d+)", text)),
    )


def gnutls_client(
    *arguments: str | Path, port: int, host: str = "localhost"
) -> contextlib.AbstractAsyncContextManager["Peer"]:
    """``gnutls-cli``; what is written to it goes to the server, and at the end of its input it closes."""
    return _running("gnutls-cli", "--port", str(port), *arguments, host)


@contextlib.asynccontextmanager
async def gnutls_server(*arguments: str | Path) -> AsyncIterator["Peer"]:
    """``gnutls-serv``, which echoes lines, on a free port; without a client certificate request unless asked for."""
    for _attempt in range(5):
        port = _free_port()
        async with _running("gnutls-serv", "--port", str(port), "--echo", *arguments) as peer:
            said = await peer.saw(r"IPv6 :: port \d+\.\.\.(done|.*bind\(\) failed.*)|bind\(\) failed")
            if "failed" not in said[0]:
                peer.port = port
                yield peer
                return
    raise PeerError("gnutls-serv found no free port")


def gnutls_handshake(text: str) -> "Handshake":
    """Reads the report of ``gnutls-cli`` or ``gnutls-serv``."""
    description = re.search(r"^- Description: \(TLS([\d.]+)(?:-X\.509)?\)-(.*)$", text, re.MULTILINE)
    return Handshake(
        protocol=f"TLSv{description[1]}" if description else None,
        cipher=description[2].rpartition("(")[2].rstrip(")") if description else None,
        alpn=_first(r"^- Application protocol: (\S+)$", text),
        reused="This is a resumed session" in text if description else None,
        verify=_first(r"^- Status: (.*?) *$", text),
        alert=_number(_first(r"Received alert \[(\d+)\]", text)),
    )


async def curl(*arguments: str | Path) -> "Result":
    """``curl`` with these arguments, silent but for errors, verbose about TLS on its error stream."""
    async with _running(
        "curl", "--silent", "--show-error", "--verbose", "--max-time", str(PATIENCE), *arguments
    ) as peer:
        peer.write_eof()
        return await peer.finished()


def curl_handshake(text: str) -> "Handshake":
    """Reads the verbose report of ``curl`` built on OpenSSL."""
    connection = re.search(r"^\* SSL connection using (\S+) / (\S+)", text, re.MULTILINE)
    return Handshake(
        protocol=connection[1] if connection else None,
        cipher=connection[2] if connection else None,
        alpn=_first(r"^\* ALPN[:,] server accepted (?:to use )?(\S+)", text),
        verify=_first(r"^\* +SSL certificate (?:problem: |verify )(.*?)\.?$", text),
    )


def node_client(**options: Any) -> contextlib.AbstractAsyncContextManager["ScriptedPeer"]:
    """A Node TLS client; see `ScriptedPeer`."""
    return _scripted("node", [_SCRIPTS / "node_peer.js", "client"], options)


def node_server(**options: Any) -> contextlib.AbstractAsyncContextManager["ScriptedPeer"]:
    """A Node TLS server that echoes; see `ScriptedPeer`."""
    return _scripted("node", [_SCRIPTS / "node_peer.js", "server"], options)


def python_client(**options: Any) -> contextlib.AbstractAsyncContextManager["ScriptedPeer"]:
    """A client on Python's own ssl, in a process; see `ScriptedPeer`."""
    return _scripted(sys.executable, [_SCRIPTS / "python_peer.py", "client"], options)


def python_server(**options: Any) -> contextlib.AbstractAsyncContextManager["ScriptedPeer"]:
    """A server on Python's own ssl that echoes, in a process; see `ScriptedPeer`."""
    return _scripted(sys.executable, [_SCRIPTS / "python_peer.py", "server"], options)


class PeerError(AssertionError):
    """A peer did not do what the test waits for; the message holds everything that it printed."""


@dataclass(frozen=True)
class Result:
    """What a peer printed and how it ended."""

    output: str
    errors: str
    exit_code: int

    @property
    def text(self) -> str:
        """Both streams, standard output first."""
        return self.output + self.errors


@dataclass(frozen=True)
class Handshake:
    """What a peer says about a connection; None where it says nothing."""

    protocol: str | None = None
    cipher: str | None = None
    alpn: str | None = None
    reused: bool | None = None
    verify: str | None = None
    """Its words about our certificate."""
    alert: int | None = None
    """The alert that we sent."""


class Peer:
    """A running program; what it prints is collected all the time."""

    port: int = 0
    """Where it listens."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self.name = name
        self._process = process
        self._input = process.stdin
        self._output = bytearray()
        self._errors = bytearray()
        self._changed = asyncio.Event()
        self._readers = [
            asyncio.create_task(self._collect(process.stdout, self._output)),
            asyncio.create_task(self._collect(process.stderr, self._errors)),
        ]
        self._open_streams = len(self._readers)

    @property
    def text(self) -> str:
        """What it printed so far, standard output first."""
        return self._output.decode(errors="replace") + self._errors.decode(errors="replace")

    async def saw(self, pattern: str) -> re.Match[str]:
        """Waits until `pattern` (a regular expression; ``^`` and ``$`` match at lines) is in what it printed."""
        expression = re.compile(pattern, re.MULTILINE)
        return await self._until(lambda: expression.search(self.text), repr(pattern))

    def write(self, data: bytes) -> None:
        """Writes to its standard input."""
        self._input.write(data)

    def write_eof(self) -> None:
        """Ends its standard input."""
        self._input.close()

    async def finished(self) -> Result:
        """Waits until it has ended by itself."""
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*self._readers)
                exit_code = await self._process.wait()
        except TimeoutError:
            raise PeerError(f"{self.name} did not end:\n{self.text}") from None
        return Result(self._output.decode(errors="replace"), self._errors.decode(errors="replace"), exit_code)

    async def stop(self) -> None:
        """Ends it, if it has not ended yet, and waits until it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        self._input.close()
        await self._process.wait()
        await asyncio.gather(*self._readers)

    async def _until(self, look: Callable[[], T | None], what: str) -> T:
        try:
            async with asyncio.timeout(PATIENCE):
                while (found := look()) is None:
                    if not self._open_streams:
                        raise PeerError(f"{self.name} ended without {what}:\n{self.text}")
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise PeerError(f"{self.name}: no {what}:\n{self.text}") from None

    async def _collect(self, stream: asyncio.StreamReader, into: bytearray) -> None:
        while data := await stream.read(65536):
            into += data
            self._changed.set()
        self._open_streams -= 1
        self._changed.set()


class ScriptedPeer(Peer):
    """A TLS client or server in a scripting language that reports events as lines of JSON.

    Options of both sides: `ca`, `cert`, `key` (PEM text), `alpn` (list), `min_version`, `max_version` (``"TLSv1.2"``),
    `ciphers`, `path` (a Unix socket) instead of `host` and `port`.  A client also has `servername`, `verify` (true)
    and, in Node, `resume` (connect a second time with the session of the first).  A server also has `request_cert`.
    A client sends its standard input and closes at its end; a server echoes and ends when its input ends.
    Node has `secure_options` (a number), `psk` (``{"key": HEX, "identity": TEXT}``, a server's also with ``"hint"``),
    and `renegotiate` (``{"times": N}`` and the options of Node's own ``renegotiate``): what to do once it is secure.

    Events: ``listening`` (port), ``secure`` (protocol, cipher, alpn, servername, authorized, reused, peer),
    ``data`` (text, received), ``end`` (received, sha256), ``error`` (code, message), ``close``; of Node ``psk``
    (identity, or hint) and ``renegotiated`` (code, authorized, peer).
    """

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        super().__init__(process, name)
        self._taken: set[int] = set()

    async def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """Waits for the next event of this name that nobody took yet and that has these fields."""
        return await self._until(lambda: self._take(name, fields), f"event {name} {fields}")

    async def received(self, size: int) -> None:
        """Waits until it has received at least `size` bytes of application data."""

        def look() -> bool | None:
            return any(event.get("received", 0) >= size for event in self._events()) or None

        await self._until(look, f"{size} bytes")

    def _events(self) -> list[dict[str, Any]]:
        complete = self._output.decode(errors="replace").rpartition("\n")[0]
        # Not `splitlines`: Node leaves characters such as U+2028, and what a peer sent, as they are within a line.
        return [json.loads(line) for line in complete.split("\n") if line]

    def _take(self, name: str, fields: dict[str, Any]) -> dict[str, Any] | None:
        for number, event in enumerate(self._events()):
            if number not in self._taken and event["event"] == name and fields.items() <= event.items():
                self._taken.add(number)
                return event
        return None


@contextlib.asynccontextmanager
async def _running(program: str, *arguments: str | Path, cwd: Path | None = None) -> AsyncIterator[Peer]:
    peer = Peer(await _start(program, *arguments, cwd=cwd), program)
    try:
        yield peer
    finally:
        await peer.stop()


@contextlib.asynccontextmanager
async def _scripted(program: str, arguments: list[str | Path], options: dict[str, Any]) -> AsyncIterator[ScriptedPeer]:
    peer = ScriptedPeer(await _start(program, *arguments, json.dumps(options)), f"{program} {arguments[-1]}")
    try:
        if "server" in arguments:
            peer.port = (await peer.event("listening"))["port"]
        yield peer
    finally:
        await peer.stop()


async def _start(program: str, *arguments: str | Path, cwd: Path | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        program,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C"},
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _first(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else None


def _number(text: str | None) -> int | None:
    return int(text) if text else None


_SCRIPTS = Path(__file__).parent


@contextlib.asynccontextmanager
async def node_script(script: Path, role: str, options: dict[str, Any]) -> AsyncIterator[ScriptedPeer]:
    """Runs a script of ours on Node as a ``"client"`` or ``"server"``, with its options in JSON."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(script),
        role,
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    peer = ScriptedPeer(process, f"node {role}")
    try:
        if role == "server":
            peer.port = (await peer.event("listening"))["port"]
        yield peer
    finally:
        await peer.stop()
