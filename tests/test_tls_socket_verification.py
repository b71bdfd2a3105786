"""Verification inside the handshake: what is refused, with which code, and with which alert the other side is told."""

import asyncio
import ssl
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import tls_pair
from tests.support.pki import Identity, Named, self_signed

HANDSHAKE_FAILURE = ("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE", "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE")
UNKNOWN_CA = "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"
BAD_CERTIFICATE = ("ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE", "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE")


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def credentials(identity: Identity) -> dict[str, Any]:
    return {"cert": identity.chain_pem, "key": identity.key_pem}


def leaf_only(identity: Identity) -> dict[str, Any]:
    return {"cert": identity.cert_pem, "key": identity.key_pem}


async def outcome(client: dict[str, Any], server: dict[str, Any]) -> tuple[Any, Any]:
    """What each side came to: its socket's `authorization_error`, or the exception of the handshake.

    Under TLS 1.3 a client is done before the server has looked at its certificate, so a refusal comes with the data.
    """
    async with tls_pair(client=client, server=server, secure=False) as (near, far):

        async def side(socket: aiotls.TLSSocket) -> Any:
            try:
                await socket
                authorized = socket.authorized, socket.authorization_error
                socket.write(b"x")
                await socket.readexactly(1)
            except aiotls.TLSError as error:
                return error
            return authorized

        results = await asyncio.gather(side(near), side(far))
        return results[0], results[1]


# ---- the client verifies the server


def case_expired(pki: Named) -> tuple[Identity, bytes]:
    return pki.ca.issue(["localhost"], key="ec", expired=True), pki.ca.cert_pem


def case_not_yet_valid(pki: Named) -> tuple[Identity, bytes]:
    return pki.ca.issue(["localhost"], key="ec", not_yet_valid=True), pki.ca.cert_pem


def case_self_signed(pki: Named) -> tuple[Identity, bytes]:
    return pki.self_ec, pki.ca.cert_pem


def case_unknown_issuer_of_a_chain(pki: Named) -> tuple[Identity, bytes]:
    return pki.chain_a, pki.ca_b.cert_pem


def case_lone_leaf(pki: Named) -> tuple[Identity, bytes]:
    return pki.leaf_b, pki.ca_a.cert_pem


def case_incomplete_chain(pki: Named) -> tuple[Identity, bytes]:
    return Identity(pki.chain_a.certificate, pki.chain_a.key), pki.ca_a.cert_pem


def case_root_in_the_chain(pki: Named) -> tuple[Identity, bytes]:
    chain = (*pki.chain_a.intermediates, pki.ca_a.certificate)
    return Identity(pki.chain_a.certificate, pki.chain_a.key, chain), pki.ca_b.cert_pem


def case_a_certificate_for_clients(pki: Named) -> tuple[Identity, bytes]:
    return pki.ca.issue(["localhost"], key="ec", purposes=["client"]), pki.ca.cert_pem


