"""Names in certificates as text: what is quoted, what stays whole, and that none can pass for another."""

from collections.abc import Sequence
from typing import Any

import pytest

import aiotls
from aiotls.certificate import PeerCertificate
from tests.conftest import Run
from tests.support import odd_certificates as odd
from tests.support.odd_certificates import (
    CA_ISSUERS,
    IA5,
    OCSP,
    PRINTABLE,
    SRV,
    UNKNOWN,
    UTF8,
    XMPP,
    alternative_names,
    certificate,
    directory_name,
    dns,
    name,
    other_name,
    uri,
)
from tests.support.pairs import gone
from tests.support.pki import Authority
from tests.support.servers import serving, to
from tests.support.visits import staying

IPV6 = bytes.fromhex("0a0b0c0d0e0f0000000000007a7b7c7d")

NAMES: list[tuple[Sequence[bytes], str]] = [
    ([dns(b"good.example.com"), dns(b"b.example.com")], "DNS:good.example.com, DNS:b.example.com"),
    ([dns(b"good.example.com, DNS:evil.example.com")], r'DNS:"good.example.com\u002c DNS:evil.example.com"'),
    ([dns(b'a"b\\c')], r'DNS:"a\"b\\c"'),
    ([dns(b"it's")], 'DNS:"it\'s"'),
    ([dns(b"ex\xe4mple.com")], r'DNS:"ex\u00e4mple.com"'),
    ([dns(b"a\0b")], r'DNS:"a\u0000b"'),
    ([dns(b"a\x7fb")], r'DNS:"a\u007fb"'),
    ([dns(b" a ")], "DNS: a "),
    ([dns(b""), dns(b"a")], "DNS:, DNS:a"),
    ([uri(b"http://example.com/?a=b&c=d%2C")], "URI:http://example.com/?a=b&c=d%2C"),
    ([uri(b"http://a/\r\nX:y")], r'URI:"http://a/\u000d\u000aX:y"'),
    ([odd.email(b"foo@example.com")], "email:foo@example.com"),
    ([odd.address(bytes((8, 8, 8, 8)))], "IP Address:8.8.8.8"),
    ([odd.address(b"12345")], "IP Address:<invalid length=5>"),
    ([odd.address(b"")], "IP Address:<invalid length=0>"),
    ([odd.address(IPV6)], "IP Address:A0B:C0D:E0F:0:0:0:7A7B:7C7D"),
    ([odd.registered(UNKNOWN), odd.registered(odd.CN)], "Registered ID:1.3.9999.12.34, Registered ID:2.5.4.3"),
    ([other_name(XMPP, UTF8, b"abc123")], "othername:XmppAddr:abc123"),
    ([other_name(XMPP, UTF8, b"abc,123")], r'othername:"XmppAddr:abc\u002c123"'),
    ([other_name(XMPP, UTF8, "ü".encode())], "othername:XmppAddr:ü"),
    ([other_name(XMPP, UTF8, b"\xff")], "othername:XmppAddr:\ufffd"),
    ([other_name(SRV, IA5, b"abc123")], "othername:SRVName:abc123"),
    ([other_name(SRV, IA5, b"abc,123")], r'othername:"SRVName:abc\u002c123"'),
    ([other_name(SRV, IA5, b"abc\xe4")], r'othername:"SRVName:abc\u00e4"'),
    ([other_name(odd.MAILBOX, UTF8, "ü@a.example".encode())], "othername:SmtpUTF8Mailbox:ü@a.example"),
    ([other_name(odd.NAI, UTF8, b"realm")], "othername:NAIRealm:realm"),
    ([other_name(odd.UPN, UTF8, b"user@a.example")], "othername:UPN:user@a.example"),
    ([other_name(SRV, UTF8, b"abc123")], "othername:<unsupported>"),
    ([other_name(XMPP, IA5, b"abc123")], "othername:<unsupported>"),
    ([other_name(UNKNOWN, UTF8, b"abc123")], "othername:<unsupported>"),
    ([directory_name([(odd.C, PRINTABLE, b"DE")], [(odd.L, UTF8, b"Hannover")])], r'DirName:"L=Hannover\u002cC=DE"'),
    ([directory_name([(odd.L, UTF8, "München".encode())])], "DirName:L=München"),
    (
        [directory_name([(odd.C, PRINTABLE, b"DE")], [(odd.L, UTF8, "München".encode())])],
        r'DirName:"L=München\u002cC=DE"',
    ),
    ([directory_name([(odd.L, UTF8, b"a,b")])], r'DirName:"L=a\\\u002cb"'),
    ([directory_name([(odd.L, UTF8, b"a"), (odd.O, UTF8, b"b")])], "DirName:O=b+L=a"),
    ([directory_name([(odd.L, UTF8, b"a\nb\0")])], r'DirName:"L=a\u000ab\u0000"'),
    ([directory_name([(odd.L, UTF8, b" #a ")])], r'DirName:"L=\\ #a\\ "'),
    ([directory_name([(UNKNOWN, UTF8, b"x")])], "DirName:1.3.9999.12.34=#0C0178"),
    ([directory_name([(odd.L, odd.BITS, b"\0abc")])], "DirName:L=#030400616263"),
    ([directory_name([(odd.L, odd.BMP, "ü€".encode("utf-16-be"))])], "DirName:L=ü€"),
    ([directory_name([(odd.L, odd.UNIVERSAL, "ü".encode("utf-32-be"))])], "DirName:L=ü"),
    ([directory_name([(odd.L, odd.T61, b"\xfc")])], "DirName:L=ü"),
    ([odd.X400_ADDRESS, odd.PARTY_NAME, dns(b"a")], "X400Name:<unsupported>, EdiPartyName:<unsupported>, DNS:a"),
    ([], ""),
]

