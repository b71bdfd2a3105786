"""Odd certificates by name: `CATALOGUE` has those that OpenSSL takes, or took, `REFUSED` those that it never does."""

import hashlib
from typing import Any

from tests.support.odd_certificates import (
    AUTHORITY_INFO_ACCESS,
    BASIC_CONSTRAINTS,
    BITS,
    BMP,
    BOOLEAN,
    CA_ISSUERS,
    CN,
    EC,
    EXT_KEY_USAGE,
    FALSE,
    GENERALIZED_TIME,
    IA5,
    INTEGER,
    KEY_USAGE,
    MAILBOX,
    NAI,
    NULL,
    NUMERIC,
    OCSP,
    OCTETS,
    OID,
    OU,
    P_256,
    PARTY_NAME,
    POINT,
    PRINTABLE,
    RSA,
    RSA_PSS,
    SEQUENCE,
    SET,
    SRV,
    SUBJECT_ALT_NAME,
    T61,
    TRUE,
    UNIVERSAL,
    UNKNOWN,
    UPN,
    UTC_TIME,
    UTF8,
    VISIBLE,
    X400_ADDRESS,
    XMPP,
    C,
    L,
    O,
    address,
    alternative_names,
    certificate,
    constraints,
    directory_name,
    dns,
    ec_key,
    email,
    explicit_curve,
    ext_key_usage,
    extension,
    info_access,
    integer,
    key_usage,
    name,
    oid,
    other_name,
    public_key,
    registered,
    rsa_key,
    sequence,
    tlv,
    uri,
)

MODULUS = int.from_bytes(hashlib.shake_256(b"modulus").digest(256)) | 1 << 2047 | 1
_SHA_256 = sequence(oid("2.16.840.1.101.3.4.2.1"), tlv(NULL))
_PSS_PARAMETERS = sequence(
    tlv(0xA0, _SHA_256), tlv(0xA1, sequence(oid("1.2.840.113549.1.1.8"), _SHA_256)), tlv(0xA2, integer(32))
)
_COMPRESSED = bytes((2 | POINT[-1] & 1,)) + POINT[1:33]
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_GENERATOR = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)

EXPLICIT_P_256 = explicit_curve(
    _P,
    _P - 3,
    0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    _GENERATOR,
    0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
)

