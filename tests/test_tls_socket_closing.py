"""The end of a `TLSSocket`: in order, at once, by the peer, by nobody; each way once and completely."""

import asyncio
import gc
import itertools
import os
import socket
import ssl
import weakref
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, MemoryDuplex, client_options, gone, server_options, tcp_pair, tls_pair, until

MEBIBYTE = os.urandom(1024) * 1024
METHODS = ("end", "close", "destroy", "reset_and_destroy")


@pytest.mark.parametrize("order", list(itertools.permutations(METHODS, 3)), ids="-".join)
def test_every_order(run: Run, order: tuple[str, ...]) -> None:
    """Whatever is called after whatever: no exception, no hang, one ``"close"``."""

    async def main() -> None:
        for pause in (False, True):
            async with tls_pair() as (client, server):
                closes: list[bool] = []
                client.on("close", closes.append)
                server.on("data", lambda _: None)
                server.on("error", lambda _: None)
                client.write(MEBIBYTE)
                closed = [asyncio.ensure_future(each.wait_for("close")) for each in (client, server)]
                for method in order:
                    getattr(client, method)()
                    if pause:
                        await asyncio.sleep(0)
                await asyncio.gather(*closed)
                for method in METHODS:
                    getattr(client, method)()
                await client.wait_closed()
                await asyncio.sleep(0)
                assert closes == [False]
                assert client.destroyed
                assert client.is_closing()
                assert client.ready_state == "closed"

    run(main)


@pytest.mark.parametrize("method", METHODS)
def test_before_the_handshake(run: Run, method: str) -> None:
    """CLOSE-03: an end before anything was agreed on raises nothing and is no error of ours."""

    async def main() -> None:
        async with tls_pair(secure=False) as (client, server):
            errors: list[Any] = []
            server.on("error", errors.append)
            client.on("error", lambda error: errors.append(("client", error)))
            closed = [asyncio.ensure_future(each.wait_for("close")) for each in (client, server)]
            await asyncio.sleep(0)
            getattr(client, method)()
            server.resume()
            client.resume()
            assert await closed[0] is False
            await closed[1]
            assert all(isinstance(error, aiotls.ConnectionLost) for error in errors)

    run(main)


@pytest.mark.parametrize("turns", range(8))
def test_destroyed_at_any_moment_of_the_handshake(run: Run, turns: int) -> None:
    """CLOSE-03: over a stream whose writes complete later; it is closed as well."""

    async def main() -> None:
        near, far = MemoryDuplex.pair()
        server = aiotls.TLSSocket(far, is_server=True, **server_options())
        server.on("error", lambda _: None)
        client = aiotls.connect(socket=near, **client_options())
        errors: list[Any] = []
        client.on("error", errors.append)
        for _ in range(turns):
            await asyncio.sleep(0)
        closed = asyncio.ensure_future(client.wait_for("close"))
        await asyncio.sleep(0)
        client.destroy()
        assert await closed is False
        await near.closed.wait()
        assert errors == []
        await gone(server)

    run(main)


def test_async_with(run: Run) -> None:
    """Leaving the block closes in order; what was written arrives."""

    async def main() -> None:
        async with tls_pair(secure=False) as (client, server):
            async with server:
                async with client as entered:
                    assert entered is client
                    assert client.authorized
                    client.write(MEBIBYTE)
                    reading = asyncio.create_task(server.read())
                assert client.destroyed
                assert await reading == MEBIBYTE
            assert server.destroyed
            assert not server.truncated

    run(main)


def test_async_with_and_an_exception(run: Run) -> None:
    """The exception of the block passes through, and the socket is gone."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            with pytest.raises(ZeroDivisionError):
                await leave_with_an_error(client)
            assert client.destroyed
            with pytest.raises(aiotls.StreamDestroyed):
                client.write(b"x")
            server.resume()
            await server.wait_closed()

    run(main)


async def leave_with_an_error(client: aiotls.TLSSocket) -> None:
    async with client:
        client.write(MEBIBYTE * 16)
        raise ZeroDivisionError


def test_async_with_cancelled(run: Run) -> None:
    """Cancelled in the block or while it is left: destroyed, nothing stays."""

    async def main() -> None:
        for leaving in (False, True):
            async with tls_pair() as (client, _server):

                async def use(client: aiotls.TLSSocket = client, leaving: bool = leaving) -> None:
                    async with client:
                        if not leaving:
                            await client.read()

                using = asyncio.create_task(use())
                await asyncio.sleep(0.01)
                assert not using.done(), "the peer has not closed"
                using.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await using
                assert client.destroyed

    run(main)


def test_close_throws_away_what_comes(run: Run) -> None:
    """After `close` nothing is delivered, and a peer that still sends does not block it."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            received: list[bytes] = []
            client.on("data", received.append)
            server.write(MEBIBYTE * 4)
            client.close()
            server.end(MEBIBYTE)
            server.resume()
            await asyncio.gather(client.wait_closed(), server.wait_closed())
            assert received == []

    run(main)


