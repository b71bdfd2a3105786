"""Certificates field by field as Node tells them: odd ones made byte by byte, and those of connections."""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import aiotls
from aiotls.certificate import PeerCertificate
from aiotls.distinguished_name import SHORT_NAMES
from tests.conftest import Run
from tests.interop.node_certificates import DIED, ask, node, told
from tests.support.odd_catalogue import CATALOGUE, REFUSED, made
from tests.support.odd_certificates import UTF8, certificate, name
from tests.support.pairs import gone
from tests.support.peers import needs
from tests.support.pki import Identity, Named, self_signed
from tests.support.servers import port_of, serving, to

pytestmark = needs("node")


@dataclass(frozen=True)
class Difference:
    """Where we tell something else, and why."""

    reason: str
    fields: frozenset[str]
    always: bool = True
    """Whether every version of Node differs."""


def differs(reason: str, *fields: str, always: bool = True) -> Difference:
    return Difference(reason, frozenset(fields), always)


_RSA_FIELDS = ("modulus", "exponent", "bits", "pubkey")
_EC_FIELDS = ("pubkey", "bits", "asn1Curve", "nistCurve")
_NEGATIVE = differs("no RSA key has a negative number; Node reads another number", *_RSA_FIELDS)
_AS_IT_STANDS = differs("the key is told as it stands in the certificate; Node encodes it anew", "pubkey")
_PSS = differs("an RSA-PSS key is an RSA key; older Node tells nothing of it", *_RSA_FIELDS, always=False)
_POINT = differs("the point is told as it stands in the certificate, as newer Node does", "pubkey", always=False)
_OFF_CURVE = differs("whether a point lies on its curve is OpenSSL's business in the handshake", *_EC_FIELDS)
_NO_TEXT = differs(
    "a value that is no text hides no other attribute (x500UniqueIdentifier has bits)", "subject", "issuer"
)
_ALGORITHM = differs("only identifiers of attributes are known by name", "subject", "issuer")
_LONG = differs("Node cuts long identifiers short, to 80 characters or to 256", "subject", "issuer")
_LONG_NAME = differs("Node cuts long identifiers short, to 80 characters or to 256", "subjectaltname")
_LOOSE = differs("what is no DER is not read", "subjectaltname")
_HEX = differs("a value that is no text is told as RFC 4514 has it; Node gives up all names", "subjectaltname")
_TIME = "RFC 5280 allows one form of a time; OpenSSL reads more, and refuses them when it verifies"
_FROM, _TO = differs(_TIME, "valid_from"), differs(_TIME, "valid_to")
_BOTH = differs(_TIME, "valid_from", "valid_to", always=False)
_ODD_TIMES = (
    "general b'00000101000000Z'",
    "general b'20200101000000.5Z'",
    "general b'20200101000000-0130'",
    "utc b'200101000000+0130'",
)

DIFFERENCES: dict[str, Difference] = {
    "key: rsa exponent 2^64+1": differs("older Node tells 64 bits of it", "exponent", always=False),
    "key: rsa exponent 2^200+1": differs("older Node tells 64 bits of it", "exponent", always=False),
    "key: rsa negative modulus": _NEGATIVE,
    "key: rsa negative exponent": _NEGATIVE,
    "key: rsa without parameters": _AS_IT_STANDS,
    "key: rsa with a number as parameters": _AS_IT_STANDS,
    "key: rsa under its X.500 name": _AS_IT_STANDS,
    "key: rsa with something behind it": differs("what is no DER is not read", *_RSA_FIELDS),
    "key: rsa-pss": _PSS,
    "key: rsa-pss with a null": _PSS,
    "key: rsa-pss with defaults": _PSS,
    "key: rsa-pss with parameters": _PSS,
    "key: ec compressed": _POINT,
    "key: ec hybrid": _POINT,
    "key: ec infinity": differs("not a key; newer Node tells its curve", *_EC_FIELDS, always=False),
    "key: ec off the curve": _OFF_CURVE,
    "key: ec on an unknown curve": differs("the point and the curve's identifier are known", "pubkey", "asn1Curve"),
    "key: ec with explicit parameters": differs(
        "parameters have no name; who takes all but the generator for P-256 is fooled (CVE-2020-0601)",
        "asn1Curve",
        "nistCurve",
    ),
    "subject: string bits": _NO_TEXT,
    "subject: string sequence": _NO_TEXT,
    "subject: string object descriptor": _NO_TEXT,
    "subject: string character string": _NO_TEXT,
    "subject: algorithms": _ALGORITHM,
    "subject: long identifier": _LONG,
    "subject: identifier beyond OpenSSL's limit": _LONG,
    "name: registered beyond OpenSSL's limit": _LONG_NAME,
    "name: directory integer": _HEX,
    "name: directory octets": _HEX,
    "name: directory null": _HEX,
    "name: directory boolean": _HEX,
    "name: directory time": _HEX,
    "name: directory context": _HEX,
    "name: directory visible": differs("a VisibleString is text; Node gives up all names", "subjectaltname"),
    "name: directory bmp surrogates": differs("pairs of surrogates are usual in BMPStrings", "subjectaltname"),
    "name: directory algorithm": differs("only identifiers of attributes are known by name", "subjectaltname"),
    "name: party without content": differs("nothing is told of its content anyway", "subjectaltname"),
    "name: in two strings": _LOOSE,
    "extension: names with something behind them": _LOOSE,
    "extension: access by an algorithm": differs("only access methods are known by name", "infoAccess"),
    "extension: ca with something behind it": differs("what is no DER is not read", "ca"),
    "extension: ca with broken names": differs("a broken extension costs only itself", "ca"),
    "extension: purposes long": differs("Node cuts long identifiers short", "ext_key_usage"),
    **{f"from: {each}": _FROM for each in _ODD_TIMES},
    **{f"to: {each}": _TO for each in _ODD_TIMES},
    "from: bad b'2001010102Z'": _BOTH,
}


