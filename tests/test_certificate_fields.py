"""Times, serial numbers, versions, purposes and the right to sign, of certificates made byte by byte."""

import datetime
import locale
from collections.abc import Iterator
from typing import Any

import pytest

from aiotls.certificate import PeerCertificate
from tests.support import odd_certificates as odd
from tests.support.odd_catalogue import CATALOGUE, made
from tests.support.odd_certificates import GENERALIZED_TIME, TRUE, UTC_TIME, certificate, constraints, integer, tlv

# ---- times

TIMES: list[tuple[int, bytes, tuple[int, ...], str]] = [
    (UTC_TIME, b"500101000000Z", (1950, 1, 1), "Jan  1 00:00:00 1950 GMT"),
    (UTC_TIME, b"991231235959Z", (1999, 12, 31, 23, 59, 59), "Dec 31 23:59:59 1999 GMT"),
    (UTC_TIME, b"000229120000Z", (2000, 2, 29, 12), "Feb 29 12:00:00 2000 GMT"),
    (UTC_TIME, b"491231235959Z", (2049, 12, 31, 23, 59, 59), "Dec 31 23:59:59 2049 GMT"),
    (GENERALIZED_TIME, b"19491231235959Z", (1949, 12, 31, 23, 59, 59), "Dec 31 23:59:59 1949 GMT"),
    (GENERALIZED_TIME, b"20500101000000Z", (2050, 1, 1), "Jan  1 00:00:00 2050 GMT"),
    (GENERALIZED_TIME, b"99991231235959Z", (9999, 12, 31, 23, 59, 59), "Dec 31 23:59:59 9999 GMT"),
    (GENERALIZED_TIME, b"00010203040506Z", (1, 2, 3, 4, 5, 6), "Feb  3 04:05:06 1 GMT"),
]


@pytest.mark.parametrize(("tag", "content", "time", "text"), TIMES)
def test_times(tag: int, content: bytes, time: tuple[Any, ...], text: str) -> None:
    """Both kinds, over the whole of their range; a UTCTime is of 1950 to 2049."""
    found = PeerCertificate(certificate(validity=[tlv(tag, content)] * 2))
    expected = datetime.datetime(*time).replace(tzinfo=datetime.UTC)
    assert found.valid_from == found.valid_to == expected
    assert found.valid_from is not None
    assert found.valid_from.tzinfo is datetime.UTC
    fields = found.to_dict()
    assert fields["valid_from"] == fields["valid_to"] == text


NO_TIMES = [
    (UTC_TIME, b""),
    (UTC_TIME, b"junk"),
    (UTC_TIME, b"200101000060Z"),
    (UTC_TIME, b"200101006000Z"),
    (UTC_TIME, b"200101240000Z"),
    (UTC_TIME, b"200230000000Z"),
    (UTC_TIME, b"210229000000Z"),
    (UTC_TIME, b"200001000000Z"),
    (UTC_TIME, b"201301000000Z"),
    (UTC_TIME, b"200100000000Z"),
    (UTC_TIME, b"2001010102Z"),
    (UTC_TIME, b"200101000000"),
    (UTC_TIME, b"200101000000z"),
    (UTC_TIME, b"200101000000+0100"),
    (UTC_TIME, b"20 1 1 0 0 0Z"),
    (UTC_TIME, b"2001010000\xd9\xa0Z"),
    (UTC_TIME, "2٠0101000000Z".encode()),
    (UTC_TIME, b"200101000000\0"),
    (UTC_TIME, b"200101000000Z\n"),
    (UTC_TIME, b"20200101000000Z"),
    (UTC_TIME, b"2" * 65536),
    (GENERALIZED_TIME, b"200101000000Z"),
    (GENERALIZED_TIME, b"20200101000000.5Z"),
    (GENERALIZED_TIME, b"20200101000000-0130"),
    (GENERALIZED_TIME, b"00000101000000Z"),
    (GENERALIZED_TIME, b"-0200101000000Z"),
    (GENERALIZED_TIME, b"19000229000000Z"),
    (odd.UTF8, b"200101000000Z"),
    (odd.INTEGER, b"\1"),
]


