"""Clients that show odd and broken certificates to a server that looks at everything: it lives and serves the next."""

import asyncio
import contextlib
import socket as sockets
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.hostile.handmade import CIPHER, HandmadeClient, Refused
from tests.support import odd_certificates as odd
from tests.support.odd_catalogue import CATALOGUE, REFUSED, made
from tests.support.pairs import gone
from tests.support.pki import named
from tests.support.servers import port_of, serving, to

FAMILIES = sorted({which.partition(":")[0] for which in (*CATALOGUE, *REFUSED)})


class Looking:
    """A server that asks for certificates, examines them in each way there is, and echoes."""

    def __init__(self, server: aiotls.Server) -> None:
        self.server = server
        self.outcomes: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        """Of each connection the certificate, or why there is none."""

    def accept(self, socket: aiotls.TLSSocket) -> None:
        brief, detailed = socket.get_peer_certificate(), socket.get_peer_certificate(True)
        assert brief is not None
        assert brief == detailed
        odd.examine(brief)
        with contextlib.suppress(ValueError):
            socket.get_peer_x509_certificate()
        self.outcomes.put_nowait(brief.raw)
        socket.on("error", lambda _: None)
        socket.on("data", socket.write)

    async def heard(self, *chain: bytes) -> bytes | Exception:
        """What becomes of a client that shows these certificates, made by hand up to the last byte."""
        with sockets.create_connection(("127.0.0.1", port_of(self.server))) as end:
            end.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            try:
                client = await HandmadeClient.connected(end, chain, odd.KEY)
                await client.write(b"x")
                assert await client.read() == b"x"
            except Refused:
                outcome = await self.outcomes.get()
                assert isinstance(outcome, aiotls.TLSError)
                return outcome
        outcome = await self.outcomes.get()
        assert outcome == chain[0]
        return outcome


@contextlib.asynccontextmanager
async def looking(**options: Any) -> AsyncIterator[Looking]:
    """At the end a good client must be served, and nobody else may have been heard of."""

    def check(_: aiotls.TLSSocket, certificate: aiotls.PeerCertificate) -> None:
        odd.examine(certificate)

    asking = {"request_cert": True, "ca": named.ca.cert_pem, "check_client_identity": check}
    ciphers = {"ciphers": f"{CIPHER}:TLS_AES_128_GCM_SHA256:@SECLEVEL=0"}
    async with serving(**{**asking, **ciphers, **options}) as server:
        host = Looking(server)
        server.on("secure_connection", host.accept)
        server.on("tls_client_error", lambda error, _: host.outcomes.put_nowait(error))
        yield host
        client = await to(server, cert=named.client_ec.chain_pem, key=named.client_ec.key_pem)
        client.write(b"good")
        assert await client.readexactly(4) == b"good"
        assert await host.outcomes.get() == named.client_ec.der
        await gone(client)
        assert host.outcomes.empty()


@pytest.mark.parametrize("reject", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_odd_certificates(run: Run, family: str, reject: bool) -> None:
    """CVE-2019-15604, CVE-2023-30588: TLS 1.2; let in or refused, by name of the error, and the server lives."""

    async def main() -> None:
        async with looking(reject_unauthorized=reject) as host:
            let_in = set()
            for which in (each for each in (*CATALOGUE, *REFUSED) if each.startswith(f"{family}:")):
                outcome = await host.heard(made(which))
                if isinstance(outcome, bytes):
                    let_in.add(which)
            assert not let_in & REFUSED.keys() - CATALOGUE.keys()
            if reject:
                assert not let_in, "nobody of them is known"
            elif family == "subject":
                assert let_in >= {"subject: string bmp", "subject: string nul", "subject: repeated"}
            elif family in ("name", "extension", "serial"):
                assert let_in

    run(main)


def test_odd_certificates_in_a_chain(run: Run) -> None:
    """CVE-2023-30588: the same behind a good leaf, as its issuer."""

    async def main() -> None:
        good = named.client_ec
        leaf = odd.certificate(subject=odd.common_name(b"leaf"), issuer=odd.common_name(b"odd"))
        async with looking(reject_unauthorized=False) as host:
            for which in (*CATALOGUE, *REFUSED):
                await host.heard(leaf, made(which), good.der)

    run(main)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_odd_certificates_of_a_real_client(run: Run, version: str) -> None:
    """What a client on OpenSSL can load is seen by the server, in both versions, as it is."""

    async def main() -> None:
        seen = 0
        async with looking(reject_unauthorized=False, max_version=version) as host:
            for which in CATALOGUE:
                if which.startswith(("key: ", "from: utc", "to: ")):
                    continue
                der = made(which)
                try:
                    client = await to(host.server, **odd.credentials(der))
                except aiotls.OptionError:
                    continue
                except aiotls.PeerError:
                    assert isinstance(await host.outcomes.get(), Exception)
                    continue
                outcome = await host.outcomes.get()
                if isinstance(outcome, bytes):
                    assert outcome == der
                    seen += 1
                await gone(client)
        assert seen > 150

    run(main)


def test_broken_certificates(run: Run) -> None:
    """Cut short, with bits flipped, of other elements: refused with an alert, by an error of TLS."""

    async def main() -> None:
        whole = odd.certificate(extensions=[odd.alternative_names(odd.dns(b"a")), odd.constraints(odd.TRUE)])
        broken = [whole[:length] for length in range(1, len(whole), 7)]
        broken += [b"", b"\x30\0", b"\x30\x80\0\0", b"junk" * 100, bytes(1000), b"\x30" * 5000, whole + b"\0"]
        broken += [odd.sequence(whole), odd.tlv(0xA0, whole), whole.replace(b"\x30", b"\x31", 1)]
        async with looking(reject_unauthorized=False) as host:
            for der in broken:
                if der:
                    assert isinstance(await host.heard(der), aiotls.TLSError)
            for bit in range(0, len(whole) * 8, 61):
                flipped = bytearray(whole)
                flipped[bit // 8] ^= 1 << bit % 8
                await host.heard(bytes(flipped))

    run(main)


def test_huge_certificates(run: Run) -> None:
    """64 KiB are taken, whatever they are; more than 100 KiB are not."""

    async def main() -> None:
        async with looking(reject_unauthorized=False) as host:
            for extensions in (
                [odd.alternative_names(odd.dns(b"y" * 65536))],
                [odd.alternative_names(*[odd.dns(b"a.example")] * 5000)],
                [odd.alternative_names(odd.directory_name([(odd.L, odd.UTF8, b"," * 65536)]))],
                [odd.extension(odd.UNKNOWN, bytes(65536))],
                [odd.ext_key_usage(*[odd.UNKNOWN] * 8000)],
            ):
                der = odd.certificate(extensions=extensions)
                assert await host.heard(der) == der
            der = odd.certificate(issuer=odd.common_name(b"y" * 65536))
            assert await host.heard(der) == der
            der = odd.certificate(extensions=[odd.extension(odd.UNKNOWN, bytes(110_000))])
            error = await host.heard(der)
            assert isinstance(error, aiotls.TLSError)
            chain = [odd.certificate(issuer=odd.common_name(b"%d" % number)) for number in range(300)]
            assert await host.heard(*chain) == chain[0]

    run(main)
