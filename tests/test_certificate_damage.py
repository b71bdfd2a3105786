"""Certificates that are broken or huge: whatever is asked of one, it answers or raises ValueError."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiotls import der
from aiotls.certificate import PeerCertificate
from tests.support import odd_certificates as odd
from tests.support.odd_catalogue import CATALOGUE, REFUSED, made
from tests.support.odd_certificates import UTF8, certificate, examine, tlv
from tests.support.pki import named


def everything() -> bytes:
    """A certificate with every field, and every kind of name."""
    names = [
        odd.dns(b"localhost"),
        odd.email(b"a@b.example"),
        odd.uri(b"http://a.example/"),
        odd.address(bytes((127, 0, 0, 1))),
        odd.address(bytes(16)),
        odd.registered(odd.UNKNOWN),
        odd.other_name(odd.XMPP, UTF8, b"a"),
        odd.directory_name([(odd.L, odd.BMP, b"\0a"), (odd.O, UTF8, b"o")]),
        odd.X400_ADDRESS,
        odd.PARTY_NAME,
    ]
    return certificate(
        subject=odd.name([(odd.CN, UTF8, b"localhost"), (odd.O, odd.T61, b"o")], [(odd.OU, odd.UNIVERSAL, b"\0\0\0a")]),
        validity=(tlv(odd.UTC_TIME, b"200101000000Z"), tlv(odd.GENERALIZED_TIME, b"20500101000000Z")),
        extensions=[
            odd.alternative_names(*names),
            odd.info_access((odd.OCSP, odd.uri(b"http://a/")), (odd.UNKNOWN, odd.directory_name())),
            odd.constraints(odd.TRUE, odd.integer(1)),
            odd.key_usage(5),
            odd.ext_key_usage(odd.UNKNOWN),
            odd.extension("2.5.29.14", tlv(odd.OCTETS, b"own key")),
            odd.extension("2.5.29.35", odd.sequence(tlv(0x80, b"own key"))),
        ],
    )


SOUND: dict[str, Callable[[], bytes]] = {
    "rsa": lambda: named.leaf_a.der,
    "ec": lambda: named.server_ec.der,
    "everything": everything,
}


@pytest.mark.parametrize("which", [*CATALOGUE, *REFUSED])
def test_odd_ones(which: str) -> None:
    """CVE-2019-15604, CVE-2023-30588: odd strings, keys, times, names: a value or a ValueError."""
    raised = examine(made(which))
    if which in CATALOGUE:
        assert raised <= 3, "x509, and the two checks of a name"


def test_sound_ones() -> None:
    """What is broken below is whole here."""
    for make in SOUND.values():
        assert examine(make()) <= 2
    assert PeerCertificate(everything()).to_dict().keys() >= {"subjectaltname", "infoAccess", "ext_key_usage", "bits"}


@pytest.mark.parametrize("which", SOUND)
def test_cut_off_at_every_byte(which: str) -> None:
    """Nothing is told of a certificate that is not all there."""
    encoded = SOUND[which]()
    for length in range(1, len(encoded)):
        found = PeerCertificate(encoded[:length])
        assert repr(found) == f"PeerCertificate({length} bytes that are no certificate)"
        with pytest.raises(ValueError, match=r"not an X\.509 certificate"):
            found.to_dict()
    for length in range(1, len(encoded), 97):
        examine(encoded[:length])


@pytest.mark.parametrize("which", SOUND)
def test_cut_off_inside(which: str) -> None:
    """Every element of it, at every depth, cut short by a byte with all lengths around it made to fit."""
    encoded = SOUND[which]()
    shortened = [variant for variant in _shortened(encoded) if variant != encoded]
    assert len(shortened) > 50
    for variant in shortened:
        examine(variant)


def _shortened(encoded: bytes) -> list[bytes]:
    (element,) = der.read_all(encoded)
    variants = [tlv(element.tag, element.content[:-1])]
    wrapped = b"\0" if element.tag == odd.BITS and element.content[1:2] == b"\x30" else b""
    with suppress(ValueError):
        if element.tag & 0x20 or element.tag in (odd.OCTETS, odd.BITS):
            parts = [child.encoded for child in der.read_all(element.content.removeprefix(wrapped))]
            for position, part in enumerate(parts):
                for variant in _shortened(part):
                    variants.append(tlv(element.tag, wrapped, *parts[:position], variant, *parts[position + 1 :]))
    return variants


@settings(deadline=None, max_examples=500)
@given(st.sampled_from([*SOUND]), st.data())
def test_flipped_bits(which: str, data: st.DataObject) -> None:
    encoded = bytearray(_sound(which))
    for bit in data.draw(st.lists(st.integers(0, len(encoded) * 8 - 1), min_size=1, max_size=6)):
        encoded[bit // 8] ^= 1 << bit % 8
    examine(bytes(encoded))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([*SOUND]), st.data())
def test_replaced_pieces(which: str, data: st.DataObject) -> None:
    """Bytes put in, taken out and moved."""
    encoded = _sound(which)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(encoded))] * 2)))
    piece = data.draw(st.one_of(st.binary(max_size=40), st.just(encoded[: end - start])))
    examine(encoded[:start] + piece + encoded[end:])


TREES = st.recursive(
    st.binary(max_size=12),
    lambda inner: st.lists(st.builds(tlv, st.integers(0, 255), inner), max_size=4).map(b"".join),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["serial", "subject", "issuer", "key", "version"]), TREES)
def test_other_elements_in_place(part: str, tree: bytes) -> None:
    """Elements of any tag and depth where something else should be."""
    examine(certificate(**{part: tlv(odd.SEQUENCE, tree)}))  # type: ignore[arg-type]
    examine(certificate(**{part: tree}))  # type: ignore[arg-type]


KINDS = ["2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37", odd.AUTHORITY_INFO_ACCESS]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(KINDS), TREES, st.booleans())
def test_other_extensions_in_place(kind: str, tree: bytes, whole: bool) -> None:
    """CERT-05: a broken extension costs only itself, and what is told of it."""
    value = tree if whole else tlv(odd.SEQUENCE, tree)
    encoded = certificate(extensions=[odd.extension(kind, value)])
    examine(encoded)
    assert PeerCertificate(encoded).to_dict()["subject"] == {"CN": "odd"}


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_junk(encoded: bytes) -> None:
    examine(encoded)


def _sound(which: str) -> bytes:
    if which not in _made:
        _made[which] = SOUND[which]()
    return _made[which]


_made: dict[str, bytes] = {}


# ---- encodings that are no DER


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x30",
        b"\x30\x80\0\0",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x85\x01\0\0\0\0",
        b"\x30\xff" + b"\xff" * 127,
        b"\x1f\x81\x01\0",
        b"\x3f\xff\xff\xff\xff\x7f\0",
        b"\0" * 100,
        b"\xff" * 100,
        b"\x30\0",
        b"\x30\x02\x30\0",
        b"\x30\x06" + b"\x30\0" * 3,
    ],
    ids=repr,
)
def test_lengths_and_tags_that_cannot_be(encoded: bytes) -> None:
    assert examine(encoded) > 10


def test_something_behind_it() -> None:
    """What follows the certificate makes it none."""
    with pytest.raises(ValueError, match="one element expected"):
        PeerCertificate(named.server_ec.der + b"\0\0").subject  # noqa: B018


# ---- sizes

LONG = 1 << 16
NESTED = 5000


def nested(depth: int) -> bytes:
    """Sequences within each other."""
    encoded = b""
    for _ in range(depth):
        encoded = odd.sequence(encoded)
    return encoded


HUGE: dict[str, Callable[[], bytes]] = {
    "subject": lambda: certificate(subject=odd.common_name(b"y" * LONG)),
    "subject of blanks": lambda: certificate(subject=odd.common_name(b" " * LONG)),
    "subject of broken text": lambda: certificate(subject=odd.common_name(b"\xff" * LONG)),
    "subject of wide text": lambda: certificate(subject=odd.common_name(b"\xd8\0" * (LONG // 2), odd.BMP)),
    "subject of many": lambda: certificate(subject=odd.name(*[[(odd.OU, UTF8, b"")]] * (LONG // 9))),
    "subject of many in one": lambda: certificate(subject=odd.name([(odd.OU, UTF8, b"")] * (LONG // 9))),
    "empty sets": lambda: certificate(subject=odd.sequence(b"\x31\0" * LONG)),
    "serial number": lambda: certificate(serial=odd.integer(1 << 8 * LONG)),
    "time": lambda: certificate(validity=[tlv(odd.UTC_TIME, b"9" * LONG)] * 2),
    "modulus": lambda: certificate(key=odd.rsa_key(1 << 8 * LONG | 1, 3)),
    "exponent": lambda: certificate(key=odd.rsa_key(3, 1 << 8 * LONG | 1)),
    "point": lambda: certificate(key=odd.ec_key(odd.P_256, b"\4" + bytes(LONG))),
    "curve": lambda: certificate(key=odd.public_key(odd.EC, odd.POINT, tlv(odd.OID, b"\x2b" + b"\1" * LONG))),
    "curve of one arc": lambda: certificate(key=odd.public_key(odd.EC, odd.POINT, tlv(odd.OID, b"\xff" * LONG))),
    "kind of key": lambda: certificate(key=odd.public_key("1.3" + ".1" * LONG, b"key")),
    "name": lambda: certificate(extensions=[odd.alternative_names(odd.dns(b"y" * LONG))]),
    "name of quotes": lambda: certificate(extensions=[odd.alternative_names(odd.dns(b'"' * LONG))]),
    "name of dots": lambda: certificate(extensions=[odd.alternative_names(odd.dns(b"." * LONG))]),
    "name of stars": lambda: certificate(extensions=[odd.alternative_names(odd.dns(b"*" * LONG))]),
    "address": lambda: certificate(extensions=[odd.alternative_names(odd.address(bytes(LONG)))]),
    "registered": lambda: certificate(extensions=[odd.alternative_names(tlv(0x88, b"\1" * LONG))]),
    "othername": lambda: certificate(extensions=[odd.alternative_names(odd.other_name(odd.XMPP, UTF8, b"," * LONG))]),
    "directory": lambda: certificate(
        extensions=[odd.alternative_names(odd.directory_name([(odd.L, UTF8, b"," * LONG)]))]
    ),
    "many names": lambda: certificate(extensions=[odd.alternative_names(*[odd.dns(b"")] * (LONG // 2))]),
    "many places": lambda: certificate(extensions=[odd.info_access(*[(odd.OCSP, odd.uri(b""))] * (LONG // 14))]),
    "many purposes": lambda: certificate(extensions=[odd.ext_key_usage(*["1.3.1"] * (LONG // 4))]),
    "many extensions": lambda: certificate(extensions=[odd.extension("1.3.1", b"")] * (LONG // 8)),
    "key usage": lambda: certificate(extensions=[odd.extension(odd.KEY_USAGE, tlv(odd.BITS, bytes(LONG)))]),
    "path length": lambda: certificate(extensions=[odd.constraints(odd.TRUE, odd.integer(1 << 8 * LONG))]),
    "nested whole": lambda: nested(NESTED),
    "nested version": lambda: certificate(version=tlv(0xA0, nested(NESTED))),
    "nested subject": lambda: certificate(subject=nested(NESTED)),
    "nested value": lambda: certificate(subject=odd.name([(odd.CN, odd.SEQUENCE, nested(NESTED))])),
    "nested key": lambda: certificate(key=nested(NESTED)),
    "nested parameters": lambda: certificate(key=odd.public_key(odd.EC, odd.POINT, nested(NESTED))),
    "nested extension": lambda: certificate(extensions=[odd.extension(odd.UNKNOWN, nested(NESTED))]),
    "nested names": lambda: certificate(extensions=[odd.extension(odd.SUBJECT_ALT_NAME, nested(NESTED))]),
    "nested othername": lambda: certificate(
        extensions=[odd.alternative_names(odd.other_name(odd.XMPP, odd.SEQUENCE, nested(NESTED)))]
    ),
    "nested directory": lambda: certificate(extensions=[odd.alternative_names(tlv(0xA4, nested(NESTED)))]),
}


@pytest.mark.parametrize("which", HUGE)
def test_64_kib(which: str) -> None:
    """CVE-2019-15604: values of 64 KiB, tens of thousands of values, thousands of levels."""
    examine(HUGE[which]())


def test_work_grows_with_the_size_alone() -> None:
    """Ten times what a handshake can carry, where the work could grow with its square: the test would not end."""
    long = 16 * LONG
    for encoded in (
        certificate(extensions=[odd.ext_key_usage(), odd.extension(odd.UNKNOWN, bytes(long))]),
        certificate(extensions=[odd.extension(odd.EXT_KEY_USAGE, odd.sequence(tlv(odd.OID, b"\xff" * long)))]),
        certificate(extensions=[odd.extension(odd.EXT_KEY_USAGE, odd.sequence(tlv(odd.OID, b"\1" * long)))]),
        certificate(key=odd.public_key(odd.EC, odd.POINT, tlv(odd.OID, b"\xff" * long))),
        certificate(serial=odd.integer(1 << 8 * long)),
        certificate(key=odd.rsa_key(1 << 8 * long | 1, 1 << 8 * long | 1)),
        certificate(subject=odd.common_name(b'"' * long)),
        certificate(extensions=[odd.alternative_names(odd.dns(b"a." * (long // 2)))]),
    ):
        found = PeerCertificate.from_chain([encoded])
        fields = found.to_dict()
        assert fields["raw"] == encoded
        assert len(fields["serialNumber"]) % 2 == 0


def test_a_chain_of_the_same_name() -> None:
    """Hundreds of issuers of one name, none of which fits: each is looked at once."""
    subject = odd.name(*[[(odd.OU, UTF8, b"%d" % number)] for number in range(20)])
    identified = [odd.extension("2.5.29.14", tlv(odd.OCTETS, b"mine"))]
    wanting = [odd.extension("2.5.29.35", odd.sequence(tlv(0x80, b"another")))]
    chain = [certificate(subject=subject, extensions=identified + wanting) for _ in range(500)]
    assert PeerCertificate.from_chain(chain).issuer_certificate is None
