"""The vectors of the host-name check, a test for each row: asked of dicts, of certificates, and of the core's names."""

import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

import aiotls
from aiotls.errors import OptionError, ServerIdentityError
from aiotls.identity import check_server_identity
from aiotls.options import ConnectOptions
from tests.support.pairs import Pair
from tests.support.pki import named
from tests.test_identity_certificates import (
    NO_NAME,
    UNREADABLE,
    common_name,
    dict_reason,
    dns,
    email,
    ip,
    issued,
    not_cn,
    not_ip,
    not_san,
    reason,
    uri,
)


def test_the_common_name_beside_other_names() -> None:
    """Host-name vector: SAN present, CN matches, SAN does not."""
    expected = not_san("a.com", "DNS:b.com")
    assert dict_reason("a.com", {"subject": {"CN": "a.com"}, "subjectaltname": "DNS:b.com"}) == expected
    assert reason("a.com", issued(dns("b.com"), cn="a.com")) == expected
    assert reason("b.com", issued(dns("b.com"), cn="a.com")) is None
    # Only a DNS name stands before the common name.
    assert reason("a.com", issued(email(b"x@b.com"), ip("192.0.2.1"), cn="a.com")) is None


def test_a_uri() -> None:
    """Host-name vector: URI SAN only, equal to host.

    CVE-2021-44531: it counts for nothing, whatever its form.
    """
    for text in ("a.com", "https://a.com/", "https://a.com", "//a.com", "DNS:a.com"):
        assert dict_reason("a.com", {"subjectaltname": f"URI:{text}"}) == NO_NAME
        assert reason("a.com", issued(uri(text.encode()))) == NO_NAME
        assert reason("a.com", issued(uri(text.encode()), cn="b.com")) == not_cn("a.com", "b.com")
    assert reason("192.0.2.1", issued(uri(b"192.0.2.1"))) == not_ip("192.0.2.1")


@pytest.mark.parametrize("make", [dns, email, uri], ids=["dns", "email", "uri"])
@pytest.mark.parametrize(
    "value",
    [
        b"good.com, DNS:evil.com",
        b'good.com", DNS:evil.com',
        b'good.com", DNS:"evil.com',
        b'", DNS:evil.com',
        b"good.com\\, DNS:evil.com",
        b'good.com\\", DNS:evil.com',
        b"evil.com\0.good.com",
        b"\0evil.com",
        b"good.com\nDNS:evil.com",
        b"good.com\n, DNS:evil.com",
        b'"evil.com"',
        b"'evil.com'",
        b"DNS:evil.com",
        b"x, IP Address:192.0.2.1",
    ],
)
def test_a_name_that_looks_like_two(make: Any, value: bytes) -> None:
    r"""Host-name vector: SAN value holding `", DNS:evil"` or quotes, `\0`, newline.

    CVE-2021-44532, CVE-2013-4238: it is one name, which no host has.
    """
    identity = issued(make(value))
    assert reason("evil.com", identity) is not None
    assert reason("192.0.2.1", identity) == not_ip("192.0.2.1")
    assert reason("good.com", identity) is not None
    # The name beside it is a name of its own.
    assert reason("good.com", issued(make(value), dns("good.com"))) is None


@pytest.mark.parametrize(
    ("altnames", "host", "verdict"),
    [
        ('DNS:"evil.com, DNS:good.com"', "good.com", False),
        ('DNS:"evil.com\\u002c DNS:good.com"', "good.com", False),
        ('DNS:"good.com"', "good.com", True),
        ('DNS:"\\u0067ood.com"', "good.com", True),
        ('DNS:"evil.com\\", DNS:\\"good.com"', "good.com", False),
        ('email:"x, DNS:good.com"', "good.com", False),
        ('DNS:"evil.com, IP Address:192.0.2.1"', "192.0.2.1", False),
        ('IP Address:"192.0.2.1"', "192.0.2.1", True),
        ('DNS:"evil.com,", DNS:good.com', "good.com", True),
    ],
)
def test_quotes_in_a_dict(altnames: str, host: str, verdict: bool) -> None:
    """CVE-2021-44532: what stands in quotes is one name."""
    assert (dict_reason(host, {"subjectaltname": altnames}) is None) is verdict


