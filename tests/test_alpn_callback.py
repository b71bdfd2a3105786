"""alpn_callback: the user's function that chooses the protocol, plain or async."""

import asyncio
import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.names import Accepted, ClientErrors, answering, common_name, credentials, refused, shown
from tests.support.pairs import MemoryDuplex, client_options, gone, server_options, tcp_pair, tls_pair
from tests.support.pki import named
from tests.support.servers import echo, serving, to

Styled = Callable[[Callable[..., Any]], Callable[..., Any]]

INTERNAL_ERROR = "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR"
NO_APPLICATION_PROTOCOL = "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
INVALID_RESULT = "ERR_TLS_ALPN_CALLBACK_INVALID_RESULT"


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def styled(request: pytest.FixtureRequest) -> Styled:
    """Turns a plain function into one of either style."""
    return functools.partial(answering, request.param)


# ---- a list of protocols


def test_alpn_01_a_wrapped_socket(run: Run, version: str) -> None:
    """ALPN-01: what a plain server accepted is wrapped; "secure" fires there, not "secure_connect"."""

    async def main() -> None:
        near, far = await tcp_pair()
        server = aiotls.TLSSocket(far, is_server=True, **server_options(alpn_protocols=["http/1.1"]))
        events: list[str] = []
        for name in ("secure", "secure_connect"):
            server.on(name, lambda *_, name=name: events.append(name))
        options = client_options(alpn_protocols=["h2", "http/1.1"], max_version=version)
        client = aiotls.connect(socket=near, **options)
        await asyncio.gather(client, server)
        assert server.alpn_protocol == client.alpn_protocol == "http/1.1"
        assert events == ["secure"]
        await gone(client, server)

    run(main)


def test_alpn_03_options_are_not_modified(run: Run) -> None:
    """ALPN-03: the lists and dicts that a server was made with are the user's."""

    async def main() -> None:
        protocols = ["http/1.1", "h2"]
        own = [named.server_ec.chain_pem]
        keys: Any = [{"pem": named.server_ec.key_pem}]
        options: dict[str, Any] = {"alpn_protocols": protocols, "cert": own, "key": keys}
        server = aiotls.create_server(**options)
        server.set_secure_context(cert=own, key=keys)
        server.add_context("a.example", cert=own, key=keys)
        assert options == {"alpn_protocols": protocols, "cert": own, "key": keys}
        assert protocols == ["http/1.1", "h2"]
        assert own == [named.server_ec.chain_pem]
        assert keys == [{"pem": named.server_ec.key_pem}]

    run(main)


async def extension_of(protocols: Any) -> bytes:
    """The ALPN extension in the ClientHello of a client with these protocols, from its number on."""
    near, far = MemoryDuplex.pair()
    client = aiotls.connect(socket=near, **client_options(alpn_protocols=protocols))
    hello = await far.read(65536)
    await gone(client)
    _, number, rest = hello.partition(b"\x00\x10\x00\x0b\x00\x09")
    return number + rest[:9]


def test_alpn_03_the_wire_form(run: Run) -> None:
    """ALPN-03: a list and its wire form are the same on the wire."""

    async def main() -> None:
        expected = b"\x00\x10\x00\x0b\x00\x09\x08http/1.1"
        for protocols in (["http/1.1"], [b"http/1.1"], b"\x08http/1.1"):
            assert await extension_of(protocols) == expected
            async with (
                serving(echo, alpn_protocols=protocols) as server,
                to(server, alpn_protocols=protocols) as client,
            ):
                assert client.alpn_protocol == "http/1.1"

    run(main)


# ---- answers of the callback


def test_it_chooses(run: Run, version: str, styled: Styled) -> None:
    """ALPN-02, ALPN-03: it gets the socket, the name and the protocols of the client, in the client's order."""

    async def main() -> None:
        asked: list[tuple[Any, ...]] = []

        def choose(socket: aiotls.TLSSocket, *arguments: Any) -> str:
            asked.append((socket, *arguments, socket.secure_connecting))
            return "http/1.1"

        offered = ["h2", "http/1.1", "spdy/3"]
        async with tls_pair(
            "tcp",
            client={"alpn_protocols": offered, "max_version": version},
            server={"alpn_callback": styled(choose)},
        ) as (client, server):
            assert client.alpn_protocol == server.alpn_protocol == "http/1.1"
            assert asked == [(server, "localhost", offered, True)]

    run(main)


