"""Errors of a `TLSSocket`: who is told, how often, and that nobody else is harmed."""

import asyncio
import os
import re
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, MemoryDuplex, client_options, gone, server_options, tcp_pair, tls_pair, until
from tests.support.pki import named
from tests.support.servers import serving, to

Errors = list[dict[str, Any]]


def refused_options(**options: Any) -> dict[str, Any]:
    """A client that will refuse its server."""
    return {"ca": named.ca_b.cert_pem, **options}


def test_who_awaits_is_told(run: Run) -> None:
    """Every waiting task gets the error, and neither the listeners nor the loop do."""

    async def main() -> None:
        async with tls_pair(client=refused_options(), secure=False) as (client, server):
            errors: list[Any] = []
            client.on("error", errors.append)
            server.on("error", lambda _: None)

            async def ready() -> None:
                await client

            waiting = [ready(), ready(), client.read(10), client.wait_closed()]
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(result) for result in results} == {aiotls.VerificationError}
            assert errors == []
            with pytest.raises(aiotls.VerificationError):
                await client

    run(main)


def test_the_listener_is_told(run: Run) -> None:
    """AUTH-06: "error" once, then "close" with had_error; no secure event."""

    async def main() -> None:
        async with tls_pair(client=refused_options(), secure=False) as (client, server):
            events: list[Any] = []
            client.on("error", lambda error: events.append(getattr(error, "code", None)))
            client.on("close", events.append)
            for name in ("secure", "secure_connect", "end", "data"):
                client.on(name, lambda *_, name=name: events.append(name))
            server.on("error", lambda _: None)
            await asyncio.gather(*(socket.wait_for("close") for socket in (client, server)))
            assert events == ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", True]

    run(main)


def test_the_loop_is_told(run: Run, loop_errors: Errors) -> None:
    """Nobody awaits, nobody listens: the loop's exception handler, once, and the program goes on."""

    async def main() -> None:
        async with tls_pair(client=refused_options(), secure=False) as (client, server):
            server.on("error", lambda _: None)
            await client.wait_for("close")
            (report,) = loop_errors
            assert report["exception"].code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
            assert report["socket"] is client
            assert report["message"]
            loop_errors.clear()

    run(main)


def test_the_next_await_is_told(run: Run) -> None:
    """Who uses `await` but does not wait at the moment gets the error from the next one; the loop does not."""

    async def main() -> None:
        near, far = await tcp_pair()
        peer = BarePeer.client(near)
        server = aiotls.TLSSocket(far, is_server=True, **server_options())
        await asyncio.gather(peer.handshake(), server)
        peer.reset()
        await server.wait_for("close")
        for _ in range(2):
            with pytest.raises(aiotls.ConnectionLost) as failure:
                await server.read(1)
            assert failure.value.code == "ECONNRESET"
        with pytest.raises(aiotls.ConnectionLost):
            await server.drain()

    run(main)


@pytest.mark.parametrize("style", ["plain", "async"])
@pytest.mark.parametrize("event", ["secure", "secure_connect", "data", "end", "drain"])
def test_listeners_that_raise(run: Run, event: Any, style: str) -> None:
    """ERR-02, ERR-12: that very exception to "error", the socket destroyed; the peer just sees the end."""

    async def main() -> None:
        async with tls_pair(secure=False) as (client, server):
            wrong = LookupError("a mistake of the user")

            def plain(*_: object) -> None:
                raise wrong

            async def later(*_: object) -> None:
                await asyncio.sleep(0)
                raise wrong

            errors: list[Any] = []
            closes: list[bool] = []
            peer_errors: list[Any] = []
            client.on(event, plain if style == "plain" else later)
            client.on("error", errors.append)
            client.on("close", closes.append)
            server.on("error", peer_errors.append)
            server.on("data", lambda _: None)
            closed = [asyncio.ensure_future(socket.wait_for("close")) for socket in (client, server)]
            client.allow_half_open = True
            client.write(bytes(100_000))
            server.write(b"x")
            server.end()
            if event not in ("data",):
                client.resume()
            await asyncio.gather(*closed)
            assert errors == [wrong]
            assert closes == [True]
            assert [error for error in peer_errors if not isinstance(error, ConnectionError)] == []

    run(main)


