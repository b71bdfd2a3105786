"""OCSP stapling: what the server is asked for, what it sends, and when the client gets it."""

import asyncio
import hashlib
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import KINDS, client_options, gone, streams, tls_pair
from tests.support.pki import Identity, Named
from tests.support.servers import serving, to
from tests.support.stapling import RESPONSE, Client, Stapler, agent1, asking, leaf_a, stapled
from tests.support.visits import credentials, staying


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def response_for(certificate: bytes) -> bytes:
    return b"good: " + hashlib.sha256(certificate).digest()


# ---- OCSP-01


@pytest.mark.parametrize("answer", [None, RESPONSE])
def test_ocsp_01_answered(run: Run, pki: Named, version: str, style: str, answer: bytes | None) -> None:
    """OCSP-01: DER of the leaf and its issuer; the client has the response, or None, once, before it is secure."""

    async def main() -> None:
        stapler = Stapler(answer, style)
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        async with serving(accepted.put_nowait, **leaf_a(pki)) as server:
            server.on("ocsp_request", stapler.listener)
            assert await stapled(server, **agent1(pki, max_version=version)) == answer
            assert stapler.calls == [(pki.leaf_a.der, pki.ca_a.der)]
            await accepted.get()

    run(main)


def test_ocsp_01_the_client_goes_away(run: Run, pki: Named, version: str, style: str) -> None:
    """OCSP-01: a client that destroys itself at the response: nobody is secure, the server has ECONNRESET."""

    async def main() -> None:
        secure: list[Any] = []
        errors: asyncio.Queue[Any] = asyncio.Queue()
        async with serving(secure.append, **leaf_a(pki)) as server:
            server.on("ocsp_request", Stapler(style=style).listener)
            server.on("tls_client_error", lambda error, _: errors.put_nowait(error))
            client = asking(server, **agent1(pki, max_version=version))
            client.socket.on("ocsp_response", lambda _: client.socket.destroy())
            assert await client.socket.wait_for("close") is False
            assert client.events == [(RESPONSE, True)]
            assert (await errors.get()).code == "ECONNRESET"
            assert secure == []
            assert errors.empty()

    run(main)


def test_ocsp_01_not_asked(run: Run, pki: Named, version: str) -> None:
    """OCSP-01: without `request_ocsp` neither event fires."""

    async def main() -> None:
        stapler = Stapler()
        async with serving(**leaf_a(pki)) as server:
            server.on("ocsp_request", stapler.listener)
            options = {"request_ocsp": False, "secure_options": aiotls.constants.SSL_OP_NO_TICKET}
            client = asking(server, **agent1(pki, max_version=version, **options))
            async with staying(client.socket):
                assert client.events == ["secure", "secure_connect"]
            assert stapler.calls == []

    run(main)


@pytest.mark.parametrize("kind", [ValueError, aiotls.TLSError])
def test_ocsp_01_the_listener_raises(run: Run, pki: Named, version: str, style: str, kind: type[Exception]) -> None:
    """OCSP-01: the server is told that very exception, the client has an error, nobody is secure."""

    async def main() -> None:
        secure: list[Any] = []
        wrong = kind("no response today")
        errors: asyncio.Queue[Any] = asyncio.Queue()
        async with serving(secure.append, **leaf_a(pki)) as server:
            server.on("ocsp_request", Stapler(wrong, style).listener)
            server.on("tls_client_error", lambda error, _: errors.put_nowait(error))
            client = asking(server, **agent1(pki, max_version=version))
            with pytest.raises(aiotls.AlertReceived) as alerted:
                await client.socket
            assert alerted.value.alert == 80  # internal_error
            assert await errors.get() is wrong
            assert (client.events, secure) == ([], [])
            assert errors.empty()
            async with staying(to(server, **agent1(pki))):
                pass

    run(main)


@pytest.mark.parametrize("answer", ["text", 1, [b"bytes"], True])
def test_what_is_no_response(run: Run, pki: Named, version: str, style: str, answer: Any) -> None:
    """An answer of a wrong type fails that handshake, with an error that says so."""

    async def main() -> None:
        errors: asyncio.Queue[Any] = asyncio.Queue()
        async with serving(**leaf_a(pki)) as server:
            server.on("ocsp_request", Stapler(answer, style).listener)
            server.on("tls_client_error", lambda error, _: errors.put_nowait(error))
            client = asking(server, **agent1(pki, max_version=version))
            with pytest.raises(aiotls.TLSError):
                await client.socket
            error = await errors.get()
            assert isinstance(error, TypeError)
            assert "ocsp_request" in str(error)

    run(main)


