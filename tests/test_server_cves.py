"""Known vulnerabilities of other TLS layers, shown to be none of ours: those that concern servers."""

import asyncio
import contextlib
import itertools
import socket as sockets
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

import aiotls
from tests.conftest import Run
from tests.hostile.handmade import CIPHER, HandmadeClient, Refused
from tests.support.pairs import MemoryDuplex, server_options, tcp_pair, until
from tests.support.pki import Identity, named
from tests.support.servers import echo, port_of, serving, to

SUBJECT_ALT_NAME = ObjectIdentifier("2.5.29.17")
AUTHORITY_INFO_ACCESS = ObjectIdentifier("1.3.6.1.5.5.7.1.1")
CLIENT_KEY = ec.generate_private_key(ec.SECP256R1())
POINT = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


# ---- certificates that no certificate authority would issue


def rewritten(identity: Identity, old: bytes, new: bytes) -> bytes:
    """The certificate, as it travels, with other bytes in it, signed again."""
    der = identity.der
    to_be_signed = identity.certificate.tbs_certificate_bytes
    assert to_be_signed.count(old) == 1
    assert len(old) == len(new)
    changed = to_be_signed.replace(old, new)
    rest = der[der.index(to_be_signed) + len(to_be_signed) :]
    algorithm = rest[: 2 + rest[1]]
    issuer_key = named.ca.key
    assert isinstance(issuer_key, rsa.RSAPrivateKey)
    signature = b"\0" + issuer_key.sign(changed, padding.PKCS1v15(), hashes.SHA256())
    body = changed + algorithm + b"\x03" + _length(len(signature)) + signature
    return b"\x30" + _length(len(body)) + body


def _length(size: int) -> bytes:
    if size < 128:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def client_named(value: bytes, tag: int) -> bytes:
    """A client certificate whose organization is this value of an ASN.1 type."""
    stars = "*" * len(value)
    attributes = [(NameOID.ORGANIZATION_NAME, stars)]
    identity = named.ca.issue(key=CLIENT_KEY, purposes=["client"], common_name="client", attributes=attributes)
    size = _length(len(value))
    return rewritten(identity, b"\x0c" + size + stars.encode(), bytes([tag]) + size + value)


def client_extended(oid: ObjectIdentifier, value: bytes) -> bytes:
    """A client certificate with an extension of this content."""
    extension = (x509.UnrecognizedExtension(oid, value), False)
    return named.ca.issue(key=CLIENT_KEY, purposes=["client"], common_name="client", extensions=[extension]).der


ODD_CLIENTS = {
    "plain": lambda: client_named(b"plain", 12),
    "bmp-string": lambda: client_named(b"\x04\x10\x04\x11", 30),
    "odd-bmp-string": lambda: client_named(b"\x04\x10\x04", 30),
    "universal-string": lambda: client_named(b"\x00\x11\xff\xff", 28),
    "broken-universal-string": lambda: client_named(b"\x00\x11\xff", 28),
    "teletex-string": lambda: client_named(b"caf\xe9", 20),
    "broken-utf-8": lambda: client_named(b"\xff\xfe\xc0\x80\xed\xa0\x80", 12),
    "high-bytes": lambda: client_named(b"caf\xe9\x00", 22),
    "nul": lambda: client_named(b"good\x00evil", 12),
    "integer": lambda: client_named(b"\x7f\xff", 2),
    "64-kibibytes": lambda: client_named(b"y" * 2**16, 12),
    "broken-names": lambda: client_extended(SUBJECT_ALT_NAME, b"\x30\x03\x82\xff\xff"),
    "no-names": lambda: client_extended(SUBJECT_ALT_NAME, b""),
    "short-address": lambda: client_extended(SUBJECT_ALT_NAME, b"\x30\x05\x87\x03\x01\x02\x03"),
    "party-name": lambda: client_extended(SUBJECT_ALT_NAME, b"\x30\x06\xa5\x04\xa1\x02\x0c\x00"),
    "x400": lambda: client_extended(SUBJECT_ALT_NAME, b"\x30\x04\xa3\x02\x30\x00"),
    "other-name": lambda: client_extended(
        SUBJECT_ALT_NAME, b"\x30\x14\xa0\x12\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x07\xa0\x06\x16\x04\x5f\x78\x2e\x61"
    ),
    "broken-access": lambda: client_extended(AUTHORITY_INFO_ACCESS, b"\x30\x84\xff\xff\xff\xff"),
}


