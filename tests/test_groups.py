"""Groups of the key exchange: the option `ecdh_curve`, on both sides and in both versions."""

from typing import Any

import pytest

import aiotls
from aiotls import _native
from tests.conftest import Run
from tests.support.pairs import Pair, tls_pair
from tests.support.pki import named

HYBRID = _native.OPENSSL_VERSION_NUMBER >= 0x30500000
"""Whether OpenSSL has the hybrid groups with ML-KEM."""
needs_hybrid = pytest.mark.skipif(not HYBRID, reason="OpenSSL has ML-KEM since 3.5")

CURVES = {
    "prime256v1": ("ECDH", "prime256v1", 256),
    "P-256": ("ECDH", "prime256v1", 256),
    "secp384r1": ("ECDH", "secp384r1", 384),
    "P-521": ("ECDH", "secp521r1", 521),
    "X25519": ("ECDH", "X25519", 253),
    "X448": ("ECDH", "X448", 448),
}
"""Names of groups, with what `get_ephemeral_key_info` tells of them."""
HYBRIDS = ("X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024")


async def exchanged(client: dict[str, Any], server: dict[str, Any]) -> tuple[str, str | None, int | None]:
    """Type, name and size of the key that the server sent; its certificate is RSA, which needs no group itself."""
    own = {"cert": named.server.chain_pem, "key": named.server.key_pem, **server}
    async with tls_pair(client=client, server=own) as (near, far):
        key = near.get_ephemeral_key_info()
        assert key is not None
        assert far.get_ephemeral_key_info() is None
        near.write(b"hello")
        assert await far.readexactly(5) == b"hello"
        return key.type, key.name, key.size


def refused(client: dict[str, Any], server: dict[str, Any]) -> tuple[Any, Any]:
    """The errors of both sides, where no suite does without a group."""
    own = {"cert": named.server.chain_pem, "key": named.server.key_pem, "ciphers": "ECDHE+AESGCM"}
    pair = Pair(client=client, server={**own, **server})
    pair.run()
    return pair.client.error, pair.server.error


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("curve", CURVES)
def test_one_group(run: Run, curve: str, version: str) -> None:
    """One group, chosen by the server or by the client."""

    async def main() -> None:
        given = {"ecdh_curve": curve, "max_version": version}
        if curve == "X448":
            # Clients of OpenSSL before 3.5 offer it only when they are asked to.
            assert await exchanged(given, given) == CURVES[curve]
            return
        assert await exchanged({}, given) == CURVES[curve]
        assert await exchanged(given, {}) == CURVES[curve]

    run(main)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize(
    ("client", "server", "name"),
    [
        ("X25519:prime256v1:secp384r1", "secp384r1", "secp384r1"),
        ("prime256v1:secp384r1", "secp521r1:secp384r1", "secp384r1"),
        ("X25519", "prime256v1:X25519", "X25519"),
        ("auto", "secp521r1", "secp521r1"),
        ("auto", "secp384r1:secp521r1", "secp384r1"),
    ],
)
def test_a_list(run: Run, client: str, server: str, name: str, version: str) -> None:
    """A colon list in order of preference; a key share for another group is asked for anew."""

    async def main() -> None:
        got = await exchanged({"ecdh_curve": client, "max_version": version}, {"ecdh_curve": server})
        assert got[1] == name

    run(main)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_no_group_in_common(version: str) -> None:
    """The handshake fails with the alert handshake_failure."""
    client, server = refused(
        {"ecdh_curve": "prime256v1", "max_version": version}, {"ecdh_curve": "secp384r1", "max_version": version}
    )
    assert isinstance(client, aiotls.AlertReceived)
    assert client.alert == 40
    assert server.code in ("ERR_SSL_NO_SHARED_CIPHER", "ERR_SSL_NO_SUITABLE_KEY_SHARE", "ERR_SSL_NO_SHARED_GROUP")


