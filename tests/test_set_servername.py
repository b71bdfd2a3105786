"""set_servername: a client names its server after `connect`, and before the handshake."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import KINDS, client_options, gone, server_options, streams, tls_pair
from tests.support.pki import named
from tests.support.servers import port_of, serving
from tests.support.sessions import first_session, greet
from tests.support.stages import VERSIONS, staged

by_version = pytest.mark.parametrize("version", VERSIONS)

Listener = Callable[[aiotls.TLSSocket], Any]


def named_to(names: list[Any]) -> Listener:
    """A listener that writes down the name that the client has sent."""

    def listen(socket: aiotls.TLSSocket) -> None:
        names.append(socket.servername)
        socket.end(b"hello")

    return listen


@by_version
@pytest.mark.parametrize("before", ["localhost", None, False, "other.test"])
def test_the_name_that_counts(run: Run, before: Any, version: str) -> None:
    """It is sent, it is what the certificate is verified for, and it is what `servername` tells."""

    async def main() -> None:
        names: list[Any] = []
        asked: list[str] = []

        def check(host: str, certificate: aiotls.PeerCertificate) -> None:
            asked.append(host)
            aiotls.check_server_identity(host, certificate)

        async with serving(named_to(names), max_version=version) as server:
            options = client_options(servername=before, check_server_identity=check)
            client = aiotls.connect("127.0.0.1", port_of(server), **options)
            client.set_servername("www.example.com")
            async with client:
                assert client.servername == "www.example.com"
                assert client.authorized
                assert await client.read() == b"hello"
        assert names == asked == ["www.example.com"]

    run(main)


@by_version
def test_a_name_that_the_certificate_does_not_have(run: Run, version: str) -> None:
    """The name of before, which it has, is of no more use."""

    async def main() -> None:
        async with serving(greet, max_version=version) as server:
            client = aiotls.connect("127.0.0.1", port_of(server), **client_options())
            client.set_servername("other.test")
            with pytest.raises(aiotls.ServerIdentityError) as refusal:
                await client
            assert refusal.value.host == "other.test"
            assert refusal.value.code == "ERR_TLS_CERT_ALTNAME_INVALID"

    run(main)


@by_version
def test_other_clients_keep_theirs(run: Run, version: str) -> None:
    """Clients that were given the same options have nothing else in common."""

    async def main() -> None:
        names: list[Any] = []
        async with serving(named_to(names), max_version=version) as server:
            context = aiotls.create_secure_context(ca=named.ca.cert_pem)
            clients = [
                aiotls.connect("127.0.0.1", port_of(server), servername="localhost", secure_context=context)
                for _ in range(3)
            ]
            clients[1].set_servername("www.example.com")
            for client, name in zip(clients, ("localhost", "www.example.com", "localhost"), strict=True):
                async with client:
                    assert client.servername == name
                    assert await client.read() == b"hello"
        assert sorted(names) == ["localhost", "localhost", "www.example.com"]

    run(main)


@by_version
def test_the_server_chooses_by_it(run: Run, version: str) -> None:
    """The certificate that was added for the name is shown."""

    async def main() -> None:
        other = named.ca.issue(["added.test"], key="ec")
        async with serving(greet, max_version=version) as server:
            server.add_context("added.test", cert=other.chain_pem, key=other.key_pem)
            client = aiotls.connect("127.0.0.1", port_of(server), **client_options())
            client.set_servername("added.test")
            async with client:
                shown = client.get_peer_certificate()
                assert shown is not None
                assert shown.raw == other.der

    run(main)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("LOCALHOST", "localhost"),
        ("localhost.", "localhost"),
        ("WWW.Example.COM", "www.example.com"),
        ("www。example。com", "www.example.com"),
    ],
)
def test_it_is_put_in_order(run: Run, given: str, sent: str) -> None:
    """CVE-2026-48618: the same normal form as that of the option, for the name that is sent and the one verified."""

    async def main() -> None:
        names: list[Any] = []
        async with serving(named_to(names)) as server:
            for way in ("method", "option"):
                client = aiotls.connect(
                    "127.0.0.1", port_of(server), **client_options(**({"servername": given} if way == "option" else {}))
                )
                if way == "method":
                    client.set_servername(given)
                async with client:
                    assert client.authorized
                    assert await client.read() == b"hello"
        assert names[0] == names[1]
        assert names[0].lower() == sent

    run(main)


def test_the_last_one_counts(run: Run) -> None:
    async def main() -> None:
        names: list[Any] = []
        async with serving(named_to(names)) as server:
            client = aiotls.connect("127.0.0.1", port_of(server), **client_options())
            for name in ("one.example.com", "two.example.com", "three.example.com"):
                client.set_servername(name)
            async with client:
                assert await client.read() == b"hello"
        assert names == ["three.example.com"]

    run(main)


@pytest.mark.parametrize("when", ["lookup", "event"])
def test_until_the_path_is_there(run: Run, when: str) -> None:
    """While it is looked up and dialed there is time; "connect" comes too late."""

    async def main() -> None:
        names: list[Any] = []
        late: list[Any] = []
        client: aiotls.TLSSocket

        async def look_up(*_: Any) -> str:
            await asyncio.sleep(0)
            if when == "lookup":
                client.set_servername("www.example.com")
            return "127.0.0.1"

        def dialed() -> None:
            with pytest.raises(aiotls.StateError) as refusal:
                client.set_servername("late.example.com")
            late.append(refusal.value.code)

        async with serving(named_to(names)) as server:
            client = aiotls.connect("server.test", port_of(server), **client_options(lookup=look_up))
            if when == "event":
                client.on("lookup", lambda *_: client.set_servername("www.example.com"))
            client.on("connect", dialed)
            async with client:
                assert await client.read() == b"hello"
        assert names == ["www.example.com"]
        assert late == ["ERR_TLS_INVALID_STATE"]

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_over_a_stream_that_was_given(run: Run, kind: str) -> None:
    """In the turn in which it was given, whatever it is."""

    async def main() -> None:
        async with streams(kind) as (near, far):
            server = aiotls.TLSSocket(far, is_server=True, **server_options())
            client = aiotls.connect(socket=near, **client_options(servername="other.test"))
            client.set_servername("www.example.com")
            await asyncio.gather(client, server)
            assert client.authorized
            assert server.servername == "www.example.com"
            with pytest.raises(aiotls.StateError) as refusal:
                client.set_servername("localhost")
            assert refusal.value.code == "ERR_TLS_INVALID_STATE"
            await gone(client, server)

    run(main)


def test_a_socket_that_was_wrapped(run: Run) -> None:
    """`TLSSocket` on the client's side, where nothing has named the server before."""

    async def main() -> None:
        async with streams("socketpair") as (near, far):
            server = aiotls.TLSSocket(far, is_server=True, **server_options())
            client = aiotls.TLSSocket(near, ca=named.ca.cert_pem)
            client.set_servername("www.example.com")
            await asyncio.gather(client, server)
            assert server.servername == "www.example.com"
            await gone(client, server)

    run(main)


