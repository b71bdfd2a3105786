"""Errors of OpenSSL about an option: one exception, with everything that OpenSSL has said."""

import pickle
import ssl
from typing import Any

import pytest

import aiotls
from tests.support.pki import Named

MAKERS = (aiotls.create_secure_context, aiotls.create_server)


def broken(label: str) -> str:
    """A PEM block whose content is no DER."""
    return f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ca", broken("CERTIFICATE")),
        ("cert", broken("CERTIFICATE")),
        ("key", broken("PRIVATE KEY")),
        ("key", broken("RSA PRIVATE KEY")),
    ],
)
@pytest.mark.parametrize("make", MAKERS)
def test_errors_with_more_entries(make: Any, option: str, value: str) -> None:
    """ERR-01: one exception, whose message is the first error, with the further ones in `openssl_error_stack`."""
    with pytest.raises(aiotls.OptionError) as caught:
        make(**{option: value})
    error = caught.value
    assert not isinstance(error, TypeError)
    assert isinstance(error, ssl.SSLError)
    assert error.code.startswith("ERR_OSSL_")
    assert error.reason is not None
    assert error.reason in error.message
    assert error.library is not None
    stack = error.openssl_error_stack
    assert stack
    assert all(isinstance(entry, str) and entry.startswith("error:") for entry in stack)
    assert pickle.loads(pickle.dumps(error)).openssl_error_stack == stack


def test_an_error_with_one_entry_has_no_more() -> None:
    """The list is empty where there is nothing to add."""
    with pytest.raises(aiotls.OptionError, match="no cipher match") as caught:
        aiotls.create_secure_context(ciphers="no-such-cipher")
    assert caught.value.openssl_error_stack == ()


def test_an_error_leaves_nothing_behind(pki: Named) -> None:
    """CVE-2023-23919: what failed stays with its exception, and the next call begins with an empty queue."""
    for _ in range(20):
        with pytest.raises(aiotls.OptionError):
            aiotls.create_secure_context(cert=broken("CERTIFICATE"))
        with pytest.raises(aiotls.OptionError) as caught:
            aiotls.create_secure_context(ciphers="no-such-cipher")
        assert caught.value.openssl_error_stack == ()
        good = aiotls.create_secure_context(cert=pki.server_ec.cert_pem, key=pki.server_ec.key_pem)
        assert isinstance(good, aiotls.SecureContext)