@pytest.mark.parametrize("event", ["error", "close"])
def test_last_listeners_that_raise(run: Run, loop_errors: Errors, event: Any) -> None:
    """An exception in the listener for errors, or of the end, goes to the loop: nothing is left to end."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            wrong = LookupError("a mistake of the user")

            def listener(*_: object) -> None:
                raise wrong

            client.on(event, listener)
            client.on("error", lambda _: None)
            server.resume()
            closed = asyncio.ensure_future(client.wait_for("close"))
            await asyncio.sleep(0)
            client.destroy(ValueError("for the error listener") if event == "error" else None)
            await closed
            assert [report["exception"] for report in loop_errors] == [wrong]
            loop_errors.clear()
            await server.wait_closed()

    run(main)


def test_the_other_listeners_are_still_called(run: Run) -> None:
    async def main() -> None:
        async with tls_pair() as (client, server):
            seen: list[bytes] = []

            def listener(_: bytes) -> None:
                raise LookupError

            client.on("data", listener)
            client.on("data", seen.append)
            client.on("error", lambda _: None)
            server.end(b"x")
            server.resume()
            await client.wait_for("close")
            assert seen == [b"x"]

    run(main)


def test_async_listeners_of_a_closed_socket(run: Run, loop_errors: Errors) -> None:
    """A listener that is still running when its socket has closed fails to the loop, not into nowhere."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            go_on = asyncio.Event()
            wrong = LookupError("late")

            async def listener(_: bytes) -> None:
                await go_on.wait()
                raise wrong

            client.on("data", listener)
            server.end(b"x")
            server.resume()
            await client.wait_for("close")
            go_on.set()
            await asyncio.sleep(0.01)
            assert [report["exception"] for report in loop_errors] == [wrong]
            loop_errors.clear()

    run(main)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_junk_after_the_handshake(run: Run, version: str) -> None:
    """ERR-10: an alert to the peer, an error of the OpenSSL library at the socket, and the stream is closed."""

    async def main() -> None:
        near, far = MemoryDuplex.pair()
        server = aiotls.TLSSocket(far, is_server=True, **server_options(max_version=version))
        client = aiotls.connect(socket=near, **client_options())
        await asyncio.gather(client, server)
        failed = [asyncio.ensure_future(socket.wait_for("error")) for socket in (client, server)]
        await asyncio.sleep(0)
        far.deliver(b"\xff" * 6)
        alerted, error = await asyncio.gather(*failed)
        assert isinstance(error, aiotls.ProtocolError)
        assert error.library == "SSL routines"
        assert error.code in (
            "ERR_SSL_WRONG_VERSION_NUMBER",
            "ERR_SSL_BAD_RECORD_TYPE",
            "ERR_SSL_PACKET_LENGTH_TOO_LONG",
        )
        assert isinstance(alerted, aiotls.AlertReceived)
        assert alerted.alert in (10, 22, 70)
        assert client.destroyed
        assert server.destroyed
        await far.closed.wait()

    run(main)


def test_changed_record(run: Run) -> None:
    """A forged record is refused with bad_record_mac (alert 20), and what came before stays readable."""

    async def main() -> None:
        near, far = MemoryDuplex.pair()
        server = aiotls.TLSSocket(far, is_server=True, **server_options())
        client = aiotls.connect(socket=near, **client_options())
        await asyncio.gather(client, server)
        client.write(b"good")
        await until(lambda: server.readable_length >= 4)
        far.deliver(b"\x17\x03\x03\x00\x20" + os.urandom(32))
        with pytest.raises(aiotls.AlertReceived) as alerted:
            await client.read()
        assert alerted.value.alert == 20
        assert await server.read(10) == b"good"
        with pytest.raises(aiotls.ProtocolError) as failure:
            await server.read(10)
        assert failure.value.code == "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
        await gone(client, server)

    run(main)


def test_hang_up_during_the_handshake(run: Run) -> None:
    """ERR-04, ERR-06: the client's words for it, and whoever waits for anything is told."""

    async def main() -> None:
        near, far = await tcp_pair()
        client = aiotls.connect(socket=near, **client_options())
        client.write(b"early")
        drained = asyncio.create_task(client.drain())
        with far:
            far.setblocking(False)
            await asyncio.get_running_loop().sock_recv(far, 65536)
        with pytest.raises(aiotls.ConnectionLost) as failure:
            await client
        assert failure.value.code == "ECONNRESET"
        assert "before secure TLS connection was established" in str(failure.value)
        await asyncio.gather(drained, return_exceptions=True)
        assert client.destroyed

    run(main)


def test_cancellation_at_every_await(run: Run) -> None:
    """connect, read, readexactly, drain, wait_closed: a cancelled task leaves a usable, or a closed, socket."""

    async def main() -> None:
        async with tls_pair(client={"high_water_mark": 1}) as (client, server):
            while client.write(bytes(2**20)):
                pass
            for operation in (
                lambda: client.read(1),
                lambda: client.readexactly(10),
                lambda: client.readuntil(b"\n"),
                lambda: client.readline(),
                lambda: client.__anext__(),
                lambda: client.drain(),
                lambda: client.wait_closed(),
                lambda: client.wait_for("data"),
            ):
                task = asyncio.ensure_future(operation())
                await asyncio.sleep(0)
                assert not task.done()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert client.listeners("data") == ()
            client.end()
            total = 0
            async for chunk in server:
                total += len(chunk)
            assert total == client.bytes_written
            server.end(b"fine")
            assert await client.read() == b"fine"

    run(main)