@pytest.mark.parametrize(
    "curve",
    [
        *("wap-wsg-idm-ecid-wtls1", "c2pnb163v1", "prime192v3", "rick-astley", "auto:prime256v1"),
        *("prime256v1:bogus", "bogus:prime256v1", "prime256v1:", ":", "prime256v1,secp384r1", "prime256v1 secp384r1"),
    ],
)
@pytest.mark.parametrize("make", [aiotls.create_server, aiotls.create_secure_context])
def test_what_is_no_group(make: Any, curve: str) -> None:
    """CIPH-09: unsupported curves, also as one member of a list."""
    with pytest.raises(aiotls.OptionError, match="Failed to set ECDH curve") as caught:
        make(ecdh_curve=curve)
    assert (caught.value.code, caught.value.option) == ("ERR_CRYPTO_OPERATION_FAILED", "ecdh_curve")
    assert not isinstance(caught.value, TypeError)


@pytest.mark.parametrize("curve", [None, 1, True, b"prime256v1", ["prime256v1"]])
@pytest.mark.parametrize("make", [aiotls.create_server, aiotls.create_secure_context])
def test_what_is_no_text(make: Any, curve: Any) -> None:
    """CIPH-09: a non-string, None included."""
    with pytest.raises(TypeError, match="ecdh_curve must be a str, not") as caught:
        make(ecdh_curve=curve)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]


def test_the_default(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``"auto"`` leaves the groups to OpenSSL; `defaults.ecdh_curve` stands where the option is absent."""

    async def main() -> None:
        best = "X25519MLKEM768" if HYBRID else "X25519"
        assert (await exchanged({}, {}))[1] == best
        assert (await exchanged({"ecdh_curve": "auto"}, {"ecdh_curve": "auto"}))[1] == best
        monkeypatch.setattr(aiotls.defaults, "ecdh_curve", "secp384r1:secp521r1")
        assert (await exchanged({}, {}))[1] == "secp384r1"
        assert (await exchanged({"ecdh_curve": "auto"}, {}))[1] == "secp384r1"
        assert (await exchanged({}, {"ecdh_curve": "secp521r1"}))[1] == "secp521r1"

    run(main)


# ---- hybrid groups


@needs_hybrid
@pytest.mark.parametrize("group", HYBRIDS)
def test_hybrid_groups(run: Run, group: str) -> None:
    """The hybrid groups with ML-KEM, which TLS 1.3 alone has."""

    async def main() -> None:
        given = {"ecdh_curve": group}
        assert (await exchanged(given, given))[:2] == ("KEM", group)
        assert (await exchanged({"ecdh_curve": f"X25519:{group}"}, given))[:2] == ("KEM", group)
        assert (await exchanged(given, {"ecdh_curve": f"{group}:X25519"}))[:2] == ("KEM", group)
        # A peer that does not know it falls back on what both have.
        assert (await exchanged({"ecdh_curve": f"{group}:X25519"}, {"ecdh_curve": "X25519"}))[1] == "X25519"

    run(main)


@needs_hybrid
def test_tls_1_2_has_no_hybrid_groups(run: Run) -> None:
    """Beside them a curve is needed there."""

    async def main() -> None:
        both = {"ecdh_curve": "X25519MLKEM768:prime256v1"}
        assert (await exchanged({**both, "max_version": "TLSv1.2"}, both))[1] == "prime256v1"

    run(main)
    client, server = refused(
        {"ecdh_curve": "X25519MLKEM768", "max_version": "TLSv1.2"}, {"ecdh_curve": "X25519MLKEM768"}
    )
    assert client.code.startswith("ERR_SSL_")
    assert server.code.startswith("ERR_SSL_")


@pytest.mark.skipif(HYBRID, reason="this OpenSSL has them")
@pytest.mark.parametrize("group", HYBRIDS)
def test_hybrid_groups_that_openssl_does_not_have(group: str) -> None:
    """An older OpenSSL refuses them by name."""
    with pytest.raises(aiotls.OptionError, match="Failed to set ECDH curve"):
        aiotls.create_secure_context(ecdh_curve=group)