REFUSED = ("ERR_SSL_ASN1_LIB", "ERR_OSSL_X509V3_INVALID_CERTIFICATE", "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
"""What OpenSSL may say of a certificate that cannot be parsed."""
LEGAL = {"plain", "bmp-string", "teletex-string", "64-kibibytes", "other-name"}


def look_at(certificate: Any) -> None:
    """Asks a certificate for everything it has; an exception is an answer, too."""
    fields = ("subject", "issuer", "subjectaltname", "info_access", "serial_number", "valid_to", "pubkey", "bits")
    for look in (*(lambda name=name: getattr(certificate, name) for name in fields), certificate.to_dict):
        with contextlib.suppress(Exception):
            repr(look())
    with contextlib.suppress(Exception):
        repr(certificate.x509.subject)
    repr(certificate)


@contextlib.asynccontextmanager
async def mutual(**options: Any) -> AsyncIterator[tuple[aiotls.Server, list[Any]]]:
    """A server that looks at the certificates of its clients, and what it told about them."""
    told: list[Any] = []

    def check(socket: aiotls.TLSSocket, certificate: aiotls.PeerCertificate) -> None:
        look_at(certificate)

    def accept(socket: aiotls.TLSSocket) -> None:
        for detailed in (False, True):
            with contextlib.suppress(ValueError):
                look_at(socket.get_peer_certificate(detailed))
        with contextlib.suppress(ValueError):
            socket.get_peer_x509_certificate()
        told.append("secure")
        socket.on("error", lambda _: None)
        socket.on("data", socket.write)

    settings = {
        "ciphers": f"{CIPHER}:TLS_AES_128_GCM_SHA256",
        "request_cert": True,
        "ca": named.ca.cert_pem,
        "check_client_identity": check,
        **options,
    }
    server = aiotls.create_server(accept, **server_options(**settings))
    server.on("tls_client_error", lambda error, _: told.append(error))
    async with server:
        await server.listen(0, "127.0.0.1")
        yield server, told
        await until(lambda: not server.get_connections())
        own = {"cert": named.client_ec.chain_pem, "key": named.client_ec.key_pem}
        client = await to(server, **own)
        client.write(b"x")
        assert await client.readexactly(1) == b"x"
        client.close()
        await client.wait_closed()


async def present(server: aiotls.Server, *chain: bytes) -> bytes:
    """Shows certificates; returns the answer, nothing when they were refused."""
    with sockets.create_connection(("127.0.0.1", port_of(server))) as near:
        try:
            client = await HandmadeClient.connected(near, chain, CLIENT_KEY)
            await client.write(b"x")
            return await client.read()
        except Refused:
            return b""


@pytest.mark.parametrize("reject", [True, False])
@pytest.mark.parametrize("case", ODD_CLIENTS)
def test_cve_2019_15604(run: Run, case: str, reject: bool) -> None:
    """CVE-2019-15604, CVE-2024-6119: odd strings and names in a client's certificate; the server lives."""

    async def main() -> None:
        async with mutual(reject_unauthorized=reject) as (server, told):
            answer = await present(server, ODD_CLIENTS[case]())
            await until(lambda: told)
            assert len(told) == 1
            assert (answer == b"x") == (told[0] == "secure"), told
            assert answer or (case not in LEGAL and told[0].code in REFUSED), told

    run(main)


@pytest.mark.parametrize("reject", [True, False])
def test_cve_2023_30588(run: Run, reject: bool) -> None:
    """CVE-2023-30588: a public key that is no point of its curve, in the certificate itself and in its chain."""

    async def main() -> None:
        good = named.ca.issue(key=CLIENT_KEY, purposes=["client"], common_name="client")
        point = CLIENT_KEY.public_key().public_bytes(*POINT)
        bad = rewritten(good, point, point[:33] + bytes(32))
        async with mutual(reject_unauthorized=reject) as (server, told):
            assert await present(server, good.der) == b"x"
            assert told == ["secure"]
            told.clear()
            await present(server, good.der, bad)
            await until(lambda: told)
            assert len(told) == 1
            told.clear()
            assert await present(server, bad, good.der) == b""
            await until(lambda: told)
            (error,) = told
            assert isinstance(error, aiotls.TLSError)

    run(main)


def test_cve_2024_6119(run: Run) -> None:
    """CVE-2024-6119: an otherName beside, or instead of, the name that is looked for."""

    async def main() -> None:
        other = x509.OtherName(ObjectIdentifier("1.3.6.1.5.5.7.8.7"), b"\x16\x09localhost")
        for names, good in (([other, x509.DNSName("localhost")], True), ([other], False)):
            extension = (x509.SubjectAlternativeName(names), False)
            identity = named.ca.issue(key="ec", common_name="somebody", extensions=[extension])
            async with aiotls.create_server(echo, cert=identity.chain_pem, key=identity.key_pem) as server:
                await server.listen(0, "127.0.0.1")
                if good:
                    async with to(server):
                        pass
                else:
                    with pytest.raises(aiotls.ServerIdentityError):
                        await to(server)

    run(main)


# ---- the order of things


ENDINGS = ("write", "end", "destroy", "close", "reset_and_destroy")


@pytest.mark.parametrize("event", ["secure", "data", "drain", "end", "finish", "close"])
def test_cve_2020_8265(run: Run, event: Any) -> None:
    """CVE-2020-8265: writing and every kind of ending, in every order, in callbacks that are called by them."""

    async def main() -> None:
        orders = list(itertools.permutations(ENDINGS, 3))
        waiting = iter(orders)
        sockets_seen: list[aiotls.TLSSocket] = []

        def accept(socket: aiotls.TLSSocket) -> None:
            order = next(waiting)
            sockets_seen.append(socket)
            socket.on("error", lambda _: None)

            def act(*_: Any) -> None:
                for name in order:
                    with contextlib.suppress(aiotls.StateError):
                        getattr(socket, name)(*([b"x" * 50_000] if name == "write" else []))

            socket.on(event, act)
            if event == "secure":
                act()
            socket.on("data", socket.write if event != "data" else lambda _: None)
            socket.write(bytes(300_000))
            if event in ("finish", "close"):
                socket.end()

        async with serving(accept, high_water_mark=1) as server:

            async def client() -> None:
                one = to(server)
                one.on("error", lambda _: None)
                one.on("data", lambda _: None)
                one.write(b"hello")
                one.end()
                await one.wait_for("close")

            for _ in range(0, len(orders), 10):
                await asyncio.gather(*(client() for _ in range(10)))
            await until(lambda: not server.get_connections())
            assert len(sockets_seen) == len(orders)
            assert all(socket.destroyed for socket in sockets_seen)

    run(main)


def test_cve_2023_40217(run: Run) -> None:
    """CVE-2023-40217: plain bytes that wait on a connection its peer has closed already are never application data."""

    async def main() -> None:
        async with serving() as server:
            told: list[Any] = []
            secure: list[Any] = []
            server.on("secure_connection", secure.append)
            server.on("tls_client_error", lambda error, _: told.append(error))
            for _ in range(10):
                with sockets.create_connection(("127.0.0.1", port_of(server))) as near:
                    near.sendall(b"DELETE /everything HTTP/1.1\r\n\r\n")
            await until(lambda: len(told) == 10)
            assert {error.code for error in told} <= {"ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_HTTP_REQUEST"}
            near, far = await tcp_pair()
            near.sendall(b"DELETE /everything HTTP/1.1\r\n\r\n")
            near.close()
            wrapped = aiotls.TLSSocket(far, is_server=True, **server_options())
            with pytest.raises(aiotls.PeerError):
                await wrapped.read()
            assert wrapped.bytes_read == 0
            assert secure == []

    run(main)


def test_cve_2023_23919(run: Run) -> None:
    """CVE-2023-23919: what many failures leave in OpenSSL's error queue harms no later, unrelated call."""

    async def main() -> None:
        async with mutual() as (server, told):
            for number in range(200):
                near, far = MemoryDuplex.pair()
                server.handle_connection(far)
                near.write(b"*" * 100 if number % 2 else b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")
                await near.drain()
                near.write_eof()
                with pytest.raises(aiotls.OptionError):
                    aiotls.create_secure_context(cert=b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
                if number % 20 == 0:
                    own = {"cert": named.client_ec.chain_pem, "key": named.client_ec.key_pem}
                    async with aiotls.create_server(echo, **server_options()) as other:
                        await other.listen(0, "127.0.0.1")
                        async with to(other, **own) as client:
                            client.end(b"x")
                            assert await client.read() == b"x"
            await until(lambda: len(told) == 200)

    run(main)


def test_int_03_an_unrelated_failure(run: Run) -> None:
    """INT-03: a call of OpenSSL that fails in the midst of a connection is no error of the connection."""

    async def main() -> None:
        async with serving(echo) as server:
            client = to(server)
            errors: list[Any] = []
            client.on("error", errors.append)
            async with client:
                for number in range(50):
                    client.write(b"%02d" % number)
                    with pytest.raises(aiotls.OptionError):
                        aiotls.create_secure_context(
                            cert=named.server.chain_pem, key=named.server_ec.key_pem_encrypted(b"x"), passphrase=b"y"
                        )
                    with pytest.raises(aiotls.OptionError):
                        aiotls.create_secure_context(ciphers="rick-128-roll")
                    assert await client.readexactly(2) == b"%02d" % number
                client.end()
                assert await client.read() == b""
            assert errors == []

    run(main)


@pytest.mark.parametrize("form", [[], b"", None], ids=["list", "wire", "none"])
def test_cve_2024_5642(run: Run, form: Any) -> None:
    """CVE-2024-5642: an empty list of protocols is no extension, on either side; an empty one of a peer is an error."""

    async def main() -> None:
        async with serving(echo, alpn_protocols=form) as server:
            async with to(server, alpn_protocols=["h2"]) as client:
                assert client.alpn_protocol is False
            async with to(server, alpn_protocols=form) as client:
                assert client.alpn_protocol is False
            asked: list[Any] = []
            async with serving(echo, alpn_callback=lambda *arguments: asked.append(arguments)) as asking:
                failed: list[Any] = []
                asking.on("tls_client_error", lambda error, _: failed.append(error))
                async with to(asking, alpn_protocols=form):
                    pass
                hello = _hello_offering_x()
                offer = b"\x00\x10\x00\x04\x00\x02\x01x"
                assert hello.count(offer) == 1
                for broken in (b"\x00\x10\x00\x04\x00\x00\x01x", b"\x00\x10\x00\x04\x00\x02\x00\x00"):
                    with sockets.create_connection(("127.0.0.1", port_of(asking))) as near:
                        near.setblocking(False)
                        loop = asyncio.get_running_loop()
                        await loop.sock_sendall(near, hello.replace(offer, broken))
                        assert (await loop.sock_recv(near, 100))[:1] == b"\x15"
                await until(lambda: len(failed) == 2)
                assert all(error.code.startswith("ERR_SSL_") for error in failed)
                assert asked == []

    run(main)


def _hello_offering_x() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["x"])
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()