@pytest.mark.parametrize(
    "altnames",
    ['DNS:"', 'DNS:"a.com', 'DNS:"a\\"', 'DNS:"\\x61"', 'DNS:"\\u12"', 'DNS:"a\nb"', 'DNS:a.com, DNS:"', 'email:"\\"'],
)
def test_broken_quotes(altnames: str) -> None:
    """Host-name vector: malformed quoting in `subjectaltname`."""
    with pytest.raises(ServerIdentityError) as caught:
        check_server_identity("a.com", {"subject": {"CN": "a.com"}, "subjectaltname": altnames})
    assert caught.value.code == "ERR_TLS_CERT_ALTNAME_FORMAT"
    assert caught.value.message == UNREADABLE
    assert caught.value.host == "a.com"


def test_several_common_names() -> None:
    """Host-name vector: multi-value RDN / several CN.

    CVE-2021-44533: a subject is attributes and never text.
    """
    both = [common_name("a.com"), common_name("b.com")]
    one_each = x509.Name([x509.RelativeDistinguishedName([each]) for each in both])
    together = x509.Name([x509.RelativeDistinguishedName(both)])
    for subject in (one_each, together):
        for host in ("a.com", "b.com"):
            assert dict_reason(host, {"subject": {"CN": ["a.com", "b.com"]}}) is None
            assert reason(host, issued(subject=subject)) is None
            assert reason(host, issued(dns("c.com"), subject=subject)) == not_san(host, "DNS:c.com")
        assert reason("c.com", issued(subject=subject)) == not_cn("c.com", "a.com,b.com")
    for text in ("x\nCN=a.com", "x/CN=a.com", "x, CN=a.com", "x+CN=a.com", "x,a.com", "a.com\n", "CN=a.com", '"a.com"'):
        assert reason("a.com", issued(cn=text)) == not_cn("a.com", text)
        elsewhere = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])
        assert reason("a.com", issued(subject=elsewhere)) == NO_NAME


def test_odd_attributes_of_a_subject() -> None:
    """Host-name vector: `__proto__` / duplicate subject keys.

    CVE-2022-21824: they have no effect on other attributes.
    """
    for key in ("__proto__", "__class__", "constructor", "get", "CN "):
        assert dict_reason("a.com", {"subject": {key: "b.com", "CN": "a.com"}}) is None
        assert dict_reason("b.com", {"subject": {key: "b.com", "CN": "a.com"}}) == not_cn("b.com", "a.com")
        assert dict_reason("b.com", {"subject": {key: {"CN": "b.com"}}}) == NO_NAME
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in ("b.com", "__proto__", "b.com")]
    subject = x509.Name([*units, common_name("a.com"), *units])
    assert reason("a.com", issued(subject=subject)) is None
    assert reason("b.com", issued(subject=subject)) == not_cn("b.com", "a.com")


def test_nul() -> None:
    """Host-name vector: NUL inside SAN, CN or the asked host.

    CVE-2013-4238, CVE-2026-48930: what stands before the NUL is no name, and a host with one is refused.
    """
    for text in ("a.com\0.evil.com", "a.com\0", "\0a.com", "a\0.com", "*.a.com\0.evil.com"):
        for host in ("a.com", "b.a.com", "evil.com"):
            assert reason(host, issued(dns(text), cn="a.com")) is not None
            assert reason(host, issued(cn=text)) == not_cn(host, text)
            assert reason(host, issued(subject=x509.Name([common_name(text, _ASN1Type.BMPString)]))) is not None
    for host in ("a.com\0", "a.com\0.evil.com", "\0a.com"):
        assert dict_reason(host, {"subject": {"CN": host}}) == not_cn(host, host)
        assert dict_reason(host, {"subjectaltname": f'DNS:a.com, DNS:evil.com, DNS:"{host[:-1]}"'}) is not None
        for option in ("host", "servername"):
            with pytest.raises(OptionError, match=option):
                ConnectOptions.parse({"port": 1, option: host})