UNREADABLE = {
    "nothing": b"",
    "junk": b"junk",
    "a length beyond the end": b"\x30\x05\x82\x01",
    "a name that is no list": dns(b"a"),
    "a set": odd.tlv(odd.SET, dns(b"a")),
    "a name of no kind": odd.sequence(dns(b"a"), odd.tlv(0x9E, b"")),
    "a name of two parts": odd.sequence(odd.tlv(0xA2, odd.tlv(IA5, b"a"))),
    "an othername without value": odd.sequence(odd.tlv(0xA0, odd.oid(XMPP))),
    "an othername without wrapper": odd.sequence(odd.tlv(0xA0, odd.oid(XMPP), odd.tlv(UTF8, b"a"))),
    "a directory name with broken text": odd.sequence(dns(b"a"), directory_name([(odd.L, UTF8, b"\xff")])),
    "an identifier without arcs": odd.sequence(odd.tlv(0x88)),
    "something behind it": odd.sequence(dns(b"a")) + odd.tlv(odd.NULL),
}


def with_names(*names: bytes, **options: Any) -> PeerCertificate:
    return PeerCertificate(certificate(extensions=[alternative_names(*names)], **options))


@pytest.mark.parametrize(("names", "text"), NAMES)
def test_names_as_text(names: Sequence[bytes], text: str) -> None:
    """CERT-01: which names are quoted, and how they are escaped (CVE-2021-44532)."""
    found = with_names(*names)
    assert found.subjectaltname == text
    assert found.to_dict()["subjectaltname"] == text


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_names(value: bytes) -> None:
    """CERT-05: there are no names then, and everything else is there; nobody is identified by the rest."""
    found = PeerCertificate(certificate(extensions=[odd.extension(odd.SUBJECT_ALT_NAME, value)]))
    assert found.subjectaltname is None
    assert "subjectaltname" not in found.to_dict()
    assert found.subject == {"CN": "odd"}
    with pytest.raises(aiotls.ServerIdentityError):
        aiotls.check_server_identity("odd", found)


