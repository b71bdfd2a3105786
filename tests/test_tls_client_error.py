"""`"tls_client_error"`: once for each connection that never became secure, with the code that tells why."""

import asyncio
import contextlib
import socket as sockets
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, client_options, gone, server_options, until
from tests.support.peers import needs, openssl_client
from tests.support.pki import named
from tests.support.servers import echo, port_of, to

Errors = list[dict[str, Any]]
Told = tuple[Any, aiotls.TLSSocket]

CLOSED_WITHIN = 5.0
"""Seconds to wait for a close that comes at once."""


class Watched:
    """A server, and what it told."""

    def __init__(self, server: aiotls.Server) -> None:
        self.server = server
        self.port = 0
        self.failed: asyncio.Queue[Told] = asyncio.Queue()
        self.secure: list[aiotls.TLSSocket] = []
        self.errors: list[Any] = []


@contextlib.asynccontextmanager
async def watched(**options: Any) -> AsyncIterator[Watched]:
    """A server that echoes; at the end no connection is open, and nothing was told that the test did not take."""
    server = aiotls.create_server(echo, **server_options(**options))
    watch = Watched(server)
    server.on("secure_connection", watch.secure.append)
    server.on("error", watch.errors.append)
    server.on("tls_client_error", lambda error, socket: watch.failed.put_nowait((error, socket)))
    async with server:
        await server.listen(0, "127.0.0.1")
        watch.port = port_of(server)
        yield watch
        await until(lambda: not server.get_connections())
        assert watch.failed.empty()
        assert watch.secure == []
        assert watch.errors == []


async def connected(watch: Watched) -> sockets.socket:
    """A bare TCP connection."""
    near = sockets.socket()
    near.setblocking(False)
    await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", watch.port))
    return near


# ---- peers that are no TLS client, or not for long


@pytest.mark.parametrize("way", ["end", "close", "reset"])
@pytest.mark.parametrize("words", [b"", b"\x16\x03\x01\x02"], ids=["silent", "four-bytes"])
def test_hang_up(run: Run, way: str, words: bytes) -> None:
    """ERR-03: ECONNRESET, "socket hang up"; fewer than five bytes are no record yet (ERR-07)."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with watched() as watch:
            near = await connected(watch)
            await loop.sock_sendall(near, words)
            if way == "end":
                near.shutdown(sockets.SHUT_WR)
                assert await loop.sock_recv(near, 1) == b"", "an ordinary end, and no error"
            elif way == "reset":
                near.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            near.close()
            error, socket = await watch.failed.get()
            assert error.code == "ECONNRESET"
            assert isinstance(error, aiotls.ConnectionLost)
            assert "socket hang up" in str(error)
            assert isinstance(socket, aiotls.TLSSocket)
            assert socket.server is watch.server
            assert socket.destroyed
            assert socket.get_protocol() is None

    run(main)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (b"plain text\nand more of it\n", "ERR_SSL_WRONG_VERSION_NUMBER"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "ERR_SSL_HTTP_REQUEST"),
        (b"CONNECT localhost:443 HTTP/1.1\r\n\r\n", "ERR_SSL_HTTPS_PROXY_REQUEST"),
    ],
    ids=["text", "http", "proxy"],
)
def test_plain_text(run: Run, words: bytes, code: str) -> None:
    """ERR-07: once, and the server closes without an alert, which such a peer could not read."""

    async def main() -> None:
        async with watched() as watch:
            reader, writer = await asyncio.open_connection("127.0.0.1", watch.port)
            writer.write(words)
            async with asyncio.timeout(CLOSED_WITHIN):
                assert await reader.read() == b""
            error, _socket = await watch.failed.get()
            assert error.code == code
            assert error.library == "SSL routines"
            writer.close()

    run(main)


def test_megabytes_of_junk(run: Run) -> None:
    """ERR-09: the peer gets an error while it is still sending, and the server is told once."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with watched() as watch:
            near = await connected(watch)
            with near:

                async def babble() -> None:
                    for _ in range(2):
                        await loop.sock_sendall(near, b"*" * 2**20)
                    while await loop.sock_recv(near, 2**16):
                        pass
                    await loop.sock_sendall(near, b"*")

                async with asyncio.timeout(CLOSED_WITHIN):
                    with pytest.raises((ConnectionResetError, BrokenPipeError)):
                        await babble()
            error, _socket = await watch.failed.get()
            assert error.code == "ERR_SSL_WRONG_VERSION_NUMBER"

    run(main)


