"""`max_connections`: how many a server serves at a time, and what becomes of those that come besides."""

import asyncio
import contextlib
import dataclasses
import socket as sockets
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, client_options, server_options, tcp_pair, until
from tests.support.servers import echo, port_of, serving, to

CLOSED_WITHIN = 5.0
"""Seconds to wait for a close that comes at once."""


async def ask(client: aiotls.TLSSocket) -> None:
    """Proves that a connection is served."""
    client.write(b"x")
    assert await client.readexactly(1) == b"x"


async def turned_away(server: aiotls.Server) -> None:
    """A client that is one too many is cut off before it could shake hands."""
    async with asyncio.timeout(CLOSED_WITHIN):
        with pytest.raises(aiotls.ConnectionLost):
            await to(server)


async def finish(*clients: aiotls.TLSSocket) -> None:
    for client in clients:
        client.close()
    for client in clients:
        await client.wait_closed()


def test_one_too_many(run: Run) -> None:
    """It is dropped without a handshake, "drop" tells who, and a place that becomes free is taken."""

    async def main() -> None:
        told: list[str] = []
        drops: asyncio.Queue[aiotls.DropInfo] = asyncio.Queue()
        async with serving(echo, max_connections=2) as server:
            for event in ("connection", "secure_connection", "tls_client_error", "error"):
                server.on(event, lambda *_, event=event: told.append(event))
            server.on("drop", drops.put_nowait)
            assert server.max_connections == 2
            first, second = await to(server), await to(server)
            await asyncio.gather(ask(first), ask(second))
            told.clear()
            with sockets.socket() as below:
                below.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(below, ("127.0.0.1", port_of(server)))
                info = await drops.get()
                assert (info.local_address, info.local_port, info.local_family) == (
                    "127.0.0.1",
                    port_of(server),
                    "IPv4",
                )
                assert (info.remote_address, info.remote_port) == below.getsockname()
                assert info.remote_family == "IPv4"
                async with asyncio.timeout(CLOSED_WITHIN):
                    with contextlib.suppress(ConnectionResetError):
                        assert await loop.sock_recv(below, 1) == b""
            assert server.get_connections() == 2
            assert told == [], "a dropped connection is none"
            await ask(first)
            await ask(second)
            await finish(first)
            await until(lambda: server.get_connections() == 1)
            third = await to(server)
            await ask(third)
            await ask(second)
            assert drops.empty()
            await finish(second, third)

    run(main)


def test_drop_info_is_a_value(run: Run) -> None:
    """Frozen, and with a repr that tells."""

    async def main() -> None:
        async with serving(echo, max_connections=1) as server, to(server):
            dropped = asyncio.ensure_future(server.wait_for("drop"))
            await turned_away(server)
            info = await dropped
            assert isinstance(info, aiotls.DropInfo)
            assert "127.0.0.1" in repr(info)
            with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
                info.local_port = 1  # type: ignore[misc]

    run(main)


def test_ipv6(run: Run) -> None:
    async def main() -> None:
        async with serving(echo, host="::1", max_connections=1) as server:
            dropped = asyncio.ensure_future(server.wait_for("drop"))
            async with aiotls.connect("::1", port_of(server), **client_options()):
                with sockets.create_connection(("::1", port_of(server))) as below:
                    info = await dropped
                    assert (info.local_address, info.local_family) == ("::1", "IPv6")
                    assert (info.remote_address, info.remote_family) == ("::1", "IPv6")
                    assert info.remote_port == below.getsockname()[1]

    run(main)


def test_unix_socket(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "server.sock")
        async with aiotls.create_server(echo, **server_options(max_connections=1)) as server:
            await server.listen(path=path)
            dropped = asyncio.ensure_future(server.wait_for("drop"))
            async with aiotls.connect(path=path, **client_options()) as client:
                with pytest.raises(aiotls.ConnectionLost):
                    await aiotls.connect(path=path, **client_options())
                info = await dropped
                assert (info.local_address, info.local_family, info.local_port) == (path, "Unix", None)
                assert info.remote_port is None
                await ask(client)

    run(main)


def test_nobody_listens_for_drops(run: Run) -> None:
    async def main() -> None:
        async with serving(echo, max_connections=1) as server, to(server) as client:
            for _ in range(5):
                await turned_away(server)
            await ask(client)

    run(main)


def test_changed_while_it_listens(run: Run) -> None:
    """For later connections; those that are open stay, however many there are."""

    async def main() -> None:
        async with serving(echo) as server:
            assert server.max_connections is None
            clients = [await to(server) for _ in range(3)]
            server.max_connections = 1
            assert server.max_connections == 1
            await turned_away(server)
            for client in clients:
                await ask(client)
            server.max_connections = 4
            clients.append(await to(server))
            await turned_away(server)
            server.max_connections = None
            clients += [await to(server) for _ in range(3)]
            for client in clients:
                await ask(client)
            server.max_connections = 1
            await finish(*clients)
            await until(lambda: not server.get_connections())
            async with to(server) as client:
                await ask(client)

    run(main)


