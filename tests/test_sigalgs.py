"""Signature algorithms: the option `sigalgs` on both sides, and what a server finds that both have."""

import asyncio
from typing import Any

import pytest

import aiotls
from aiotls import _native
from tests.conftest import Run
from tests.support.pairs import client_options, gone, server_options, streams, tls_pair
from tests.support.pki import Named, named

HANDSHAKE_FAILURE = (
    "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE"
    if _native.OPENSSL_VERSION_NUMBER >= 0x30200000
    else "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE"
)


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    """A protocol version."""
    return str(request.param)


def rsa(**options: Any) -> dict[str, Any]:
    return {"cert": named.server.chain_pem, "key": named.server.key_pem, **options}


def client(**options: Any) -> dict[str, Any]:
    return {"cert": named.client.chain_pem, "key": named.client.key_pem, **options}


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs", "shared"),
    [
        ("RSA-PSS+SHA384", "RSA-PSS+SHA384", ["RSA-PSS+SHA384"]),
        (
            "RSA-PSS+SHA256:RSA-PSS+SHA512:ECDSA+SHA256",
            "RSA-PSS+SHA256:ECDSA+SHA256",
            ["RSA-PSS+SHA256", "ECDSA+SHA256"],
        ),
        # The server's order counts, unless it leaves that to the client.
        ("ed25519:RSA-PSS+SHA256", "RSA-PSS+SHA256:ed25519", ["RSA-PSS+SHA256", "Ed25519"]),
        ("RSA+SHA256:RSA-PSS+SHA256", "RSA-PSS+SHA256:RSA+SHA256", ["RSA-PSS+SHA256", "RSA+SHA256"]),
        ("rsa_pss_rsae_sha256:ecdsa_secp384r1_sha384", None, ["ECDSA+SHA384", "RSA-PSS+SHA256"]),
    ],
)
def test_what_both_have(
    run: Run, pki: Named, version: str, ours: str, theirs: str | None, shared: list[str], asked: bool
) -> None:
    """CIPH-05: `get_shared_sigalgs` on the server; None before the connection is secure and after its end."""

    async def main() -> None:
        own = rsa(sigalgs=theirs, max_version=version, request_cert=asked, ca=pki.ca.cert_pem)
        async with streams("socketpair") as (near_end, far_end):
            far = aiotls.TLSSocket(far_end, is_server=True, **server_options(**own))
            near = aiotls.connect(socket=near_end, **client_options(**client(sigalgs=ours)))
            assert far.get_shared_sigalgs() is None
            await near
            await far
            assert far.authorized is asked
            assert far.get_shared_sigalgs() == shared
            await gone(near, far)
            assert far.get_shared_sigalgs() is None

    run(main)


def test_the_order_of_the_client(run: Run, version: str) -> None:
    """With ``honor_cipher_order=False`` the client's order counts here too."""

    async def main() -> None:
        own = rsa(sigalgs="RSA-PSS+SHA256:RSA+SHA256", max_version=version, honor_cipher_order=False)
        async with tls_pair(server=own, client={"sigalgs": "RSA+SHA256:RSA-PSS+SHA256"}) as (_, far):
            assert far.get_shared_sigalgs() == ["RSA+SHA256", "RSA-PSS+SHA256"]

    run(main)


def test_everything_is_shared_by_default(run: Run, version: str) -> None:
    """Without the option a server and a client of the same OpenSSL share the usual algorithms."""

    async def main() -> None:
        async with tls_pair(server=rsa(max_version=version)) as (_, far):
            found = far.get_shared_sigalgs()
            assert found is not None
            assert {"ECDSA+SHA256", "RSA-PSS+SHA256", "RSA+SHA256", "Ed25519"} <= set(found)
            assert len(found) == len(set(found))

    run(main)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("RSA-PSS+SHA384", "ECDSA+SHA256"),
        ("RSA-PSS+SHA384:ECDSA+SHA256", "ECDSA+SHA384:RSA-PSS+SHA256"),
    ],
)
def test_nothing_in_common(run: Run, version: str, ours: str, theirs: str) -> None:
    """CIPH-05: the server knows why, the client gets the alert handshake_failure."""

    async def main() -> None:
        there, here = await outcome(client(sigalgs=ours), rsa(sigalgs=theirs, max_version=version))
        assert isinstance(there, aiotls.AlertReceived)
        assert (there.code, there.alert) == (HANDSHAKE_FAILURE, 40)
        assert isinstance(here, aiotls.TLSError)
        assert here.code == "ERR_SSL_NO_SHARED_SIGNATURE_ALGORITHMS"

    run(main)


@pytest.mark.parametrize("identity", ["server", "server_ec", "server_ed25519"])
def test_the_certificate_has_to_fit(run: Run, pki: Named, version: str, identity: str) -> None:
    """A client that cannot verify the only certificate of a server is refused, whatever kind it is."""
    own = getattr(pki, identity)
    algorithms = {"server": "RSA-PSS+SHA256", "server_ec": "ECDSA+SHA256", "server_ed25519": "ed25519"}

    async def main() -> None:
        options = {"cert": own.chain_pem, "key": own.key_pem, "max_version": version}
        for name, algorithm in algorithms.items():
            # The root has signed with RSA, which in TLS 1.2 has to be offered too.
            offered = {"sigalgs": f"{algorithm}:RSA+SHA256" if name != "server" else algorithm}
            fits = name == identity or (identity == "server" and version == "TLSv1.2" and name != "server")
            there, here = await outcome(offered, options)
            if fits:
                assert (there, here) == (None, None)
                continue
            assert isinstance(there, aiotls.AlertReceived)
            assert there.alert == 40
            assert isinstance(here, aiotls.TLSError)

    run(main)


async def outcome(client: dict[str, Any], server: dict[str, Any]) -> tuple[BaseException | None, BaseException | None]:
    """The errors of both sides; None where the handshake succeeds."""
    async with tls_pair(client=client, server=server, secure=False) as ends:
        results = await asyncio.gather(*ends, return_exceptions=True)
        near, far = (result if isinstance(result, BaseException) else None for result in results)
        return near, far


# ---- what is refused


@pytest.mark.parametrize("make", [aiotls.create_server, aiotls.create_secure_context])
@pytest.mark.parametrize(
    "value", ["BOGUS+SHA1", "RSA+SHA256:BOGUS", "RSA+BOGUS", "RSA", ":", "RSA+SHA256,ECDSA+SHA256"]
)
def test_an_unknown_name(make: Any, value: str) -> None:
    """CIPH-05: an error at creation."""
    with pytest.raises(aiotls.OptionError, match=r"sigalgs: .*unknown signature algorithm") as caught:
        make(sigalgs=value)
    assert (caught.value.code, caught.value.option) == ("ERR_CRYPTO_OPERATION_FAILED", "sigalgs")


@pytest.mark.parametrize("make", [aiotls.create_server, aiotls.create_secure_context])
def test_what_is_no_list(make: Any) -> None:
    """CIPH-05: an empty text is a wrong value, anything but a text a wrong type; None is absent."""
    with pytest.raises(aiotls.OptionError, match="sigalgs must not be empty") as empty:
        make(sigalgs="")
    assert (empty.value.code, isinstance(empty.value, TypeError)) == ("ERR_INVALID_ARG_VALUE", False)
    for value in (1, True, b"RSA+SHA256", ["RSA+SHA256"], {}, object()):
        with pytest.raises(TypeError, match="sigalgs must be a str") as caught:
            make(sigalgs=value)
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]
    make(sigalgs=None)