def test_names_that_are_there_twice() -> None:
    """The first list counts, as in the reference."""
    found = PeerCertificate(certificate(extensions=[alternative_names(dns(b"a")), alternative_names(dns(b"b"))]))
    assert found.subjectaltname == "DNS:a"


SMUGGLED = {
    "comma": dns(b"x, DNS:good.example.org"),
    "name first": dns(b"good.example.org, DNS:x"),
    "quotes": dns(b'x", DNS:good.example.org, DNS:"'),
    "nul": dns(b"good.example.org\0.evil.example"),
    "line": dns(b"x\r\nDNS:good.example.org"),
    "uri": uri(b"x, DNS:good.example.org"),
    "uri of the host": uri(b"http://good.example.org/"),
    "uri that is the host": uri(b"good.example.org"),
    "email": odd.email(b"x, DNS:good.example.org"),
    "othername": other_name(XMPP, UTF8, b"x, DNS:good.example.org"),
    "service": other_name(SRV, IA5, b"_x.good.example.org, DNS:good.example.org"),
    "directory": directory_name([(odd.L, UTF8, b"x, DNS:good.example.org")]),
    "common name in a directory": directory_name([(odd.CN, UTF8, b"good.example.org")]),
}


@pytest.mark.parametrize("smuggled", SMUGGLED.values(), ids=SMUGGLED)
def test_no_name_is_smuggled(smuggled: bytes) -> None:
    """CVE-2021-44531, CVE-2021-44532: a name is one name, of its own kind."""
    found = with_names(smuggled)
    for shown in (found, found.to_dict()):
        with pytest.raises(aiotls.ServerIdentityError) as caught:
            aiotls.check_server_identity("good.example.org", shown)
        assert caught.value.code == "ERR_TLS_CERT_ALTNAME_INVALID"


@pytest.mark.parametrize("smuggled", SMUGGLED.values(), ids=SMUGGLED)
def test_no_name_is_smuggled_into_a_connection(run: Run, smuggled: bytes) -> None:
    """CERT-01: such a leaf, over an intermediate up to a trusted root, is refused by the client."""

    async def main() -> None:
        root = Authority.root("root", key=odd.KEY)
        intermediate = root.intermediate("intermediate", key=odd.KEY)
        leaf = certificate(
            subject=odd.common_name(b"evil.example.com"),
            issuer=odd.common_name(b"intermediate"),
            extensions=[alternative_names(smuggled)],
        )
        async with serving(**odd.credentials(leaf, intermediate.der)) as server:
            trusting = {"ca": root.cert_pem, "servername": "good.example.org"}
            client = to(server, **trusting)
            with pytest.raises(aiotls.ServerIdentityError) as caught:
                await client
            assert caught.value.code == "ERR_TLS_CERT_ALTNAME_INVALID"
            # It is the name alone that stands in the way.
            async with staying(to(server, **trusting, check_server_identity=lambda *_: None)) as client:
                assert client.authorized

    run(main)


def test_common_name_beside_a_dns_name(run: Run) -> None:
    """CERT-01: with a DNS name the common name does not count; the server is told why by the alert."""

    async def main() -> None:
        leaf = certificate(
            subject=odd.common_name(b"good.example.com"), extensions=[alternative_names(dns(b"evil.example.com"))]
        )
        told: list[Any] = []
        async with serving(**odd.credentials(leaf)) as server:
            server.on("tls_client_error", lambda error, _: told.append(error))
            client = to(server, ca=odd.pem(leaf), servername="good.example.com")
            with pytest.raises(aiotls.ServerIdentityError) as caught:
                await client
            reason = "Host: good.example.com. is not in the cert's altnames: DNS:evil.example.com"
            assert caught.value.code == "ERR_TLS_CERT_ALTNAME_INVALID"
            assert caught.value.reason == reason
            assert f"Hostname/IP does not match certificate's altnames: {reason}" in str(caught.value)
            await gone(client)
        (error,) = told
        assert error.alert == 42

    run(main)