_KEYS = {
    **{f"rsa {size}": rsa_key(1 << size - 1 | 1, 65537) for size in (1, 512, 1023, 1024, 2048, 3072, 4096, 16384)},
    **{f"rsa exponent {e}": rsa_key(MODULUS, e) for e in (0, 1, 3, 17, 2**32 + 1, 2**63 + 1)},
    "rsa exponent 2^64+1": rsa_key(MODULUS, 2**64 + 1),
    "rsa exponent 2^200+1": rsa_key(MODULUS, 2**200 + 1),
    "rsa modulus 0": rsa_key(0, 3),
    "rsa negative modulus": rsa_key(-MODULUS, 3),
    "rsa negative exponent": rsa_key(MODULUS, -3),
    "rsa 64 KiB": rsa_key(1 << 8 * 65536 | 1, 65537),
    "rsa without parameters": rsa_key(MODULUS, 65537, parameters=b""),
    "rsa with a number as parameters": rsa_key(MODULUS, 65537, parameters=integer(1)),
    "rsa under its X.500 name": rsa_key(MODULUS, 3, kind="2.5.8.1.1"),
    "rsa with something behind it": public_key(RSA, sequence(integer(MODULUS), integer(3)) + tlv(NULL), tlv(NULL)),
    "rsa of three numbers": public_key(RSA, sequence(integer(MODULUS), integer(3), integer(5)), tlv(NULL)),
    "rsa of no number": public_key(RSA, sequence(), tlv(NULL)),
    "rsa of octets": public_key(RSA, sequence(tlv(OCTETS, b"\1"), integer(3)), tlv(NULL)),
    "rsa of nothing": public_key(RSA, b"", tlv(NULL)),
    "rsa oaep": rsa_key(MODULUS, 65537, "1.2.840.113549.1.1.7", sequence()),
    "rsa-pss": rsa_key(MODULUS, 65537, RSA_PSS, b""),
    "rsa-pss with a null": rsa_key(MODULUS, 65537, RSA_PSS),
    "rsa-pss with defaults": rsa_key(MODULUS, 65537, RSA_PSS, sequence()),
    "rsa-pss with parameters": rsa_key(MODULUS, 65537, RSA_PSS, _PSS_PARAMETERS),
    "ec": ec_key(P_256, POINT),
    "ec compressed": ec_key(P_256, _COMPRESSED),
    "ec hybrid": ec_key(P_256, bytes((6 | POINT[-1] & 1,)) + POINT[1:]),
    "ec infinity": ec_key(P_256, b"\0"),
    "ec without a point": ec_key(P_256, b""),
    "ec off the curve": ec_key(P_256, POINT[:-1] + bytes((POINT[-1] ^ 1,))),
    "ec one byte short": ec_key(P_256, POINT[:-1]),
    "ec on an unknown curve": ec_key(UNKNOWN, POINT),
    "ec without parameters": public_key(EC, POINT),
    "ec with implicit parameters": public_key(EC, POINT, tlv(NULL)),
    "ec with explicit parameters": public_key(EC, POINT, EXPLICIT_P_256),
    # One of 32 points would be the same without these bits, so this one is off the curve for certain.
    "ec of unused bits": sequence(
        sequence(oid(EC), oid(P_256)), tlv(BITS, b"\5", POINT[:-1] + bytes((POINT[-1] ^ 0x20,)))
    ),
    "ecdh": public_key("1.3.132.1.12", POINT, oid(P_256)),
    "ed25519": public_key("1.3.101.112", bytes(range(32))),
    "ed25519 too short": public_key("1.3.101.112", b"abc"),
    "ed448": public_key("1.3.101.113", bytes(range(57))),
    "x25519": public_key("1.3.101.110", bytes(range(32))),
    "x448": public_key("1.3.101.111", bytes(range(56))),
    "dsa": public_key("1.2.840.10040.4.1", integer(5), sequence(integer(MODULUS), integer(2**159 + 1), integer(2))),
    "dh": public_key("1.2.840.113549.1.3.1", integer(5), sequence(integer(MODULUS), integer(2))),
    "ml-dsa-44": public_key("2.16.840.1.101.3.4.3.17", bytes(1312)),
    "unknown": public_key(UNKNOWN, b"abc"),
}

_STRINGS: dict[str, tuple[int, bytes]] = {
    "utf-8": (UTF8, "Ádám €😀".encode()),
    "bmp": (BMP, "ü€".encode("utf-16-be")),
    "universal": (UNIVERSAL, "ü😀".encode("utf-32-be")),
    "t61": (T61, b"caf\xe9"),
    "ia5": (IA5, b"caf\xe9"),
    "printable": (PRINTABLE, b"a@\xe9"),
    "numeric": (NUMERIC, b"12ab"),
    "empty": (UTF8, b""),
    "empty bmp": (BMP, b""),
    "nul": (UTF8, b"good\0evil"),
    "newline": (UTF8, b"a\nCN=b, c/d + e"),
    "delete": (UTF8, b"a\x7fb"),
    "64 KiB": (UTF8, b"y" * 65536),
    "bits": (BITS, b"\0good"),
    "sequence": (SEQUENCE, tlv(UTF8, b"x")),
    "object descriptor": (0x07, b"abc"),
    "character string": (0x1D, b"abc"),
}
_BAD_STRINGS: dict[str, tuple[int, bytes]] = {
    "broken utf-8": (UTF8, b"a\xff\xfe"),
    "utf-8 surrogate": (UTF8, b"\xed\xa0\x80"),
    "overlong utf-8": (UTF8, b"\xc0\x80"),
    "utf-8 cut short": (UTF8, b"ab\xe2\x82"),
    "utf-8 beyond unicode": (UTF8, b"\xf4\x90\x80\x80"),
    "bmp cut short": (BMP, b"\0a\0"),
    "bmp surrogates": (BMP, "😀".encode("utf-16-be")),
    "bmp lone surrogate": (BMP, b"\xd8\0"),
    "universal cut short": (UNIVERSAL, b"\0\0\0"),
    "universal beyond unicode": (UNIVERSAL, b"\xff\xff\xff\xff"),
    "visible": (VISIBLE, b"abc"),
    "integer": (INTEGER, b"\7"),
    "octets": (OCTETS, b"good"),
    "null": (NULL, b""),
    "boolean": (BOOLEAN, b"\xff"),
    "time": (UTC_TIME, b"200101000000Z"),
    "context": (0x80, b"abc"),
}

