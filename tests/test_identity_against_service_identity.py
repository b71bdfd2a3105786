"""The package service-identity gives the same verdicts, so far as its rules are ours.

It knows no partial wildcard (``f*.example.com``), no common names, no trailing dots, and lets no wildcard stand for an
A-label; a pattern that it finds illegal spoils the whole certificate.  All of that is left out here.
"""

import string

import service_identity
from hypothesis import example, given, settings
from hypothesis import strategies as st
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from service_identity.hazmat import DNS_ID, DNSPattern

from aiotls.identity import match_names
from tests.support.pki import Identity
from tests.test_identity_certificates import dns, ip, issued, reason, uri

REFUSED = (service_identity.VerificationError, service_identity.CertificateError)

# Few labels, so that names and hosts often meet; the last one keeps them from being addresses.
labels = st.one_of(
    st.sampled_from(["a", "A", "b", "example", "a-b", "a_b", "1", "com"]),
    st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=3),
)
last = st.sampled_from(["com", "COM", "example"])
hosts = st.builds(lambda first, end: ".".join([*first, end]), st.lists(labels, max_size=3), last)
patterns = st.builds(
    lambda first, end: ".".join([*first, end]), st.lists(st.one_of(labels, st.just("*")), max_size=3), last
)
addresses = st.one_of(st.sampled_from(["192.0.2.1", "::1"]), st.ip_addresses().map(str))


def theirs(host: str, pattern: str) -> bool:
    """Their verdict about a single name."""
    try:
        return DNS_ID(host).verify(DNSPattern.from_bytes(pattern.encode()))
    except service_identity.CertificateError:
        return False


@settings(deadline=None)
@example("a.example.com", "*.example.com")
@example("a.b.example.com", "*.example.com")
@example("example.com", "*.com")
@example("a.b.com", "a.*.com")
@example("a.b.com", "*.*.com")
@example("A.example", "a.EXAMPLE")
@given(hosts, patterns)
def test_names(host: str, pattern: str) -> None:
    assert match_names(host, ((pattern.encode(),), (), ("common.example",))) is theirs(host, pattern)


@settings(deadline=None, max_examples=40)
@given(hosts, st.lists(patterns, min_size=1, max_size=3))
def test_certificates(host: str, found: list[str]) -> None:
    """The same with real ones, which have several names, and names of other kinds."""
    identity = issued(*map(dns, found), uri(b"https://x.example"), ip("192.0.2.1"), cn=host)
    belongs = reason(host, identity) is None
    assert belongs is any(theirs(host, pattern) for pattern in found)
    try:
        verify_certificate_hostname(identity.certificate, host)
    except service_identity.VerificationError:
        assert not belongs
    except service_identity.CertificateError:
        pass
    else:
        assert belongs


@settings(deadline=None, max_examples=40)
@given(addresses, st.lists(addresses, min_size=1, max_size=3))
def test_addresses(host: str, found: list[str]) -> None:
    identity = issued(*map(ip, found), dns("a.example"), cn=host)
    assert (reason(host, identity) is None) is _is_for_address(identity, host)


def _is_for_address(identity: Identity, address: str) -> bool:
    try:
        verify_certificate_ip_address(identity.certificate, address)
    except REFUSED:
        return False
    return True
