"""sni_callback: the user's function that chooses the context for a name, plain or async."""

import asyncio
import functools
import gc
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.names import (
    Accepted,
    ClientErrors,
    answering,
    common_name,
    credentials,
    refused,
    shown,
    shown_to_another,
)
from tests.support.pairs import MemoryDuplex, client_options, server_options
from tests.support.pki import Named
from tests.support.servers import echo, port_of, serving, to

Styled = Callable[[Callable[..., Any]], Callable[..., Any]]

INTERNAL_ERROR = "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR"
HANDSHAKE_FAILURE = ("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE", "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE")
NO_CERTIFICATE_OF_OURS = {
    "TLSv1.2": ("ERR_SSL_NO_SHARED_CIPHER",),
    "TLSv1.3": ("ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM",),
}


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def styled(request: pytest.FixtureRequest) -> Styled:
    """Turns a plain function into one of either style."""
    return functools.partial(answering, request.param)


# ---- answers


def test_sni_04_answers(run: Run, pki: Named, version: str, styled: Styled) -> None:
    """SNI-04: contexts for known names, the default one for others, "Invalid SNI context" for what is none."""

    async def main() -> None:
        contexts: dict[str, Any] = {
            "a.example.com": aiotls.create_secure_context(**credentials(pki.leaf_a), ca=pki.ca_b.cert_pem),
            "b.example.com": aiotls.create_secure_context(**credentials(pki.leaf_b)),
            "c.another.com": {},
        }
        accepted = Accepted()
        own = {**credentials(pki.self_rsa), "request_cert": True, "reject_unauthorized": False}
        async with serving(accepted, sni_callback=styled(contexts.get), **own) as server:
            errors = ClientErrors(server)
            for name, identity, ca, client_error, authorized in (
                ("a.example.com", pki.leaf_a, pki.ca_a, "ERR_TLS_CERT_ALTNAME_INVALID", False),
                ("a.example.com", pki.leaf_b_client, pki.ca_a, "ERR_TLS_CERT_ALTNAME_INVALID", True),
                ("b.example.com", pki.self_rsa, pki.ca_b, "ERR_TLS_CERT_ALTNAME_INVALID", False),
                ("c.wrong.com", pki.leaf_b_client, pki.ca_b, "DEPTH_ZERO_SELF_SIGNED_CERT", False),
            ):
                options = {"servername": name, "ca": ca.cert_pem, "max_version": version, **credentials(identity)}
                async with to(server, reject_unauthorized=False, **options) as client:
                    assert client.authorization_error == client_error
                    assert await accepted.names.get() == name
                    assert (await accepted.peers.get())[0] is authorized
            assert errors.empty
            error = await refused(server, servername="c.another.com", max_version=version)
            assert error.alert == 80
            told, servername = await errors.next()
            assert told.message == "Invalid SNI context"
            assert servername == "c.another.com"
            assert accepted.names.empty()
            assert errors.empty

    run(main)


@pytest.mark.parametrize("answer", [{}, False, 0, "", "context", b"", object(), ssl.SSLContext, aiotls.SecureContext])
def test_sni_05_what_is_no_context(run: Run, version: str, styled: Styled, answer: Any) -> None:
    """SNI-05: the error tells which name it was, the client is refused, and nothing is emitted for it."""

    async def main() -> None:
        secure: list[Any] = []
        options: dict[str, Any] = {"cert": None, "key": None, "request_cert": True}
        async with serving(secure.append, sni_callback=styled(lambda _: answer), **options) as server:
            errors = ClientErrors(server)
            error = await refused(server, servername="c.another.com", max_version=version)
            assert error.code == INTERNAL_ERROR
            told, servername = await errors.next()
            assert isinstance(told, aiotls.OptionTypeError)
            assert told.message == "Invalid SNI context"
            assert servername == "c.another.com"
            assert errors.empty
            assert secure == []

    run(main)