def test_an_alert_of_the_client(run: Run) -> None:
    """A client that gives up in the middle says so: its number stands in the error."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with watched() as watch:
            near = await connected(watch)
            with near:
                await loop.sock_sendall(near, _client_hello(ssl.TLSVersion.TLSv1_2))
                assert (await loop.sock_recv(near, 2**16))[0] == 22
                await loop.sock_sendall(near, b"\x15\x03\x03\x00\x02\x02\x28")
                error, _socket = await watch.failed.get()
                assert isinstance(error, aiotls.AlertReceived)
                assert error.alert == 40
                assert error.code.startswith("ERR_SSL_")
                assert error.code.endswith("ALERT_HANDSHAKE_FAILURE")

    run(main)


def test_close_notify_instead_of_a_handshake(run: Run) -> None:
    """A polite client that does not want to go on is a hang-up all the same."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with watched() as watch:
            near = await connected(watch)
            with near:
                await loop.sock_sendall(near, _client_hello(ssl.TLSVersion.TLSv1_2))
                await loop.sock_recv(near, 2**16)
                await loop.sock_sendall(near, b"\x15\x03\x03\x00\x02\x01\x00")
                near.shutdown(sockets.SHUT_WR)
                error, _socket = await watch.failed.get()
                assert isinstance(error, aiotls.TLSError)

    run(main)


# ---- clients with which nothing can be agreed on


async def refused(client: aiotls.TLSSocket) -> None:
    """Waits until the client has failed, in its handshake or, under TLS 1.3, behind it."""

    async def use() -> None:
        await client
        await client.read()

    with pytest.raises((aiotls.PeerError, aiotls.WireError)):
        await use()
    await gone(client)


@pytest.mark.parametrize(
    ("server", "client", "code"),
    [
        (
            {"ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256", "max_version": "TLSv1.2"},
            {"ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"},
            "ERR_SSL_NO_SHARED_CIPHER",
        ),
        (
            {"ciphers": "TLS_AES_128_GCM_SHA256", "min_version": "TLSv1.3"},
            {"ciphers": "TLS_AES_256_GCM_SHA384"},
            "ERR_SSL_NO_SHARED_CIPHER",
        ),
        ({"min_version": "TLSv1.3"}, {"max_version": "TLSv1.2"}, "ERR_SSL_UNSUPPORTED_PROTOCOL"),
        ({"max_version": "TLSv1.2"}, {"min_version": "TLSv1.3"}, "ERR_SSL_UNSUPPORTED_PROTOCOL"),
        ({"alpn_protocols": ["h2"]}, {"alpn_protocols": ["http/1.1"]}, "ERR_SSL_NO_APPLICATION_PROTOCOL"),
        ({"ecdh_curve": "P-256"}, {"ecdh_curve": "P-384"}, "ERR_SSL_NO_SUITABLE_KEY_SHARE"),
    ],
    ids=["cipher-1.2", "cipher-1.3", "client-too-old", "client-too-new", "alpn", "group"],
)
def test_nothing_in_common(run: Run, server: dict[str, Any], client: dict[str, Any], code: str) -> None:
    async def main() -> None:
        async with watched(**server) as watch:
            await refused(to(watch.server, **client))
            error, _socket = await watch.failed.get()
            assert error.code == code
            assert isinstance(error, aiotls.PeerError)
            assert error.alert is None, "nothing came from the client"

    run(main)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize(
    ("identity", "code"),
    [
        (None, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("stranger", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        ("self-signed", "DEPTH_ZERO_SELF_SIGNED_CERT"),
        ("expired", "CERT_HAS_EXPIRED"),
    ],
)
def test_a_bad_certificate(run: Run, version: str, identity: str | None, code: str) -> None:
    """AUTH-06: of a client, with the code of the verification."""

    async def main() -> None:
        who = {
            "stranger": lambda: named.leaf_b_client,
            "self-signed": lambda: named.self_ec,
            "expired": lambda: named.ca.issue(common_name="client", key="ec", purposes=["client"], expired=True),
        }
        own: dict[str, Any] = {}
        if identity is not None:
            shown = who[identity]()
            own = {"cert": shown.chain_pem, "key": shown.key_pem}
        async with watched(request_cert=True, ca=named.ca.cert_pem, max_version=version) as watch:
            await refused(to(watch.server, **own))
            error, _socket = await watch.failed.get()
            assert error.code == code
            assert isinstance(error, aiotls.VerificationError)

    run(main)


# ---- the same from other programs


S_CLIENT: dict[str, tuple[list[str], dict[str, Any], str, int | None]] = {
    "unknown-ca": (["-verify_return_error", "-CAfile", "{ca}"], {}, "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", 48),
    "no-cipher": (["-tls1_2", "-cipher", "AES256-SHA"], {}, "ERR_SSL_NO_SHARED_CIPHER", None),
    "old": (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], {}, "ERR_SSL_UNSUPPORTED_PROTOCOL", None),
    "alpn": (["-alpn", "x"], {"alpn_protocols": ["h2"]}, "ERR_SSL_NO_APPLICATION_PROTOCOL", None),
    "no-certificate": (
        [],
        {"request_cert": True},
        "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE",
        None,
    ),
}


@needs("openssl")
@pytest.mark.parametrize("case", S_CLIENT)
def test_openssl_as_client(run: Run, tmp_path: Path, case: str) -> None:
    """An independent client sees the end at once, and the server is told once."""

    async def main() -> None:
        arguments, options, code, alert = S_CLIENT[case]
        ca = tmp_path / "ca.pem"
        ca.write_bytes(named.ca_ec.cert_pem)
        words = [each.format(ca=ca) for each in arguments]
        async with (
            watched(ca=named.ca.cert_pem, **options) as watch,
            openssl_client(*words, port=watch.port) as peer,
        ):
            error, _socket = await watch.failed.get()
            assert error.code == code
            assert error.alert == alert
            peer.write_eof()
            await peer.finished()

    run(main)


# ---- what it is not


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_junk_on_a_secure_connection(run: Run, version: ssl.TLSVersion) -> None:
    """ERR-10: an error of the socket, not of the server; the alert reaches the client, and others go on."""

    async def main() -> None:
        server = aiotls.create_server(lambda socket: socket.on("data", socket.write), **server_options())
        told: list[Any] = []
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        server.on("tls_client_error", lambda *arguments: told.append(arguments))
        server.on("error", told.append)
        server.on("secure_connection", accepted.put_nowait)
        async with server:
            await server.listen(0, "127.0.0.1")
            good = await to(server)
            await accepted.get()
            below = sockets.create_connection(("127.0.0.1", port_of(server)))
            injected = below.dup()
            limit = "TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3"
            bad = await aiotls.connect(socket=below, **client_options(max_version=limit))
            socket = await accepted.get()
            bad.write(b"x")
            assert await bad.readexactly(1) == b"x"
            closed = [asyncio.ensure_future(each.wait_for("close")) for each in (bad, socket)]
            failed: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(each.wait_for("error")) for each in (bad, socket)
            ]
            await asyncio.sleep(0)
            with injected:
                injected.sendall(b"\xff" * 6)
            for number in range(20):
                good.write(bytes([number]))
                assert await good.readexactly(1) == bytes([number])
            heard, error = await asyncio.gather(*failed)
            assert error.library == heard.library == "SSL routines"
            assert isinstance(error, aiotls.ProtocolError)
            assert isinstance(heard, aiotls.AlertReceived)
            assert heard.alert in (10, 22, 70)
            assert await asyncio.gather(*closed) == [True, True]
            assert told == []
            good.close()
            await good.wait_closed()

    run(main)


