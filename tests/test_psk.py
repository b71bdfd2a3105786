"""Pre-shared keys in place of certificates, and beside them."""

import asyncio
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import server_options
from tests.support.pki import Named
from tests.support.psk import (
    FORGER,
    IDENTITY,
    STRANGER,
    know,
    psk_client,
    psk_server,
    refused,
    show,
    watched,
)
from tests.support.secured import WAYS, secured
from tests.support.servers import echo, serving, to


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- both have the key


@pytest.mark.parametrize("way", WAYS)
def test_both_agree(run: Run, version: str, way: str) -> None:
    """PSK-01: the client is sure of the server by the key; nothing was resumed, there is no certificate."""

    async def main() -> None:
        asked: list[tuple[aiotls.TLSSocket, str]] = []
        hints: list[str | None] = []

        def server_key(socket: aiotls.TLSSocket, identity: str) -> bytes | None:
            asked.append((socket, identity))
            return know(socket, identity)

        def client_key(hint: str | None) -> aiotls.PSK:
            hints.append(hint)
            return show(hint)

        server = psk_server(server_key, psk_identity_hint="test-hint")
        async with secured(way, server, psk_client(version, client_key)) as (near, far):
            assert near.get_protocol() == far.get_protocol() == version
            assert hints == ["test-hint" if version == "TLSv1.2" else None]
            assert asked == [(far, IDENTITY)]
            assert near.authorized is True
            assert near.authorization_error is None
            assert far.authorized is False
            assert far.authorization_error is None
            for socket in (near, far):
                assert socket.is_session_reused() is False
                assert not socket.get_peer_certificate()
                assert socket.get_peer_x509_certificate() is None
            near.write(b"to the server")
            assert await far.readexactly(13) == b"to the server"
            far.write(b"to the client")
            assert await near.readexactly(13) == b"to the client"

    run(main)


@pytest.mark.parametrize("accept", [True, False])
def test_a_check_of_the_users_own(run: Run, version: str, accept: bool) -> None:
    """PSK-01: it is asked with the empty certificate; what it raises refuses the server."""
    refusal = LookupError("not that one")

    async def main() -> None:
        asked: list[tuple[str, bool]] = []

        async def check(name: str, certificate: Any) -> None:
            asked.append((name, bool(certificate)))
            if not accept:
                raise refusal

        client = psk_client(version, check_server_identity=check)
        if accept:
            async with secured("accepted", psk_server(), client) as (near, _):
                assert near.authorized is True
        else:
            async with watched(**psk_server()) as told:
                with pytest.raises(LookupError) as caught:
                    await to(told.server, **client)
                assert caught.value is refusal
        assert asked == [("localhost", False)]

    run(main)


def test_a_session_made_with_a_key(run: Run, version: str) -> None:
    """A later connection resumes it; the server's callback never sees a ticket as an identity."""

    async def main() -> None:
        identities: list[str] = []

        def server_key(socket: aiotls.TLSSocket, identity: str) -> bytes | None:
            identities.append(identity)
            return know(socket, identity)

        async with serving(echo, **psk_server(server_key)) as server:
            sessions: list[bytes] = []
            client = to(server, **psk_client(version))
            client.on("session", sessions.append)
            async with client:
                client.write(b"x")
                assert await client.readexactly(1) == b"x"
            assert sessions
            async with to(server, session=sessions[-1], **psk_client(version)) as client:
                client.write(b"y")
                assert await client.readexactly(1) == b"y"
                assert client.is_session_reused() is True
                assert client.authorized is True
            assert set(identities) == {IDENTITY}

    run(main)


def test_many_at_once(run: Run, version: str) -> None:
    """Each connection asks for its own identity and key."""

    async def main() -> None:
        keys = {f"device {number}": bytes([number + 1]) * 32 for number in range(20)}
        server = psk_server(lambda _socket, identity: keys.get(identity))

        async def one(server: aiotls.Server, identity: str) -> None:
            async with to(server, **psk_client(version, lambda _: aiotls.PSK(identity, keys[identity]))) as client:
                client.write(identity.encode())
                assert await client.readexactly(len(identity)) == identity.encode()

        async with serving(echo, **server) as listening:
            await asyncio.gather(*(one(listening, identity) for identity in keys))

    run(main)


