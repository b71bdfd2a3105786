"""Known vulnerabilities in what reads certificates, shown to be none here; each is a handshake that must end."""

import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import aiotls
from aiotls.certificate import PeerCertificate
from tests.conftest import Run
from tests.hostile.handmade import CIPHER, HandmadeClient, Refused
from tests.support import odd_certificates as odd
from tests.support.odd_catalogue import CATALOGUE, made
from tests.support.odd_certificates import (
    certificate,
    common_name,
    credentials,
    explicit_curve,
    extension,
    sequence,
    tlv,
)
from tests.support.pairs import gone, tcp_pair
from tests.support.pki import Named, named
from tests.support.servers import echo, serving, to
from tests.support.visits import Host, staying

ROOT = common_name(b"root")
CRL_DISTRIBUTION_POINTS, ISSUING_DISTRIBUTION_POINT, NAME_CONSTRAINTS = "2.5.29.31", "2.5.29.28", "2.5.29.30"


def pem(label: str, der: bytes) -> bytes:
    return odd.pem(der).replace(b"CERTIFICATE", label.encode())


async def verdict(*chain: bytes, **options: Any) -> str | None:
    """What a server makes of a client with this chain: None when it lets him in, else the code of the error."""
    async with serving(request_cert=True, **options) as server:
        host = Host(server)
        visit = await host.visit(**credentials(*chain))
        good = await host.visit(cert=named.client_ec.chain_pem, key=named.client_ec.key_pem)
        assert good.refusal is not None, "the server lives, and knows the client as a stranger"
        return None if visit.welcome else visit.refusal.code


# ---- names of distribution points


def distribution_point(*names: bytes) -> bytes:
    return tlv(0xA0, tlv(0xA0, *names))


def crl(*names: bytes) -> bytes:
    """A revocation list of the root that revokes nobody, for the distribution point of these names."""
    algorithm = sequence(odd.oid("1.2.840.10045.4.3.2"))
    point = extension(ISSUING_DISTRIBUTION_POINT, sequence(distribution_point(*names)), odd.TRUE)
    to_be_signed = sequence(
        odd.integer(1),
        algorithm,
        ROOT,
        tlv(odd.UTC_TIME, b"200101000000Z"),
        tlv(odd.UTC_TIME, b"491231235959Z"),
        tlv(0xA0, sequence(point)),
    )
    signature = odd.KEY.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    return pem("X509 CRL", sequence(to_be_signed, algorithm, tlv(odd.BITS, b"\0", signature)))


def party(assigner: bytes, name: bytes, tag: int = odd.UTF8) -> bytes:
    assigned = tlv(0xA0, tlv(tag, assigner)) if assigner else b""
    return tlv(0xA5, assigned, tlv(0xA1, tlv(tag, name)))


X400 = tlv(0xA3, sequence(tlv(0x61, tlv(odd.PRINTABLE, b"DE"))))
OTHER_X400 = tlv(0xA3, sequence(tlv(0x61, tlv(odd.PRINTABLE, b"AT"))))

POINTS: dict[str, tuple[bytes, bytes]] = {
    "party": (party(b"", b"party"), party(b"", b"another")),
    "party with assigner": (party(b"a", b"party"), party(b"", b"party")),
    "party of another type": (party(b"a", b"party"), party(b"a", b"party", odd.PRINTABLE)),
    "x400": (X400, OTHER_X400),
    "x400, shorter": (X400, tlv(0xA3, sequence())),
    "x400 and party": (X400, party(b"a", b"party")),
    "othername": (odd.other_name(odd.XMPP, odd.UTF8, b"a"), odd.other_name(odd.XMPP, odd.IA5, b"a")),
    "directory": (odd.directory_name([(odd.L, odd.UTF8, b"a")]), X400),
    "registered": (odd.registered(odd.CN), odd.address(b"\x55\4\3")),
}


@pytest.mark.parametrize("which", POINTS)
def test_cve_2020_1971_and_cve_2023_0286(run: Run, which: str) -> None:
    """CVE-2020-1971, CVE-2023-0286: EDIPartyName and X.400 names of revocation lists, compared with a certificate's."""

    async def main() -> None:
        one, other = POINTS[which]
        points = extension(CRL_DISTRIBUTION_POINTS, sequence(sequence(distribution_point(one))))
        root = certificate(subject=ROOT, extensions=[odd.constraints(odd.TRUE), points])
        leaf = certificate(issuer=ROOT, extensions=[points, odd.alternative_names(one, other)])
        for der in (root, leaf):
            odd.examine(der)
        trusting = {"ca": odd.pem(root)}
        assert await verdict(leaf, **trusting, crl=crl(one)) is None
        assert await verdict(leaf, **trusting, crl=crl(other)) is not None
        assert await verdict(leaf, **trusting, crl=[crl(other), crl(one)]) is None

    run(main)