_SUBJECTS = {
    **{f"string {each}": name([(CN, *value)], [(O, UTF8, b"o")]) for each, value in _STRINGS.items()},
    "without attributes": name(),
    "without attributes in a set": sequence(tlv(SET)),
    "repeated": name([(OU, UTF8, b"a")], [(OU, UTF8, b"b")], [(CN, UTF8, b"c")], [(OU, UTF8, b"d")]),
    "several in one": name([(OU, UTF8, b"a"), (CN, UTF8, b"b")], [(OU, UTF8, b"c")]),
    "the same in one": name([(OU, UTF8, b"a"), (OU, UTF8, b"a")]),
    "a thousand": name(*([(OU, UTF8, b"%d" % number)] for number in range(1000))),
    "unknown attribute": name([(UNKNOWN, UTF8, b"x")], [(CN, UTF8, b"y")]),
    "large arc": name([("1.3.99999999999999999999999999.1", UTF8, b"x")]),
    "algorithms": name([("1.3.14.3.2.26", UTF8, b"sha1")], [("2.16.840.1.101.3.4.2.1", UTF8, b"sha256")]),
    "long identifier": name([("1.3" + ".1" * 100, UTF8, b"x")]),
    "identifier beyond OpenSSL's limit": name([("1.3" + ".1" * 600, UTF8, b"x")]),
    "names of methods": name([(CN, UTF8, b"__proto__")], [("0.9.2342.19200300.100.1.1", UTF8, b"hasOwnProperty")]),
}

