"""The options that choose protocol versions: how they are written, and what may not stand together."""

import itertools
import ssl
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import Pair, server_options
from tests.test_option_values import places, refused

METHOD = "ERR_TLS_INVALID_PROTOCOL_METHOD"
CONFLICT = "ERR_TLS_PROTOCOL_VERSION_CONFLICT"
VERSION = "ERR_TLS_INVALID_PROTOCOL_VERSION"

MEMBERS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


def protocol(client: dict[str, Any], server: dict[str, Any]) -> str | None:
    """The version that both ends agree on."""
    both: dict[str, Any] = {"ciphers": "ALL@SECLEVEL=0"}
    pair = Pair.connected(
        client={"context": aiotls.create_secure_context(**both, **client), "reject_unauthorized": False},
        server={"context": aiotls.create_secure_context(**both, **server_options(**server))},
    )
    ends = [side.connection.engine.protocol() for side in (pair.client, pair.server)]
    assert ends[0] == ends[1]
    return ends[0]


@pytest.mark.parametrize("name", MEMBERS)
def test_a_name_and_a_member_of_ssl_say_the_same(name: str) -> None:
    """`min_version` and `max_version` as text and as `ssl.TLSVersion`, on either side."""
    everything = {"min_version": "TLSv1", "max_version": "TLSv1.3"}
    for one in (name, MEMBERS[name]):
        assert protocol({**everything, "max_version": one}, everything) == name
        assert protocol(everything, {**everything, "max_version": one}) == name
        alone = {"min_version": one, "max_version": one}
        assert protocol(alone, everything) == name
        assert protocol(everything, alone) == name


def test_the_ends_of_the_range_have_members_too() -> None:
    whole = {"min_version": ssl.TLSVersion.MINIMUM_SUPPORTED, "max_version": ssl.TLSVersion.MAXIMUM_SUPPORTED}
    assert protocol(whole, {"max_version": "TLSv1", "min_version": "TLSv1"}) == "TLSv1"
    assert protocol(whole, {}) == "TLSv1.3"


@pytest.mark.parametrize("role", ["", "client_", "server_"])
def test_methods_have_forms_for_each_role(role: str) -> None:
    """VER-01: the legacy names of OpenSSL, with and without a role."""
    for method, version in (("TLS", "TLSv1.3"), ("TLSv1_2", "TLSv1.2"), ("TLSv1_1", "TLSv1.1"), ("SSLv23", "TLSv1.2")):
        whole = {"secure_protocol": "TLS_method"}
        assert protocol({"secure_protocol": f"{method}_{role}method"}, whole) == version
        assert protocol(whole, {"secure_protocol": f"{method}_{role}method"}) == version


@pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)
def test_what_is_no_version(run: Run) -> None:
    """VER-01: a version or a method that does not exist, of whatever type, wherever it is given."""

    async def main() -> None:
        async with places() as functions:
            for place in functions.values():
                for option, value in itertools.product(("min_version", "max_version"), ("x", "TLSv1.4", "", 1)):
                    error = refused(place, option, value, VERSION)
                    assert repr(value) in error.message
                    assert "TLSv1, TLSv1.1, TLSv1.2, TLSv1.3" in error.message
                refused(place, "min_version", ssl.TLSVersion.SSLv3, VERSION)
                for method in ("SSLv2_method", "SSLv3_method", "hokey-pokey", "%s_method", "TLSv1_3_method", ""):
                    assert repr(method) in refused(place, "secure_protocol", method, METHOD).message

    run(main)


@pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)
@pytest.mark.parametrize("option", ["min_version", "max_version"])
def test_a_method_beside_a_version(run: Run, option: str) -> None:
    """VER-01: they both choose, so they may not stand together, on a client or on a server."""

    async def main() -> None:
        async with places() as functions:
            for place in functions.values():
                for version in ("TLSv1.2", MEMBERS["TLSv1.2"]):
                    error = refused(place, option, version, CONFLICT, secure_protocol="TLS_method")
                    assert "secure_protocol" in error.message
                # None is not given, so nothing conflicts, and the method is looked at.
                refused(place, "secure_protocol", "nonsense", METHOD, **{option: None})

    run(main)


@pytest.mark.parametrize(
    "options",
    [
        {"min_version": "TLSv1.3", "max_version": "TLSv1.2"},
        {"min_version": "TLSv1.2", "max_version": "TLSv1"},
        {"max_version": "TLSv1.1"},
    ],
)
def test_a_range_with_nothing_in_it_is_no_error(options: dict[str, Any]) -> None:
    """VER-01: it shows at the first handshake."""
    assert isinstance(aiotls.create_secure_context(**options), aiotls.SecureContext)
