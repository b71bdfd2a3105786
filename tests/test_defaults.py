"""The assignable defaults."""

import ssl
from typing import Any

import pytest

import aiotls
from aiotls.constants import DEFAULT_CORE_CIPHER_LIST
from aiotls.defaults import Defaults
from aiotls.errors import OptionError, OptionTypeError
from tests.conftest import Run
from tests.support.pairs import Pair, server_options
from tests.support.servers import echo, serving, to


def test_out_of_the_box() -> None:
    """VER-03, VER-07: TLS 1.2 and 1.3."""
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


@pytest.mark.parametrize("name", ["foo", "zzzzzz", "", "__class__"])
def test_what_is_like_no_default_gives_no_advice(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no default '{name}'") as caught:
        setattr(Defaults(), name, 1)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", [*Defaults.__slots__, "foo"])
def test_a_default_cannot_be_deleted(name: str) -> None:
    own = Defaults()
    before = repr(own)
    with pytest.raises(AttributeError):
        delattr(own, name)
    assert repr(own) == before


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


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"])
def test_versions_are_read_when_a_context_is_made(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """VER-02, VER-05, VER-06, VER-08: a change counts for what is made later, and for nothing that exists."""
    before = aiotls.create_secure_context()
    monkeypatch.setattr(aiotls.defaults, "min_version", version)
    monkeypatch.setattr(aiotls.defaults, "max_version", version)
    after = aiotls.create_secure_context()
    assert f"min_version={version!r}, max_version={version!r}" in repr(after)
    assert "min_version='TLSv1.2', max_version='TLSv1.3'" in repr(before)
    # What is given goes before the default, each by itself.
    assert f"min_version='TLSv1', max_version={version!r}" in repr(aiotls.create_secure_context(min_version="TLSv1"))
    assert f"min_version={version!r}, max_version='TLSv1.3'" in repr(
        aiotls.create_secure_context(max_version=ssl.TLSVersion.TLSv1_3)
    )


def test_a_server_keeps_the_defaults_that_it_was_made_with(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, ciphers and groups of a running server; the context that replaces its first one has the new ones."""

    async def main() -> None:
        async with serving(echo) as server:
            async with to(server, min_version="TLSv1.2", max_version="TLSv1.3") as client:
                assert client.get_protocol() == "TLSv1.3"
            monkeypatch.setattr(aiotls.defaults, "max_version", "TLSv1.2")
            monkeypatch.setattr(aiotls.defaults, "ecdh_curve", "secp384r1:prime256v1")
            async with to(server, max_version="TLSv1.3", ecdh_curve="X25519:prime256v1") as client:
                assert client.get_protocol() == "TLSv1.3"
            server.set_secure_context(**server_options())
            async with to(server, max_version="TLSv1.3", ecdh_curve="X25519:prime256v1") as client:
                assert client.get_protocol() == "TLSv1.2"
                key = client.get_ephemeral_key_info()
                assert key is not None
                assert key.name == "prime256v1"

    run(main)


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("ciphers", "TLS_AES_128_GCM_SHA256", {"ciphers": "TLS_CHACHA20_POLY1305_SHA256"}),
        ("ecdh_curve", "prime256v1", {"ecdh_curve": "secp384r1"}),
        ("max_version", "TLSv1.2", {"max_version": "TLSv1.3"}),
    ],
)
def test_an_option_goes_before_its_default(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, option: dict[str, Any]
) -> None:
    """Seen in what is negotiated with a peer that takes everything."""

    def facts(**options: Any) -> set[str | None]:
        context = aiotls.create_secure_context(**options)
        pair = Pair.connected(client={"context": context, "reject_unauthorized": False}, server=everything)
        engine = pair.client.connection.engine
        return {(engine.cipher() or ("",))[0], engine.group(), engine.protocol()}

    everything = {"context": aiotls.create_secure_context(**server_options())}
    plain, chosen = facts(), facts(**option)
    monkeypatch.setattr(aiotls.defaults, name, value)
    assert facts() != plain
    assert facts(**option) == chosen