_NAMES = {
    "none": [],
    "one": [dns(b"good.example.com"), dns(b"b.example.com")],
    **{
        f"dns {each!r}": [dns(each)]
        for each in (b"a, DNS:b", b'a"b\\c', b"it's", b"\xe4", b"a\0b", b" a ", b"\t", b"\x7f", b"\x80", b"")
    },
    "two, one empty": [dns(b""), dns(b"a")],
    "uri": [uri(b"http://a/?b=c&d=%2C")],
    "uri with a line": [uri(b"http://a/\r\nX:y")],
    "email": [email(b"foo@example.com")],
    "email with a quote": [email(b'f"o@example.com')],
    **{f"ip of {size}": [address(bytes(range(size)))] for size in (0, 3, 4, 5, 8, 16, 32)},
    "ip": [address(bytes((8, 8, 8, 8))), address(bytes.fromhex("0a0b0c0d0e0f0000000000007a7b7c7d"))],
    "registered": [registered(UNKNOWN), registered(CN)],
    "registered without arcs": [tlv(0x88)],
    "registered beyond OpenSSL's limit": [tlv(0x88, oid("1.3" + ".1" * 600)[4:])],
    **{
        f"other {kind} {tag:#x} {value!r}": [other_name(kind, tag, value)]
        for kind, tag, value in (
            (XMPP, UTF8, b"abc123"),
            (XMPP, UTF8, b"abc,123"),
            (XMPP, UTF8, "ü".encode()),
            (XMPP, UTF8, b"\xff,\xfe"),
            (XMPP, UTF8, b"a\0b\x7f"),
            (XMPP, IA5, b"abc123"),
            (SRV, IA5, b"abc123"),
            (SRV, IA5, b"abc,123"),
            (SRV, IA5, b"abc\xe4"),
            (SRV, UTF8, b"abc123"),
            (NAI, UTF8, b"realm"),
            (MAILBOX, UTF8, "ü@example.com".encode()),
            (UPN, UTF8, b"user@example.com"),
            (UPN, BMP, b"\0a"),
            (UNKNOWN, UTF8, b"abc123"),
            ("1.3.6.1.5.5.7.8.4", SEQUENCE, b""),
        )
    },
    "other without a value": [tlv(0xA0, oid(XMPP))],
    "other with two values": [tlv(0xA0, oid(XMPP), tlv(0xA0, tlv(UTF8, b"a"), tlv(UTF8, b"b")))],
    "other without a wrapper": [tlv(0xA0, oid(XMPP), tlv(UTF8, b"a"))],
    **{f"directory {each}": [directory_name([(L, *value)])] for each, value in _STRINGS.items()},
    **{f"directory {each}": [directory_name([(O, UTF8, b"o")], [(L, *_BAD_STRINGS[each])])] for each in _BAD_STRINGS},
    **{
        f"directory {each!r}": [directory_name([(L, UTF8, each)])]
        for each in (b"a,b", b'a+b=c;<>#"\\ ', b"#a", b" a ", b" ", b"  ", b"a#b", b"\r")
    },
    "directory in order": [directory_name([(C, PRINTABLE, b"DE")], [(L, UTF8, b"Hannover")])],
    "directory of several": [directory_name([(L, UTF8, b"a"), (O, UTF8, b"b")], [(CN, UTF8, b"c")])],
    "directory unknown": [directory_name([(UNKNOWN, UTF8, b"x")])],
    "directory algorithm": [directory_name([("1.3.14.3.2.26", UTF8, b"x")])],
    "directory without attributes": [directory_name()],
    "directory without a name": [tlv(0xA4)],
    "directory of two": [tlv(0xA4, name([(L, UTF8, b"x")]), name())],
    "x400": [X400_ADDRESS, dns(b"a")],
    "x400 without content": [tlv(0xA3)],
    "party": [PARTY_NAME, dns(b"a")],
    "party without content": [tlv(0xA5)],
    "of no kind": [dns(b"a"), tlv(0x8E, b"x")],
    "in two strings": [tlv(0xA2, tlv(IA5, b"abc"))],
    "many": [dns(b"%d.example" % number) for number in range(3000)],
    "64 KiB": [dns(b"y" * 65536)],
}

