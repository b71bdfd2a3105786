"""A server and the certificates of its clients: who is let in, with which words, and what the others are told."""

import asyncio
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import KINDS, gone
from tests.support.pki import Identity, Named, self_signed
from tests.support.servers import serving, to
from tests.support.visits import (
    BAD_CERTIFICATE,
    CERTIFICATE_EXPIRED,
    UNKNOWN_CA,
    UNSUPPORTED_CERTIFICATE,
    Visit,
    credentials,
    hosting,
)

UNKNOWN_CA_CODE = "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"
HANDSHAKE_FAILURE = ("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE", "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE")

LONE_LEAF = "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
SELF_SIGNED = "DEPTH_ZERO_SELF_SIGNED_CERT"
NONE_GIVEN = "UNABLE_TO_GET_ISSUER_CERT"
NONE_RETURNED = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"

CLIENTS = ("leaf_a", "self_rsa", "leaf_b", "leaf_b_revoked", None)
"""The clients of AUTH-04; None shows no certificate."""


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def who(pki: Named, name: str | None) -> dict[str, Any]:
    """A client of AUTH-04, which looks at nothing itself."""
    return {"reject_unauthorized": False, **credentials(getattr(pki, name) if name else None)}


def assert_refused(visit: Visit, code: str, alert: int) -> None:
    """The server has the code of the certificate; the client has the alert and got nothing."""
    assert visit.welcome is None
    assert isinstance(visit.refusal, aiotls.VerificationError)
    assert visit.refusal.code == code
    assert isinstance(visit.error, aiotls.AlertReceived)
    assert visit.error.alert == alert


# ---- the policies of a server


POLICIES: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "not asked": (
        {"request_cert": False, "reject_unauthorized": False, "ca": ["ca_a"]},
        ((False, None),) * len(CLIENTS),
    ),
    "asked, CA-A": (
        {"request_cert": True, "reject_unauthorized": False, "ca": ["ca_a"]},
        ((True, None), (False, SELF_SIGNED), (False, LONE_LEAF), (False, LONE_LEAF), (False, NONE_GIVEN)),
    ),
    "asked, CA-B": (
        {"request_cert": True, "reject_unauthorized": False, "ca": ["ca_b"]},
        ((False, LONE_LEAF), (False, SELF_SIGNED), (True, None), (True, None), (False, NONE_GIVEN)),
    ),
    "required, CA-A": (
        {"request_cert": True, "reject_unauthorized": True, "ca": ["ca_a"]},
        ((True, None), SELF_SIGNED, LONE_LEAF, LONE_LEAF, NONE_RETURNED),
    ),
    "required by default, CA-A": (
        {"request_cert": True, "ca": ["ca_a"]},
        ((True, None), SELF_SIGNED, LONE_LEAF, LONE_LEAF, NONE_RETURNED),
    ),
    "required, CA-A and CA-B": (
        {"request_cert": True, "reject_unauthorized": True, "ca": ["ca_a", "ca_b"]},
        ((True, None), SELF_SIGNED, (True, None), (True, None), NONE_RETURNED),
    ),
}


@pytest.mark.parametrize("policy", list(POLICIES))
def test_auth_04_policies(run: Run, pki: Named, version: str, policy: str) -> None:
    """AUTH-04: five clients and what each policy makes of them."""
    options, verdicts = POLICIES[policy]
    ca = [getattr(pki, name).cert_pem for name in options["ca"]]

    async def main() -> None:
        async with hosting(**credentials(pki.self_rsa), **{**options, "ca": ca}) as host:
            for client, expected in zip(CLIENTS, verdicts, strict=True):
                visit = await host.visit(max_version=version, **who(pki, client))
                assert visit.verdict == expected, client
                if visit.welcome is not None:
                    shown = getattr(pki, client).der if client and options["request_cert"] else b""
                    assert visit.welcome.certificate == shown, client
                elif client:
                    assert_refused(visit, str(expected), UNKNOWN_CA)

    run(main)


@pytest.mark.parametrize("value", [None, 0, "", True])
def test_only_false_lets_everybody_in(run: Run, pki: Named, value: Any) -> None:
    """CVE-2021-22939: whatever slips into `reject_unauthorized` by accident does not."""

    async def main() -> None:
        async with hosting(request_cert=True, reject_unauthorized=value, ca=pki.ca_a.cert_pem) as host:
            assert (await host.visit(**credentials(pki.self_ec))).verdict == SELF_SIGNED
            assert (await host.visit()).verdict == NONE_RETURNED

    run(main)