def test_sni_05_cve_2026_27448_an_exception_fails_closed(run: Run, version: str, styled: Styled) -> None:
    """SNI-05, CVE-2026-27448, CVE-2026-21637: that very exception is told; the next client is served."""

    async def main() -> None:
        wrong = ValueError("Invalid SNI context")

        def choose(name: str) -> None:
            if name == "bad.example.com":
                raise wrong

        secure = Accepted()
        async with serving(secure, sni_callback=styled(choose)) as server:
            errors = ClientErrors(server)
            for _ in range(2):
                error = await refused(server, servername="bad.example.com", max_version=version)
                assert error.code == INTERNAL_ERROR
                assert error.alert == 80
                told, servername = await errors.next()
                assert told is wrong
                assert servername == "bad.example.com"
                assert await shown(server, "good.example.com", max_version=version) == "localhost"
                assert await secure.names.get() == "good.example.com"
            assert errors.empty
            assert secure.names.empty()

    run(main)


class Extraordinary(BaseException):
    """What is no Exception."""


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, Extraordinary, StopIteration])
def test_what_is_no_exception_fails_closed(run: Run, styled: Styled, kind: type[BaseException]) -> None:
    """Failure model 18: whatever is raised, the handshake fails, one error is told, and the server lives."""

    async def main() -> None:
        def choose(name: str) -> None:
            if name == "bad.example.com":
                raise kind

        async with serving(echo, sni_callback=styled(choose)) as server:
            errors = ClientErrors(server)
            error = await refused(server, servername="bad.example.com")
            assert error.code == INTERNAL_ERROR
            told, _ = await errors.next()
            assert isinstance(told, BaseException)
            assert await shown(server, "good.example.com") == "localhost"
            assert errors.empty

    run(main)


def test_sni_06_a_context_without_a_certificate(run: Run, version: str, styled: Styled) -> None:
    """SNI-06: nothing that could be shown."""

    async def main() -> None:
        empty = aiotls.create_secure_context()
        async with serving(echo, sni_callback=styled(lambda _: empty), cert=None, key=None) as server:
            errors = ClientErrors(server)
            error = await refused(server, max_version=version)
            assert error.code in HANDSHAKE_FAILURE
            assert error.alert == 40
            assert (await errors.next())[0].code in NO_CERTIFICATE_OF_OURS[version]
            assert errors.empty

    run(main)


def test_a_context_without_a_certificate_hides_the_default_one(run: Run, version: str) -> None:
    """The answer is the context of the connection: what it lacks does not come from that of the server."""

    async def main() -> None:
        empty = aiotls.create_secure_context()
        async with serving(echo, sni_callback=lambda _: empty) as server:
            error = await refused(server, max_version=version)
            assert error.alert == 40

    run(main)


# ---- a socket without a server


def client_hello(name: str) -> bytes:
    """The first flight of Python's own ssl that asks for `name`."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_sni_07_without_a_server(run: Run, styled: Styled) -> None:
    """SNI-07: asked on a socket that has no server and no certificate; None then leaves nothing to show."""

    async def main() -> None:
        asked: list[str] = []
        _near, far = MemoryDuplex.pair()
        socket = aiotls.TLSSocket(far, is_server=True, sni_callback=styled(asked.append))
        errors: list[Any] = []
        socket.on("error", lambda error: errors.append((error, socket.servername)))
        far.deliver(client_hello("www.google.com"))
        assert await socket.wait_for("close") is True
        assert asked == ["www.google.com"]
        ((error, servername),) = errors
        assert servername == "www.google.com"
        assert error.code in NO_CERTIFICATE_OF_OURS["TLSv1.2"] + NO_CERTIFICATE_OF_OURS["TLSv1.3"]

    run(main)


def test_sni_07_an_exception_without_a_server(run: Run, styled: Styled) -> None:
    """SNI-07: it is the socket's own "error", once."""

    async def main() -> None:
        wrong = LookupError("a mistake of the user")

        def choose(_name: str) -> None:
            raise wrong

        _near, far = MemoryDuplex.pair()
        socket = aiotls.TLSSocket(far, is_server=True, sni_callback=styled(choose), **server_options())
        errors: list[Any] = []
        socket.on("error", errors.append)
        far.deliver(client_hello("www.google.com"))
        assert await socket.wait_for("close") is True
        assert errors == [wrong]

    run(main)


