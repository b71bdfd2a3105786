"""The life of a `Server` from `listen` to `wait_closed`, and what it tells about itself on the way."""

import asyncio
import os
import socket as sockets
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, client_options, gone, server_options, streams, tcp_pair, until
from tests.support.servers import echo, port_of, serving, to

Errors = list[dict[str, Any]]


def made(listener: Any = echo, **options: Any) -> aiotls.Server:
    return aiotls.create_server(listener, **server_options(**options))


async def served(client: aiotls.TLSSocket) -> None:
    """Proves that a connection is served, and ends it."""
    async with client:
        client.end(b"x")
        assert await client.read() == b"x"


async def talking(server: aiotls.Server) -> aiotls.TLSSocket:
    """A client that has had an answer, so that both ends are secure."""
    client = await to(server)
    client.write(b"x")
    assert await client.readexactly(1) == b"x"
    return client


# ---- where it listens


def test_nothing_at_all(run: Run) -> None:
    """A port of the system's choice, in both families."""

    async def main() -> None:
        async with made() as server:
            await server.listen()
            address = server.address()
            assert address is not None
            assert address.port
            for host in ("127.0.0.1", "::1"):
                await served(aiotls.connect(host, address.port, **client_options()))

    run(main)


def test_a_chosen_port(run: Run) -> None:
    """By position and by name; free again as soon as the server has closed."""

    async def main() -> None:
        port = 0
        for _ in range(3):
            async with made() as server:
                await server.listen(port=port, host="127.0.0.1")
                assert port in (0, port_of(server))
                port = port_of(server)
                await served(to(server))
            async with made() as server:
                await server.listen(port, "127.0.0.1")
                assert port_of(server) == port

    run(main)


@pytest.mark.parametrize(("host", "code"), [("192.0.2.1", "EADDRNOTAVAIL"), ("2001:db8::1", "EADDRNOTAVAIL")])
def test_an_address_of_another_machine(run: Run, host: str, code: str) -> None:
    async def main() -> None:
        server = made()
        with pytest.raises(aiotls.ConnectError) as failure:
            await server.listen(0, host)
        assert failure.value.code == code
        assert failure.value.address == host
        assert failure.value.syscall == "listen"
        assert not server.listening

    run(main)


def test_inherited_unix_socket(run: Run, tmp_path: Path) -> None:
    """A listening descriptor of a supervisor: served, and its file is left to who made it."""

    async def main() -> None:
        path = str(tmp_path / "given.sock")
        for form in ("sock", "fd"):
            below = sockets.socket(sockets.AF_UNIX)
            below.bind(path)
            below.listen()
            given: dict[str, Any] = {"sock": below} if form == "sock" else {"fd": below.detach()}
            async with made() as server:
                await server.listen(**given)
                address = server.address()
                assert address is not None
                assert (address.address, address.port, address.family) == (path, None, "Unix")
                await served(aiotls.connect(path=path, **client_options()))
            assert stat.S_ISSOCK(os.stat(path).st_mode)
            os.unlink(path)

    run(main)


def test_inherited_ipv6_socket(run: Run) -> None:
    async def main() -> None:
        below = sockets.create_server(("::1", 0), family=sockets.AF_INET6)
        async with made() as server:
            await server.listen(sock=below)
            address = server.address()
            assert address is not None
            assert (address.address, address.family) == ("::1", "IPv6")
            await served(aiotls.connect("::1", port_of(server), **client_options()))

    run(main)


