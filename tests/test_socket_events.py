"""The events of a `TLSSocket`: which come, in which order, how often and with what, on both sides."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from aiotls.event_types import SocketEvent
from tests.conftest import Run
from tests.support.pairs import BarePeer, client_options, gone, server_options, tcp_pair, tls_pair, until
from tests.support.pki import Named, named
from tests.support.servers import port_of, serving
from tests.support.sessions import load_identity
from tests.support.stages import SIDES, VERSIONS

PROMISED = {
    *("secure_connect", "secure", "session", "keylog", "ocsp_response", "connect", "ready", "data", "end", "drain"),
    *("timeout", "error", "close", "lookup"),
}
"""The events of the contract."""

ORDER = {
    "client": (
        *("lookup", "connect", "ocsp_response", "secure", "secure_connect", "ready", "session", "drain", "data"),
        *("timeout", "finish", "end", "close"),
    ),
    "server": ("secure", "data", "drain", "timeout", "end", "finish", "close"),
}
"""The events of a whole life, each at its first time; `keylog` is told when OpenSSL makes the keys."""

COUNTS = {
    ("client", "TLSv1.2"): {"keylog": 1, "session": 1},
    ("client", "TLSv1.3"): {"keylog": 5, "session": 2},
    ("server", "TLSv1.2"): {"keylog": 1},
    ("server", "TLSv1.3"): {"keylog": 5},
}
"""How often those come that do not come once; `data` and `drain` depend on the network."""

NEVER = {"client": {"error"}, "server": {"lookup", "connect", "ocsp_response", "secure_connect", "ready", "session"}}
NEVER["server"].add("error")

Told = tuple[str, tuple[Any, ...]]


class Record:
    """What a socket has told to a listener of each event."""

    def __init__(self, socket: aiotls.TLSSocket, events: frozenset[SocketEvent] = aiotls.TLSSocket.EVENTS) -> None:
        self.told: list[Told] = []
        for event in events:
            socket.on(event, self.listener(event))

    def listener(self, event: str) -> Callable[..., None]:
        def listen(*arguments: Any) -> None:
            self.told.append((event, arguments))

        return listen

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.told]

    @property
    def order(self) -> tuple[str, ...]:
        """The events, each at its first time."""
        return tuple(dict.fromkeys(name for name in self.names if name != "keylog"))

    def arguments(self, event: str) -> list[tuple[Any, ...]]:
        return [arguments for name, arguments in self.told if name == event]


# ---- a whole life, with everything in it that there is

QUESTION, ANSWER = b"question" * 1000, b"answer" * 1000


async def life(
    version: str, client: Callable[[aiotls.TLSSocket], Any], server: Callable[[aiotls.TLSSocket], Any]
) -> tuple[aiotls.TLSSocket, aiotls.TLSSocket]:
    """A connection from the look-up to the close; both sockets are shown as soon as they are there."""
    accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()

    def connection(socket: aiotls.TLSSocket) -> None:
        server(socket)
        accepted.put_nowait(socket)

    async with serving(max_version=version, high_water_mark=0) as listening:
        listening.on("connection", connection)
        listening.on("ocsp_request", lambda *_: named.ca.ocsp_response(named.server_ec))
        near = aiotls.connect(
            "server.test",
            port_of(listening),
            lookup=lambda *_: "127.0.0.1",
            **client_options(request_ocsp=True, high_water_mark=0),
        )
        client(near)
        far = await accepted.get()
        await asyncio.gather(near, far)
        await speak(near, far, QUESTION)
        await speak(far, near, ANSWER)
        for each in (near, far):
            await idle(each)
        closed = [asyncio.ensure_future(each.wait_for("close")) for each in (near, far)]
        await asyncio.sleep(0)
        near.end()
        far.resume()
        near.resume()
        await asyncio.gather(*closed)
    return near, far


async def speak(mine: aiotls.TLSSocket, other: aiotls.TLSSocket, words: bytes) -> None:
    """Lets all of `words` arrive, whether or not there are listeners for them."""
    before = other.bytes_read
    mine.write(words)
    if other.listeners("data"):
        await until(lambda: other.bytes_read == before + len(words))
    else:
        assert await other.readexactly(len(words)) == words
    await mine.drain()


async def idle(socket: aiotls.TLSSocket) -> None:
    """Lets a socket time out once."""
    socket.once("timeout", lambda: socket.set_timeout(None))
    socket.set_timeout(0.005)
    await until(lambda: socket.timeout is None)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_whole_life(run: Run, version: str) -> None:
    """Each event in its place, as often as it should come, with its arguments; on a server what belongs to it."""

    async def main() -> None:
        records: dict[str, Record] = {}
        near, far = await life(
            version,
            lambda socket: records.setdefault("client", Record(socket)),
            lambda socket: records.setdefault("server", Record(socket)),
        )
        for side in SIDES:
            record = records[side]
            counts = Counter(record.names)
            assert record.order == ORDER[side], side
            for event in aiotls.TLSSocket.EVENTS - {"data", "drain"}:
                usual = 0 if event in NEVER[side] else 1
                assert counts[event] == COUNTS[side, version].get(event, usual), (side, event)
            assert counts["data"] >= 1
            assert counts["drain"] >= 1
            assert record.names.index("keylog") < record.names.index("secure")
            check_arguments(record, near if side == "client" else far, QUESTION if side == "server" else ANSWER)

    run(main)


def check_arguments(record: Record, socket: aiotls.TLSSocket, words: bytes) -> None:
    for event in ("connect", "secure", "secure_connect", "ready", "drain", "timeout", "end", "finish"):
        assert set(record.arguments(event)) <= {()}, event
    assert record.arguments("close") == [(False,)]
    assert all(type(data) is bytes and data for (data,) in record.arguments("data"))
    assert b"".join(data for (data,) in record.arguments("data")) == words
    for (line,) in record.arguments("keylog"):
        assert type(line) is bytes
        assert line.endswith(b"\n")
        assert len(line.split()) == 3
    if not socket.is_server:
        assert record.arguments("lookup") == [(None, "127.0.0.1", "IPv4", "server.test")]
        assert record.arguments("ocsp_response") == [(named.ca.ocsp_response(named.server_ec),)]
        sessions = [session for (session,) in record.arguments("session")]
        assert all(type(session) is bytes and session for session in sessions)
        assert len(set(sessions)) == len(sessions)


def test_every_event_is_in_the_table() -> None:
    """What there is comes in a whole life or is an error; what is promised is there."""
    assert aiotls.TLSSocket.EVENTS >= PROMISED
    for side in SIDES:
        assert {*ORDER[side], "keylog"} | NEVER[side] == aiotls.TLSSocket.EVENTS


@pytest.mark.parametrize("version", VERSIONS)
def test_async_listeners(run: Run, version: str) -> None:
    """Each event comes to an ``async`` listener too, with the same arguments."""

    async def main() -> None:
        plain: dict[str, Record] = {}
        waiting: dict[str, list[Told]] = {"client": [], "server": []}

        def listen(socket: aiotls.TLSSocket) -> None:
            side = "server" if socket.is_server else "client"
            plain[side] = Record(socket)
            for event in aiotls.TLSSocket.EVENTS:
                socket.on(event, listener(event, waiting[side]))

        def listener(event: str, told: list[Told]) -> Callable[..., Any]:
            async def wait(*arguments: Any) -> None:
                await asyncio.sleep(0)
                told.append((event, arguments))

            return wait

        await life(version, listen, listen)
        await until(lambda: all(len(waiting[side]) == len(plain[side].told) for side in SIDES))
        for side in SIDES:
            for event in aiotls.TLSSocket.EVENTS:
                told = [arguments for name, arguments in waiting[side] if name == event]
                assert told == plain[side].arguments(event)

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_once(run: Run, version: str) -> None:
    """Those that come several times come once to whoever asks for one time, and it is the first."""

    async def main() -> None:
        records: dict[str, Record] = {}
        first: dict[str, Record] = {}

        def listen(socket: aiotls.TLSSocket) -> None:
            side = "server" if socket.is_server else "client"
            records[side], first[side] = Record(socket), Record(socket, frozenset())
            for event in aiotls.TLSSocket.EVENTS:
                socket.once(event, first[side].listener(event))

        await life(version, listen, listen)
        for side in SIDES:
            assert Counter(first[side].names) == dict.fromkeys(records[side].names, 1)
            for event, arguments in first[side].told:
                assert arguments == records[side].arguments(event)[0]

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_off(run: Run, version: str) -> None:
    """A listener that was taken away before is not called, and leaves nothing behind: the data can be read."""

    async def main() -> None:
        record = Record.__new__(Record)
        record.told = []

        def listen(socket: aiotls.TLSSocket) -> None:
            for event in aiotls.TLSSocket.EVENTS:
                plain, single = record.listener(event), record.listener(event)
                assert socket.on(event, plain).once(event, single).off(event, plain).off(event, single) is socket
                assert socket.listeners(event) == ()

        await life(version, listen, listen)
        assert record.told == []

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_after_the_close(run: Run, version: str) -> None:
    """ERR-13: a listener that is added when all is over is not called, and that is no error."""

    async def main() -> None:
        records: list[Record] = []
        for socket in await life(version, lambda _: None, lambda _: None):
            records.append(Record(socket))
            socket.resume()
        for _ in range(10):
            await asyncio.sleep(0)
        assert [record.told for record in records] == [[], []]

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_late_listeners(run: Run, version: str) -> None:
    """A listener counts from the next event on: what has been is not told again, what comes is."""

    async def main() -> None:
        late: dict[str, Record] = {}

        def listen(socket: aiotls.TLSSocket) -> None:
            side = "server" if socket.is_server else "client"
            late[side] = Record(socket, frozenset())

            def secure() -> None:
                for event in aiotls.TLSSocket.EVENTS:
                    socket.on(event, late[side].listener(event))

            socket.once("secure", secure)

        await life(version, listen, listen)
        for side in SIDES:
            # The session of TLS 1.2 was made before.
            missed = {"session"} if version == "TLSv1.2" else set()
            expected = ORDER[side][ORDER[side].index("secure") + 1 :]
            assert late[side].order == tuple(event for event in expected if event not in missed)
            assert "keylog" not in late[side].names

    run(main)


# ---- other ways to begin


@pytest.mark.parametrize("version", VERSIONS)
def test_over_a_stream_that_was_given(run: Run, version: str) -> None:
    """Nothing is looked up and nobody is dialed."""

    async def main() -> None:
        async with tls_pair(client={"max_version": version}, secure=False) as (client, server):
            records = [Record(client, aiotls.TLSSocket.EVENTS - {"data"}), Record(server)]
            server.write(b"x")
            assert await client.readexactly(1) == b"x"
            closed = asyncio.ensure_future(server.wait_for("close"))
            client.close()
            await client.wait_closed()
            await closed
            await asyncio.sleep(0)
            assert records[0].order == ("secure", "secure_connect", "ready", "session", "finish", "end", "close")
            assert records[1].order == ("secure", "end", "finish", "close")

    run(main)


def test_over_a_unix_socket(run: Run, tmp_path: Path) -> None:
    """Nothing is looked up."""

    async def main() -> None:
        path = str(tmp_path / "socket")
        server = aiotls.create_server(lambda socket: socket.end(b"x"), **server_options())
        async with server:
            await server.listen(path=path)
            client = aiotls.connect(path=path, **client_options())
            record = Record(client)
            await client.wait_for("close")
            await asyncio.sleep(0)
            expected = ("connect", "secure", "secure_connect", "ready", "session", "data", "end", "finish", "close")
            assert record.order == expected

    run(main)


# ---- failures


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_is_not_trusted(run: Run, pki: Named, version: str) -> None:
    """On either side "error" once, with the exception, then "close" with had_error, and nothing that is secure."""

    async def main() -> None:
        untrusting = {"ca": pki.ca_b.cert_pem, "max_version": version}
        async with tls_pair(client=untrusting, secure=False) as (client, server):
            records = [Record(client), Record(server)]
            await asyncio.gather(client.wait_for("close"), server.wait_for("close"))
            await asyncio.sleep(0)
            for record, kind in zip(records, (aiotls.VerificationError, aiotls.AlertReceived), strict=True):
                assert record.order == ("error", "close")
                ((error,),) = record.arguments("error")
                assert type(error) is kind
                assert record.arguments("close") == [(True,)]

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_server_tells_for_its_socket(run: Run, pki: Named, version: str) -> None:
    """Before it is secure, a socket that belongs to a server has no "error": "tls_client_error" tells."""

    async def main() -> None:
        records: list[Record] = []
        errors: list[Any] = []
        async with serving(max_version=version) as server:
            server.on("connection", lambda socket: records.append(Record(socket)))
            server.on("tls_client_error", lambda error, _: errors.append(error))
            client = aiotls.connect("127.0.0.1", port_of(server), **client_options(ca=pki.ca_b.cert_pem))
            with pytest.raises(aiotls.VerificationError):
                await client
            await until(lambda: records and "close" in records[0].names)
        assert records[0].order == ("close",)
        assert records[0].arguments("close") == [(True,)]
        assert [type(error) for error in errors] == [aiotls.AlertReceived]

    run(main)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_that_is_reset(run: Run, version: str, side: str) -> None:
    """What came before is told, then "error", then "close" with had_error; no "end", no "finish"."""

    async def main() -> None:
        async with tls_pair("tcp", client={"max_version": version}) as (client, server):
            mine, other = (client, server) if side == "client" else (server, client)
            record = Record(mine)
            other.write(b"x")
            await until(lambda: mine.bytes_read)
            closed = asyncio.ensure_future(mine.wait_for("close"))
            await asyncio.sleep(0)
            other.reset_and_destroy()
            await closed
            await asyncio.sleep(0)
            assert [name for name in record.names if name != "session"] == ["data", "error", "close"]
            ((error,),) = record.arguments("error")
            assert error.code == "ECONNRESET"
            assert record.arguments("close") == [(True,)]

    run(main)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("method", ["destroy", "reset_and_destroy"])
def test_destroyed_by_us(run: Run, side: str, method: str) -> None:
    """Only "close", in a later turn, without an error; with one that was given, "error" at once."""

    async def main() -> None:
        for wrong in (None, RuntimeError("enough")):
            if wrong is not None and method != "destroy":
                continue
            async with tls_pair() as (client, server):
                mine, other = (client, server) if side == "client" else (server, client)
                other.on("error", lambda _: None)
                record = Record(mine, aiotls.TLSSocket.EVENTS - {"session"})
                getattr(mine, method)(*([wrong] if wrong else []))
                assert record.told == ([("error", (wrong,))] if wrong else [])
                await mine.wait_closed()
                assert record.told[-1] == ("close", (wrong is not None,))
                assert len(record.told) == (2 if wrong else 1)

    run(main)


@pytest.mark.parametrize("side", SIDES)
def test_a_stream_that_was_cut_off(run: Run, side: str) -> None:
    """An end without close_notify is an "end"; `truncated` tells."""

    async def main() -> None:
        near, far = await tcp_pair()
        with far:
            if side == "server":
                peer = BarePeer.client(far)
                mine = aiotls.TLSSocket(near, is_server=True, **server_options())
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                load_identity(context, named.server_ec)
                peer = BarePeer(far, context, server=True)
                mine = aiotls.connect(socket=near, **client_options())
            record = Record(mine, aiotls.TLSSocket.EVENTS - {"session", "keylog"})
            await asyncio.gather(peer.handshake(), mine)
            record.told.clear()
            closed = asyncio.ensure_future(mine.wait_for("close"))
            await peer.write(b"x")
            peer.hang_up()
            await closed
            await asyncio.sleep(0)
            assert record.order == ("data", "end", "finish", "close")
            assert record.arguments("close") == [(False,)]
            assert mine.truncated
            await gone(mine)

    run(main)


# ---- renegotiation


@pytest.mark.parametrize("by", SIDES)
def test_renegotiated(run: Run, by: str) -> None:
    """RENEG-02: "secure" again, and the keys, on both sides; nothing else comes a second time."""

    async def main() -> None:
        async with tls_pair(client={"max_version": "TLSv1.2"}) as (client, server):
            records = [Record(each, aiotls.TLSSocket.EVENTS - {"data"}) for each in (client, server)]
            await (client if by == "client" else server).renegotiate()
            client.write(b"x")
            assert await server.readexactly(1) == b"x"
            server.write(b"y")
            assert await client.readexactly(1) == b"y"
            for record in records:
                assert sorted(record.names) == ["keylog", "secure"]

    run(main)


def test_the_documentation() -> None:
    """It names every event, with its arguments."""
    text = (Path(__file__).parent.parent / "docs" / "events.md").read_text(encoding="utf-8")
    table = text.partition("## Of a socket")[2].partition("## Of a server")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith('| `"')]
    documented = {row[1].strip(' `"'): [each.strip() for each in row[2].split(",") if each.strip()] for row in rows}
    assert documented.keys() == aiotls.TLSSocket.EVENTS
    assert {event for event, arguments in documented.items() if arguments} == {
        *("lookup", "keylog", "ocsp_response", "session", "data", "error", "close"),
    }
