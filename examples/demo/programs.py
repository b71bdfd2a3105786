"""Other programs as processes: start one, talk to it, be sure that it is gone."""

import asyncio
import contextlib
import hashlib
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

CHUNK = 256 * 1024
PEERS = Path(__file__).parent / "peers"
PYTHON = sys.executable


def installed(program: str) -> bool:
    """True when the program can be run."""
    return shutil.which(program) is not None


@dataclass(frozen=True)
class Outcome:
    """How a program ended, the size and SHA-256 of its output, the output's start, and its errors."""

    exit_code: int
    size: int
    sha256: str
    output: str
    errors: str


async def run(
    *command: str | Path,
    head: bytes = b"",
    file: Path | None = None,
    progress: Callable[[int], None] = lambda _size: None,
) -> Outcome:
    """Runs a program to its end; `head` and then the file are its standard input."""
    async with start(*command) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_feed(process.stdin, head, file, progress))
            output = tasks.create_task(_collect(process.stdout))
            errors = tasks.create_task(process.stderr.read())
        size, sha256, text = output.result()
        return Outcome(await process.wait(), size, sha256, text, errors.result().decode(errors="replace"))


@contextlib.asynccontextmanager
async def start(*command: str | Path, cwd: Path | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs until the context is left."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        # Reading to the end closes the pipes too.
        await process.communicate()


async def line_with(stream: asyncio.StreamReader | None, pattern: str) -> re.Match[str]:
    """Reads lines until one matches; raises EOFError when none does."""
    assert stream
    seen = ""
    async for line in stream:
        text = line.decode(errors="replace")
        if match := re.search(pattern, text):
            return match
        seen += text
    raise EOFError(f"no line matches {pattern!r}: {seen.strip()}")


def find(pattern: str, text: str) -> str:
    """The first group of the first match, or an empty text."""
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


async def _feed(stream: asyncio.StreamWriter, head: bytes, file: Path | None, progress: Callable[[int], None]) -> None:
    with contextlib.suppress(ConnectionError):
        stream.write(head)
        if file:
            with file.open("rb") as source:
                while chunk := source.read(CHUNK):
                    stream.write(chunk)
                    await stream.drain()
                    progress(len(chunk))
        stream.close()
        await stream.wait_closed()


async def _collect(stream: asyncio.StreamReader) -> tuple[int, str, str]:
    """Reads an answer of HTTP, or any text: size and SHA-256 of what follows the first empty line, and the start."""
    start = bytearray()
    while b"\r\n\r\n" not in start and (chunk := await stream.read(CHUNK)):
        start += chunk
    _head, _line, body = bytes(start).partition(b"\r\n\r\n")
    digest = hashlib.sha256(body)
    size = len(body)
    while chunk := await stream.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest(), start[:65536].decode(errors="replace")
