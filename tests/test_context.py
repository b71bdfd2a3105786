"""Secure contexts: what they are made of, shown by handshakes in memory where it can be seen there only."""

import copy
import pickle
from typing import Any

import pytest
from cryptography import x509

from aiotls import _native
from aiotls.certificate import PeerCertificate
from aiotls.ciphers import get_ciphers
from aiotls.constants import SSL_OP_NO_TLSv1_3
from aiotls.context import SecureContext, create_secure_context
from aiotls.errors import OptionError, ServerIdentityError
from aiotls.identity import check_server_identity, match_names
from tests.support.pki import Named, new_rsa_key, self_signed


def engine(context: SecureContext, *, server: bool, **settings: Any) -> _native.Engine:
    return _native.Engine(_native.Settings(context._native, server=server, **settings))


def shake_hands(
    server: SecureContext, client: SecureContext, *, verify: bool = False, **settings: Any
) -> tuple[_native.Engine, _native.Engine]:
    """A server's and a client's engine after their handshake, or after its failure."""
    ends = (engine(server, server=True, **settings), engine(client, server=False, reject_unauthorized=verify))
    for _ in range(8):
        for own, other in (ends, ends[::-1]):
            own.handshake()
            other.feed(own.drain())
    return ends


class TestSecureContext:
    def test_it_shows_no_secret(self, pki: Named) -> None:
        context = create_secure_context(
            key=pki.client_ec.key_pem_encrypted(b"open-sesame"), passphrase="open-sesame", cert=pki.client_ec.cert_pem
        )
        assert repr(context) == (
            "SecureContext(min_version='TLSv1.2', max_version='TLSv1.3', certificates=1, keys=1, ca=default)"
        )

    def test_it_is_immutable(self) -> None:
        context = create_secure_context()
        with pytest.raises(AttributeError, match="immutable"):
            context.ciphers = "HIGH"
        with pytest.raises(AttributeError, match="immutable"):
            del context._native

    def test_it_is_shared_not_copied_and_never_pickled(self) -> None:
        context = create_secure_context()
        assert copy.copy(context) is context
        assert copy.deepcopy(context) is context
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(context)

    @pytest.mark.parametrize("absent", [None, False, "", 0])
    def test_nothing_given(self, absent: Any) -> None:
        assert isinstance(create_secure_context(key=absent, cert=absent, ca=absent), SecureContext)

    def test_an_unknown_option(self) -> None:
        with pytest.raises(TypeError, match=r"create_secure_context has no option 'cyphers'; did you mean 'ciphers'\?"):
            create_secure_context(cyphers="HIGH")  # type: ignore[call-arg]


