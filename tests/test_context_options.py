"""The options of a secure context as a whole: what `key`, `cert` and `ca` may be, and what is absent."""

from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pki import Identity, Named, named
from tests.support.servers import echo, serving, to
from tests.test_option_values import NAMES

MAKERS = (aiotls.create_server, aiotls.create_secure_context)
KINDS: tuple[Callable[[bytes], Any], ...] = (bytes, bytes.decode, bytearray, memoryview)

RSA, EC = named.server, named.server_ec


def both(part: str, *identities: Identity) -> list[list[Any]]:
    """The keys or the certificates of identities, as a list for each kind of text."""
    return [[kind(getattr(identity, part)) for identity in identities] for kind in KINDS]


@pytest.mark.parametrize("make", MAKERS)
def test_what_keys_and_certificates_may_be(make: Any) -> None:
    """OPT-01: bytes, str and views, alone and in lists; keys in dicts; two algorithms; each without the other."""
    for kind, other in zip(KINDS, KINDS[::-1], strict=True):
        key, cert = kind(RSA.key_pem), other(RSA.cert_pem)
        for keys in (key, [key], [{"pem": key}], [{"pem": key}, {"pem": kind(EC.key_pem)}], None, False):
            for certs in (cert, [cert], None, False):
                if certs and isinstance(keys, list) and len(keys) > 1:
                    continue
                make(key=keys, cert=certs)
        make(key=key)
        make(cert=cert)
    make()
    for keys, certs in zip(both("key_pem", RSA, EC), both("cert_pem", EC, RSA), strict=True):
        make(key=keys, cert=certs)
        make(key=[{"pem": key} for key in keys], cert=certs)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("key", "option", "told"),
    [
        (True, "key", "True"),
        ({"pem": RSA.key_pem}, "key", "an instance of dict"),
        ([True], "key[0]", "True"),
        ([True, False], "key[0]", "True"),
        ([RSA.key_pem, True], "key[1]", "True"),
        ([RSA.key_pem, False], "key[1]", "False"),
        ([RSA.key_pem, None], "key[1]", "None"),
        ([None], "key[0]", "None"),
        ([{"pem": RSA.key_pem}, {"pem": True}], "key[1]['pem']", "True"),
        (1, "key", "1"),
    ],
)
def test_what_a_key_may_not_be(make: Any, key: Any, option: str, told: str) -> None:
    """OPT-01: the message names the option, and describes the value or the element that is at fault."""
    for cert in (RSA.cert_pem, [RSA.cert_pem], None, False):
        with pytest.raises(TypeError) as caught:
            make(key=key, cert=cert)
        assert_type_error(caught.value, option, told)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["cert", "ca"])
@pytest.mark.parametrize(
    ("value", "place", "told"),
    [
        (True, "", "True"),
        (1, "", "1"),
        ({}, "", "an instance of dict"),
        ({"pem": RSA.cert_pem}, "", "an instance of dict"),
        ([True], "[0]", "True"),
        ([True, RSA.cert_pem], "[0]", "True"),
        ([RSA.cert_pem, True], "[1]", "True"),
        ([RSA.cert_pem, False], "[1]", "False"),
        ([RSA.cert_pem, None], "[1]", "None"),
        ([RSA.cert_pem, 1], "[1]", "1"),
    ],
)
def test_what_certificates_may_not_be(make: Any, name: str, value: Any, place: str, told: str) -> None:
    """OPT-01: in `cert`, also when there is no key, and in `ca`."""
    for key in (RSA.key_pem, [RSA.key_pem], None, False):
        with pytest.raises(TypeError) as caught:
            make(**{name: value}, key=key)
        assert_type_error(caught.value, f"{name}{place}", told)


def assert_type_error(error: Any, option: str, told: str) -> None:
    assert (error.code, error.option) == ("ERR_INVALID_ARG_TYPE", option)
    assert error.message == f"{option} must be a str or a bytes-like object, not {told}"


@pytest.mark.parametrize("make", MAKERS)
def test_what_authorities_may_be(make: Any) -> None:
    """OPT-01: `ca` takes text, bytes, views and lists of them, and False."""
    for kind in KINDS:
        make(ca=kind(named.ca.cert_pem))
        make(ca=[kind(named.ca.cert_pem), named.ca_a.cert_pem])
    make(ca=False)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("falsy", [None, False, "", 0, b""])
def test_nothing_at_all(make: Any, falsy: Any) -> None:
    """OPT-01: `key`, `cert` and `ca` falsy, alone and together."""
    make(key=falsy, cert=falsy, ca=falsy)
    for option in ("key", "cert", "ca"):
        make(**{option: falsy})


# ---- a context that many use


ABSENT = (
    *("ciphers", "client_cert_engine", "crl", "dhparam", "passphrase", "pfx", "private_key_identifier"),
    *("private_key_engine", "session_id_context", "session_timeout", "sigalgs", "ticket_keys"),
)


@pytest.mark.parametrize("absent", [(), ABSENT, sorted(NAMES["create_secure_context"] - {"ca", "ecdh_curve"})])
def test_a_context_with_nothing_but_an_authority(run: Run, pki: Named, absent: tuple[str, ...]) -> None:
    """CONN-03: a client whose context trusts CA-A reaches LEAF-A; options that are None change nothing."""

    async def main() -> None:
        options: dict[str, Any] = {"ca": pki.ca_a.cert_pem, **dict.fromkeys(absent)}
        context = aiotls.create_secure_context(**options)
        async with serving(echo, cert=pki.leaf_a.chain_pem, key=pki.leaf_a.key_pem) as server:
            for _ in range(2):
                async with to(server, ca=None, servername="agent1", secure_context=context) as client:
                    assert client.authorized is True
                    assert client.authorization_error is None
                    client.write(b"hello")
                    assert await client.readexactly(5) == b"hello"

    run(main)


def test_one_context_for_both_sides(run: Run, pki: Named) -> None:
    """A context has no side of its own: client and server may share one, and as many connections as there are."""

    async def main() -> None:
        context = aiotls.create_secure_context(
            ca=pki.ca.cert_pem, cert=pki.server_ec.chain_pem, key=pki.server_ec.key_pem
        )
        async with serving(echo, cert=None, key=None, secure_context=context) as server:
            clients = [to(server, ca=None, secure_context=context) for _ in range(8)]
            for client in clients:
                async with client:
                    assert client.authorized is True

    run(main)


@pytest.mark.parametrize("option", sorted(NAMES["create_secure_context"]))
def test_no_option_beside_a_context(option: str) -> None:
    """Context options beside an explicit `secure_context` are a TypeError; None is no option."""
    context = aiotls.create_secure_context()
    given: dict[str, Any] = {option: "x"}
    with pytest.raises(TypeError, match=f"{option} belongs to the secure context") as caught:
        aiotls.create_server(secure_context=context, **given)
    assert caught.value.option == option  # type: ignore[attr-defined]
    given[option] = None
    assert isinstance(aiotls.create_server(secure_context=context, **given), aiotls.Server)
