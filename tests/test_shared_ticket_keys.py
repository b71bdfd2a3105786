"""Ticket keys that processes share: workers on one port, and a server after its restart."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import client_options
from tests.support.pki import named
from tests.support.sessions import NEW, RENEWED, Visit, witness

ROOT = Path(__file__).parent.parent
WORKERS = 4
CONNECTIONS = 16

PROGRAM = """
    import asyncio, json, os, sys
    import aiotls

    options = json.loads(os.environ["OPTIONS"])

    def greet(tls):
        tls.end(str(os.getpid()).encode())

    async def main():
        server = aiotls.create_server(
            greet,
            cert=options["identity"],
            key=options["identity"],
            max_version=options["version"],
            ticket_keys=bytes.fromhex(options["keys"]),
        )
        async with server:
            await server.listen(**options["where"])
            print(server.address().port, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(main())
"""


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT")
def test_a_port_of_several_workers(run: Run, version: str) -> None:
    """SES-07: of 16 connections with the first session, 15 are resumed, whichever worker answers."""

    async def main() -> None:
        keys = os.urandom(48)
        where: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "reuse_port": True}
        async with contextlib.AsyncExitStack() as stack:
            workers = [await stack.enter_async_context(Worker.start(version, keys, where))]
            where["port"] = workers[0].port
            workers += [await stack.enter_async_context(Worker.start(version, keys, where)) for _ in range(WORKERS - 1)]
            answered = await sixteen_connections(version, workers[0].port, lambda _: None)
            # The system deals connections out by their addresses.
            assert len(answered) > 1
            assert answered <= {each.pid for each in workers}

    run(main)


def test_a_socket_of_several_workers(run: Run, version: str) -> None:
    """SES-07: the same with an inherited socket; one worker after the other answers, as the rest is paused."""

    async def main() -> None:
        keys = os.urandom(48)
        async with contextlib.AsyncExitStack() as stack:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            where = {"fd": listening.fileno()}
            workers = [
                await stack.enter_async_context(Worker.start(version, keys, where, listening)) for _ in range(WORKERS)
            ]

            def turn(number: int) -> None:
                for index, each in enumerate(workers):
                    each.pause(index != number % WORKERS)

            answered = await sixteen_connections(version, listening.getsockname()[1], turn)
            assert answered == {each.pid for each in workers}

    run(main)


def test_a_restarted_process(run: Run, version: str) -> None:
    """A new process with the keys of the one before it takes its tickets; one with other keys does not."""

    async def main() -> None:
        keys = os.urandom(48)
        session: bytes | None = None
        for given, reused in ((keys, False), (keys, True), (os.urandom(48), False)):
            async with Worker.start(version, given, {"host": "127.0.0.1", "port": 0}) as worker:
                seen = await connect(worker.port, session)
                assert seen.reused is reused
                assert seen.words == str(worker.pid).encode()
                session = seen.last

    run(main)


async def sixteen_connections(version: str, port: int, before: Callable[[int], None]) -> set[int]:
    """Checks that all but the first resume the first session; answers which processes served."""
    visits: list[Visit] = []
    for number in range(CONNECTIONS):
        before(number)
        visits.append(await connect(port, visits[0].sessions[0] if visits else None))
    assert [seen.reused for seen in visits] == [False] + [True] * (CONNECTIONS - 1)
    told = [len(seen.sessions) for seen in visits]
    assert told == [NEW[version]] + [RENEWED[version]] * (CONNECTIONS - 1)
    return {int(seen.words) for seen in visits}


async def connect(port: int, session: bytes | None) -> Visit:
    options = client_options(session=session, allow_half_open=True)
    return await witness(aiotls.connect("127.0.0.1", port, **options))


class Worker:
    """A process that greets its clients with its number."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self._paused = False
        self.pid = process.pid
        self.port = port

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls, version: str, keys: bytes, where: dict[str, Any], inherited: socket.socket | None = None
    ) -> AsyncIterator["Worker"]:
        identity = (named.server_ec.chain_pem + named.server_ec.key_pem).decode()
        options = {"version": version, "keys": keys.hex(), "where": where, "identity": identity}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", textwrap.dedent(PROGRAM)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=() if inherited is None else (inherited.fileno(),),
            # Not as arguments: by default sessions are bound to those of the program.
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPTIONS": json.dumps(options)},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            worker = cls(process, int(await process.stdout.readline()))
            yield worker
            worker.pause(False)
            process.stdin.close()
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def pause(self, paused: bool) -> None:
        """Stops it, for certain, or lets it go on."""
        if paused and not self._paused:
            os.kill(self.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, self.pid, os.WSTOPPED)
        elif self._paused and not paused:
            os.kill(self.pid, signal.SIGCONT)
        self._paused = paused
