"""From a name to a connected socket: the look-up hook, families, and the race of addresses."""

import asyncio
import contextlib
import errno
import socket as sockets
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import client_options, server_options
from tests.support.servers import port_of, serving


def greet(socket: aiotls.TLSSocket) -> None:
    socket.end(str(socket.servername).encode())


def dialled(port: int, lookup: Any, **options: Any) -> aiotls.TLSSocket:
    """A client of a host that only `lookup` knows."""
    return aiotls.connect("a.example.com", port, **client_options(servername=None, lookup=lookup, **options))


@contextlib.asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port of ::1 where connections are neither made nor refused: its queue is full."""
    with sockets.create_server(("::1", 0), family=sockets.AF_INET6, backlog=0) as full:
        fillers = [sockets.socket(sockets.AF_INET6) for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(full.getsockname())
        yield full.getsockname()[1]
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("style", ["plain", "async"])
@pytest.mark.parametrize("answer", ["127.0.0.1", ["127.0.0.1"], ("127.0.0.1",)])
def test_lookup(run: Run, style: str, answer: Any) -> None:
    """CONN-05, CONN-06: called once, with the host and what is asked for; it answers one address or several."""

    async def main() -> None:
        calls: list[tuple[str, Any]] = []

        def plain(host: str, options: Any) -> Any:
            calls.append((host, options))
            return answer

        async def later(host: str, options: Any) -> Any:
            await asyncio.sleep(0)
            return plain(host, options)

        async with serving(greet) as server:
            async with dialled(port_of(server), plain if style == "plain" else later) as client:
                assert await client.read() == b"a.example.com"
            ((host, options),) = calls
            assert host == "a.example.com"
            assert options.family is None
            assert options.all is True

    run(main)


@pytest.mark.parametrize("family", [6, sockets.AF_INET6])
def test_lookup_of_a_family(run: Run, family: int) -> None:
    """CONN-07, CONN-08."""

    async def main() -> None:
        asked: list[Any] = []

        def lookup(host: str, options: Any) -> str:
            asked.append((options.family, options.all))
            return "::1"

        async with serving(greet, host="::1") as server:
            async with dialled(port_of(server), lookup, family=family, auto_select_family=False) as client:
                assert client.remote_address == "::1"
                assert client.remote_family == "IPv6"
            assert asked == [(6, False)]

    run(main)


def test_an_address_is_not_looked_up(run: Run) -> None:
    async def main() -> None:
        def lookup(host: str, options: Any) -> str:
            raise AssertionError(host)

        async with serving(greet) as server:
            options = client_options(lookup=lookup)
            async with aiotls.connect("127.0.0.1", port_of(server), **options) as client:
                assert await client.read() == b"localhost"

    run(main)


@pytest.mark.parametrize("answer", ["not an address", ["127.0.0.1", "x"], 1, None, [], [1], "::1%lo\0"])
def test_wrong_answers(run: Run, answer: Any) -> None:
    """An error that names lookup; no descriptor, no hang."""

    async def main() -> None:
        with pytest.raises((aiotls.TLSError, TypeError, ValueError)) as failure:
            await dialled(1, lambda *_: answer)
        assert isinstance(failure.value, aiotls.ConnectError) or "lookup" in str(failure.value)

    run(main)


def test_a_zone_that_is_not_there(run: Run) -> None:
    """A zone (RFC 4007) names an interface of this machine."""

    async def main() -> None:
        with pytest.raises(aiotls.ConnectError, match="there is no interface nowhere") as failure:
            await dialled(1, lambda *_: "fe80::1%nowhere")
        assert (failure.value.code, failure.value.syscall, failure.value.port) == ("ENODEV", "connect", 1)
        assert failure.value.address == "fe80::1%nowhere"

    run(main)


def test_a_zone_is_used(run: Run) -> None:
    """An address of link scope in the zone of the loopback interface: the system looks for it there."""

    async def main() -> None:
        # The first one: it is called "lo" or "lo0".
        number, loopback = min(sockets.if_nameindex())
        with sockets.socket(sockets.AF_INET6) as below:
            below.setblocking(False)
            expected = below.connect_ex(("fe80::1", 1, 0, number))
        with pytest.raises(aiotls.ConnectError) as failure:
            await dialled(1, lambda *_: f"fe80::1%{loopback}")
        assert failure.value.errno != errno.EINVAL, expected

    run(main)


def test_lookup_that_raises(run: Run) -> None:
    """Its exception passes through unchanged, once, with "lookup" telling of it."""

    async def main() -> None:
        wrong = LookupError("no such name")

        def lookup(host: str, options: Any) -> str:
            raise wrong

        client = dialled(1, lookup)
        told: list[Any] = []
        client.on("lookup", lambda *arguments: told.append(arguments))
        with pytest.raises(LookupError) as failure:
            await client
        assert failure.value is wrong
        assert told == [(wrong, None, None, "a.example.com")]

    run(main)


def test_lookup_that_never_answers(run: Run) -> None:
    """It ends with the socket."""

    async def main() -> None:
        ended = asyncio.Event()

        async def lookup(host: str, options: Any) -> str:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return "127.0.0.1"

        client = dialled(1, lookup)
        await asyncio.sleep(0.01)
        client.destroy()
        await ended.wait()
        await client.wait_closed()

    run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_other_family(run: Run, host: str) -> None:
    """CONN-11: the address that nobody listens on is passed over."""

    async def main() -> None:
        async with serving(greet, host=host) as server:
            client = dialled(port_of(server), lambda *_: ["::1", "127.0.0.1"])
            async with client:
                assert client.remote_address == host
                assert await client.read() == b"a.example.com"

    run(main)


def test_the_race_does_not_wait_for_a_silent_address(run: Run) -> None:
    """RFC 8305: while the first address says nothing, the second is tried after the attempt timeout."""

    async def main() -> None:
        async with black_hole() as port:
            below = sockets.create_server(("127.0.0.1", port))
            async with aiotls.create_server(greet, **server_options()) as server:
                await server.listen(sock=below)
                client = dialled(port, lambda *_: ["::1", "127.0.0.1"], auto_select_family_attempt_timeout=0.02)
                async with client:
                    assert client.remote_address == "127.0.0.1"

    run(main)


def test_without_the_race_only_the_first_address_counts(run: Run) -> None:
    async def main() -> None:
        async with serving(greet) as server:
            client = dialled(port_of(server), lambda *_: ["::1", "127.0.0.1"], auto_select_family=False)
            with pytest.raises(aiotls.ConnectionRefused) as failure:
                await client
            assert failure.value.address == "::1"

    run(main)


def test_all_addresses_refuse(run: Run) -> None:
    """One error, with an address that was tried."""

    async def main() -> None:
        with sockets.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with pytest.raises(aiotls.ConnectError) as failure:
            await dialled(port, lambda *_: ["::1", "127.0.0.1", "127.0.0.2"])
        assert failure.value.code == "ECONNREFUSED"
        assert failure.value.address in ("::1", "127.0.0.1", "127.0.0.2")
        assert failure.value.port == port
        assert failure.value.host == "a.example.com"
        assert isinstance(failure.value, ConnectionRefusedError)

    run(main)


def test_a_local_address_that_is_not_ours(run: Run) -> None:
    async def main() -> None:
        async with serving(greet) as server:
            with pytest.raises(aiotls.ConnectError) as failure:
                await dialled(port_of(server), lambda *_: "127.0.0.1", local_address="192.0.2.1")
            assert failure.value.code == "EADDRNOTAVAIL"
            assert failure.value.local_address == "192.0.2.1"

    run(main)


@pytest.mark.parametrize(("address", "ours"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
@pytest.mark.parametrize("select", [False, True])
def test_a_local_address_of_another_family(run: Run, address: str, ours: str, select: bool) -> None:
    """It is not left out in silence."""

    async def main() -> None:
        async with serving(greet, host=address) as server:
            server.on("connection", lambda _: pytest.fail("it has connected"))
            for host in (address, "a.example.com"):
                options = {"local_address": ours, "lookup": lambda *_: address, "auto_select_family": select}
                client = aiotls.connect(host, port_of(server), **client_options(**options))
                with pytest.raises(aiotls.ConnectError) as failure:
                    await client
                assert failure.value.code == "EINVAL"
                assert failure.value.local_address == ours

    run(main)


def test_lookup_events_name_every_address(run: Run) -> None:
    async def main() -> None:
        async with serving(greet) as server:
            told: list[Any] = []
            client = dialled(port_of(server), lambda *_: ["::1", "127.0.0.1"])
            client.on("lookup", lambda *arguments: told.append(arguments))
            async with client:
                assert told == [
                    (None, "::1", "IPv6", "a.example.com"),
                    (None, "127.0.0.1", "IPv4", "a.example.com"),
                ]

    run(main)