def test_on_a_server(run: Run, version: str, styled: Styled) -> None:
    """Each connection has its own question; `servername` is False when the client sent none."""

    async def main() -> None:
        asked: list[tuple[str | bool, list[str]]] = []

        def choose(socket: aiotls.TLSSocket, servername: str | bool, protocols: list[str]) -> str:
            assert socket.server is server
            asked.append((servername, protocols))
            return protocols[-1]

        accepted = Accepted()
        async with serving(accepted, alpn_callback=styled(choose)) as server:
            for name, offered in (("a.example.com", ["h2", "x"]), (False, ["h3"])):
                async with to(server, servername=name, alpn_protocols=offered, max_version=version) as client:
                    assert client.alpn_protocol == offered[-1]
                assert await accepted.names.get() == name
            assert asked == [("a.example.com", ["h2", "x"]), (False, ["h3"])]

    run(main)


def test_not_asked_when_nothing_is_offered(run: Run, version: str, styled: Styled) -> None:
    """Without the extension there is no protocol, and no question."""

    async def main() -> None:
        asked: list[Any] = []
        async with serving(echo, alpn_callback=styled(lambda *arguments: asked.append(arguments))) as server:
            nothing: list[Any] = [None, []]
            for none in nothing:
                async with to(server, alpn_protocols=none, max_version=version) as client:
                    assert client.alpn_protocol is False
                    client.end(b"x")
                    assert await client.read() == b"x"
            assert asked == []

    run(main)


@pytest.mark.parametrize("protocol", [b"\x0a\x0a", "é".encode(), b"\xff\xfe", b"x" * 255, b"a,b\n"])
def test_names_that_are_no_words(run: Run, version: str, protocol: bytes) -> None:
    """What was offered is a valid answer, whatever its bytes; both sides call it by the same name."""

    async def main() -> None:
        async with tls_pair(
            client={"alpn_protocols": [b"h2", protocol], "max_version": version},
            server={"alpn_callback": lambda _socket, _name, protocols: protocols[1]},
        ) as (client, server):
            assert client.alpn_protocol == server.alpn_protocol
            assert client.alpn_protocol not in ("h2", False)

    run(main)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, "ERR_SSL_NO_APPLICATION_PROTOCOL"),
        ("spdy/3", INVALID_RESULT),
        ("H2", INVALID_RESULT),
        ("h2,http/1.1", INVALID_RESULT),
        ("", INVALID_RESULT),
        ("x" * 300, INVALID_RESULT),
        (1, INVALID_RESULT),
        (False, INVALID_RESULT),
        (["h2"], INVALID_RESULT),
    ],
)
def test_alpn_02_answers_that_refuse(run: Run, version: str, styled: Styled, answer: Any, code: str) -> None:
    """ALPN-02: None is no overlap, anything that was not offered is an error; the client gets the same alert."""

    async def main() -> None:
        secure = Accepted()
        async with serving(secure, alpn_callback=styled(lambda *_: answer)) as server:
            errors = ClientErrors(server)
            error = await refused(server, alpn_protocols=["h2", "http/1.1"], max_version=version)
            assert (error.code, error.alert) == (NO_APPLICATION_PROTOCOL, 120)
            told, servername = await errors.next()
            assert told.code == code
            assert servername == "localhost"
            assert await shown(server, "localhost", max_version=version) == "localhost"
            assert errors.empty
            assert secure.names.qsize() == 1

    run(main)