def test_nobody_is_asked_by_default(run: Run, pki: Named, version: str) -> None:
    """`reject_unauthorized` alone asks nobody for anything."""

    async def main() -> None:
        async with hosting(reject_unauthorized=True, ca=pki.ca.cert_pem) as host:
            visit = await host.visit(max_version=version, **credentials(pki.client_ec))
            assert visit.verdict == (False, None)
            assert visit.welcome is not None
            assert visit.welcome.certificate == b""

    run(main)


@pytest.mark.parametrize(
    ("client", "code", "alert"),
    [
        ("client_ec", None, None),
        ("client", None, None),
        ("client_expired", "CERT_HAS_EXPIRED", CERTIFICATE_EXPIRED),
        ("client_not_yet_valid", "CERT_NOT_YET_VALID", BAD_CERTIFICATE),
        ("server_ec", "INVALID_PURPOSE", UNSUPPORTED_CERTIFICATE),
        ("chain_ec", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", UNKNOWN_CA),
    ],
)
def test_what_is_wrong_with_a_certificate(
    run: Run, pki: Named, version: str, client: str, code: str | None, alert: int
) -> None:
    """Each fault has its code and its alert (RFC 8446, section 6.2); without rejection it is told all the same."""

    async def main() -> None:
        own = {"max_version": version, **credentials(getattr(pki, client))}
        async with hosting(request_cert=True, ca=pki.ca.cert_pem) as host:
            visit = await host.visit(**own)
            if code is None:
                assert visit.verdict == (True, None)
            else:
                assert_refused(visit, code, alert)
        async with hosting(request_cert=True, reject_unauthorized=False, ca=pki.ca.cert_pem) as host:
            assert (await host.visit(**own)).verdict == (code is None, code)

    run(main)


def test_a_pinned_certificate(run: Run, pki: Named, version: str) -> None:
    """A self-signed certificate is let in by itself as `ca`, and lets nobody else in."""
    pinned = self_signed(common_name="agent2", key="ec")

    async def main() -> None:
        async with hosting(request_cert=True, ca=pinned.cert_pem) as host:
            assert (await host.visit(max_version=version, **credentials(pinned))).verdict == (True, None)
            assert (await host.visit(max_version=version, **credentials(pki.self_ec))).verdict == SELF_SIGNED

    run(main)


def test_a_refused_client_harms_nobody(run: Run, pki: Named, version: str) -> None:
    """While others are refused, a good client is served; each of them stands in the book once."""

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca.cert_pem) as host:
            clients = [None, pki.self_ec, pki.client_ec, pki.client_expired] * 5
            visits = (host.visit(max_version=version, **credentials(each)) for each in clients)
            met = [visit.error is None for visit in await asyncio.gather(*visits)]
            assert met == [client is pki.client_ec for client in clients]

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_over_every_stream(run: Run, pki: Named, kind: str) -> None:
    """AUTH-04: connections that are handed to the server have the same policy."""

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca.cert_pem) as host:
            good = await host.visit(kind, **credentials(pki.client_ec))
            assert good.verdict == (True, None)
            assert_refused(await host.visit(kind, **credentials(pki.leaf_a)), LONE_LEAF, UNKNOWN_CA)
            assert (await host.visit(kind)).verdict == NONE_RETURNED

    run(main)


def test_auth_13_both_self_signed(run: Run, pki: Named, version: str) -> None:
    """AUTH-13: nobody rejects, and both sides are told the truth."""

    async def main() -> None:
        asked = {"request_cert": True, "reject_unauthorized": False}
        async with hosting(**credentials(pki.self_rsa), **asked) as host:
            visit = await host.visit(max_version=version, **who(pki, "self_rsa"))
            assert visit.verdict == (False, SELF_SIGNED)
            async with to(host.server, max_version=version, **who(pki, "self_rsa")) as client:
                assert client.authorized is False
                assert client.authorization_error == SELF_SIGNED
            await host.book.get()

    run(main)


def test_auth_05_an_ec_server(run: Run, pki: Named, version: str) -> None:
    """AUTH-05: a self-signed P-256 certificate alone serves a client without verification."""

    async def main() -> None:
        def serve(socket: aiotls.TLSSocket) -> None:
            socket.end(b"ok")

        async with (
            serving(serve, **credentials(pki.self_ec)) as server,
            to(server, max_version=version, reject_unauthorized=False) as client,
        ):
            certificate = client.get_peer_certificate()
            assert certificate is not None
            assert certificate.subject["C"] == "US"
            assert await client.read() == b"ok"
            assert client.at_eof()

    run(main)


