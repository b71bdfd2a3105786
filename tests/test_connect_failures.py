"""Failure model 33: no way to the server, in every way: one error, one "close", and no descriptor is left."""

import asyncio
import contextlib
import gc
import socket as sockets
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run, open_descriptors
from tests.support.bad_servers import Visitor
from tests.support.pairs import client_options, server_options, until
from tests.support.pki import named
from tests.support.servers import echo, port_of, serving
from tests.test_client import refused_port
from tests.test_dial import black_hole
from tests.test_server_process import in_process

TWO = ["::1", "127.0.0.1"]


def dialled(port: int, lookup: Any = None, **options: Any) -> aiotls.TLSSocket:
    """A client of a host that only `lookup` knows."""
    found = {} if lookup is None else {"lookup": lookup}
    return aiotls.connect("a.example.com", port, **client_options(servername=None, **found, **options))


async def failure_of(client: aiotls.TLSSocket) -> Any:
    """The error of a client that cannot connect, told once to its listener; nothing else is told."""
    events: list[str] = []
    for name in ("connect", "ready", "secure", "secure_connect", "data", "end"):
        client.on(name, lambda *_, name=name: events.append(name))
    error = await Visitor(client).failed()
    assert events == []
    assert not client.connecting
    return error


# ---- memory


async def visit(port: int, how: str) -> "weakref.ref[aiotls.TLSSocket]":
    """A client that has come to its end in one of several ways, with plain listeners."""
    looked_up, secure, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    client = aiotls.connect("127.0.0.1", port, **client_options())
    client.on("error", lambda _: None).on("lookup", lambda *_: looked_up.set())
    client.on("secure", secure.set).on("close", lambda _: closed.set())
    if how == "connected":
        await secure.wait()
        client.close()
    elif how == "destroyed":
        await looked_up.wait()
        client.destroy()
    await closed.wait()
    return weakref.ref(client)


@pytest.mark.parametrize("how", ["refused", "destroyed", "connected"])
def test_no_client_has_to_be_collected(run: Run, how: str) -> None:
    """With an address there is no task that knows the client: it is free when nobody holds it any more."""

    async def main() -> None:
        async with serving(echo) as server:
            gc.collect()
            gc.disable()
            try:
                client = await visit(refused_port() if how == "refused" else port_of(server), how)
                await until(lambda: client() is None)
            finally:
                gc.enable()

    run(main)


# ---- names


def test_no_such_host(run: Run) -> None:
    """Failure model 33: the resolver knows no such name."""

    async def main() -> None:
        client = aiotls.connect("no-such-host.invalid", 443, **client_options())
        told: list[Any] = []
        client.on("lookup", lambda *arguments: told.append(arguments))
        error = await failure_of(client)
        assert isinstance(error, aiotls.ConnectError)
        assert (error.code, error.syscall, error.host) == ("ENOTFOUND", "getaddrinfo", "no-such-host.invalid")
        assert told == [(error, None, None, "no-such-host.invalid")]
        with pytest.raises(aiotls.ConnectError) as awaited:
            await client
        assert awaited.value is error

    run(main)


def test_a_family_without_an_address(run: Run) -> None:
    """Failure model 33: the name has no address of the family that was asked for."""

    async def main() -> None:
        error = await failure_of(aiotls.connect("127.0.0.1.invalid", 443, family=6, **client_options()))
        assert error.code == "ENOTFOUND"

    run(main)


class Interruption(BaseException):
    """Like KeyboardInterrupt, but nothing that may end a loop."""


RAISED = [
    LookupError("no such name"),
    sockets.gaierror(sockets.EAI_NONAME, "no such name"),
    OSError(111, "refused"),
    TimeoutError(),
    asyncio.CancelledError(),
    Interruption(),
    StopIteration(),
    StopAsyncIteration(),
    GeneratorExit(),
]


