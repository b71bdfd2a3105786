"""The same tests over everything that can carry TLS: own descriptors, transports, streams, a duplex, TLS itself."""

import asyncio
import hashlib
import os
import random
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import KINDS, MemoryDuplex, client_options, server_options, streams, tls_pair
from tests.support.pki import named

Errors = list[dict[str, Any]]

BULK = os.urandom(64 * 1024) * 32


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_handshake(run: Run, kind: str, version: str) -> None:
    """Both sides agree, and know it."""

    async def main() -> None:
        alpn = {"alpn_protocols": ["h2", "http/1.1"]}
        async with tls_pair(kind, client={**alpn, "max_version": version}, server=alpn) as (client, server):
            for socket in (client, server):
                assert socket.get_protocol() == version
                assert socket.alpn_protocol == "h2"
                assert socket.servername == "localhost"
                assert not socket.secure_connecting
            assert client.authorized
            assert client.get_finished() == server.get_peer_finished()
            assert client.export_keying_material(32, "EXPERIMENTAL") == server.export_keying_material(
                32, "EXPERIMENTAL"
            )

    run(main)


def test_a_pause_does_not_stop_the_handshake(run: Run, kind: str, version: str) -> None:
    """What is paused is the data: both sides become secure, and what was sent comes after the resume."""

    async def main() -> None:
        async with tls_pair(kind, client={"max_version": version}, secure=False) as (client, server):
            client.pause()
            server.pause()
            client.write(b"early")
            await asyncio.gather(client, server)
            assert server.is_paused()
            assert not server.readable_length
            reading = asyncio.create_task(server.readexactly(5))
            await asyncio.sleep(0)
            assert not reading.done()
            server.resume()
            assert await reading == b"early"

    run(main)


def test_bulk_in_both_directions(run: Run, kind: str) -> None:
    """Each side sends 2 MiB and waits for drain, while the other does the same."""

    async def main() -> None:
        async with tls_pair(kind) as (client, server):

            async def send(socket: aiotls.TLSSocket) -> None:
                for start in range(0, len(BULK), 50_000):
                    socket.write(BULK[start : start + 50_000])
                    await socket.drain()
                socket.end()

            async def receive(socket: aiotls.TLSSocket) -> str:
                return hashlib.sha256(await socket.read()).hexdigest()

            results = await asyncio.gather(send(client), send(server), receive(client), receive(server))
            assert list(results[2:]) == [hashlib.sha256(BULK).hexdigest()] * 2
            await asyncio.gather(client.wait_closed(), server.wait_closed())
            for socket in (client, server):
                assert socket.bytes_read == socket.bytes_written == len(BULK)
                assert not socket.truncated

    run(main)


def test_one_write_larger_than_everything(run: Run, kind: str) -> None:
    """A single write is taken whole; ``writable_length`` tells what has not left, ``drain`` when it has."""

    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            fits = client.write(BULK)
            assert fits is (client.writable_length < client.high_water_mark)
            assert client.writable_length <= len(BULK)
            drained = asyncio.create_task(client.drain())
            assert await server.readexactly(len(BULK)) == BULK
            await drained
            assert client.writable_length == 0

    run(main)


def test_reading_styles(run: Run, kind: str) -> None:
    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            client.write(b"first line\nsecond;third")
            assert await server.readline() == b"first line\n"
            assert await server.readuntil(b";") == b"second;"
            assert await server.readexactly(3) == b"thi"
            assert await server.read(10) == b"rd"
            client.end(b"rest")
            assert b"".join([chunk async for chunk in server]) == b"rest"
            assert server.at_eof()

    run(main)


def test_events(run: Run, kind: str) -> None:
    """The same in the style of events: each once, in order, close last."""

    async def main() -> None:
        async with tls_pair(kind, secure=False) as (client, server):
            events: list[str] = []
            received = bytearray()

            def data(chunk: bytes) -> None:
                received.extend(chunk)
                if not server.destroyed and len(received) == 5:
                    server.end(b"world")

            for name in ("secure", "secure_connect", "end", "error"):
                client.on(name, lambda *_, name=name: events.append(name))
            client.on("data", lambda chunk: events.append(chunk.decode()))
            client.on("close", lambda had_error: events.append(f"close {had_error}"))
            server.on("data", data)
            client.write(b"hello")
            await asyncio.gather(client.wait_closed(), server.wait_closed())
            await asyncio.sleep(0)
            assert bytes(received) == b"hello"
            assert events == ["secure", "secure_connect", "world", "end", "close False"]

    run(main)