def test_an_exception_fails_closed(run: Run, version: str, styled: Styled) -> None:
    """CVE-2026-21637: that very exception is told, the client gets internal_error, the next one is served."""

    async def main() -> None:
        wrong = LookupError("a mistake of the user")

        def choose(_socket: Any, _name: Any, protocols: list[str]) -> str:
            if protocols == ["bad"]:
                raise wrong
            return protocols[0]

        async with serving(echo, alpn_callback=styled(choose)) as server:
            errors = ClientErrors(server)
            for _ in range(2):
                error = await refused(server, alpn_protocols=["bad"], max_version=version)
                assert (error.code, error.alert) == (INTERNAL_ERROR, 80)
                assert (await errors.next())[0] is wrong
                async with to(server, alpn_protocols=["good"], max_version=version) as client:
                    assert client.alpn_protocol == "good"
            assert errors.empty

    run(main)


def test_an_exception_without_a_server(run: Run, styled: Styled) -> None:
    """It is raised to who awaits the socket."""

    async def main() -> None:
        wrong = LookupError("a mistake of the user")

        def choose(*_: Any) -> None:
            raise wrong

        options = {"alpn_protocols": ["h2"]}
        async with tls_pair(client=options, server={"alpn_callback": styled(choose)}, secure=False) as (near, far):
            alerted, told = await asyncio.gather(near, far, return_exceptions=True)
            assert told is wrong
            assert isinstance(alerted, aiotls.AlertReceived)
            assert alerted.code == INTERNAL_ERROR

    run(main)


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, type("Odd", (BaseException,), {})])
def test_what_is_no_exception_fails_closed(run: Run, styled: Styled, kind: type[BaseException]) -> None:
    """Failure model 18: whatever is raised, the handshake fails, one error is told, and the server lives."""

    async def main() -> None:
        def choose(_socket: Any, _name: Any, protocols: list[str]) -> str:
            if protocols == ["bad"]:
                raise kind
            return protocols[0]

        async with serving(echo, alpn_callback=styled(choose)) as server:
            errors = ClientErrors(server)
            error = await refused(server, alpn_protocols=["bad"])
            assert error.code == INTERNAL_ERROR
            assert isinstance((await errors.next())[0], BaseException)
            async with to(server, alpn_protocols=["good"]) as client:
                assert client.alpn_protocol == "good"
            assert errors.empty

    run(main)


# ---- together with everything else


def test_with_sni_callback(run: Run, version: str, styled: Styled) -> None:
    """Both are asked, once each, also when the client has to try again (HelloRetryRequest)."""

    async def main() -> None:
        asked: list[Any] = []

        def choose_context(name: str) -> aiotls.SecureContext:
            asked.append(name)
            return context

        def choose_protocol(_socket: Any, name: str | bool, protocols: list[str]) -> str:
            asked.append((name, protocols))
            return protocols[0]

        context = aiotls.create_secure_context(**credentials("a.example.com"))
        callbacks: dict[str, Any] = {"sni_callback": styled(choose_context), "alpn_callback": styled(choose_protocol)}
        async with serving(echo, ecdh_curve="P-256", **callbacks) as server:
            options = {"servername": "a.example.com", "alpn_protocols": ["h2"], "ecdh_curve": "X25519:P-256"}
            async with to(server, max_version=version, **options) as client:
                assert client.alpn_protocol == "h2"
                assert common_name(client) == "a.example.com"
            assert len(asked) == 2
            assert "a.example.com" in asked
            assert ("a.example.com", ["h2"]) in asked

    run(main)


def test_under_a_context_by_name(run: Run, version: str, styled: Styled) -> None:
    """The question is the server's, whichever context the name has chosen."""

    async def main() -> None:
        async with serving(echo, alpn_callback=styled(lambda _socket, _name, protocols: protocols[1])) as server:
            server.add_context("a.example.com", **credentials("a.example.com"))
            options = {"servername": "a.example.com", "alpn_protocols": ["h2", "http/1.1"]}
            async with to(server, max_version=version, **options) as client:
                assert client.alpn_protocol == "http/1.1"
                assert common_name(client) == "a.example.com"

    run(main)


