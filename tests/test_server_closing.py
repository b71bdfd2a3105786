"""The end of a `Server`: it stops accepting at once, connections end when they do, or when they are told to."""

import asyncio
import socket as sockets
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import client_options, server_options, until
from tests.support.servers import echo, port_of, serving, to

Errors = list[dict[str, Any]]


def test_connections_go_on(run: Run) -> None:
    """`close()` stops accepting; `wait_closed` waits for the last connection; `"close"` comes once."""

    async def main() -> None:
        closes: list[str] = []
        async with serving(echo) as server:
            server.on("close", lambda: closes.append("close"))
            client = await to(server)
            client.write(b"before")
            assert await client.readexactly(6) == b"before"
            port = port_of(server)
            assert server.close() is server
            assert not server.listening
            assert server.address() is None
            with pytest.raises(ConnectionRefusedError):
                await aiotls.connect("127.0.0.1", port, **client_options())
            waiting = asyncio.create_task(server.wait_closed())
            client.write(b"after")
            assert await client.readexactly(5) == b"after"
            assert not waiting.done()
            assert closes == []
            client.close()
            await waiting
            await client.wait_closed()
            server.close()
            await server.wait_closed()
            await asyncio.sleep(0)
            assert closes == ["close"]

    run(main)


def test_close_all_connections(run: Run) -> None:
    """Those in their handshake too, silent ones included; the server itself goes on."""

    async def main() -> None:
        async with serving(echo) as server:
            clients = await asyncio.gather(*(to(server) for _ in range(5)))
            for client in clients:
                client.write(b"x")
                assert await client.readexactly(1) == b"x"
            silent = [await asyncio.open_connection("127.0.0.1", port_of(server)) for _ in range(3)]
            await until(lambda: server.get_connections() == 8)
            server.close_all_connections()
            for client in clients:
                assert await client.read() == b""
                await client.wait_closed()
            for reader, writer in silent:
                assert await reader.read() == b""
                writer.close()
            await until(lambda: not server.get_connections())
            async with to(server) as client:
                client.end(b"still here")
                assert await client.read() == b"still here"

    run(main)


def test_leaving_the_block_ends_everything(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as server:
            client = await to(server)
            client.write(b"x")
            assert await client.readexactly(1) == b"x"
        assert await client.read() == b""
        await client.wait_closed()
        assert server.get_connections() == 0

    run(main)


def test_wait_closed_waits_for_the_listeners(run: Run) -> None:
    """An async listener may have something to do after its connection has closed."""

    async def main() -> None:
        done: list[bool] = []

        async def listener(socket: aiotls.TLSSocket) -> None:
            await socket.read()
            await socket.wait_closed()
            await asyncio.sleep(0.02)
            done.append(True)

        async with serving(listener) as server:
            async with to(server) as client:
                client.end(b"x")
            server.close()
            await server.wait_closed()
            assert done == [True]

    run(main)


def test_close_before_listening(run: Run) -> None:
    async def main() -> None:
        server = aiotls.create_server(**server_options())
        server.close()
        await server.wait_closed()
        with pytest.raises(aiotls.StateError) as failure:
            server.listen(0, "127.0.0.1")
        assert failure.value.code == "ERR_SERVER_NOT_RUNNING"

    run(main)


def test_close_while_it_begins_to_listen(run: Run) -> None:
    """Between listen() and its outcome: nothing stays open."""

    async def main() -> None:
        server = aiotls.create_server(**server_options())
        listening = server.listen(0, "localhost")
        server.close()
        await asyncio.gather(listening, return_exceptions=True)
        async with asyncio.timeout(5):
            await server.wait_closed()
        assert not server.listening
        assert server.address() is None

    run(main)


def test_a_cancelled_listen(run: Run) -> None:
    async def main() -> None:
        server = aiotls.create_server(**server_options())
        listening = server.listen(0, "localhost")
        await asyncio.sleep(0)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        server.close()
        await server.wait_closed()

    run(main)


def test_serve_forever(run: Run) -> None:
    """Until it is cancelled, which closes the server; or until somebody else closes it."""

    async def main() -> None:
        async with serving(echo) as server:
            forever = asyncio.create_task(server.serve_forever())
            async with to(server) as client:
                client.end(b"x")
                assert await client.read() == b"x"
            assert not forever.done()
            forever.cancel()
            with pytest.raises(asyncio.CancelledError):
                await forever
            assert not server.listening

        async with serving(echo) as server:
            forever = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0)
            server.close()
            await forever

    run(main)


def test_closed_in_a_listener(run: Run) -> None:
    """In any listener of the server: the connection at hand is served to its end."""

    async def main() -> None:
        for event in ("connection", "secure_connection"):
            async with serving(lambda socket: socket.end(b"last words")) as server:
                server.on(event, lambda *_, server=server: server.close())
                async with to(server) as client:
                    assert await client.read() == b"last words"
                await server.wait_closed()

    run(main)


def test_all_connections_closed_in_a_listener(run: Run) -> None:
    async def main() -> None:
        async with serving() as server:
            server.on("secure_connection", lambda _: server.close_all_connections())
            clients = [to(server) for _ in range(4)]
            results = await asyncio.gather(*clients, return_exceptions=True)
            for client, result in zip(clients, results, strict=True):
                assert result is client or isinstance(result, aiotls.ConnectionLost)
                if result is client:
                    assert await client.read() == b""
                    await client.wait_closed()
            await until(lambda: not server.get_connections())

    run(main)


def test_closing_during_a_handshake(run: Run) -> None:
    """A client in the middle of its handshake when the server closes is served, or told; never left hanging."""

    async def main() -> None:
        for turns in range(6):
            async with serving(lambda socket: socket.end(b"x")) as server:
                client = to(server)
                reading = asyncio.ensure_future(client.read())
                for _ in range(turns):
                    await asyncio.sleep(0)
                server.close()
                result = (await asyncio.gather(reading, return_exceptions=True))[0]
                assert result == b"x" or isinstance(result, aiotls.WireError)
                client.close()
                await asyncio.gather(client.wait_closed(), return_exceptions=True)
                await server.wait_closed()

    run(main)


def test_the_backlog_of_a_closed_server(run: Run) -> None:
    """Connections that the system has taken but nobody has accepted are reset, not leaked."""

    async def main() -> None:
        async with serving(echo) as server:
            waiting = [sockets.create_connection(("127.0.0.1", port_of(server))) for _ in range(5)]
            server.close()
            server.close_all_connections()
            await server.wait_closed()
            for connection in waiting:
                connection.settimeout(5)
                try:
                    assert connection.recv(1) == b""
                except ConnectionError:
                    pass
                finally:
                    connection.close()

    run(main)


def test_many_connections_come_and_go(run: Run) -> None:
    """get_connections goes up and down again, and descriptors do as well (the fixture counts)."""

    async def main() -> None:
        async with serving(echo) as server:
            context = aiotls.create_secure_context(ca=client_options()["ca"])

            async def one(number: int) -> None:
                client = aiotls.connect("127.0.0.1", port_of(server), secure_context=context)
                if number % 5 == 0:
                    client.destroy()
                    return
                await client
                client.write(b"x")
                assert await client.readexactly(1) == b"x"
                if number % 5 == 1:
                    client.reset_and_destroy()
                elif number % 5 == 2:
                    client.destroy()
                else:
                    client.close()
                await client.wait_closed()

            for _ in range(4):
                await asyncio.gather(*(one(number) for number in range(50)))
            await until(lambda: not server.get_connections())

    run(main)
