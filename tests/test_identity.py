"""Does a certificate belong to a name: the rules, and that the fast way gives the same verdict."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiotls.errors import OptionError, OptionTypeError, ServerIdentityError
from aiotls.identity import PeerNames, ascii_hostname, check_server_identity, is_address, match_names


def cert(cn: Any = None, san: str | None = None) -> dict[str, Any]:
    certificate: dict[str, Any] = {}
    if cn is not None:
        certificate["subject"] = {"CN": cn}
    if san is not None:
        certificate["subjectaltname"] = san
    return certificate


def reason(host: Any, certificate: dict[str, Any]) -> str | None:
    """None when it belongs to the host, else the reason why not."""
    try:
        check_server_identity(host, certificate)
    except ServerIdentityError as error:
        return error.reason
    return None


def not_cn(host: str, cn: str) -> str:
    return f"Host: {host}. is not cert's CN: {cn}"


def not_san(host: str, san: str) -> str:
    return f"Host: {host}. is not in the cert's altnames: {san}"


def not_ip(host: str, addresses: str = "") -> str:
    return f"IP: {host} is not in the cert's list: {addresses}"


NO_NAME = "Cert does not contain a DNS name"

CASES: list[tuple[Any, dict[str, Any], str | None]] = [
    # A host that is none is turned into text.
    (False, cert("a.com"), not_cn("False", "a.com")),
    (None, cert("a.com"), not_cn("None", "a.com")),
    ("", cert("a.com"), not_cn("", "a.com")),
    (0, cert("a.com"), not_cn("0", "a.com")),
    # Common names.
    ("a.com", cert("a.com"), None),
    ("a.com", cert("A.COM"), None),
    ("A.com", cert("a.com"), None),
    ("a.com", cert("b.com"), not_cn("a.com", "b.com")),
    ("a.com", cert("a.com."), None),
    ("a.com.", cert("a.com"), None),
    ("a.com.", cert("a.com."), None),
    ("a.com", cert(".a.com"), not_cn("a.com", ".a.com")),
    ("bad..example.com", cert("bad..example.com"), not_cn("bad..example.com", "bad..example.com")),
    ("foo.com", cert(["foo.com", "bar.com"]), None),
    ("bar.com", cert(["foo.com", "bar.com"]), None),
    ("baz.com", cert(["foo.com", "bar.com"]), not_cn("baz.com", "foo.com,bar.com")),
    ("a.foo.com", cert(["bar.com", "*.foo.com"]), None),
    ("a.com", cert([""]), not_cn("a.com", "")),
    ("a.com", cert(""), NO_NAME),
    ("a.com", cert(), NO_NAME),
    ("a.com", {"subject": {}}, NO_NAME),
    ("a.com", {"subject": None}, NO_NAME),
    # Wildcards in a common name.
    ("b.a.com", cert("*.a.com"), None),
    ("ba.com", cert("*.a.com"), not_cn("ba.com", "*.a.com")),
    ("\n.b.com", cert("*n.b.com"), not_cn("\n.b.com", "*n.b.com")),
    ("b.b.com", cert("*n.b.com"), not_cn("b.b.com", "*n.b.com")),
    ("b.a.com", cert("b*b.a.com"), not_cn("b.a.com", "b*b.a.com")),
    ("bxxb.a.com", cert("b*b.a.com"), None),
    ("bxa.a.com", cert("b**.a.com"), not_cn("bxa.a.com", "b**.a.com")),
    ("xbcd.a.com", cert("ab*cd.a.com"), not_cn("xbcd.a.com", "ab*cd.a.com")),
    ("abxcd.a.com", cert("ab*cd.a.com"), None),
    # Addresses are looked for among the addresses only.
    ("8.8.8.8", cert("8.8.8.8"), not_ip("8.8.8.8")),
    ("8.8.8.8", cert("8.8.8.8", "DNS:8.8.8.8"), not_ip("8.8.8.8")),
    ("8.8.8.8", cert(san="URI:http://8.8.8.8/"), not_ip("8.8.8.8")),
    ("8.8.8.8", cert(san="IP Address:8.8.8.0/24"), not_ip("8.8.8.8")),
    ("8.8.8.8", cert(san="IP Address:8.8.8.8"), None),
    ("8.8.8.8", cert(san="DNS:a.com, IP Address:8.8.8.8"), None),
    (
        "8.8.8.8",
        cert(san="IP Address:8.8.4.4, IP Address:2001:DB8:0:0:0:0:0:2"),
        not_ip("8.8.8.8", "8.8.4.4, 2001:db8::2"),
    ),
    ("::1", cert(san="IP Address:0:0:0:0:0:0:0:1"), None),
    ("0:0::1", cert(san="IP Address:0:0:0:0:0:0:0:1"), None),
    ("2001:DB8::2", cert(san="IP Address:2001:DB8:0:0:0:0:0:2"), None),
    ("127.0.0.1", {}, not_ip("127.0.0.1")),
    ("a.com", cert("a.com", "IP Address:127.0.0.1"), None),
    ("a.com", cert(san="IP Address:127.0.0.1"), NO_NAME),
    ("a.com", {"subject": {}, "subjectaltname": "IP Address:127.0.0.1"}, NO_NAME),
    ("a.com", {"subject": {}, "subjectaltname": "DNS:a.com"}, None),
    # DNS names go before the common name.
    ("b.a.com", cert("*.a.com", "DNS:omg.com"), not_san("b.a.com", "DNS:omg.com")),
    ("localhost", cert("localhost", "DNS:a.com"), not_san("localhost", "DNS:a.com")),
    ("a.com", cert(san="DNS:a.com"), None),
    ("a.com", cert("b.com", "DNS:A.com"), None),
    ("a.com", cert("b.com", "DNS:a.com."), None),
    ("a.com", cert("b.com", "DNS:b.com, DNS:a.com"), None),
    ("c.com", cert("c.com", "DNS:b.com, DNS:a.com"), not_san("c.com", "DNS:b.com, DNS:a.com")),
    # URI names are none (CVE-2021-44531).
    ("a.com", cert(san="URI:http://a.com/"), NO_NAME),
    ("a.com", {"subject": {}, "subjectaltname": "URI:http://a.com/"}, NO_NAME),
    ("a.com", cert("b.com", "URI:http://a.com/"), not_cn("a.com", "b.com")),
    ("a.com", cert("a.com", "URI:http://b.com/"), None),
    # Wildcards in DNS names.
    ("a.com", cert(san="DNS:*"), not_san("a.com", "DNS:*")),
    ("a.com", cert(san="DNS:*.com"), not_san("a.com", "DNS:*.com")),
    ("a.co.uk", cert(san="DNS:*.co.uk"), None),
    ("a.com", cert(san="DNS:*.a.com"), not_san("a.com", "DNS:*.a.com")),
    ("c.b.a.com", cert(san="DNS:*.a.com"), not_san("c.b.a.com", "DNS:*.a.com")),
    ("b.a.com", cert(san="DNS:*.a.com"), None),
    ("b.a.com", cert(san="DNS:*b.a.com"), None),
    ("a-cb.a.com", cert(san="DNS:*b.a.com"), None),
    ("a.b.a.com", cert(san="DNS:*b.a.com"), not_san("a.b.a.com", "DNS:*b.a.com")),
    ("bx.a.com", cert(san="DNS:b**.a.com"), not_san("bx.a.com", "DNS:b**.a.com")),
    ("b.a.com", cert(san="DNS:b**.a.com"), not_san("b.a.com", "DNS:b**.a.com")),
    ("b**.a.com", cert(san="DNS:b**.a.com"), not_san("b**.a.com", "DNS:b**.a.com")),
    ("c.b.a.com", cert(san="DNS:*.*.a.com"), not_san("c.b.a.com", "DNS:*.*.a.com")),
    ("abxcd.a.com", cert(san="DNS:ab*cd.a.com"), None),
    ("xbcd.a.com", cert(san="DNS:ab*cd.a.com"), not_san("xbcd.a.com", "DNS:ab*cd.a.com")),
    ("B.A.com", cert(san="DNS:*.a.COM"), None),
    ("ABxCD.a.com", cert(san="DNS:aB*Cd.A.com"), None),
    ("foo.example.com", cert(san="DNS:f*.example.com"), None),
    ("a.b.com", cert(san="DNS:a.*.com"), not_san("a.b.com", "DNS:a.*.com")),
    ("abc.x.y", cert(san="DNS:*b*.x.y"), not_san("abc.x.y", "DNS:*b*.x.y")),
    (".a.com", cert(san="DNS:*.a.com"), not_san(".a.com", "DNS:*.a.com")),
    # Names that are broken.
    ("a.com", cert("a.com", "DNS:"), not_san("a.com", "DNS:")),
    ("a.com", cert("a.com", "DNS:, IP Address:8.8.8.8"), not_san("a.com", "DNS:, IP Address:8.8.8.8")),
    ("bad..example.com", cert(san="DNS:bad..example.com"), not_san("bad..example.com", "DNS:bad..example.com")),
    ("é.example.com", cert(san="DNS:é.example.com"), not_san("é.example.com", "DNS:é.example.com")),
    ("bad label.com", cert(san="DNS:bad label.com"), not_san("bad label.com", "DNS:bad label.com")),
    ("a\0.com", cert(san='DNS:"a\\u0000.com"'), not_san("a\0.com", 'DNS:"a\\u0000.com"')),
    # IDNA.
    ("xn--bcher-kva.example.com", cert("*.example.com"), None),
    ("bücher.example.com", cert("*.example.com"), None),
    ("bücher.example.com", cert(san="DNS:xn--bcher-kva.example.com"), None),
    ("ＡＢＣ.example。com", cert(san="DNS:abc.example.com"), None),
    ("ex\u00adample.com", cert(san="DNS:example.com"), None),
    ("xn--bcher-kva.example.com", cert("xn--*.example.com"), not_cn("xn--bcher-kva.example.com", "xn--*.example.com")),
    ("bücher.a.example.com", cert("*.example.com"), not_cn("bücher.a.example.com", "*.example.com")),
    # Zones and loose spellings of addresses.
    ("fe80::1%eth0", cert(san="IP Address:FE80:0:0:0:0:0:0:1"), not_ip("fe80::1%eth0", "fe80::1")),
    ("010.0.0.1", cert(san="IP Address:8.0.0.1"), NO_NAME),
    ("0x7f.0.0.1", cert(san="IP Address:127.0.0.1"), NO_NAME),
    # A quoted name is one name, whatever it holds (CVE-2021-44532).
    ("b.com", cert(san='DNS:"a.com, DNS:b.com, DNS:c.com"'), not_san("b.com", 'DNS:"a.com, DNS:b.com, DNS:c.com"')),
    ("b.com", cert(san='DNS:"a,b.com", DNS:b.com'), None),
    ("b.com", cert("b.com", 'email:"x, DNS:b.com"'), None),
    ("b.com", cert("c.com", 'email:"x, DNS:b.com"'), not_cn("b.com", "c.com")),
]


@pytest.mark.parametrize(("host", "certificate", "expected"), CASES)
def test_rules(host: Any, certificate: dict[str, Any], expected: str | None) -> None:
    """IDN-01: what each certificate in this shape is for, with the exact reason where it is not for the host."""
    """IDN-01: accepted, or refused with exactly this reason."""
    assert reason(host, certificate) == expected


@pytest.mark.parametrize(("host", "certificate", "expected"), CASES)
def test_the_fast_way_has_the_same_verdict(host: Any, certificate: dict[str, Any], expected: str | None) -> None:
    assert match_names(str(host), names_of(certificate)) == (expected is None)


def names_of(certificate: dict[str, Any]) -> PeerNames:
    """The names as the core gives them."""
    san = certificate.get("subjectaltname", "")
    entries = [unquoted(entry) for entry in re.findall(r'(?:[^",]|"[^"]*")+', san)]
    common = (certificate.get("subject") or {}).get("CN", ())
    return (
        tuple(entry[4:].encode("latin-1") for entry in entries if entry.startswith("DNS:")),
        tuple(packed for entry in entries if entry.startswith("IP Address:") for packed in addresses(entry[11:])),
        tuple(common) if isinstance(common, list) else (common,) if common else (),
    )


def unquoted(entry: str) -> str:
    return entry.strip(" ").replace('"', "").replace("\\u0000", "\0")


def addresses(text: str) -> Iterable[bytes]:
    try:
        yield ipaddress.ip_address(text).packed
    except ValueError:
        return


@pytest.mark.parametrize(
    "broken",
    ['"', '"a', r'"\a"', r'"\v"', r'"\'"', r'"\x42"', r'"\012"', r'"\u12"', '"\\u', '"a\0b"', '"a\x1eb"', '"a\x1fb"'],
)
def test_broken_quotes(broken: str) -> None:
    with pytest.raises(ServerIdentityError, match="Invalid subject alternative name string") as caught:
        check_server_identity("example.com", {"subjectaltname": f"DNS:{broken}"})
    assert caught.value.code == "ERR_TLS_CERT_ALTNAME_FORMAT"
    assert caught.value.message == "Invalid subject alternative name string"


def test_the_message() -> None:
    san = 'DNS:"a.example.com, DNS:b.example.com"'
    with pytest.raises(ServerIdentityError) as caught:
        check_server_identity("b.example.com", {"subjectaltname": san})
    error = caught.value
    assert error.code == "ERR_TLS_CERT_ALTNAME_INVALID"
    assert (error.host, error.certificate) == ("b.example.com", {"subjectaltname": san})
    assert error.message == (
        f"Hostname/IP does not match certificate's altnames: Host: b.example.com. is not in the cert's altnames: {san}"
    )


@pytest.mark.parametrize("certificate", [None, "DNS:a.com", 1, []])
def test_what_is_no_certificate(certificate: Any) -> None:
    with pytest.raises(OptionTypeError, match="certificate"):
        check_server_identity("a.com", certificate)


def test_odd_keys_of_a_subject_change_nothing() -> None:
    subject = {"__class__": "x", "__proto__": "y", "get": "z", "CN": "a.com"}
    assert reason("a.com", {"subject": subject}) is None


class TestAsciiHostname:
    @pytest.mark.parametrize(
        ("given", "name"),
        [
            ("a.example", "a.example"),
            ("A.Example.", "A.Example."),
            ("_service.a.example", "_service.a.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("a。example", "a.example"),
            ("ＡＢＣ.example", "abc.example"),
            ("x" * 255, "x" * 255),
            ("é." * 28 + "example", "xn--9ca." * 28 + "example"),
        ],
    )
    def test_accepted(self, given: str, name: str) -> None:
        assert ascii_hostname(given) == name

    @pytest.mark.parametrize(
        "host",
        ["", "a\0", "a b", "a\r\n", "\x7f", "x" * 256, "é" * 64, "é." * 40, "é" * 2000, "\u00ad", "é\0", "é "],
    )
    def test_refused(self, host: str) -> None:
        with pytest.raises(OptionError, match="servername"):
            ascii_hostname(host, "servername")

    @pytest.mark.parametrize("host", [None, b"a", 1])
    def test_wrong_types(self, host: Any) -> None:
        with pytest.raises(OptionTypeError, match="host"):
            ascii_hostname(host)

    @settings(deadline=None)
    @given(st.text())
    def test_whatever_comes(self, host: str) -> None:
        try:
            name = ascii_hostname(host)
        except OptionError:
            return
        assert re.fullmatch("[!-~]+", name)
        assert ascii_hostname(name) == name


@pytest.mark.parametrize(
    ("host", "verdict"),
    [("1.2.3.4", True), ("::1", True), ("fe80::1%eth0", True), ("a.example", False), ("1.2", False)],
)
def test_is_address(host: str, verdict: bool) -> None:
    assert is_address(host) is verdict


LABELS = st.text(alphabet="ab*-", min_size=0, max_size=3)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@settings(deadline=None)
@given(NAMES, st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=2))
def test_both_ways_agree(host: str, dns: list[str], common: list[str]) -> None:
    certificate = cert(common, ", ".join(f"DNS:{name}" for name in dns) or None)
    names = (tuple(name.encode() for name in dns), (), tuple(common))
    assert (reason(host, certificate) is None) == match_names(host, names)


@settings(deadline=None)
@given(NAMES, NAMES)
def test_a_wildcard_never_matches_across_labels(host: str, pattern: str) -> None:
    if match_names(host, ((pattern.encode(),), (), ())):
        asked, found = host.removesuffix(".").split("."), pattern.removesuffix(".").split(".")
        assert len(asked) == len(found)
        assert asked[1:] == found[1:]