@pytest.mark.parametrize(
    "host",
    [
        "BOOK.Example.COM",
        "ｂｏｏｋ.example.com",
        "ＢＯＯＫ.ｅｘａｍｐｌｅ.ｃｏｍ",
        "book。example。com",
        "book．example｡com",
        "bo\u00adok.exam\u00adple.com",
        "boo\u212a.example.com",
    ],
)
def test_other_spellings_of_a_host(host: str) -> None:
    """Host-name vector: asked host with upper case, full-width letters, ideographic dots (U+3002), soft hyphen.

    CVE-2026-48618: the name that is sent and the name that is checked are one.
    """
    assert reason(host, issued(dns("book.example.com"))) is None
    assert reason(host, issued(dns("*.example.com"))) is None
    assert reason(host, issued(cn="book.example.com")) is None
    assert reason(host, issued(dns("example.com"))) is not None
    options = ConnectOptions.parse({"host": host, "port": 1})
    assert options.host == options.hostname == options.servername
    assert options.hostname.isascii()
    assert options.hostname.lower() == "book.example.com"
    options = ConnectOptions.parse({"port": 1, "servername": host})
    assert options.hostname == options.servername
    assert options.hostname.lower() == "book.example.com"


def test_a_host_that_becomes_an_address() -> None:
    """CVE-2026-48618: in ASCII it may turn out to be an address, for which DNS names do not count."""
    for host in ("１９２.0.2.1", "192。0。2。1", "19\u00ad2.0.2.1"):
        assert reason(host, issued(ip("192.0.2.1"))) is None
        assert reason(host, issued(dns("192.0.2.1"), cn="192.0.2.1")) is not None
        options = ConnectOptions.parse({"host": host, "port": 1})
        assert options.host == options.hostname == "192.0.2.1"
        assert options.servername is None


def test_what_is_not_ascii_in_a_certificate() -> None:
    """Host-name vector: non-ASCII U-label in the certificate."""
    for text in ("bücher.example.com", "BÜCHER.example.com", "ｂｏｏｋ.example.com"):
        for host in (text, text.encode("idna").decode(), "book.example.com"):
            assert reason(host, issued(dns(text))) is not None
            assert reason(host, issued(dns(text.encode("utf-8")), dns("x.com"), cn=host)) is not None
            assert reason(host, issued(cn=text)) is not None
    # U+212A is a "k" in lower case, and U+017F is an "S" in upper case.
    for text in ("boo\u212a.com", "book.com\u00ad", "book\u3002com", "boo\u212a.com."):
        assert reason("book.com", issued(cn=text)) is not None
        assert dict_reason("book.com", {"subjectaltname": f"DNS:{text}"}) is not None
        assert dict_reason(text, {"subjectaltname": f"DNS:{text}"}) is not None
    assert reason("s.com", issued(cn="\u017f.com")) == not_cn("s.com", "\u017f.com")
    assert reason("bücher.example.com", issued(dns("xn--bcher-kva.example.com"))) is None