# ---- somebody has not


def test_the_server_does_not_know_the_identity(run: Run, version: str) -> None:
    """PSK-01: both sides fail with codes of OpenSSL; the server learns why."""

    async def main() -> None:
        seen, told = await refused(psk_server(), psk_client(version, lambda _: STRANGER))
        assert told.code == "ERR_SSL_PSK_IDENTITY_NOT_FOUND"
        assert isinstance(seen, aiotls.AlertReceived)
        assert seen.code.startswith("ERR_SSL_")

    run(main)


def test_the_key_is_wrong(run: Run, version: str) -> None:
    async def main() -> None:
        seen, told = await refused(psk_server(), psk_client(version, lambda _: FORGER))
        assert isinstance(seen, aiotls.AlertReceived)
        assert isinstance(told, aiotls.ProtocolError)
        assert told.code.startswith("ERR_SSL_")
        assert told.code != "ERR_SSL_PSK_IDENTITY_NOT_FOUND"

    run(main)


@pytest.mark.parametrize(
    ("version", "cipher"),
    [
        ("TLSv1.2", "PSK-AES128-GCM-SHA256"),
        ("TLSv1.2", "ECDHE-PSK-CHACHA20-POLY1305"),
        ("TLSv1.2", "PSK-AES256-CBC-SHA384"),
        ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ],
)
def test_failure_model_31_identities_cannot_be_probed(run: Run, version: str, cipher: str) -> None:
    """Failure model 31: an unknown identity and a wrong key look the same to the client, in every key exchange."""

    async def main() -> None:
        looks = set()
        for psk in (STRANGER, FORGER, aiotls.PSK("somebody else", b"k"), aiotls.PSK(IDENTITY, b"k" * 64)):

            def answer(_hint: str | None, psk: aiotls.PSK = psk) -> aiotls.PSK:
                return psk

            error, _ = await refused(psk_server(ciphers=cipher), psk_client(version, answer, ciphers=cipher))
            looks.add((type(error), error.alert, error.code))
        assert len(looks) == 1
        ((kind, alert, _),) = looks
        assert kind is aiotls.AlertReceived
        assert alert is not None

    run(main)


def test_the_client_has_no_key(run: Run, version: str) -> None:
    """PSK-01: a client whose callback answers None fails, and so does the connection at the server."""

    async def main() -> None:
        seen, told = await refused(psk_server(), psk_client(version, lambda _: None))
        assert isinstance(seen, aiotls.PeerError)
        assert seen.code.startswith("ERR_SSL_")
        assert isinstance(told, aiotls.TLSError)

    run(main)


@pytest.mark.parametrize("side", ["server", "client"])
def test_one_side_has_no_keys_at_all(run: Run, version: str, side: str) -> None:
    """A callback of the other side alone opens nothing."""

    async def main() -> None:
        server = psk_server(None if side == "server" else know)
        seen, told = await refused(server, psk_client(version, None if side == "client" else show))
        # A client without a key has no suite of TLS 1.2 to offer, and so does not even begin.
        assert isinstance(seen, aiotls.PeerError)
        assert isinstance(told, aiotls.TLSError)

    run(main)


def test_no_suite_for_keys_by_default(run: Run) -> None:
    """Under TLS 1.2 keys need suites that the default list leaves out."""

    async def main() -> None:
        server = {**psk_server(), "ciphers": None}
        _, told = await refused(server, psk_client("TLSv1.2"))
        assert told.code == "ERR_SSL_NO_SHARED_CIPHER"

    run(main)


# ---- beside certificates