def test_asked_when_a_session_is_resumed(run: Run, version: str, styled: Styled) -> None:
    """Each connection has a protocol of its own (RFC 7301, section 3.1)."""

    async def main() -> None:
        answers = ["h2", "http/1.1", None]
        async with serving(echo, alpn_callback=styled(lambda *_: answers.pop(0))) as server:
            options: dict[str, Any] = {"alpn_protocols": ["h2", "http/1.1"], "max_version": version}
            async with to(server, **options) as client:
                assert client.alpn_protocol == "h2"
                client.write(b"x")
                assert await client.readexactly(1) == b"x"
                session = client.get_session()
            async with to(server, session=session, **options) as client:
                assert client.alpn_protocol == "http/1.1"
                assert client.is_session_reused() is True
            assert (await refused(server, session=session, **options)).alert == 120

    run(main)


def test_never_answered(run: Run, version: str) -> None:
    """Failure model 19: `handshake_timeout` ends the connection, and the callback's task with it."""

    async def main() -> None:
        cancelled = asyncio.Event()

        async def choose(*_: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async with serving(echo, alpn_callback=choose, handshake_timeout=0.1) as server:
            errors = ClientErrors(server)
            with pytest.raises(aiotls.TLSError):
                await to(server, max_version=version, alpn_protocols=["h2"])
            assert (await errors.next())[0].code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            await cancelled.wait()
            assert errors.empty

    run(main)


def test_answered_after_the_client_has_gone(run: Run, version: str) -> None:
    """Failure model 19: the hang-up is what is told, once; the late answer changes nothing."""

    async def main() -> None:
        asked, release = asyncio.Event(), asyncio.Event()

        async def choose(_socket: Any, _name: Any, protocols: list[str]) -> str:
            asked.set()
            with suppress(asyncio.CancelledError):
                await release.wait()
            return protocols[0]

        async with serving(echo, alpn_callback=choose) as server:
            errors = ClientErrors(server)
            client = to(server, max_version=version, alpn_protocols=["h2"])
            client.on("error", lambda _: None)
            await asked.wait()
            await gone(client)
            release.set()
            assert (await errors.next())[0].code == "ECONNRESET"
            async with to(server, alpn_protocols=["h2"]) as client:
                assert client.alpn_protocol == "h2"
            assert errors.empty

    run(main)


def test_the_socket_is_destroyed_inside(run: Run, version: str, styled: Styled) -> None:
    """The user ends the connection instead of answering: nobody is told of an error."""

    async def main() -> None:
        async with serving(echo, alpn_callback=styled(lambda socket, *_: socket.destroy() and None)) as server:
            errors = ClientErrors(server)
            with pytest.raises(aiotls.TLSError):
                await to(server, max_version=version, alpn_protocols=["h2"])
            assert await shown(server, "localhost") == "localhost"
            assert errors.empty

    run(main)


# ---- the option


def test_beside_a_list(run: Run) -> None:
    """Only one of the two can choose: an error when the server, or the socket, is made."""

    async def main() -> None:
        both: dict[str, Any] = {"alpn_protocols": ["h2"], "alpn_callback": lambda *_: None}
        with pytest.raises(aiotls.OptionError, match="alpn_callback") as failure:
            aiotls.create_server(**both)
        assert failure.value.code == "ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS"
        _near, far = MemoryDuplex.pair()
        with pytest.raises(aiotls.OptionError) as failure:
            aiotls.TLSSocket(far, is_server=True, **both)
        assert failure.value.code == "ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS"

    run(main)


@pytest.mark.parametrize("wrong", [1, "h2", ["h2"]])
def test_wrong_callbacks(wrong: Any) -> None:
    """What cannot be called is refused when the server is made."""
    with pytest.raises(TypeError, match="alpn_callback") as failure:
        aiotls.create_server(alpn_callback=wrong)
    assert failure.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]


def test_clients_have_none(run: Run) -> None:
    """It is an option of servers."""

    async def main() -> None:
        with pytest.raises(TypeError, match="alpn_callback"):
            aiotls.connect("127.0.0.1", 1, **client_options(alpn_callback=lambda *_: None))

    run(main)
