"""Options of crypto engines, which OpenSSL has up to 3.x, and not in every build."""

import ctypes
from typing import Any

import pytest

import aiotls
from aiotls import _native
from tests.support.pki import Named

ENGINES = hasattr(ctypes.CDLL(str(_native.__file__)), "ENGINE_by_id")
"""Whether the OpenSSL that the core is linked with has engines; one that is built in shows no symbols, and has none."""
needs_engines = pytest.mark.skipif(not ENGINES, reason="this OpenSSL has no engines")
without_engines = pytest.mark.skipif(ENGINES, reason="this OpenSSL has engines")

OPTIONS = {
    "client_cert_engine": {"client_cert_engine": "Cannonmouth"},
    "private_key_engine": {"private_key_engine": "Cannonmouth", "private_key_identifier": "key"},
}
MAKERS = (aiotls.create_secure_context, aiotls.create_server)


def test_openssl_4_has_none() -> None:
    """OPT-04: they were taken out there."""
    if _native.OPENSSL_VERSION_NUMBER >= 0x40000000:
        assert not ENGINES


@without_engines
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_openssl_without_engines(make: Any, option: str) -> None:
    """OPT-04: a clear error that names the option."""
    with pytest.raises(aiotls.OptionError) as caught:
        make(**OPTIONS[option])
    error = caught.value
    assert (error.code, error.option) == ("ERR_CRYPTO_CUSTOM_ENGINE_NOT_SUPPORTED", option)
    assert error.message == f"{option}: Custom engines not supported by this OpenSSL"
    assert not isinstance(error, TypeError)


@needs_engines
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_engine_that_does_not_exist(make: Any, option: str) -> None:
    """OPT-04, ERR-01: OpenSSL looks for a shared library of the name, and says more than one thing about it."""
    with pytest.raises(aiotls.OptionError, match="could not load the shared library") as caught:
        make(**OPTIONS[option])
    error = caught.value
    assert error.option == option
    assert error.openssl_error_stack
    assert not isinstance(error, TypeError)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("option", "beside"),
    [
        ("client_cert_engine", {}),
        ("private_key_engine", {"private_key_identifier": "key"}),
        ("private_key_identifier", {"private_key_engine": "engine"}),
    ],
)
def test_wrong_types(make: Any, option: str, beside: dict[str, str]) -> None:
    """OPT-03, OPT-05: told before anybody looks for an engine, and with the value that was received."""
    for value in (0, 1, 1.5, True, False):
        with pytest.raises(TypeError, match=f"{option} must be a str, not {value!r}") as caught:
            make(**{option: value}, **beside)
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]
    for other, kind in ((b"engine", "bytes"), ([], "list"), ({}, "dict")):
        with pytest.raises(TypeError, match=f"{option} must be a str, not an instance of {kind}"):
            make(**{option: other}, **beside)


def test_an_engine_and_a_key_of_it_go_together(pki: Named) -> None:
    """One without the other, or beside a key, is an error that says which."""
    for given, missing in (
        ("private_key_engine", "private_key_identifier"),
        ("private_key_identifier", "private_key_engine"),
    ):
        with pytest.raises(aiotls.OptionError, match=f"{given} needs {missing}") as caught:
            aiotls.create_secure_context(**{given: "x"})  # type: ignore[arg-type]
        assert caught.value.option == missing
    with pytest.raises(aiotls.OptionError, match="key"):
        aiotls.create_secure_context(
            private_key_engine="engine", private_key_identifier="key", key=pki.server.key_pem, cert=pki.server.cert_pem
        )


def test_none_is_absent() -> None:
    assert isinstance(
        aiotls.create_secure_context(client_cert_engine=None, private_key_engine=None, private_key_identifier=None),
        aiotls.SecureContext,
    )