def test_common_name_beside_an_address(run: Run) -> None:
    """CERT-01: the common name counts when there is no DNS name."""

    async def main() -> None:
        leaf = certificate(
            subject=odd.common_name(b"good.example.com"),
            extensions=[alternative_names(odd.address(bytes((1, 2, 3, 4))))],
        )
        async with (
            serving(**odd.credentials(leaf)) as server,
            staying(to(server, ca=odd.pem(leaf), servername="good.example.com")) as client,
        ):
            assert client.authorized

    run(main)


QUOTED_WRONGLY = [
    '"',
    '"a',
    '"a.example.com',
    r'"\a"',
    r'"\v"',
    r'"\'"',
    r'"\x42"',
    r'"\012"',
    r'"\u"',
    r'"\u00"',
    r'"\u12zz"',
    '"\0"',
    '"\x1e"',
    '"\x1f"',
    '"a\nb"',
]


@pytest.mark.parametrize("text", QUOTED_WRONGLY)
def test_text_that_is_quoted_wrongly(text: str) -> None:
    """CERT-01: what begins with a quote and is no JSON is refused as a whole."""
    with pytest.raises(aiotls.ServerIdentityError) as caught:
        aiotls.check_server_identity("example.com", {"subjectaltname": f"DNS:{text}", "subject": {"CN": "example.com"}})
    assert caught.value.code == "ERR_TLS_CERT_ALTNAME_FORMAT"
    assert "Invalid subject alternative name string" in str(caught.value)


def test_quoted_name_in_a_dict() -> None:
    """CERT-01: a quoted name is one name, and the error has it as it stood."""
    text = 'DNS:"a.example.com, DNS:b.example.com, DNS:c.example.com"'
    fields = {"subjectaltname": text}
    with pytest.raises(aiotls.ServerIdentityError) as caught:
        aiotls.check_server_identity("b.example.com", fields)
    error = caught.value
    assert error.code == "ERR_TLS_CERT_ALTNAME_INVALID"
    assert error.reason == f"Host: b.example.com. is not in the cert's altnames: {text}"
    assert (error.host, error.certificate) == ("b.example.com", fields)
    assert f"Hostname/IP does not match certificate's altnames: {error.reason}" in str(error)


# ---- subjects and issuers


@pytest.mark.parametrize(
    "value", ["a, b", "a/CN=b", "a + b", "a\nCN=b", "a\0b", '"quoted"', "\\", "#0C", " a ", "ü€😀"]
)
def test_values_of_a_subject_stay_whole(value: str) -> None:
    """CERT-01, CVE-2021-44533: a value is never taken for two attributes."""
    der = certificate(subject=name([(odd.L, UTF8, b"L1")], [(odd.CN, UTF8, value.encode())]))
    expected = {"L": "L1", "CN": value}
    assert PeerCertificate(der).subject == PeerCertificate(der).issuer == expected
    assert PeerCertificate(der).to_dict()["subject"] == expected


def test_attributes_together_and_apart() -> None:
    """CERT-01: of one relative name or of two, they are separate keys; one that is repeated has a list, in order."""
    apart = name([(odd.O, UTF8, b"o")], [(odd.OU, UTF8, b"u")])
    together = name([(odd.O, UTF8, b"o"), (odd.OU, UTF8, b"u")])
    for subject in (apart, together):
        assert PeerCertificate(certificate(subject=subject)).subject == {"O": "o", "OU": "u"}
    places = ((odd.L, UTF8, text) for text in (b"L1", b"L2", b"L3"))
    one, *more = places
    mixed = name([one], [(odd.CN, UTF8, b"cn"), more[0]], [more[1]])
    assert PeerCertificate(certificate(subject=mixed)).subject == {"L": ["L1", "L2", "L3"], "CN": "cn"}


