"""The assignable defaults."""

import ssl

import pytest

import aiotls
from aiotls.constants import DEFAULT_CORE_CIPHER_LIST
from aiotls.defaults import Defaults
from aiotls.errors import OptionError, OptionTypeError


def test_out_of_the_box() -> None:
    defaults = Defaults()
    assert defaults.ciphers == DEFAULT_CORE_CIPHER_LIST
    assert defaults.ecdh_curve == "auto"
    assert (defaults.min_version, defaults.max_version) == ("TLSv1.2", "TLSv1.3")
    assert (defaults.client_reneg_limit, defaults.client_reneg_window) == (3, 600.0)
    assert "min_version='TLSv1.2'" in repr(defaults)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("min_version", "TLSv1.3", "TLSv1.3"),
        ("max_version", ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        ("ciphers", "HIGH", "HIGH"),
        ("ecdh_curve", "X25519:prime256v1", "X25519:prime256v1"),
        ("client_reneg_limit", 0, 0),
        ("client_reneg_window", 60, 60.0),
    ],
)
def test_assignment(name: str, value: object, kept: object) -> None:
    defaults = Defaults()
    setattr(defaults, name, value)
    assert getattr(defaults, name) == kept


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("min_version", "TLSv9", "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        ("max_version", ssl.TLSVersion.SSLv3, "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        ("ciphers", 1, "ERR_INVALID_ARG_TYPE"),
        ("ciphers", "", "ERR_INVALID_ARG_VALUE"),
        ("ecdh_curve", None, "ERR_INVALID_ARG_TYPE"),
        ("client_reneg_limit", True, "ERR_INVALID_ARG_TYPE"),
        ("client_reneg_limit", -1, "ERR_OUT_OF_RANGE"),
        ("client_reneg_window", float("nan"), "ERR_OUT_OF_RANGE"),
    ],
)
def test_a_wrong_value_changes_nothing(name: str, value: object, code: str) -> None:
    defaults = Defaults()
    before = getattr(defaults, name)
    with pytest.raises(OptionError, match=f"defaults.{name}") as caught:
        setattr(defaults, name, value)
    assert caught.value.code == code
    assert getattr(defaults, name) == before


def test_a_wrong_type_is_a_type_error() -> None:
    with pytest.raises(OptionTypeError):
        Defaults().ciphers = None  # type: ignore[assignment]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean 'min_version'"):
        Defaults().minVersion = "TLSv1.2"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("ciphers", "nope", "ERR_SSL_NO_CIPHER_MATCH"), ("ecdh_curve", "bogus", "ERR_CRYPTO_OPERATION_FAILED")],
)
def test_what_openssl_does_not_take_is_refused_at_once(name: str, value: str, code: str) -> None:
    before = getattr(aiotls.defaults, name)
    with pytest.raises(aiotls.OptionError) as caught:
        setattr(aiotls.defaults, name, value)
    assert caught.value.code == code
    assert getattr(aiotls.defaults, name) == before
