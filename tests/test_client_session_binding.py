"""CVE-2020-8172, CVE-2026-48934, CVE-2026-58040: where a client's session counts, and where it does not."""

import asyncio
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pki import Identity, Named, new_rsa_key
from tests.support.servers import port_of, serving, to
from tests.support.sessions import first_session, greet, visit, witness
from tests.test_dhparam import dh_group


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def credentials(identity: Identity) -> dict[str, Any]:
    return {"cert": identity.chain_pem, "key": identity.key_pem}


class TestBinding:
    """CVE-2026-48934, CVE-2026-58040: a session counts for the name and the trust it was made with, nowhere else."""

    def test_another_name(self, run: Run, version: str) -> None:
        """The certificate is good for both names; still the session of one is not offered for the other."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session = await first_session(server, servername="a.example.com")
                other = await visit(server, servername="b.example.com", session=session)
                assert (other.reused, other.authorized) == (False, True)
                same = await visit(server, servername="a.example.com", session=session)
                assert (same.reused, same.authorized) == (True, True)

        run(main)

    @pytest.mark.parametrize("way", ["option", "method"])
    def test_another_trust(self, run: Run, pki: Named, version: str, way: str) -> None:
        """Whoever trusts other authorities verifies the certificate, and refuses it."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session = await first_session(server)
                options: dict[str, Any] = {"session": session} if way == "option" else {}
                client = to(server, ca=pki.ca_b.cert_pem, **options)
                if way == "method":
                    client.set_session(session)
                with pytest.raises(aiotls.VerificationError) as refusal:
                    await client
                assert refusal.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"

        run(main)

    def test_equal_trust(self, run: Run, pki: Named, version: str) -> None:
        """Another context object with the same authorities is the same trust."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session: bytes | None = None
                for reused in (False, True):
                    context = aiotls.create_secure_context(ca=pki.ca.cert_pem)
                    options: dict[str, Any] = {"servername": "localhost", "allow_half_open": True, "session": session}
                    seen = await witness(
                        aiotls.connect("127.0.0.1", port_of(server), secure_context=context, **options)
                    )
                    assert seen.reused is reused
                    session = seen.last

        run(main)

    def test_a_stricter_security_level(self, run: Run, pki: Named, version: str) -> None:
        """A certificate whose key is too small stays refused: no session made at a lower level helps it."""

        async def main() -> None:
            weak = pki.ca.issue(["localhost"], ip_addresses=["127.0.0.1"], key=new_rsa_key(1024))
            low, high = ({"ciphers": f"DEFAULT:@SECLEVEL={level}"} for level in (0, 2))
            async with serving(greet, max_version=version, **low, **credentials(weak)) as server:
                first = await visit(server, **low)
                assert (first.reused, first.authorized) == (False, True)
                with pytest.raises(aiotls.VerificationError) as refusal:
                    await to(server, session=first.last, **high)
                assert refusal.value.code == "EE_KEY_TOO_SMALL"
                again = await visit(server, session=first.last, **low)
                assert (again.reused, again.authorized) == (True, True)

        run(main)

    def test_the_default_level_is_the_same_written_out(self, run: Run, version: str) -> None:
        """It is the level that counts, not how the option is written."""

        async def main() -> None:
            level = aiotls.create_secure_context(ca=[])._native.security_level()
            async with serving(greet, max_version=version) as server:
                session = await first_session(server)
                seen = await visit(server, session=session, ciphers=f"DEFAULT:@SECLEVEL={level}")
                assert (seen.reused, seen.authorized) == (True, True)

        run(main)

    def test_a_larger_group(self, run: Run, pki: Named) -> None:
        """`min_dh_size`: what was agreed on with a group that is too small now is not resumed."""

        async def main() -> None:
            suites: dict[str, Any] = {"ciphers": "DHE-RSA-AES128-GCM-SHA256", "max_version": "TLSv1.2"}
            async with serving(greet, **suites, dhparam=dh_group(2048), **credentials(pki.server)) as server:
                session = await first_session(server, **suites)
                with pytest.raises(aiotls.WeakParametersError) as refusal:
                    await to(server, **suites, session=session, min_dh_size=3072)
                assert refusal.value.code == "ERR_TLS_DH_PARAM_SIZE"
                assert (await visit(server, **suites, session=session)).reused is True
                mine = await first_session(server, **suites, min_dh_size=2048)
                assert (await visit(server, **suites, session=mine, min_dh_size=2048)).reused is True

        run(main)

    @pytest.mark.parametrize("style", ["plain", "async"])
    def test_identity_is_asked_again(self, run: Run, version: str, style: str) -> None:
        """The check of the user is asked on every connection, resumed or not, with the same certificate."""

        async def main() -> None:
            asked: list[tuple[str, bytes]] = []

            def check(hostname: str, certificate: aiotls.PeerCertificate) -> None:
                asked.append((hostname, certificate.raw))

            async def check_later(hostname: str, certificate: aiotls.PeerCertificate) -> None:
                await asyncio.sleep(0)
                check(hostname, certificate)

            options = {"check_server_identity": check if style == "plain" else check_later}
            async with serving(greet, max_version=version) as server:
                first = await visit(server, **options)
                again = await visit(server, session=first.last, **options)
                assert (first.reused, again.reused) == (False, True)
            assert asked == [("localhost", first.peer)] * 2

        run(main)

    def test_another_check(self, run: Run, version: str) -> None:
        """A session made under a lenient check does not pass a strict one; the exception is the user's."""

        async def main() -> None:
            refusal = PermissionError("not this one")

            def refuse(_: str, __: aiotls.PeerCertificate) -> None:
                raise refusal

            async with serving(greet, max_version=version) as server:
                session = await first_session(server, check_server_identity=lambda *_: None)
                with pytest.raises(PermissionError) as raised:
                    await to(server, session=session, check_server_identity=refuse)
                assert raised.value is refusal

        run(main)

    def test_a_lenient_check_does_not_help_the_default_one(self, run: Run, pki: Named, version: str) -> None:
        """A session for a name that the certificate does not have fails the default check when it is resumed."""

        async def main() -> None:
            options = {"ca": pki.ca_a.cert_pem, "servername": "good.example.org"}
            async with serving(greet, max_version=version, **credentials(pki.leaf_a)) as server:
                session = await first_session(server, check_server_identity=lambda *_: None, **options)
                with pytest.raises(aiotls.ServerIdentityError):
                    await to(server, session=session, **options)

        run(main)


