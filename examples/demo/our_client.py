"""Rows in which our client is the one who connects: to our server, to `openssl s_server`, to Node."""

import asyncio
import contextlib
import json
import time

import aiotls

from .files import fetch, send
from .programs import PEERS, line_with, start
from .row import Case, Row
from .stage import Stage


async def download_tls13(stage: Stage, row: Row) -> None:
    async with stage.connect(stage.files.port) as socket:
        await _download(stage, row, socket)
    row.expect(row.protocol == "TLSv1.3", "the newest protocol was not chosen")
    await _expect_same_view(stage, row)


async def download_tls12(stage: Stage, row: Row) -> None:
    async with stage.connect(stage.files.port, max_version="TLSv1.2") as socket:
        await _download(stage, row, socket)
    row.expect(row.protocol == "TLSv1.2", "max_version was not kept")
    await _expect_same_view(stage, row)


async def upload(stage: Stage, row: Row) -> None:
    async with stage.connect(stage.files.port) as socket:
        await _upload(stage, row, socket)
    await _expect_same_view(stage, row)


async def with_certificate(stage: Stage, row: Row) -> None:
    identity = stage.certificates.client
    async with stage.connect(stage.members.port, cert=identity.cert, key=identity.key) as socket:
        describe(row, socket)
        row.size, _sha256 = await fetch(socket, "/", stage.progress)
    served = await stage.members.served.get()
    row.authorized = "both"
    row.expect(served.authorized, f"the client was not authorised: {served.authorization_error}")


async def from_openssl(stage: Stage, row: Row) -> None:
    cert, key = stage.written(stage.certificates.server_ec, "server_ec")
    command = ("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key, "-alpn", "http/1.1", "-WWW")
    async with start(*command, cwd=stage.directory) as server:
        port = int((await line_with(server.stdout, r"^ACCEPT .*:(\d+)$"))[1])
        async with stage.connect(port) as socket:
            await _download(stage, row, socket)


async def from_node(stage: Stage, row: Row) -> None:
    async with _node_server(stage) as server:
        port = int((await line_with(server.stdout, r"^listening (\d+)$"))[1])
        async with stage.connect(port) as socket:
            await _download(stage, row, socket)


async def to_node(stage: Stage, row: Row) -> None:
    async with _node_server(stage) as server:
        port = int((await line_with(server.stdout, r"^listening (\d+)$"))[1])
        async with stage.connect(port) as socket:
            await _upload(stage, row, socket)


def describe(row: Row, socket: aiotls.TLSSocket) -> None:
    """Fills a row with what our socket tells of its connection."""
    cipher, key = socket.get_cipher(), socket.get_ephemeral_key_info()
    row.protocol = socket.get_protocol() or ""
    row.cipher = cipher.name if cipher else ""
    row.group = key.name or "" if key else ""
    row.alpn = str(socket.alpn_protocol or "")
    row.authorized = "server" if socket.authorized else socket.authorization_error or "nobody"
    row.resumed = socket.is_session_reused()
    row.expect(socket.authorized, f"the server was not authorised: {socket.authorization_error}")
    row.expect(row.alpn == "http/1.1", f"another application protocol: {row.alpn!r}")
    row.expect(row.group, "no key exchange group")


async def _download(stage: Stage, row: Row, socket: aiotls.TLSSocket) -> None:
    describe(row, socket)
    begun = time.perf_counter()
    row.size, sha256 = await fetch(socket, "/file", stage.progress)
    row.seconds = time.perf_counter() - begun
    row.expect_file(row.size, sha256, stage.size, stage.sha256)
    row.expect(socket.bytes_read >= stage.size, f"bytes_read is {socket.bytes_read}")


async def _upload(stage: Stage, row: Row, socket: aiotls.TLSSocket) -> None:
    describe(row, socket)
    begun = time.perf_counter()
    sha256 = await send(socket, stage.file, stage.size, stage.progress)
    row.seconds = time.perf_counter() - begun
    row.size = stage.size
    row.expect_file(row.size, sha256, stage.size, stage.sha256)
    row.expect(socket.bytes_written >= stage.size, f"bytes_written is {socket.bytes_written}")


async def _expect_same_view(stage: Stage, row: Row) -> None:
    """Our server must tell the same of the connection as our client."""
    served = await stage.files.served.get()
    row.expect(served.protocol == row.protocol, f"the server says {served.protocol}")
    row.expect(served.cipher == row.cipher, f"the server says {served.cipher}")
    row.expect(served.alpn == row.alpn, f"the server says {served.alpn}")


def _node_server(stage: Stage) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
    cert, key = stage.written(stage.certificates.server_rsa, "server_rsa")
    return start("node", PEERS / "server.js", json.dumps({"cert": str(cert), "key": str(key), "file": str(stage.file)}))


US = "aiotls"
CASES = [
    Case("ours-download", US, US, "download", download_tls13),
    Case("ours-upload", US, US, "upload", upload),
    Case("ours-tls12", US, US, "download, TLS 1.2", download_tls12),
    Case("ours-client-certificate", US, US, "client certificate", with_certificate),
    Case("openssl-server", US, "openssl s_server", "download", from_openssl, "openssl"),
    Case("node-server-download", US, "Node", "download", from_node, "node"),
    Case("node-server-upload", US, "Node", "upload", to_node, "node"),
]