def test_a_wildcard() -> None:
    """Host-name vector: `*.example.com` vs `a.example.com` / `a.b.example.com` / `example.com`."""
    expected = {
        "a.example.com": True,
        "A.EXAMPLE.com": True,
        "xn--bcher-kva.example.com": True,
        "a.b.example.com": False,
        "example.com": False,
        ".example.com": False,
        "aexample.com": False,
        "a.example.org": False,
    }
    for host, verdict in expected.items():
        assert (dict_reason(host, {"subjectaltname": "DNS:*.example.com"}) is None) is verdict
        assert (reason(host, issued(dns("*.example.com"))) is None) is verdict
        assert (reason(host, issued(cn="*.example.com")) is None) is verdict


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("*.com", ["a.com", "com", "*.com"]),
        ("*.com.", ["a.com"]),
        ("*", ["a", "com", "a.com", "*"]),
        ("a.*.com", ["a.b.com", "a.com", "a.*.com"]),
        ("*.*.com", ["a.b.com", "*.*.com"]),
        ("xn--*.example.com", ["xn--bcher-kva.example.com", "xn--.example.com", "xn--*.example.com"]),
        ("xn--*kva.example.com", ["xn--bcher-kva.example.com"]),
        ("*xn--a.example.com", ["xn--a.example.com", "axn--a.example.com"]),
        ("*b*.x.y", ["b.x.y", "abc.x.y", "*b*.x.y"]),
        ("**.example.com", ["a.example.com", "ab.example.com"]),
        ("*.", ["a", "a."]),
        ("*..com", ["a..com", "a.com"]),
        (".*.example.com", ["a.example.com", ".a.example.com"]),
    ],
)
def test_wildcards_that_never_match(pattern: str, hosts: list[str]) -> None:
    """Host-name vector: `*.com`, `*`, `a.*.com`, `*.*.com`, `xn--*`, `*b*.x.y`."""
    for host in hosts:
        assert dict_reason(host, {"subjectaltname": f"DNS:{pattern}"}) is not None
        assert reason(host, issued(dns(pattern))) is not None
        assert reason(host, issued(cn=pattern)) is not None


def test_a_wildcard_beside_other_characters() -> None:
    """Host-name vector: `f*.example.com` vs `foo.example.com`.

    As the reference has it; RFC 9525 no longer allows it.
    """
    for pattern in ("f*.example.com", "*oo.example.com", "f*o.example.com", "foo*.example.com"):
        assert reason("foo.example.com", issued(dns(pattern))) is None
        assert reason("bar.example.com", issued(dns(pattern))) == not_san("bar.example.com", f"DNS:{pattern}")
        assert reason("f.o.example.com", issued(dns(pattern))) is not None
    # What stands before the star and what stands behind it do not overlap.
    assert reason("fo.example.com", issued(dns("fo*o.example.com"))) is not None


def test_dots() -> None:
    """Host-name vector: empty label, double dot, trailing dot on either side."""
    for host in ("a.example.com", "a.example.com."):
        for pattern in ("a.example.com", "a.example.com.", "*.example.com", "*.example.com."):
            assert reason(host, issued(dns(pattern))) is None
            assert reason(host, issued(cn=pattern)) is None
    bad = ("a..example.com", ".a.example.com", "a.example.com..", "a.example..com", ".", "..", "")
    for name in bad:
        assert reason("a.example.com", issued(dns(name))) is not None
        assert reason(name, issued(dns(name))) is not None
        assert reason(name, issued(cn=name or ".")) is not None
        assert reason(name, issued(dns("a.example.com"), dns("*.example.com"))) is not None
    assert dict_reason("a.com.", {"subjectaltname": "DNS:b.com"}) == not_san("a.com", "DNS:b.com")


