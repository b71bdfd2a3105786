"""Sessions of our client with OpenSSL, Node and our own server: what is told, what is used, and where it is not."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.node_facts import node
from tests.support.pairs import until
from tests.support.peers import needs, openssl_server
from tests.support.pki import Named, named
from tests.support.servers import port_of, serving
from tests.support.sessions import NEW, RENEWED, ticket_of
from tests.support.wiretap import wiretap

pytestmark = pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}

by_server = pytest.mark.parametrize(
    "kind", [pytest.param("openssl", marks=needs("openssl")), pytest.param("node", marks=needs("node")), "ours"]
)


@dataclass
class Serving:
    """A server and its word about connections."""

    port: int
    renewed: int
    """How many sessions a resumption brings."""
    reused: Callable[[], Awaitable[bool]]
    """Whether the next of its connections was resumed."""


@contextlib.asynccontextmanager
async def started(kind: str, version: str, directory: Path, *flags: str) -> AsyncIterator[Serving]:
    """A server for localhost and \\*.example.com."""
    if kind == "openssl":
        files = named.server.write(directory)
        own = ("-cert", files.chain, "-key", files.key)
        async with openssl_server(*own, VERSION_FLAGS[version], *flags) as server:
            seen = 0

            async def reused() -> bool:
                nonlocal seen
                seen += 1
                blocks = rf"(?:[\s\S]*?^CIPHER is .*$([\s\S]*?)^Secure Renegotiation IS){{{seen}}}"
                return "Reused session-id" in (await server.saw(blocks))[1]

            yield Serving(server.port, RENEWED[version], reused)
    elif kind == "node":
        async with node("server", named.server, max_version=version) as peer:

            async def told() -> bool:
                return bool((await peer.event("facts"))["reused"])

            yield Serving(peer.port, 0, told)
    else:
        identity: dict[str, Any] = {"cert": named.server.chain_pem, "key": named.server.key_pem}
        resumed: asyncio.Queue[bool] = asyncio.Queue()

        def listener(socket: aiotls.TLSSocket) -> None:
            resumed.put_nowait(bool(socket.is_session_reused()))
            socket.resume()

        async with serving(listener, max_version=version, **identity) as own_server:
            yield Serving(port_of(own_server), RENEWED[version], resumed.get)


@dataclass
class Visit:
    """What a client has seen of one connection."""

    reused: bool | None
    authorized: bool
    sessions: list[bytes] = field(default_factory=list)
    """Of the event "session"."""
    tickets: list[bytes | None] = field(default_factory=list)
    """What `get_tls_ticket` said in each of these events."""
    last: bytes | None = None
    """What `get_session` said at the end."""
    ticket: bytes | None = None
    """What `get_tls_ticket` said at the end."""


async def visit(
    server: Serving,
    version: str,
    session: bytes | None = None,
    *,
    new: int | None = None,
    port: int = 0,
    way: str = "method",
    **options: Any,
) -> Visit:
    """Connects and waits for as many sessions as are to come.

    Args:
        server: Whom to visit.
        version: The protocol version.
        session: What to offer.
        new: How many sessions a full handshake brings, if not the usual number.
        port: Of a proxy to go through.
        way: How to offer it: ``"method"`` or ``"option"``.
        options: Of the client.
    """
    chosen = {"ca": named.ca.cert_pem, "close_timeout": 0.1, "servername": "localhost", **options}
    if way == "option":
        chosen["session"] = session
    client = aiotls.connect("127.0.0.1", port or server.port, **chosen)
    seen = Visit(None, False)

    def brought(data: bytes) -> None:
        seen.sessions.append(data)
        seen.tickets.append(client.get_tls_ticket())
        assert client.get_session() == data

    client.on("session", brought)
    if session is not None and way == "method":
        client.set_session(session)
    async with client:
        seen.reused, seen.authorized = client.is_session_reused(), client.authorized
        expected = server.renewed if seen.reused else NEW[version] if new is None else new
        await until(lambda: len(seen.sessions) >= expected)
        seen.last, seen.ticket = client.get_session(), client.get_tls_ticket()
    assert len(seen.sessions) == expected
    return seen


@by_server
def test_what_is_told(run: Run, kind: str, version: str, tmp_path: Path) -> None:
    """ "session" comes as often as tickets do; each session has its ticket, and the last one is the current one."""

    async def main() -> None:
        async with started(kind, version, tmp_path) as server:
            first = await visit(server, version)
            assert (first.reused, first.authorized, await server.reused()) == (False, True, False)
            assert len(set(first.sessions)) == len(first.sessions)
            assert first.tickets == [ticket_of(session) for session in first.sessions]
            assert first.last == first.sessions[-1]
            assert first.ticket == first.tickets[-1]

    run(main)


@by_server
def test_what_is_used(run: Run, kind: str, version: str, tmp_path: Path) -> None:
    """Each of the sessions is resumed, by the method and by the option; the server says the same."""

    async def main() -> None:
        async with started(kind, version, tmp_path) as server:
            first = await visit(server, version)
            assert not await server.reused()
            for session in first.sessions:
                again = await visit(server, version, session)
                assert (again.reused, again.authorized, await server.reused()) == (True, True, True)
            by_option = await visit(server, version, first.last, way="option")
            assert (by_option.reused, await server.reused()) == (True, True)

    run(main)


@by_server
@pytest.mark.parametrize("way", ["option", "method"])
def test_another_name(run: Run, kind: str, version: str, way: str, tmp_path: Path) -> None:
    """CVE-2026-48934: verified for one name, it is not offered for another, although its certificate has both."""

    async def main() -> None:
        async with started(kind, version, tmp_path) as server:
            first = await visit(server, version)
            assert not await server.reused()
            other = await visit(server, version, first.last, way=way, servername="www.example.com")
            assert (other.reused, other.authorized, await server.reused()) == (False, True, False)
            back = await visit(server, version, first.last)
            assert (back.reused, await server.reused()) == (True, True)

    run(main)


@by_server
def test_not_verified(run: Run, pki: Named, kind: str, version: str, tmp_path: Path) -> None:
    """CVE-2020-8172: made without verification, it is of no use to a client that verifies."""

    async def main() -> None:
        async with started(kind, version, tmp_path) as server:
            untrusting: dict[str, Any] = {"ca": pki.ca_b.cert_pem, "reject_unauthorized": False}
            first = await visit(server, version, **untrusting)
            assert (first.authorized, await server.reused()) == (False, False)
            second = await visit(server, version, first.last)
            assert (second.reused, second.authorized, await server.reused()) == (False, True, False)
            with pytest.raises(aiotls.VerificationError):
                await visit(server, version, second.last, ca=pki.ca_b.cert_pem)

    run(main)


@needs("openssl", "node")
def test_of_another_server(run: Run, version: str, tmp_path: Path) -> None:
    """Whoever cannot read a ticket makes a full handshake; neither side is harmed."""

    async def main() -> None:
        sessions: dict[str, bytes | None] = {}
        for _ in range(2):
            for kind, other in (("openssl", "node"), ("node", "ours"), ("ours", "openssl")):
                async with started(kind, version, tmp_path) as server:
                    seen = await visit(server, version, sessions.get(other))
                    assert (seen.reused, seen.authorized, await server.reused()) == (False, True, False)
                    sessions[kind] = seen.last

    run(main)


@by_server
def test_the_ticket_on_the_wire(run: Run, kind: str, tmp_path: Path) -> None:
    """Under TLS 1.2 it passes in plain: from the server, and back in the ClientHello of the next connection."""

    async def main() -> None:
        async with started(kind, "TLSv1.2", tmp_path) as server:
            async with wiretap(server.port) as tap:
                first = await visit(server, "TLSv1.2", port=tap.port)
            assert not await server.reused()
            assert first.ticket
            assert first.ticket in tap.sent["server"]
            assert first.ticket not in tap.sent["client"]
            async with wiretap(server.port) as tap:
                again = await visit(server, "TLSv1.2", first.last, port=tap.port)
            assert await server.reused()
            assert again.ticket == first.ticket
            assert first.ticket in tap.sent["client"]
            async with wiretap(server.port) as tap:
                await visit(server, "TLSv1.2", first.last, port=tap.port, servername="www.example.com")
            assert not await server.reused()
            assert first.ticket not in tap.sent["client"]

    run(main)


@needs("openssl")
def test_without_tickets(run: Run, tmp_path: Path) -> None:
    """A session of TLS 1.2 with an identifier: there is one to tell of, and no ticket."""

    async def main() -> None:
        async with started("openssl", "TLSv1.2", tmp_path, "-no_ticket") as server:
            first = await visit(server, "TLSv1.2")
            assert (first.ticket, first.tickets) == (None, [None])
            assert first.last is not None
            again = await visit(server, "TLSv1.2", first.last)
            assert (again.reused, again.ticket) == (True, None)

    run(main)


@needs("openssl")
@pytest.mark.parametrize("flags", [("-no_ticket", "-no_cache"), ("-num_tickets", "0")], ids=["TLSv1.2", "TLSv1.3"])
def test_without_sessions(run: Run, request: pytest.FixtureRequest, flags: tuple[str, ...], tmp_path: Path) -> None:
    """A server that gives nothing to resume: no event, no session, no ticket."""
    version = "TLSv1.2" if "-no_cache" in flags else "TLSv1.3"

    async def main() -> None:
        async with started("openssl", version, tmp_path, *flags) as server:
            seen = await visit(server, version, new=0)
            assert (seen.sessions, seen.last, seen.ticket) == ([], None, None)

    run(main)


@by_server
def test_a_damaged_ticket(run: Run, kind: str, version: str, tmp_path: Path) -> None:
    """Failure model 15: a ticket that has suffered means a full handshake, with every server."""

    async def main() -> None:
        async with started(kind, version, tmp_path) as server:
            first = await visit(server, version)
            assert not await server.reused()
            assert first.last is not None
            assert first.ticket is not None
            for position in (0, len(first.ticket) // 2, len(first.ticket) - 1):
                damaged = bytearray(first.ticket)
                damaged[position] ^= 1
                session = re.sub(re.escape(first.ticket), lambda _: bytes(damaged), first.last)  # noqa: B023
                seen = await visit(server, version, session)
                assert (seen.reused, seen.authorized, await server.reused()) == (False, True, False)

    run(main)


def test_one_after_the_other(run: Run, version: str, tmp_path: Path) -> None:
    """RFC 8446, C.4: each connection uses the session that the one before has brought."""

    async def main() -> None:
        async with started("ours", version, tmp_path) as server:
            session: bytes | None = None
            tickets: set[bytes | None] = set()
            for number in range(6):
                seen = await visit(server, version, session)
                assert seen.reused is await server.reused() is (number > 0)
                session = seen.last
                tickets.add(seen.ticket)
            assert len(tickets) == (1 if version == "TLSv1.2" else 6)

    run(main)