def test_auth_01_shapes_of_ca(run: Run, pki: Named, version: str) -> None:
    """AUTH-01: a list or one text, for the server, a context of it, and the client."""
    roots = [pki.ca_a.cert_pem, pki.ca_b.cert_pem]

    async def main() -> None:
        for ca in (roots, b"\n".join(roots), b"\n".join(roots).decode()):
            async with hosting(**credentials(pki.self_rsa), request_cert=True, ca=ca) as host:
                host.server.add_context("agent3", ca=ca, **credentials(pki.leaf_b))
                for client in (pki.leaf_a, pki.leaf_b):
                    own = {"ca": ca, "servername": "agent3", "max_version": version, **credentials(client)}
                    assert (await host.visit(**own)).verdict == (True, None)

    run(main)


# ---- AUTH-02: mutual authentication with intermediates


def mutual(pki: Named, version: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The client and the server of AUTH-02: CHAIN-EC and CHAIN-B, each with the other's root."""
    client = {
        **credentials(pki.chain_ec),
        "ca": pki.ca_b.cert_pem,
        "check_server_identity": lambda *_: None,
        "max_version": version,
    }
    return client, {**credentials(pki.chain_b), "ca": pki.ca_ec.cert_pem, "request_cert": True}


def leaf_only(identity: Identity) -> dict[str, Any]:
    return {"cert": identity.cert_pem, "key": identity.key_pem}


def with_root(identity: Identity, root: Identity) -> dict[str, Any]:
    return {"cert": identity.chain_pem + root.cert_pem, "key": identity.key_pem}


def test_auth_02_let_in(run: Run, pki: Named, version: str) -> None:
    """AUTH-02: full chains; nobody asked; and a server that sends its root besides."""
    client, server = mutual(pki, version)
    unasked = {**client, "cert": None, "key": None}

    async def main() -> None:
        async with hosting(**server) as host:
            visit = await host.visit(**client)
            assert (visit.verdict, visit.error) == ((True, None), None)
            assert visit.welcome is not None
            assert visit.welcome.certificate == pki.chain_ec.der
        async with hosting(**{**server, "request_cert": False}) as host:
            assert (await host.visit(**unasked)).verdict == (False, None)
        async with hosting(**{**server, **with_root(pki.chain_b, pki.ca_b)}) as host:
            assert (await host.visit(**client)).verdict == (True, None)

    run(main)


def test_auth_02_no_certificate(run: Run, pki: Named, version: str) -> None:
    """AUTH-02: under TLS 1.3 the client has "secure_connect" first and the alert later, under TLS 1.2 only that."""
    client, server = mutual(pki, version)

    async def main() -> None:
        async with hosting(**server) as host:
            visit = await host.visit(**{**client, "cert": None, "key": None})
            assert isinstance(visit.refusal, aiotls.VerificationError)
            assert visit.refusal.code == NONE_RETURNED
            assert visit.sessions == ()
            if version == "TLSv1.2":
                assert not visit.secure
                assert visit.error.code in HANDSHAKE_FAILURE
            else:
                assert visit.secure
                assert visit.error.code == "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"
                assert visit.error.alert == 116

    run(main)


@pytest.mark.parametrize("form", ["list", "one text", "list of one text"])
def test_auth_02_intermediates_in_ca(run: Run, pki: Named, version: str, form: str) -> None:
    """AUTH-02: both sides send only their leaf; root and intermediate stand in the other's `ca`."""
    client, server = mutual(pki, version)

    def shape(*identities: Identity) -> Any:
        texts = [identity.cert_pem for identity in identities]
        return {"list": texts, "one text": b"".join(texts), "list of one text": [b"".join(texts)]}[form]

    async def main() -> None:
        server.update(leaf_only(pki.chain_b), ca=shape(pki.ca_ec, pki.int_ec))
        client.update(leaf_only(pki.chain_ec), ca=shape(pki.ca_b, pki.int_b))
        async with hosting(**server) as host:
            assert (await host.visit(**client)).verdict == (True, None)

    run(main)


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("the server sends its leaf only", LONE_LEAF),
        ("the client has no ca", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"),
        ("the client has no ca, the server sends its root", "SELF_SIGNED_CERT_IN_CHAIN"),
    ],
)
def test_auth_02_the_client_refuses(run: Run, pki: Named, version: str, case: str, code: str) -> None:
    """AUTH-02: the client has the code, the server the alert; nobody had a secure connection."""
    client, server = mutual(pki, version)
    if "leaf only" in case:
        server.update(leaf_only(pki.chain_b))
    if "sends its root" in case:
        server.update(with_root(pki.chain_b, pki.ca_b))
    if "no ca" in case:
        del client["ca"]

    async def main() -> None:
        async with hosting(**server) as host:
            visit = await host.visit(**{"ca": None, **client})
            assert (visit.welcome, visit.secure) == (None, False)
            assert visit.error.code == code
            assert isinstance(visit.refusal, aiotls.AlertReceived)
            assert visit.refusal.code == UNKNOWN_CA_CODE

    run(main)


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("the client sends its leaf only", LONE_LEAF),
        ("the server has no ca", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"),
        ("the server has no ca, the client sends its root", "SELF_SIGNED_CERT_IN_CHAIN"),
    ],
)
def test_auth_02_the_server_refuses(run: Run, pki: Named, version: str, case: str, code: str) -> None:
    """AUTH-02: the server has the code, the client the alert, under TLS 1.2 before it is secure."""
    client, server = mutual(pki, version)
    if "leaf only" in case:
        client.update(leaf_only(pki.chain_ec))
    if "sends its root" in case:
        client.update(with_root(pki.chain_ec, pki.ca_ec))
    if "no ca" in case:
        del server["ca"]

    async def main() -> None:
        async with hosting(**server) as host:
            visit = await host.visit(**client)
            assert_refused(visit, code, UNKNOWN_CA)
            assert visit.error.code == UNKNOWN_CA_CODE
            assert visit.secure <= (version == "TLSv1.3")
            assert visit.sessions == ()

    run(main)