ADDRESSES = {
    "192.0.2.1": ["192.0.2.1"],
    "2001:db8::2": ["2001:db8::2", "2001:DB8::2", "2001:0db8:0:0:0:0:0:2", "2001:db8::0.0.0.2"],
    "::1": ["::1", "0:0::1", "0:0:0:0:0:0:0:1", "::0.0.0.1"],
    "::ffff:192.0.2.1": ["::ffff:192.0.2.1", "::FFFF:c000:201", "0:0:0:0:0:ffff:192.0.2.1"],
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses(address: str) -> None:
    """Host-name vector: IPv4 / IPv6 host vs IP SAN (any spelling), DNS SAN "1.2.3.4", CN "1.2.3.4"."""
    right, wrong = issued(ip(address)), issued(ip("203.0.113.9"), dns("a.com"))
    as_name = issued(dns(address), uri(address.encode()), email(address.encode()), cn=address)
    for host in ADDRESSES[address]:
        assert reason(host, right) is None
        assert reason(host, wrong) == not_ip(host, "203.0.113.9")
        assert reason(host, as_name) == not_ip(host)
        for spelling in ADDRESSES[address]:
            assert dict_reason(host, {"subjectaltname": f"IP Address:{spelling}"}) is None
            assert dict_reason(host, {"subjectaltname": f"IP Address:{spelling}/24"}) == not_ip(host)
    # A trailing dot makes no name of it.
    if ":" not in address:
        assert reason(f"{address}.", right) is None
        assert reason(f"{address}.", as_name) == not_ip(address)
    # Neither four bytes for sixteen, nor the text of one, nor a network.
    packed = ipaddress.ip_address(address).packed
    for content in (
        address.encode().ljust(20),
        packed[:3],
        packed + packed,
        packed + b"\0",
        b"",
        packed + b"\xff" * len(packed),
    ):
        assert reason(address, issued(ip(content))) == not_ip(address)
    assert reason("192.0.2.1", issued(ip("::ffff:192.0.2.1"))) is not None
    assert reason("::ffff:192.0.2.1", issued(ip("192.0.2.1"))) is not None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%1", "fe80::1"),
        ("[fe80::1]", "fe80::1"),
        ("010.0.0.1", "8.0.0.1"),
        ("010.0.0.1", "10.0.0.1"),
        ("127.000.000.001", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
    ],
)
def test_loose_spellings_of_addresses(host: str, address: str) -> None:
    """Host-name vector: IPv6 with zone, leading zeros, hex or octal IPv4.

    They are no addresses, and they must not pass for names either.
    """
    assert reason(host, issued(ip(address))) is not None
    assert reason(f"{host}.", issued(ip(address))) is not None
    assert reason(host, issued(dns(host), cn=host)) is not None
    assert reason(host, issued(cn=host)) is not None
    assert dict_reason(host, {"subjectaltname": f"IP Address:{host}"}) is not None


def test_names_of_digits() -> None:
    """A name may begin or end with digits, so far as nobody takes it for an address."""
    for host in ("1.example", "a.1", "1.2.3.4.5", "0xg.1", "127.0.0.1.example", "4711-a"):
        assert reason(host, issued(dns(host))) is None


def test_no_host() -> None:
    """Host-name vector: host missing, empty.

    CVE-2026-19553, CVE-2021-22939: an error, and never "no check".
    """
    anything = issued(dns("*.example.com"), dns(""), dns("*"), dns("localhost"), ip("127.0.0.1"), cn="*")
    for host in ("", ".", " "):
        assert reason(host, anything) is not None
        assert reason(host, issued(cn="*")) is not None
        assert reason(host, issued()) is not None
    for nothing in (None, False, 0):
        assert dict_reason(nothing, {"subjectaltname": "DNS:*, DNS:"}) is not None
    for keywords in ({"host": ""}, {"host": "", "servername": "a.com"}):
        with pytest.raises(OptionError, match="host"):
            ConnectOptions.parse({"port": 1, **keywords})
    # Without any name it is localhost, also over a stream that somebody else connected.
    unnamed: list[dict[str, Any]] = [
        {"port": 1},
        {"path": "/x"},
        {"socket": object()},
        {"port": 1, "servername": False},
    ]
    for given in unnamed:
        assert ConnectOptions.parse(given).hostname == "localhost"
    # A connection for which nobody has given a name is refused by every certificate.
    for identity in (anything, issued(cn="*"), named.server_ec):
        pair = Pair(server={"cert": identity.cert_pem, "key": identity.key_pem}, hostname="", servername=None)
        pair.run()
        assert isinstance(pair.client.error, ServerIdentityError)
        assert pair.client.connection.phase is aiotls.Phase.FAILED


@pytest.mark.parametrize("given", [{}, *({"reject_unauthorized": value} for value in (None, 0, "", True, False))])
def test_what_turns_verification_off(given: dict[str, Any]) -> None:
    """Host-name vector: `rejectUnauthorized` absent / `None` / 0 / `False`.

    CVE-2021-22939: only False does.
    """
    options = ConnectOptions.parse({"port": 1, "ca": named.ca.cert_pem, **given})
    assert options.settings.reject_unauthorized is (given.get("reject_unauthorized") is not False)