def test_a_descriptor_that_is_no_socket(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        server = made()
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises((OSError, ValueError)):
                await server.listen(fd=fd)
            assert not server.listening
        finally:
            os.close(fd)

    run(main)


def test_unix_paths_that_cannot_be(run: Run, tmp_path: Path) -> None:
    """A folder that does not exist, a path that is too long: the code of the system, or an error that names `path`."""

    async def main() -> None:
        for path in (tmp_path / "missing" / "a.sock", tmp_path / ("x" * 200)):
            server = made()
            with pytest.raises(OSError) as failure:  # noqa: PT011 - the system's words differ
                await server.listen(path=path)
            assert isinstance(failure.value, aiotls.TLSError)
            assert not server.listening
            assert server.address() is None

    run(main)


def test_a_file_that_is_no_socket_stays(run: Run, tmp_path: Path) -> None:
    """Only a socket that nobody serves is replaced: never somebody's data."""

    async def main() -> None:
        path = tmp_path / "data"
        path.write_text("precious")
        server = made()
        with pytest.raises(aiotls.ConnectError) as failure:
            await server.listen(path=path)
        assert failure.value.code == "EADDRINUSE"
        assert path.read_text() == "precious"

    run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's own")
def test_abstract_unix_socket(run: Run) -> None:
    """A name that begins with NUL is no file."""

    async def main() -> None:
        name = f"\0aiotls-{os.getpid()}-{os.urandom(4).hex()}"
        async with made() as server:
            await server.listen(path=name)
            address = server.address()
            assert address is not None
            assert (address.address, address.family) == (name, "Unix")
            await served(aiotls.connect(path=name, **client_options()))

    run(main)


@pytest.mark.parametrize("backlog", [0, 1, 511, 2**31 - 1])
def test_backlog(run: Run, backlog: int) -> None:
    async def main() -> None:
        async with made() as server:
            await server.listen(0, "127.0.0.1", backlog=backlog)
            await served(to(server))

    run(main)


def test_listening_in_a_listener(run: Run) -> None:
    """In "listening" the address is there; another server may be started there."""

    async def main() -> None:
        seen: list[Any] = []
        other = made()

        async def listener() -> None:
            seen.append(server.address())
            seen.append(server.listening)
            await other.listen(0, "127.0.0.1")

        async with made() as server, other:
            server.on("listening", listener)
            await server.listen(0, "127.0.0.1")
            await until(lambda: other.listening)
            assert seen == [server.address(), True]
            await served(to(server))
            await served(to(other))

    run(main)


def test_listeners_added_later(run: Run) -> None:
    """Count for connections accepted later, and only for these; removed ones count no more."""

    async def main() -> None:
        calls: list[str] = []
        async with serving(echo) as server:
            early = await talking(server)
            names: Any = ("connection", "secure_connection")
            listeners = [lambda _, name=name: calls.append(name) for name in names]
            for name, listener in zip(names, listeners, strict=True):
                server.on(name, listener)
            early.write(b"x")
            assert await early.readexactly(1) == b"x"
            assert calls == []
            await served(to(server))
            assert calls == ["connection", "secure_connection"]
            for name, listener in zip(names, listeners, strict=True):
                server.off(name, listener)
            await served(to(server))
            assert calls == ["connection", "secure_connection"]
            early.close()
            await early.wait_closed()

    run(main)


# ---- how many it serves


def test_get_connections(run: Run) -> None:
    """All that are open: in their handshake, secure, half closed, handed in."""

    async def main() -> None:
        async with serving(echo) as server:
            assert server.get_connections() == 0
            _reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            await until(lambda: server.get_connections() == 1)
            client = await to(server)
            await until(lambda: server.get_connections() == 2)
            near, far = MemoryDuplex.pair()
            socket = server.handle_connection(far)
            assert server.get_connections() == 3
            inner = await aiotls.connect(socket=near, **client_options())
            assert server.get_connections() == 3
            with pytest.warns(DeprecationWarning, match="get_connections"):
                assert server.connections == 3
            writer.close()
            await until(lambda: server.get_connections() == 2)
            client.close()
            await client.wait_closed()
            await until(lambda: server.get_connections() == 1)
            await gone(inner, socket)
            await until(lambda: server.get_connections() == 0)

    run(main)


# ---- the end


def test_close_and_injected_connections(run: Run) -> None:
    """`wait_closed` waits for those that were handed in, too; `close_all_connections` ends them."""

    async def main() -> None:
        for ending in ("client", "all"):
            near, far = await tcp_pair()
            server = made()
            server.handle_connection(far)
            client = await aiotls.connect(socket=near, **client_options())
            server.close()
            waiting = asyncio.create_task(server.wait_closed())
            client.write(b"x")
            assert await client.readexactly(1) == b"x"
            assert not waiting.done()
            if ending == "client":
                client.end()
            else:
                server.close_all_connections()
            assert await client.read() == b""
            await waiting
            await client.wait_closed()
            assert server.get_connections() == 0

    run(main)


def test_the_order_of_the_ends(run: Run) -> None:
    """Each socket's "close" comes before the server's, and `wait_closed` returns when both have."""

    async def main() -> None:
        order: list[str] = []

        def listener(socket: aiotls.TLSSocket) -> None:
            socket.on("close", lambda _: order.append("socket"))
            socket.resume()

        async with serving(listener) as server:
            server.on("close", lambda: order.append("server"))
            clients = [await to(server) for _ in range(3)]
            server.close()
            for client in clients:
                client.close()
            await server.wait_closed()
            await until(lambda: len(order) == 4)
            assert order == ["socket"] * 3 + ["server"]
            await asyncio.gather(*(client.wait_closed() for client in clients))

    run(main)


def test_several_wait(run: Run) -> None:
    """Any number may wait for the end, and one that is cancelled disturbs nobody."""

    async def main() -> None:
        async with serving(echo) as server:
            client = await to(server)
            waiting = [asyncio.create_task(server.wait_closed()) for _ in range(3)]
            forever = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0)
            waiting[0].cancel()
            server.close()
            client.close()
            await asyncio.gather(*waiting[1:], forever, client.wait_closed())
            assert waiting[0].cancelled()
            await server.wait_closed()

    run(main)


