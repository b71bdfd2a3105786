"""A server that asks for the client's certificate later, by renegotiation."""

import asyncio
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import until
from tests.support.pki import Named
from tests.support.secured import WAYS, secured

CLIENTS = [
    ("leaf_a", None),
    ("self_rsa", "DEPTH_ZERO_SELF_SIGNED_CERT"),
    ("leaf_b", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
    (None, "UNABLE_TO_GET_ISSUER_CERT"),
]
"""Who may come to a server that trusts CA-A, and what is wrong with them."""


def server_of(pki: Named, **options: Any) -> dict[str, Any]:
    return {"max_version": "TLSv1.2", "ca": pki.ca_a.cert_pem, **options}


def client_of(pki: Named, name: str | None, **options: Any) -> dict[str, Any]:
    if name is None:
        return options
    identity = getattr(pki, name)
    return {"cert": identity.chain_pem, "key": identity.key_pem, **options}


async def talk(near: aiotls.TLSSocket, far: aiotls.TLSSocket) -> None:
    near.write(b"x")
    assert await far.readexactly(1) == b"x"
    far.write(b"y")
    assert await near.readexactly(1) == b"y"


@pytest.mark.parametrize(("name", "code"), CLIENTS)
@pytest.mark.parametrize("way", WAYS)
def test_auth_04_looking_only(run: Run, pki: Named, way: str, name: str | None, code: str | None) -> None:
    """AUTH-04: afterwards the server knows who it is, and whether to believe it."""

    async def main() -> None:
        options = server_of(pki, secure_options=aiotls.constants.SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION)
        async with secured(way, options, client_of(pki, name)) as (near, far):
            assert not far.get_peer_certificate()
            assert far.authorized is False
            assert far.authorization_error is None
            await far.renegotiate(request_cert=True, reject_unauthorized=False)
            assert far.authorized is (code is None)
            assert far.authorization_error == code
            certificate = far.get_peer_certificate()
            assert certificate is not None
            assert bool(certificate) is (name is not None)
            if name is not None:
                assert certificate.raw == getattr(pki, name).der
            await talk(near, far)

    run(main)


def test_a_session_is_no_way_round(run: Run, pki: Named) -> None:
    """Without that option too the client is asked: its session of before, without a certificate, is not enough."""

    async def main() -> None:
        async with secured(server=server_of(pki), client=client_of(pki, "leaf_a")) as (near, far):
            await far.renegotiate(request_cert=True)
            assert far.authorized is True
            assert far.get_peer_certificate().raw == pki.leaf_a.der  # type: ignore[union-attr]
            await far.renegotiate()
            assert far.authorized is True
            await near.renegotiate()
            assert far.authorized is True
            assert far.get_peer_certificate().raw == pki.leaf_a.der  # type: ignore[union-attr]
            await talk(near, far)

    run(main)


@pytest.mark.parametrize(
    ("name", "code", "alert"),
    [
        ("self_rsa", "DEPTH_ZERO_SELF_SIGNED_CERT", 48),
        ("leaf_b", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 48),
        (None, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE", 40),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_refusing(run: Run, pki: Named, way: str, name: str | None, code: str, alert: int) -> None:
    """The await raises what is wrong, and the client gets the alert that says so; it is no ``"tls_client_error"``."""

    async def main() -> None:
        async with secured(way, server_of(pki), client_of(pki, name)) as (near, far):
            rejected: list[Any] = []
            if far.server is not None:
                far.server.on("tls_client_error", lambda *arguments: rejected.append(arguments))
            reading = asyncio.create_task(near.read())
            with pytest.raises(aiotls.VerificationError) as caught:
                await far.renegotiate(request_cert=True, reject_unauthorized=True)
            assert caught.value.code == code
            assert far.destroyed
            with pytest.raises(aiotls.AlertReceived) as received:
                await reading
            assert received.value.alert == alert
            assert rejected == []

    run(main)


def test_the_policy_of_before_stands(run: Run, pki: Named) -> None:
    """None leaves `reject_unauthorized` as it was: true by default."""

    async def main() -> None:
        async with secured(server=server_of(pki), client=client_of(pki, "leaf_b")) as (near, far):
            near.on("error", lambda _: None)
            with pytest.raises(aiotls.VerificationError):
                await far.renegotiate(request_cert=True)
            await until(lambda: near.destroyed)

    run(main)


@pytest.mark.parametrize("accept", [True, False])
def test_the_check_of_the_user(run: Run, pki: Named, accept: bool) -> None:
    """``check_client_identity`` is asked about the certificate that came later; data waits for its answer."""
    refusal = LookupError("not this one")

    async def main() -> None:
        asked: list[bytes] = []
        waiting, answered = asyncio.Event(), asyncio.Event()

        async def check(_socket: aiotls.TLSSocket, certificate: Any) -> None:
            asked.append(certificate.raw)
            waiting.set()
            await answered.wait()
            if not accept:
                raise refusal

        options = server_of(pki, check_client_identity=check)
        async with secured(server=options, client=client_of(pki, "leaf_a")) as (near, far):
            near.on("error", lambda _: None)
            delivered: list[bytes] = []
            far.on("data", delivered.append)
            far.on("error", lambda _: None)
            assert asked == []
            task = asyncio.create_task(far.renegotiate(request_cert=True))
            await waiting.wait()
            near.write(b"behind it")
            for _ in range(20):
                await asyncio.sleep(0)
            assert delivered == []
            assert not task.done()
            answered.set()
            if accept:
                await task
                await until(lambda: delivered)
                assert delivered == [b"behind it"]
                assert far.authorized is True
            else:
                with pytest.raises(LookupError) as caught:
                    await task
                assert caught.value is refusal
                assert delivered == []
                await until(lambda: near.destroyed)
            assert asked == [pki.leaf_a.der]

    run(main)


def test_nothing_leaves_after_a_refusal(run: Run, pki: Named) -> None:
    """What the server writes while it asks, or as it refuses, is not for that client."""

    async def main() -> None:
        async def check(socket: aiotls.TLSSocket, _certificate: Any) -> None:
            socket.write(b"not for you")
            await asyncio.sleep(0)
            socket.write(b"nor this")
            raise LookupError("not this one")

        options = server_of(pki, check_client_identity=check)
        async with secured(server=options, client=client_of(pki, "leaf_a")) as (near, far):
            received: list[bytes] = []
            near.on("data", received.append)
            near.on("error", lambda _: None)
            with pytest.raises(LookupError):
                await far.renegotiate(request_cert=True)
            await until(lambda: near.destroyed)
            assert received == []

    run(main)


def test_asked_again(run: Run, pki: Named) -> None:
    """A client that has shown its certificate already is asked for it again."""

    async def main() -> None:
        options = server_of(pki, request_cert=True)
        async with secured(server=options, client=client_of(pki, "leaf_a")) as (near, far):
            assert far.authorized is True
            await far.renegotiate(request_cert=False)
            await talk(near, far)
            await far.renegotiate(request_cert=True)
            assert far.authorized is True
            assert far.get_peer_certificate().raw == pki.leaf_a.der  # type: ignore[union-attr]
            await talk(near, far)

    run(main)


def test_a_client_asks_for_nothing(run: Run, pki: Named) -> None:
    """The keywords are for servers: a client's renegotiation changes nothing about what it demands of the server."""

    async def main() -> None:
        async with secured(server=server_of(pki)) as (near, far):
            await near.renegotiate(request_cert=True, reject_unauthorized=False)
            assert near.authorized is True
            assert far.authorization_error is None
            await talk(near, far)

    run(main)