# ---- the issuer


@pytest.mark.parametrize(
    ("identity", "ca", "issuer"),
    [
        ("leaf_a", "ca_a", "ca_a"),
        ("leaf_a", None, None),
        ("leaf_a", "ca_b", None),
        ("chain_a", None, "int_a"),
        ("chain_a", "ca_a", "int_a"),
        ("chain_ec", "ca_b", "int_ec"),
        ("self_rsa", None, None),
    ],
)
def test_the_issuer(run: Run, pki: Named, version: str, identity: str, ca: str | None, issuer: str | None) -> None:
    """OCSP-01: the issuer comes from the chain or from `ca`; where it is in neither, it is None."""

    async def main() -> None:
        stapler = Stapler()
        shown: Identity = getattr(pki, identity)
        trust = {"ca": getattr(pki, ca).cert_pem} if ca else {}
        async with serving(**credentials(shown), **trust) as server:
            server.on("ocsp_request", stapler.listener)
            assert await stapled(server, max_version=version, reject_unauthorized=False) == RESPONSE
        assert stapler.calls == [(shown.der, getattr(pki, issuer).der if issuer else None)]

    run(main)


def test_the_issuer_among_several(run: Run, pki: Named) -> None:
    """The intermediate and the root stand in `ca`, the server sends its leaf only; the issuer is the intermediate."""

    async def main() -> None:
        stapler = Stapler()
        ca = [pki.ca_b.cert_pem, pki.ca_a.cert_pem, pki.int_a.cert_pem]
        async with serving(cert=pki.chain_a.cert_pem, key=pki.chain_a.key_pem, ca=ca) as server:
            server.on("ocsp_request", stapler.listener)
            assert await stapled(server, reject_unauthorized=False) == RESPONSE
        assert stapler.calls == [(pki.chain_a.der, pki.int_a.der)]

    run(main)


# ---- which certificate


SUITES = {"server": "ECDHE-RSA-AES128-GCM-SHA256", "server_ec": "ECDHE-ECDSA-AES128-GCM-SHA256"}
SIGALGS = {"server": "rsa_pss_rsae_sha256", "server_ec": "ecdsa_secp256r1_sha256"}


@pytest.mark.parametrize("shown", ["server", "server_ec"])
def test_several_certificates(run: Run, pki: Named, version: str, style: str, shown: str) -> None:
    """The client gets the response for the certificate that it is shown, whatever else the server has."""

    async def main() -> None:
        both = (pki.server, pki.server_ec)
        stapler = Stapler()

        def plain(certificate: bytes, issuer: bytes | None) -> bytes:
            stapler.calls.append((certificate, issuer))
            return response_for(certificate)

        async def later(certificate: bytes, issuer: bytes | None) -> bytes:
            await asyncio.sleep(0)
            return plain(certificate, issuer)

        cert, key = [each.chain_pem for each in both], [each.key_pem for each in both]
        wish = {"ciphers": SUITES[shown]} if version == "TLSv1.2" else {"sigalgs": SIGALGS[shown]}
        if version == "TLSv1.3":
            wish["sigalgs"] += ":RSA+SHA256"  # for the signature of the root
        async with serving(cert=cert, key=key, ca=pki.ca.cert_pem) as server:
            server.on("ocsp_request", plain if style == "plain" else later)
            client = asking(server, max_version=version, **wish)
            async with staying(client.socket):
                peer = client.socket.get_peer_certificate()
                certificate = peer.raw if peer else b""
                assert certificate == getattr(pki, shown).der
                assert client.events[0] == (response_for(certificate), True)
        assert (certificate, pki.ca.der) in stapler.calls
        assert len(stapler.calls) == len(set(stapler.calls)), "asked twice about the same certificate"

    run(main)


def test_after_the_context_of_a_name_was_chosen(run: Run, pki: Named, version: str) -> None:
    """`add_context`, exact and with a wildcard: the listener is asked about the certificate of the name."""

    async def main() -> None:
        async with serving(**credentials(pki.server_ec), ca=pki.ca.cert_pem) as server:
            server.add_context("agent1", **leaf_a(pki))
            server.add_context("*.example.com", **credentials(pki.chain_b))
            stapler = Stapler()
            server.on("ocsp_request", stapler.listener)
            loose = {"max_version": version, "reject_unauthorized": False}
            for name in ("localhost", "AGENT1", "www.example.com"):
                assert await stapled(server, servername=name, **loose) == RESPONSE
            assert stapler.calls == [
                (pki.server_ec.der, pki.ca.der),
                (pki.leaf_a.der, pki.ca_a.der),
                (pki.chain_b.der, pki.int_b.der),
            ]

    run(main)


