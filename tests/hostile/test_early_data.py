"""0-RTT: data in front of the handshake is never taken, and a client that offers it is served all the same."""

import asyncio
import contextlib
import re
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import server_options, until
from tests.support.peers import needs, openssl_client, openssl_server
from tests.support.pki import named
from tests.support.servers import port_of

EARLY = b"EARLY DATA THAT MAY BE A REPLAY"


@contextlib.asynccontextmanager
async def recorded(port: int) -> AsyncIterator[tuple[int, bytearray]]:
    """A way to `port` on which everything that a client says is written down."""
    said = bytearray()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, below = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while data := await above.read(65536):
                writer.write(data)
            writer.close()

        answering = asyncio.create_task(back())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                said.extend(data)
                below.write(data)
        below.close()
        await answering

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], said
    finally:
        server.close()


async def session_with_early_data(folder: Path) -> Path:
    """A session of a server that does take early data, as a file for s_client."""
    files = named.server_ec.write(folder)
    session = folder / "session.pem"
    identity = ("-cert", files.cert, "-key", files.key)
    async with (
        openssl_server("-tls1_3", "-early_data", *identity) as server,
        openssl_client("-tls1_3", "-sess_out", session, "-ign_eof", port=server.port) as client,
    ):
        server.write(b"hello\n")
        await client.saw("hello")
    assert await most_early_data(session) > len(EARLY)
    return session


async def most_early_data(session: Path) -> int:
    """How much a session allows."""
    words = ("sess_id", "-in", str(session), "-noout", "-text")
    process = await asyncio.create_subprocess_exec("openssl", *words, stdout=asyncio.subprocess.PIPE)
    text, _ = await process.communicate()
    found = re.search(r"Max Early Data: (\d+)", text.decode())
    assert found
    return int(found[1])


@needs("openssl")
@pytest.mark.parametrize("stateful", [False, True], ids=["tickets", "stateful"])
def test_offered_and_replayed(run: Run, tmp_path: Path, stateful: bool) -> None:
    """Failure model 14: rejected, then a full handshake; sent again, the same bytes open nothing at all."""

    async def main() -> None:
        received = bytearray()
        secure: list[aiotls.TLSSocket] = []
        failed: asyncio.Queue[Any] = asyncio.Queue()

        def accept(socket: aiotls.TLSSocket) -> None:
            secure.append(socket)
            socket.on("error", lambda _: None)
            socket.on("data", received.extend)
            socket.on("data", socket.write)

        options = {"secure_options": aiotls.constants.SSL_OP_NO_TICKET} if stateful else {}
        session = await session_with_early_data(tmp_path)
        early = tmp_path / "early"
        early.write_bytes(EARLY)
        server = aiotls.create_server(accept, **server_options(**options))
        server.on("tls_client_error", lambda error, _: failed.put_nowait(error))
        async with server:
            await server.listen(0, "127.0.0.1")
            async with recorded(port_of(server)) as (port, said):
                arguments = ("-tls1_3", "-sess_in", session, "-early_data", early, "-ign_eof")
                async with openssl_client(*arguments, port=port) as client:
                    await client.saw("Early data was rejected")
                    client.write(b"after the handshake\n")
                    await client.saw("after the handshake")
                    assert "New, TLSv1.3" in client.text
            await until(lambda: not server.get_connections())
            assert bytes(received) == b"after the handshake\n"
            assert len(secure) == 1
            # ClientHello, a change_cipher_spec of no meaning, and the early data: the first three records.
            flight, rest = bytearray(), bytes(said)
            for _ in range(3):
                size = 5 + int.from_bytes(rest[3:5], "big")
                flight += rest[:size]
                rest = rest[size:]
            assert len(flight) > len(EARLY) + 200
            for _ in range(3):
                with sockets.socket() as near:
                    near.setblocking(False)
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(near, ("127.0.0.1", port_of(server)))
                    await loop.sock_sendall(near, flight)
                    assert (await loop.sock_recv(near, 65536))[:1] == b"\x16"
                    near.shutdown(sockets.SHUT_WR)
                    error = await failed.get()
                    assert error.code == "ECONNRESET"
            assert len(secure) == 1
            assert EARLY not in received
            assert failed.empty()

    run(main)


@needs("openssl")
def test_our_own_tickets_allow_none(run: Run, tmp_path: Path) -> None:
    """What the server hands out says so: its sessions have no early data."""

    async def main() -> None:
        session = tmp_path / "session.pem"
        async with aiotls.create_server(lambda socket: socket.on("data", socket.write), **server_options()) as server:
            await server.listen(0, "127.0.0.1")
            arguments = ("-tls1_3", "-sess_out", session, "-ign_eof")
            async with openssl_client(*arguments, port=port_of(server)) as client:
                client.write(b"hello\n")
                await client.saw("^hello")
        assert await most_early_data(session) == 0

    run(main)
