"""A `TLSSocket` used at every moment, the wrong ones too: what was written, what is refused, what the peer sees."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from aiotls.constants import SSL_OP_NO_TICKET
from tests.conftest import Run
from tests.support.pairs import client_options, gone, server_options, tcp_pair, tls_pair, until
from tests.support.pki import named
from tests.support.servers import port_of, serving
from tests.support.stages import SIDES, VERSIONS, Staged, staged

EARLY = ("created", "dialing", "shaking", "asking")
"""The stages before a connection is secure."""
ALIVE = (*EARLY, "secure", "ended", "heard")
"""Those of a socket that has something left to do."""

by_side = pytest.mark.parametrize("side", SIDES)
by_version = pytest.mark.parametrize("version", VERSIONS)


def moments(*stages: str) -> pytest.MarkDecorator:
    """Stages on both sides, but for a server over a socket that is still connecting: it has no peer."""
    pairs = [(stage, side) for stage in stages for side in SIDES if (stage, side) != ("dialing", "server")]
    return pytest.mark.parametrize(("stage", "side"), pairs)


async def finished(scene: Staged) -> aiotls.TLSSocket:
    """The other end, once both are secure."""
    if scene.peer is not None and not scene.socket.secure_connecting:
        return scene.peer
    assert scene.finish is not None
    return await scene.finish()


# ---- what was written


@by_version
@by_side
def test_what_is_written_at_every_moment(run: Run, side: str, version: str) -> None:
    """Failure model 24: before the connect, in the handshake, in a question, after the peer's end: in order, whole."""

    async def main() -> None:
        parts: list[bytes] = []
        for stage in (*EARLY, "secure", "heard"):
            if (stage, side) == ("dialing", "server"):
                continue
            async with staged(stage, side, version) as scene:
                mine = scene.socket
                before = mine.bytes_written
                for part in (b"one ", bytearray(b"two "), memoryview(b"three ")):
                    assert mine.write(part) is True
                mine.writelines([b"four ", b"five "])
                other = await finished(scene)
                mine.end(b"six")
                parts.append(await other.read())
                assert mine.bytes_written - before == len(parts[-1])
        assert set(parts) == {b"one two three four five six"}

    run(main)


@by_version
@moments(*EARLY)
def test_write_after_end_before_it_is_secure(run: Run, stage: str, side: str, version: str) -> None:
    """Failure model 24: an early end is kept; what comes after it is refused, and what came before arrives."""

    async def main() -> None:
        async with staged(stage, side, version) as scene:
            mine = scene.socket
            mine.write(b"first, ")
            mine.end(b"last")
            refuse(mine, "ERR_STREAM_WRITE_AFTER_END")
            other = await finished(scene)
            refuse(mine, "ERR_STREAM_WRITE_AFTER_END")
            assert await other.read() == b"first, last"
            other.end(b"and back")
            assert await mine.read() == b"and back"
            assert scene.errors == []

    run(main)


def refuse(mine: aiotls.TLSSocket, code: str) -> None:
    """No way of writing is left; each says so, and nothing counts as written."""
    written = mine.bytes_written
    ways: list[Callable[[], object]] = [
        lambda: mine.write(b"x"),
        lambda: mine.write(b""),
        lambda: mine.writelines([b"x"]),
        lambda: mine.end(b"x"),
    ]
    for way in ways:
        with pytest.raises(aiotls.StateError) as refusal:
            way()
        assert refusal.value.code == code
        assert isinstance(refusal.value, RuntimeError)
    assert mine.end() is mine
    assert not mine.writable
    assert mine.bytes_written == written


@by_version
@moments(*EARLY)
def test_write_after_destroy_before_it_is_secure(run: Run, stage: str, side: str, version: str) -> None:
    """Failure model 24: ERR_STREAM_DESTROYED, at once and later, and no error besides."""

    async def main() -> None:
        async with staged(stage, side, version) as scene:
            scene.socket.write(b"lost")
            scene.socket.destroy()
            refuse(scene.socket, "ERR_STREAM_DESTROYED")
            await scene.socket.wait_closed()
            refuse(scene.socket, "ERR_STREAM_DESTROYED")
            assert scene.errors == []

    run(main)