def test_a_listener_that_raises(run: Run, loop_errors: Errors) -> None:
    """ERR-12: over a duplex that was handed in: the loop's handler has the very exception, nobody a TLS error."""

    async def main() -> None:
        wrong = LookupError("a mistake of the user")
        told: list[Any] = []

        def listener(_: aiotls.TLSSocket) -> None:
            raise wrong

        server = aiotls.create_server(listener, **server_options())
        server.on("tls_client_error", lambda *arguments: told.append(arguments))
        near, far = MemoryDuplex.pair()
        socket = server.handle_connection(far)
        client = aiotls.connect(socket=near, **client_options())
        client.on("error", lambda _: None)
        client.resume()
        await client.wait_for("close")
        await far.closed.wait()
        assert [report["exception"] for report in loop_errors] == [wrong]
        loop_errors.clear()
        assert told == []
        assert socket.destroyed
        server.close()
        await server.wait_closed()

    run(main)


def test_a_socket_that_we_destroy_ourselves(run: Run) -> None:
    """Nobody needs to be told: not in "connection", not while the client takes its time."""

    async def main() -> None:
        async with watched() as watch:
            watch.server.on("connection", lambda socket: asyncio.get_running_loop().call_soon(socket.destroy))
            with pytest.raises(aiotls.ConnectionLost):
                await to(watch.server)

    run(main)


def test_a_crowd(run: Run) -> None:
    """Sixty failures of all kinds at once: sixty reports, each with a socket of its own."""

    async def main() -> None:
        async with watched(request_cert=True, ca=named.ca.cert_pem, max_version="TLSv1.2") as watch:

            async def text() -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", watch.port)
                writer.write(b"plain text\n")
                await reader.read()
                writer.close()

            async def silent() -> None:
                (await connected(watch)).close()

            async def without() -> None:
                await refused(to(watch.server))

            async def distrustful() -> None:
                await refused(to(watch.server, ca=named.ca_b.cert_pem))

            kinds: list[Callable[[], Awaitable[None]]] = [text, silent, without, distrustful]
            await asyncio.gather(*(kind() for kind in kinds * 15))
            told = [await watch.failed.get() for _ in range(60)]
            assert len({id(socket) for _, socket in told}) == 60
            codes = [error.code for error, _ in told]
            assert sorted(set(codes)) == [
                "ECONNRESET",
                "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE",
                "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
                "ERR_SSL_WRONG_VERSION_NUMBER",
            ]
            assert all(codes.count(code) == 15 for code in codes)

    run(main)


def _client_hello(version: ssl.TLSVersion) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_server_without_a_certificate(run: Run, version: str) -> None:
    """The usual mistake of beginners: the error says what may be missing."""

    async def main() -> None:
        async with watched(cert=None, key=None) as host:
            client = aiotls.connect("127.0.0.1", host.port, **client_options(max_version=version))
            with pytest.raises(aiotls.AlertReceived):
                await client
            error, _ = await host.failed.get()
            assert "certificate" in str(error) or "key and cert" in str(error)
            assert "the server has no" in str(error)

    run(main)
