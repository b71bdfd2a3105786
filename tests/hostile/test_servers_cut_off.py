"""Servers that are cut off, at every byte of their handshake and right behind it, seen by their clients."""

import asyncio
import contextlib
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.hostile.records import ALERT, APPLICATION_DATA
from tests.support.bad_servers import VERSIONS, BadServer, Exhausted, Visitor, behaving, length_of_handshake
from tests.support.pairs import until
from tests.support.pki import named
from tests.support.servers import echo, serving, to

BATCH = 128
"""How many clients are there at a time."""

by_version = pytest.mark.parametrize("version", VERSIONS)


@by_version
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_at_each_byte_of_the_handshake(run: Run, version: str, reset: bool) -> None:
    """Failure model 3 and 4, for clients: ECONNRESET once, no other event, the descriptor closed."""

    async def main() -> None:
        total = await length_of_handshake(version) - 4  # signatures are of several lengths
        lengths = range(0, total, 3)
        budgets = iter(lengths)

        async def behave(server: BadServer) -> None:
            server.budget = next(budgets)
            with contextlib.suppress(Exhausted):
                await server.handshake()
            if reset:
                server.reset()
            else:
                server.hang_up()
                assert await server.told() == ""

        async with behaving(behave, version=version) as stage:
            for start in range(0, len(lengths), BATCH):
                visitors = [stage.visitor() for _ in lengths[start : start + BATCH]]
                for visitor in visitors:
                    error = await visitor.failed()
                    assert isinstance(error, aiotls.ConnectionLost)
                    assert error.code == "ECONNRESET"
                    assert visitor.secure == visitor.client.bytes_read == 0

    run(main)


@by_version
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_before_and_while_the_client_speaks(run: Run, version: str, reset: bool) -> None:
    """Failure model 3, for clients: cut off when so much of the ClientHello was read, or none of it."""

    async def main() -> None:
        # The shortest hello has more bytes.
        lengths = iter(range(100))

        async def behave(server: BadServer) -> None:
            loop = asyncio.get_running_loop()
            length = next(lengths)
            while length:
                length -= len(await loop.sock_recv(server.end, length))
            if reset:
                server.reset()

        async with behaving(behave, version=version) as stage:
            visitors = [stage.visitor() for _ in range(100)]
            for visitor in visitors:
                assert (await visitor.failed()).code == "ECONNRESET"
                assert visitor.secure == 0

    run(main)


@by_version
@pytest.mark.parametrize("listens", [True, False], ids=["listener", "no-listener"])
def test_right_after_finished(run: Run, loop_errors: list[dict[str, Any]], version: str, listens: bool) -> None:
    """Failure model 5, F5, CVE-2025-59465, for clients: RST with data under way; one report, and nothing stays open."""

    async def main() -> None:
        rounds = 100

        async def behave(server: BadServer) -> None:
            await server.handshake()
            if server.sent % 2:
                await server.send(server.record(APPLICATION_DATA, bytes(1000)))
            if server.sent % 3:
                await server.read(1)
            server.reset()

        told: list[Any] = []
        async with behaving(behave, version=version) as stage, serving(echo) as good:
            bystander = await to(good)

            async def one() -> bool:
                client = stage.connect()
                closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
                client.on("close", closed.set_result)
                client.on("data", lambda _: client.write(bytes(2**16)))
                client.write(bytes(2**18))
                if listens:
                    client.on("error", told.append)
                return await closed

            for _ in range(0, rounds, 20):
                closed = await asyncio.gather(*(one() for _ in range(20)))
                assert all(closed)
            if not listens:
                await until(lambda: len(loop_errors) >= rounds)
                told.extend(report["exception"] for report in loop_errors)
                loop_errors.clear()
            assert len(told) == rounds
            assert {error.code for error in told} <= {"ECONNRESET", "EPIPE"}
            bystander.end(b"still here")
            assert await bystander.read() == b"still here"
            await bystander.wait_closed()

    run(main)