@pytest.mark.parametrize(("tag", "content"), NO_TIMES, ids=lambda value: repr(value)[:30])
def test_what_is_no_time(tag: int, content: bytes) -> None:
    """What RFC 5280 does not allow is None; the dict has OpenSSL's words for it."""
    found = PeerCertificate(certificate(validity=(tlv(tag, content), tlv(UTC_TIME, b"200101000000Z"))))
    assert found.valid_from is None
    assert found.valid_to is not None
    fields = found.to_dict()
    assert (fields["valid_from"], fields["valid_to"]) == ("Bad time value", "Jan  1 00:00:00 2020 GMT")


@pytest.fixture
def other_locale() -> Iterator[None]:
    """Another locale for times, if the system has one."""
    before = locale.setlocale(locale.LC_TIME)
    for other in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"):
        try:
            locale.setlocale(locale.LC_TIME, other)
            break
        except locale.Error:
            continue
    yield
    locale.setlocale(locale.LC_TIME, before)


@pytest.mark.usefixtures("other_locale")
def test_the_names_of_months() -> None:
    """They are English everywhere."""
    for month, text in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")):
        time = tlv(UTC_TIME, b"20%02d05010203Z" % (month + 1))
        assert PeerCertificate(certificate(validity=[time] * 2)).to_dict()["valid_to"] == f"{text}  5 01:02:03 2020 GMT"


# ---- serial numbers


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1, "01"),
        (127, "7F"),
        (128, "80"),
        (255, "FF"),
        (0xFFF, "0FFF"),
        (-1, "-01"),
        (-128, "-80"),
        (-129, "-81"),
        (-32768, "-8000"),
        (2**159 + 0xABC, "80" + 17 * "00" + "0ABC"),
        (2**168, "01" + 21 * "00"),
    ],
)
def test_serial_numbers(number: int, text: str) -> None:
    """Whole pairs of upper-case digits, whatever the sign and the length."""
    found = PeerCertificate(certificate(serial=integer(number)))
    assert found.serial_number == found.to_dict()["serialNumber"] == text


def test_a_long_serial_number() -> None:
    """64 KiB; Python converts no number of that length to decimal digits."""
    found = PeerCertificate(made("serial: 64 KiB"))
    assert found.serial_number == "01" + "00" * 65536
    assert repr(found).endswith("0')")


def test_x509_of_what_cryptography_refuses() -> None:
    """A warning that the program has made an error, and a version that there is not, are ValueErrors."""
    for der in (certificate(serial=integer(-1)), certificate(version=tlv(0xA0, integer(9)))):
        with pytest.raises(ValueError, match=r"\w"):
            PeerCertificate(der).x509  # noqa: B018


# ---- versions


@pytest.mark.parametrize("version", [b"", tlv(0xA0, integer(0)), tlv(0xA0, integer(1)), tlv(0xA0, integer(3))])
def test_versions(version: bytes) -> None:
    """Version 1 has no extensions; if there are any they are told all the same, as the reference does."""
    found = PeerCertificate(certificate(version=version))
    assert (found.subject, found.ca, found.subjectaltname) == ({"CN": "odd"}, False, None)
    found = PeerCertificate(certificate(version=version, extensions=[constraints(TRUE)]))
    assert found.ca is True


# ---- the right to sign

MAY_SIGN = {"ca", "ca with a length", "ca that may sign", "ca by one", "ca with broken names"}


@pytest.mark.parametrize("which", [each for each in CATALOGUE if each.startswith("extension: ca")])
def test_ca(which: str) -> None:
    """Only who says so himself, in a way that can be read and once, may sign."""
    found = PeerCertificate(made(which))
    assert found.ca is found.to_dict()["ca"] is (which.removeprefix("extension: ") in MAY_SIGN)


@pytest.mark.parametrize("extensions", [[], [odd.key_usage(5)], [odd.ext_key_usage(odd.UNKNOWN)]])
def test_ca_without_constraints(extensions: list[bytes]) -> None:
    assert PeerCertificate(certificate(extensions=extensions)).ca is False


def test_key_usage_of_several_bytes() -> None:
    usage = odd.extension(odd.KEY_USAGE, tlv(odd.BITS, b"\7\4\x80"))
    assert PeerCertificate(certificate(extensions=[constraints(TRUE), usage])).ca is True


