"""Failure model 15: tickets that are forged, expired, replayed, or of another server, name or policy.

Each means a full handshake: never an error, and never another identity.
"""

import dataclasses
import os
import random
import ssl
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import Pair, server_options
from tests.support.pki import Named
from tests.support.servers import port_of, serving
from tests.support.sessions import (
    WORDS,
    ForeignClient,
    first_session,
    greet,
    long_ago,
    open_ticket,
    seal_ticket,
    ticket_of,
    visit,
    with_ticket,
)

LENGTH = 48


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_thousand_flipped_bits(pki: Named, version: str) -> None:
    """Failure model 15: a ticket with one wrong bit is nobody's ticket."""
    choice = random.Random(20260115)
    server = aiotls.create_secure_context(**server_options(max_version=version))
    client = aiotls.create_secure_context(ca=pki.ca.cert_pem)

    def connected(ticket: bytes | None) -> Pair:
        pair = Pair(client={"context": client}, server={"context": server})
        if ticket is not None:
            offered = dataclasses.replace(session, data=with_ticket(session.data, ticket))
            pair.client.connection.offer_session(offered)
        pair.run()
        assert pair.client.connection.phase is aiotls.Phase.OPEN
        assert pair.server.connection.phase is aiotls.Phase.OPEN
        assert pair.client.connection.authorized
        certificate = pair.client.connection.peer_certificate()
        assert certificate.raw == pki.server_ec.der
        return pair

    first = connected(None).client.connection.client_session()
    assert first is not None
    session = first
    ticket = ticket_of(session.data)
    assert connected(ticket).server.connection.engine.session_reused()
    for bit in choice.sample(range(len(ticket) * 8), 1000):
        damaged = bytearray(ticket)
        damaged[bit // 8] ^= 1 << bit % 8
        pair = connected(bytes(damaged))
        assert not pair.server.connection.engine.session_reused()
        assert not pair.client.connection.engine.session_reused()


def test_inside_a_ticket(run: Run, version: str) -> None:
    """Tickets made by whoever has the keys: the good one is taken, an expired or a senseless one is not."""

    async def main() -> None:
        key = os.urandom(LENGTH)
        async with serving(greet, max_version=version, ticket_keys=key) as server:
            errors: list[Any] = []
            server.on("tls_client_error", lambda error, _: errors.append(error))
            session = await first_session(server)
            state = open_ticket(ticket_of(session), key)
            for content, reused in (
                (state, True),
                (long_ago(state, 10), True),
                (long_ago(state), False),
                (state[:-1], False),
                (state[1:], False),
                (b"", False),
                (b"\x30\x00", False),
                (b"garbage", False),
                (os.urandom(len(state)), False),
                (bytes(10_000), False),
            ):
                seen = await visit(server, session=with_ticket(session, seal_ticket(content, key)))
                assert seen.reused is reused, content
                assert seen.authorized is True
            assert errors == []

    run(main)


@pytest.mark.parametrize("known", [0, 16])
def test_made_without_the_keys(run: Run, version: str, known: int) -> None:
    """The name of a key, which stands in every ticket, is not enough to make one."""

    async def main() -> None:
        key = os.urandom(LENGTH)
        forged = key[:known] + os.urandom(LENGTH - known)
        async with serving(greet, max_version=version, ticket_keys=key) as server:
            session = await first_session(server)
            ticket = seal_ticket(open_ticket(ticket_of(session), key), forged)
            assert (await visit(server, session=with_ticket(session, ticket))).reused is False

    run(main)


def test_expired(run: Run, version: str) -> None:
    """`session_timeout` of the server that made the ticket counts."""

    async def main() -> None:
        key = os.urandom(LENGTH)
        options: dict[str, Any] = {"max_version": version, "ticket_keys": key}
        async with (
            serving(greet, **options, session_timeout=50) as short,
            serving(greet, **options, session_timeout=5000) as long,
        ):
            for server, reused in ((short, False), (long, True)):
                session = await first_session(server)
                ticket = seal_ticket(long_ago(open_ticket(ticket_of(session), key), 100), key)
                assert (await visit(server, session=with_ticket(session, ticket))).reused is reused

    run(main)


def test_replayed(run: Run, pki: Named, version: str) -> None:
    """A ticket that comes again and again brings the client that it was made for, with its certificate."""

    async def main() -> None:
        seen: list[tuple[Any, ...]] = []

        def note(tls: aiotls.TLSSocket) -> None:
            certificate = tls.get_peer_certificate()
            assert certificate is not None
            seen.append((tls.is_session_reused(), tls.authorized, certificate.raw))

        async with serving(greet, max_version=version, request_cert=True, ca=pki.ca.cert_pem) as server:
            server.on("secure_connection", note)
            for identity in (pki.client, pki.client_ec):
                own = {"cert": identity.chain_pem, "key": identity.key_pem}
                session = await first_session(server, **own)
                for _ in range(4):
                    assert (await visit(server, session=session, **own)).reused is True
                assert seen == [(False, True, identity.der)] + [(True, True, identity.der)] * 4
                seen.clear()

    run(main)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"session_id_context": "one"}, {"session_id_context": "two"}),
        ({}, {"session_id_context": "two"}),
        ({}, {"request_cert": True, "reject_unauthorized": False}),
        ({"request_cert": True, "reject_unauthorized": False}, {"request_cert": True, "reject_unauthorized": True}),
        ({"request_cert": True, "reject_unauthorized": False}, {}),
    ],
)
def test_of_another_policy(run: Run, pki: Named, version: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Equal keys do not carry a client from a lenient server to a strict one."""

    async def main() -> None:
        options: dict[str, Any] = {"max_version": version, "ticket_keys": os.urandom(LENGTH), "ca": pki.ca.cert_pem}
        foreign = ForeignClient(version, identity=pki.client_ec)
        async with serving(greet, **options, **first) as one, serving(greet, **options, **second) as two:
            seen: list[bool] = []
            two.on("secure_connection", lambda tls: seen.append(tls.authorized))
            _, session, _ = await foreign.visit(port_of(one))
            reused, _, words = await foreign.visit(port_of(two), None, session)
            assert (reused, words) == (False, WORDS)
            assert seen == [bool(second.get("request_cert"))]
            reused, _, _ = await foreign.visit(port_of(one), None, session)
            assert reused is True

    run(main)


def test_of_another_name(run: Run, pki: Named, version: str) -> None:
    """A ticket counts for the server name whose context made it, whatever way that name is written."""

    async def main() -> None:
        seen: list[tuple[Any, ...]] = []
        foreign = ForeignClient(version)
        identity: dict[str, Any] = {"cert": pki.server.chain_pem, "key": pki.server.key_pem}
        async with serving(greet, max_version=version) as server:
            server.add_context("a.example.com", **identity)
            server.add_context("b.example.com", **identity)
            server.add_context("strict.example.com", **identity, ca=pki.ca.cert_pem, request_cert=True)
            server.on("secure_connection", lambda tls: seen.append((tls.servername, tls.is_session_reused())))
            port = port_of(server)
            _, session, _ = await foreign.visit(port, "a.example.com")
            with pytest.raises(ssl.SSLError):
                await foreign.visit(port, "strict.example.com", session)
            for name in ("b.example.com", "c.example.com", None):
                reused, _, words = await foreign.visit(port, name, session)
                assert (reused, words) == (False, WORDS)
            reused, _, _ = await foreign.visit(port, "A.EXAMPLE.COM", session)
            assert reused is True
        assert seen == [
            ("a.example.com", False),
            ("b.example.com", False),
            ("c.example.com", False),
            (False, False),
            ("A.EXAMPLE.COM", True),
        ]

    run(main)


def test_of_another_context_of_the_application(run: Run, pki: Named, version: str) -> None:
    """With `sni_callback` a ticket counts for the name that was asked for."""

    async def main() -> None:
        context = aiotls.create_secure_context(cert=pki.server.chain_pem, key=pki.server.key_pem)
        foreign = ForeignClient(version)
        async with serving(greet, max_version=version, sni_callback=lambda _: context) as server:
            port = port_of(server)
            _, session, _ = await foreign.visit(port, "a.example.com")
            for name, expected in (("b.example.com", False), ("a.example.com", True)):
                reused, _, _ = await foreign.visit(port, name, session)
                assert reused is expected

    run(main)