@by_version
@by_side
def test_write_after_the_end_of_the_peer(run: Run, side: str, version: str) -> None:
    """Failure model 24: whoever has just read the end may still answer; then the socket ends by itself."""

    async def main() -> None:
        for answers in (True, False):
            async with tls_pair(client={"max_version": version}) as (client, server):
                mine, other = (client, server) if side == "client" else (server, client)
                other.end(b"question")
                assert await mine.read() == b"question"
                if answers:
                    mine.write(b"answer")
                await no_longer_writable(mine)
                with pytest.raises(aiotls.StateError) as refusal:
                    mine.write(b"late")
                assert refusal.value.code in ("ERR_STREAM_WRITE_AFTER_END", "ERR_STREAM_DESTROYED")
                assert await other.read() == (b"answer" if answers else b"")
                await mine.wait_closed()
                refuse(mine, "ERR_STREAM_DESTROYED")

    run(main)


async def no_longer_writable(mine: aiotls.TLSSocket) -> None:
    await until(lambda: not mine.writable)


@moments(*ALIVE)
def test_what_is_no_data_at_every_moment(run: Run, stage: str, side: str) -> None:
    """Failure model 24: a TypeError that names it, in every stage; nothing was taken, and the rest arrives."""

    async def main() -> None:
        async with staged(stage, side, "TLSv1.3") as scene:
            mine = scene.socket
            written = mine.bytes_written
            for wrong in ("text", 1, None, [1, 2], object()):
                with pytest.raises((TypeError, aiotls.StateError)) as refusal:
                    mine.write(wrong)  # type: ignore[arg-type]
                if mine.writable:
                    assert getattr(refusal.value, "option", None) == "data"
            assert mine.bytes_written == written
            other = await finished(scene)
            if mine.writable:
                mine.end(b"fine")
                assert await other.read() == b"fine"

    run(main)