# ---- keys


LOOPING = {
    # p is no prime; the square root of b modulo p is what was looked for without end.
    "generator": explicit_curve(697, 0, 696, b"\2\0\0", 5),
    "larger": explicit_curve(697, 1, 696, b"\3\0\0", 691),
    "even": explicit_curve(698, 0, 696, b"\2\0\0", 5),
    "zero": explicit_curve(256, 0, 0, b"\2\0\0", 0),
    "point": explicit_curve(697, 0, 1, b"\4\0\0\0\1", 5),
}


@contextlib.asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[tuple[Callable[..., Any], list[Any]]]:
    """A server that asks for certificates; how to show it some, and what it told."""
    told: list[Any] = []

    def accept(socket: aiotls.TLSSocket) -> None:
        odd.examine(socket.get_peer_certificate(True) or PeerCertificate())
        told.append("secure")
        socket.on("error", lambda _: None)
        socket.on("data", socket.write)

    options = {"ciphers": f"{CIPHER}:TLS_AES_128_GCM_SHA256", "request_cert": True, "ca": named.ca.cert_pem, **options}
    async with serving(accept, **options) as server:
        server.on("tls_client_error", lambda error, _: told.append(error))

        async def show(*chain: bytes) -> bool:
            near, far = await tcp_pair()
            server.handle_connection(far)
            with near:
                try:
                    client = await HandmadeClient.connected(near, chain, odd.KEY)
                    await client.write(b"x")
                    return await client.read() == b"x"
                except Refused:
                    return False

        yield show, told


@pytest.mark.parametrize("reject", [False, True])
@pytest.mark.parametrize("which", LOOPING)
def test_cve_2022_0778(run: Run, which: str, reject: bool) -> None:
    """CVE-2022-0778: keys on curves that are spelt out and are none, of a leaf and of its issuer."""

    async def main() -> None:
        for point in (b"\2\0\0", b"\3\0\0", odd.POINT):
            key = odd.public_key(odd.EC, point, LOOPING[which])
            der = certificate(key=key)
            odd.examine(der)
            assert PeerCertificate(der).asn1_curve is None
            leaf = certificate(subject=common_name(b"leaf"), issuer=common_name(b"odd"))
            async with listening(reject_unauthorized=reject) as (show, told):
                assert not await show(der)
                await show(leaf, der)
                assert len(told) == 2
                assert isinstance(told[0], aiotls.TLSError)
                told.clear()
                assert await show(named_client()) is True

    def named_client() -> bytes:
        issued = named.ca.issue(key=odd.KEY, purposes=["client"], common_name="client")
        return issued.der

    run(main)


# ---- mailboxes


def mailbox(address: str) -> bytes:
    return odd.alternative_names(odd.other_name(odd.MAILBOX, odd.UTF8, address.encode()))


def permitting(*names: bytes) -> bytes:
    """The root, which permits these names alone."""
    constraints = extension(NAME_CONSTRAINTS, sequence(tlv(0xA0, *map(sequence, names))), odd.TRUE)
    return certificate(subject=ROOT, extensions=[odd.constraints(odd.TRUE), constraints])


PUNYCODE = {
    "long": b"xn--" + b"a" * 600,
    "many labels": b".".join([b"xn--maana-pta"] * 200),
    "at the limit": b"xn--" + b"a" * 508 + b"-" + b"9" * 3,
    "overflowing": b"xn--" + b"9" * 500,
    "dots": b"." * 600,
    "nothing": b"xn--",
    "broken": b"xn--\xff\xff",
    "nul": b"xn--a\0b",
}


@pytest.mark.parametrize("which", PUNYCODE)
@pytest.mark.parametrize("kind", [odd.email, odd.dns])
def test_cve_2022_3602_and_cve_2022_3786(run: Run, which: str, kind: Callable[[bytes], bytes]) -> None:
    """CVE-2022-3602, CVE-2022-3786: punycode in the constraint that an internationalised mailbox is held against."""

    async def main() -> None:
        root = permitting(kind(PUNYCODE[which]))
        for address in ("ü@example.com", "ü@" + "ä" * 300 + ".example", "@", "ü", ""):
            leaf = certificate(issuer=ROOT, extensions=[mailbox(address)])
            for der in (root, leaf):
                odd.examine(der)
            code = await verdict(leaf, ca=odd.pem(root))
            assert code is not None or kind is odd.dns or which == "nothing"

    run(main)


