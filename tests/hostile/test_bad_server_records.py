"""Servers that break the protocol when the connection is secure, seen by their clients."""

import asyncio
import os
import struct
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.hostile.records import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, plain_record
from tests.support.bad_servers import VERSIONS, BadServer, behaving

by_version = pytest.mark.parametrize("version", VERSIONS)

MESSAGES: dict[str, tuple[int, bytes]] = {
    "zero-type": (0, b"x"),
    "server-hello": (HANDSHAKE, b"\x02\x00\x00\x26\x03\x03" + bytes(36)),
    "client-hello": (HANDSHAKE, b"\x01\x00\x00\x26\x03\x03" + bytes(36)),
    "finished": (HANDSHAKE, b"\x14\x00\x00\x20" + bytes(32)),
    "certificate": (HANDSHAKE, b"\x0b\x00\x00\x03\x00\x00\x00"),
    "certificate-request": (HANDSHAKE, b"\x0d\x00\x00\x03\x00\x00\x00"),
    "unknown-message": (HANDSHAKE, b"\x63\x00\x00\x00"),
    "16-mebibytes": (HANDSHAKE, b"\x04\xff\xff\xff" + bytes(64)),
    "unknown-type": (99, b"x"),
    "short-alert": (ALERT, b"\x02"),
    "long-alert": (ALERT, b"\x01\x00\x01\x00\x01"),
    "change-cipher-spec": (CHANGE_CIPHER_SPEC, b"\x01"),
}


@by_version
@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("paused", [False, True], ids=["flowing", "paused"])
def test_a_message_at_the_wrong_time(run: Run, version: str, name: str, paused: bool) -> None:
    """Failure model 12, F2, for clients: alert, one error, closed at once; also while the client writes."""

    async def main() -> None:
        loud = asyncio.Event()

        async def behave(server: BadServer) -> None:
            await server.handshake()
            await server.send(server.record(*MESSAGES[name]))
            loud.set()
            alert = await server.told()
            assert alert not in ("", "close_notify")

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor()
            if paused:
                visitor.client.pause()
                await visitor.client.wait_for("secure_connect")
                await loud.wait()
                visitor.client.write(b"the client's words")
                await asyncio.sleep(0)
                visitor.client.resume()
            visitor.listen()
            error = await visitor.failed()
            assert isinstance(error, aiotls.ProtocolError | aiotls.RenegotiationError)
            assert error.library == "SSL routines"
            assert error.code.startswith("ERR_SSL_")
            assert (visitor.data, visitor.secure) == (b"", 1)

    run(main)


@by_version
@pytest.mark.parametrize("what", ["forged", "unprotected", "replayed", "too-long", "empty"])
def test_a_bad_record(run: Run, version: str, what: str) -> None:
    """Failure model 9 and 12, for clients: the alert of its kind, and none of it is delivered."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            good = server.record(APPLICATION_DATA, b"good")
            await server.send(good)
            assert await server.read() == b"good"
            bad = {
                "forged": server.record(APPLICATION_DATA, b"bad!")[:-1] + b"?",
                "unprotected": plain_record(APPLICATION_DATA, b"bad!"),
                "replayed": good,
                "too-long": plain_record(APPLICATION_DATA, bytes(2**14 + 2049)),
                "empty": plain_record(APPLICATION_DATA, b""),
            }[what]
            await server.send(bad)
            alert = await server.told()
            if what in ("forged", "replayed"):
                assert alert == "bad_record_mac"
            elif what == "too-long":
                assert alert == "record_overflow"
            else:
                assert alert

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor().listen()
            visitor.client.on("data", visitor.client.write)
            error = await visitor.failed()
            assert isinstance(error, aiotls.ProtocolError)
            assert visitor.data == b"good"
            assert visitor.client.bytes_read == 4

    run(main)


@by_version
@pytest.mark.parametrize("level", [1, 2], ids=["warning", "fatal"])
def test_an_alert_of_the_server(run: Run, version: str, level: int) -> None:
    """Failure model 9, for clients: a fatal alert is told with its number, once; there is no answer to it."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            await server.send(server.record(ALERT, bytes([level, 80])) + server.record(APPLICATION_DATA, b"x"))
            if level == 1 and version == "TLSv1.2":
                assert await server.read() == b"x", "a warning is no end"
                server.hang_up()
            assert await server.told() in ("", "close_notify")

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor().listen()
            visitor.client.on("data", visitor.client.write)
            if level == 1 and version == "TLSv1.2":
                await visitor.gone()
                assert (visitor.data, visitor.errors) == (b"x", [])
            else:
                error = await visitor.failed()
                assert isinstance(error, aiotls.AlertReceived)
                assert (error.alert, error.code) == (80, "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR")
                assert visitor.data == b""

    run(main)


# ---- floods


@by_version
@pytest.mark.parametrize("kind", ["empty", "warnings", "change-cipher-spec"])
def test_records_without_any_use(run: Run, version: str, kind: str) -> None:
    """Failure model 9, for clients: thousands of them end the connection long before the last, with an alert."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            for _ in range(5000):
                if kind == "empty":
                    record = server.record(APPLICATION_DATA, b"")
                elif kind == "warnings":
                    record = server.record(ALERT, b"\x01\x5a")
                elif version == "TLSv1.2":
                    record = server.record(CHANGE_CIPHER_SPEC, b"\x01")
                else:
                    record = plain_record(CHANGE_CIPHER_SPEC, b"\x01")
                await server.send(record)
            assert await server.told() == "unexpected_message"

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor().listen()
            error = await visitor.failed()
            assert isinstance(error, aiotls.ProtocolError)
            assert error.code.startswith("ERR_SSL_")
            assert (visitor.data, visitor.secure) == (b"", 1)

    run(main)


@by_version
def test_small_records_are_legal(run: Run, version: str) -> None:
    """A few empty records, padding, one byte at a time: what the protocol allows is delivered."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            words = b""
            for number in range(40):
                for _ in range(3):
                    words += server.record(APPLICATION_DATA, b"")
                words += server.record(APPLICATION_DATA, bytes([number]), padding=number * 100)
            await server.send(words + server.record(ALERT, b"\x01\x00"))
            assert await server.told() == "close_notify"

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor().listen()
            await visitor.gone()
            assert (visitor.data, visitor.errors) == (bytes(range(40)), [])

    run(main)