_EXTENSIONS = {
    "names twice": [alternative_names(dns(b"a")), alternative_names(dns(b"b"))],
    "names critical": [extension(SUBJECT_ALT_NAME, sequence(dns(b"a")), TRUE)],
    "names of nothing": [extension(SUBJECT_ALT_NAME, b"")],
    "names of junk": [extension(SUBJECT_ALT_NAME, b"junk")],
    "names in a set": [extension(SUBJECT_ALT_NAME, tlv(SET, dns(b"a")))],
    "names cut short": [extension(SUBJECT_ALT_NAME, b"\x30\x03\x82\xff\xff")],
    "names with something behind them": [extension(SUBJECT_ALT_NAME, sequence(dns(b"a")) + tlv(NULL))],
    "access": [info_access((OCSP, uri(b"http://a/")), (CA_ISSUERS, uri(b"http://b/")), (OCSP, uri(b"http://c/")))],
    "access with a line": [info_access((OCSP, uri(b"http://good/\nOCSP - URI:http://evil/")))],
    "access with colons": [info_access((OCSP, uri(b"a:b:c")), (OCSP, uri(b"")), (OCSP, uri(b' "a\r')))],
    "access by others": [info_access(*((f"1.3.6.1.5.5.7.48.{n}", uri(b"x")) for n in (3, 4, 5, 6, 10, 11)))],
    "access by an unknown method": [info_access((UNKNOWN, uri(b"u")))],
    "access by an algorithm": [info_access(("1.3.14.3.2.26", uri(b"x")))],
    "access at other names": [
        info_access(
            (OCSP, other_name(XMPP, UTF8, b"good\0abc")),
            (OCSP, directory_name([(L, UTF8, b"a,b")])),
            (OCSP, address(bytes(5))),
            (OCSP, registered(CN)),
            (OCSP, X400_ADDRESS),
            (CA_ISSUERS, dns(b"\xe4,")),
        )
    ],
    "access twice": [info_access((OCSP, uri(b"1"))), info_access((OCSP, uri(b"2")))],
    "access nowhere": [info_access()],
    "access of junk": [extension(AUTHORITY_INFO_ACCESS, b"junk")],
    "access of three": [extension(AUTHORITY_INFO_ACCESS, sequence(sequence(oid(OCSP), uri(b"x"), uri(b"y"))))],
    "access at a name of no kind": [info_access((OCSP, tlv(0x8E, b"x")))],
    "ca": [constraints(TRUE)],
    "ca with a length": [constraints(TRUE, integer(0))],
    "ca with a negative length": [constraints(TRUE, integer(-1))],
    "ca that may sign": [constraints(TRUE), key_usage(5)],
    "ca that may not sign": [constraints(TRUE), key_usage(0)],
    "ca by its key usage": [key_usage(5)],
    "ca without key usage": [constraints(TRUE), extension(KEY_USAGE, tlv(BITS, b"\0"))],
    "ca with an empty key usage": [constraints(TRUE), extension(KEY_USAGE, tlv(BITS))],
    "ca with unused bits": [constraints(TRUE), extension(KEY_USAGE, tlv(BITS, b"\3\4"))],
    "ca with a key usage of octets": [constraints(TRUE), extension(KEY_USAGE, tlv(OCTETS, b"\0\4"))],
    "ca with a key usage of junk": [constraints(TRUE), extension(KEY_USAGE, b"junk")],
    "ca by one": [constraints(tlv(BOOLEAN, b"\1"))],
    "ca by no byte": [constraints(tlv(BOOLEAN))],
    "ca by two bytes": [constraints(tlv(BOOLEAN, b"\xff\xff"))],
    "ca that says no": [constraints(FALSE)],
    "ca that says nothing": [constraints()],
    "ca the wrong way round": [constraints(integer(0), TRUE)],
    "ca of three": [constraints(TRUE, integer(0), integer(0))],
    "ca in a set": [extension(BASIC_CONSTRAINTS, tlv(SET, TRUE))],
    "ca of junk": [extension(BASIC_CONSTRAINTS, b"junk")],
    "ca with something behind it": [extension(BASIC_CONSTRAINTS, sequence(TRUE) + tlv(NULL))],
    "ca twice": [constraints(TRUE), constraints(TRUE)],
    "ca with broken names": [constraints(TRUE), extension(SUBJECT_ALT_NAME, b"junk")],
    "purposes": [ext_key_usage("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", UNKNOWN, "2.5.29.37.0")],
    "purposes none": [ext_key_usage()],
    "purposes repeated": [ext_key_usage(UNKNOWN, UNKNOWN)],
    "purposes twice": [ext_key_usage(UNKNOWN), ext_key_usage(UNKNOWN)],
    "purposes in a set": [extension(EXT_KEY_USAGE, tlv(SET, oid(UNKNOWN)))],
    "purposes of text": [extension(EXT_KEY_USAGE, sequence(tlv(UTF8, b"a")))],
    "purposes of junk": [extension(EXT_KEY_USAGE, b"junk")],
    "purposes long": [ext_key_usage("1.3" + ".9999" * 60)],
}

_TIMES = {
    **{f"utc {each!r}": tlv(UTC_TIME, each) for each in (b"500101000000Z", b"491231235959Z")},
    **{
        f"general {each!r}": tlv(GENERALIZED_TIME, each)
        for each in (
            b"19491231235959Z",
            b"20500101000000Z",
            b"99991231235959Z",
            b"00010101000000Z",
            b"00000101000000Z",
            b"20000229000000Z",
            b"20200101000000.5Z",
            b"20200101000000-0130",
            b"-0200101000000Z",
            b"19000229000000Z",
        )
    },
    **{
        f"utc {each!r:.30}": tlv(UTC_TIME, each)
        for each in (
            b"200101000000+0130",
            b"200101000060Z",
            b"200101240000Z",
            b"200230000000Z",
            b"201301000000Z",
            b"200001000000Z",
            b"200101000000z",
            b"200101000000Z ",
            b"20 1 1 0 0 0Z",
            b"200101000000\0",
            b"2" * 65536,
        )
    },
}
_BAD_TIMES = (b"2001010102Z", b"200101000000", b"200101Z", b"", b"hello")
"""Those that newer versions of OpenSSL refuse."""