# ---- when it is asked


def test_not_asked_without_a_name(run: Run, version: str, styled: Styled) -> None:
    """SNI-08: `servername` is False, and the default context serves."""

    async def main() -> None:
        asked: list[str] = []
        accepted = Accepted()
        async with serving(accepted, sni_callback=styled(asked.append)) as server:
            for none in (False, ""):
                assert await shown(server, none, max_version=version) == "localhost"
                assert await accepted.names.get() is False
            assert asked == []
            assert await shown(server, "sni.0", max_version=version) == "localhost"
            assert await accepted.names.get() == "sni.0"
            assert asked == ["sni.0"]

    run(main)


def test_before_the_contexts_by_name(run: Run, version: str, styled: Styled) -> None:
    """An answer goes before `add_context`; None lets it decide, and then the default context."""

    async def main() -> None:
        contexts = {"one.example": aiotls.create_secure_context(**credentials("answered"))}
        async with serving(echo, sni_callback=styled(contexts.get)) as server:
            server.add_context("*.example", **credentials("added"))
            for name, expected in (
                ("one.example", "answered"),
                ("two.example", "added"),
                ("three.example.org", "localhost"),
            ):
                assert await shown(server, name, max_version=version) == expected

    run(main)


def test_an_answer_is_under_the_policy_of_the_server(run: Run, pki: Named, version: str, styled: Styled) -> None:
    """`request_cert` is the server's, the authorities are those of the answer."""

    async def main() -> None:
        context = aiotls.create_secure_context(**credentials("answered"), ca=pki.ca_a.cert_pem)
        accepted = Accepted()
        async with serving(accepted, sni_callback=styled(lambda _: context), request_cert=True) as server:
            server.add_context("name", **credentials("added"), request_cert=False)
            errors = ClientErrors(server)
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await shown_to_another(server, "name")
            assert (await errors.next())[0].code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
            assert await shown(server, "name", max_version=version, **credentials(pki.leaf_a)) == "answered"
            assert await accepted.peers.get() == (True, None)

    run(main)


def test_asked_once_though_the_client_must_try_again(run: Run, styled: Styled) -> None:
    """A HelloRetryRequest brings a second ClientHello, but no second question."""

    async def main() -> None:
        asked: list[str] = []

        def choose(name: str) -> aiotls.SecureContext:
            asked.append(name)
            return context

        context = aiotls.create_secure_context(**credentials("a.example.com"), ecdh_curve="P-256")
        async with serving(echo, sni_callback=styled(choose), ecdh_curve="P-256") as server:
            options = {"ecdh_curve": "X25519:P-256", "min_version": "TLSv1.3"}
            assert await shown(server, "a.example.com", **options) == "a.example.com"
            assert asked == ["a.example.com"]

    run(main)


def test_asked_when_a_session_is_resumed(run: Run, version: str, styled: Styled) -> None:
    """CVE-2026-27448: a session is no way round the callback, which may refuse, or have another context by now."""

    async def main() -> None:
        asked: list[str] = []
        wrong = LookupError("not any more")

        def choose(name: str) -> aiotls.SecureContext:
            asked.append(name)
            if len(asked) == 3:
                raise wrong
            return aiotls.create_secure_context(**credentials(name))

        async with serving(echo, sni_callback=styled(choose)) as server:
            errors = ClientErrors(server)
            options: dict[str, Any] = {"servername": "a.example.com", "max_version": version}
            async with to(server, **options) as client:
                client.write(b"x")
                assert await client.readexactly(1) == b"x"
                session = client.get_session()
            async with to(server, session=session, **options) as client:
                assert client.is_session_reused() is True
            error = await refused(server, session=session, **options)
            assert error.code == INTERNAL_ERROR
            assert (await errors.next())[0] is wrong
            assert asked == ["a.example.com"] * 3

    run(main)