@by_version
@pytest.mark.parametrize("strict", [False, True], ids=["default", "require_close_notify"])
def test_end_without_close_notify(run: Run, version: str, strict: bool) -> None:
    """Failure model 6, for clients: the data so far, then the end and `truncated`; or an error, where asked for."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            await server.send(server.record(APPLICATION_DATA, b"all there was"))
            server.hang_up()
            assert await server.told() == "close_notify"

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor(require_close_notify=strict).listen()
            ended: list[bool] = []
            visitor.client.on("end", lambda: ended.append(visitor.client.truncated))
            if strict:
                error = await visitor.failed()
                assert isinstance(error, aiotls.ConnectionLost)
                assert error.code == "ERR_TLS_TRUNCATED"
            else:
                await visitor.gone()
                assert (visitor.errors, visitor.closed) == ([], [False])
            assert visitor.data == b"all there was"
            assert visitor.client.truncated
            assert ended == ([] if strict else [True])

    run(main)


@by_version
@pytest.mark.parametrize("strict", [False, True], ids=["default", "require_close_notify"])
def test_a_record_that_is_cut_off(run: Run, version: str, strict: bool) -> None:
    """Failure model 6, for clients: half a record and FIN: nothing of it is delivered, and the end is no clean one."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            await server.send(server.record(APPLICATION_DATA, b"whole"))
            await server.send(server.record(APPLICATION_DATA, b"half of it")[:-9])
            server.hang_up()
            await server.told()

        async with behaving(behave, version=version) as stage:
            client = await stage.connect(require_close_notify=strict)
            assert await client.readexactly(5) == b"whole"
            if strict:
                with pytest.raises(aiotls.ConnectionLost) as failure:
                    await client.read()
                assert failure.value.code == "ERR_TLS_TRUNCATED"
            else:
                assert await client.read() == b""
            assert client.truncated
            assert client.bytes_read == 5
            client.destroy()

    run(main)


@by_version
@pytest.mark.parametrize("half_open", [False, True])
@pytest.mark.parametrize("then", ["fin", "data", "junk"])
def test_close_notify(run: Run, version: str, half_open: bool, then: str) -> None:
    """Failure model 7, for clients: answered with our own; a server that goes on is heard no more, half open or not."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.handshake()
            await server.send(server.record(APPLICATION_DATA, b"x") + server.record(ALERT, b"\x01\x00"))
            if then == "data":
                await server.send(server.record(APPLICATION_DATA, b"and more"))
            elif then == "junk":
                await server.send(b"\x17\x03\x03\x00\x05" + bytes(5))
            else:
                server.hang_up()
            if half_open:
                assert [await server.read(), await server.read()] == [b"goodbye", b""]
                assert await server.read_eof()
            else:
                assert await server.told() == "close_notify"

        async with behaving(behave, version=version) as stage:
            visitor = stage.visitor(allow_half_open=half_open).listen()
            await visitor.client.wait_for("end")
            assert not visitor.client.truncated
            if half_open:
                assert not visitor.client.destroyed
                visitor.client.end(b"goodbye")
            await visitor.gone()
            assert (visitor.data, visitor.errors, visitor.closed) == (b"x", [], [False])

    run(main)


def test_two_hundred_idle_servers(run: Run) -> None:
    """Failure model 2, for clients: idle connections stay; only who asked for a timeout is told of one."""

    async def main() -> None:
        accepted: list[aiotls.TLSSocket] = []

        def accept(socket: aiotls.TLSSocket) -> None:
            accepted.append(socket)
            socket.on("data", socket.write)

        async with serving(accept, keep_alive=True) as server:
            context = aiotls.create_secure_context(ca=named.ca.cert_pem)
            quiet: dict[str, Any] = {"ca": None, "secure_context": context, "keep_alive": True}
            clients = [Visitor(to(server, **quiet)) for _ in range(200)]
            await until(lambda: len(accepted) == 200 and all(client.secure for client in clients))
            for client in clients[1::2]:
                client.client.set_timeout(0.02, client.client.destroy)
            for client in clients[1::2]:
                await client.gone()
            await until(lambda: server.get_connections() == 100)
            assert not any(client.client.destroyed for client in clients[::2])
            for socket in accepted:
                if not socket.destroyed:
                    socket.reset_and_destroy()
            for client in clients[::2]:
                assert (await client.failed()).code == "ECONNRESET"

    run(main)
