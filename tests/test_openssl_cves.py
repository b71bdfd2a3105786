"""Known vulnerabilities of OpenSSL, looked for through a connection: certificates and messages that once did harm."""

import asyncio
import base64
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import aiotls
from tests.conftest import Run
from tests.hostile.records import HANDSHAKE, SERVER_CIPHERS, RecordPeer, plain_record
from tests.support.bad_servers import BadServer, behaving
from tests.support.odd_catalogue import EXPLICIT_P_256
from tests.support.odd_certificates import (
    BITS,
    EC,
    KEY,
    MAILBOX,
    OCTETS,
    PARTY_NAME,
    POINT,
    TRUE,
    UTC_TIME,
    UTF8,
    X400_ADDRESS,
    alternative_names,
    certificate,
    common_name,
    constraints,
    dns,
    email,
    explicit_curve,
    extension,
    integer,
    key_usage,
    oid,
    other_name,
    pem,
    public_key,
    sequence,
    tlv,
)
from tests.support.pairs import until
from tests.support.pki import Authority, named
from tests.support.servers import echo, serving, to

ROOT = Path(__file__).parent.parent
LOCALHOST = alternative_names(dns(b"localhost"))


def test_the_version_of_openssl() -> None:
    """CVE-2020-1971, CVE-2021-3449, CVE-2021-3450, CVE-2022-0778, CVE-2022-3602, CVE-2022-3786, CVE-2023-0286:
    the linked OpenSSL is one in which they are mended."""
    words = re.match(r"OpenSSL (\d+)\.(\d+)\.(\d+) ", aiotls.openssl_version)
    assert words is not None
    assert tuple(map(int, words.groups())) >= (3, 0, 8)


def test_no_decryption_with_rsa_of_our_own() -> None:
    """CVE-2023-46809: nothing of ours decrypts PKCS#1 v1.5; the RSA key exchange is OpenSSL's, which tells nothing."""
    pattern = re.compile(r"private_decrypt|EVP_PKEY_decrypt|pkey_ctx.*decrypt|Decrypter|PKCS1v15\(\)")
    sources = [*(ROOT / "native" / "src").rglob("*.rs"), *(ROOT / "src" / "aiotls").rglob("*.py")]
    assert len(sources) > 50
    assert [source.name for source in sources if pattern.search(source.read_text())] == []


# ---- certificates that harm OpenSSL


class Shown:
    """Servers of TLS 1.2 that show these certificates, and say no more."""

    def __init__(self, *chain: bytes) -> None:
        listed = b"".join(len(each).to_bytes(3, "big") + each for each in chain)
        body = len(listed).to_bytes(3, "big") + listed
        self.message = b"\x0b" + len(body).to_bytes(3, "big") + body
        self.alerts: list[str] = []

    async def behave(self, server: BadServer) -> None:
        hello = server.server_hello(await server.flight())
        pieces = [self.message[start : start + 2**14] for start in range(0, len(self.message), 2**14)]
        await server.send(hello + b"".join(plain_record(HANDSHAKE, piece) for piece in pieces))
        server.hang_up()
        self.alerts.append(await server.told())


async def verdict(chain: Sequence[bytes], **options: Any) -> tuple[str, str]:
    """The code of the client's error and its alert; ECONNRESET and nothing when it has no objection."""
    shown = Shown(*chain)
    async with behaving(shown.behave, version="TLSv1.2") as stage:
        visitor = stage.visitor(**options)
        error = await visitor.failed()
        assert visitor.secure == 0
        assert isinstance(error, aiotls.TLSError)
        async with serving(echo) as good, to(good) as client:
            client.end(b"and the next")
            assert await client.read() == b"and the next"
    return error.code, shown.alerts[0]


def root(*extensions: bytes, name: bytes = b"root") -> bytes:
    """A trusted authority."""
    return certificate(subject=common_name(name), extensions=[constraints(TRUE), key_usage(5, 6), *extensions])


def leaf(
    *extensions: bytes, subject: bytes = b"leaf", issuer: bytes = b"root", names: bytes = LOCALHOST, **parts: Any
) -> bytes:
    """A server's certificate of that authority, for localhost."""
    who = {"subject": common_name(subject), "issuer": common_name(issuer), **parts}
    return certificate(extensions=[names, *extensions], **who)


