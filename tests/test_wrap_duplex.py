"""TLS over a stream of the user's: one that pumps bytes to TCP, and one that may be half open."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, client_options, server_options, tcp_pair
from tests.support.servers import port_of, serving


class Recorder:
    """Everything that a socket tells, in order."""

    def __init__(self, socket: aiotls.TLSSocket) -> None:
        self.told: list[Any] = []
        self.closed = asyncio.get_running_loop().create_future()
        for name in ("secure_connect", "data", "end", "finish", "error"):
            socket.on(name, lambda *arguments, name=name: self.told.append((name, *arguments)))
        socket.on("close", self._close)

    def _close(self, had_error: bool) -> None:
        self.told.append(("close", had_error))
        if not self.closed.done():
            self.closed.set_result(None)

    def without(self, name: str) -> list[Any]:
        return [entry for entry in self.told if entry[0] != name]


class Pumped:
    """A stream of nobody's library: two queues, and two tasks that carry bytes between them and a TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue(4)
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._rest = b""
        self._reader, self._writer = reader, writer
        self.tasks = [asyncio.create_task(self._pump_in()), asyncio.create_task(self._pump_out())]
        self.calls: list[str] = []

    async def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = await self._incoming.get()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def write(self, data: bytes) -> None:
        self._outgoing.put_nowait(data)

    async def drain(self) -> None:
        await self._outgoing.join()

    def write_eof(self) -> None:
        self.calls.append("write_eof")
        self._outgoing.put_nowait(None)

    def close(self) -> None:
        self.calls.append("close")
        self._outgoing.put_nowait(None)

    async def _pump_in(self) -> None:
        while data := await self._reader.read(700):
            await self._incoming.put(data)
        await self._incoming.put(b"")

    async def _pump_out(self) -> None:
        while (data := await self._outgoing.get()) is not None:
            self._writer.write(data)
            await self._writer.drain()
            self._outgoing.task_done()
        self._writer.write_eof()


@contextlib.asynccontextmanager
async def pumped(port: int) -> AsyncIterator[Pumped]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stream = Pumped(reader, writer)
    try:
        yield stream
        await asyncio.gather(*stream.tasks)
    finally:
        for task in stream.tasks:
            task.cancel()
        writer.close()


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The default `max_version` of everything made in the test."""
    monkeypatch.setattr(aiotls.defaults, "max_version", request.param)
    return str(request.param)


def test_over_a_duplex_that_pumps(run: Run, version: str) -> None:
    """WRAP-02: secure, 'hello' with the end, the answer, and "close" after both ends."""

    async def main() -> None:
        asked: list[bytes] = []
        protocols: list[str | None] = []

        async def answer(socket: aiotls.TLSSocket) -> None:
            protocols.append(socket.get_protocol())
            asked.append(await socket.read())
            socket.end(b"ohai")

        async with serving(answer, allow_half_open=True) as server, pumped(port_of(server)) as stream:
            client = aiotls.connect(socket=stream, **client_options(allow_half_open=True))
            recorder = Recorder(client)
            client.on("secure_connect", lambda: client.end(b"hello"))
            await recorder.closed
            assert recorder.told == [
                ("secure_connect",),
                ("finish",),
                ("data", b"ohai"),
                ("end",),
                ("close", False),
            ]
            assert asked == [b"hello"]
            assert protocols == [version]
            assert stream.calls == ["write_eof", "close"]

    run(main)


@contextlib.asynccontextmanager
async def connecting(kind: str, server: aiotls.Server) -> AsyncIterator[Any]:
    """A stream to the server that may be half open."""
    if kind == "duplex":
        near, far = MemoryDuplex.pair()
        server.handle_connection(far)
        near.allow_half_open = True  # type: ignore[attr-defined]
        yield near
    elif kind == "socket":
        near_socket, far_socket = await tcp_pair()
        server.handle_connection(far_socket)
        yield near_socket
    else:
        # One that is not connected yet: the inner handshake begins in the outer connection from its first moment on.
        relay = aiotls.create_server(server.handle_connection, allow_half_open=True, **server_options())
        async with relay:
            await relay.listen(0, "127.0.0.1")
            outer = aiotls.connect("127.0.0.1", port_of(relay), allow_half_open=True, **client_options())
            assert outer.connecting
            yield outer
            await outer.wait_closed()


@pytest.mark.parametrize("kind", ["duplex", "socket", "tls"])
def test_both_end_at_once(run: Run, version: str, kind: str) -> None:
    """WRAP-12, WRAP-13: each writes and ends before it hears of the other; each event comes once, in order.

    Under WRAP-13 the default of `max_version` is "TLSv1.2".
    """

    async def main() -> None:
        recorders: list[Recorder] = []
        written: list[str] = []

        def listener(socket: aiotls.TLSSocket) -> None:
            recorders.append(Recorder(socket))
            written.append(str(socket.get_protocol()))
            socket.end(b"hello")

        server = aiotls.create_server(listener, **server_options())
        async with connecting(kind, server) as stream:
            options = {"allow_half_open": True} if kind == "socket" else {}
            client = aiotls.connect(socket=stream, **client_options(**options))
            recorder = Recorder(client)
            client.end(b"hello")
            assert not client.writable
            await recorder.closed
            assert client.allow_half_open
            # What was written early may have left at the moment when the connection is secure, or right after it.
            assert recorder.without("finish") == [
                ("secure_connect",),
                ("data", b"hello"),
                ("end",),
                ("close", False),
            ]
            assert recorder.told.count(("finish",)) == 1
            (other,) = recorders
            await other.closed
            assert other.without("finish") == [("data", b"hello"), ("end",), ("close", False)]
            assert other.told.count(("finish",)) == 1
            assert written == [version]
        server.close()
        await server.wait_closed()

    run(main)
