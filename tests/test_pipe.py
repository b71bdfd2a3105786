"""`pipe`: from one stream into another, with back-pressure, and who ends with whom."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import KINDS, client_options, tls_pair, until
from tests.support.peers import needs, node_client, node_server, openssl_client, openssl_server
from tests.support.pipes import Shelf, listeners, note, two_pairs
from tests.support.pki import Named
from tests.support.servers import port_of, serving, to

MEBIBYTE = os.urandom(1024) * 1024
MARK = 65536


@pytest.mark.parametrize("mark", [0, 1, 1000, MARK])
@pytest.mark.parametrize("kind", KINDS)
def test_between_two_sockets(run: Run, kind: str, mark: int) -> None:
    """With every mark: everything arrives, in order, then the end; no listener stays, and no task was needed."""

    async def main() -> None:
        async with two_pairs(kind, high_water_mark=mark) as (sender, source, target, receiver):
            before = listeners(source, target)
            tasks = asyncio.all_tasks()
            assert source.pipe(target) is target
            sender.end(MEBIBYTE)
            assert await receiver.read(1) == MEBIBYTE[:1]
            assert asyncio.all_tasks() <= tasks
            assert await receiver.read() == MEBIBYTE[1:]
            assert listeners(source, target) == before

    run(main)


def test_the_destination_holds_the_source_back(run: Run) -> None:
    """From a sender to a receiver that does not read, over two connections: nothing piles up in the middle."""

    async def main() -> None:
        async with two_pairs("tcp") as (sender, source, target, receiver):
            source.pipe(target)
            receiver.pause()
            sender.write(bytes(32 * len(MEBIBYTE)))
            draining = asyncio.ensure_future(sender.drain())
            await until(lambda: source.readable_length >= MARK)
            for _ in range(200):
                await asyncio.sleep(0)
            assert not draining.done()
            assert target.writable_length + source.readable_length < 8 * 256 * 1024
            receiver.resume()
            sender.end()
            assert len(await receiver.read()) == 32 * len(MEBIBYTE)
            await draining

    run(main)


# ---- an echo


def test_into_itself(run: Run) -> None:
    """An echo server in one line; the client reads only after it has written everything that fits."""

    async def main() -> None:
        async with serving(lambda socket: socket.pipe(socket)) as server:
            client = await to(server)
            client.end(MEBIBYTE * 8)
            assert await client.read() == MEBIBYTE * 8
            await client.wait_closed()
            await until(lambda: not server.get_connections())

    run(main)


@needs("openssl")
def test_an_echo_for_openssl(run: Run) -> None:
    async def main() -> None:
        async with (
            serving(lambda socket: socket.pipe(socket)) as server,
            openssl_client("-quiet", "-ign_eof", port=port_of(server)) as peer,
        ):
            peer.write(b"there and back\n")
            await peer.saw("^there and back$")
            peer.write(b"again\n")
            await peer.saw("^again$")

    run(main)


# ---- a proxy


@contextlib.asynccontextmanager
async def proxy(port: int, **options: Any) -> AsyncIterator[aiotls.Server]:
    """Ends TLS on both sides: what its clients send goes to a server on another port, and the answers back."""
    both: dict[str, Any] = {"allow_half_open": True, **options}

    def serve(inner: aiotls.TLSSocket) -> None:
        outer = aiotls.connect("127.0.0.1", port, **client_options(**both))
        inner.pipe(outer).pipe(inner)

    async with serving(serve, **both) as server:
        yield server


@needs("openssl")
def test_a_proxy_between_two_of_openssl(run: Run, pki: Named, tmp_path: Path) -> None:
    """Both of them in processes of their own, each speaking first once."""

    async def main() -> None:
        identity = pki.server_ec.write(tmp_path)
        async with (
            openssl_server("-cert", identity.chain, "-key", identity.key) as far,
            proxy(far.port) as server,
            openssl_client("-quiet", "-no_ign_eof", "-tls1_2", port=port_of(server)) as near,
        ):
            far.write(b"who is there?\n")
            await near.saw(r"^who is there\?$")
            near.write(b"it is me\n")
            await far.saw("^it is me$")
            near.write_eof()
            await far.saw("^DONE$")
            await near.finished()

    run(main)


@needs("node")
@pytest.mark.parametrize("versions", [("TLSv1.2", "TLSv1.3"), ("TLSv1.3", "TLSv1.2")], ids="-".join)
def test_a_proxy_between_two_of_node(run: Run, pki: Named, versions: tuple[str, str]) -> None:
    """A client and an echo server in processes of their own; 4 MiB there and back, then both ends."""

    async def main() -> None:
        data = MEBIBYTE * 4
        identity = pki.server_ec
        own = {"cert": identity.chain_pem.decode(), "key": identity.key_pem.decode()}
        async with (
            node_server(**own, min_version=versions[1], max_version=versions[1]) as far,
            proxy(far.port) as server,
            node_client(
                ca=pki.ca.cert_pem.decode(),
                servername="localhost",
                port=port_of(server),
                min_version=versions[0],
                max_version=versions[0],
            ) as near,
        ):
            assert (await near.event("secure"))["protocol"] == versions[0]
            assert (await far.event("secure"))["protocol"] == versions[1]
            near.write(data)
            near.write_eof()
            digest = hashlib.sha256(data).hexdigest()
            for peer in (far, near):
                end = await peer.event("end")
                assert (end["received"], end["sha256"]) == (len(data), digest)
                await peer.event("close")
            await until(lambda: not server.get_connections())

    run(main)


def test_many_at_once_through_a_proxy(run: Run) -> None:
    """Each gets its own answer; nothing is left when all have gone."""

    async def main() -> None:
        async with serving(lambda socket: socket.pipe(socket)) as far, proxy(port_of(far)) as server:

            async def visit(number: int) -> None:
                words = b"%d" % number * 20_000
                async with to(server) as client:
                    client.end(words)
                    assert await client.read() == words

            await asyncio.gather(*(visit(number) for number in range(20)))
            await until(lambda: not server.get_connections() and not far.get_connections())

    run(main)


def test_an_answer_that_ends_the_connection(run: Run) -> None:
    """A server that answers and leaves: its whole answer reaches a slow client through the proxy, then the end."""

    async def main() -> None:
        answer = MEBIBYTE * 4

        async def serve(socket: aiotls.TLSSocket) -> None:
            await socket.read(1)
            socket.end(answer)
            socket.resume()

        async with serving(serve) as far, proxy(port_of(far), allow_half_open=False) as server:
            sockets: list[aiotls.TLSSocket] = []
            server.on("secure_connection", sockets.append)
            client = await to(server)
            client.write(b"?")
            assert await client.read(1) == answer[:1]
            for _ in range(100):
                await asyncio.sleep(0)
            assert await client.read() == answer[1:]
            await client.wait_closed()
            await until(lambda: sockets[0].destroyed)

    run(main)


# ---- when it begins


def test_what_came_before(run: Run) -> None:
    """Buffered data goes first; a stream whose end has come, but not been read, still has both."""

    async def main() -> None:
        async with two_pairs() as (sender, source, target, receiver):
            sender.end(b"before")
            await until(lambda: source.readable_length == 6)
            assert await source.read(2) == b"be"
            source.pipe(target)
            assert await receiver.read() == b"fore"

    run(main)


@pytest.mark.parametrize("how", ["read", "closed"])
def test_after_the_end(run: Run, how: str) -> None:
    """The destination just ends."""

    async def main() -> None:
        async with two_pairs() as (sender, source, target, receiver):
            sender.end(b"gone")
            assert await source.read() == b"gone"
            if how == "closed":
                await source.wait_closed()
            source.pipe(target)
            assert await receiver.read() == b""
            shelf = Shelf()
            source.pipe(shelf)
            source.pipe(shelf, end=False)
            await until(lambda: shelf.calls)
            assert shelf.calls == ["write_eof"]

    run(main)


def test_while_both_still_connect(run: Run) -> None:
    """Nothing has to be awaited first."""

    async def main() -> None:
        received: list[aiotls.TLSSocket] = []
        async with (
            serving(lambda socket: socket.end(MEBIBYTE)) as near,
            serving(received.append) as far,
        ):
            to(near).pipe(to(far))
            await until(lambda: received)
            assert await received[0].read() == MEBIBYTE

    run(main)


def test_a_paused_source(run: Run) -> None:
    """After pause() nothing goes on before resume(), though there is a pipe now."""

    async def main() -> None:
        async with two_pairs() as (sender, source, target, receiver):
            source.pause()
            source.pipe(target)
            sender.write(b"?")
            sender.end()
            target.write(b"!")
            assert await receiver.read(1) == b"!"
            assert receiver.readable_length == 0
            assert source.is_paused()
            source.resume()
            assert await receiver.read() == b"?"

    run(main)


def test_a_pause_of_the_user_outlives_a_drain(run: Run) -> None:
    """The destination is ready again, but the user is not."""

    async def main() -> None:
        shelf = Shelf(open=False)
        async with tls_pair("tcp", server={"high_water_mark": 1000}) as (client, server):
            server.pipe(shelf)
            client.write(bytes(1000))
            await until(lambda: shelf.data)
            server.pause()
            client.end(bytes(5000))
            shelf.door.set()
            await until(lambda: not shelf.undrained)
            server.write(b"!")
            assert await client.read(1) == b"!"
            assert len(shelf.data) == 1000
            server.resume()
            await until(lambda: shelf.calls)
            assert len(shelf.data) == 6000

    run(main)


def test_resumed_while_the_destination_is_full(run: Run) -> None:
    """resume() takes back a pause, but does not make the destination larger."""

    async def main() -> None:
        shelf = Shelf(open=False)
        async with tls_pair("tcp", server={"high_water_mark": 1000}) as (client, server):
            server.pipe(shelf)
            client.write(bytes(1000))
            await until(lambda: shelf.data)
            server.pause()
            server.resume()
            client.end(bytes(5000))
            await until(lambda: server.readable_length)
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(shelf.data) == 1000
            shelf.door.set()
            await until(lambda: shelf.calls)
            assert len(shelf.data) == 6000

    run(main)


# ---- other listeners, other pipes


def test_a_listener_beside_it(run: Run) -> None:
    """It gets the same data, may come and go, and waits for the destination too."""

    async def main() -> None:
        async with two_pairs() as (sender, source, target, receiver):
            received = bytearray()
            source.on("data", received.extend)
            source.pipe(target)
            source.on("data", print)
            source.off("data", print)
            sender.end(MEBIBYTE)
            assert await receiver.read() == MEBIBYTE
            assert received == MEBIBYTE

    run(main)


def test_into_two_at_once(run: Run) -> None:
    """Both get everything, and the slower one sets the pace: the other one's "drain" does not let more come."""

    async def main() -> None:
        slow = Shelf(open=False)
        fast = Shelf()
        async with two_pairs("tcp") as (sender, source, target, receiver):
            source.pipe(slow)
            source.pipe(fast)
            source.pipe(target)
            sender.end(MEBIBYTE * 4)
            received = bytearray(await receiver.readexactly(MARK))
            ended = note(receiver, "end")
            receiver.on("data", received.extend)
            await until(lambda: source.readable_length >= MARK)
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(fast.data) == len(slow.data) < 4 * 256 * 1024
            slow.door.set()
            await until(lambda: slow.calls and fast.calls)
            await until(lambda: ended)
            assert slow.data == fast.data == received == MEBIBYTE * 4

    run(main)


def test_one_after_the_other_without_an_end(run: Run) -> None:
    """With end=False a destination stays open for the next source."""

    async def main() -> None:
        async with (
            tls_pair() as (one, one_source),
            tls_pair() as (other, other_source),
            tls_pair() as (target, receiver),
        ):
            before = listeners(target)
            for sender, source in ((one, one_source), (other, other_source)):
                ended = note(source, "end")
                source.pipe(target, end=False)
                sender.end(MEBIBYTE)
                assert await receiver.readexactly(len(MEBIBYTE)) == MEBIBYTE
                await until(lambda: ended)  # noqa: B023
                assert target.writable
                assert listeners(target) == before
            target.end(b".")
            assert await receiver.read() == b"."
            shelf = Shelf()
            other_source.pipe(shelf, end=False)

    run(main)
