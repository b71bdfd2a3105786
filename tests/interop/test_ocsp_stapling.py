"""OCSP stapling against other programs, both ways, with responses that they verify."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.node_stapling import node
from tests.support.peers import curl, gnutls_client, gnutls_server, needs, openssl_client, openssl_server
from tests.support.pki import Identity, Named
from tests.support.servers import port_of

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


def response(pki: Named, identity: Identity, kind: str) -> bytes | None:
    """A response of the everyday root, as DER; ``"none"`` is no response."""
    return None if kind == "none" else pki.ca.ocsp_response(identity, revoked=kind == "revoked")


# ---- our server


@contextlib.asynccontextmanager
async def stapling(
    pki: Named, identity: Identity, answer: bytes | None, **options: Any
) -> AsyncIterator[tuple[aiotls.Server, list[tuple[bytes, bytes | None]]]]:
    """A server that greets and staples; and what its listener was asked."""
    asked: list[tuple[bytes, bytes | None]] = []

    async def serve(socket: aiotls.TLSSocket) -> None:
        socket.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(aiotls.TLSError):
            await socket.read()

    async def staple(certificate: bytes, issuer: bytes | None) -> bytes | None:
        asked.append((certificate, issuer))
        await asyncio.sleep(0)
        return answer

    own: dict[str, Any] = {"cert": identity.chain_pem, "key": identity.key_pem, "ca": pki.ca.cert_pem}
    async with aiotls.create_server(serve, **own, **options) as server:
        server.on("ocsp_request", staple)
        await server.listen(0, "127.0.0.1")
        yield server, asked


@needs("openssl")
@pytest.mark.parametrize("kind", ["good", "revoked", "none"])
def test_openssl_client(run: Run, pki: Named, version: str, identity: Identity, kind: str, ca_file: Path) -> None:
    """OCSP-01: ``openssl s_client -status`` prints the very response."""

    async def main() -> None:
        arguments = ("-status", "-CAfile", ca_file, VERSION_FLAGS[version])
        async with (
            stapling(pki, identity, response(pki, identity, kind)) as (server, asked),
            openssl_client(*arguments, port=port_of(server)) as peer,
        ):
            await peer.saw("HTTP/1.1 200 OK")
            if kind == "none":
                assert "OCSP response: no response sent" in peer.text
            else:
                assert "OCSP Response Status: successful (0x0)" in peer.text
                assert f"Cert Status: {kind}" in peer.text
                assert format(identity.certificate.serial_number, "X") in peer.text
            assert asked == [(identity.der, pki.ca.der)]

    run(main)


@needs("openssl")
def test_openssl_client_does_not_ask(run: Run, pki: Named, version: str) -> None:
    """Without ``-status`` the listener is left alone."""

    async def main() -> None:
        async with (
            stapling(pki, pki.server, b"not asked for") as (server, asked),
            openssl_client(VERSION_FLAGS[version], port=port_of(server)) as peer,
        ):
            await peer.saw("HTTP/1.1 200 OK")
            assert "OCSP" not in peer.text
            assert asked == []

    run(main)


@needs("curl")
@pytest.mark.parametrize(
    ("kind", "exit_code", "words"),
    [
        ("good", 0, "SSL certificate status: good"),
        ("revoked", 91, "SSL certificate status: revoked"),
        ("none", 91, "No OCSP response received"),
    ],
)
def test_curl(run: Run, pki: Named, version: str, ca_file: Path, kind: str, exit_code: int, words: str) -> None:
    """``curl --cert-status`` takes a good response only; it wants to find the issuer in our chain."""
    complete = Identity(pki.server.certificate, pki.server.key, (pki.ca.certificate,))

    async def main() -> None:
        answer = response(pki, pki.server, kind)
        async with stapling(pki, complete, answer, max_version=version) as (server, asked):
            url = f"https://localhost:{port_of(server)}/"
            result = await curl("--cacert", ca_file, "--cert-status", "--head", url)
        assert result.exit_code == exit_code, result.text
        assert words in result.errors
        assert asked == [(pki.server.der, pki.ca.der)]

    run(main)


@needs("gnutls-cli")
@pytest.mark.parametrize("kind", ["good", "revoked", "none"])
def test_gnutls_client(run: Run, pki: Named, version: str, ca_file: Path, kind: str, tmp_path: Path) -> None:
    """``gnutls-cli`` saves the response, and refuses a revoked certificate."""

    async def main() -> None:
        answer = response(pki, pki.server, kind)
        saved = tmp_path / "response.der"
        arguments = ("--x509cafile", ca_file, "--save-ocsp", saved)
        async with (
            stapling(pki, pki.server, answer, max_version=version) as (server, asked),
            gnutls_client(*arguments, port=port_of(server)) as peer,
        ):
            if kind == "revoked":
                await peer.saw(r"The certificate is NOT trusted\. The certificate chain is revoked")
            else:
                await peer.saw("The certificate is trusted")
                await peer.saw("HTTP/1.1 200 OK")
                assert not answer or saved.read_bytes() == answer
            assert asked == [(pki.server.der, pki.ca.der)]

    run(main)


@needs("node")
@pytest.mark.parametrize("kind", ["good", "none"])
def test_node_client(run: Run, pki: Named, version: str, kind: str) -> None:
    """Node's ``requestOCSP``: the event ``OCSPResponse`` has our bytes, before the connection is secure."""

    async def main() -> None:
        answer = response(pki, pki.server, kind)
        async with (
            stapling(pki, pki.server, answer, max_version=version) as (server, asked),
            node("client", port=port_of(server), ca=pki.ca.cert_pem.decode(), servername="localhost") as peer,
        ):
            await peer.event("ocsp", response=answer.hex() if answer else None)
            await peer.event("secure")
            assert asked == [(pki.server.der, pki.ca.der)]

    run(main)


