"""The two ways to a verdict agree: the core's list of names, and the certificate object with its text form.

Certificates are made of names of every kind and any bytes, and seen in a real handshake.
"""

import ipaddress
import string

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_identity_certificates import common_name, dns, email, ip, issued, reason, typed, uri

# Few hosts, so that names and hosts often meet.
HOSTS = ["a.com", "b.a.com", "xn--a.a.com", "a", "192.0.2.1", "2001:db8::1", "a.com.", "A.Com", "bücher.com"]
ODD = ["", "*", "*.a.com", "b*.a.com", "*.com", "a..com", ".a.com", "xn--*.a.com", "a.com\0", "192.0.2.*", "DNS:a.com"]
BITS = ["a.com", "*.a.com", '"', ", ", ",", "DNS:", "IP Address:192.0.2.1", "\\", "\\u0061", "\0", "\n", "'", "é", " "]

hosts = st.sampled_from(HOSTS)
texts = st.one_of(
    hosts,
    st.sampled_from(ODD),
    st.lists(st.sampled_from(BITS), max_size=5).map("".join),
    st.text(string.printable, max_size=8),
)
octets = st.one_of(texts.map(lambda text: text.encode("utf-8")), st.binary(max_size=12))
addresses = st.one_of(
    st.sampled_from(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"]).map(
        lambda text: ipaddress.ip_address(text).packed
    ),
    st.binary(max_size=20),
)
others = st.builds(
    lambda kind, value: typed(x509.OtherName(ObjectIdentifier(kind), value)),
    st.sampled_from(["1.3.6.1.5.5.7.8.7", "1.3.6.1.4.1.311.20.2.3", "1.2.3"]),
    st.sampled_from([b"\x16\x05a.com", b"\x0c\x05a.com", b"\x05\x00", b"\x30\x07\x82\x05a.com"]),
)
names = st.one_of(
    octets.map(dns),
    octets.map(dns),
    octets.map(email),
    octets.map(uri),
    addresses.map(ip),
    others,
)
kinds = st.sampled_from([_ASN1Type.UTF8String, _ASN1Type.BMPString, _ASN1Type.T61String])


def subject(texts: list[str], kind: _ASN1Type) -> x509.Name:
    return x509.Name(
        [x509.RelativeDistinguishedName([common_name(text, kind)]) for text in texts if 0 < len(text.encode()) <= 64]
    )


@settings(deadline=None, max_examples=100)
@given(hosts, st.lists(names, max_size=3), st.lists(texts, max_size=2), kinds)
def test_any_certificate(host: str, found: list[bytes], common: list[str], kind: _ASN1Type) -> None:
    """CVE-2021-44532, CVE-2021-44533: no bytes in a name make the text form say more than the certificate does."""
    reason(host, issued(*found, subject=subject(common, kind)))


@settings(deadline=None, max_examples=40)
@given(octets, st.lists(names, max_size=2))
def test_a_name_is_for_itself_alone(value: bytes, others: list[bytes]) -> None:
    """CVE-2021-44532: a DNS name with odd bytes is for no host, and hides none of those beside it."""
    certificate = issued(*others, dns(value), dns("good.example"), cn="cn.example")
    assert reason("good.example", certificate) is None
    for host in ("cn.example", "evil.example"):
        assert reason(host, certificate) is not None