@pytest.mark.parametrize(
    ("make", "code", "alert"),
    [
        (case_expired, "CERT_HAS_EXPIRED", 45),
        (case_not_yet_valid, "CERT_NOT_YET_VALID", 42),
        (case_self_signed, "DEPTH_ZERO_SELF_SIGNED_CERT", 48),
        (case_unknown_issuer_of_a_chain, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", 48),
        (case_lone_leaf, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 48),
        (case_incomplete_chain, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 48),
        (case_root_in_the_chain, "SELF_SIGNED_CERT_IN_CHAIN", 48),
        (case_a_certificate_for_clients, "INVALID_PURPOSE", 43),
    ],
)
def test_refused_servers(run: Run, pki: Named, version: str, make: Any, code: str, alert: int) -> None:
    """AUTH-02, AUTH-06, AUTH-12: the client has the code of the certificate, the server the right alert."""
    identity, ca = make(pki)

    async def main() -> None:
        refused, alerted = await outcome({"ca": ca, "max_version": version}, credentials(identity))
        assert isinstance(refused, aiotls.VerificationError)
        assert isinstance(refused, ssl.SSLCertVerificationError)
        assert refused.code == code
        assert refused.verify_code > 0
        assert isinstance(alerted, aiotls.AlertReceived)
        assert alerted.alert == alert
        assert alerted.code.startswith("ERR_SSL_")

    run(main)


@pytest.mark.parametrize(
    ("server", "ca", "name", "code"),
    [
        ("leaf_a", None, "agent1", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        ("leaf_a", "ca_a", "wrong", "ERR_TLS_CERT_ALTNAME_INVALID"),
        ("leaf_a", "ca_a", "agent1", None),
        ("leaf_a", "ca_b", "agent1", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        ("self_rsa", None, "agent2", "DEPTH_ZERO_SELF_SIGNED_CERT"),
        ("self_rsa", "ca_a", "agent2", "DEPTH_ZERO_SELF_SIGNED_CERT"),
        ("self_rsa", "ca_b", "agent2", "DEPTH_ZERO_SELF_SIGNED_CERT"),
        ("leaf_b", None, "agent3", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        ("leaf_b", "ca_a", "agent3", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        ("leaf_b", "ca_b", "agent3", None),
        ("leaf_b", "ca_b", "wrong", "ERR_TLS_CERT_ALTNAME_INVALID"),
    ],
)
def test_the_truth_without_verification(
    run: Run, pki: Named, server: str, ca: str | None, name: str, code: str | None
) -> None:
    """AUTH-14, AUTH-03: `reject_unauthorized=False` connects; the properties tell, the chain before the name."""

    async def main() -> None:
        options = {
            "ca": [getattr(pki, ca).cert_pem] if ca else [],
            "servername": name,
            "reject_unauthorized": False,
        }
        (authorized, error), _ = await outcome(options, credentials(getattr(pki, server)))
        assert error == code
        assert authorized is (code is None)

    run(main)


@pytest.mark.parametrize("value", [None, 0, "", True])
def test_only_false_turns_verification_off(run: Run, pki: Named, value: Any) -> None:
    """Whatever slips into `reject_unauthorized` by accident does not."""

    async def main() -> None:
        refused, _ = await outcome({"ca": pki.ca_a.cert_pem, "reject_unauthorized": value}, credentials(pki.server_ec))
        assert isinstance(refused, aiotls.VerificationError)

    run(main)


def test_partial_chain(run: Run, pki: Named) -> None:
    """AUTH-11: an intermediate as trust anchor counts only when asked for."""

    async def main() -> None:
        trust = {"ca": pki.int_a.cert_pem, "check_server_identity": lambda *_: None}
        accepted, _ = await outcome({**trust, "allow_partial_trust_chain": True}, credentials(pki.chain_a))
        assert accepted == (True, None)
        refused, _ = await outcome(trust, credentials(pki.chain_a))
        assert refused.code == "UNABLE_TO_GET_ISSUER_CERT"

    run(main)


@pytest.mark.parametrize("form", ["list", "one string", "list of one string"])
def test_shapes_of_ca(run: Run, pki: Named, form: str) -> None:
    """AUTH-01, AUTH-02, AUTH-08: only the leaf is sent; root and intermediate stand in `ca`."""
    both = [pki.ca_b.cert_pem, pki.int_b.cert_pem]
    ca: Any = {"list": both, "one string": b"\n".join(both).decode(), "list of one string": [b"".join(both)]}[form]

    async def main() -> None:
        options = {"ca": ca, "servername": "agent10.example.com"}
        accepted, _ = await outcome(options, leaf_only(pki.chain_b))
        assert accepted == (True, None)

    run(main)


def test_a_self_signed_certificate_as_its_own_ca(run: Run, pki: Named) -> None:
    """AUTH-07, AUTH-15: also without the right to sign."""

    async def main() -> None:
        accepted, _ = await outcome({"ca": pki.self_localhost.cert_pem}, credentials(pki.self_localhost))
        assert accepted == (True, None)
        plain = self_signed(["localhost"], key="ec")
        accepted, _ = await outcome({"ca": plain.cert_pem}, credentials(plain))
        assert accepted == (True, None)

    run(main)


# ---- the identity of the server


def test_wrong_name(run: Run, pki: Named, version: str) -> None:
    """A good certificate of somebody else: bad_certificate goes out, and the client's certificate does not."""

    async def main() -> None:
        client = {"servername": "wrong.example.org", "max_version": version, **credentials(pki.client_ec)}
        server = {"request_cert": True, "reject_unauthorized": False, "ca": pki.ca.cert_pem}
        async with tls_pair(client=client, server=server, secure=False) as (near, far):
            refused, alerted = await asyncio.gather(near, far, return_exceptions=True)
            assert isinstance(refused, aiotls.ServerIdentityError)
            assert refused.code == "ERR_TLS_CERT_ALTNAME_INVALID"
            assert refused.host == "wrong.example.org"
            assert "altnames" in (refused.reason or "")
            assert refused.certificate.raw == pki.server_ec.der
            assert isinstance(alerted, aiotls.AlertReceived)
            assert alerted.alert == 42
            assert alerted.code in BAD_CERTIFICATE
            assert not far.get_peer_certificate(), "an impostor saw the client's certificate"

    run(main)


@pytest.mark.parametrize("style", ["plain", "async", "slow"])
def test_own_check_accepts(run: Run, pki: Named, version: str, style: str) -> None:
    """Asked once, with the host and the certificate, before anything is secure; what it returns does not count."""

    async def main() -> None:
        calls: list[tuple[str, Any, bool]] = []

        def plain(host: str, certificate: Any) -> object:
            calls.append((host, certificate, near.secure_connecting))
            return False

        async def later(host: str, certificate: Any) -> object:
            await asyncio.sleep(0.05 if style == "slow" else 0)
            return plain(host, certificate)

        client = {
            "servername": "agent1",
            "ca": pki.ca_a.cert_pem,
            "max_version": version,
            "check_server_identity": plain if style == "plain" else later,
        }
        async with tls_pair(client=client, server=credentials(pki.leaf_a), secure=False) as (near, far):
            near.write(b"early")
            await asyncio.gather(near, far)
            assert near.authorized
            ((host, certificate, connecting),) = calls
            assert host == "agent1"
            assert connecting
            assert certificate.raw == pki.leaf_a.der
            assert await far.readexactly(5) == b"early"

    run(main)


@pytest.mark.parametrize("style", ["plain", "async"])
@pytest.mark.parametrize("kind", [ValueError, KeyError, asyncio.CancelledError])
def test_own_check_refuses(run: Run, version: str, style: str, kind: type[BaseException]) -> None:
    """The client gets what it raises, unchanged; the server bad_certificate; nobody a secure connection."""

    async def main() -> None:
        wrong = kind("not him")

        def plain(host: str, certificate: Any) -> None:
            raise wrong

        async def later(host: str, certificate: Any) -> None:
            await asyncio.sleep(0)
            raise wrong

        client = {"max_version": version, "check_server_identity": plain if style == "plain" else later}
        async with tls_pair(client=client, secure=False) as (near, far):
            secure: list[str] = []
            near.on("secure_connect", lambda: secure.append("client"))
            far.on("secure", lambda: secure.append("server"))
            near.on("error", lambda _: None)
            failed = asyncio.ensure_future(near.wait_for("error"))
            with pytest.raises(aiotls.AlertReceived) as alerted:
                await far
            assert alerted.value.alert == 42
            error = await failed
            assert error is wrong if isinstance(wrong, Exception) else error.__cause__ is wrong
            assert secure == []
            assert near.destroyed

    run(main)


def test_own_check_with_verification_off(run: Run, version: str) -> None:
    """It is asked all the same, and its refusal stands in `authorization_error`."""

    async def main() -> None:
        def check(host: str, certificate: Any) -> None:
            raise LookupError("not him")

        client = {"max_version": version, "check_server_identity": check, "reject_unauthorized": False}
        (authorized, error), _ = await outcome(client, {})
        assert authorized is False
        assert error == "ERR_TLS_CERT_ALTNAME_INVALID"

    run(main)


def test_own_check_that_never_answers(run: Run, version: str) -> None:
    """`handshake_timeout` counts for questions too, and ends the check."""

    async def main() -> None:
        ended = asyncio.Event()

        async def check(host: str, certificate: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        client = {"max_version": version, "check_server_identity": check, "handshake_timeout": 0.05}
        async with tls_pair(client=client, secure=False) as (near, far):
            results = await asyncio.gather(near, far, return_exceptions=True)
            assert isinstance(results[0], aiotls.HandshakeTimeout)
            assert isinstance(results[1], aiotls.TLSError)
            await ended.wait()

    run(main)


def test_destroyed_while_checking(run: Run, version: str) -> None:
    """Destroying, or cancelling the await, ends the check; a late answer harms nobody."""

    async def main() -> None:
        for cancel in (False, True):
            started = asyncio.Event()
            ended = asyncio.Event()

            async def check(
                host: str, certificate: Any, started: asyncio.Event = started, ended: asyncio.Event = ended
            ) -> None:
                started.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()

            client = {"max_version": version, "check_server_identity": check}
            async with tls_pair(client=client, secure=False) as (near, far):

                async def ready(near: aiotls.TLSSocket = near) -> None:
                    await near

                waiting = asyncio.create_task(ready())
                far.on("error", lambda _: None)
                await started.wait()
                if cancel:
                    waiting.cancel()
                else:
                    near.destroy()
                with pytest.raises((asyncio.CancelledError, aiotls.StreamDestroyed)):
                    await waiting
                await ended.wait()
                assert near.destroyed

    run(main)


def test_the_check_may_destroy(run: Run, version: str) -> None:
    async def main() -> None:
        def check(host: str, certificate: Any) -> None:
            near.destroy()

        client = {"max_version": version, "check_server_identity": check}
        async with tls_pair(client=client, secure=False) as (near, far):
            far.on("error", lambda _: None)
            assert await near.wait_for("close") is False
            assert near.destroyed

    run(main)


# ---- the server verifies the client


@pytest.mark.parametrize(
    ("client", "ca", "code", "alert"),
    [
        ("client_ec", "ca", None, None),
        ("leaf_a", "ca_a", None, None),
        ("self_ec", "ca", "DEPTH_ZERO_SELF_SIGNED_CERT", 48),
        ("leaf_b", "ca_a", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 48),
        ("chain_ec", "ca_a", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", 48),
        ("chain_ec", "ca_ec", None, None),
    ],
)
def test_clients(run: Run, pki: Named, version: str, client: str, ca: str, code: str | None, alert: int | None) -> None:
    """AUTH-02, AUTH-04: accepted with `authorized`, or refused with the code, and the alert at the client."""

    async def main() -> None:
        server = {"request_cert": True, "ca": getattr(pki, ca).cert_pem}
        near, far = await outcome({"max_version": version, **credentials(getattr(pki, client))}, server)
        if code is None:
            assert far == (True, None)
        else:
            assert isinstance(far, aiotls.VerificationError)
            assert far.code == code
            assert isinstance(near, aiotls.AlertReceived)
            assert near.alert == alert
            assert near.code == UNKNOWN_CA

    run(main)


def test_no_client_certificate(run: Run, pki: Named, version: str) -> None:
    """AUTH-02: asked, none given: the codes and alerts of both versions."""

    async def main() -> None:
        server = {"request_cert": True, "ca": pki.ca.cert_pem}
        near, far = await outcome({"max_version": version}, server)
        assert isinstance(far, aiotls.VerificationError)
        assert far.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
        if version == "TLSv1.2":
            assert near.code in HANDSHAKE_FAILURE
        else:
            assert near.code == "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"
            assert near.alert == 116

    run(main)


@pytest.mark.parametrize(
    ("client", "code"),
    [
        ("leaf_a", None),
        ("self_ec", "DEPTH_ZERO_SELF_SIGNED_CERT"),
        ("leaf_b", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        (None, "UNABLE_TO_GET_ISSUER_CERT"),
    ],
)
def test_clients_that_need_not_be_known(
    run: Run, pki: Named, version: str, client: str | None, code: str | None
) -> None:
    """AUTH-04: `request_cert` with `reject_unauthorized=False` accepts everybody, and tells."""

    async def main() -> None:
        server = {"request_cert": True, "reject_unauthorized": False, "ca": pki.ca_a.cert_pem}
        own = credentials(getattr(pki, client)) if client else {}
        _, far = await outcome({"max_version": version, **own}, server)
        assert far == (code is None, code)

    run(main)


def test_clients_that_are_not_asked(run: Run, pki: Named, version: str) -> None:
    """AUTH-04: without `request_cert` nobody is authorized, and there is no error."""

    async def main() -> None:
        async with tls_pair(client={"max_version": version, **credentials(pki.client_ec)}) as (_near, far):
            assert far.authorized is False
            assert far.authorization_error is None
            assert not far.get_peer_certificate()
            assert far.get_peer_x509_certificate() is None

    run(main)


def test_mutual_authentication_with_intermediates(run: Run, pki: Named, version: str) -> None:
    """AUTH-02: an EC client with an intermediate, an RSA server with another; the own check sees the right names."""

    async def main() -> None:
        calls: list[tuple[str, Any]] = []
        client = {
            "ca": pki.ca_b.cert_pem,
            "max_version": version,
            "check_server_identity": lambda host, certificate: calls.append((host, certificate.subject["CN"])),
            **credentials(pki.chain_ec),
        }
        server = {"request_cert": True, "ca": pki.ca_ec.cert_pem, **credentials(pki.chain_b)}
        near, far = await outcome(client, server)
        assert near == far == (True, None)
        assert calls == [("localhost", "agent10.example.com")]

    run(main)