def test_after_a_callback_chose_the_context(run: Run, pki: Named, version: str, style: str) -> None:
    """`sni_callback`, and `set_key_cert` in it or not: the same."""

    async def main() -> None:
        chosen = aiotls.create_secure_context(**leaf_a(pki))

        def plain(name: str) -> aiotls.SecureContext | None:
            return chosen if name == "agent1" else None

        async def later(name: str) -> aiotls.SecureContext | None:
            await asyncio.sleep(0)
            return plain(name)

        async with serving(sni_callback=plain if style == "plain" else later) as server:
            stapler = Stapler(style=style)
            server.on("ocsp_request", stapler.listener)
            assert await stapled(server, **agent1(pki, max_version=version)) == RESPONSE
            assert await stapled(server, max_version=version) == RESPONSE
            assert stapler.calls == [(pki.leaf_a.der, pki.ca_a.der), (pki.server_ec.der, None)]

    run(main)


def test_after_the_certificate_was_exchanged(run: Run, pki: Named, version: str) -> None:
    """`set_key_cert` in `alpn_callback`, `set_secure_context` between two connections."""

    async def main() -> None:
        def choose(socket: aiotls.TLSSocket, servername: str | bool, protocols: list[str]) -> str:
            socket.set_key_cert(**credentials(pki.chain_b))
            return protocols[0]

        async with serving(alpn_callback=choose) as server:
            stapler = Stapler()
            server.on("ocsp_request", stapler.listener)
            loose = {"max_version": version, "reject_unauthorized": False}
            assert await stapled(server, alpn_protocols=["x"], **loose) == RESPONSE
            server.set_secure_context(**leaf_a(pki))
            assert await stapled(server, **loose) == RESPONSE
            assert stapler.calls == [(pki.chain_b.der, pki.int_b.der), (pki.leaf_a.der, pki.ca_a.der)]

    run(main)


# ---- listeners


def test_nobody_listens(run: Run, pki: Named, version: str) -> None:
    """A client that asks a server without a listener is told that there is none."""

    async def main() -> None:
        async with serving(**leaf_a(pki)) as server:
            assert await stapled(server, **agent1(pki, max_version=version)) is None

    run(main)


def test_listeners_count_for_later_connections(run: Run, pki: Named, version: str) -> None:
    """Added, removed and added again: each connection has those that were there when it was accepted."""

    async def main() -> None:
        stapler = Stapler()
        async with serving(**leaf_a(pki)) as server:
            options = agent1(pki, max_version=version)
            server.once("connection", lambda _: server.on("ocsp_request", stapler.listener))
            assert await stapled(server, **options) is None
            assert await stapled(server, **options) == RESPONSE
            server.off("ocsp_request", stapler.listener)
            assert await stapled(server, **options) is None
            server.once("ocsp_request", stapler.listener)
            assert await stapled(server, **options) == RESPONSE
            assert await stapled(server, **options) is None
            assert len(stapler.calls) == 2

    run(main)


@pytest.mark.parametrize(("version", "size"), [("TLSv1.2", 1), ("TLSv1.2", 16000), ("TLSv1.3", 1), ("TLSv1.3", 40000)])
def test_sizes(run: Run, pki: Named, version: str, size: int) -> None:
    """A response may be long: under TLS 1.3 several records, under TLS 1.2 OpenSSL's clients take one."""

    async def main() -> None:
        response = bytes(index % 251 for index in range(size))
        async with serving(**leaf_a(pki)) as server:
            server.on("ocsp_request", Stapler(response).listener)
            assert await stapled(server, **agent1(pki, max_version=version)) == response

    run(main)


def test_each_connection_has_its_own_answer(run: Run, pki: Named, version: str) -> None:
    """Answers that come in another order than asked, and others that come at once."""

    async def main() -> None:
        waiting: list[asyncio.Future[None]] = []
        everybody = asyncio.Event()

        async def listener(certificate: bytes, issuer: bytes | None) -> bytes:
            number = len(waiting)
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append(future)
            if len(waiting) == 10:
                everybody.set()
            await future
            return b"response %d" % number

        async def answer() -> None:
            await everybody.wait()
            for future in reversed(waiting):
                future.set_result(None)

        async with serving(**leaf_a(pki)) as server:
            server.on("ocsp_request", listener)
            options = agent1(pki, max_version=version)
            *responses, _ = await asyncio.gather(*(stapled(server, **options) for _ in range(10)), answer())
            assert sorted(map(str, responses)) == sorted(str(b"response %d" % number) for number in range(10))

    run(main)


