"""Certificate stores."""

import concurrent.futures
import gc
import itertools

import certifi
import pytest

from aiotls import _native, ca_sources, trust
from aiotls.ca_sources import Authorities
from aiotls.errors import OptionError
from aiotls.trust import Trust
from tests.support.pki import Named
from tests.support.programs import printed


def certificates(*pems: bytes) -> list[_native.Certificate]:
    return [certificate for pem in pems for certificate in _native.Certificate.from_pem(pem)]


def test_the_default_store_is_parsed_once_whoever_asks() -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(lambda _: trust.default_trust().store, range(32)))
    assert all(store is stores[0] for store in stores)
    assert Trust.of(None).store is stores[0]


def test_no_context_reads_the_default_again(pki: Named, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither for `crl` nor when the default was replaced: the file may be gone."""
    folder = tmp_path_factory.mktemp("extra")
    (folder / "crl.pem").write_bytes(pki.crl)
    program = """
        import os, sys
        from pathlib import Path
        import aiotls
        from aiotls.certificate_authorities import get_ca_certificates, set_default_ca_certificates
        aiotls.create_secure_context()
        os.unlink(os.environ["SSL_CERT_FILE"])
        aiotls.create_secure_context(crl=Path(sys.argv[1]))
        print(len(get_ca_certificates()), len(get_ca_certificates("system")))
        set_default_ca_certificates([])
        aiotls.create_secure_context(crl=Path(sys.argv[1]))
        print(len(get_ca_certificates()), len(get_ca_certificates("system")))
    """
    (folder / "ca.pem").write_bytes(pki.ca.cert_pem)
    choices = {"SSL_CERT_FILE": folder / "ca.pem", "SSL_CERT_DIR": folder / "missing"}
    assert printed(program, folder / "crl.pem", **choices) == "1 1\n0 1\n"


def test_a_store_with_revocation_lists_is_one_of_its_own(pki: Named) -> None:
    assert Trust.of(None, (pki.crl,)).store is not trust.default_trust().store


def test_the_bundle_is_whole() -> None:
    bundle = certifi.contents()
    assert len(trust.parse_certificates(bundle.encode(), "ca")) == bundle.count("BEGIN CERTIFICATE")
    assert len([*ca_sources.bundled()]) == bundle.count("BEGIN CERTIFICATE")


def test_many_certificates_in_one_text(pki: Named) -> None:
    pems = (pki.ca_a.cert_pem + b"\n" + pki.ca_b.cert_pem, pki.ca_ec.cert_pem)
    assert [certificate.der() for certificate in trust.ca_certificates(pems)] == [
        pki.ca_a.der,
        pki.ca_b.der,
        pki.ca_ec.der,
    ]
    assert isinstance(Trust.of(pems).store, _native.TrustStore)


def test_an_empty_list_is_a_store_of_its_own() -> None:
    assert Trust.of(()).store is not trust.default_trust().store


def test_the_same_certificate_twice_is_no_error(pki: Named) -> None:
    assert isinstance(Trust.of((pki.ca.cert_pem, pki.ca.cert_pem)).store, _native.TrustStore)


@pytest.mark.parametrize(("body", "code"), [("????", "ERR_OSSL_PEM_BAD_BASE64_DECODE"), ("AAAA", "ERR_OSSL_ASN1_")])
def test_a_broken_entry_names_itself(pki: Named, body: str, code: str) -> None:
    broken = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n".encode()
    with pytest.raises(OptionError, match=r"ca\[1\]") as caught:
        Trust.of((pki.ca.cert_pem, broken))
    assert caught.value.code.startswith(code)


def test_further_entries_of_the_error_queue_are_kept() -> None:
    """ERR-01: one exception, which carries the others."""
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(OptionError) as caught:
        Trust.of((broken,))
    assert caught.value.openssl_error_stack


def test_an_entry_without_certificate() -> None:
    with pytest.raises(OptionError, match="holds no certificate"):
        trust.parse_certificates(b"words", "ca")
    assert trust.read_certificates(b"words", "ca") == []


# ---- what the default is


def test_a_replacement(pki: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_default", trust._Default())
    first = trust.default_trust()
    trust.replace_default_trust(certificates(pki.ca.cert_pem))
    second = trust.default_trust()
    assert second is trust.default_trust()
    assert (second.store, second.digest) != (first.store, first.digest)
    assert [each.der() for each in second.authorities] == [pki.ca.der]


def test_a_replacement_before_anybody_asked(pki: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of the environment is not even loaded."""
    monkeypatch.setattr(trust, "_default", trust._Default())
    monkeypatch.setattr(ca_sources, "default", lambda: pytest.fail("loaded"))
    trust.replace_default_trust(certificates(pki.ca.cert_pem))
    assert [each.der() for each in trust.default_trust().authorities] == [pki.ca.der]


def test_digests(pki: Named) -> None:
    """Equal for the same certificates in whatever order and number, and for no others."""
    pems = [pki.ca.cert_pem, pki.ca_b.cert_pem, pki.ca_ec.cert_pem]
    orders = {Authorities(certificates(*order)).digest for order in itertools.permutations(pems)}
    assert orders == {Authorities(certificates(*pems, *pems)).digest}
    others = {Authorities(certificates(*pems[:count])).digest for count in range(3)}
    assert len(others | orders) == 4


def test_authorities_keep_their_order(pki: Named) -> None:
    authorities = Authorities(certificates(pki.ca_b.cert_pem, pki.ca.cert_pem, pki.ca_b.cert_pem))
    assert [each.der() for each in authorities] == [pki.ca_b.der, pki.ca.der]
    assert authorities.pems == (pki.ca_b.cert_pem.decode(), pki.ca.cert_pem.decode())


def test_a_replaced_default_is_freed(pki: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changing it again and again does not pile anything up."""
    monkeypatch.setattr(trust, "_default", trust._Default())

    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, Authorities) for each in gc.get_objects())

    trust.replace_default_trust(certificates(pki.ca.cert_pem))
    before = alive()
    for _ in range(5):
        trust.replace_default_trust(certificates(pki.ca.cert_pem))
    assert alive() == before