@functools.cache
def answers() -> dict[str, tuple[bytes, Any]]:
    """Each certificate of the catalogue, and what Node tells of it."""
    ders = {which: made(which) for which in (*CATALOGUE, *REFUSED)}
    fields = ask([der.hex() for der in ders.values()])
    return dict(zip(ders, zip(ders.values(), fields, strict=True), strict=True))


def compare(theirs: dict[str, Any], ours: dict[str, Any], difference: Difference | None = None) -> None:
    """Asserts that two certificates have the same fields, but for those of `difference`; null is absent."""
    fields = {**theirs, **ours}.keys()
    different = {field for field in fields if theirs.get(field) != ours.get(field)}
    allowed = difference.fields if difference else frozenset()
    assert different <= allowed, {field: (theirs.get(field), ours.get(field)) for field in different - allowed}
    if difference and difference.always:
        assert different == allowed, "no difference any more"


@pytest.mark.parametrize("which", CATALOGUE)
def test_odd_certificates(which: str) -> None:
    """Keys, names, strings, times, serial numbers, extensions: what Node tells, or a difference with its reason."""
    der, theirs = answers()[which]
    ours = told(PeerCertificate(der))
    if theirs == DIED:
        pytest.skip("this version of Node ends at it")
    if theirs is None:
        assert which.startswith("from: bad"), "only such times are refused, by newer versions of OpenSSL"
        assert (ours["valid_from"], ours["valid_to"]) == ("Bad time value", "Bad time value")
        return
    compare(theirs, ours, DIFFERENCES.get(which))


@pytest.mark.parametrize("which", REFUSED)
def test_what_node_refuses(which: str) -> None:
    """We tell what can be told, or raise ValueError."""
    der, theirs = answers()[which]
    assert theirs is None
    with contextlib.suppress(ValueError):
        assert PeerCertificate(der).to_dict()["raw"] == der


def test_every_difference_is_of_a_certificate() -> None:
    assert DIFFERENCES.keys() <= CATALOGUE.keys()


def test_curves() -> None:
    """Every curve of OpenSSL by name, size and encoding; of SM2 Node tells nothing."""
    (keys,) = ask(["curves"])
    assert len(keys) > 50
    ders = {curve: certificate(key=bytes.fromhex(key)) for curve, key in keys.items()}
    theirs = dict(zip(ders, ask([der.hex() for der in ders.values()]), strict=True))
    for curve, der in ders.items():
        ours = PeerCertificate(der)
        assert ours.asn1_curve == curve
        if theirs[curve] != DIED:
            compare(theirs[curve], told(ours), _SM2 if curve == "SM2" else None)


_SM2 = differs("a curve like any other", "pubkey", "bits", "asn1Curve")


