"""Key log: the lines that let somebody else decrypt a connection, for those who listen and nobody else."""

import asyncio
import re
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, client_options, gone, server_options, streams, until
from tests.support.psk import psk_client, psk_server
from tests.support.secured import secured
from tests.support.servers import echo, serving, to

LABELS = {
    "TLSv1.2": ["CLIENT_RANDOM"],
    "TLSv1.3": [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_TRAFFIC_SECRET_0",
    ],
}


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def labels(lines: list[bytes]) -> list[str]:
    """The labels of lines in the NSS key log format, in alphabetical order; each line is checked."""
    found = []
    for line in lines:
        assert isinstance(line, bytes)
        match = re.fullmatch(rb"([A-Z_0-9]+) ([0-9a-f]{64}) ([0-9a-f]{64}|[0-9a-f]{96})\n", line)
        assert match, line
        found.append(match[1].decode())
    return sorted(found)


def randoms(lines: list[bytes]) -> set[bytes]:
    return {line.split()[1] for line in lines}


def test_key_01_both_sides(run: Run, version: str) -> None:
    """KEY-01: the same lines on both sides, five in TLS 1.3 and one in TLS 1.2, all of one connection."""

    async def main() -> None:
        async with serving(echo, max_version=version, min_version=version) as server:
            told: list[tuple[bytes, aiotls.TLSSocket]] = []
            near_lines: list[bytes] = []
            server.on("keylog", lambda line, socket: told.append((line, socket)))
            client = to(server)
            client.on("keylog", near_lines.append)
            async with client:
                client.end(b"x")
                assert await client.read() == b"x"
            far_lines = [line for line, _ in told]
            assert labels(near_lines) == labels(far_lines) == LABELS[version]
            assert sorted(near_lines) == sorted(far_lines)
            assert len(randoms(near_lines)) == 1
            (socket,) = {socket for _, socket in told}
            assert isinstance(socket, aiotls.TLSSocket)
            assert socket.encrypted is True
            assert socket.server is server

    run(main)


@pytest.mark.parametrize("when", ["at once", "next turn", "connect"])
def test_key_01_a_listener_added_before_the_handshake(run: Run, version: str, when: str) -> None:
    """KEY-01: after `connect` was called, or when the connection below is there: all lines come."""

    async def main() -> None:
        async with serving(echo, max_version=version) as server:
            lines: list[bytes] = []
            client = to(server)
            if when == "connect":
                client.on("connect", lambda: client.on("keylog", lines.append))
            else:
                if when == "next turn":
                    await asyncio.sleep(0)
                client.on("keylog", lines.append)
            async with client:
                pass
            assert labels(lines) == LABELS[version]

    run(main)


@pytest.mark.parametrize("way", ["accepted", "handed"])
def test_key_01_a_listener_of_the_servers_socket(run: Run, version: str, way: str) -> None:
    """KEY-01: the ``"connection"`` event gives the socket before its handshake; both listeners get every line."""

    async def main() -> None:
        lines: list[bytes] = []
        of_server: list[bytes] = []
        async with serving(echo, max_version=version) as server:
            server.on("connection", lambda socket: socket.on("keylog", lines.append))
            server.on("keylog", lambda line, _socket: of_server.append(line))
            if way == "accepted":
                client = to(server)
            else:
                stream, other = MemoryDuplex.pair()
                server.handle_connection(other)
                client = aiotls.connect(socket=stream, **client_options())
            async with client:
                client.end(b"x")
                assert await client.read() == b"x"
            assert labels(lines) == LABELS[version]
            assert lines == of_server

    run(main)


def test_one_socket_of_many(run: Run, version: str) -> None:
    """A listener of one socket does not make its neighbours talk."""

    async def main() -> None:
        lines: list[bytes] = []
        sockets: list[aiotls.TLSSocket] = []

        def connected(socket: aiotls.TLSSocket) -> None:
            sockets.append(socket)
            if len(sockets) == 2:
                socket.on("keylog", lines.append)

        async with serving(echo, max_version=version) as server:
            server.on("connection", connected)
            for _ in range(3):
                async with to(server) as client:
                    client.end(b"x")
                    assert await client.read() == b"x"
            assert labels(lines) == LABELS[version]
            assert len(randoms(lines)) == 1

    run(main)