def test_timeout_around_connect(run: Run) -> None:
    """The standard way to give up: asyncio.timeout; the descriptor is closed."""

    async def main() -> None:
        near, far = await tcp_pair()
        with far:
            client = aiotls.connect(socket=near, **client_options())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await client
            assert client.destroyed
            far.setblocking(False)
            loop = asyncio.get_running_loop()
            while await loop.sock_recv(far, 65536):
                pass

    run(main)


def test_one_failure_harms_no_other(run: Run) -> None:
    """Ten connections, every second one breaks in its own way; the others do not notice."""

    async def main() -> None:
        async def good() -> None:
            async with tls_pair() as (client, server):
                for number in range(50):
                    client.write(b"%d\n" % number)
                    assert await server.readline() == b"%d\n" % number
                    await asyncio.sleep(0)

        async def refused() -> None:
            async with tls_pair(client=refused_options(), secure=False) as (client, server):
                results = await asyncio.gather(client, server, return_exceptions=True)
                assert all(isinstance(result, aiotls.PeerError) for result in results)

        async def raising() -> None:
            async with tls_pair() as (client, server):
                client.on("error", lambda _: None)
                client.on("data", lambda _: 1 / 0)
                server.end(b"x")
                server.resume()
                await client.wait_for("close")

        await asyncio.gather(*(task() for _ in range(5) for task in (good, refused, raising)))

    run(main)


def test_no_secret_in_words(run: Run) -> None:
    """repr and errors of a socket name no key and no data."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            client.write(b"the secret of the application")
            await server.readexactly(29)
            for socket in (client, server):
                assert re.fullmatch(r"<TLSSocket (client|server) open TLSv1\.3>", repr(socket))
            client.destroy()
            assert repr(client) == "<TLSSocket client closed>"

    run(main)


def test_a_paused_socket_learns_that_its_writes_fail(run: Run) -> None:
    """Nobody reads what the peer said before it reset, so drain is told of the failure at once."""

    async def main() -> None:
        async with tls_pair("tcp") as (client, server):
            server.pause()
            client.write(b"unread")
            client.reset_and_destroy()
            await client.wait_closed()
            with pytest.raises(ConnectionError):
                await write_for_ever(server)

    run(main)


async def write_for_ever(socket: aiotls.TLSSocket) -> None:
    while True:
        socket.write(bytes(2**20))
        await socket.drain()


class Nameless(MemoryDuplex):
    """A stream that fails when it is asked for its names, as soon as a connection begins on it."""

    def get_extra_info(self, name: str) -> object:
        raise LookupError(f"no {name} here")


@pytest.mark.parametrize("side", ["client", "server", "accepted"])
@pytest.mark.parametrize("way", ["await", "listener"])
def test_whatever_fails_at_the_beginning(run: Run, loop_errors: Errors, side: str, way: str) -> None:
    """An exception that nobody has foreseen reaches whoever waits, once, and the socket closes."""

    async def main() -> None:
        near, far = Nameless.pair()
        told: list[Any] = []
        asking: dict[str, Any] = {"psk_callback": lambda *_: None}
        if side == "client":
            socket = aiotls.connect(socket=near, **client_options(**asking))
        elif side == "server":
            socket = aiotls.TLSSocket(near, is_server=True, **server_options(**asking))
        else:
            server = aiotls.create_server(**server_options(**asking))
            server.on("tls_client_error", lambda error, _: told.append(error))
            socket = server.handle_connection(near)
        closed: list[bool] = []
        socket.on("close", closed.append)
        if way == "listener":
            socket.on("error", told.append)
            await until(lambda: closed)
        else:
            with pytest.raises(LookupError, match="no sockname here"):
                await socket
            await until(lambda: closed)
        expected = 1 if way == "listener" or side == "accepted" else 0
        assert [type(error) for error in told] == [LookupError] * expected
        assert (closed, socket.destroyed) == ([True], True)
        far.close()

    run(main)
    assert loop_errors == []


def test_a_reset_right_behind_the_handshake(run: Run, loop_errors: Errors) -> None:
    """A listener that was just started and reads is told, once; the loop's exception handler is not told as well."""

    async def main() -> None:
        ends: asyncio.Queue[tuple[str, BaseException | None]] = asyncio.Queue()

        async def reading(socket: aiotls.TLSSocket) -> None:
            try:
                await socket.read()
            except aiotls.ConnectionLost as error:
                ends.put_nowait(("listener", error))
                raise
            ends.put_nowait(("listener", None))

        async with serving(reading, min_version="TLSv1.3") as server:
            server.on("tls_client_error", lambda error, _: ends.put_nowait(("server", error)))
            found = []
            for _ in range(10):
                client = await to(server)
                client.write(b"x")
                client.reset_and_destroy()
                found.append(await ends.get())
            assert ends.empty()
        assert {type(error) for _, error in found} == {aiotls.ConnectionLost}
        assert "listener" in [who for who, _ in found]

    run(main)
    assert loop_errors == []
