"""Whom the contexts of a server by name let in: client certificates, and sessions of other names."""

import asyncio
import socket as sockets
import ssl
from dataclasses import dataclass
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.names import Accepted, ClientErrors, credentials, identity_of, shown, shown_to_another
from tests.support.pki import Named
from tests.support.servers import echo, port_of, serving, to

NO_CERTIFICATE = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"

SPELLINGS = [
    ("a.example", "a.example"),
    ("a.example", "A.EXAMPLE"),
    ("a.example", "a.example."),
    ("a.example", "A.Example."),
    ("A.EXAMPLE", "a.example"),
    ("A.Example.", "a.example"),
    ("*.example", "A.EXAMPLE"),
    ("*.example", "a.example."),
    ("*.EXAMPLE.", "a.example"),
    ("b*.example", "BC.EXAMPLE."),
    ("bücher.example", "xn--bcher-kva.example"),
    ("bücher.example", "XN--BCHER-KVA.example."),
]


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def said(client: aiotls.TLSSocket) -> bytes:
    """What comes back; under TLS 1.3 only the reading tells a client that it was refused."""
    async with client:
        client.write(b"x")
        return await client.readexactly(1)


# ---- client certificates


@pytest.mark.parametrize(("added", "asked"), SPELLINGS)
def test_cve_2026_48928_no_spelling_is_a_way_round(run: Run, pki: Named, added: str, asked: str) -> None:
    """CVE-2026-48928: however the name is spelt, the context that asks for a client certificate answers."""

    async def main() -> None:
        async with serving(echo) as server:
            server.add_context(added, **credentials("strict"), ca=pki.ca.cert_pem, request_cert=True)
            errors = ClientErrors(server)
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await shown_to_another(server, asked)
            assert (await errors.next())[0].code == NO_CERTIFICATE
            assert await shown_to_another(server, "other.example.org") == pki.server_ec.der

    run(main)