@by_version
@pytest.mark.parametrize("first", ["session", "name"])
def test_a_session_is_bound_to_it(run: Run, first: str, version: str) -> None:
    """A session counts for the name that is asked for in the end, in whatever order both were set."""

    async def main() -> None:
        async with serving(greet, max_version=version) as server:
            session = await first_session(server, servername="www.example.com")
            for name, reused in (("www.example.com", True), ("localhost", False)):
                client = aiotls.connect("127.0.0.1", port_of(server), **client_options(servername="other.test"))
                if first == "session":
                    client.set_session(session)
                client.set_servername(name)
                if first == "name":
                    client.set_session(session)
                async with client:
                    assert client.authorized
                    assert client.is_session_reused() is reused
                    assert await client.read()

    run(main)


# ---- what is refused


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%lo"])
def test_an_address(run: Run, address: str) -> None:
    """An address is no server name (RFC 6066, section 3), and the name of before stays."""

    async def main() -> None:
        await refuses(address, aiotls.OptionError, "ERR_INVALID_ARG_VALUE")

    run(main)


@pytest.mark.parametrize("wrong", [1, 1.5, True, b"localhost", ["localhost"], {}, object()])
def test_what_is_no_name(run: Run, wrong: Any) -> None:
    async def main() -> None:
        await refuses(wrong, aiotls.OptionTypeError, "ERR_INVALID_ARG_TYPE")

    run(main)


@pytest.mark.parametrize("wrong", ["local\0host", "x" * 300, "local host"])
def test_a_name_that_cannot_be(run: Run, wrong: str) -> None:
    """CVE-2026-48930: NUL and the like are refused at once."""

    async def main() -> None:
        await refuses(wrong, aiotls.OptionError, "ERR_INVALID_ARG_VALUE")

    run(main)


async def refuses(wrong: Any, kind: type[aiotls.OptionError], code: str) -> None:
    """Sees that it is refused, as the option is, and that it has changed nothing."""
    names: list[Any] = []
    async with serving(named_to(names)) as server:
        with pytest.raises(kind):
            aiotls.connect("127.0.0.1", port_of(server), **client_options(servername=wrong))
        client = aiotls.connect("127.0.0.1", port_of(server), **client_options())
        with pytest.raises(kind) as refusal:
            client.set_servername(wrong)
        assert refusal.value.code == code
        async with client:
            assert await client.read() == b"hello"
    assert names == ["localhost"]


@by_version
@pytest.mark.parametrize("stage", ["shaking", "asking", "secure", "ended", "heard", "closing", "over", "gone"])
def test_too_late(run: Run, stage: str, version: str) -> None:
    """The handshake has begun: a StateError, and what is told stays."""

    async def main() -> None:
        async with staged(stage, "client", version) as scene:
            before = scene.socket.servername
            with pytest.raises(aiotls.StateError) as refusal:
                scene.socket.set_servername("www.example.com")
            assert refusal.value.code == "ERR_TLS_INVALID_STATE"
            assert scene.socket.servername == before

    run(main)


def test_before_it_was_dialed_and_destroyed(run: Run) -> None:
    async def main() -> None:
        async with staged("dialing", "client", "TLSv1.3") as scene:
            scene.socket.destroy()
            with pytest.raises(aiotls.StateError):
                scene.socket.set_servername("www.example.com")

    run(main)


@by_version
@pytest.mark.parametrize("stage", ["created", "shaking", "asking", "secure", "gone"])
def test_a_server(run: Run, stage: str, version: str) -> None:
    """The name is the client's to choose."""

    async def main() -> None:
        async with staged(stage, "server", version) as scene:
            with pytest.raises(aiotls.StateError) as refusal:
                scene.socket.set_servername("www.example.com")
            assert refusal.value.code == "ERR_TLS_SNI_FROM_SERVER"
        async with tls_pair(secure=False) as (client, server):
            with pytest.raises(aiotls.StateError):
                server.set_servername("www.example.com")
            await asyncio.gather(client, server)

    run(main)