def test_close_of_an_unread_stream(run: Run) -> None:
    """Data that nobody read is no reason to stay open."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            server.end(MEBIBYTE)
            await until(lambda: client.readable_length >= 65536)
            client.close()
            await asyncio.gather(client.wait_closed(), server.wait_for("close"))
            assert client.readable_length == 0

    run(main)


def test_the_stream_is_open_while_something_is_unread(run: Run) -> None:
    """Both directions have ended, but a slow reader still gets everything."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            client.end(b"question")
            server.end(b"answer")
            assert await server.read() == b"question"
            await asyncio.sleep(0.02)
            assert not client.destroyed
            assert await client.read() == b"answer"
            await asyncio.gather(client.wait_closed(), server.wait_closed())

    run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_close_notify_without_fin(run: Run, version: ssl.TLSVersion) -> None:
    """CLOSE-05: the end is the peer's close_notify; ours and the FIN follow, no error, not truncated."""

    async def main() -> None:
        near, far = await tcp_pair()
        with near:
            peer = BarePeer.client(near, version)
            server = aiotls.TLSSocket(far, is_server=True, **server_options())
            await asyncio.gather(peer.handshake(), server)
            closed = asyncio.ensure_future(server.wait_for("close"))
            await peer.write(b"the last")
            await peer.close_notify()
            assert await server.read() == b"the last"
            assert await server.read() == b""
            assert await peer.read() == b""
            assert await peer.read_eof()
            assert await closed is False
            assert not server.truncated

    run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_fin_without_close_notify(run: Run, version: ssl.TLSVersion) -> None:
    """The stream ends, as in Python's own ssl, and `truncated` tells."""

    async def main() -> None:
        near, far = await tcp_pair()
        with near:
            peer = BarePeer.client(near, version)
            server = aiotls.TLSSocket(far, is_server=True, **server_options())
            await asyncio.gather(peer.handshake(), server)
            await peer.write(b"half a mess")
            peer.hang_up()
            assert await server.read() == b"half a mess"
            assert server.truncated
            await server.wait_closed()

    run(main)


@pytest.mark.parametrize("style", ["await", "event"])
def test_require_close_notify(run: Run, style: str) -> None:
    """ERR_TLS_TRUNCATED after the last data: a truncation attack must not look like the end."""

    async def main() -> None:
        near, far = await tcp_pair()
        with near:
            peer = BarePeer.client(near)
            server = aiotls.TLSSocket(far, is_server=True, **server_options(require_close_notify=True))
            await asyncio.gather(peer.handshake(), server)
            await peer.write(b"half a mess")
            if style == "await":
                assert await server.read(100) == b"half a mess"
                waiting = asyncio.create_task(server.read())
                await asyncio.sleep(0)
                peer.hang_up()
                with pytest.raises(aiotls.ConnectionLost) as failure:
                    await waiting
                error: Any = failure.value
            else:
                events: list[str] = []
                received: list[bytes] = []
                server.on("data", received.append)
                server.on("end", lambda: events.append("end"))
                failed = asyncio.ensure_future(server.wait_for("error"))
                await asyncio.sleep(0)
                peer.hang_up()
                error = await failed
                assert received == [b"half a mess"]
                assert events == [], "an error is no end"
            assert error.code == "ERR_TLS_TRUNCATED"
            assert server.truncated
            assert server.destroyed

    run(main)


def test_require_close_notify_is_content_with_one(run: Run) -> None:
    async def main() -> None:
        near, far = await tcp_pair()
        with near:
            peer = BarePeer.client(near)
            server = aiotls.TLSSocket(far, is_server=True, **server_options(require_close_notify=True))
            await asyncio.gather(peer.handshake(), server)
            await peer.write(b"whole")
            await peer.close_notify()
            peer.hang_up()
            assert await server.read() == b"whole"
            assert not server.truncated
            await server.wait_closed()

    run(main)