def test_what_was_written_before_the_handshake(run: Run, kind: str) -> None:
    """Writes and the end of both sides before either is secure (WRAP-12)."""

    async def main() -> None:
        async with tls_pair(kind, secure=False) as (client, server):
            client.write(b"hello ")
            client.end(b"server")
            server.write(b"hello ")
            server.end(b"client")
            assert list(await asyncio.gather(client.read(), server.read())) == [b"hello client", b"hello server"]
            await asyncio.gather(client.wait_closed(), server.wait_closed())

    run(main)


def test_back_pressure(run: Run, kind: str) -> None:
    """Who does not read stops the other side: drain waits, and nothing piles up at the reader."""

    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            sent = 0

            async def send() -> None:
                nonlocal sent
                while sent < 64 * 1024 * 1024:
                    client.write(BULK)
                    sent += len(BULK)
                    await client.drain()

            sending = asyncio.create_task(send())
            steady = 0
            last = -1
            while steady < 20:
                await asyncio.sleep(0.005)
                steady = steady + 1 if sent == last else 0
                last = sent
            assert not sending.done()
            assert server.readable_length < 4 * 1024 * 1024
            assert sent < 48 * 1024 * 1024
            sending.cancel()
            expected = hashlib.sha256()
            for _ in range(sent // len(BULK)):
                expected.update(BULK)
            client.end()
            received = hashlib.sha256()
            async for chunk in server:
                received.update(chunk)
            assert received.digest() == expected.digest()

    run(main)


def test_pause_and_resume(run: Run, kind: str) -> None:
    """Nothing is delivered between `pause` and `resume`, however often, and nothing is lost."""

    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            received = bytearray()
            choose = random.Random(7)

            def data(chunk: bytes) -> None:
                assert not server.is_paused()
                received.extend(chunk)
                server.pause()
                asyncio.get_running_loop().call_later(choose.choice((0, 0, 0.001)), server.resume)

            server.on("data", data)
            ended = asyncio.create_task(server.wait_for("end"))
            await asyncio.sleep(0)
            client.end(BULK)
            await ended
            assert hashlib.sha256(received).digest() == hashlib.sha256(BULK).digest()

    run(main)


def test_half_open(run: Run, kind: str) -> None:
    """With `allow_half_open` the answer may come after the end of the question."""

    async def main() -> None:
        half_open = {"allow_half_open": True}
        async with tls_pair(kind, client=half_open, server=half_open) as (client, server):
            client.end(b"question")
            assert await server.read() == b"question"
            assert server.writable
            assert not client.writable
            for _ in range(5):
                await asyncio.sleep(0)
            assert not server.destroyed
            server.end(b"answer")
            assert await client.read() == b"answer"
            await asyncio.gather(client.wait_closed(), server.wait_closed())

    run(main)


def test_close_lets_everything_leave(run: Run, kind: str) -> None:
    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            client.write(BULK)
            client.close()
            assert client.is_closing()
            assert await server.read() == BULK
            await asyncio.gather(client.wait_closed(), server.wait_closed())
            assert not server.truncated

    run(main)


def test_destroy_says_goodbye(run: Run, kind: str) -> None:
    """Even `destroy` sends close_notify, so that it does not look like an attack."""

    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            closed = asyncio.ensure_future(client.wait_for("close"))
            await asyncio.sleep(0)
            client.destroy()
            assert client.destroyed
            assert await server.read() == b""
            assert not server.truncated
            assert await closed is False
            await server.wait_closed()

    run(main)


def test_reset(run: Run, kind: str) -> None:
    """`reset_and_destroy` takes the stream below down without close_notify."""

    async def main() -> None:
        async with tls_pair(kind, server={"require_close_notify": True}) as (client, server):
            client.reset_and_destroy()
            with pytest.raises(ConnectionResetError):
                await server.read()
            await asyncio.gather(client.wait_closed(), server.wait_closed(), return_exceptions=True)
            assert server.destroyed

    run(main)


def test_refused_certificate(run: Run, kind: str, version: str) -> None:
    """The client has the verification code; the server has the alert, whatever carried it."""

    async def main() -> None:
        options = {"ca": named.ca_b.cert_pem, "max_version": version}
        async with tls_pair(kind, client=options, secure=False) as (client, server):
            refused, alerted = await asyncio.gather(client, server, return_exceptions=True)
            assert isinstance(refused, aiotls.VerificationError)
            assert refused.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
            assert isinstance(alerted, aiotls.AlertReceived)
            assert alerted.alert == 48
            assert alerted.code == "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"
            assert client.destroyed
            assert server.destroyed

    run(main)


def test_no_common_version(run: Run, kind: str) -> None:
    async def main() -> None:
        options = {"max_version": "TLSv1.2"}
        async with tls_pair(kind, client=options, server={"min_version": "TLSv1.3"}, secure=False) as (client, server):
            alerted, refused = await asyncio.gather(client, server, return_exceptions=True)
            assert isinstance(refused, aiotls.ProtocolError)
            assert refused.code == "ERR_SSL_UNSUPPORTED_PROTOCOL"
            assert isinstance(alerted, aiotls.AlertReceived)
            assert alerted.alert == 70

    run(main)


def test_handshake_timeout(run: Run, kind: str) -> None:
    """A peer that says nothing: the handshake ends, and so does what is below."""

    async def main() -> None:
        async with streams(kind) as (near, _far):
            client = aiotls.connect(socket=near, **client_options(handshake_timeout=0.05))
            with pytest.raises(aiotls.HandshakeTimeout) as failure:
                await client
            assert failure.value.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            assert isinstance(failure.value, TimeoutError)
            assert client.destroyed
            if isinstance(near, MemoryDuplex):
                await near.closed.wait()
            if isinstance(near, aiotls.TLSSocket):
                await near.wait_closed()

    run(main)


def test_cancelled_while_connecting(run: Run, kind: str) -> None:
    """A cancelled `await` leaves no task and no descriptor: the fixture looks."""

    async def main() -> None:
        async with streams(kind) as (near, _far):
            waiting = asyncio.create_task(_wait(aiotls.connect(socket=near, **client_options())))
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    run(main)


def test_cancelled_reader_loses_nothing(run: Run, kind: str) -> None:
    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            for number in range(20):
                reading = asyncio.create_task(server.readexactly(1000))
                client.write(b"%02d" % number)
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
            client.end()
            assert await server.read() == b"".join(b"%02d" % number for number in range(20))

    run(main)


def test_a_listener_that_raises(run: Run, kind: str) -> None:
    """Its connection ends with its error, which is told once; the peer sees the end."""

    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            errors: list[BaseException] = []
            wrong = ValueError("a mistake of the user")

            def data(_: bytes) -> None:
                raise wrong

            server.on("data", data)
            server.on("error", errors.append)
            client.write(b"x")
            assert await client.read() == b""
            assert errors == [wrong]
            assert server.destroyed

    run(main)


@pytest.mark.parametrize("method", ["destroy", "close", "end", "reset_and_destroy"])
def test_ended_in_any_listener(run: Run, kind: str, method: str) -> None:
    """The listener of any event may end the connection; ``"close"`` comes once, and nothing after it."""

    async def main() -> None:
        for event in ("secure", "secure_connect", "ready", "data", "end", "finish", "drain", "close"):
            async with tls_pair(kind, secure=False) as (client, server):
                events: list[str] = []
                for name in ("data", "end", "drain", "finish", "close"):
                    client.on(name, lambda *_, name=name, events=events: events.append(name))
                client.on(event, lambda *_, client=client: getattr(client, method)())
                server.on("data", lambda _: None)
                server.on("error", lambda _: None)
                closed = [asyncio.ensure_future(socket.wait_for("close")) for socket in (client, server)]
                client.write(BULK[:100_000])
                client.write(BULK[:100_000])
                server.end(b"hello")
                async with asyncio.timeout(5):
                    assert (await asyncio.gather(*closed))[0] is False, event
                await asyncio.sleep(0.001)
                assert events.count("close") == 1
                assert events[-1] == "close"

    run(main)


def test_many_connections_in_one_loop(run: Run, kind: str) -> None:
    async def main() -> None:
        async def one(number: int) -> None:
            async with tls_pair(kind) as (client, server):
                for turn in range(5):
                    message = b"%d %d" % (number, turn)
                    client.write(message)
                    assert await server.readexactly(len(message)) == message
                    server.write(message)
                    assert await client.readexactly(len(message)) == message

        await asyncio.gather(*(one(number) for number in range(8)))

    run(main)


def test_sockets_over_nothing_are_refused(run: Run) -> None:
    async def main() -> None:
        for nothing in (None, 1, "stream", object(), (1, 2)):
            with pytest.raises(TypeError, match="stream"):
                aiotls.TLSSocket(nothing, is_server=True, **server_options())

    run(main)


def test_a_stream_that_raises(run: Run) -> None:
    """An error of the stream below is the error of the connection."""

    class Broken(MemoryDuplex):
        async def read(self, size: int) -> bytes:
            raise OSError(5, "the tape is torn")

    async def main() -> None:
        near, far = Broken.pair()
        client = aiotls.connect(socket=near, **client_options())
        with pytest.raises(aiotls.ConnectionLost, match="the tape is torn") as failure:
            await client
        assert failure.value.code == "EIO"
        assert near.closed.is_set() or await near.closed.wait()
        assert far is not near

    run(main)


async def _wait(socket: aiotls.TLSSocket) -> None:
    await socket
