"""Cost as work grows: finding a name among many, and what connections leave behind.  Nothing is timed here."""

import functools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from aiotls.sni import SniTable
from benchmarks.growth import idle, messages, names, sequence
from benchmarks.growth.measuring import both_sides
from benchmarks.threads import WORKS, Identity, in_processes, in_threads, table
from tests.support.pki import named

FEW, MANY = 10, 10_000

NAMES: dict[str, tuple[Callable[[int], str], Callable[[int], str]]] = {
    "exact": (lambda number: f"n{number}.example", lambda number: f"n{number}.example"),
    "wildcard": (lambda number: f"*.w{number}.example", lambda number: f"any.w{number}.example"),
    "part": (lambda number: f"a*.p{number}.example", lambda number: f"any.p{number}.example"),
    "middle": (lambda number: f"a.*.m{number}.example", lambda number: f"a.any.m{number}.example"),
}
"""Of each kind the name that is added, and one that a client asks for."""


def steps(work: Callable[[], object]) -> int:
    """How many functions are called, of Python and of C; each of those here looks at one entry at most."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("kind", NAMES)
def test_finding_a_name_takes_as_many_steps(kind: str) -> None:
    """The first, the last and none of 10,000 names are found in as many steps as those of 10."""
    added, asked = NAMES[kind]
    taken = []
    for count in (FEW, MANY):
        table: SniTable[int] = SniTable()
        for number in range(count):
            table.add(added(number), number)
        for number in (0, count - 1):
            found = table.find(asked(number))
            assert found is not None
            assert found.value == number
        assert table.find("other.example") is None
        wanted = (asked(0), asked(count - 1), "other.example", "x.other.example")
        taken.append([steps(functools.partial(table.find, name)) for name in wanted])
    assert taken[0] == taken[1]


MANY_CONNECTIONS = """
    import asyncio, gc, os, sys, tracemalloc
    import aiotls

    WARMUP, CONNECTIONS, WORKERS = 500, 2000, 10
    resume = sys.argv[1] == "resumed"

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def facts():
        gc.collect()
        left = sum(isinstance(each, aiotls.TLSSocket | aiotls.Connection) for each in gc.get_objects())
        return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), left

    async def main():
        def accept(socket):
            socket.on("data", lambda data: socket.end(b"x"))

        resumed = 0
        server = aiotls.create_server(accept, cert=os.environ["TEST_CERT"], key=os.environ["TEST_KEY"])
        context = aiotls.create_secure_context(ca=os.environ["TEST_CA"])
        async with server:
            await server.listen(0, "127.0.0.1")
            port = server.address().port

            async def worker(count):
                nonlocal resumed
                session = None

                def keep(new):
                    nonlocal session
                    session = new

                for _ in range(count):
                    socket = aiotls.connect("127.0.0.1", port, secure_context=context, session=session)
                    if resume:
                        socket.on("session", keep)
                    async with socket:
                        resumed += socket.is_session_reused()
                        socket.write(b"a line")
                        assert await socket.read() == b"x"

            async def many(count):
                await asyncio.gather(*(worker(count // WORKERS) for _ in range(WORKERS)))
                while server.get_connections():
                    await asyncio.sleep(0)

            await many(WARMUP)
            before, size = facts(), resident()
            tracemalloc.start()
            await many(WORKERS)
            gc.collect()
            held = tracemalloc.get_traced_memory()[0]
            await many(CONNECTIONS)
            gc.collect()
            held = tracemalloc.get_traced_memory()[0] - held
            tracemalloc.stop()
            assert facts() == before, (facts(), before)
            assert before[1:] == (1, 0), before
            assert resumed == (WARMUP + CONNECTIONS - 2 * WORKERS) * resume, resumed
            print(held, resident() - size)

    asyncio.run(main())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the resident size there")
@pytest.mark.parametrize("kind", ["full", "resumed"])
def test_connections_leave_nothing(kind: str) -> None:
    """After 2,000 connections, on both sides: no memory, no descriptor, no task, no object."""
    # Not in development mode, which would take three times as long.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(MANY_CONNECTIONS), kind],
        env={
            **os.environ,
            "TEST_CERT": named.server_ec.chain_pem.decode(),
            "TEST_KEY": named.server_ec.key_pem.decode(),
            "TEST_CA": named.ca.cert_pem.decode(),
        },
        capture_output=True,
        text=True,
        timeout=19,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    held, grown = map(int, done.stdout.split())
    # Less than 64 bytes a connection: a few sessions are kept for a while.
    assert held < 128 * 2**10
    # tracemalloc itself needs some of that.
    assert grown < 4 * 2**20


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """Files of a server for localhost, and whom to trust."""
    files = named.server_ec.write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(named.ca.cert_pem)
    return Identity(files.chain, files.key, tmp_path / "ca.pem")


class TestThreads:
    """`python -m benchmarks.threads` does what it is for."""

    @pytest.mark.parametrize("work", WORKS)
    def test_two_threads(self, work: str, identity: Identity) -> None:
        """Each loop does its work beside the other one."""
        done, busy = in_threads(work, identity, 2, 0.1)
        assert done > 0
        assert busy > 0

    def test_two_processes(self, identity: Identity) -> None:
        """So do two processes, and they end."""
        assert in_processes("engines", identity, 2, 0.1) > 0

    def test_table(self) -> None:
        """The ratios are those to one thread, and to one process."""
        rates = {"one": 100.0, "threads": 150.0, "busy": 1.6, "process": 80.0, "processes": 152.0}
        assert "| 100 | 150 | **1.50** | 1.60 | 80 | 152 | 1.90 |" in table({"data": rates}, 2)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="what is measured there is Linux's")
class TestGrowth:
    """`python -m benchmarks.growth` does what it is for."""

    def test_connections(self) -> None:
        """Connections are kept, used and ended."""
        with both_sides() as (server, client, port):
            idle_ones = server.facts()["descriptors"]
            assert server.ask("make_room", wanted=5)["count"] == 5
            client.ask("keep", port=port, count=5)
            assert server.facts()["descriptors"] == idle_ones + 5
            client.ask("echo", port=port, count=3, size=64)
            client.ask("close")
            server.ask("empty")
            assert client.ask("visits", port=port, count=6, resume=True, workers=2)["resumed"] == 4
            server.ask("add_names", kind="wildcard", first=1, count=3, distinct=True)
            client.ask("visits", port=port, count=2, servername="x.w3.example")
            server.ask("empty")
            assert server.facts()["descriptors"] == idle_ones
            for side in (server, client):
                assert side.ask("sockets_left")["count"] == 0
                assert side.facts()["tasks"] == 0

    def test_messages(self) -> None:
        """Messages come whole, each way."""
        with both_sides("messages") as (server, client, port):
            server.ask("forget_peak")
            client.ask("down", port=port, size=2**20, count=2)
            client.ask("up", port=port, size=2**20, count=2)
            server.ask("empty")
            facts = server.facts()
            assert facts["peak"] >= facts["resident"] > 0

    def test_tables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each part has a row for each amount of work."""
        monkeypatch.setattr(sequence, "WARMUP", 8)
        assert len(idle.COUNTS) == 4
        assert (messages.SIZES[0], messages.SIZES[-1]) == (2**10, 64 * 2**20)
        assert names.COUNTS[-1] == 10_000
        table = sequence.measure(8)
        assert [len(row) for row in table.rows] == [len(table.columns)] * 4
        assert "| 8 full | server |" in table.text()