@by_version
@pytest.mark.parametrize("asked", ["check_client_identity", "new_session"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_an_end_behind_the_handshake(run: Run, size: int, asked: str, version: str) -> None:
    """A client may write and end at once: the server, which is still asked about it, loses nothing of that."""

    async def main() -> None:
        left = asyncio.Event()

        async def answer(*_asked: Any) -> None:
            if version == "TLSv1.3":
                await left.wait()
            for _ in range(10):
                await asyncio.sleep(0)

        received: asyncio.Future[tuple[bytes, bool]] = asyncio.get_running_loop().create_future()

        async def listener(tls: aiotls.TLSSocket) -> None:
            received.set_result((await tls.read(), tls.truncated))

        check = {"check_client_identity": answer} if asked == "check_client_identity" else {}
        options: dict[str, Any] = {"max_version": version, "request_cert": True, "ca": named.ca.cert_pem, **check}
        async with serving(listener, secure_options=SSL_OP_NO_TICKET, **options) as server:
            if asked == "new_session":
                server.on("new_session", answer)
            own = client_options(cert=named.client_ec.chain_pem, key=named.client_ec.key_pem)
            async with aiotls.connect("127.0.0.1", port_of(server), **own) as client:
                client.on("finish", left.set)
                client.end(bytes(size))
                assert await client.read() == b""
            assert await received == (bytes(size), False)

    run(main)


# ---- flow control and timers, before there is anything to control


@by_version
@moments(*EARLY, "secure", "ended")
def test_paused_at_every_moment(run: Run, stage: str, side: str, version: str) -> None:
    """The handshake goes on, nothing is delivered before `resume`, and then everything is."""

    async def main() -> None:
        async with staged(stage, side, version) as scene:
            mine = scene.socket
            before = mine.bytes_read
            data: list[bytes] = []
            assert mine.pause().is_paused()
            mine.on("data", data.append)
            other = await finished(scene)
            other.write(b"kept")
            if mine.writable:
                # Where what was sent later has come, what was sent before must have come too, but for the pause.
                mine.write(b"x")
                await other.readexactly(1)
            assert data == []
            assert mine.is_paused()
            mine.resume()
            await until(lambda: data)
            assert b"".join(data) == b"kept"
            assert mine.bytes_read == before + 4
            assert not mine.is_paused()

    run(main)


@moments(*ALIVE, "closing")
def test_idle_at_every_moment(run: Run, stage: str, side: str) -> None:
    """CLOSE-08: "timeout" comes in every stage, again and again, and does no more than tell."""

    async def main() -> None:
        async with staged(stage, side, "TLSv1.3") as scene:
            mine = scene.socket
            state = mine.ready_state
            told: list[None] = []
            mine.set_timeout(0.005, lambda: told.append(None))
            mine.on("timeout", lambda: told.append(None))
            await until(lambda: len(told) >= 3)
            assert mine.ready_state == state
            assert mine.timeout == 0.005
            mine.destroy()
            assert mine.timeout is None

    run(main)


@by_side
def test_marks_and_half_open_may_change(run: Run, side: str) -> None:
    """`high_water_mark` and `allow_half_open` count from the moment on when they are assigned."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            mine, other = (client, server) if side == "client" else (server, client)
            assert mine.write(b"x") is True
            mine.high_water_mark = 0
            assert mine.write(b"x") is False
            await mine.drain()
            mine.high_water_mark = 10
            other.write(bytes(1000))
            await until(lambda: mine.readable_length >= 10)
            mine.allow_half_open = True
            other.end()
            assert await mine.read() == bytes(1000)
            for _ in range(10):
                await asyncio.sleep(0)
            mine.write(b"later")
            mine.end()
            assert await other.read() == b"xxlater"

    run(main)


# ---- the stream below


@by_side
@pytest.mark.parametrize("style", ["await", "event"])
def test_a_stream_that_is_closed_before_anything_began(
    run: Run, side: str, style: str, loop_errors: list[dict[str, Any]]
) -> None:
    """It is a connection that fails, as any other; nobody waits for ever."""

    async def main() -> None:
        near, far = socket.socketpair()
        with far:
            if side == "client":
                mine = aiotls.connect(socket=near, **client_options())
            else:
                mine = aiotls.TLSSocket(near, is_server=True, **server_options())
            near.close()
            if style == "await":
                with pytest.raises(aiotls.WireError) as failure:
                    await mine
                assert failure.value.code == "EBADF"
            else:
                errors: list[Any] = []
                mine.on("error", errors.append)
                assert await mine.wait_for("close") is True
                assert [error.code for error in errors] == ["EBADF"]
            assert mine.destroyed
        assert loop_errors == []

    run(main)


def test_a_stream_of_a_server_that_is_closed_before_anything_began(run: Run) -> None:
    """The server tells once, and serves the next one."""

    async def main() -> None:
        errors: list[Any] = []
        async with serving(lambda tls: tls.end(b"hello")) as server:
            server.on(
                "tls_client_error", lambda error, tls: errors.append((getattr(error, "code", error), tls.is_server))
            )
            near, far = socket.socketpair()
            with near:
                accepted = server.handle_connection(far)
                far.close()
                assert await accepted.wait_for("close") is True
            assert errors == [("EBADF", True)]
            async with aiotls.connect("127.0.0.1", port_of(server), **client_options()) as client:
                assert await client.read() == b"hello"
            assert server.get_connections() == 0

    run(main)


# ---- reset_and_destroy


def plain_client(port: int, first: bytes = b"") -> BaseException | None:
    """Connects with nothing but TCP, says something, and reads to the end; what came of it."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(first)
            while plain.recv(65536):
                pass
    except OSError as error:
        return error
    return None


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01"])
def test_a_plain_client_is_reset(run: Run, first: bytes) -> None:
    """`reset_and_destroy` of a connection that a server has accepted: the client sees ECONNRESET."""

    async def main() -> None:
        closes: list[bool] = []
        errors: list[BaseException] = []

        def connection(tls: aiotls.TLSSocket) -> None:
            tls.on("close", closes.append)
            tls.reset_and_destroy()

        async with serving() as server:
            server.on("connection", connection)
            server.on("tls_client_error", lambda error, _: errors.append(error))
            outcome = await asyncio.to_thread(plain_client, port_of(server), first)
            assert isinstance(outcome, ConnectionResetError)
            await until(lambda: closes)
            assert server.get_connections() == 0
        assert closes == [False]
        assert errors == []

    run(main)


def test_a_plain_server_is_reset(run: Run) -> None:
    """`reset_and_destroy` of a client in the midst of its handshake: the server sees ECONNRESET behind the hello."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = await tcp_pair()
        with far:
            far.setblocking(False)
            client = aiotls.connect(socket=near, **client_options())
            assert await loop.sock_recv(far, 65536)
            client.reset_and_destroy()
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(far, 65536)
            await client.wait_closed()

    run(main)


@by_version
@moments("asking", "secure", "heard", "ended", "closing")
def test_reset_at_every_moment(run: Run, stage: str, side: str, version: str) -> None:
    """The peer fails with ECONNRESET, but after our clean end, which was all that it waited for; ours is no failure."""
    had_ended = stage in ("ended", "closing")

    async def main() -> None:
        async with staged(stage, side, version) as scene:
            mine, other = scene.socket, scene.peer
            assert other is not None
            closes: dict[str, list[bool]] = {"mine": [], "other": []}
            mine.on("close", closes["mine"].append)
            other.on("close", closes["other"].append)
            with contextlib.suppress(aiotls.WriteAfterEnd):
                mine.write(bytes(100_000))
            assert mine.reset_and_destroy() is mine
            assert mine.destroyed
            mine.reset_and_destroy()
            refuse(mine, "ERR_STREAM_DESTROYED")
            async with asyncio.timeout(2):
                await until(lambda: closes["mine"] and closes["other"])
            assert closes == {"mine": [False], "other": [not had_ended]}
            assert scene.errors == []
            with pytest.raises(aiotls.TLSError) as refusal:
                other.write(b"x")
            assert refusal.value.code == ("ERR_STREAM_DESTROYED" if had_ended else "ECONNRESET")

    run(main)


@by_side
@pytest.mark.parametrize("stage", ["created", "dialing", "shaking"])
def test_reset_before_there_is_a_peer(run: Run, stage: str, side: str) -> None:
    """There is nothing to tell anybody, and nothing left."""

    async def main() -> None:
        async with staged(stage, side, "TLSv1.3") as scene:
            closed = asyncio.ensure_future(scene.socket.wait_for("close"))
            await asyncio.sleep(0)
            scene.socket.reset_and_destroy()
            assert await closed is False
            assert scene.errors == []
            await gone(scene.socket)

    run(main)


# ---- one direction


@by_version
def test_half_open_for_long(run: Run, version: str) -> None:
    """Each direction ends by itself: megabytes flow in the other one long after, in both."""
    words = named.server_ec.der * 2000

    async def main() -> None:
        half_open = {"allow_half_open": True, "max_version": version}
        for side in SIDES:
            async with tls_pair(client=half_open, server={"allow_half_open": True}) as (client, server):
                mine, other = (client, server) if side == "client" else (server, client)
                mine.end(b"over")
                assert await other.read() == b"over"
                other.write(words)
                assert await mine.readexactly(len(words)) == words
                refuse(mine, "ERR_STREAM_WRITE_AFTER_END")
                other.end()
                assert await mine.read() == b""
                await asyncio.gather(mine.wait_closed(), other.wait_closed())

    run(main)