def test_mailboxes_that_are_permitted(run: Run) -> None:
    """The same way leads to a yes where the mailbox lies within the constraint."""

    async def main() -> None:
        for constraint in (b"example.com", b"xn--mgbh0fb.example"):
            root = permitting(odd.email(constraint))
            within = certificate(issuer=ROOT, extensions=[mailbox(f"ü@{constraint.decode().encode().decode('idna')}")])
            without = certificate(issuer=ROOT, extensions=[mailbox("ü@example.org")])
            assert await verdict(within, ca=odd.pem(root)) is None
            assert await verdict(without, ca=odd.pem(root)) == "PERMITTED_VIOLATION"

    run(main)


# ---- othernames

OTHER_NAMES = {
    "service": odd.other_name(odd.SRV, odd.IA5, b"_x.localhost"),
    "mailbox": odd.other_name(odd.MAILBOX, odd.UTF8, b"a@localhost"),
    "xmpp": odd.other_name(odd.XMPP, odd.UTF8, b"localhost"),
    "xmpp of another type": odd.other_name(odd.XMPP, odd.IA5, b"localhost"),
    "principal": odd.other_name(odd.UPN, odd.UTF8, b"localhost"),
    "unknown": odd.other_name(odd.UNKNOWN, odd.UTF8, b"localhost"),
    "of no text": odd.other_name(odd.UNKNOWN, odd.SEQUENCE, tlv(odd.UTF8, b"localhost")),
    "null": odd.other_name(odd.XMPP, odd.NULL, b""),
    "boolean": odd.other_name(odd.XMPP, odd.BOOLEAN, b"\xff"),
}


@pytest.mark.parametrize("which", OTHER_NAMES)
def test_cve_2024_6119(run: Run, which: str) -> None:
    """CVE-2024-6119: an otherName is neither a host name nor an address; beside one it does no harm."""

    async def main() -> None:
        other = OTHER_NAMES[which]
        for names, common, good in (
            ([other], b"localhost", True),
            ([other], b"somebody", False),
            ([other, odd.dns(b"localhost")], b"somebody", True),
            ([odd.dns(b"a.example"), other], b"localhost", False),
        ):
            der = certificate(subject=common_name(common), extensions=[odd.alternative_names(*names)])
            async with serving(echo, **credentials(der)) as server:
                client = to(server, ca=odd.pem(der))
                if good:
                    async with staying(client):
                        assert client.authorized
                else:
                    with pytest.raises(aiotls.ServerIdentityError):
                        await client
                client = to(server, ca=odd.pem(der), servername=False)
                with pytest.raises(aiotls.ServerIdentityError):
                    await client
                await gone(client)

    run(main)


# ---- memory


def resident() -> int:
    """The resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(step: Callable[[], object], times: int) -> int:
    """By how much the memory grows in the later two thirds of these steps."""
    before = 0
    for number in range(times):
        if number == times // 3:
            gc.collect()
            before = resident()
        step()
    gc.collect()
    return resident() - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_cve_2018_1000807(pki: Named) -> None:
    """CVE-2018-1000807, CVE-2018-1000808: certificates are loaded and freed over and over; the memory does not grow."""
    untaken = ("key: ", "from: bad")  # not every OpenSSL takes them
    ders = [made(which) for which in [*CATALOGUE][::4] if "64 KiB" not in which and not which.startswith(untaken)]
    assert len(ders) > 50
    pems = [odd.pem(der) for der in ders]
    chain = pki.server_ec.chain_pem + b"".join(pems)

    def contexts() -> None:
        aiotls.create_secure_context(cert=chain, key=pki.server_ec.key_pem)
        aiotls.create_secure_context(ca=pems)
        with pytest.raises(aiotls.OptionError):
            aiotls.create_secure_context(cert=chain + b"-----BEGIN CERTIFICATE-----\nAA", key=pki.server_ec.key_pem)

    def objects() -> None:
        for der in ders:
            found = PeerCertificate.from_chain([der, der])
            found.to_dict()
            with contextlib.suppress(ValueError):
                found.x509  # noqa: B018

    assert slope(contexts, 60) < 2 << 20, "the certificates of a context take some 200 KiB"
    assert slope(objects, 90) < 2 << 20, "those of a round take some 100 KiB"
