"""The option `onread`: data goes into memory of the user's, piece by piece."""

import array
import asyncio
import functools
import hashlib
import itertools
import mmap
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import KINDS, client_options, gone, server_options, streams, tls_pair, until
from tests.support.peers import needs, openssl_server
from tests.support.pieces import Pieces, into
from tests.support.pki import Named
from tests.support.servers import serving, to

MESSAGE = b"hello world"
MEBIBYTE = os.urandom(1024) * 1024


@pytest.mark.parametrize("kind", [bytearray, lambda size: memoryview(bytearray(size))], ids=["bytearray", "memoryview"])
def test_one_buffer_again_and_again(run: Run, kind: Callable[[int], Any]) -> None:
    """DATA-09: 11 bytes by a buffer of 8, always the same object; no "data", but "end"."""

    async def main() -> None:
        buffer = kind(8)
        pieces = Pieces()
        told: list[str] = []
        async with serving(lambda socket: socket.end(MESSAGE)) as server:
            client = to(server, **into(buffer, pieces))
            client.on("data", lambda _: told.append("data"))
            client.on("end", lambda: told.append("end"))
            client.on("close", lambda had_error: told.append(f"close {had_error}"))
            await client.wait_for("close")
        assert pieces.parts == [b"hello wo", b"rld"]
        assert all(each is buffer for each in pieces.buffers)
        assert told == ["end", "close False"]
        assert client.bytes_read == 11

    run(main)


@pytest.mark.parametrize("kind", [bytearray, lambda size: memoryview(bytearray(size))], ids=["bytearray", "memoryview"])
def test_a_function_is_asked_for_each_piece(run: Run, kind: Callable[[int], Any]) -> None:
    """DATA-09: three buffers of 2 bytes in turn; the function is called 7 times, for 6 pieces and the next one."""

    async def main() -> None:
        buffers = [kind(2) for _ in range(3)]
        turns = itertools.cycle(buffers)
        asked = 0

        def following() -> Any:
            nonlocal asked
            asked += 1
            return next(turns)

        pieces = Pieces()
        async with serving(lambda socket: socket.end(MESSAGE)) as server:
            client = to(server, **into(following, pieces))
            await client.wait_for("close")
        assert pieces.parts == [b"he", b"ll", b"o ", b"wo", b"rl", b"d"]
        assert [id(each) for each in pieces.buffers] == [id(each) for each in buffers] * 2
        assert asked == 7

    run(main)


@pytest.mark.parametrize("way", ["pause()", "False"])
def test_nothing_after_a_pause(run: Run, way: str) -> None:
    """DATA-09: nothing more of the 64 KiB comes before resume(), though all of it may have been decrypted."""

    async def main() -> None:
        message = MEBIBYTE[:65536]
        stops = [1, 2, 5, 700]

        def received(size: int, buffer: bytearray) -> bool | None:
            pieces(size, buffer)
            if len(pieces.parts) not in stops:
                return True
            if way == "False":
                return False
            client.pause()
            return None

        def stopped(stop: int) -> bool:
            return len(pieces.parts) >= stop

        pieces = Pieces()
        async with tls_pair(client=into(bytearray(64), received)) as (client, server):
            server.end(message)
            for stop in stops:
                await until(functools.partial(stopped, stop))
                assert client.is_paused()
                # The other direction is not paused: by the time that this has come back, more data would have too.
                for _ in range(3):
                    client.write(b"?")
                    assert await server.read(1) == b"?"
                assert len(pieces.parts) == stop
                assert client.readable
                client.resume()
                assert len(pieces.parts) == stop, "never from within the call"
                assert not client.is_paused()
            await client.wait_for("end")
            assert pieces.data == message
            assert len(pieces.parts) == 1024

    run(main)


@pytest.mark.parametrize("answer", [True, None, 0, "", 1])
def test_only_false_pauses(run: Run, answer: object) -> None:
    """DATA-09: True continues, and so does everything that is not False."""

    async def main() -> None:
        pieces = Pieces(answer)
        async with tls_pair(client=into(bytearray(1), pieces)) as (client, server):
            server.end(MESSAGE)
            await client.wait_for("end")
            assert pieces.data == MESSAGE
            assert len(pieces.parts) == 11

    run(main)