def test_resumed(run: Run, pki: Named, version: str) -> None:
    """A resumed connection shows no certificate: nobody is asked, nobody is told."""

    async def main() -> None:
        stapler = Stapler()
        async with serving(lambda socket: socket.write(b"welcome"), **leaf_a(pki)) as server:
            server.on("ocsp_request", stapler.listener)
            sessions: list[bytes] = []
            first = asking(server, **agent1(pki, max_version=version))
            first.socket.on("session", sessions.append)
            async with staying(first.socket):
                assert await first.socket.readexactly(7) == b"welcome"
            second = asking(server, **agent1(pki, max_version=version, session=sessions[-1]))
            async with staying(second.socket):
                assert second.socket.is_session_reused() is True
                assert second.events == ["secure", "secure_connect"]
            assert len(stapler.calls) == 1

    run(main)


# ---- the client's listener, time, and the end


def test_the_listener_of_the_client_raises(
    run: Run, pki: Named, version: str, loop_errors: list[dict[str, Any]]
) -> None:
    """A client that does not like the response raises: its handshake ends with that exception, nobody is secure."""

    async def main() -> None:
        secure: list[Any] = []
        errors: asyncio.Queue[Any] = asyncio.Queue()
        wrong = ValueError("revoked")

        def look(response: bytes | None) -> None:
            raise wrong

        async with serving(secure.append, **leaf_a(pki)) as server:
            server.on("ocsp_request", Stapler().listener)
            server.on("tls_client_error", lambda error, _: errors.put_nowait(error))
            client = asking(server, **agent1(pki, max_version=version))
            client.socket.on("ocsp_response", look)
            with pytest.raises(ValueError, match="revoked") as raised:
                await client.socket
            assert raised.value is wrong
            assert client.events == [(RESPONSE, True)]
            await errors.get()
            assert secure == []
            assert [each["exception"] for each in loop_errors] == [wrong]
            loop_errors.clear()

    run(main)


def test_a_listener_that_never_answers(run: Run, pki: Named, version: str) -> None:
    """Failure model 19: `handshake_timeout` counts for it and ends it; who does not ask is served meanwhile."""

    async def main() -> None:
        started, ended = asyncio.Event(), asyncio.Event()

        async def listener(certificate: bytes, issuer: bytes | None) -> bytes:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return b""

        async with serving(**leaf_a(pki, handshake_timeout=0.3)) as server:
            errors: asyncio.Queue[Any] = asyncio.Queue()
            server.on("ocsp_request", listener)
            server.on("tls_client_error", lambda error, _: errors.put_nowait(error))
            client = asking(server, **agent1(pki, max_version=version))
            client.socket.on("error", lambda _: None)
            await started.wait()
            async with staying(to(server, **agent1(pki, max_version=version))):
                pass
            assert isinstance(await errors.get(), aiotls.HandshakeTimeout)
            await ended.wait()
            await gone(client.socket)
            assert errors.empty()

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_over_every_stream(run: Run, pki: Named, version: str, kind: str) -> None:
    """Connections that are handed to the server are asked about, clients over any stream are told."""

    async def main() -> None:
        stapler = Stapler()
        async with serving(**leaf_a(pki)) as server, streams(kind) as (near, far):
            server.on("ocsp_request", stapler.listener)
            accepted = server.handle_connection(far)
            options = agent1(pki, max_version=version, request_ocsp=True)
            client = Client(aiotls.connect(socket=near, **client_options(**options)))
            await client.socket
            assert client.events == [(RESPONSE, True), "secure", "secure_connect"]
            assert stapler.calls == [(pki.leaf_a.der, pki.ca_a.der)]
            await gone(client.socket, accepted)

    run(main)


def test_without_a_server(run: Run, version: str) -> None:
    """A server-side socket of its own staples nothing."""

    async def main() -> None:
        client = {"request_ocsp": True, "max_version": version}
        async with tls_pair(client=client, secure=False) as (near, far):
            watched = Client(near)
            await asyncio.gather(near, far)
            assert watched.events == [(None, True), "secure", "secure_connect"]

    run(main)