class TestUnverified:
    """CVE-2020-8172: a session of a server that was not verified never stands for a verified one."""

    def test_it_is_good_without_verification(self, run: Run, pki: Named, version: str) -> None:
        """The resumed connection tells the same truth as the first one."""

        async def main() -> None:
            options = {"ca": pki.ca_b.cert_pem, "reject_unauthorized": False}
            async with serving(greet, max_version=version) as server:
                first = await visit(server, **options)
                again = await visit(server, session=first.last, **options)
                assert (first.reused, again.reused) == (False, True)
                for seen in (first, again):
                    assert seen.authorized is False
                    assert seen.authorization_error == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"

        run(main)

    def test_it_is_no_good_with_verification(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session = await first_session(server, ca=pki.ca_b.cert_pem, reject_unauthorized=False)
                for ca in (pki.ca_b.cert_pem, pki.ca_a.cert_pem):
                    with pytest.raises(aiotls.VerificationError) as refusal:
                        await to(server, session=session, ca=ca)
                    assert refusal.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"

        run(main)

    def test_where_the_server_is_trusted_after_all(self, run: Run, pki: Named, version: str) -> None:
        """Whoever trusts its authority verifies it in a full handshake."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                session = await first_session(server, ca=pki.ca_b.cert_pem, reject_unauthorized=False)
                seen = await visit(server, session=session)
                assert (seen.reused, seen.authorized) == (False, True)

        run(main)

    def test_a_refused_server_gives_none(self, run: Run, pki: Named, version: str) -> None:
        """No "session" comes from a connection that was refused, and nothing can be resumed."""

        async def main() -> None:
            async with serving(greet, max_version=version) as server:
                client = to(server, ca=pki.ca_b.cert_pem)
                sessions: list[bytes] = []
                client.on("session", sessions.append)
                with pytest.raises(aiotls.VerificationError):
                    await client
                assert client.get_session() is None
                assert sessions == []

        run(main)

    def test_nobody_stays_nobody(self, run: Run) -> None:
        """A session with a server that shows no certificate does not count for that of a key (RFC 4279)."""

        async def main() -> None:
            suites: dict[str, Any] = {"ciphers": "aNULL:@SECLEVEL=0", "max_version": "TLSv1.2"}
            async with serving(greet, **suites, cert=None, key=None) as server:
                options = {**suites, "reject_unauthorized": False}
                first = await visit(server, **options)
                again = await visit(server, **options, session=first.last, psk_callback=lambda _: None)
                assert (first.reused, again.reused) == (False, True)
                for seen in (first, again):
                    assert (seen.authorized, seen.authorization_error) == (False, "UNABLE_TO_GET_ISSUER_CERT")
                strict = to(server, **suites, session=again.last, psk_callback=lambda _: None)
                with pytest.raises(aiotls.VerificationError):
                    await strict

        run(main)


class TestIdentity:
    """SES-10: a session never lets a connection pass an identity check that a full handshake would fail."""

    MESSAGE = "Hostname/IP does not match certificate's altnames: Host: good.example.org. is not cert's CN: agent1"

    def options(self, pki: Named, **options: Any) -> dict[str, Any]:
        return {"ca": pki.ca_a.cert_pem, "servername": "good.example.org", **options}

    def refused(self, error: aiotls.ServerIdentityError) -> None:
        assert error.code == "ERR_TLS_CERT_ALTNAME_INVALID"
        assert error.message == self.MESSAGE

    def test_refused_at_first(self, run: Run, pki: Named, version: str) -> None:
        """SES-10: no "session" event, no session to get."""

        async def main() -> None:
            sessions: list[bytes] = []
            async with serving(greet, max_version=version, **credentials(pki.leaf_a)) as server:
                client = to(server, **self.options(pki))
                client.on("session", sessions.append)
                with pytest.raises(aiotls.ServerIdentityError) as refusal:
                    await client
                self.refused(refusal.value)
                assert client.get_session() is None
            assert sessions == []

        run(main)

    def test_refused_after_a_connection_without_verification(self, run: Run, pki: Named, version: str) -> None:
        """SES-10: a session that was made without verification does not replace it."""

        async def main() -> None:
            async with serving(greet, max_version=version, **credentials(pki.leaf_a)) as server:
                seen = await visit(server, **self.options(pki, reject_unauthorized=False))
                assert (seen.authorized, seen.authorization_error) == (False, "ERR_TLS_CERT_ALTNAME_INVALID")
                with pytest.raises(aiotls.ServerIdentityError) as refusal:
                    await to(server, **self.options(pki, session=seen.last))
                self.refused(refusal.value)

        run(main)

    def test_refused_with_a_session_for_another_name(self, run: Run, pki: Named, version: str) -> None:
        """SES-10: a session verified for the certificate's own name does not help another name."""

        async def main() -> None:
            async with serving(greet, max_version=version, **credentials(pki.leaf_a)) as server:
                seen = await visit(server, **self.options(pki, servername="agent1"))
                assert seen.authorized is True
                with pytest.raises(aiotls.ServerIdentityError) as refusal:
                    await to(server, **self.options(pki, session=seen.last))
                self.refused(refusal.value)
                again = await visit(server, **self.options(pki, servername="agent1", session=seen.last))
                assert (again.reused, again.authorized) == (True, True)

        run(main)