# ---- our client


async def stapled(port: int, pki: Named, version: str) -> bytes | None:
    """The response that we get; it must come once, and before we are secure."""
    events: list[Any] = []
    socket = aiotls.connect("localhost", port, ca=pki.ca.cert_pem, request_ocsp=True, max_version=version)
    socket.on("ocsp_response", lambda got: events.append((got, socket.secure_connecting)))
    socket.on("secure_connect", lambda: events.append("secure_connect"))
    async with socket:
        ((got, connecting), secure) = events
        assert connecting is True
        assert secure == "secure_connect"
    assert got is None or isinstance(got, bytes)
    return got


@needs("openssl")
@pytest.mark.parametrize("kind", ["good", "revoked", "none"])
def test_openssl_server(run: Run, pki: Named, version: str, identity: Identity, kind: str, tmp_path: Path) -> None:
    """``openssl s_server -status_file``."""

    async def main() -> None:
        files = identity.write(tmp_path)
        expected = response(pki, identity, kind)
        arguments: tuple[str | Path, ...] = ("-cert", files.cert, "-key", files.key)
        if expected is not None:
            path = tmp_path / "response.der"
            path.write_bytes(expected)
            arguments += ("-status_file", path)
        async with openssl_server(*arguments) as peer:
            assert await stapled(peer.port, pki, version) == expected

    run(main)


@needs("gnutls-serv")
@pytest.mark.parametrize("kind", ["good", "none"])
def test_gnutls_server(run: Run, pki: Named, version: str, kind: str, tmp_path: Path) -> None:
    """``gnutls-serv --ocsp-response``."""

    async def main() -> None:
        files = pki.server.write(tmp_path)
        expected = response(pki, pki.server, kind)
        arguments: tuple[str | Path, ...] = ("--x509certfile", files.cert, "--x509keyfile", files.key)
        if expected is not None:
            path = tmp_path / "response.der"
            path.write_bytes(expected)
            arguments += ("--ocsp-response", path)
        async with gnutls_server("--disable-client-cert", *arguments) as peer:
            assert await stapled(peer.port, pki, version) == expected

    run(main)


@needs("node")
@pytest.mark.parametrize("kind", ["good", "none"])
def test_node_server(run: Run, pki: Named, version: str, kind: str) -> None:
    """Node's ``OCSPRequest`` is asked about the same two certificates as ours."""

    async def main() -> None:
        expected = response(pki, pki.server, kind)
        options = {
            "ca": pki.ca.cert_pem.decode(),
            "cert": pki.server.chain_pem.decode(),
            "key": pki.server.key_pem.decode(),
            "response": expected.hex() if expected else None,
        }
        async with node("server", **options) as peer:
            assert await stapled(peer.port, pki, version) == expected
            await peer.event("asked", certificate=pki.server.der.hex(), issuer=pki.ca.der.hex())

    run(main)