@pytest.mark.parametrize("style", ["plain", "async"])
@pytest.mark.parametrize("wrong", RAISED, ids=lambda error: type(error).__name__)
def test_lookup_that_raises(run: Run, style: str, wrong: BaseException) -> None:
    """Failure model 18 and 33: its exception is the error; one that would end a task stands behind a StateError."""

    async def main() -> None:
        def plain(*_: Any) -> Any:
            raise wrong

        async def later(*_: Any) -> Any:
            await asyncio.sleep(0)
            raise wrong

        error = await failure_of(dialled(1, plain if style == "plain" else later))
        if isinstance(wrong, Exception) and not isinstance(wrong, StopIteration | StopAsyncIteration):
            assert error is wrong
        else:
            assert isinstance(error, Exception)

    run(main)


NONSENSE: list[Any] = [
    "", "not an address", "127.0.0.1:443", "127.1", "0x7f.1", "256.0.0.1", "127.0.0.1\0", "::1%lo\0", "[::1]",
    ["127.0.0.1", "x"], [], (), [None], [1], 1, 2130706433, None, True, b"127.0.0.1", {"address": "127.0.0.1"},
    object(), [["127.0.0.1"]], "1" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("style", ["plain", "async"])
@pytest.mark.parametrize("number", range(len(NONSENSE)))
def test_lookup_that_answers_nonsense(run: Run, style: str, number: int) -> None:
    """Failure model 33: an error that names lookup, or tells that there is no address; nothing is connected to."""

    async def main() -> None:
        def plain(*_: Any) -> Any:
            return NONSENSE[number]

        async def later(*_: Any) -> Any:
            return NONSENSE[number]

        async with serving(echo) as server:
            server.on("connection", lambda _: pytest.fail("it has connected"))
            error = await failure_of(dialled(port_of(server), plain if style == "plain" else later))
            assert isinstance(error, aiotls.TLSError)
            assert "lookup" in str(error)
            assert len(str(error)) < 400

    run(main)


# ---- addresses


def test_every_address_refuses(run: Run) -> None:
    """Failure model 33, happy eyeballs: one error for all of them."""

    async def main() -> None:
        error = await failure_of(dialled(refused_port(), lambda *_: [*TWO, "127.0.0.2", "127.0.0.3"]))
        assert isinstance(error, aiotls.ConnectionRefused)
        assert error.code == "ECONNREFUSED"

    run(main)


def test_the_race_leaves_no_second_connection(run: Run) -> None:
    """Failure model 33, happy eyeballs: both addresses would do; one connection comes to stay, the other is closed."""

    async def main() -> None:
        async with serving(echo) as first:
            port = port_of(first)
            async with aiotls.create_server(echo, **server_options()) as second:
                await second.listen(port, "::1")
                for server in (first, second):
                    server.on("tls_client_error", lambda *_: None)
                for _ in range(10):
                    before = open_descriptors()
                    client = dialled(port, lambda *_: TWO, auto_select_family_attempt_timeout=0.0001)
                    async with client:
                        client.write(b"x")
                        assert await client.readexactly(1) == b"x"
                        await until(lambda: first.get_connections() + second.get_connections() == 1)
                    await until(lambda: not first.get_connections() + second.get_connections())
                    await until(lambda before=before: not open_descriptors() - before)  # type: ignore[misc]

    run(main)


def test_an_address_that_refuses_behind_one_that_is_silent(run: Run) -> None:
    """Failure model 33, happy eyeballs: the silent one is waited for no longer when the socket is destroyed."""

    async def main() -> None:
        async with black_hole() as port:
            client = dialled(port, lambda *_: TWO, auto_select_family_attempt_timeout=0.01)
            visitor = Visitor(client)
            await asyncio.sleep(0.05)
            assert client.connecting
            client.destroy()
            await visitor.gone()
            assert (visitor.errors, visitor.closed) == ([], [False])

    run(main)


def test_a_local_port_that_is_taken(run: Run) -> None:
    """Failure model 33: EADDRINUSE, with what was asked for."""

    async def main() -> None:
        async with serving(echo) as server:
            taken = port_of(server)
            options = client_options(local_port=taken, local_address="127.0.0.1")
            error = await failure_of(aiotls.connect("127.0.0.1", taken, **options))
            assert isinstance(error, aiotls.ConnectError)
            assert error.code == "EADDRINUSE"
            assert error.local_address == "127.0.0.1"

    run(main)


@pytest.mark.parametrize("kind", ["missing", "file", "directory", "stale", "full"])
def test_a_path_that_leads_nowhere(run: Run, tmp_path: Path, kind: str) -> None:
    """Failure model 33: Unix sockets that are none, that nobody listens on, or whose queue is full."""

    async def main() -> None:
        path = tmp_path / "s"
        codes = {"missing": "ENOENT", "full": "EAGAIN"}
        with contextlib.ExitStack() as stack:
            if kind == "file":
                path.write_bytes(b"")
            elif kind == "directory":
                path.mkdir()
            elif kind in ("stale", "full"):
                below = stack.enter_context(sockets.socket(sockets.AF_UNIX))
                below.bind(str(path))
                if kind == "full":
                    below.listen(0)
                    for _ in range(4):
                        filler = stack.enter_context(sockets.socket(sockets.AF_UNIX))
                        filler.setblocking(False)
                        with contextlib.suppress(BlockingIOError):
                            filler.connect(str(path))
            error = await failure_of(aiotls.connect(path=str(path), **client_options()))
            assert isinstance(error, aiotls.ConnectError)
            assert error.path == str(path)
            assert error.code == codes.get(kind, "ECONNREFUSED")

    run(main)


# ---- going away in the midst of it


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """A port of 127.0.0.1 that accepts and says nothing."""
    with sockets.create_server(("127.0.0.1", 0)) as below:
        yield below.getsockname()[1]


async def entered(client: aiotls.TLSSocket) -> None:
    await client


STAGES = ("at once", "looking up", "dialling", "racing", "handshake")
ENDS = ("destroy", "close", "reset_and_destroy", "end", "cancel", "timeout")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("stage", STAGES)
def test_going_away(run: Run, stage: str, end: str) -> None:
    """Failure model 33: whatever ends a connection that is being made takes its descriptor along; no error is told."""

    async def main() -> None:
        reached = asyncio.Event()

        async def never(*_: Any) -> str:
            reached.set()
            await asyncio.Event().wait()
            return "127.0.0.1"

        async with black_hole() as port, silent() as open_port:
            lookup: Any = {
                "looking up": never,
                "racing": lambda *_: ["::1", "::1"],
                "handshake": lambda *_: "127.0.0.1",
            }
            options: dict[str, Any] = {"lookup": lookup.get(stage, lambda *_: "::1"), "close_timeout": 0.05}
            options["auto_select_family_attempt_timeout"] = 0.01
            client = dialled(open_port if stage == "handshake" else port, **options)
            visitor = Visitor(client)
            waiting = asyncio.ensure_future(entered(client)) if end == "cancel" else None
            if stage == "looking up":
                await reached.wait()
            elif stage == "handshake":
                await client.wait_for("connect")
            elif stage != "at once":
                await client.wait_for("lookup")
                await asyncio.sleep(0.03)
            if waiting is not None:
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                client.destroy()
            elif end == "timeout":
                client.set_timeout(0.01, client.destroy)
            elif end == "end":
                client.end(b"never to be sent")
                client.destroy()
            else:
                getattr(client, end)()
            await visitor.gone()
            assert (visitor.errors, visitor.closed, visitor.secure) == ([], [False], 0)
            with pytest.raises(aiotls.StateError):
                await client

    run(main)


@pytest.mark.parametrize("event", ["lookup", "connect", "secure", "secure_connect", "ready"])
def test_a_listener_that_destroys(run: Run, event: Any) -> None:
    """Failure model 33: each listener on the way may end it; "close" is all that follows."""

    async def main() -> None:
        async with serving(echo) as server:
            server.on("tls_client_error", lambda *_: None)
            client = dialled(port_of(server), lambda *_: ["127.0.0.1", "127.0.0.1"])
            visitor = Visitor(client)
            events: list[str] = []
            order: tuple[Any, ...] = ("lookup", "connect", "secure", "secure_connect", "ready")
            for name in order:
                client.on(name, lambda *_, name=name: events.append(name))
            client.on(event, lambda *_: client.destroy())
            await visitor.gone()
            assert (visitor.errors, visitor.closed) == ([], [False])
            assert list(dict.fromkeys(events)) == list(order[: order.index(event) + 1])
            await until(lambda: not server.get_connections())

    run(main)


@pytest.mark.parametrize("event", ["lookup", "connect", "secure", "secure_connect", "ready"])
@pytest.mark.parametrize("style", ["plain", "async"])
def test_a_listener_that_raises(run: Run, event: Any, style: str) -> None:
    """Failure model 33: its exception ends that connection, once, and is its error."""

    async def main() -> None:
        wrong = LookupError("a mistake of the user")

        def plain(*_: Any) -> None:
            raise wrong

        async def later(*_: Any) -> None:
            await asyncio.sleep(0)
            raise wrong

        async with serving(echo) as server:
            server.on("tls_client_error", lambda *_: None)
            client = dialled(port_of(server), lambda *_: "127.0.0.1")
            visitor = Visitor(client)
            client.on(event, plain if style == "plain" else later)
            assert await visitor.failed() is wrong
            await until(lambda: not server.get_connections())

    run(main)


# ---- no descriptor to be had

CROWDED = """
    import asyncio, contextlib, os, resource, sys
    import aiotls

    CERT, KEY, CA = os.environ["TEST_CERT"], os.environ["TEST_KEY"], os.environ["TEST_CA"]

    def lookup(*_):
        return ["127.0.0.1", "127.0.0.1"]

    async def main(how):
        asyncio.get_running_loop().slow_callback_duration = 60
        server = aiotls.create_server(lambda socket: socket.end(b"x"), cert=CERT, key=KEY)
        server.on("error", lambda _: None)
        async with server:
            port = None
            if how == "path":
                path = sys.argv[2]
                await server.listen(path=path)
            else:
                await server.listen(0, "127.0.0.1")
                port = server.address().port
            context = aiotls.create_secure_context(ca=CA)
            options = {"secure_context": context, "servername": "localhost"}
            where = dict(path=path) if how == "path" else dict(host="127.0.0.1", port=port)
            if how == "race":
                where.update(host="a.test", lookup=lookup)

            # The limit is as low as the number of those that are open.
            highest = max(map(int, os.listdir("/proc/self/fd"))) + 1
            taken = []
            with contextlib.suppress(OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))

            codes = []
            for _ in range(5):
                events = []
                client = aiotls.connect(**where, **options)
                client.on("error", lambda error: events.append(error.code))
                client.on("close", events.append)
                await client.wait_for("close")
                assert events[1:] == [True], events
                codes.append(events[0])
                try:
                    await aiotls.connect(**where, **options)
                except aiotls.ConnectError as error:
                    codes.append(error.code)
            assert set(codes) == {"EMFILE"} and len(codes) == 10, codes
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            for each in taken:
                os.close(each)
            async with aiotls.connect(**where, **options) as client:
                print((await client.read()).decode())

    asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["address", "race", "path"])
def test_emfile(tmp_path: Path, how: str) -> None:
    """Failure model 33, goal 8: EMFILE at connect is an error like others; with descriptors free again it works."""
    assert in_process(CROWDED, named.server_ec, how, str(tmp_path / "s")) == "x\n"


FIRST = """
    import asyncio, contextlib, os, resource
    import aiotls

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 60
        near, far = __import__("socket").socketpair()
        context = aiotls.create_secure_context(ca=os.environ["TEST_CA"])
        highest = max(map(int, os.listdir("/proc/self/fd"))) + 1
        with contextlib.suppress(OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            taken = []
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        events = []
        try:
            client = aiotls.connect(socket=near, secure_context=context)
        except OSError as error:
            events = [error.code, True]
        else:
            client.on("error", lambda error: events.append(error.code))
            client.on("close", events.append)
            await client.wait_for("close")
        assert events == ["EMFILE", True], events
        print("told")
        near.close()
        far.close()

    asyncio.run(main())
"""


def test_emfile_of_the_first_connection() -> None:
    """Failure model 33: no descriptor for the loop's own set of descriptors either."""
    assert in_process(FIRST, named.server_ec) == "told\n"
