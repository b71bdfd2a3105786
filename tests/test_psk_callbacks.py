"""What happens within a PSK callback: it raises, or uses the very socket that asks."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import until
from tests.support.psk import Watched, know, psk_client, psk_server, refused, show
from tests.support.secured import WAYS, secured
from tests.support.servers import echo, serving, to


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("side", ["server", "client"])
def test_an_async_callback(run: Run, version: str, side: str) -> None:
    """OpenSSL cannot wait for the answer, so only plain functions are taken; no coroutine is left behind."""

    async def main() -> None:
        async def never(*_: Any) -> Any:
            raise AssertionError("it ran")

        server = psk_server(never if side == "server" else know)
        client = psk_client(version, never if side == "client" else show)
        seen, told = await refused(server, client)
        error = told if side == "server" else seen
        assert isinstance(error, aiotls.TLSError)
        assert "psk_callback" in str(error)

    run(main)


class Deliberate(BaseException):
    """Nothing that `except Exception` would catch."""


@pytest.mark.parametrize("kind", [LookupError, asyncio.CancelledError, Deliberate])
@pytest.mark.parametrize("side", ["server", "client"])
def test_an_exception(run: Run, version: str, side: str, kind: type[BaseException]) -> None:
    """PSK-01, failure model 18, CVE-2026-21637: it is told once, as it is; the other side gets internal_error."""

    async def main() -> None:
        error = kind("mine")

        def fail(*_: Any) -> Any:
            raise error

        server = psk_server(fail if side == "server" else know)
        seen, told = await refused(server, psk_client(version, fail if side == "client" else show))
        got = told if side == "server" else seen
        if isinstance(error, Exception):
            assert got is error
        else:
            # What would end a task, or the program, where it is raised again is wrapped.
            assert isinstance(got, aiotls.StateError)
            assert got.__cause__ is error
        if side == "server":
            assert isinstance(seen, aiotls.AlertReceived)
            assert seen.alert == 80
        else:
            assert isinstance(told, aiotls.TLSError)

    run(main)


# ---- the callback and its socket

TOUCHES: dict[str, Callable[[aiotls.TLSSocket], Any]] = {
    "repr": repr,
    "looks": lambda socket: (socket.authorized, socket.servername, socket.alpn_protocol, socket.remote_address),
    "more looks": lambda socket: (socket.get_protocol(), socket.get_cipher(), socket.is_session_reused()),
    "certificates": lambda socket: (socket.get_certificate(), socket.get_peer_certificate(), socket.get_session()),
    "secrets": lambda socket: (socket.get_finished(), socket.get_tls_ticket(), socket.get_ephemeral_key_info()),
    "flow": lambda socket: (socket.pause(), socket.resume(), socket.set_timeout(10), socket.set_timeout(None)),
    "wire": lambda socket: (socket.set_no_delay(), socket.set_keep_alive(), socket.address(), socket.writable_length),
}
ENDS: dict[str, Callable[[aiotls.TLSSocket], Any]] = {
    "destroy": lambda socket: socket.destroy(),
    "close": lambda socket: socket.close(),
    "reset": lambda socket: socket.reset_and_destroy(),
    "destroy with an error": lambda socket: socket.destroy(LookupError("enough")),
}


@pytest.mark.parametrize("touch", TOUCHES)
@pytest.mark.parametrize("way", WAYS)
def test_looking_at_the_socket_inside(run: Run, version: str, way: str, touch: str) -> None:
    """A callback runs in the midst of the handshake; what it does with its socket neither waits nor fails."""

    async def main() -> None:
        held: list[aiotls.TLSSocket] = []

        def server_key(socket: aiotls.TLSSocket, identity: str) -> bytes | None:
            TOUCHES[touch](socket)
            return know(socket, identity)

        def client_key(hint: str | None) -> aiotls.PSK:
            for socket in held:
                TOUCHES[touch](socket)
            return show(hint)

        async with secured(way, psk_server(server_key), psk_client(version, client_key)) as (near, far):
            far.write(b"done")
            assert await near.readexactly(4) == b"done"
        reading = asyncio.Event()

        async def echoing(socket: aiotls.TLSSocket) -> None:
            reading.set()
            await echo(socket)

        async with serving(echoing, **psk_server(server_key)) as server:
            client = to(server, **psk_client(version, client_key))
            held.append(client)
            async with client:
                # After `resume`, data is thrown away until somebody reads.
                await reading.wait()
                client.write(b"x")
                assert await client.readexactly(1) == b"x"

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_writing_inside(run: Run, version: str, way: str) -> None:
    """What the callback writes leaves when the handshake is done."""

    async def main() -> None:
        def server_key(socket: aiotls.TLSSocket, identity: str) -> bytes | None:
            socket.write(b"early")
            socket.end(b" words")
            return know(socket, identity)

        async with secured(way, psk_server(server_key), psk_client(version)) as (near, _):
            assert await near.read() == b"early words"

    run(main)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("side", ["server", "client"])
def test_ending_the_socket_inside(
    run: Run, version: str, side: str, end: str, loop_errors: list[dict[str, Any]]
) -> None:
    """The connection never becomes secure, and the server serves the next client."""

    async def main() -> None:
        ending = True
        sockets: list[aiotls.TLSSocket] = []

        def server_key(socket: aiotls.TLSSocket, identity: str) -> bytes | None:
            if ending and side == "server":
                ENDS[end](socket)
            return know(socket, identity)

        def client_key(hint: str | None) -> aiotls.PSK:
            if ending and side == "client":
                ENDS[end](sockets[-1])
            return show(hint)

        async with serving(echo, **psk_server(server_key)) as server:
            told = Watched(server)
            sockets.append(to(server, **psk_client(version, client_key)))
            with pytest.raises((aiotls.TLSError, LookupError)):
                await sockets[-1]
            await until(lambda: server.get_connections() == 0)
            assert told.secure == []
            ending = False
            sockets.append(to(server, **psk_client(version, client_key)))
            async with sockets[-1] as client:
                client.write(b"x")
                assert await client.readexactly(1) == b"x"

    run(main)
    assert loop_errors == []


@pytest.mark.parametrize("end", ["destroy", "close", "reset_and_destroy"])
def test_other_sockets_inside(run: Run, version: str, end: str) -> None:
    """A callback that writes to other connections of its loop, or ends them, is obeyed."""

    async def main() -> None:
        others: list[aiotls.TLSSocket] = []

        def server_key(socket: aiotls.TLSSocket, identity: str) -> bytes | None:
            for number, other in enumerate(others):
                other.write(b"from inside")
                if number == 0:
                    other.end()
                else:
                    getattr(other, end)()
            return know(socket, identity)

        async with serving(lambda socket: socket.resume(), **psk_server(server_key)) as server:
            told = Watched(server)
            clients = []
            for _ in range(2):
                clients.append(await to(server, **psk_client(version)))
                await until(lambda: len(told.secure) == len(clients))
            others += told.secure
            for client in clients:
                client.on("error", lambda _: None)
            async with to(server, **psk_client(version)):
                pass
            assert await clients[0].read() == b"from inside"
            for each in (*clients, *others):
                each.close()
            await until(lambda: server.get_connections() == 0)

    run(main)