def test_many_at_once(run: Run, version: str) -> None:
    """Handshakes that wait for an answer do not keep each other, and each gets its own."""

    async def main() -> None:
        names = [f"n{number}.example.org" for number in range(40)]
        waiting: set[str] = set()
        everybody = asyncio.Event()

        async def choose(name: str) -> aiotls.SecureContext | None:
            if name == "localhost":
                return None
            waiting.add(name)
            if len(waiting) == len(names):
                everybody.set()
            await everybody.wait()
            return aiotls.create_secure_context(**credentials(name))

        async with serving(echo, sni_callback=choose) as server:
            shows = [asyncio.ensure_future(shown(server, name, max_version=version)) for name in names[1:]]
            assert await shown(server, "localhost", max_version=version) == "localhost"
            assert await shown(server, names[0], max_version=version) == names[0]
            assert await asyncio.gather(*shows) == names[1:]

    run(main)


def test_data_that_came_early_waits(run: Run, version: str) -> None:
    """What the client writes before the answer is there arrives after the handshake, whole."""

    async def main() -> None:
        asked, release = asyncio.Event(), asyncio.Event()

        async def choose(_name: str) -> None:
            asked.set()
            await release.wait()

        async with serving(echo, sni_callback=choose) as server:
            client = to(server, max_version=version)
            client.end(b"x" * 200_000)
            await asked.wait()
            assert client.secure_connecting
            release.set()
            assert await client.read() == b"x" * 200_000
            await client.wait_closed()

    run(main)


# ---- answers that do not come, or come too late


def test_never_answered(run: Run, version: str) -> None:
    """Failure model 19: `handshake_timeout` ends the connection, and the callback's task with it."""

    async def main() -> None:
        cancelled = asyncio.Event()

        async def choose(_name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async with serving(echo, sni_callback=choose, handshake_timeout=0.1) as server:
            errors = ClientErrors(server)
            with pytest.raises(aiotls.TLSError):
                await to(server, max_version=version)
            error, servername = await errors.next()
            assert error.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
            assert servername == "localhost"
            await cancelled.wait()
            assert errors.empty

    run(main)


@pytest.mark.parametrize("end", ["client", "server"])
def test_answered_after_the_end(run: Run, end: str, version: str) -> None:
    """Failure model 19: an answer for a connection that is gone changes nothing."""

    async def main() -> None:
        asked, release = asyncio.Event(), asyncio.Event()

        async def choose(name: str) -> aiotls.SecureContext:
            asked.set()
            with suppress(asyncio.CancelledError):
                await release.wait()
            return aiotls.create_secure_context(**credentials(name))

        async with serving(echo, sni_callback=choose) as server:
            errors = ClientErrors(server)
            client = to(server, servername="a.example.com", max_version=version)
            client.on("error", lambda _: None)
            await asked.wait()
            if end == "client":
                client.destroy()
                await client.wait_closed()
                release.set()
                assert (await errors.next())[0].code == "ECONNRESET"
            else:
                server.close_all_connections()
                release.set()
                with suppress(aiotls.TLSError):
                    await client.wait_closed()
            gc.collect()
            assert await shown(server, "b.example.com") == "b.example.com"
            assert errors.empty

    run(main)


# ---- the option


@pytest.mark.parametrize("wrong", [1, "a", {}])
def test_wrong_callbacks(wrong: Any) -> None:
    """What cannot be called is refused when the server is made."""
    with pytest.raises(TypeError, match="sni_callback") as failure:
        aiotls.create_server(sni_callback=wrong)
    assert failure.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]


def test_clients_have_none(run: Run) -> None:
    """It is an option of servers; None is none."""

    async def main() -> None:
        with pytest.raises(TypeError, match="sni_callback"):
            aiotls.connect("127.0.0.1", 1, **client_options(sni_callback=lambda _: None))
        async with serving(echo, sni_callback=None) as server:
            assert port_of(server)
            async with to(server) as client:
                assert common_name(client) == "localhost"

    run(main)
