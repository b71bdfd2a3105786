"""Certificate stores."""

import concurrent.futures

import certifi
import pytest

from aiotls import _native, trust
from aiotls.errors import OptionError
from tests.support.pki import Named


def test_the_default_store_is_parsed_once_whoever_asks() -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(lambda _: trust.default_store(), range(32)))
    assert all(store is stores[0] for store in stores)
    assert trust.trust_store(None) is stores[0]


def test_the_bundle_is_whole() -> None:
    bundle = certifi.contents()
    assert len(trust.parse_certificates(bundle.encode(), "ca")) == bundle.count("BEGIN CERTIFICATE")


def test_many_certificates_in_one_text(pki: Named) -> None:
    pems = (pki.ca_a.cert_pem + b"\n" + pki.ca_b.cert_pem, pki.ca_ec.cert_pem)
    assert [certificate.der() for certificate in trust.ca_certificates(pems)] == [
        pki.ca_a.der,
        pki.ca_b.der,
        pki.ca_ec.der,
    ]
    assert isinstance(trust.trust_store(pems), _native.TrustStore)


def test_an_empty_list_is_a_store_of_its_own() -> None:
    assert trust.trust_store(()) is not trust.default_store()


def test_the_same_certificate_twice_is_no_error(pki: Named) -> None:
    assert isinstance(trust.trust_store((pki.ca.cert_pem, pki.ca.cert_pem)), _native.TrustStore)


@pytest.mark.parametrize(("body", "code"), [("????", "ERR_OSSL_PEM_BAD_BASE64_DECODE"), ("AAAA", "ERR_OSSL_ASN1_")])
def test_a_broken_entry_names_itself(pki: Named, body: str, code: str) -> None:
    broken = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n".encode()
    with pytest.raises(OptionError, match=r"ca\[1\]") as caught:
        trust.trust_store((pki.ca.cert_pem, broken))
    assert caught.value.code.startswith(code)


def test_further_entries_of_the_error_queue_are_kept() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(OptionError) as caught:
        trust.trust_store((broken,))
    assert caught.value.openssl_error_stack


def test_an_entry_without_certificate() -> None:
    with pytest.raises(OptionError, match="holds no certificate"):
        trust.parse_certificates(b"words", "ca")
