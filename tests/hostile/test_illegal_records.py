"""Records that break the protocol on a connection that is secure: an alert, the end, and nobody else notices."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.hostile.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    SERVER_CIPHERS,
    RecordPeer,
    plain_record,
)
from tests.support.pairs import server_options, until
from tests.support.servers import to

VERSIONS = ["TLSv1.2", "TLSv1.3"]


class Victim:
    """A server that echoes, and what its sockets and itself told."""

    def __init__(self) -> None:
        self.server = aiotls.create_server(self.accept, **server_options(ciphers=SERVER_CIPHERS))
        self.accepted: list[aiotls.TLSSocket] = []
        self.errors: asyncio.Queue[Any] = asyncio.Queue()
        self.closed: list[bool] = []
        self.wrong: list[Any] = []
        self.server.on("tls_client_error", lambda *arguments: self.wrong.append(arguments))
        self.server.on("error", self.wrong.append)

    def accept(self, socket: aiotls.TLSSocket) -> None:
        self.accepted.append(socket)
        socket.on("error", self.errors.put_nowait)
        socket.on("close", self.closed.append)
        socket.on("data", socket.write)


@contextlib.asynccontextmanager
async def victim() -> AsyncIterator[Victim]:
    """At the end a client that was there before is still served, and so is a new one."""
    hurt = Victim()
    async with hurt.server:
        await hurt.server.listen(0, "127.0.0.1")
        witness = await to(hurt.server)
        await until(lambda: hurt.accepted)
        hurt.accepted.clear()
        yield hurt
        witness.end(b"undisturbed")
        assert await witness.read() == b"undisturbed"
        async with to(hurt.server) as client:
            client.end(b"x")
            assert await client.read() == b"x"
        await until(lambda: not hurt.server.get_connections())
        assert hurt.wrong == [], "what happens on a secure connection is its own business"
        assert hurt.errors.empty(), "told more than once"


MESSAGES: dict[str, tuple[int, bytes]] = {
    "finished": (HANDSHAKE, b"\x14\x00\x00\x0c" + bytes(12)),
    "certificate": (HANDSHAKE, b"\x0b\x00\x00\x03\x00\x00\x00"),
    "server-hello": (HANDSHAKE, b"\x02\x00\x00\x26\x03\x03" + bytes(36)),
    "unknown-message": (HANDSHAKE, b"\x63\x00\x00\x00"),
    "16-mebibytes": (HANDSHAKE, b"\x01\xff\xff\xff" + bytes(64)),
    "broken-hello": (HANDSHAKE, b"\x01\x00\x00\x04\x03\x03\x00\x00"),
    "unknown-type": (99, b"x"),
    "short-alert": (ALERT, b"\x02"),
    "long-alert": (ALERT, b"\x01\x00\x01\x00\x01"),
    "change-cipher-spec": (CHANGE_CIPHER_SPEC, b"\x01"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("paused", [False, True], ids=["flowing", "paused"])
def test_a_message_at_the_wrong_time(run: Run, tmp_path: Path, version: str, name: str, paused: bool) -> None:
    """ERR-11, failure model 12, F2: protected, but no message of a secure connection; also while the server writes."""

    async def main() -> None:
        async with victim() as hurt:
            peer = await RecordPeer.connected(hurt.server, version, tmp_path)
            await until(lambda: hurt.accepted)
            (accepted,) = hurt.accepted
            if paused:
                accepted.pause()
                await asyncio.sleep(0)
            content_type, payload = MESSAGES[name]
            await peer.send(peer.record(content_type, payload))
            accepted.write(b"the server's words")
            if paused:
                await asyncio.sleep(0)
                accepted.write(b" and more of them")
                accepted.resume()
            await peer.hears_an_alert()
            error = await hurt.errors.get()
            assert isinstance(error, aiotls.ProtocolError | aiotls.RenegotiationError)
            assert error.library == "SSL routines"
            assert error.code.startswith("ERR_SSL_")
            await until(lambda: hurt.closed)
            assert hurt.closed == [True]
            peer.end.close()

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("what", ["forged", "unprotected", "replayed", "too-long", "empty"])
def test_a_bad_record(run: Run, tmp_path: Path, version: str, what: str) -> None:
    """Failure model 9 and 12: the alert of its kind, and none of it is delivered."""

    async def main() -> None:
        async with victim() as hurt:
            peer = await RecordPeer.connected(hurt.server, version, tmp_path)
            await until(lambda: hurt.accepted)
            good = peer.record(APPLICATION_DATA, b"good")
            await peer.send(good)
            assert await peer.read() == b"good"
            bad = {
                "forged": peer.record(APPLICATION_DATA, b"bad!")[:-1] + b"?",
                "unprotected": plain_record(APPLICATION_DATA, b"bad!"),
                "replayed": good,
                "too-long": plain_record(APPLICATION_DATA, bytes(2**14 + 2049)),
                "empty": plain_record(APPLICATION_DATA, b""),
            }[what]
            await peer.send(bad)
            reason = await peer.hears_an_alert()
            if what in ("forged", "replayed"):
                assert reason.endswith("BAD_RECORD_MAC")
            error = await hurt.errors.get()
            assert error.code.startswith("ERR_SSL_")
            assert hurt.accepted[0].bytes_read == 4
            peer.end.close()

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["empty", "warnings"])
def test_records_without_any_use(run: Run, tmp_path: Path, version: str, kind: str) -> None:
    """Failure model 9: thousands of empty records or warnings end the connection long before the last of them."""

    async def main() -> None:
        async with victim() as hurt:
            peer = await RecordPeer.connected(hurt.server, version, tmp_path)
            count = 5000

            async def flood() -> None:
                for _ in range(count):
                    if kind == "empty":
                        await peer.send(peer.record(APPLICATION_DATA, b""))
                    else:
                        await peer.send(peer.record(ALERT, b"\x01\x5a"))

            flooding = asyncio.create_task(flood())
            error = await hurt.errors.get()
            assert error.code.startswith("ERR_SSL_")
            result = (await asyncio.gather(flooding, return_exceptions=True))[0]
            assert result is None or isinstance(result, ConnectionError)
            peer.end.close()

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_small_records_are_legal(run: Run, tmp_path: Path, version: str) -> None:
    """A few empty records, padding, one byte at a time: what the protocol allows is delivered."""

    async def main() -> None:
        async with victim() as hurt:
            peer = await RecordPeer.connected(hurt.server, version, tmp_path)
            words = b""
            for number in range(40):
                for _ in range(3):
                    words += peer.record(APPLICATION_DATA, b"")
                words += peer.record(APPLICATION_DATA, bytes([number]), padding=number * 100)
            await peer.send(words)
            heard = b""
            while len(heard) < 40:
                heard += await peer.read()
            assert heard == bytes(range(40))
            await peer.send(peer.record(ALERT, b"\x01\x00"))
            assert await peer.read() == b""
            peer.end.close()

    run(main)


def test_key_updates_without_data(run: Run, tmp_path: Path) -> None:
    """Failure model 13: more than 32 in a row end the connection, with an alert (goal 4)."""

    async def main() -> None:
        async with victim() as hurt:
            peer = await RecordPeer.connected(hurt.server, "TLSv1.3", tmp_path)
            await peer.send(b"".join(peer.key_update() for _ in range(100)))
            error = await hurt.errors.get()
            assert error.code == "ERR_SSL_TOO_MANY_KEY_UPDATES"
            await peer.hears_an_alert()
            peer.end.close()

    run(main)


def test_key_updates_with_data(run: Run, tmp_path: Path) -> None:
    """Any number with data between them is a client that is careful."""

    async def main() -> None:
        async with victim() as hurt:
            peer = await RecordPeer.connected(hurt.server, "TLSv1.3", tmp_path)
            for number in range(100):
                await peer.send(peer.key_update() + peer.record(APPLICATION_DATA, bytes([number])))
                assert await peer.read() == bytes([number])
            await peer.send(peer.record(ALERT, b"\x01\x00"))
            assert await peer.read() == b""
            peer.end.close()

    run(main)
