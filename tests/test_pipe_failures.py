"""`pipe` when one of its ends fails, closes or is the wrong thing: who is told, and what stays."""

import asyncio
import contextlib
import os
import ssl
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, MemoryDuplex, client_options, gone, server_options, tcp_pair, tls_pair, until
from tests.support.pipes import Nonsense, Shelf, listeners, note, two_pairs
from tests.support.pki import named
from tests.support.sessions import load_identity
from tests.test_server_process import in_process

MEBIBYTE = os.urandom(1024) * 1024


# ---- a socket as destination


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_destination_that_is_reset(run: Run, busy: bool) -> None:
    """The source is destroyed with the very error, once, even while it waits for data or for the destination."""

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_identity(context, named.server_ec)
        near, far = await tcp_pair()
        target = aiotls.connect(socket=near, **client_options())
        receiver = BarePeer(far, context, server=True)
        async with tls_pair("tcp") as (sender, source):
            await asyncio.gather(target, receiver.handshake())
            told = note(source, "error", "close"), note(target, "error", "close")
            source.pipe(target)
            if busy:
                sender.write(MEBIBYTE * 16)
                await until(lambda: source.readable_length)
            receiver.reset()
            await until(lambda: ("close", True) in told[0])
            ((_, error), _) = told[1]
            assert error.code in ("ECONNRESET", "EPIPE")
            assert told[0] == told[1] == [("error", error), ("close", True)]

    run(main)


def test_a_destination_that_fails_while_data_comes(run: Run) -> None:
    """The write finds out before the event: still once, and with the error of the destination."""

    async def main() -> None:
        async with two_pairs() as (sender, source, target, _receiver):
            failure = Nonsense()
            told = note(source, "error", "close")
            target.on("error", lambda _: None)
            source.on("data", lambda _: target.destroy(failure))
            source.pipe(target)
            sender.write(b"?")
            await until(lambda: ("close", True) in told)
            assert told == [("error", failure), ("close", True)]

    run(main)


def test_a_destination_that_never_connects(run: Run) -> None:
    async def main() -> None:
        async with tls_pair() as (sender, source):
            told = note(source, "error", "close")
            near, far = await tcp_pair()
            target = aiotls.connect(socket=near, **client_options())
            source.pipe(target)
            refused = note(target, "error")
            sender.write(MEBIBYTE)
            await until(lambda: target.writable_length)
            far.close()
            await until(lambda: ("close", True) in told)
            assert told == [*refused, ("close", True)]

    run(main)


@pytest.mark.parametrize("when", ["idle", "with data"])
def test_a_destination_that_is_destroyed(run: Run, when: str) -> None:
    """Without an error: the source goes too, and without one."""

    async def main() -> None:
        async with two_pairs() as (sender, source, target, _receiver):
            told = note(source, "error", "close")
            if when == "idle":
                source.pipe(target)
                target.destroy()
            else:
                source.on("data", lambda _: target.destroy())
                source.pipe(target)
                sender.write(b"?")
            await until(lambda: told)
            assert told == [("close", False)]
            assert await sender.read() == b""

    run(main)


def test_a_destination_that_has_ended_in_order(run: Run) -> None:
    """It was closed by its peer: the source closes, but what it has to send itself still leaves."""

    async def main() -> None:
        async with two_pairs("tcp") as (sender, source, target, receiver):
            told = note(source, "error", "close")
            source.write(MEBIBYTE * 16)
            source.pipe(target)
            target.resume()
            receiver.end()
            await receiver.read()
            await target.wait_closed()
            assert not source.writable
            assert told == []
            assert await sender.read() == MEBIBYTE * 16
            await until(lambda: told)
            assert told == [("close", False)]

    run(main)


def test_a_destination_that_somebody_ends(run: Run) -> None:
    """What comes after that cannot be written, which is an error."""

    async def main() -> None:
        async with two_pairs() as (sender, source, target, receiver):
            told = note(source, "error", "close")
            source.pipe(target)
            target.end(b"enough")
            assert await receiver.read() == b"enough"
            sender.write(b"?")
            await until(lambda: ("close", True) in told)
            ((_, error), _) = told
            assert isinstance(error, aiotls.WriteAfterEnd)

    run(main)


# ---- something else as destination


