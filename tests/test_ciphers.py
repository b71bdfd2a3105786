"""Cipher suites: names, and one list taken apart."""

import pytest

from aiotls.ciphers import CipherLists, get_ciphers, split_ciphers
from aiotls.constants import DEFAULT_CORE_CIPHER_LIST
from aiotls.errors import OptionError


def test_get_ciphers() -> None:
    ciphers = get_ciphers()
    assert "ecdhe-rsa-aes128-gcm-sha256" in ciphers
    assert {name for name in ciphers if name.startswith("tls_")} >= {
        "tls_aes_128_gcm_sha256",
        "tls_aes_256_gcm_sha384",
        "tls_chacha20_poly1305_sha256",
    }
    assert all(name == name.lower() for name in ciphers)
    assert len(set(ciphers)) == len(ciphers)


@pytest.mark.parametrize(
    ("ciphers", "tls12", "tls13", "level"),
    [
        ("TLS_AES_128_GCM_SHA256", "", "TLS_AES_128_GCM_SHA256", ""),
        ("ECDHE+AESGCM", "ECDHE+AESGCM", "", ""),
        ("TLS_AES_256_GCM_SHA384:HIGH:!aNULL", "HIGH:!aNULL", "TLS_AES_256_GCM_SHA384", ""),
        ("HIGH, TLS_AES_128_GCM_SHA256 , !MD5", "HIGH:!MD5", "TLS_AES_128_GCM_SHA256", ""),
        ("DEFAULT@SECLEVEL=0", "DEFAULT@SECLEVEL=0", "", "@SECLEVEL=0"),
        ("@SECLEVEL=1:TLS_AES_128_GCM_SHA256", "", "TLS_AES_128_GCM_SHA256", "@SECLEVEL=1"),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA", "", ""),
    ],
)
def test_split(ciphers: str, tls12: str, tls13: str, level: str) -> None:
    assert split_ciphers(ciphers) == CipherLists(tls12, tls13, level)


def test_the_default_list_has_both_sides() -> None:
    lists = split_ciphers(DEFAULT_CORE_CIPHER_LIST)
    assert lists.tls13.split(":") == [
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
    ]
    assert lists.tls12.startswith("ECDHE-RSA-AES128-GCM-SHA256:")


@pytest.mark.parametrize("ciphers", [":", " ", "@SECLEVEL=0"])
def test_nothing_named(ciphers: str) -> None:
    with pytest.raises(OptionError, match="names no cipher suite") as caught:
        split_ciphers(ciphers)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


@pytest.mark.parametrize("ciphers", ["TLS_NO_SUCH", "TLS_AES_128_GCM_SHA256:TLS_BOGUS", "!TLS_AES_128_GCM_SHA256"])
def test_an_unknown_tls13_suite(ciphers: str) -> None:
    with pytest.raises(OptionError, match="no cipher match") as caught:
        split_ciphers(ciphers)
    assert caught.value.code == "ERR_SSL_NO_CIPHER_MATCH"