def test_names_of_attributes() -> None:
    """Every attribute of X.520 and those of our table; one that Node does not know is dotted."""
    attributes = {*SHORT_NAMES, *(f"2.5.4.{number}" for number in range(128))}
    subject = name(*([(attribute, UTF8, attribute.encode())] for attribute in sorted(attributes)))
    der = certificate(subject=subject)
    compare(ask([der.hex()])[0], told(PeerCertificate(der)))


# ---- over connections


def rooted(**options: Any) -> Identity:
    """A self-signed certificate that its key usage does not keep from being its own issuer, for Node."""
    return self_signed(["localhost"], key_usage=None, **options)


IDENTITIES: dict[str, Callable[[Named], tuple[Identity, bytes | None]]] = {
    "leaf": lambda pki: (pki.leaf_a, pki.ca_a.cert_pem),
    "leaf, unknown root": lambda pki: (pki.leaf_a, None),
    "chain": lambda pki: (pki.chain_a, pki.ca_a.cert_pem),
    "chain, unknown root": lambda pki: (pki.chain_a, None),
    "ec chain": lambda pki: (pki.chain_ec, pki.ca_ec.cert_pem),
    "self-signed": lambda pki: (rooted(), None),
    "self-signed ec": lambda pki: (rooted(key="ec"), None),
    "self-signed ed25519": lambda pki: (rooted(key="ed25519"), None),
    "self-signed ca": lambda pki: (pki.self_localhost, None),
    "self-signed, known": lambda pki: (pki.self_localhost, pki.self_localhost.cert_pem),
}


@pytest.fixture(params=IDENTITIES)
def shown(request: pytest.FixtureRequest, pki: Named) -> tuple[Identity, bytes | None]:
    """An identity, and the root that its peer trusts."""
    return IDENTITIES[request.param](pki)


def options(identity: Identity, root: bytes | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of both sides: ours, and Node's."""
    ours: dict[str, Any] = {"cert": identity.chain_pem, "key": identity.key_pem, "ca": root}
    theirs = {option: value.decode() if value else None for option, value in ours.items()}
    return {**ours, "reject_unauthorized": False}, theirs


def test_our_server(run: Run, shown: tuple[Identity, bytes | None]) -> None:
    """CERT-03, CERT-06: what a client of ours and one on Node see of the same server, and that of each of them."""

    async def main() -> None:
        ours, theirs = options(*shown)
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        async with (
            serving(accepted.put_nowait, request_cert=True, **ours) as server,
            node("client", port=port_of(server), **theirs) as peer,
        ):
            reported = await peer.event("certificates")
            far = await accepted.get()
            near = await to(server, **ours)
            try:
                compare(reported["chain"], told(near.get_peer_certificate(True)))
                compare(reported["chain"], told(far.get_peer_certificate(True)))
                for own in (near.get_peer_certificate(), near.get_certificate(), far.get_certificate()):
                    compare(reported["peer"], told(own))
                    compare(reported["own"], told(own))
            finally:
                await gone(near, far, await accepted.get())

    run(main)


def test_node_as_server(run: Run, shown: tuple[Identity, bytes | None]) -> None:
    """CERT-03, CERT-06: what a client of ours sees of Node, and Node of it."""

    async def main() -> None:
        ours, theirs = options(*shown)
        async with node("server", **theirs) as peer:
            near = await aiotls.connect("127.0.0.1", peer.port, **ours)
            reported = await peer.event("certificates")
            try:
                compare(reported["chain"], told(near.get_peer_certificate(True)))
                compare(reported["own"], told(near.get_peer_certificate()))
                compare(reported["peer"], told(near.get_certificate()))
            finally:
                await gone(near)

    run(main)


def test_nobody(run: Run, pki: Named) -> None:
    """CERT-03: without a client certificate the server sees an empty one, whoever the client is."""

    async def main() -> None:
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        async with (
            serving(accepted.put_nowait, request_cert=True, reject_unauthorized=False) as server,
            node("client", port=port_of(server)) as peer,
        ):
            assert (await peer.event("certificates"))["own"] == {}
            far = await accepted.get()
            for detailed in (False, True):
                assert told(far.get_peer_certificate(detailed)) == {}
            await gone(far)
        own = {"cert": pki.server.chain_pem.decode(), "key": pki.server.key_pem.decode()}
        async with node("server", **own) as peer:
            near = await aiotls.connect("127.0.0.1", peer.port, reject_unauthorized=False)
            reported = await peer.event("certificates")
            assert reported["peer"] == reported["chain"] == told(near.get_certificate()) == {}
            await gone(near)

    run(main)
