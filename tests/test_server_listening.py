"""Where a `Server` listens: addresses, Unix sockets, given descriptors, and what the system refuses."""

import asyncio
import socket as sockets
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import client_options, server_options
from tests.support.servers import echo, port_of, serving, to

Errors = list[dict[str, Any]]


def test_echo(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as server:
            assert server.listening
            async with to(server) as client:
                client.end(b"hello")
                assert await client.read() == b"hello"

    run(main)


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", "IPv4"), ("::1", "IPv6"), ("localhost", None), (None, None), ("", None)]
)
def test_hosts(run: Run, host: str | None, family: str | None) -> None:
    """A name or an address, IPv4 or IPv6; nothing is all of this machine, in both families."""

    async def main() -> None:
        async with aiotls.create_server(lambda socket: socket.end(b"hi"), **server_options()) as server:
            assert await server.listen(0, host) is server
            address = server.address()
            assert address is not None
            assert address.port
            assert family in (None, address.family)
            targets = ["127.0.0.1", "::1"] if not host else [address.address]
            for target in targets:
                async with aiotls.connect(target, address.port, **client_options()) as client:
                    assert await client.read() == b"hi"
                    assert client.remote_address == target
                    assert client.remote_port == address.port

    run(main)


def test_ipv6_only(run: Run) -> None:
    async def main() -> None:
        async with aiotls.create_server(echo, **server_options()) as server:
            await server.listen(0, "::", ipv6_only=True)
            async with aiotls.connect("::1", port_of(server), **client_options()):
                pass
            with pytest.raises(ConnectionRefusedError):
                await aiotls.connect("127.0.0.1", port_of(server), **client_options())

    run(main)


@pytest.mark.parametrize("as_path", [True, False])
def test_unix_socket(run: Run, tmp_path: Path, as_path: bool) -> None:
    """CONN-01: the file is there while it listens, and gone afterwards."""

    async def main() -> None:
        path = tmp_path / "server.sock"
        async with aiotls.create_server(echo, **server_options()) as server:
            await server.listen(path=path if as_path else str(path))
            address = server.address()
            assert address is not None
            assert (address.address, address.family, address.port) == (str(path), "Unix", None)
            async with aiotls.connect(path=path if as_path else str(path), **client_options()) as client:
                assert client.remote_address == str(path)
                assert client.remote_family == "Unix"
                client.end(b"through a file")
                assert await client.read() == b"through a file"
            assert path.exists()
        assert not path.exists()

    run(main)


def test_unix_socket_left_by_a_dead_server(run: Run, tmp_path: Path) -> None:
    """A file that nobody listens on is replaced; one that is served is not, and stays."""

    async def main() -> None:
        path = str(tmp_path / "server.sock")
        with sockets.socket(sockets.AF_UNIX) as dead:
            dead.bind(path)
        async with aiotls.create_server(echo, **server_options()) as server:
            await server.listen(path=path)
            second = aiotls.create_server(echo, **server_options())
            with pytest.raises(OSError, match="EADDRINUSE") as failure:
                await second.listen(path=path)
            assert failure.value.code == "EADDRINUSE"  # type: ignore[attr-defined]
            second.close()
            async with aiotls.connect(path=path, **client_options()):
                pass

    run(main)


def test_given_descriptors(run: Run) -> None:
    """`fd` and `sock`: bound, or listening, already; taken over and closed."""

    async def main() -> None:
        for form in ("sock", "fd", "listening"):
            below = sockets.socket()
            below.bind(("127.0.0.1", 0))
            if form == "listening":
                below.listen()
            name = below.getsockname()
            async with aiotls.create_server(echo, **server_options()) as server:
                if form == "fd":
                    await server.listen(fd=below.detach())
                else:
                    await server.listen(sock=below)
                assert port_of(server) == name[1]
                async with to(server):
                    pass

    run(main)