def test_a_name_that_asks_for_a_certificate(run: Run, pki: Named, version: str) -> None:
    """The server asks nobody, but for one name, whose authorities decide; `authorized` follows."""

    async def main() -> None:
        accepted = Accepted()
        async with serving(accepted) as server:
            server.add_context("secret", **credentials("secret"), ca=pki.ca_a.cert_pem, request_cert=True)
            errors = ClientErrors(server)
            for own, code in ((None, NO_CERTIFICATE), (pki.leaf_b, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")):
                options = {"servername": "secret", "max_version": version, **(credentials(own) if own else {})}
                with pytest.raises(aiotls.AlertReceived):
                    await said(to(server, **options))
                error, servername = await errors.next()
                assert isinstance(error, aiotls.VerificationError)
                assert error.code == code
                assert servername == "secret"
            assert accepted.names.empty()
            assert await shown(server, "secret", max_version=version, **credentials(pki.leaf_a)) == "secret"
            assert await accepted.peers.get() == (True, None)
            assert await shown(server, "public", max_version=version, **credentials(pki.leaf_a)) == "localhost"
            assert await accepted.peers.get() == (False, None)

    run(main)


def test_a_name_that_asks_for_nothing(run: Run, pki: Named, version: str) -> None:
    """The server asks everybody for a certificate, but not for one name."""

    async def main() -> None:
        accepted = Accepted()
        async with serving(accepted, request_cert=True, ca=pki.ca.cert_pem) as server:
            server.add_context("public", **credentials("public"), request_cert=False)
            server.add_context("strict", **credentials("strict"), ca=pki.ca.cert_pem)
            errors = ClientErrors(server)
            assert await shown(server, "public", max_version=version) == "public"
            assert await accepted.peers.get() == (False, None)
            assert await accepted.names.get() == "public"
            for name in ("localhost", "strict", False):
                with pytest.raises(aiotls.AlertReceived):
                    await said(to(server, servername=name, max_version=version))
                assert (await errors.next())[0].code == NO_CERTIFICATE
            assert accepted.names.empty()

    run(main)


def test_a_name_that_only_looks(run: Run, pki: Named, version: str) -> None:
    """`reject_unauthorized` by name: everybody gets in, and the server is told the truth."""

    async def main() -> None:
        accepted = Accepted()
        async with serving(accepted, request_cert=True, ca=pki.ca.cert_pem) as server:
            server.add_context("looks", **credentials("looks"), ca=pki.ca_a.cert_pem, reject_unauthorized=False)
            for own, expected in (
                ({}, (False, "UNABLE_TO_GET_ISSUER_CERT")),
                (credentials(pki.leaf_a), (True, None)),
                (credentials(pki.self_ec), (False, "DEPTH_ZERO_SELF_SIGNED_CERT")),
            ):
                assert await shown(server, "looks", max_version=version, **own) == "looks"
                assert await accepted.peers.get() == expected

    run(main)


@pytest.mark.parametrize("reject", [None, True])
def test_none_is_the_policy_of_the_server(run: Run, pki: Named, reject: Any) -> None:
    """CVE-2021-22939: `reject_unauthorized=None` of a name is no way to turn it off."""

    async def main() -> None:
        async with serving(echo, request_cert=True, ca=pki.ca.cert_pem) as server:
            server.add_context("name", **credentials("name"), request_cert=None, reject_unauthorized=reject)
            errors = ClientErrors(server)
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await shown_to_another(server, "name")
            assert (await errors.next())[0].code == NO_CERTIFICATE

    run(main)


@pytest.mark.parametrize("way", ["add_context", "sni_callback"])
@pytest.mark.parametrize("partial", [False, True])
def test_partial_chains_by_name(run: Run, pki: Named, version: str, way: str, partial: bool) -> None:
    """`allow_partial_trust_chain` is that of the context of the name, not that of the server."""

    async def main() -> None:
        accepted = Accepted()

        def context(name: str, allow: bool) -> dict[str, Any]:
            return {**credentials(name), "ca": pki.int_a.cert_pem, "allow_partial_trust_chain": allow}

        named = aiotls.create_secure_context(**context("name", partial))
        options: dict[str, Any] = {"request_cert": True, "reject_unauthorized": False}
        if way == "sni_callback":
            options["sni_callback"] = lambda name: named if name == "name" else None
        async with serving(accepted, **context("server", not partial), **options) as server:
            if way == "add_context":
                server.add_context("name", named)
            for name, authorized in (("name", partial), ("server", not partial)):
                assert await shown(server, name, max_version=version, **credentials(pki.chain_a)) == name
                assert (await accepted.peers.get())[0] is authorized

    run(main)


def test_revocation_by_name(run: Run, pki: Named, version: str) -> None:
    """`crl` is that of the context of the name, whether the server has one or not."""

    async def main() -> None:
        accepted = Accepted()
        lenient: dict[str, Any] = {"ca": pki.ca_b.cert_pem}
        strict: dict[str, Any] = {**lenient, "crl": pki.crl_b}
        for own, named in ((strict, lenient), (lenient, strict)):
            async with serving(accepted, request_cert=True, reject_unauthorized=False, **own) as server:
                server.add_context("name", **credentials("name"), **named)
                for name, trust in (("name", named), ("localhost", own)):
                    options = {"max_version": version, **credentials(pki.leaf_b_revoked)}
                    assert await shown(server, name, **options) == name
                    expected = (False, "CERT_REVOKED") if "crl" in trust else (True, None)
                    assert await accepted.peers.get() == expected

    run(main)


# ---- sessions do not carry over


@pytest.mark.parametrize("first", ["localhost", "other"])
def test_a_session_is_no_way_round(run: Run, pki: Named, version: str, first: str) -> None:
    """Failure model 15: a session of one name, offered for another, is a full handshake under the policy of that."""

    async def main() -> None:
        async with serving(echo, max_version=version) as server:
            server.add_context("other", **credentials("other"))
            server.add_context("secret", **credentials("secret"), ca=pki.ca.cert_pem, request_cert=True)
            server.add_context("open", **credentials("open"))
            errors = ClientErrors(server)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE

            async def asked_for(name: str, session: ssl.SSLSession | None = None) -> Visit:
                return await asyncio.to_thread(visit, context, port_of(server), name, session)

            session = (await asked_for(first)).session
            assert (await asked_for(first, session)).reused
            elsewhere = await asked_for("open", session)
            assert not elsewhere.reused
            assert elsewhere.certificate == identity_of("open").der
            with pytest.raises(OSError, match=r"ALERT|alert"):
                await asked_for("secret", session)
            assert (await errors.next())[0].code == NO_CERTIFICATE

    run(main)


@pytest.mark.parametrize("way", ["add_context", "sni_callback", "set_secure_context"])
def test_a_session_does_not_outlive_the_trust(run: Run, pki: Named, version: str, way: str) -> None:
    """Failure model 15, CVE-2026-48934: who came in under one authority does not resume where another is trusted."""

    async def main() -> None:
        accepted = Accepted()

        def context(ca: bytes) -> dict[str, Any]:
            return {**credentials("secret"), "ca": ca}

        contexts = [aiotls.create_secure_context(**context(pki.ca_a.cert_pem))]
        options: dict[str, Any] = {"sni_callback": lambda _: contexts[-1]} if way == "sni_callback" else {}
        async with serving(accepted, request_cert=True, **options, **context(pki.ca_a.cert_pem)) as server:
            errors = ClientErrors(server)
            if way == "add_context":
                server.add_context("secret", contexts[0])
            own = {"servername": "secret", "max_version": version, **credentials(pki.leaf_a)}
            async with to(server, **own) as client:
                client.write(b"x")
                assert await client.readexactly(1) == b"x"
                session = client.get_session()
            assert await accepted.peers.get() == (True, None)
            async with to(server, session=session, **own) as client:
                assert client.is_session_reused() is True
            assert await accepted.peers.get() == (True, None)
            if way == "add_context":
                server.add_context("secret", **context(pki.ca_b.cert_pem))
            elif way == "sni_callback":
                contexts.append(aiotls.create_secure_context(**context(pki.ca_b.cert_pem)))
            else:
                server.set_secure_context(**context(pki.ca_b.cert_pem))
            with pytest.raises(aiotls.AlertReceived):
                await said(to(server, session=session, **own))
            assert (await errors.next())[0].code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
            assert accepted.peers.empty()

    run(main)


@dataclass(frozen=True)
class Visit:
    """What a connection was."""

    session: ssl.SSLSession | None
    reused: bool
    certificate: bytes | None


def visit(context: ssl.SSLContext, port: int, name: str, session: ssl.SSLSession | None) -> Visit:
    """A byte there and back by Python's own ssl, which offers any session under any name; for a thread."""
    with (
        sockets.create_connection(("127.0.0.1", port)) as below,
        context.wrap_socket(below, server_hostname=name, session=session) as tls,
    ):
        tls.sendall(b"x")
        if tls.recv(1) != b"x":
            raise ConnectionError("the server has hung up")
        return Visit(tls.session, bool(tls.session_reused), tls.getpeercert(binary_form=True))