def test_a_common_name_in_another_value() -> None:
    """CVE-2021-44533: neither an attribute beside it nor the text of another one makes a common name."""
    for subject in (
        name([(odd.O, UTF8, b"x/CN=good.example.org")]),
        name([(odd.O, UTF8, b"x\nCN=good.example.org"), (odd.OU, UTF8, b"CN=good.example.org")]),
        name([(odd.CN, UTF8, b"evil.example\nCN=good.example.org")]),
        name([(odd.CN, odd.SEQUENCE, odd.tlv(UTF8, b"good.example.org"))]),
        name([(odd.CN, odd.BITS, b"\0good.example.org")]),
    ):
        with pytest.raises(aiotls.ServerIdentityError):
            aiotls.check_server_identity("good.example.org", PeerCertificate(certificate(subject=subject)))


def test_keys_like_methods() -> None:
    """CERT-02, CVE-2022-21824: whatever a key or a value is called, it changes nothing else."""
    values = [b"__proto__", b"__class__", b"hasOwnProperty", b"to_dict"]
    found = PeerCertificate(
        certificate(
            subject=name(*([(odd.CN, UTF8, value)] for value in values), [(odd.OU, UTF8, b"unit")]),
            extensions=[odd.info_access((UNKNOWN, uri(b"__proto__")))],
        )
    )
    assert found.subject == {"CN": [value.decode() for value in values], "OU": "unit"}
    assert found.info_access == {f"{UNKNOWN} - URI": ["__proto__"]}
    assert type(found.to_dict()["subject"]) is dict


@pytest.mark.parametrize(
    ("tag", "content", "text"),
    [
        (UTF8, "Ádám Lippai".encode(), "Ádám Lippai"),
        (UTF8, b"", ""),
        (UTF8, b"a\xff", "a\ufffd"),
        (odd.BMP, "ü€".encode("utf-16-be"), "ü€"),
        (odd.BMP, b"\0a\0", "a\ufffd"),
        (odd.UNIVERSAL, "ü😀".encode("utf-32-be"), "ü😀"),
        (odd.UNIVERSAL, b"\xff\xff\xff\xff", "\ufffd"),
        (odd.T61, b"caf\xe9", "café"),
        (IA5, b"caf\xe9", "café"),
        (PRINTABLE, b"a@b", "a@b"),
        (odd.NUMERIC, b"12 3", "12 3"),
        (odd.VISIBLE, b"abc", "abc"),
        (odd.BITS, b"\0ab", "#0303006162"),
        (odd.INTEGER, b"\7", "#020107"),
        (odd.OCTETS, b"good", "#0404676F6F64"),
        (odd.NULL, b"", "#0500"),
        (0x80, b"a", "#800161"),
    ],
)
def test_strings_of_every_type(tag: int, content: bytes, text: str) -> None:
    """CVE-2019-15604: what cannot be decoded is replaced, what is no text is told in hexadecimal digits."""
    found = PeerCertificate(certificate(subject=name([(odd.CN, tag, content)], [(odd.O, UTF8, b"o")])))
    assert found.subject == {"CN": text, "O": "o"}


def test_names_of_attributes() -> None:
    """OpenSSL's short names; an attribute that it does not know is dotted."""
    attributes = {
        odd.CN: "CN",
        "2.5.4.45": "x500UniqueIdentifier",
        "2.5.4.97": "organizationIdentifier",
        "0.9.2342.19200300.100.1.25": "DC",
        "0.9.2342.19200300.100.1.44": "uid",
        "1.2.840.113549.1.9.1": "emailAddress",
        "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
        UNKNOWN: UNKNOWN,
        "2.5.4.127": "2.5.4.127",
    }
    subject = name(*([(attribute, UTF8, b"x")] for attribute in attributes))
    assert list(PeerCertificate(certificate(subject=subject)).subject) == list(attributes.values())