class TestCiphers:
    def names(self, **options: Any) -> list[str]:
        return create_secure_context(**options)._native.cipher_names()

    def test_the_default_list(self) -> None:
        names = self.names()
        assert names[:4] == [
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_AES_128_GCM_SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
        ]
        assert {name.lower() for name in names} <= set(get_ciphers())

    def test_both_sides_in_one_list(self) -> None:
        names = self.names(ciphers="ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256")
        assert names == ["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]

    def test_an_unknown_name_beside_a_known_one(self) -> None:
        assert "AES128-SHA256" in self.names(ciphers="no-such-cipher:AES128-SHA256")

    @pytest.mark.parametrize("ciphers", ["no-such-cipher", "-ALL", "TLS_NO_SUCH_SUITE"])
    def test_nothing_is_left(self, ciphers: str) -> None:
        with pytest.raises(OptionError, match="no cipher match") as caught:
            create_secure_context(ciphers=ciphers)
        assert (caught.value.code, caught.value.option) == ("ERR_SSL_NO_CIPHER_MATCH", "ciphers")

    def test_a_suite_without_key_is_possible(self) -> None:
        assert isinstance(create_secure_context(ciphers="AECDH-NULL-SHA"), SecureContext)

    @pytest.mark.parametrize(
        ("ciphers", "protocol", "suite"),
        [
            ("TLS_AES_128_GCM_SHA256", "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
            # WRAP-03: TLS 1.3 keeps its own suites where none is named.
            ("ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
            ("@SECLEVEL=1:TLS_AES_128_GCM_SHA256", "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        ],
    )
    def test_suites_of_one_side(self, pki: Named, ciphers: str, protocol: str, suite: str) -> None:
        server = create_secure_context(key=pki.server.key_pem, cert=pki.server.cert_pem, ciphers=ciphers)
        _, client = shake_hands(server, create_secure_context())
        assert client.protocol() == protocol
        assert (client.cipher() or ("",))[0] == suite

    def test_only_tls13_suites_below_tls13(self) -> None:
        with pytest.raises(OptionError, match="max_version") as caught:
            create_secure_context(ciphers="TLS_AES_128_GCM_SHA256", max_version="TLSv1.2")
        assert caught.value.code == "ERR_SSL_NO_CIPHER_MATCH"

    def test_tls12_suites_with_tls13_alone(self, pki: Named) -> None:
        server = create_secure_context(
            key=pki.server.key_pem, cert=pki.server.cert_pem, ciphers="DEFAULT@SECLEVEL=0", min_version="TLSv1.3"
        )
        _, client = shake_hands(server, create_secure_context())
        assert client.protocol() == "TLSv1.3"

    def test_the_security_level_is_set_before_the_key(self) -> None:
        weak = self_signed(common_name="weak", key=new_rsa_key(1024))
        with pytest.raises(OptionError, match="key too small") as caught:
            create_secure_context(key=weak.key_pem, cert=weak.cert_pem, ciphers="DEFAULT@SECLEVEL=2")
        assert caught.value.code == "ERR_SSL_EE_KEY_TOO_SMALL"
        context = create_secure_context(key=weak.key_pem, cert=weak.cert_pem, ciphers="DEFAULT:@SECLEVEL=0")
        assert isinstance(context, SecureContext)

    @pytest.mark.parametrize(
        ("honor", "chosen"), [(True, "ECDHE-RSA-AES256-GCM-SHA384"), (False, "ECDHE-RSA-AES128-GCM-SHA256")]
    )
    def test_whose_order_counts(self, pki: Named, honor: bool, chosen: str) -> None:
        ciphers = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]
        server = create_secure_context(
            key=pki.server.key_pem,
            cert=pki.server.cert_pem,
            ciphers=":".join(ciphers),
            honor_cipher_order=honor,
            max_version="TLSv1.2",
        )
        _, client = shake_hands(server, create_secure_context(ciphers=":".join(ciphers[::-1])))
        assert (client.cipher() or ("",))[0] == chosen


class TestProtocol:
    @pytest.mark.parametrize(
        ("options", "protocol"),
        [
            ({}, "TLSv1.3"),
            ({"max_version": "TLSv1.2"}, "TLSv1.2"),
            ({"secure_protocol": "TLSv1_2_method"}, "TLSv1.2"),
            ({"secure_protocol": "SSLv23_method"}, "TLSv1.2"),
            ({"secure_options": SSL_OP_NO_TLSv1_3}, "TLSv1.2"),
        ],
    )
    def test_versions(self, pki: Named, options: dict[str, Any], protocol: str) -> None:
        server = create_secure_context(key=pki.server.key_pem, cert=pki.server.cert_pem)
        _, client = shake_hands(server, create_secure_context(**options))
        assert client.protocol() == protocol

    def test_an_empty_range_is_no_error(self) -> None:
        assert isinstance(create_secure_context(min_version="TLSv1.3", max_version="TLSv1.2"), SecureContext)

    @pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "X25519"])
    def test_ecdh_curve(self, pki: Named, curve: str) -> None:
        server = create_secure_context(key=pki.server.key_pem, cert=pki.server.cert_pem, ecdh_curve=curve)
        _, client = shake_hands(server, create_secure_context())
        assert (client.group() or "").lower() in (curve.lower(), "secp256r1" if curve == "prime256v1" else "")

    @pytest.mark.parametrize("curve", ["wap-wsg-idm-ecid-wtls1", "c2pnb163v1", "prime192v3", "prime256v1:bogus"])
    def test_unknown_curves(self, curve: str) -> None:
        with pytest.raises(OptionError, match="Failed to set ECDH curve") as caught:
            create_secure_context(ecdh_curve=curve)
        assert (caught.value.code, caught.value.option) == ("ERR_CRYPTO_OPERATION_FAILED", "ecdh_curve")

    def test_sigalgs(self, pki: Named) -> None:
        server = create_secure_context(key=pki.server.key_pem, cert=pki.server.cert_pem, sigalgs="RSA-PSS+SHA384")
        refused, _ = shake_hands(server, create_secure_context(sigalgs="ECDSA+SHA256"))
        assert refused.failure is not None
        assert refused.failure.code == "ERR_SSL_NO_SHARED_SIGNATURE_ALGORITHMS"
        _, client = shake_hands(server, create_secure_context(sigalgs="RSA-PSS+SHA384:ECDSA+SHA256"))
        assert client.protocol() == "TLSv1.3"

    def test_unknown_sigalgs(self) -> None:
        with pytest.raises(OptionError, match="sigalgs"):
            create_secure_context(sigalgs="BOGUS+SHA1")


class TestIdentities:
    def test_a_key_of_another_certificate(self, pki: Named) -> None:
        """KEYS-01."""
        with pytest.raises(OptionError, match="key values mismatch") as caught:
            create_secure_context(key=pki.leaf_a.key_pem, cert=pki.self_rsa.cert_pem)
        assert caught.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
        assert (caught.value.option, caught.value.reason) == ("key", "key values mismatch")

    def test_a_key_of_another_type(self, pki: Named) -> None:
        """KEYS-01: no mismatch for OpenSSL, but an error here."""
        with pytest.raises(OptionError, match=r"key\[1\]: .*belongs to no certificate"):
            create_secure_context(key=[pki.self_rsa.key_pem, pki.self_ec.key_pem], cert=pki.self_rsa.cert_pem)

    def test_a_mismatch_among_several_is_told_for_the_same_type(self, pki: Named) -> None:
        with pytest.raises(OptionError) as caught:
            create_secure_context(key=pki.leaf_a.key_pem, cert=[pki.self_ec.cert_pem, pki.self_rsa.cert_pem])
        assert caught.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"

    def test_half_an_identity_is_accepted(self, pki: Named) -> None:
        assert isinstance(create_secure_context(key=pki.server.key_pem), SecureContext)
        assert isinstance(create_secure_context(cert=pki.server.cert_pem), SecureContext)

    @pytest.mark.parametrize("turned", [False, True])
    def test_the_peer_gets_what_it_can_verify(self, pki: Named, turned: bool) -> None:
        identities = [pki.server, pki.server_ec]
        server = create_secure_context(
            cert=[identity.cert_pem for identity in identities],
            key=[identity.key_pem for identity in (identities[::-1] if turned else identities)],
        )
        for sigalgs, identity in (("RSA-PSS+SHA256", pki.server), ("ECDSA+SHA256", pki.server_ec)):
            _, client = shake_hands(server, create_secure_context(sigalgs=sigalgs))
            assert client.peer_certificate() == identity.der

    def test_a_certificate_without_key_beside_a_whole_identity(self, pki: Named) -> None:
        server = create_secure_context(cert=[pki.server_ec.cert_pem, pki.server.cert_pem], key=pki.server.key_pem)
        _, client = shake_hands(server, create_secure_context())
        assert client.peer_certificate() == pki.server.der

    def test_the_chain_is_sent(self, pki: Named) -> None:
        server = create_secure_context(cert=pki.chain_a.chain_pem, key=pki.chain_a.key_pem)
        _, client = shake_hands(server, create_secure_context())
        assert client.peer_chain()[:2] == [pki.chain_a.der, pki.int_a.der]

    def test_the_chain_is_completed_from_ca(self, pki: Named) -> None:
        server = create_secure_context(cert=pki.chain_a.cert_pem, key=pki.chain_a.key_pem, ca=pki.int_a.cert_pem)
        _, client = shake_hands(server, create_secure_context(ca=pki.ca_a.cert_pem))
        assert client.verify_result() == 0

    @pytest.mark.parametrize("traditional", [False, True])
    @pytest.mark.parametrize("passphrase", [None, "", "invalid", b"invalid"])
    def test_an_encrypted_key_that_stays_shut(self, pki: Named, traditional: bool, passphrase: Any) -> None:
        pem = pki.client_ec.key_pem_encrypted(b"password", traditional=traditional)
        shapes: list[Any] = [pem, [pem], [{"pem": pem}], [{"pem": pem, "passphrase": passphrase}]]
        for key in shapes:
            with pytest.raises(OptionError, match="bad decrypt") as caught:
                create_secure_context(key=key, passphrase=passphrase)
            assert caught.value.code == "ERR_OSSL_BAD_DECRYPT"
            assert "invalid" not in str(caught.value)

    def test_a_wrong_inner_passphrase_counts(self, pki: Named) -> None:
        pem = pki.client_ec.key_pem_encrypted(b"password")
        with pytest.raises(OptionError) as caught:
            create_secure_context(key=[{"pem": pem, "passphrase": "invalid"}], passphrase="password")
        assert (caught.value.code, caught.value.option) == ("ERR_OSSL_BAD_DECRYPT", "key[0]['pem']")

    @pytest.mark.parametrize("traditional", [False, True])
    def test_an_encrypted_key_that_opens(self, pki: Named, traditional: bool) -> None:
        pem = pki.client_ec.key_pem_encrypted(b"password", traditional=traditional)
        for passphrase in ("password", b"password", bytearray(b"password"), lambda: "password"):
            context = create_secure_context(key=pem, cert=pki.client_ec.cert_pem, passphrase=passphrase)
            assert isinstance(context, SecureContext)

    def test_a_passphrase_that_is_not_needed(self, pki: Named) -> None:
        assert isinstance(create_secure_context(key=pki.client_ec.key_pem, passphrase="ignored"), SecureContext)

    def test_a_broken_key_names_itself(self) -> None:
        broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        with pytest.raises(OptionError, match="key: ") as caught:
            create_secure_context(key=broken)
        assert caught.value.code.startswith("ERR_OSSL_")
        assert caught.value.openssl_error_stack

    def test_objects_of_cryptography(self, pki: Named) -> None:
        server = create_secure_context(key=pki.server_ec.key, cert=pki.server_ec.certificate)
        _, client = shake_hands(server, create_secure_context())
        assert client.peer_certificate() == pki.server_ec.der


class TestPeerNames:
    """The core reads the names of a certificate by itself: they must be those that `PeerCertificate` reads."""

    @pytest.mark.parametrize(
        ("names", "hosts"),
        [
            (["good.example", "*.wild.example"], {"good.example": True, "a.wild.example": True, "cn.example": False}),
            (["good.example, DNS:evil.example"], {"evil.example": False, "good.example": False}),
            (["evil.example\0.good.example"], {"evil.example": False}),
            ([], {"cn.example": True, "good.example": False, "192.0.2.1": False}),
        ],
    )
    def test_verdicts(self, names: list[str], hosts: dict[str, bool]) -> None:
        found = [x509.DNSName(name) for name in names]
        extensions = [(x509.SubjectAlternativeName(found), False)] if found else []
        identity = self_signed(common_name="cn.example", key="ec", extensions=extensions)
        server = create_secure_context(cert=identity.cert_pem, key=identity.key_pem)
        _, client = shake_hands(server, create_secure_context())
        read = client.peer_names()
        assert read is not None
        for host, verdict in hosts.items():
            assert match_names(host, read) is verdict
            assert _belongs(host, PeerCertificate(client.peer_certificate() or b"")) is verdict


def _belongs(host: str, certificate: PeerCertificate) -> bool:
    try:
        check_server_identity(host, certificate)
    except ServerIdentityError:
        return False
    return True


class TestTrust:
    @pytest.mark.parametrize(
        ("ca", "result"),
        [("ca_a", 0), ("ca_b", 20), ("empty", 20), ("default", 20), ("both", 0), ("der", 0)],
    )
    def test_ca(self, pki: Named, ca: str, result: int) -> None:
        given: dict[str, Any] = {
            "ca_a": pki.ca_a.cert_pem,
            "ca_b": pki.ca_b.cert_pem,
            "empty": [],
            "default": None,
            "both": pki.ca_b.cert_pem + b"\n" + pki.ca_a.cert_pem,
            "der": [pki.ca_a.der],
        }
        server = create_secure_context(cert=pki.chain_a.chain_pem, key=pki.chain_a.key_pem)
        _, client = shake_hands(server, create_secure_context(ca=given[ca]))
        assert client.verify_result() == result

    @pytest.mark.parametrize(("partial", "result"), [(True, 0), (False, 2)])
    def test_an_intermediate_may_be_trusted(self, pki: Named, partial: bool, result: int) -> None:
        server = create_secure_context(cert=pki.chain_a.chain_pem, key=pki.chain_a.key_pem)
        client_context = create_secure_context(ca=pki.int_a.cert_pem, allow_partial_trust_chain=partial)
        _, client = shake_hands(server, client_context)
        assert client.verify_result() == result

    def test_a_server_verifies_clients_with_it(self, pki: Named) -> None:
        server = create_secure_context(cert=pki.server.cert_pem, key=pki.server.key_pem, ca=pki.ca_ec.cert_pem)
        client = create_secure_context(cert=pki.chain_ec.chain_pem, key=pki.chain_ec.key_pem)
        served, _ = shake_hands(server, client, request_cert=True)
        assert served.verify_result() == 0
        assert served.peer_certificate() == pki.chain_ec.der
