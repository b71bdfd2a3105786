"""The questions of a server about names and protocols, over everything that can carry TLS."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.names import ClientErrors, answering, common_name, credentials
from tests.support.pairs import KINDS, MemoryDuplex, client_options, gone, server_options, streams, tls_pair
from tests.support.servers import echo

Styled = Callable[[Callable[..., Any]], Callable[..., Any]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def styled(request: pytest.FixtureRequest) -> Styled:
    """Turns a plain function into one of either style."""
    return functools.partial(answering, request.param)


def test_contexts_by_name(run: Run, kind: str, version: str) -> None:
    """SNI-03: a connection handed to a server gets the certificate of its name."""

    async def main() -> None:
        server = aiotls.create_server(echo, **server_options())
        server.add_context("*.example.org", **credentials("*.example.org"))
        for name, expected in (("A.example.org", "*.example.org"), ("localhost", "localhost")):
            async with streams(kind) as (near, far):
                server.handle_connection(far)
                options = client_options(servername=name, max_version=version)
                async with aiotls.connect(socket=near, **options) as client:
                    assert client.authorized
                    assert common_name(client) == expected
        server.close()
        await server.wait_closed()

    run(main)


def test_the_policy_of_a_name(run: Run, kind: str, version: str) -> None:
    """CVE-2026-48928: the name that asks for a client certificate does so over every wire."""

    async def main() -> None:
        server = aiotls.create_server(echo, **server_options())
        server.add_context("secret.example", **credentials("secret.example"), request_cert=True)
        errors = ClientErrors(server)
        async with streams(kind) as (near, far):
            accepted = server.handle_connection(far)
            closed = asyncio.ensure_future(accepted.wait_for("close"))
            client = aiotls.connect(socket=near, **client_options(servername="SECRET.example", max_version=version))
            client.write(b"x")
            with pytest.raises(aiotls.TLSError):
                await client.readexactly(1)
            error, servername = await errors.next()
            assert error.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
            assert servername == "SECRET.example"
            assert await closed is True
            await gone(client)
        server.close()
        await server.wait_closed()
        assert errors.empty

    run(main)


def test_both_callbacks(run: Run, kind: str, version: str, styled: Styled) -> None:
    """SNI-07, ALPN-02: asked on a socket that has no server, each once, with what the client said."""

    async def main() -> None:
        asked: list[Any] = []

        def choose_context(name: str) -> aiotls.SecureContext:
            asked.append(name)
            return aiotls.create_secure_context(**credentials(name))

        def choose_protocol(socket: aiotls.TLSSocket, name: str | bool, protocols: list[str]) -> str:
            asked.append((socket.is_server, name, protocols))
            return protocols[1]

        client = {"servername": "a.example", "alpn_protocols": ["h2", "http/1.1"], "max_version": version}
        server = {"sni_callback": styled(choose_context), "alpn_callback": styled(choose_protocol)}
        async with tls_pair(kind, client=client, server=server) as (near, far):
            assert near.authorized
            assert common_name(near) == "a.example"
            assert near.alpn_protocol == far.alpn_protocol == "http/1.1"
            assert near.servername == far.servername == "a.example"
            assert len(asked) == 2
            assert "a.example" in asked
            assert (True, "a.example", ["h2", "http/1.1"]) in asked
            near.end(b"x" * 100_000)
            assert await far.read() == b"x" * 100_000

    run(main)


@pytest.mark.parametrize("option", ["sni_callback", "alpn_callback"])
def test_callbacks_that_raise(run: Run, kind: str, version: str, styled: Styled, option: str) -> None:
    """CVE-2026-27448, CVE-2026-21637: it fails closed over every wire, and the alert goes out."""

    async def main() -> None:
        wrong = LookupError("a mistake of the user")

        def fail(*_: Any) -> None:
            raise wrong

        client = {"alpn_protocols": ["h2"], "max_version": version}
        async with tls_pair(kind, client=client, server={option: styled(fail)}, secure=False) as (near, far):
            alerted, told = await asyncio.gather(near, far, return_exceptions=True)
            assert told is wrong
            assert isinstance(alerted, aiotls.AlertReceived)
            assert alerted.alert == 80

    run(main)


def test_set_key_cert(run: Run, kind: str, version: str, styled: Styled) -> None:
    """ALPN-02: the certificate of one connection, over every wire."""

    def choose(socket: aiotls.TLSSocket, _name: str | bool, protocols: list[str]) -> str:
        socket.set_key_cert(**credentials("acme"))
        return protocols[0]

    async def main() -> None:
        client = {"servername": "acme", "alpn_protocols": ["acme-tls/1"], "max_version": version}
        async with tls_pair(kind, client=client, server={"alpn_callback": styled(choose)}) as (near, far):
            assert near.authorized
            assert near.get_peer_x509_certificate() == far.get_x509_certificate()
            assert far.alpn_protocol == "acme-tls/1"

    run(main)


def test_never_answered(run: Run, kind: str) -> None:
    """Failure model 19: `handshake_timeout` ends what waits for an answer, over every wire."""

    async def main() -> None:
        async def never(*_: Any) -> None:
            await asyncio.Event().wait()

        server = {"sni_callback": never, "handshake_timeout": 0.05}
        async with tls_pair(kind, server=server, secure=False) as (near, far):
            lost, late = await asyncio.gather(near, far, return_exceptions=True)
            assert isinstance(late, aiotls.HandshakeTimeout)
            assert isinstance(lost, aiotls.TLSError)

    run(main)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_client_hello_in_pieces(run: Run, version: str, styled: Styled, size: int) -> None:
    """The questions are asked once, when the whole ClientHello is there."""

    async def main() -> None:
        asked: list[Any] = []
        options = {
            "sni_callback": styled(asked.append),
            "alpn_callback": styled(lambda _socket, _name, protocols: protocols[0]),
        }
        near, far = MemoryDuplex.pair()
        between, other = MemoryDuplex.pair()
        server = aiotls.TLSSocket(far, is_server=True, **server_options(**options))
        client = aiotls.connect(socket=other, **client_options(alpn_protocols=["h2"], max_version=version))

        async def pump(source: MemoryDuplex, sink: MemoryDuplex, piece: int) -> None:
            while data := await source.read(65536):
                for start in range(0, len(data), piece):
                    sink.write(data[start : start + piece])
                    await sink.drain()
            sink.write_eof()

        pumps = asyncio.gather(pump(between, near, size), pump(near, between, 65536))
        await asyncio.gather(client, server)
        assert asked == ["localhost"]
        assert client.alpn_protocol == "h2"
        client.end(b"x")
        assert await server.read() == b"x"
        await gone(client, server)
        await pumps

    run(main)