def test_set_before_it_listens(run: Run) -> None:
    async def main() -> None:
        async with aiotls.create_server(echo, **server_options()) as server:
            server.max_connections = 1
            await server.listen(0, "127.0.0.1")
            async with to(server):
                await turned_away(server)

    run(main)


def test_handshakes_count(run: Run) -> None:
    """A connection is one from the moment it was accepted."""

    async def main() -> None:
        async with serving(echo, max_connections=2) as server:
            near = []
            for _ in range(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
                writer.write(b"\x16")
                near.append((reader, writer))
                await until(lambda: server.get_connections() == len(near))
            await turned_away(server)
            near[0][1].close()
            await until(lambda: server.get_connections() == 1)
            async with to(server) as client:
                await ask(client)
            near[1][1].close()

    run(main)


def test_injected_connections_count(run: Run) -> None:
    """Those of `handle_connection` take places as well, and give them back."""

    async def main() -> None:
        async with serving(echo, max_connections=1) as server:
            near, far = await tcp_pair()
            with near:
                dropped = asyncio.ensure_future(server.wait_for("drop"))
                socket = server.handle_connection(far)
                peer = BarePeer.client(near)
                await peer.handshake()
                assert server.get_connections() == 1
                await turned_away(server)
                await dropped
                await peer.write(b"x")
                assert await peer.read() == b"x"
                socket.destroy()
                await socket.wait_closed()
            assert server.get_connections() == 0
            async with to(server) as client:
                await ask(client)

    run(main)


def test_one_too_many_that_is_injected(run: Run) -> None:
    """`handle_connection` is no way round the limit: its stream is closed, and "drop" tells."""

    async def main() -> None:
        async with serving(echo, max_connections=1) as server, to(server) as client:
            told: list[Any] = []
            server.on("connection", told.append)
            server.on("tls_client_error", lambda *arguments: told.append(arguments))
            near, far = await tcp_pair()
            with near:
                dropped = asyncio.ensure_future(server.wait_for("drop"))
                await asyncio.sleep(0)
                socket = server.handle_connection(far)
                info = await dropped
                assert isinstance(info, aiotls.DropInfo)
                assert socket.destroyed
                assert await asyncio.get_running_loop().sock_recv(near, 1) == b""
            assert server.get_connections() == 1
            assert told == []
            await ask(client)

    run(main)


def test_none_at_all(run: Run) -> None:
    """0 is a limit: everybody is turned away until it is another one."""

    async def main() -> None:
        async with serving(echo, max_connections=0) as server:
            await turned_away(server)
            server.max_connections = 1
            async with to(server) as client:
                await ask(client)

    run(main)


def test_a_crowd(run: Run) -> None:
    """Of fifty at once as many are served as may be, and every other one is told of in a drop."""

    async def main() -> None:
        drops: list[aiotls.DropInfo] = []
        most = 0

        async def serve(socket: aiotls.TLSSocket) -> None:
            nonlocal most
            most = max(most, server.get_connections())
            await echo(socket)

        async with serving(serve, max_connections=7) as server:
            server.on("drop", drops.append)
            results = await asyncio.gather(*(to(server) for _ in range(50)), return_exceptions=True)
            served = [each for each in results if isinstance(each, aiotls.TLSSocket)]
            assert len(served) == 7
            assert most <= 7
            assert len(drops) == 43
            assert len({info.remote_port for info in drops}) == 43
            await asyncio.gather(*(ask(client) for client in served))
            await finish(*served)

    run(main)


@pytest.mark.parametrize("value", [-1, 1.5, "2", True, []])
def test_wrong_values(run: Run, value: Any) -> None:
    """The error names the option, when the server is made and when it is assigned to."""

    async def main() -> None:
        with pytest.raises((TypeError, ValueError), match="max_connections"):
            aiotls.create_server(max_connections=value)
        async with serving(echo, max_connections=3) as server:
            with pytest.raises((TypeError, ValueError), match="max_connections"):
                server.max_connections = value
            assert server.max_connections == 3

    run(main)


def test_drop_max_connection(run: Run) -> None:
    """Taken and checked; a server by itself always drops."""

    async def main() -> None:
        with pytest.raises(TypeError, match="drop_max_connection"):
            aiotls.create_server(drop_max_connection="yes")  # type: ignore[arg-type]
        for value in (True, False):
            async with serving(echo, max_connections=1, drop_max_connection=value) as server, to(server) as client:
                await turned_away(server)
                await ask(client)

    run(main)
