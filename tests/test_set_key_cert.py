"""set_key_cert: the certificate of one connection, chosen while its handshake asks."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.names import answering, common_name, credentials
from tests.support.pairs import gone, tls_pair
from tests.support.pki import Named, named
from tests.support.servers import echo, serving, to

Styled = Callable[[Callable[..., Any]], Callable[..., Any]]


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def styled(request: pytest.FixtureRequest) -> Styled:
    """Turns a plain function into one of either style."""
    return functools.partial(answering, request.param)


@pytest.mark.parametrize("form", ["options", "context"])
@pytest.mark.parametrize("limit", ["min_version", "max_version"])
def test_alpn_02_set_key_cert(run: Run, pki: Named, styled: Styled, form: str, limit: str) -> None:
    """ALPN-02: the certificate of this one connection; the versions of what it comes from do not count."""

    async def main() -> None:
        alternate = {**credentials("acme"), limit: "TLSv1.2"}
        context = aiotls.create_secure_context(**alternate)
        asked: list[Any] = []

        def choose(socket: aiotls.TLSSocket, servername: str | bool, protocols: list[str]) -> str | None:
            asked.append((servername, protocols))
            if "acme-tls/1" not in protocols:
                return protocols[0]
            if form == "options":
                socket.set_key_cert(**alternate)
            else:
                socket.set_key_cert(context)
            return "acme-tls/1"

        own = {**credentials(pki.leaf_a), "min_version": "TLSv1.3"}
        async with serving(echo, alpn_callback=styled(choose), **own) as server:
            for protocol, certificate in (("acme-tls/1", "acme"), ("h2", "agent1"), ("acme-tls/1", "acme")):
                options = {"servername": False, "reject_unauthorized": False, "alpn_protocols": [protocol]}
                async with to(server, **options) as client:
                    assert client.get_protocol() == "TLSv1.3"
                    assert client.alpn_protocol == protocol
                    assert common_name(client) == certificate
            assert asked == [(False, ["acme-tls/1"]), (False, ["h2"]), (False, ["acme-tls/1"])]

    run(main)


def test_alpn_02_set_key_cert_of_any_version(run: Run, version: str, styled: Styled) -> None:
    """ALPN-02: it goes before the context that the name has chosen, and the socket knows it as its own."""

    async def main() -> None:
        own: asyncio.Queue[Any] = asyncio.Queue()

        async def listener(socket: aiotls.TLSSocket) -> None:
            own.put_nowait(socket.get_x509_certificate())
            await echo(socket)

        def choose(socket: aiotls.TLSSocket, _name: Any, protocols: list[str]) -> str:
            socket.set_key_cert(**credentials("acme"))
            return protocols[0]

        async with serving(listener, alpn_callback=styled(choose)) as server:
            server.add_context("a.example.com", **credentials("a.example.com"))
            for name in ("localhost", "a.example.com"):
                options = {"servername": name, "alpn_protocols": ["h2"], "reject_unauthorized": False}
                async with to(server, max_version=version, **options) as client:
                    assert common_name(client) == "acme"
                    assert await own.get() == client.get_peer_x509_certificate()

    run(main)


def test_alpn_02_set_key_cert_that_fails(run: Run, version: str) -> None:
    """ALPN-02: what has no certificate raises and leaves the identity as it was."""

    async def main() -> None:
        caught: list[Any] = []

        def choose(socket: aiotls.TLSSocket, _name: Any, protocols: list[str]) -> str:
            wrong: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
                ((), {}),
                ((None,), {}),
                (({},), {}),
                ((aiotls.create_secure_context(),), {}),
                ((), {"min_version": "TLSv1.2"}),
                ((), {"cert": named.server_ec.chain_pem, "key": named.leaf_a.key_pem}),
                (("cert",), {}),
                ((1,), {}),
            ]
            for arguments, options in wrong:
                try:
                    socket.set_key_cert(*arguments, **options)
                except Exception as error:
                    caught.append(error)
                else:
                    caught.append((arguments, options))
            return protocols[0]

        async with (
            serving(echo, alpn_callback=choose) as server,
            to(server, alpn_protocols=["h2"], max_version=version) as client,
        ):
            assert common_name(client) == "localhost"
        assert [type(error) for error in caught if not isinstance(error, aiotls.TLSError)] == []
        assert len(caught) == 8
        assert [error.code for error in caught[-2:]] == ["ERR_INVALID_ARG_TYPE"] * 2

    run(main)


def test_set_key_cert_at_the_wrong_moment(run: Run) -> None:
    """On a client, and after the handshake, there is nothing to choose."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            for socket in (client, server):
                with pytest.raises(aiotls.StateError):
                    socket.set_key_cert(**credentials("acme"))
            await gone(client, server)
            with pytest.raises(aiotls.StateError):
                server.set_key_cert(**credentials("acme"))

    run(main)