def test_key_updates_without_data(run: Run) -> None:
    """Failure model 13, for clients: more than 32 in a row end the connection, with an alert (goal 4)."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            await server.send(b"".join(server.key_update() for _ in range(100)))
            assert await server.told() == "unexpected_message"

        async with behaving(behave) as stage:
            assert (await stage.visitor().failed()).code == "ERR_SSL_TOO_MANY_KEY_UPDATES"

    run(main)


def test_key_updates_with_data(run: Run) -> None:
    """Any number with data between them is a server that is careful."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            for number in range(100):
                await server.send(server.key_update() + server.record(APPLICATION_DATA, bytes([number])))
                assert await server.read() == bytes([number])
            await server.send(server.record(ALERT, b"\x01\x00"))
            assert await server.told() == "close_notify"

        async with behaving(behave) as stage:
            visitor = stage.visitor().listen()
            visitor.client.on("data", visitor.client.write)
            await visitor.gone()
            assert (visitor.data, visitor.errors) == (bytes(range(100)), [])

    run(main)


def test_thousands_of_hello_requests(run: Run) -> None:
    """Failure model 13, for clients: they are answered with one ClientHello, and what comes between is delivered."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            for number in range(5000):
                await server.send(server.record(HANDSHAKE, bytes(4)))
                if number % 1000 == 0:
                    await server.send(server.record(APPLICATION_DATA, b"x"))
            await server.send(server.record(ALERT, b"\x01\x00"))
            size = 0
            while heard := await server.hear():
                size += len(heard)
            assert size < 8192, "one ClientHello, and close_notify"

        async with behaving(behave, version="TLSv1.2") as stage:
            visitor = stage.visitor().listen()
            await visitor.gone()
            assert (visitor.data, visitor.errors, visitor.secure) == (b"xxxxx", [], 1)

    run(main)


def test_hello_requests_that_are_refused(run: Run) -> None:
    """Failure model 13, for clients: with renegotiation disabled the first one ends the connection."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            assert await server.read() == b"x"
            await server.send(server.record(HANDSHAKE, bytes(4)))
            assert await server.told() == "no_renegotiation"

        async with behaving(behave, version="TLSv1.2") as stage:
            visitor = stage.visitor().listen()
            await visitor.client.wait_for("secure_connect")
            visitor.client.disable_renegotiation()
            visitor.client.write(b"x")
            error = await visitor.failed()
            assert error.code == "ERR_TLS_RENEGOTIATION_DISABLED"

    run(main)


def ticket(number: int) -> bytes:
    """A NewSessionTicket of TLS 1.3 (RFC 8446, section 4.6.1)."""
    body = struct.pack("!IIB", 7200, number, 8) + number.to_bytes(8, "big") + b"\x00\x20" + os.urandom(32) + bytes(2)
    return b"\x04" + len(body).to_bytes(3, "big") + body


@pytest.mark.parametrize("listens", [True, False], ids=["listener", "no-listener"])
def test_thousands_of_tickets(run: Run, listens: bool) -> None:
    """Failure model 13, for clients: each is told, none is kept, and data goes on."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            for number in range(2000):
                await server.send(server.record(HANDSHAKE, ticket(number)))
            await server.send(server.record(APPLICATION_DATA, b"done") + server.record(ALERT, b"\x01\x00"))
            assert await server.told() == "close_notify"

        async with behaving(behave) as stage:
            visitor = stage.visitor().listen()
            lengths: list[int] = []
            if listens:
                visitor.client.on("session", lambda session: lengths.append(len(session)))
            await visitor.gone()
            assert (visitor.data, visitor.errors) == (b"done", [])
            assert len(lengths) == (2000 if listens else 0)

    run(main)


BROKEN_TICKETS: dict[str, bytes] = {
    "empty": b"\x04\x00\x00\x00",
    "no-identity": b"\x04\x00\x00\x0d" + struct.pack("!IIB", 7200, 5, 0) + b"\x00\x00\x00\x00",
    "too-short": b"\x04\x00\x00\x0b" + struct.pack("!IIB", 7200, 5, 0) + b"\x00\x20",
    "odd-extensions": b"\x04\x00\x00\x10" + struct.pack("!IIB", 7200, 5, 0) + b"\x00\x01x" + b"\x00\x02\x00\x2a",
}


@pytest.mark.parametrize("name", BROKEN_TICKETS)
def test_a_broken_ticket(run: Run, name: str) -> None:
    """Failure model 15, for clients: an alert and an error, no session."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            await server.send(server.record(HANDSHAKE, BROKEN_TICKETS[name]))
            assert await server.told() in ("decode_error", "illegal_parameter")

        async with behaving(behave) as stage:
            visitor = stage.visitor().listen()
            sessions: list[Any] = []
            visitor.client.on("session", sessions.append)
            assert isinstance(await visitor.failed(), aiotls.ProtocolError)
            assert sessions == []

    run(main)