class TestWithCertificates:
    """A server with a certificate that knows keys too."""

    BOTH = "PSK+HIGH:ECDHE+AESGCM"

    def test_the_key_is_preferred(self, run: Run, version: str) -> None:
        async def main() -> None:
            server = server_options(ciphers="PSK+HIGH", psk_callback=know)
            async with secured("accepted", server, psk_client(version)) as (near, _):
                assert near.authorized is True
                assert not near.get_peer_certificate()

        run(main)

    def test_a_client_without_a_key(self, run: Run, pki: Named, version: str) -> None:
        """It gets the certificate from the same server, and verifies it."""

        async def main() -> None:
            server = {"ciphers": self.BOTH, "psk_callback": know}
            async with secured("accepted", server, {"max_version": version}) as (near, _):
                assert near.authorized is True
                assert near.get_peer_certificate().raw == pki.server_ec.der  # type: ignore[union-attr]
            async with watched(**server) as told:
                with pytest.raises(aiotls.VerificationError) as caught:
                    await to(told.server, max_version=version, ca=pki.ca_a.cert_pem)
                assert caught.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"

        run(main)

    @pytest.mark.parametrize("psk", [STRANGER, None], ids=["unknown", "none"])
    @pytest.mark.parametrize("trusted", [True, False])
    def test_a_key_that_opens_nothing(self, run: Run, pki: Named, psk: aiotls.PSK | None, trusted: bool) -> None:
        """TLS 1.3 goes on with the certificate, and a client that has a callback verifies it like any other."""

        async def main() -> None:
            client = psk_client("TLSv1.3", lambda _: psk, ca=(pki.ca if trusted else pki.ca_a).cert_pem)
            async with watched(ciphers="PSK+HIGH", psk_callback=know) as told:
                if trusted:
                    async with to(told.server, **client) as near:
                        assert near.authorized is True
                        assert near.get_peer_certificate().raw == pki.server_ec.der  # type: ignore[union-attr]
                else:
                    with pytest.raises(aiotls.VerificationError):
                        await to(told.server, **client)

        run(main)

    def test_a_wrong_key_is_not_made_good(self, run: Run) -> None:
        """TLS 1.3: a binder that does not verify ends the handshake, certificate or not (RFC 8446, 4.2.11)."""

        async def main() -> None:
            server = {"ciphers": "TLS_AES_128_GCM_SHA256", "psk_callback": know}
            seen, told = await refused(server, psk_client("TLSv1.3", lambda _: FORGER))
            assert isinstance(seen, aiotls.AlertReceived)
            assert told.code.startswith("ERR_SSL_")

        run(main)

    @pytest.mark.parametrize("name", ["localhost", "other.example"])
    def test_both_at_once(self, run: Run, pki: Named, name: str) -> None:
        """RSA_PSK (RFC 4279): the certificate is verified for its name, the key on top of it."""

        async def main() -> None:
            rsa = {"cert": pki.server.chain_pem, "key": pki.server.key_pem, "ciphers": "RSA-PSK-AES256-GCM-SHA384"}
            client = psk_client("TLSv1.2", ciphers="RSA-PSK-AES256-GCM-SHA384", servername=name)
            if name == "localhost":
                async with secured("accepted", {**rsa, "psk_callback": know}, client) as (near, _):
                    assert near.authorized is True
                    assert near.get_peer_certificate().raw == pki.server.der  # type: ignore[union-attr]
                client["psk_callback"] = lambda _: FORGER
                await refused({**rsa, "psk_callback": know}, client)
            else:
                seen, _ = await refused({**rsa, "psk_callback": know}, client)
                assert seen.code == "ERR_TLS_CERT_ALTNAME_INVALID"

        run(main)

    @pytest.mark.parametrize("reject", [True, False])
    def test_the_server_asks_for_certificates(self, run: Run, pki: Named, version: str, reject: bool) -> None:
        """Who has the key has proved itself and needs no certificate; who has neither has not."""

        async def main() -> None:
            server: dict[str, Any] = {"ciphers": self.BOTH, "psk_callback": know, "ca": pki.ca.cert_pem}
            server |= {"request_cert": True, "reject_unauthorized": reject}
            async with secured("accepted", server, psk_client(version)) as (_, far):
                assert far.authorized is True
                assert far.authorization_error is None
                assert not far.get_peer_certificate()
            if reject:
                _, told = await refused(server, {"max_version": version})
                assert told.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
            else:
                async with secured("accepted", server, {"max_version": version}) as (_, far):
                    assert far.authorized is False
                    assert far.authorization_error == "UNABLE_TO_GET_ISSUER_CERT"

        run(main)