@pytest.mark.parametrize("label", [b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE"])
def test_auth_02_labels_of_ca(run: Run, pki: Named, version: str, label: bytes) -> None:
    """AUTH-02: other PEM labels are accepted in `ca`, on both sides."""
    client, server = mutual(pki, version)

    def labelled(identity: Identity) -> bytes:
        return identity.cert_pem.replace(b"CERTIFICATE", label)

    async def main() -> None:
        async with hosting(**{**server, "ca": labelled(pki.ca_ec)}) as host:
            assert (await host.visit(**{**client, "ca": labelled(pki.ca_b)})).verdict == (True, None)

    run(main)


# ---- asked for later, in a renegotiation


RENEGOTIATING: dict[str, Any] = {
    "max_version": "TLSv1.2",
    "secure_options": aiotls.constants.SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION,
}


async def renegotiated(pki: Named, client: str | None, *, reject: bool) -> tuple[Any, Any]:
    """A client is let in and then asked for its certificate: what the server then knows, and what the client got."""
    known: asyncio.Queue[Any] = asyncio.Queue()

    async def serve(socket: aiotls.TLSSocket) -> None:
        assert (socket.authorized, socket.authorization_error) == (False, None)
        assert await socket.readexactly(5) == b"enter"
        try:
            await socket.renegotiate(request_cert=True, reject_unauthorized=reject)
        except aiotls.TLSError as error:
            known.put_nowait(error)
            return
        certificate = socket.get_peer_certificate()
        assert (certificate.raw if certificate else b"") == (getattr(pki, client).der if client else b"")
        known.put_nowait((socket.authorized, socket.authorization_error))
        socket.write(b"secret")
        assert await socket.readexactly(6) == b"thanks"
        socket.end()

    own = credentials(pki.self_rsa)
    async with serving(serve, ca=pki.ca_a.cert_pem, **own, **RENEGOTIATING) as server:
        failed: list[Any] = []
        server.on("tls_client_error", lambda error, _: failed.append(error))
        visitor = to(server, **who(pki, client))
        await visitor
        visitor.write(b"enter")
        try:
            got: Any = await visitor.readexactly(6)
            visitor.write(b"thanks")
            assert await visitor.read() == b""
        except aiotls.TLSError as error:
            got = error
        await gone(visitor)
        assert failed == [], "it was secure before"
        return await known.get(), got


@pytest.mark.parametrize(("client", "verdict"), [*zip(CLIENTS, POLICIES["asked, CA-A"][1], strict=True)])
def test_auth_04_asked_later(run: Run, pki: Named, client: str | None, verdict: Any) -> None:
    """AUTH-04: `renegotiate(request_cert=True, reject_unauthorized=False)` succeeds, and tells; data passes then."""

    async def main() -> None:
        assert await renegotiated(pki, client, reject=False) == (verdict, b"secret")

    run(main)


@pytest.mark.parametrize(("client", "verdict"), [*zip(CLIENTS, POLICIES["required, CA-A"][1], strict=True)])
def test_required_later(run: Run, pki: Named, client: str | None, verdict: Any) -> None:
    """AUTH-04: the same with rejection: who does not pass gets the alert and nothing else."""

    async def main() -> None:
        known, got = await renegotiated(pki, client, reject=True)
        if client == "leaf_a":
            assert (known, got) == (verdict, b"secret")
        else:
            assert isinstance(known, aiotls.VerificationError)
            assert known.code == verdict
            assert isinstance(got, aiotls.AlertReceived)
            assert got.alert == (UNKNOWN_CA if client else 40)

    run(main)