def test_reuse_port(run: Run) -> None:
    """Two servers on one port: every client is served by one of them."""

    async def main() -> None:
        served = [0, 0]

        def count(number: int) -> Any:
            def listener(socket: aiotls.TLSSocket) -> None:
                served[number] += 1
                socket.end(b"x")

            return listener

        async with (
            aiotls.create_server(count(0), **server_options()) as first,
            aiotls.create_server(count(1), **server_options()) as second,
        ):
            await first.listen(0, "127.0.0.1", reuse_port=True)
            await second.listen(port_of(first), "127.0.0.1", reuse_port=True)
            for _ in range(20):
                async with to(first) as client:
                    assert await client.read() == b"x"
            assert sum(served) == 20

    run(main)


def test_address_in_use(run: Run, loop_errors: Errors) -> None:
    """Raised by the await; without one told to the "error" listeners, then not to the loop as well."""

    async def main() -> None:
        async with serving() as server:
            other = aiotls.create_server(**server_options())
            with pytest.raises(aiotls.ConnectError) as failure:
                await other.listen(port_of(server), "127.0.0.1")
            assert failure.value.code == "EADDRINUSE"
            assert failure.value.port == port_of(server)
            assert other.address() is None
            assert not other.listening

            told: asyncio.Future[Any] = asyncio.ensure_future(other.wait_for("error"))
            await asyncio.sleep(0)
            other.listen(port_of(server), "127.0.0.1")
            assert (await told).code == "EADDRINUSE"
            await other.listen(0, "127.0.0.1")
            assert other.listening, "after a failure it may listen elsewhere"
            other.close()
            await other.wait_closed()
        assert loop_errors == []

    run(main)


def test_listening_event(run: Run) -> None:
    async def main() -> None:
        async with aiotls.create_server(**server_options()) as server:
            assert not server.listening
            assert server.address() is None
            told = asyncio.ensure_future(server.wait_for("listening"))
            await asyncio.sleep(0)
            server.listen(0, "127.0.0.1")
            await told
            assert server.listening
            with pytest.raises(aiotls.StateError) as failure:
                server.listen(0, "127.0.0.1")
            assert failure.value.code == "ERR_SERVER_ALREADY_LISTEN"

    run(main)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"port": -1}, "port"),
        ({"port": 65536}, "port"),
        ({"port": "80"}, "port"),
        ({"port": True}, "port"),
        ({"backlog": -1}, "backlog"),
        ({"backlog": "many"}, "backlog"),
        ({"fd": -1}, "fd"),
        ({"fd": "0"}, "fd"),
        ({"host": 1}, "host"),
        ({"path": 1}, "path"),
        ({"path": "x" * 120}, "path"),
        ({"sock": 1}, "sock"),
        ({"reuse_port": 1}, "reuse_port"),
        ({"ipv6_only": 1}, "ipv6_only"),
        ({"port": 0, "path": "x"}, "path"),
        ({"path": "x", "fd": 3}, "fd"),
    ],
)
def test_wrong_arguments(run: Run, arguments: dict[str, Any], name: str) -> None:
    async def main() -> None:
        server = aiotls.create_server(**server_options())
        with pytest.raises((TypeError, ValueError), match=name):
            server.listen(**arguments)
        assert not server.listening

    run(main)


@pytest.mark.parametrize("host", ["no-such-name.invalid", "x" * 64 + ".invalid"])
def test_a_host_without_an_address(run: Run, host: str) -> None:
    async def main() -> None:
        with pytest.raises(aiotls.ConnectError) as refused:
            await aiotls.create_server(**server_options()).listen(0, host)
        assert refused.value.code == "ENOTFOUND"
        assert refused.value.syscall == "getaddrinfo"

    run(main)


@pytest.mark.parametrize("listener", ["this is not valid", 1, {}])
def test_a_listener_that_cannot_be_called(run: Run, listener: Any) -> None:
    """OPT-02."""

    async def main() -> None:
        with pytest.raises(TypeError, match="listener"):
            aiotls.create_server(listener)
        async with aiotls.create_server() as server:
            await server.listen(0, "127.0.0.1")

    run(main)