@pytest.mark.parametrize("kind", ["tcp", "duplex", "transport", "streams"])
def test_key_01_wrapped(run: Run, version: str, kind: str) -> None:
    """KEY-01: both sides of a stream that somebody else connected."""

    async def main() -> None:
        async with streams(kind) as (near_stream, far_stream):
            far = aiotls.TLSSocket(far_stream, is_server=True, **server_options(max_version=version))
            near = aiotls.connect(socket=near_stream, **client_options())
            near_lines: list[bytes] = []
            far_lines: list[bytes] = []
            near.on("keylog", near_lines.append)
            far.on("keylog", far_lines.append)
            await asyncio.gather(near, far)
            await until(lambda: len(far_lines) == len(LABELS[version]))
            assert labels(near_lines) == LABELS[version]
            assert sorted(near_lines) == sorted(far_lines)
            await gone(near, far)

    run(main)


def test_later_listeners(run: Run, version: str) -> None:
    """What was made before a listener came is not told to it, and one of the server counts for later connections."""

    async def main() -> None:
        async with serving(echo, max_version=version) as server:
            late: list[Any] = []
            async with to(server) as client:
                client.on("keylog", late.append)
                server.on("keylog", lambda *arguments: late.append(arguments))
                client.end(b"x")
                assert await client.read() == b"x"
            assert late == []
            async with to(server) as client:
                client.end(b"x")
                assert await client.read() == b"x"
            assert labels([line for line, _ in late]) == LABELS[version]

    run(main)


def test_after_the_close(run: Run) -> None:
    """A listener that comes too late hears nothing and raises nothing."""

    async def main() -> None:
        async with serving(echo) as server:
            client = await to(server)
            client.destroy()
            await client.wait_closed()
            assert client.on("keylog", print) is client

    run(main)


def test_failure_model_29_no_file_by_itself(run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure model 29: without a listener or the variable, nothing is written anywhere."""

    async def main() -> None:
        monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
        monkeypatch.chdir(tmp_path)
        async with serving(echo) as server, to(server) as client:
            client.end(b"x")
            assert await client.read() == b"x"
        assert [*tmp_path.iterdir()] == []

    run(main)


def test_with_a_pre_shared_key(run: Run, version: str) -> None:
    async def main() -> None:
        async with serving(echo, **psk_server()) as server:
            lines: list[bytes] = []
            client = to(server, **psk_client(version))
            client.on("keylog", lines.append)
            async with client:
                pass
            assert labels(lines) == LABELS[version]

    run(main)


def test_resumed(run: Run, version: str) -> None:
    """A resumed connection has keys, and lines, of its own."""

    async def main() -> None:
        async with serving(echo, max_version=version) as server:
            lines: list[list[bytes]] = []
            sessions: list[bytes] = []
            for _ in range(2):
                of_one: list[bytes] = []
                client = to(server, session=sessions[-1] if sessions else None)
                client.on("keylog", of_one.append)
                client.on("session", sessions.append)
                async with client:
                    assert client.is_session_reused() is bool(lines)
                    client.end(b"x")
                    assert await client.read() == b"x"
                lines.append(of_one)
            assert [labels(each) for each in lines] == [LABELS[version]] * 2
            assert not randoms(lines[0]) & randoms(lines[1])

    run(main)


@pytest.mark.parametrize("by", ["client", "server"])
def test_renegotiated(run: Run, by: str) -> None:
    """A renegotiation makes new keys, so there is another line on both sides."""

    async def main() -> None:
        async with secured(server={"max_version": "TLSv1.2"}) as (near, far):
            near_lines: list[bytes] = []
            far_lines: list[bytes] = []
            near.on("keylog", near_lines.append)
            far.on("keylog", far_lines.append)
            await (near if by == "client" else far).renegotiate()
            await until(lambda: near_lines and far_lines)
            assert labels(near_lines) == LABELS["TLSv1.2"]
            assert near_lines == far_lines

    run(main)
