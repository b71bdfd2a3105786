"""curl, a client that half of the world uses, against our server."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.echo import port_of
from tests.support.peers import curl, curl_handshake, needs
from tests.support.pki import Identity, IdentityFiles, Named, named

pytestmark = needs("curl")

PAGE = bytes(range(256)) * 4096
"""1 MiB."""


def test_download(run: Run, version: str, identity: Identity, ca_file: Path, tmp_path: Path) -> None:
    async def main() -> None:
        target = tmp_path / "page"
        async with page_server(identity, alpn_protocols=["http/1.1"]) as url:
            limits = ("--http1.1", "--tls-max", version.removeprefix("TLSv"))
            result = await curl("--cacert", ca_file, *limits, "--output", target, url)
        assert result.exit_code == 0, result.text
        told = curl_handshake(result.errors)
        assert (told.protocol, told.alpn, told.verify) == (version, "http/1.1", "ok")
        assert target.read_bytes() == PAGE

    run(main)


def test_upload(run: Run, ca_file: Path, tmp_path: Path) -> None:
    async def main() -> None:
        source = tmp_path / "page"
        source.write_bytes(PAGE)
        async with page_server() as url:
            result = await curl("--cacert", ca_file, "--header", "Expect:", "--upload-file", source, url)
        assert result.exit_code == 0, result.text
        assert result.output == hashlib.sha256(PAGE).hexdigest()

    run(main)


def test_http2_is_chosen_by_alpn(run: Run, ca_file: Path) -> None:
    """The first protocol of the server that the client offers too."""

    async def main() -> None:
        async with page_server(alpn_protocols=["h3", "h2", "http/1.1"]) as url:
            result = await curl("--cacert", ca_file, "--http2", url)
        assert curl_handshake(result.errors).alpn == "h2"

    run(main)


def test_client_certificate(run: Run, pki: Named, version: str, ca_file: Path, client_files: IdentityFiles) -> None:
    async def main() -> None:
        async with page_server(request_cert=True, ca=pki.ca.cert_pem, max_version=version) as url:
            own = ("--cert", client_files.cert, "--key", client_files.key)
            result = await curl("--cacert", ca_file, *own, "--output", "/dev/null", url)
        assert result.exit_code == 0, result.text

    run(main)


def test_client_certificate_missing(run: Run, pki: Named, version: str, ca_file: Path) -> None:
    async def main() -> None:
        async with page_server(request_cert=True, ca=pki.ca.cert_pem, max_version=version) as url:
            result = await curl("--cacert", ca_file, url)
        assert result.exit_code in (35, 56), result.text
        if version == "TLSv1.3":
            assert "certificate required" in result.errors

    run(main)


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ({"expired": True}, "certificate has expired"),
        ({"names": ["other.example"]}, "no alternative certificate subject name matches"),
    ],
)
def test_it_refuses(run: Run, pki: Named, ca_file: Path, identity: dict[str, Any], words: str) -> None:
    async def main() -> None:
        async with page_server(pki.ca.issue(**{"names": ["localhost"], **identity})) as url:
            result = await curl("--cacert", ca_file, url)
        assert result.exit_code == 60
        assert words in result.errors

    run(main)


def test_unix_socket(run: Run, ca_file: Path, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        async with page_server(path=path):
            result = await curl("--cacert", ca_file, "--unix-socket", path, "--head", "https://localhost/")
        assert result.exit_code == 0, result.text

    run(main)


def test_ipv6(run: Run, ca_file: Path, ipv6: str) -> None:
    async def main() -> None:
        async with page_server(host=ipv6) as url:
            result = await curl("--cacert", ca_file, "--head", url.replace("localhost", f"[{ipv6}]"))
        assert result.exit_code == 0, result.text

    run(main)


@contextlib.asynccontextmanager
async def page_server(
    identity: Identity | None = None, *, host: str = "127.0.0.1", path: Path | None = None, **options: Any
) -> AsyncIterator[str]:
    """An aiotls server that gives `PAGE`, and answers an upload with its SHA-256; the context is its URL."""
    identity = identity or named.server

    async def serve(socket: aiotls.TLSSocket) -> None:
        with contextlib.suppress(aiotls.TLSError, EOFError):
            head = await socket.readuntil(b"\r\n\r\n")
            body = PAGE
            if head.startswith(b"PUT"):
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
                uploaded = await socket.readexactly(int(fields[b"content-length"]))
                body = hashlib.sha256(uploaded).hexdigest().encode()
            socket.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
            if not head.startswith(b"HEAD"):
                socket.write(body)
            socket.end()
            await socket.wait_closed()

    server = aiotls.create_server(serve, **{"cert": identity.chain_pem, "key": identity.key_pem, **options})
    if path:
        await server.listen(path=str(path))
    else:
        await server.listen(0, host)
    try:
        yield "https://localhost/" if path else f"https://localhost:{port_of(server)}/"
    finally:
        server.close_all_connections()
        server.close()
        await server.wait_closed()
