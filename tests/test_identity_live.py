"""The host-name check where it counts: a client connects over TCP, and the server is who it should be, or is not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

import aiotls
from tests.conftest import Run
from tests.support.pairs import gone, tcp_pair
from tests.support.peers import needs, openssl_server
from tests.support.pki import Identity, named
from tests.support.servers import port_of
from tests.test_identity_certificates import (
    UNREADABLE,
    UNREADABLE_NAMES,
    USER_PRINCIPAL_NAME,
    common_name,
    der,
    dns,
    email,
    ip,
    issued,
    not_cn,
    not_ip,
    not_san,
    typed,
    uri,
)


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Places:
    """A server that can be everybody, and that every name leads to."""

    def __init__(self, server: aiotls.Server, version: str) -> None:
        self.names: list[str | bool | None] = []
        """The server names that were asked for."""
        self.connections = 0
        self._server = server
        self._version = version
        server.on("connection", self._count).on("secure_connection", self._greet)

    def _count(self, _connection: object) -> None:
        self.connections += 1

    def _greet(self, socket: aiotls.TLSSocket) -> None:
        self.names.append(socket.servername)
        socket.end(b"welcome")

    def connect(self, host: str | None, identity: Identity, **options: Any) -> aiotls.TLSSocket:
        """A client of `host`, which turns out to have the certificate of `identity`."""
        self._server.set_secure_context(cert=identity.cert_pem, key=identity.key_pem, max_version=self._version)
        return aiotls.connect(
            port_of(self._server), host, ca=named.ca.cert_pem, lookup=lambda _host, _options: "127.0.0.1", **options
        )

    async def reason(self, host: str | None, identity: Identity, **options: Any) -> str | None:
        """None when the client is let in and greeted, else the reason why it has refused the server."""
        client = self.connect(host, identity, **options)
        (result,) = await asyncio.gather(client, return_exceptions=True)
        if isinstance(result, aiotls.ServerIdentityError):
            assert result.certificate.raw == identity.der
            return str(result.reason)
        assert result is client, result
        assert client.authorized
        assert client.authorization_error is None
        assert await client.read() == b"welcome"
        await gone(client)
        return None


@contextlib.asynccontextmanager
async def places(version: str = "TLSv1.3") -> AsyncIterator[Places]:
    server = aiotls.create_server(cert=named.server_ec.cert_pem, key=named.server_ec.key_pem)
    async with server:
        await server.listen(0, "127.0.0.1")
        yield Places(server, version)


def found(names: str) -> str:
    """The reason with what is found in a certificate that is not for a.example."""
    return not_san("a.example", names)


def several(*texts: str) -> x509.Name:
    return x509.Name([x509.RelativeDistinguishedName([common_name(text)]) for text in texts])


DNS_CASES: list[tuple[str, Identity, str | None]] = [
    # Which of the names count.
    ("a.example", issued(dns("a.example"), cn="b.example"), None),
    ("a.example", issued(dns("b.example"), cn="a.example"), not_san("a.example", "DNS:b.example")),
    ("a.example", issued(ip("192.0.2.1"), cn="a.example"), None),
    ("a.example", issued(uri(b"a.example")), "Cert does not contain a DNS name"),
    ("a.example", issued(uri(b"a.example"), cn="b.example"), not_cn("a.example", "b.example")),
    ("a.example", issued(email(b"x@b.example, DNS:a.example")), "Cert does not contain a DNS name"),
    ("b.example", issued(subject=several("a.example", "b.example")), None),
    ("c.example", issued(subject=several("a.example", "b.example")), not_cn("c.example", "a.example,b.example")),
    ("a.example", issued(dns(b"b.example, DNS:a.example")), found('DNS:"b.example\\u002c DNS:a.example"')),
    ("a.example", issued(dns(b'b.example", DNS:"a.example')), found('DNS:"b.example\\"\\u002c DNS:\\"a.example"')),
    ("a.example", issued(dns(b"b.example\nDNS:a.example")), found('DNS:"b.example\\u000aDNS:a.example"')),
    ("a.example", issued(dns(b"a.example\0.evil.example")), found('DNS:"a.example\\u0000.evil.example"')),
    ("a.example", issued(cn="a.example\0.evil.example"), not_cn("a.example", "a.example\0.evil.example")),
    ("boo\u212a.example", issued(cn="boo\u212a.example"), not_cn("book.example", "boo\u212a.example")),
    # Patterns.
    ("b.a.example", issued(dns("*.a.example")), None),
    ("xn--bcher-kva.a.example", issued(dns("*.a.example")), None),
    ("c.b.a.example", issued(dns("*.a.example")), not_san("c.b.a.example", "DNS:*.a.example")),
    ("a.example", issued(dns("*.a.example")), not_san("a.example", "DNS:*.a.example")),
    ("a.example", issued(dns("*.example")), not_san("a.example", "DNS:*.example")),
    ("a.example", issued(dns("*")), not_san("a.example", "DNS:*")),
    ("a.b.example", issued(dns("a.*.example")), not_san("a.b.example", "DNS:a.*.example")),
    ("xn--a.b.example", issued(dns("xn--*.b.example")), not_san("xn--a.b.example", "DNS:xn--*.b.example")),
    ("foo.b.example", issued(dns("f*.b.example")), None),
    ("abc.x.example", issued(dns("*b*.x.example")), not_san("abc.x.example", "DNS:*b*.x.example")),
    # Dots.
    ("a.example.", issued(dns("a.example")), None),
    ("a.example", issued(dns("a.example.")), None),
    ("a.example.", issued(dns("b.example")), not_san("a.example", "DNS:b.example")),
    ("a..example", issued(dns("a..example")), not_san("a..example", "DNS:a..example")),
    # Loose spellings of addresses are neither addresses nor names.
    ("0x7f.0.0.1", issued(dns("0x7f.0.0.1")), not_san("0x7f.0.0.1", "DNS:0x7f.0.0.1")),
    ("0177.0.0.1", issued(cn="0177.0.0.1"), not_cn("0177.0.0.1", "0177.0.0.1")),
]  # fmt: skip


def test_names(run: Run, version: str) -> None:
    """CVE-2013-4238, CVE-2021-44531, CVE-2021-44532, CVE-2021-44533: each name over a connection of its own."""

    async def main() -> None:
        async with places(version) as found:
            for host, identity, expected in DNS_CASES:
                assert await found.reason(host, identity) == expected, host
                assert await found.reason("127.0.0.1", identity, servername=host) == expected, host

    run(main)


def test_addresses(run: Run, version: str) -> None:
    """An address is looked for among the addresses, and no name is sent for it."""

    async def main() -> None:
        async with places(version) as found:
            right, as_name = issued(ip("127.0.0.1")), issued(dns("127.0.0.1"), uri(b"127.0.0.1"), cn="127.0.0.1")
            for host in ("127.0.0.1", "１２７.0.0.1", "127。0。0。1"):
                assert await found.reason(host, right) is None
                assert await found.reason(host, as_name) == not_ip("127.0.0.1")
                assert await found.reason(host, issued(ip("192.0.2.1"))) == not_ip("127.0.0.1", "192.0.2.1")
            assert await found.reason("127.0.0.1.", right) is None
            assert await found.reason("127.0.0.1.", as_name) == not_ip("127.0.0.1")
            assert set(found.names) == {False}

    run(main)


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("::1", "::1", None),
        ("0:0::1", "::1", None),
        ("2001:DB8::2", "2001:db8::2", None),
        ("2001:db8::3", "2001:db8::2", not_ip("2001:db8::3", "2001:db8::2")),
        ("192.0.2.1", "::ffff:192.0.2.1", not_ip("192.0.2.1", "::ffff:")),
        ("fe80::1%lo", "fe80::1", not_ip("fe80::1%lo", "fe80::1")),
    ],
)
def test_addresses_of_a_stream(run: Run, host: str, address: str, expected: str | None) -> None:
    """The same where somebody else has connected, and `host` only says whom the stream leads to."""

    async def main() -> None:
        near, far = await tcp_pair()
        identity = issued(ip(address), dns(host), cn=host)
        server = aiotls.TLSSocket(far, is_server=True, cert=identity.cert_pem, key=identity.key_pem)
        client = aiotls.connect(socket=near, host=host, ca=named.ca.cert_pem)
        results = await asyncio.gather(client, server, return_exceptions=True)
        if expected is None:
            assert results[0] is client
            assert client.authorized
        else:
            assert isinstance(results[0], aiotls.ServerIdentityError)
            assert str(results[0].reason).startswith(expected)
        await gone(client, server)

    run(main)


@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("BOOK.Example", "BOOK.Example"),
        ("ｂｏｏｋ.example", "book.example"),
        ("book。example．", "book.example"),
        ("bo\u00adok.exam\u00adple", "book.example"),
        ("boo\u212a.example", "book.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
    ],
)
def test_other_spellings(run: Run, version: str, host: str, sent: str) -> None:
    """CVE-2026-48618: the name is brought into ASCII once; that form is sent, and checked."""

    async def main() -> None:
        async with places(version) as found:
            identity = issued(dns(sent.lower()))
            assert await found.reason(host, identity) is None
            assert await found.reason("127.0.0.1", identity, servername=host) is None
            assert found.names == [sent, sent]
            # A certificate that repeats another spelling is for nobody.
            assert (await found.reason(host, issued(cn=host)) is None) is host.isascii()
            for other in (f"{sent}.evil.example", "evil.example"):
                assert await found.reason(host, issued(dns(other))) == not_san(sent, f"DNS:{other}")

    run(main)


@pytest.mark.parametrize("host", ["a.example\0", "a.example\0.evil.example", "\0", "a example", "a.example\r\n", ""])
def test_hosts_that_are_none(run: Run, host: str) -> None:
    """CVE-2026-48930: an error at once, before anything is looked up or opened."""

    async def main() -> None:
        async with places() as found:
            identity = issued(dns("a.example"))
            for options in ({"host": host}, {"host": "127.0.0.1", "servername": host}):
                if options.get("servername") == "":
                    continue  # asks for no server name: the host counts
                asked: list[Any] = []
                keywords: dict[str, Any] = {**options, "ca": named.ca.cert_pem}
                with pytest.raises(aiotls.OptionError, match=r"host|servername"):
                    aiotls.connect(port=1, lookup=lambda *arguments, asked=asked: asked.append(arguments), **keywords)
                assert not asked
            assert await found.reason("a.example", identity) is None
            assert found.connections == 1

    run(main)


def test_no_host(run: Run, version: str) -> None:
    """CVE-2026-19553: without any name the server must be localhost; there is always a name that is checked."""

    async def main() -> None:
        async with places(version) as found:
            for options in ({}, {"servername": False}, {"servername": ""}, {"servername": None}):
                assert await found.reason(None, issued(dns("localhost")), **options) is None
                for wrong in (issued(dns("a.example")), issued(dns("")), issued(cn="*")):
                    assert await found.reason(None, wrong, **options) is not None
        near, far = await tcp_pair()
        identity = issued(dns("a.example"))
        server = aiotls.TLSSocket(far, is_server=True, cert=identity.cert_pem, key=identity.key_pem)
        client = aiotls.TLSSocket(near, ca=named.ca.cert_pem)
        refused, alerted = await asyncio.gather(client, server, return_exceptions=True)
        assert isinstance(refused, aiotls.ServerIdentityError)
        assert refused.host == "localhost"
        assert isinstance(alerted, aiotls.AlertReceived)

    run(main)


@pytest.mark.parametrize("given", [{}, *({"reject_unauthorized": value} for value in (None, 0, "", (), True))])
def test_what_does_not_turn_verification_off(run: Run, given: dict[str, Any]) -> None:
    """CVE-2021-22939: neither an absent option, nor None, nor anything else that is only false."""

    async def main() -> None:
        async with places() as found:
            wrong = issued(dns("b.example"))
            assert await found.reason("a.example", wrong, **given) == not_san("a.example", "DNS:b.example")
            client = found.connect("a.example", wrong, reject_unauthorized=False)
            async with client:
                assert not client.authorized
                assert client.authorization_error == "ERR_TLS_CERT_ALTNAME_INVALID"
                await client.read()

    run(main)


@pytest.mark.parametrize(
    "other",
    [
        typed(x509.OtherName(USER_PRINCIPAL_NAME, der(0x0C, b"a.example"))),
        typed(x509.OtherName(ObjectIdentifier("1.2.3"), der(0x02, b"\x7f"))),
        typed(x509.OtherName(ObjectIdentifier("1.2.3"), der(0x05, b""))),
        typed(x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example")]))),
    ],
)
def test_names_of_other_kinds(run: Run, version: str, other: bytes) -> None:
    """CVE-2024-6119: they are read past, and compared with no host; the process lives."""

    async def main() -> None:
        async with places(version) as found:
            assert await found.reason("a.example", issued(other)) == "Cert does not contain a DNS name"
            assert await found.reason("a.example", issued(other, dns("a.example"), other)) is None
            assert await found.reason("127.0.0.1", issued(other)) == not_ip("127.0.0.1")

    run(main)


@pytest.mark.parametrize("case", UNREADABLE_NAMES)
def test_names_that_cannot_be_read(run: Run, case: str) -> None:
    """The common name does not count in their place, whether or not OpenSSL finds something in them."""

    async def main() -> None:
        # An OpenSSL that is a server of TLS 1.2 does not show such a certificate at all.
        async with places("TLSv1.3") as found:
            identity = issued(san=UNREADABLE_NAMES[case], cn="cn.example")
            with pytest.raises(aiotls.VerificationError) as caught:
                await found.connect("cn.example", identity)
            if isinstance(caught.value, aiotls.ServerIdentityError):
                assert caught.value.reason == UNREADABLE
                assert caught.value.code == "ERR_TLS_CERT_ALTNAME_FORMAT"
            client = found.connect("cn.example", identity, reject_unauthorized=False)
            async with client:
                assert not client.authorized
                assert client.authorization_error is not None
                await client.read()

    run(main)


@needs("openssl")
def test_openssl_as_server(run: Run, tmp_path: Path) -> None:
    """The verdicts do not depend on who shows the certificate."""

    async def main() -> None:
        files = issued(dns("*.a.example"), dns("evil.example\0.b.example"), cn="cn.example").write(tmp_path)
        async with openssl_server("-cert", files.cert, "-key", files.key) as peer:
            for host, good in (
                ("b.a.example", True),
                ("a.example", False),
                ("evil.example", False),
                ("cn.example", False),
            ):
                client = aiotls.connect(peer.port, host, ca=named.ca.cert_pem, lookup=lambda *_: "127.0.0.1")
                if good:
                    assert (await client).authorized
                else:
                    with pytest.raises(aiotls.ServerIdentityError):
                        await client
                await gone(client)

    run(main)