def test_without_attributes() -> None:
    for subject in (name(), odd.sequence(odd.tlv(odd.SET))):
        found = PeerCertificate(certificate(subject=subject))
        assert found.subject == found.issuer == found.to_dict()["subject"] == {}


# ---- where to ask about it


def test_info_access() -> None:
    """CERT-01, CERT-02: lists by method and kind; nothing in a value makes another entry."""
    access = odd.info_access(
        (OCSP, uri(b"http://good/\nOCSP - URI:http://evil/")),
        (CA_ISSUERS, uri(b"http://issuer/")),
        (OCSP, uri(b"http://second/")),
        (UNKNOWN, uri(b"http://unknown/")),
        (OCSP, other_name(XMPP, UTF8, b"good\0abc123")),
        (OCSP, uri(b"a:b:c")),
        (OCSP, uri(b'"quoted, twice"')),
        (OCSP, directory_name([(odd.L, UTF8, b"a,b")])),
        ("1.3.6.1.5.5.7.48.5", uri(b"")),
    )
    expected = {
        "OCSP - URI": ["http://good/\nOCSP - URI:http://evil/", "http://second/", "a:b:c", '"quoted, twice"'],
        "CA Issuers - URI": ["http://issuer/"],
        "1.3.9999.12.34 - URI": ["http://unknown/"],
        "OCSP - othername": ["XmppAddr:good\0abc123"],
        "OCSP - DirName": ["L=a\\,b"],
        "CA Repository - URI": [""],
    }
    found = PeerCertificate(certificate(extensions=[access]))
    assert found.info_access == found.to_dict()["infoAccess"] == expected


def test_info_access_that_is_not_there() -> None:
    """CERT-02: the attribute is None and the dict has no key; an empty list of places is an empty dict."""
    broken = [
        [],
        [odd.extension(odd.AUTHORITY_INFO_ACCESS, b"junk")],
        [odd.extension(odd.AUTHORITY_INFO_ACCESS, odd.sequence(odd.sequence(odd.oid(OCSP))))],
        [odd.info_access((OCSP, odd.tlv(0x8E, b"x")))],
    ]
    for extensions in broken:
        found = PeerCertificate(certificate(extensions=extensions))
        assert found.info_access is None
        assert "infoAccess" not in found.to_dict()
    found = PeerCertificate(certificate(extensions=[odd.info_access()]))
    assert found.info_access == found.to_dict()["infoAccess"] == {}


def test_fields_over_a_connection(run: Run) -> None:
    """CERT-02: a client is told of such a certificate what it says; its self-signed issuer is itself."""

    async def main() -> None:
        access = odd.info_access((OCSP, uri(b"a\nb")), (OCSP, uri(b"c:d")), (UNKNOWN, uri(b"e")))
        root = odd.certificate(subject=odd.common_name(b"root"), extensions=[odd.constraints(odd.TRUE)])
        leaf = odd.certificate(
            issuer=odd.common_name(b"root"), extensions=[access, alternative_names(dns(b"a, DNS:b"))]
        )
        async with (
            serving(**odd.credentials(leaf, root)) as server,
            staying(to(server, reject_unauthorized=False)) as client,
        ):
            found = client.get_peer_certificate(True)
            assert found
            assert found.info_access == {"OCSP - URI": ["a\nb", "c:d"], f"{UNKNOWN} - URI": ["e"]}
            assert found.subjectaltname == r'DNS:"a\u002c DNS:b"'
            issuer = found.issuer_certificate
            assert type(issuer) is PeerCertificate
            assert issuer.raw == root
            assert issuer.info_access is None
            assert issuer.issuer_certificate is issuer
            assert "CN" in repr(issuer)
            fields = found.to_dict()["issuerCertificate"]
            assert fields["issuerCertificate"] is fields

    run(main)