# ---- purposes


def test_ext_key_usage() -> None:
    """Object identifiers, never names, in their order."""
    purposes = ["2.5.29.37.0", "1.3.6.1.5.5.7.3.2", odd.UNKNOWN, "1.3.6.1.5.5.7.3.1", odd.UNKNOWN, "0.9.1", "1.39.1"]
    found = PeerCertificate(certificate(extensions=[odd.ext_key_usage(*purposes)]))
    assert found.ext_key_usage == found.to_dict()["ext_key_usage"] == purposes


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x88\x37\x03", "2.999.3"),
        (b"\x2b" + b"\xff" * 20 + b"\x7f", f"1.3.{2**147 - 1}"),
        (b"\x2b" + b"\x01" * 1000, "1.3" + ".1" * 1000),
        (b"\x00", "0.0"),
    ],
)
def test_identifiers(content: bytes, text: str) -> None:
    """X.690, section 8.19: large arcs, many of them, and the first two in one."""
    usage = odd.extension(odd.EXT_KEY_USAGE, odd.sequence(tlv(odd.OID, content)))
    assert PeerCertificate(certificate(extensions=[usage])).ext_key_usage == [text]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"junk",
        odd.sequence(tlv(odd.OID)),
        odd.sequence(tlv(odd.OID, b"\x2b\x81")),
        odd.sequence(tlv(odd.OID, b"\x2b" + b"\xff" * 500 + b"\x7f")),
        odd.sequence(tlv(odd.UTF8, b"1.3.6.1")),
        tlv(odd.SET, odd.oid(odd.UNKNOWN)),
    ],
)
def test_purposes_that_cannot_be_read(value: bytes) -> None:
    """None, and no key; they are not taken for "no restriction" by an empty list."""
    found = PeerCertificate(certificate(extensions=[odd.extension(odd.EXT_KEY_USAGE, value)]))
    assert found.ext_key_usage is None
    assert "ext_key_usage" not in found.to_dict()


def test_purposes_that_are_there_twice() -> None:
    assert PeerCertificate(made("extension: purposes twice")).ext_key_usage is None
    assert PeerCertificate(made("extension: purposes none")).ext_key_usage == []


# ---- the whole


@pytest.mark.parametrize("which", CATALOGUE)
def test_attributes_and_dict(which: str) -> None:
    """Every attribute is in the dict, under the key of the reference; nothing else is."""
    found = PeerCertificate(made(which))
    fields = found.to_dict()
    keys = {
        "info_access": "infoAccess",
        "asn1_curve": "asn1Curve",
        "nist_curve": "nistCurve",
        "serial_number": "serialNumber",
        **{
            name: name
            for name in (
                "subject",
                "issuer",
                "subjectaltname",
                "ca",
                "modulus",
                "bits",
                "exponent",
                "fingerprint",
                "fingerprint256",
                "fingerprint512",
                "ext_key_usage",
                "raw",
            )
        },
    }
    for name, key in keys.items():
        assert fields.pop(key, None) == getattr(found, name)
    assert fields.pop("pubkey", found.pubkey) == found.pubkey
    assert fields.keys() == {"valid_from", "valid_to"}


def test_against_cryptography() -> None:
    """Where the package cryptography reads a certificate, it reads the same."""
    compared = 0
    for which in CATALOGUE:
        der = made(which)
        try:
            theirs = PeerCertificate(der).x509
            assert theirs is not None
            values = [str(attribute.value) for attribute in theirs.subject if isinstance(attribute.value, str)]
            validity = theirs.not_valid_before_utc, theirs.not_valid_after_utc
        except Exception:  # it has many ways to refuse
            continue
        ours = PeerCertificate(der)
        assert (ours.valid_from, ours.valid_to) == validity, which
        assert int(ours.serial_number or "", 16) == theirs.serial_number
        lists = (value if isinstance(value, list) else [value] for value in ours.subject.values())
        assert sorted(text for texts in lists for text in texts) == sorted(values), which
        compared += 1
    assert compared > len(CATALOGUE) / 2