@pytest.mark.parametrize("reading", [True, False])
def test_reset_by_the_peer(run: Run, reading: bool) -> None:
    """ECONNRESET, to whoever waits; else to the ``"error"`` listener; then ``"close"`` with had_error."""

    async def main() -> None:
        near, far = await tcp_pair()
        peer = BarePeer.client(near)
        server = aiotls.TLSSocket(far, is_server=True, **server_options())
        await asyncio.gather(peer.handshake(), server)
        errors: list[Any] = []
        server.on("error", errors.append)
        closed = asyncio.ensure_future(server.wait_for("close"))
        waiting = asyncio.create_task(server.read()) if reading else None
        await asyncio.sleep(0)
        peer.reset()
        if waiting is not None:
            with pytest.raises(ConnectionResetError) as failure:
                await waiting
            assert failure.value.code == "ECONNRESET"  # type: ignore[attr-defined]
            assert errors == []
        assert await closed is True
        if waiting is None:
            assert [error.code for error in errors] == ["ECONNRESET"]
        await server.wait_closed()

    run(main)


def test_reset_and_destroy_sends_rst(run: Run) -> None:
    async def main() -> None:
        near, far = await tcp_pair()
        with near:
            peer = BarePeer.client(near)
            server = aiotls.TLSSocket(far, is_server=True, **server_options())
            await asyncio.gather(peer.handshake(), server)
            server.write(MEBIBYTE)
            server.reset_and_destroy()
            with pytest.raises(ConnectionResetError):
                await read_to_the_end(near)
            await server.wait_closed()

    run(main)


async def read_to_the_end(end: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(end, 65536):
        pass


def test_destroy_with_an_error(run: Run) -> None:
    """Told to the waiting reader, else to the listener; the same object, once."""

    async def main() -> None:
        wrong = RuntimeError("enough")
        async with tls_pair() as (client, server):
            reading = asyncio.create_task(server.read())
            await asyncio.sleep(0)
            closed = asyncio.ensure_future(server.wait_for("close"))
            await asyncio.sleep(0)
            assert server.destroy(wrong) is server
            with pytest.raises(RuntimeError) as failure:
                await reading
            assert failure.value is wrong
            assert await closed is True

            errors: list[BaseException] = []
            client.on("error", errors.append)
            client.destroy(wrong)
            client.destroy(RuntimeError("again"))
            assert errors == [wrong]

    run(main)


def test_wait_closed(run: Run) -> None:
    """Any number of tasks may wait, before and after; cancelling one disturbs nobody."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            waiting = [asyncio.create_task(client.wait_closed()) for _ in range(3)]
            await asyncio.sleep(0.01)
            waiting[0].cancel()
            assert not client.destroyed
            client.write(b"still alive")
            assert await server.read(100) == b"still alive"
            client.destroy()
            await asyncio.gather(*waiting[1:])
            await client.wait_closed()
            assert waiting[0].cancelled()

    run(main)


def test_destroyed_while_data_arrives(run: Run) -> None:
    """CLOSE-07: twice, in the middle of 1 MiB; the peer sees its connection close."""

    async def main() -> None:
        async with tls_pair("tcp") as (client, server):
            server.on("error", lambda _: None)
            closed = asyncio.ensure_future(server.wait_for("close"))

            def data(_: bytes) -> None:
                client.destroy()
                client.destroy()

            client.on("data", data)
            server.end(MEBIBYTE)
            server.resume()
            await asyncio.gather(client.wait_closed(), closed)

    run(main)


def test_nothing_keeps_a_closed_socket(run: Run) -> None:
    """Closed sockets are garbage: no timer, no listener, no registry holds them."""

    async def main() -> None:
        references: list[weakref.ref[aiotls.TLSSocket]] = []
        for _ in range(20):
            async with tls_pair(client={"timeout": 100.0}) as (client, server):
                client.on("data", lambda _: None)
                client.write(b"x")
                assert await server.read(1) == b"x"
                references += [weakref.ref(client), weakref.ref(server)]
        del client, server
        await asyncio.sleep(0)
        gc.collect()
        assert sum(reference() is not None for reference in references) == 0

    run(main)


def test_junk_leaves_no_sockets(run: Run) -> None:
    """INT-02: 512 failed handshakes; the sockets are collected while they go by."""

    async def main() -> None:
        references: list[weakref.ref[aiotls.TLSSocket]] = []
        context = aiotls.create_secure_context(ca=client_options()["ca"])
        for _ in range(512):
            near, _far = MemoryDuplex.pair()
            near.deliver(b"*" * 32)
            client = aiotls.connect(socket=near, secure_context=context)
            with pytest.raises(aiotls.ProtocolError):
                await client
            references.append(weakref.ref(client))
        gc.collect()
        assert sum(reference() is not None for reference in references) < 256

    run(main)