def test_a_good_one(run: Run) -> None:
    """What the tests below change is otherwise in order."""

    async def main() -> None:
        assert await verdict([leaf(), root()], ca=pem(root())) == ("ECONNRESET", "")
        code, alert = await verdict([leaf(), root()])
        assert (code, alert) == ("SELF_SIGNED_CERT_IN_CHAIN", "unknown_ca")

    run(main)


def revocation_list(*extensions: bytes) -> bytes:
    """A CRL of the authority, as PEM, with nobody in it."""
    algorithm = sequence(oid("1.2.840.10045.4.3.2"))
    to_be_signed = sequence(
        integer(1),
        algorithm,
        common_name(b"root"),
        tlv(UTC_TIME, b"200101000000Z"),
        tlv(UTC_TIME, b"491231235959Z"),
        tlv(0xA0, sequence(*extensions)) if extensions else b"",
    )
    signature = KEY.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    der = sequence(to_be_signed, algorithm, tlv(BITS, b"\0", signature))
    return b"-----BEGIN X509 CRL-----\n" + base64.encodebytes(der) + b"-----END X509 CRL-----\n"


PARTY = {
    "party": PARTY_NAME,
    "party-and-assigner": tlv(0xA5, tlv(0xA0, tlv(UTF8, b"assigner")), tlv(0xA1, tlv(UTF8, b"party"))),
}
X400 = {"x400-empty": X400_ADDRESS, "x400": tlv(0xA3, sequence(tlv(0x61, tlv(0x13, b"AB"))), tlv(OCTETS, b"\xff" * 16))}


@pytest.mark.parametrize("name", [*PARTY, *X400])
def test_cve_2020_1971(run: Run, name: str) -> None:
    """CVE-2020-1971, CVE-2023-0286: distribution points named by an EDIPartyName or an X.400 address, compared."""

    async def main() -> None:
        point = {**PARTY, **X400}[name]
        where = tlv(0xA0, tlv(0xA0, point))
        points = extension("2.5.29.31", sequence(sequence(where)))
        chain = [leaf(points), root(points)]
        issuing = extension("2.5.29.28", sequence(where), TRUE)
        elsewhere = extension("2.5.29.28", sequence(tlv(0xA0, tlv(0xA0, dns(b"x")))), TRUE)
        for lists in (revocation_list(issuing), revocation_list()):
            assert await verdict(chain, ca=pem(root(points)), crl=lists) == ("ECONNRESET", "")
        code, alert = await verdict(chain, ca=pem(root(points)), crl=revocation_list(elsewhere))
        assert code in ("UNABLE_TO_GET_CRL", "DIFFERENT_CRL_SCOPE")
        assert alert

    run(main)


def test_cve_2021_3450(run: Run) -> None:
    """CVE-2021-3450: a certificate that is no authority issues another, with a curve of either form: INVALID_CA."""

    async def main() -> None:
        refused = {"INVALID_CA", "INVALID_PURPOSE"}
        for key in ("ec", "rsa"):
            issuer = named.ca.issue(["localhost"], key=key, key_usage=None, purposes=())
            forged = Authority(issuer.certificate, issuer.key, issuer.intermediates).issue(["localhost"], key="ec")
            code, alert = await verdict([forged.der, issuer.der])
            assert code in refused
            assert alert
        for middle in (leaf(subject=b"none"), leaf(subject=b"none", key=public_key(EC, POINT, EXPLICIT_P_256))):
            code, alert = await verdict([leaf(issuer=b"none"), middle, root()], ca=pem(root()))
            assert code in refused
            assert alert

    run(main)


COMPOSITES = (9, 15, 21, 33, 561, 697, 2**61 + 1, 3 * (2**127 - 1), (2**64 - 59) * (2**64 - 83))
"""No primes, of which a square root is asked."""


@pytest.mark.parametrize("place", ["leaf", "authority"])
def test_cve_2022_0778(run: Run, place: str) -> None:
    """CVE-2022-0778: a curve over a composite "field" whose point is compressed: an answer, not an endless search."""

    async def main() -> None:
        for number, p in enumerate(COMPOSITES):
            size = (p.bit_length() + 7) // 8
            point = b"\x02" + (8 % p).to_bytes(size, "big")
            key = public_key(EC, point, explicit_curve(p, 379 % p, 65 + number, point, p - 2))
            chain = [leaf(key=key), root()] if place == "leaf" else [leaf(issuer=b"odd"), leaf(subject=b"odd", key=key)]
            code, alert = await verdict(chain, ca=pem(root()))
            assert code != "ECONNRESET", "it was taken for good"
            assert alert

    run(main)