_SERIAL_NUMBERS = (0, 1, 127, 128, 255, 256, 0xFFF, -1, -128, -129, -32768, 2**159 + 5, 2**168)

CATALOGUE: dict[str, dict[str, Any]] = {
    **{f"key: {each}": {"key": key} for each, key in _KEYS.items()},
    **{f"subject: {each}": {"subject": subject} for each, subject in _SUBJECTS.items()},
    **{f"name: {each}": {"extensions": [alternative_names(*names)]} for each, names in _NAMES.items()},
    **{f"extension: {each}": {"extensions": value} for each, value in _EXTENSIONS.items()},
    **{f"from: {each}": {"validity": (time, tlv(UTC_TIME, b"491231235959Z"))} for each, time in _TIMES.items()},
    **{f"to: {each}": {"validity": (tlv(UTC_TIME, b"200101000000Z"), time)} for each, time in _TIMES.items()},
    **{f"from: bad {each!r}": {"validity": (tlv(UTC_TIME, each), tlv(UTC_TIME, each))} for each in _BAD_TIMES},
    **{f"serial: {number}": {"serial": integer(number)} for number in _SERIAL_NUMBERS},
    "serial: 64 KiB": {"serial": integer(2 ** (8 * 65536))},
    "version: 1": {"version": b""},
    "version: 1, and says so": {"version": tlv(0xA0, integer(0))},
    "version: 2": {"version": tlv(0xA0, integer(1))},
    "version: 4": {"version": tlv(0xA0, integer(3)), "extensions": [constraints(TRUE)]},
    "version: 1 with extensions": {"version": b"", "extensions": [constraints(TRUE)]},
}

REFUSED: dict[str, dict[str, Any]] = {
    **{f"subject: {each}": {"subject": name([(CN, *value)])} for each, value in _BAD_STRINGS.items()},
    "subject: of three": {"subject": sequence(tlv(SET, sequence(oid(CN), tlv(UTF8, b"x"), tlv(UTF8, b"x"))))},
    "subject: padded identifier": {
        "subject": sequence(tlv(SET, sequence(tlv(OID, b"\x55\x04\x80\x03"), tlv(UTF8, b"x"))))
    },
    "validity: of text": {"validity": (tlv(UTF8, b"200101000000Z"), tlv(UTF8, b"200101000000Z"))},
    "validity: one time": {"validity": (tlv(UTC_TIME, b"200101000000Z"),)},
    "validity: no time": {"validity": ()},
    "serial: empty": {"serial": tlv(INTEGER)},
    "serial: padded": {"serial": tlv(INTEGER, b"\0\0\1")},
    "serial: octets": {"serial": tlv(OCTETS, b"\1")},
    "version: empty": {"version": tlv(0xA0)},
    "key: of unused bits beyond a byte": {"key": sequence(sequence(oid(EC), oid(P_256)), tlv(BITS, b"\x08", POINT))},
    "key: without bits": {"key": sequence(sequence(oid(EC), oid(P_256)), tlv(BITS))},
    "key: of one element": {"key": sequence(sequence(oid(EC)))},
    "extension: of one element": {"extensions": [sequence(oid(SUBJECT_ALT_NAME))]},
    "extension: of text": {"extensions": [sequence(oid(SUBJECT_ALT_NAME), tlv(UTF8, b"a"))]},
    "more: after the extensions": {"extensions": [constraints(TRUE)], "rest": tlv(NULL)},
}


def made(which: str) -> bytes:
    """A certificate of `CATALOGUE` or `REFUSED`, as it travels."""
    return certificate(**(CATALOGUE[which] if which in CATALOGUE else REFUSED[which]))