def test_serve_forever_leaves_the_connections_alone(run: Run) -> None:
    """Cancelled, it stops accepting; those that are served are served to their end."""

    async def main() -> None:
        async with serving(echo) as server:
            client = await talking(server)
            forever = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0)
            forever.cancel()
            await asyncio.gather(forever, return_exceptions=True)
            assert not server.listening
            assert server.address() is None
            client.end(b"last words")
            assert await client.read() == b"last words"
            await server.wait_closed()

    run(main)


def test_async_with_and_an_exception(run: Run) -> None:
    """It passes through, and nothing stays open behind it."""

    async def main() -> None:
        server = made()
        clients: list[aiotls.TLSSocket] = []

        async def serve() -> None:
            async with server:
                await server.listen(0, "127.0.0.1")
                clients.append(await talking(server))
                raise LookupError

        with pytest.raises(LookupError):
            await serve()
        assert not server.listening
        assert server.get_connections() == 0
        assert await clients[0].read() == b""
        await clients[0].wait_closed()

    run(main)


def test_async_with_that_is_cancelled(run: Run) -> None:
    async def main() -> None:
        ready = asyncio.Event()
        servers: list[aiotls.Server] = []

        async def serve() -> None:
            async with made() as server:
                servers.append(server)
                await server.listen(0, "127.0.0.1")
                ready.set()
                await server.serve_forever()

        serving_task = asyncio.create_task(serve())
        await ready.wait()
        client = await talking(servers[0])
        serving_task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving_task
        assert await client.read() == b""
        await client.wait_closed()
        assert servers[0].get_connections() == 0

    run(main)


def test_close_during_a_handshake_over_streams(run: Run) -> None:
    """A connection that was handed in and is still shaking hands is served, or ended, like any other."""

    async def main() -> None:
        for kind in ("transport", "streams", "duplex"):
            async with streams(kind) as (near, far):
                server = made()
                server.handle_connection(far)
                client = aiotls.connect(socket=near, **client_options())
                server.close()
                client.end(b"x")
                assert await client.read() == b"x"
                await server.wait_closed()
                await client.wait_closed()

    run(main)