def test_no_buffer_is_asked_for_while_paused(run: Run) -> None:
    """A pool that is empty says so by False, and is asked again after resume()."""

    async def main() -> None:
        pool = [bytearray(3) for _ in range(2)]

        def received(size: int, buffer: bytearray) -> bool:
            pieces(size, buffer)
            return bool(pool)

        pieces = Pieces()
        async with tls_pair(client=into(pool.pop, received)) as (client, server):
            server.end(MESSAGE)
            while pieces.data != MESSAGE:
                await until(client.is_paused)
                assert not pool
                pool += pieces.buffers[-2:]
                client.resume()
            await client.wait_for("end")

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_over_every_wire(run: Run, kind: str) -> None:
    """A mebibyte in pieces of all sizes, with pauses, in both directions at once."""

    async def main() -> None:
        async with streams(kind) as (client_stream, server_stream):
            ends: list[aiotls.TLSSocket] = []
            digests = [hashlib.sha256(), hashlib.sha256()]

            def side(number: int) -> dict[str, Any]:
                dice = random.Random(number)

                def received(size: int, buffer: bytearray) -> bool | None:
                    digests[number].update(buffer[:size])
                    if dice.random() > 0.9:
                        ends[number].pause()
                        asyncio.get_running_loop().call_soon(ends[number].resume)
                    elif dice.random() > 0.9:
                        asyncio.get_running_loop().call_soon(ends[number].resume)
                        return False
                    return None

                return into(lambda: bytearray(dice.randint(1, 40_000)), received)

            ends.append(aiotls.connect(socket=client_stream, **client_options(**side(0))))
            ends.append(aiotls.TLSSocket(server_stream, is_server=True, **server_options(**side(1))))
            finished = [asyncio.ensure_future(each.wait_for("end")) for each in ends]
            for each in ends:
                each.end(MEBIBYTE)
            await asyncio.gather(*finished)
            await gone(*ends)
            assert [each.digest() for each in digests] == [hashlib.sha256(MEBIBYTE).digest()] * 2

    run(main)


def test_a_paused_client_holds_its_server_back(run: Run) -> None:
    """What is not wanted stays with the peer, whose drain() waits; no more than the mark and one turn is held."""

    async def main() -> None:
        pieces = Pieces(answer=False)
        async with tls_pair("tcp", client=into(bytearray(1024), pieces)) as (client, server):
            server.write(bytes(32 * len(MEBIBYTE)))
            draining = asyncio.ensure_future(server.drain())
            await until(lambda: pieces.parts)
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(pieces.parts) == 1
            assert not draining.done()
            assert client.readable_length < 1024 * 1024
            pieces.answer = True
            client.resume()
            await draining
            server.end()
            await client.wait_for("end")
            assert client.bytes_read == len(pieces.data) == 32 * len(MEBIBYTE)

    run(main)


@pytest.mark.parametrize(
    "make",
    [
        lambda: array.array("I", [0, 0]),
        lambda: memoryview(array.array("d", [0.0])),
        lambda: mmap.mmap(-1, 8),
        lambda: memoryview(bytearray(8)).cast("B", (2, 4)),
        lambda: memoryview(bytearray(16))[4:12],
    ],
    ids=["array", "view of an array", "mmap", "two dimensions", "part of another"],
)
def test_other_memory(run: Run, make: Callable[[], Any]) -> None:
    """Whatever can be written to by the buffer protocol; its size counts in bytes."""

    async def main() -> None:
        buffer = make()
        pieces = Pieces()
        async with tls_pair(client=into(buffer, pieces)) as (client, server):
            server.end(MESSAGE)
            await client.wait_for("end")
        assert pieces.parts == [b"hello wo", b"rld"]
        assert pieces.buffers == [buffer] * 2

    run(main)