PUNYCODE = {
    "long": b"xn--" + b"a" * 600,
    "longest": b"xn--" + b"a" * 60 + (b".xn--" + b"9" * 58) * 40,
    "many-dots": b"xn--ls8h." * 400,
    "four-bytes": b"xn--" + b"z" * 510 + b".xn--ls8h",
    "overflow": b"xn--" + b"9" * 400 + b"-" + b"9" * 100,
    "only-prefix": b"xn--",
}
"""Domains that were too much for OpenSSL's decoder of punycode."""
SNOWMAN, OF_SNOWMAN = b"xn--n3h.example", "user@\u2603.example"
PERMITTED, EXCLUDED = 0xA0, 0xA1


async def mailbox_verdict(domain: bytes, mailbox: str, kind: int = PERMITTED) -> str:
    """The code for a certificate with this mailbox under an authority that is limited to, or by, this domain."""
    trusted = root(extension("2.5.29.30", sequence(tlv(kind, sequence(email(domain)))), TRUE))
    names = alternative_names(dns(b"localhost"), other_name(MAILBOX, UTF8, mailbox.encode()))
    code, alert = await verdict([leaf(names=names), trusted], ca=pem(trusted))
    assert bool(alert) is (code != "ECONNRESET")
    return code


def test_mailboxes_are_matched(run: Run) -> None:
    """CVE-2022-3602, CVE-2022-3786: the decoder is what decides."""

    async def main() -> None:
        assert await mailbox_verdict(SNOWMAN, OF_SNOWMAN) == "ECONNRESET"
        assert await mailbox_verdict(SNOWMAN, OF_SNOWMAN, EXCLUDED) == "EXCLUDED_VIOLATION"
        assert await mailbox_verdict(SNOWMAN, "user@\u2604.example") == "PERMITTED_VIOLATION"

    run(main)


@pytest.mark.parametrize("name", PUNYCODE)
def test_cve_2022_3602(run: Run, name: str) -> None:
    """CVE-2022-3602, CVE-2022-3786: punycode in the name constraints of a trusted authority: refused, no overflow."""

    async def main() -> None:
        domain = PUNYCODE[name]
        for mailbox in (OF_SNOWMAN, "user@" + "\U0001f4a9" * 200, "user@" + domain.decode("ascii")):
            assert await mailbox_verdict(domain, mailbox) in {
                "PERMITTED_VIOLATION",
                "UNSUPPORTED_NAME_SYNTAX",
                "UNSPECIFIED",
            }
            await mailbox_verdict(domain, mailbox, EXCLUDED)

    run(main)


# ---- messages that harm OpenSSL


def test_cve_2021_3449(run: Run, tmp_path: Path) -> None:
    """CVE-2021-3449: a renegotiation with signature_algorithms_cert alone, as its first hello was not; it lives."""

    async def main() -> None:
        failed: list[Any] = []

        def accept(socket: aiotls.TLSSocket) -> None:
            socket.on("error", failed.append)
            socket.on("data", socket.write)

        async with serving(accept, ciphers=SERVER_CIPHERS) as server:
            peer = await RecordPeer.connected(server, "TLSv1.2", tmp_path)
            proof = peer._tls.get_channel_binding("tls-unique")
            assert proof is not None
            await peer.send(peer.record(HANDSHAKE, renegotiating_hello(proof)))
            answer = await asyncio.get_running_loop().sock_recv(peer.end, 65536)
            assert answer[0] in (21, 22), "a ServerHello or an alert"
            peer.end.close()
            await until(lambda: not server.get_connections())
            async with to(server) as client:
                client.end(b"and the next")
                assert await client.read() == b"and the next"

    run(main)


def renegotiating_hello(proof: bytes) -> bytes:
    """A ClientHello that offers one cipher, and no signature algorithms but for certificates."""
    extensions = {
        0xFF01: bytes([len(proof)]) + proof,
        10: b"\x00\x02\x00\x17",
        11: b"\x01\x00",
        50: b"\x00\x04\x04\x03\x08\x04",
    }
    listed = b"".join(struct.pack("!HH", kind, len(body)) + body for kind, body in extensions.items())
    hello = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\xc0\x2b" + b"\x01\x00" + struct.pack("!H", len(listed))
    hello += listed
    return b"\x01" + len(hello).to_bytes(3, "big") + hello
