"""Servers that do not let a handshake come to its end: silence, garbage, messages that no client should take.

Whatever comes, the client tells one error with its code, sends an alert where TLS has one, and closes at once.
"""

import asyncio
import contextlib
import random
import struct
from collections.abc import Callable

import pytest

import aiotls
from tests.conftest import Run
from tests.hostile.records import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, plain_record
from tests.support.bad_servers import CERTIFICATE, VERSIONS, BadServer, Exhausted, behaving, length_of_handshake
from tests.support.servers import echo, serving, to

by_version = pytest.mark.parametrize("version", VERSIONS)


@by_version
def test_silence_after_every_prefix(run: Run, version: str) -> None:
    """Failure model 1, for clients: 250 servers that stall; each is left after the timeout, once, others go on."""

    async def main() -> None:
        total = await length_of_handshake(version)
        budgets = iter(range(0, total, total // 250))

        async def behave(server: BadServer) -> None:
            server.budget = next(budgets)
            with contextlib.suppress(Exhausted):
                await server.handshake()
            await server.told()

        async with behaving(behave, version=version) as stage, serving(echo) as good:
            visitors = [stage.visitor(handshake_timeout=0.6) for _ in range(250)]
            for _ in range(20):
                async with to(good) as client:
                    client.end(b"meanwhile")
                    assert await client.read() == b"meanwhile"
            errors = [await visitor.failed() for visitor in visitors]
            assert {error.code for error in errors} == {"ERR_TLS_HANDSHAKE_TIMEOUT"}
            assert all(isinstance(error, aiotls.HandshakeTimeout) for error in errors)
            assert {visitor.secure for visitor in visitors} == {0}

    run(main)


# ---- first bytes that are no ServerHello

SERVER_HELLO_2 = b"\x80\x12\x04\x00\x01\x00\x02\x00\x00\x00\x03\x00\x04\x01\x00\x80" + bytes(4)
"""What a server of SSL 2.0 would answer."""
NO_TLS = ("ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG", "ERR_SSL_UNKNOWN_PROTOCOL")

GARBAGE: dict[str, bytes] = {
    "http": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "smtp": b"220 mail.example.com ESMTP\r\n",
    "zeros": bytes(4096),
    "ssl-2": SERVER_HELLO_2,
    "socks": b"\x05\xff",
    "proxy": b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
    "stars": b"*" * 2**20,
}


@pytest.mark.parametrize("name", GARBAGE)
def test_another_protocol(run: Run, name: str) -> None:
    """Failure model 8, for clients: a clear code; what cannot be a record of TLS needs no alert."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.flight()
            await server.send(GARBAGE[name])
            if len(GARBAGE[name]) < 5:
                server.hang_up()  # a client has to wait for the rest of a header
            assert await server.told() in ("", "protocol_version", "record_overflow")

        async with behaving(behave) as stage:
            visitor = stage.visitor()
            error = await visitor.failed()
            if len(GARBAGE[name]) < 5:
                assert error.code == "ECONNRESET"
            else:
                assert error.code in NO_TLS
                assert error.library == "SSL routines"
            assert visitor.client.bytes_read == visitor.secure == 0

    run(main)


def test_random_bytes(run: Run) -> None:
    """Failure model 8, for clients: a thousand of them, with and without a header that fits; one error each."""

    async def main() -> None:
        numbers = iter(range(1000))

        async def behave(server: BadServer) -> None:
            noise = random.Random(next(numbers))
            data = noise.randbytes(noise.randrange(5, 600))
            if noise.random() < 0.5:
                data = plain_record(noise.choice([20, 21, 22, 23]), data)
            await server.flight()
            await server.send(data)
            server.hang_up()
            await server.told()

        async with behaving(behave) as stage:
            for _ in range(10):
                visitors = [stage.visitor() for _ in range(100)]
                for visitor in visitors:
                    error = await visitor.failed()
                    assert isinstance(error, aiotls.PeerError | aiotls.ConnectionLost)
                    assert error.code.startswith("ERR_SSL_") or error.code == "ECONNRESET"
                    assert visitor.secure == 0

    run(main)


@by_version
def test_mutated_flights(run: Run, version: str) -> None:
    """Failure model 8, for clients: 300 good flights with a wrong byte in each: nobody takes one for good."""

    async def main() -> None:
        numbers = iter(range(300))

        async def behave(server: BadServer) -> None:
            noise = random.Random(next(numbers))
            flight = bytearray(await server.flight())
            while (place := noise.randrange(len(flight))) in header_versions(flight):
                pass
            flight[place] ^= 1 << noise.randrange(8)
            await server.send(bytes(flight))
            server.hang_up()
            await server.told()

        async with behaving(behave, version=version) as stage:
            for _ in range(3):
                visitors = [stage.visitor() for _ in range(100)]
                for visitor in visitors:
                    error = await visitor.failed()
                    assert isinstance(error, aiotls.PeerError | aiotls.ConnectionLost), repr(error)
                    assert visitor.secure == 0

    run(main)


def header_versions(flight: bytes | bytearray) -> set[int]:
    """Where the versions of records stand, which a client need not look at."""
    places: set[int] = set()
    start = 0
    while start < len(flight):
        places |= {start + 1, start + 2}
        start += 5 + int.from_bytes(flight[start + 3 : start + 5], "big")
    return places


# ---- records that are out of place

FIRST_RECORDS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "application-data": (plain_record(APPLICATION_DATA, b"too early"), ("unexpected_message",)),
    "length-65535": (struct.pack("!BHH", HANDSHAKE, 0x0303, 0xFFFF) + bytes(100), ("record_overflow", "")),
    "length-16641": (struct.pack("!BHH", HANDSHAKE, 0x0303, 16641) + bytes(16641), ("record_overflow",)),
    "empty": (plain_record(HANDSHAKE, b"") * 2000, ("unexpected_message",)),
    "empty-data": (plain_record(APPLICATION_DATA, b"") * 2000, ("unexpected_message",)),
    "warnings": (plain_record(ALERT, b"\x01\x5a") * 5000, ("unexpected_message",)),
    "change-cipher-spec": (plain_record(CHANGE_CIPHER_SPEC, b"\x01") * 5000, ("unexpected_message",)),
    "long-alert": (plain_record(ALERT, b"\x01\x5a\x01\x5a\x01"), ("unexpected_message", "decode_error")),
    "unknown-type": (plain_record(99, b"x"), ("unexpected_message", "")),
    "unknown-message": (plain_record(HANDSHAKE, b"\x63\x00\x00\x00"), ("unexpected_message",)),
    "finished": (plain_record(HANDSHAKE, b"\x14\x00\x00\x0c" + bytes(12)), ("unexpected_message",)),
    "client-hello": (plain_record(HANDSHAKE, b"\x01\x00\x00\x26\x03\x03" + bytes(36)), ("unexpected_message",)),
    "certificate": (plain_record(HANDSHAKE, b"\x0b\x00\x00\x03\x00\x00\x00"), ("unexpected_message",)),
    "broken-hello": (plain_record(HANDSHAKE, b"\x02\x00\x00\x04\x03\x03\x00\x00"), ("decode_error",)),
}


@pytest.mark.parametrize("name", FIRST_RECORDS)
def test_first_records(run: Run, name: str) -> None:
    """Failure model 9, F1, for clients: an alert, at once, and not a byte is delivered."""
    data, alerts = FIRST_RECORDS[name]

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.flight()
            await server.send(data)
            assert await server.told() in alerts

        async with behaving(behave) as stage:
            visitor = stage.visitor()
            error = await visitor.failed()
            assert isinstance(error, aiotls.PeerError)
            assert error.code.startswith("ERR_SSL_")
            assert visitor.client.bytes_read == visitor.secure == 0

    run(main)


@by_version
def test_data_in_the_midst_of_a_handshake(run: Run, version: str) -> None:
    """Failure model 9, for clients: application data behind the ServerHello is not delivered, not even later."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            hello = first_record(await server.flight())
            if version == "TLSv1.3":
                server.protect()
                await server.send(hello + server.record(APPLICATION_DATA, b"too early"))
            else:
                await server.send(hello + plain_record(APPLICATION_DATA, b"too early"))
            assert await server.told() == "unexpected_message"

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor().listen()
            assert isinstance(await visitor.failed(), aiotls.ProtocolError)
            assert (visitor.data, visitor.secure) == (b"", 0)

    run(main)


def first_record(flight: bytes) -> bytes:
    return flight[: 5 + int.from_bytes(flight[3:5], "big")]


@by_version
def test_16_mebibytes_of_certificates(run: Run, version: str) -> None:
    """Failure model 10, for clients: refused when its header has come, before the rest of it."""

    async def main() -> None:
        message = bytes([CERTIFICATE]) + b"\xff\xff\xff" + bytes(1000)

        async def behave(server: BadServer) -> None:
            hello = server.server_hello(await server.flight())
            if version == "TLSv1.3":
                server.protect()
                extensions = server.record(HANDSHAKE, b"\x08\x00\x00\x02\x00\x00")
                await server.send(hello + extensions + server.record(HANDSHAKE, message))
            else:
                await server.send(hello + plain_record(HANDSHAKE, message))
            assert await server.told() == "illegal_parameter"

        async with behaving(behave, version=version) as stage:
            error = await stage.visitor().failed()
            assert error.code == "ERR_SSL_EXCESSIVE_MESSAGE_SIZE"

    run(main)


@by_version
def test_one_byte_at_a_time(run: Run, version: str) -> None:
    """Failure model 11, for clients: one byte in each write, and what is plain in records of one byte each."""

    def split(flight: bytes) -> bytes:
        pieces = b""
        while flight:
            record, flight = first_record(flight), flight[len(first_record(flight)) :]
            content_type = record[0]
            if content_type == HANDSHAKE and record[5:] and len(record) > 100 and version == "TLSv1.2":
                pieces += b"".join(plain_record(content_type, record[at : at + 1]) for at in range(5, len(record)))
            else:
                pieces += record
        return pieces

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            server.piece = 1
            server.change = split
            await server.handshake()
            await server.send(server.record(APPLICATION_DATA, b"hello") + server.record(ALERT, b"\x01\x00"))
            assert await server.told() == "close_notify"

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor().listen()
            await visitor.gone()
            assert (visitor.data, visitor.secure, visitor.errors, visitor.closed) == (b"hello", 1, [], [False])

    run(main)


# ---- what was never offered


def test_early_data_is_never_sent(run: Run) -> None:
    """Failure model 14, for clients: a ticket that allows early data is used without; it is not even offered."""

    async def main() -> None:
        hellos: list[bytes] = []

        async def behave(server: BadServer) -> None:
            await server.handshake()
            hellos.append(server.hello)
            allowed = b"\x00\x2a\x00\x04\xff\xff\xff\xff"
            ticket = struct.pack("!IIB", 7200, 5, 1) + b"n" + b"\x00\x20" + bytes(32) + struct.pack("!H", 8) + allowed
            message = b"\x04" + len(ticket).to_bytes(3, "big") + ticket
            await server.send(server.record(HANDSHAKE, message) + server.record(ALERT, b"\x01\x00"))
            await server.told()

        async with behaving(behave) as stage:
            sessions: list[bytes] = []
            first = stage.visitor().listen()
            first.client.on("session", sessions.append)
            await first.gone()
            (session,) = sessions
            again = stage.connect(session=session)
            again.write(b"as early as possible")
            await again
            assert again.is_session_reused() is False
            again.destroy()
            await again.wait_closed()
            offers = [extensions_of(hello) for hello in hellos]
            assert [41 in offer for offer in offers] == [False, True], "the ticket is offered"
            assert [42 in offer for offer in offers] == [False, False], "early data is not"

    run(main)


def extensions_of(hello: bytes) -> dict[int, bytes]:
    """The extensions of a ClientHello in its record."""
    body = hello[5 + 4 + 2 + 32 :]
    body = body[1 + body[0] :]
    body = body[2 + int.from_bytes(body[:2], "big") :]
    body = body[1 + body[0] + 2 :]
    found = {}
    while body:
        kind, size = struct.unpack("!HH", body[:4])
        found[kind], body = body[4 : 4 + size], body[4 + size :]
    return found


def encrypted_extensions(kind: int, body: bytes = b"") -> bytes:
    """The message with one extension."""
    listed = struct.pack("!HH", kind, len(body)) + body
    content = struct.pack("!H", len(listed)) + listed
    return b"\x08" + len(content).to_bytes(3, "big") + content


# OpenSSL takes no notice of extensions that it does not know, here as elsewhere.
UNASKED = {"early-data": 42, "alpn": 16, "psk": 41, "cookie": 44}


@pytest.mark.parametrize("name", UNASKED)
def test_an_answer_to_no_question(run: Run, name: str) -> None:
    """Failure model 14 and 15, for clients: what was not offered cannot be accepted (RFC 8446, section 4.2)."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            hello = server.server_hello(await server.flight())
            server.protect()
            body = b"\x00\x03\x02h2" if name == "alpn" else b""
            await server.send(hello + server.record(HANDSHAKE, encrypted_extensions(UNASKED[name], body)))
            assert await server.told() in ("unsupported_extension", "illegal_parameter")

        async with behaving(behave) as stage:
            error = await stage.visitor().failed()
            assert error.code in ("ERR_SSL_UNSOLICITED_EXTENSION", "ERR_SSL_BAD_EXTENSION")

    run(main)


RESUMED: dict[str, Callable[[bytes], bytes]] = {
    "psk": lambda hello: with_extension(hello, b"\x00\x29\x00\x02\x00\x00"),
    "another-session": lambda hello: hello[:44] + bytes(32) + hello[76:],
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_session_that_never_was(run: Run, name: str) -> None:
    """Failure model 15, for clients: a server that claims to resume what was not offered is refused."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            hello = RESUMED[name](server.server_hello(await server.flight()))
            await server.send(hello)
            assert await server.told() in ("unsupported_extension", "illegal_parameter")

        async with behaving(behave) as stage:
            visitor = stage.visitor()
            assert isinstance(await visitor.failed(), aiotls.ProtocolError)
            assert visitor.secure == 0

    run(main)


def with_extension(hello: bytes, extension: bytes) -> bytes:
    """A ServerHello in its record, with one more extension at its end."""
    body = hello[5:] + extension
    start = 4 + 2 + 32 + 1 + body[38] + 2 + 1
    size = int.from_bytes(body[start : start + 2], "big") + len(extension)
    body = body[:start] + struct.pack("!H", size) + body[start + 2 :]
    return plain_record(HANDSHAKE, body[:1] + (len(body) - 4).to_bytes(3, "big") + body[4:])


@by_version
def test_a_session_of_another_server(run: Run, version: str) -> None:
    """Failure model 15, for clients: offered to a server that does not know it, it is not used, and nothing fails."""

    async def main() -> None:
        async with (
            serving(lambda socket: socket.end(b"a"), max_version=version) as a,
            serving(lambda socket: socket.end(b"b"), max_version=version) as b,
        ):
            sessions: list[bytes] = []
            async with to(a).on("session", sessions.append) as client:
                assert await client.read() == b"a"
            async with to(b, session=sessions[-1]) as client:
                assert await client.read() == b"b"
                assert client.is_session_reused() is False
                assert client.authorized
            async with to(a, session=sessions[-1]) as client:
                assert await client.read() == b"a"
                assert client.is_session_reused() is True

    run(main)


@by_version
@pytest.mark.parametrize("where", ["ticket", "anywhere"])
def test_a_session_with_a_wrong_bit(run: Run, version: str, where: str) -> None:
    """Failure model 15, for clients: in its ticket, a full handshake; in the rest at worst a clean error."""

    async def main() -> None:
        async with serving(lambda socket: socket.end(b"x"), max_version=version) as server:
            sessions: list[bytes] = []
            async with to(server).on("session", sessions.append) as client:
                assert await client.read() == b"x"
                peer = client.get_peer_certificate()
                ticket = client.get_tls_ticket()
            assert ticket is not None
            session = sessions[-1]
            start = session.index(ticket) if where == "ticket" else 0
            places = range(start, start + len(ticket)) if where == "ticket" else range(len(session))
            outcomes: list[str] = []

            async def one(number: int) -> str:
                noise = random.Random(number)
                broken = bytearray(session)
                broken[noise.choice(places)] ^= 1 << noise.randrange(8)
                try:
                    async with to(server, session=bytes(broken)) as client:
                        assert await client.read() == b"x"
                        assert client.authorized
                        if client.is_session_reused():
                            return "reused"
                        assert client.get_peer_certificate() == peer
                        return "full"
                except aiotls.OptionError:
                    return "refused"
                except aiotls.PeerError:
                    return "failed"

            server.on("tls_client_error", lambda *_: None)
            for start in range(0, 200, 50):
                outcomes += await asyncio.gather(*(one(number) for number in range(start, start + 50)))
            if where == "ticket":
                assert set(outcomes) == {"full"}
            else:
                assert set(outcomes) <= {"refused", "full", "reused", "failed"}

    run(main)