def test_the_memory_is_free_during_the_call(run: Run) -> None:
    """The callback may keep it, fill it, or change its size; the next piece is as long as the buffer is then."""

    async def main() -> None:
        buffer = bytearray(2)

        def received(size: int, same: bytearray) -> None:
            pieces(size, same)
            same.extend(b"..")

        pieces = Pieces()
        async with tls_pair(client=into(buffer, received)) as (client, server):
            server.end(MESSAGE)
            await client.wait_for("end")
        assert pieces.parts == [b"he", b"llo ", b"world"]

    run(main)


def test_on_a_server_socket(run: Run) -> None:
    """`TLSSocket` takes the option on either side."""

    async def main() -> None:
        pieces = Pieces()
        async with tls_pair(server=into(bytearray(8), pieces)) as (client, server):
            client.end(MESSAGE)
            await server.wait_for("end")
            assert pieces.parts == [b"hello wo", b"rld"]

    run(main)


@needs("openssl")
def test_from_openssl(run: Run, pki: Named, tmp_path: Path) -> None:
    async def main() -> None:
        pieces = Pieces()
        identity = pki.server_ec.write(tmp_path)
        async with openssl_server("-cert", identity.cert, "-key", identity.key) as peer:
            client = aiotls.connect("127.0.0.1", peer.port, **client_options(**into(bytearray(4), pieces)))
            await client
            peer.write(MESSAGE)
            await until(lambda: pieces.data == MESSAGE)
            client.end(b"good bye\n")
            await peer.saw("good bye")
            await gone(client)
        assert max(len(part) for part in pieces.parts) == 4

    run(main)


def test_pause_on_connect(run: Run) -> None:
    """Nothing comes before resume()."""

    async def main() -> None:
        pieces = Pieces()
        async with tls_pair(server={**into(bytearray(8), pieces), "pause_on_connect": True}) as (client, server):
            client.end(MESSAGE)
            server.write(b"!")
            assert await client.read(1) == b"!"
            assert pieces.parts == []
            server.resume()
            await server.wait_for("end")
            assert pieces.data == MESSAGE

    run(main)


def test_reading_and_piping_are_refused(run: Run) -> None:
    """The data goes to one place; listeners of "data" are just never called, and may come and go."""

    async def main() -> None:
        received: list[bytes] = []
        pieces = Pieces()
        async with tls_pair(client=into(bytearray(8), pieces)) as (client, server):
            for read in (client.read, client.readline, client.__anext__, lambda: client.readexactly(1)):
                with pytest.raises(aiotls.StateError, match="onread"):
                    await read()
            with pytest.raises(aiotls.StateError, match="onread"):
                client.pipe(server)
            client.on("data", received.append)
            client.off("data", received.append)
            server.end(MESSAGE)
            await client.wait_for("end")
            assert received == []
            assert pieces.data == MESSAGE

    run(main)


def test_the_callback_may_write(run: Run) -> None:
    """An echo, with back-pressure."""

    async def main() -> None:
        def received(size: int, buffer: bytearray) -> bool:
            return server.write(buffer[:size])

        async with tls_pair(server=into(bytearray(5000), received)) as (client, server):
            server.on("drain", server.resume)
            server.on("end", server.end)
            client.end(MEBIBYTE)
            assert await client.read() == MEBIBYTE

    run(main)


@pytest.mark.parametrize("method", ["destroy", "reset_and_destroy", "close"])
@pytest.mark.parametrize("answer", [None, False])
def test_the_callback_may_leave(run: Run, method: str, answer: bool | None) -> None:
    """What is left of a chunk goes nowhere; no buffer is asked for, and the socket closes without an error."""

    async def main() -> None:
        asked: list[bytearray] = []

        def following() -> bytearray:
            asked.append(bytearray(2))
            return asked[-1]

        def received(size: int, buffer: bytearray) -> bool | None:
            pieces(size, buffer)
            getattr(client, method)()
            return answer

        pieces = Pieces()
        async with tls_pair(client=into(following, received)) as (client, server):
            closes: list[bool] = []
            client.on("close", closes.append)
            server.on("error", lambda _: None)
            server.end(MESSAGE)
            await until(lambda: closes)
            assert closes == [False]
            assert pieces.parts == [b"he"]
            assert len(asked) == 1

    run(main)