@pytest.mark.parametrize("kind", [Nonsense, ConnectionResetError, asyncio.CancelledError])
@pytest.mark.parametrize("turn", [0, 1])
def test_a_drain_that_fails(run: Run, kind: type[BaseException], turn: int) -> None:
    """The source is destroyed with its error; one that raises CancelledError by itself has failed too."""

    async def main() -> None:
        shelf = Shelf(open=False)
        async with tls_pair() as (client, server):
            told = note(server, "error", "close")
            before = listeners(server)
            server.pipe(shelf)
            client.write(MEBIBYTE)
            await until(lambda: shelf.data)
            if turn:
                shelf.door.set()
                await until(lambda: shelf.data == MEBIBYTE)
                client.write(b"more")
            shelf.failure = kind()
            shelf.door.set()
            await until(lambda: ("close", True) in told)
            ((_, error), _) = told
            assert kind in (type(error), type(error.__cause__))
            assert isinstance(error, Exception)
            assert shelf.calls == []
            # A closed socket has let go of the others too.
            assert listeners(server) in (before, 0)

    run(main)


def test_a_write_that_fails(run: Run) -> None:
    """Also while a drain still waits, which ends with it."""

    class Fragile(Shelf):
        def write(self, data: bytes) -> None:
            super().write(data)
            if len(self.data) > 1:
                raise failure

    async def main() -> None:
        shelf = Fragile(open=False)
        async with tls_pair() as (client, server):
            told = note(server, "error", "close")
            server.pipe(shelf)
            client.write(b"1")
            await until(lambda: shelf.data)
            client.write(b"2")
            await until(lambda: ("close", True) in told)
            assert told == [("error", failure), ("close", True)]
            assert shelf.calls == []

    failure = Nonsense()
    run(main)


@pytest.mark.parametrize("half_open", [True, False])
def test_a_failure_after_the_end(run: Run, half_open: bool, loop_errors: list[dict[str, Any]]) -> None:
    """A source that is still open gets the error; when it has gone, the loop's handler is told: data was lost."""

    async def main() -> None:
        shelf = Shelf(open=False)
        shelf.failure = failure
        async with tls_pair(server={"allow_half_open": half_open}) as (client, server):
            told = note(server, "end", "error", "close")
            server.pipe(shelf)
            client.end(b"last words")
            if half_open:
                await until(lambda: told)
            else:
                assert await client.read() == b""
                await until(lambda: server.destroyed)
            shelf.door.set()
            await until(lambda: ("close", half_open) in told)
            errors = [("error", failure)] if half_open else []
            assert told == [("end",), *errors, ("close", half_open)]
        assert shelf.data == b"last words"
        assert shelf.calls == []

    failure = Nonsense()
    run(main)
    assert [context["exception"] for context in loop_errors] == ([] if half_open else [failure])
    loop_errors.clear()


def test_an_end_that_fails(run: Run) -> None:
    class Endless(Shelf):
        def write_eof(self) -> None:
            raise failure

    async def main() -> None:
        for data in (b"", b"something"):
            async with tls_pair(server={"allow_half_open": True}) as (client, server):
                told = note(server, "error", "close")
                server.pipe(Endless())
                client.end(data)
                await until(lambda: ("close", True) in told)  # noqa: B023
                assert told == [("error", failure), ("close", True)]

    failure = Nonsense()
    run(main)


def test_a_writer_whose_peer_has_gone(run: Run) -> None:
    """One of asyncio: what it raises destroys the source."""

    async def main() -> None:
        near, far = await tcp_pair()
        reader, writer = await asyncio.open_connection(sock=near)
        async with tls_pair("tcp") as (client, server):
            told = note(server, "error", "close")
            server.pipe(writer)
            client.on("error", lambda _: None)
            client.write(MEBIBYTE * 16)
            await until(lambda: server.readable_length)
            far.close()
            await until(lambda: ("close", True) in told)
            ((_, error), _) = told
            # uvloop refuses to write to it.
            assert isinstance(error, ConnectionError | RuntimeError)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        assert reader.at_eof() or reader.exception()

    run(main)


# ---- the source


@pytest.mark.parametrize("how", ["destroy", "reset", "error"])
def test_a_source_without_an_end(run: Run, how: str) -> None:
    """The pipe is over; the destination has not ended, knows of no error, and keeps no listener."""

    async def main() -> None:
        async with two_pairs("tcp") as (sender, source, target, receiver):
            before = listeners(target)
            told = note(target, "error", "close")
            closed = note(source, "error", "close")
            source.pipe(target)
            sender.write(b"first ")
            assert await receiver.readexactly(6) == b"first "
            if how == "destroy":
                source.destroy()
            elif how == "error":
                source.destroy(Nonsense())
            else:
                sender.reset_and_destroy()
            await until(lambda: closed and closed[-1][0] == "close")
            assert target.writable
            assert told == []
            target.end(b"last")
            assert await receiver.read() == b"last"
            assert listeners(target) == before + 2

    run(main)


@pytest.mark.parametrize("how", ["destroy", "error"])
def test_a_source_that_leaves_a_full_destination(run: Run, how: str) -> None:
    """Its task ends with it, though the destination never drains; nothing is ended, nobody else is told."""

    async def main() -> None:
        shelf = Shelf(open=False)
        async with tls_pair() as (client, server):
            tasks = asyncio.all_tasks()
            server.on("error", lambda _: None)
            server.pipe(shelf)
            client.write(MEBIBYTE)
            await until(lambda: shelf.data)
            (task,) = asyncio.all_tasks() - tasks
            server.destroy(Nonsense() if how == "error" else None)
            await asyncio.wait([task])
            assert shelf.calls == []

    run(main)


def test_a_truncated_source(run: Run) -> None:
    """Where close_notify is asked for, an attacker who cuts the connection cannot make it look complete behind it."""

    async def main() -> None:
        near, far = MemoryDuplex.pair()
        source = aiotls.TLSSocket(far, is_server=True, **server_options(require_close_notify=True))
        sender = await aiotls.connect(socket=near, **client_options())
        async with tls_pair() as (target, receiver):
            told = note(source, "error", "close")
            source.pipe(target)
            sender.write(b"the first half")
            assert await receiver.read(100) == b"the first half"
            far.deliver(b"")
            await until(lambda: ("close", True) in told)
            assert told[0][1].code == "ERR_TLS_TRUNCATED"
            assert target.writable
        await gone(sender, source)

    run(main)


# ---- the loop


@pytest.mark.parametrize("started", [False, True])
def test_cancelled_with_everything_else(run: Run, started: bool) -> None:
    """Whoever cancels all tasks, as asyncio.run() does at its end, destroys the source; that is no error."""

    async def main() -> None:
        shelf = Shelf(open=False)
        async with tls_pair() as (client, server):
            tasks = asyncio.all_tasks()
            told = note(server, "error", "close")
            server.pipe(shelf)
            client.write(MEBIBYTE)
            await until(lambda: shelf.data)
            (task,) = asyncio.all_tasks() - tasks
            if started:
                await asyncio.sleep(0)
            task.cancel()
            await until(lambda: told)
            assert told == [("close", False)]
            assert task.cancelled()
            assert shelf.calls == []

    run(main)


def test_a_program_that_ends_in_the_midst() -> None:
    """No word from the loop, no task and no socket left: warnings are errors there."""
    program = """
        import asyncio, os, socket
        import aiotls

        class Full:
            def write(self, data): pass
            async def drain(self): await asyncio.Event().wait()

        async def main():
            asyncio.get_running_loop().slow_callback_duration = 60
            own = {"cert": os.environ["TEST_CERT"], "key": os.environ["TEST_KEY"]}
            pairs = []
            for _ in range(2):
                near, far = socket.socketpair()
                server = aiotls.TLSSocket(far, is_server=True, **own)
                client = aiotls.connect(socket=near, servername="localhost", ca=os.environ["TEST_CA"])
                await asyncio.gather(client, server)
                pairs.append((client, server))
            (sender, source), (target, receiver) = pairs
            source.pipe(target).pipe(source)
            source.pipe(Full())
            sender.write(bytes(2**24))
            while source.readable_length < 2**16:
                await asyncio.sleep(0)
            print(len(asyncio.all_tasks()), "tasks")

        asyncio.run(main())
    """
    assert in_process(program, named.server_ec) == "2 tasks\n"
