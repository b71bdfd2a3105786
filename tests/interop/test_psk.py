"""Pre-shared keys with openssl, Node and GnuTLS."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.peers import (
    gnutls_client,
    gnutls_handshake,
    gnutls_server,
    needs,
    node_client,
    node_server,
    openssl_client,
    openssl_handshake,
    openssl_server,
)
from tests.support.pki import Named
from tests.support.servers import port_of

IDENTITY = "TestUser"
KEY = bytes.fromhex("d731ef57be09e5204f0b205b60627028")
VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}
CIPHERS = "PSK+HIGH:TLS_AES_128_GCM_SHA256"


class Asked:
    """A server with keys: whom it was asked for, and what became of the clients."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: list[Any] = []
        self.asked: list[tuple[Any, Any]] = []
        self.secure: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        self.errors: asyncio.Queue[Any] = asyncio.Queue()

    def key(self, socket: aiotls.TLSSocket, identity: str) -> bytes | None:
        self.asked.append((socket, identity))
        return KEY if identity == IDENTITY else None

    async def echo(self, socket: aiotls.TLSSocket) -> None:
        self.secure.put_nowait(socket)
        with contextlib.suppress(ConnectionError):
            async for chunk in socket:
                socket.write(chunk)
                await socket.drain()


@contextlib.asynccontextmanager
async def psk_server(**options: Any) -> AsyncIterator[Asked]:
    """Our server, with an identity hint and without a certificate."""
    running = Asked()
    given = {"ciphers": "PSK+HIGH", "psk_identity_hint": "TestUser", "psk_callback": running.key, **options}
    server = aiotls.create_server(running.echo, **given)
    server.on("connection", running.connections.append)
    server.on("tls_client_error", lambda error, _socket: running.errors.put_nowait(error))
    async with server:
        await server.listen(0, "127.0.0.1")
        running.port = port_of(server)
        yield running
        server.close_all_connections()


def psk_options(key: bytes = KEY, identity: str = IDENTITY, **options: Any) -> dict[str, Any]:
    """Our client."""
    return {"ciphers": "PSK+HIGH", "psk_callback": lambda _: aiotls.PSK(identity, key), **options}


@needs("openssl")
class TestOpensslAsClient:
    def arguments(self, version: str, key: bytes = KEY, identity: str = IDENTITY) -> tuple[str, ...]:
        return ("-psk", key.hex(), "-psk_identity", identity, VERSION_FLAGS[version])

    def test_psk_03(self, run: Run, version: str) -> None:
        """PSK-03: data passes both ways, and it exits with 0 when we have ended."""

        async def main() -> None:
            async with psk_server() as server, openssl_client(*self.arguments(version), port=server.port) as peer:
                socket = await server.secure.get()
                assert server.asked == [(socket, IDENTITY)]
                assert isinstance(socket, aiotls.TLSSocket)
                assert len(server.connections) == 1
                assert socket.is_session_reused() is False
                assert socket.get_protocol() == version
                peer.write(b"marmalade\n")
                await peer.saw("marmalade")
                socket.end(b"enough\n")
                await peer.saw("enough")
                result = await peer.finished()
                assert result.exit_code == 0, result.text
                told, cipher = openssl_handshake(result.text), socket.get_cipher()
                assert told.protocol == version
                assert cipher is None or told.cipher == cipher.name

        run(main)

    def test_failure_model_31_alerts(self, run: Run, version: str) -> None:
        """Failure model 31: it sees the same of us for an unknown identity and for a wrong key."""

        async def main() -> None:
            alerts = []
            for key, identity in ((KEY, "nobody"), (KEY[::-1], IDENTITY)):
                async with (
                    psk_server() as server,
                    openssl_client(*self.arguments(version, key, identity), port=server.port) as peer,
                ):
                    alerts.append(openssl_handshake((await peer.finished()).text).alert)
                    await server.errors.get()
                    assert server.secure.empty()
            assert alerts[0] is not None
            assert alerts == alerts[:1] * 2

        run(main)

    @pytest.mark.parametrize("identity", [b"\xff\xfe", b"TestUser\xc3"])
    def test_an_identity_that_is_no_text(self, run: Run, version: str, identity: bytes) -> None:
        """It is nobody's: the callback is not asked about it, and the client is refused."""

        async def main() -> None:
            arguments = self.arguments(version, identity=os.fsdecode(identity))
            async with psk_server() as server, openssl_client(*arguments, port=server.port) as peer:
                assert openssl_handshake((await peer.finished()).text).alert is not None
                await server.errors.get()
                assert server.asked == []
                assert server.secure.empty()

        run(main)

    @pytest.mark.parametrize(
        "cipher", ["PSK-AES256-GCM-SHA384", "ECDHE-PSK-CHACHA20-POLY1305", "ECDHE-PSK-AES128-CBC-SHA256"]
    )
    def test_key_exchanges(self, run: Run, cipher: str) -> None:
        async def main() -> None:
            arguments = (*self.arguments("TLSv1.2"), "-cipher", cipher)
            async with (
                psk_server(ciphers=cipher) as server,
                openssl_client(*arguments, port=server.port) as peer,
            ):
                peer.write(b"marmalade\n")
                await peer.saw("marmalade")
                peer.write_eof()
                assert openssl_handshake((await peer.finished()).text).cipher == cipher

        run(main)

    def test_beside_a_certificate(self, run: Run, pki: Named, version: str, ca_file: Path) -> None:
        """A client with the key uses it, one without gets the certificate."""

        async def main() -> None:
            options: dict[str, Any] = {"cert": pki.server.chain_pem, "key": pki.server.key_pem}
            async with psk_server(**options, ciphers="kECDHEPSK:ECDHE+AESGCM:TLS_AES_128_GCM_SHA256") as server:
                cipher = ("-cipher", "kECDHEPSK") if version == "TLSv1.2" else ()
                async with openssl_client(*self.arguments(version), *cipher, port=server.port) as peer:
                    await server.secure.get()
                    peer.write_eof()
                    assert "no peer certificate available" in (await peer.finished()).text
                async with openssl_client("-CAfile", ca_file, VERSION_FLAGS[version], port=server.port) as peer:
                    await server.secure.get()
                    peer.write_eof()
                    assert openssl_handshake((await peer.finished()).text).verify == "ok"

        run(main)


@needs("openssl")
class TestOpensslAsServer:
    def arguments(self, version: str) -> tuple[str, ...]:
        key = ("-psk", KEY.hex(), "-psk_identity", IDENTITY, "-psk_hint", "a hint")
        return (*key, "-nocert", "-rev", VERSION_FLAGS[version])

    def test_reversal(self, run: Run, version: str) -> None:
        async def main() -> None:
            hints: list[str | None] = []

            def key(hint: str | None) -> aiotls.PSK:
                hints.append(hint)
                return aiotls.PSK(IDENTITY, KEY)

            async with openssl_server(*self.arguments(version)) as peer:
                async with aiotls.connect("localhost", peer.port, **psk_options(psk_callback=key)) as socket:
                    assert socket.get_protocol() == version
                    assert socket.authorized is True
                    assert socket.is_session_reused() is False
                    assert not socket.get_peer_certificate()
                    socket.write(b"desserts\n")
                    assert await socket.readline() == b"stressed\n"
                # A client that could speak TLS 1.3 is asked before the version is known.
                assert hints[-1] == ("a hint" if version == "TLSv1.2" else None)

        run(main)

    def test_the_key_is_wrong(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with openssl_server(*self.arguments(version)) as peer:
                with pytest.raises(aiotls.AlertReceived):
                    await aiotls.connect("localhost", peer.port, **psk_options(KEY[::-1]))

        run(main)

    def test_it_has_a_certificate_instead(self, run: Run, pki: Named, tmp_path: Path) -> None:
        """TLS 1.3: a server without keys shows its certificate, and our client with a key verifies it."""

        async def main() -> None:
            files = pki.server.write(tmp_path)
            async with openssl_server("-cert", files.chain, "-key", files.key, "-tls1_3", "-rev") as peer:
                async with aiotls.connect("localhost", peer.port, **psk_options(ca=pki.ca.cert_pem)) as socket:
                    assert socket.get_peer_certificate().raw == pki.server.der  # type: ignore[union-attr]
                with pytest.raises(aiotls.VerificationError):
                    await aiotls.connect("localhost", peer.port, **psk_options(ca=pki.ca_a.cert_pem))

        run(main)


@needs("node")
class TestNode:
    def options(self, version: str, key: bytes = KEY, identity: str = IDENTITY, **more: Any) -> dict[str, Any]:
        psk = {"key": key.hex(), "identity": identity, "hint": "a hint"}
        return {"ciphers": CIPHERS, "psk": psk, "max_version": version, **more}

    def test_as_client(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with (
                psk_server(ciphers=CIPHERS) as server,
                node_client(**self.options(version), port=server.port) as peer,
            ):
                secure = await peer.event("secure", protocol=version, authorized=True, peer=None)
                socket = await server.secure.get()
                assert [identity for _, identity in server.asked] == [IDENTITY]
                cipher = socket.get_cipher()
                assert cipher is not None
                assert secure["cipher"] == cipher.name
                assert socket.is_session_reused() is False
                peer.write(b"marmalade")
                await peer.event("data", text="marmalade")
                peer.write_eof()
                await peer.event("close")
                assert (await peer.finished()).exit_code == 0

        run(main)

    def test_as_client_with_the_hint(self, run: Run) -> None:
        async def main() -> None:
            async with psk_server() as server, node_client(**self.options("TLSv1.2"), port=server.port) as peer:
                await peer.event("psk", hint="TestUser")

        run(main)

    @pytest.mark.parametrize(("key", "identity"), [(KEY[::-1], IDENTITY), (KEY, "nobody")])
    def test_as_client_that_is_refused(self, run: Run, version: str, key: bytes, identity: str) -> None:
        async def main() -> None:
            async with (
                psk_server(ciphers=CIPHERS) as server,
                node_client(**self.options(version, key, identity), port=server.port) as peer,
            ):
                await peer.event("error")
                await server.errors.get()
                assert server.secure.empty()

        run(main)

    def test_as_server(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with node_server(**self.options(version)) as peer:
                async with aiotls.connect("127.0.0.1", peer.port, **psk_options(ciphers=CIPHERS)) as socket:
                    await peer.event("psk", identity=IDENTITY)
                    await peer.event("secure", protocol=version)
                    assert socket.authorized is True
                    assert socket.is_session_reused() is False
                    assert not socket.get_peer_certificate()
                    socket.end(b"marmalade")
                    assert await socket.read() == b"marmalade"
                await peer.event("close")

        run(main)

    @pytest.mark.parametrize(("key", "identity"), [(KEY[::-1], IDENTITY), (KEY, "nobody")])
    def test_as_server_that_refuses(self, run: Run, version: str, key: bytes, identity: str) -> None:
        async def main() -> None:
            async with node_server(**self.options(version)) as peer:
                with pytest.raises(aiotls.PeerError):
                    await aiotls.connect("127.0.0.1", peer.port, **psk_options(key, identity, ciphers=CIPHERS))
                await peer.event("error")

        run(main)


PRIORITIES = {
    "TLSv1.2": "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+PSK",
    "TLSv1.3": "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+PSK",
}


@needs("gnutls-cli")
def test_gnutls_as_client(run: Run, version: str) -> None:
    async def main() -> None:
        arguments = ("--pskusername", IDENTITY, "--pskkey", KEY.hex(), "--priority", PRIORITIES[version])
        async with (
            psk_server(ciphers=CIPHERS) as server,
            gnutls_client(*arguments, port=server.port, host="127.0.0.1") as peer,
        ):
            socket = await server.secure.get()
            assert [identity for _, identity in server.asked] == [IDENTITY]
            assert socket.get_protocol() == version
            peer.write(b"marmalade\n")
            await peer.saw("^marmalade$")
            peer.write_eof()
            result = await peer.finished()
            assert result.exit_code == 0, result.text
            assert gnutls_handshake(result.text).protocol == version

    run(main)


@needs("gnutls-serv")
def test_gnutls_as_server(run: Run, version: str, tmp_path: Path) -> None:
    async def main() -> None:
        passwords = tmp_path / "keys"
        passwords.write_text(f"{IDENTITY}:{KEY.hex()}\n")
        async with gnutls_server("--pskpasswd", passwords, "--priority", PRIORITIES[version]) as peer:
            async with aiotls.connect("127.0.0.1", peer.port, **psk_options(ciphers=CIPHERS)) as socket:
                assert socket.get_protocol() == version
                assert socket.authorized is True
                socket.write(b"marmalade\n")
                assert await socket.readline() == b"marmalade\n"
            with pytest.raises(aiotls.PeerError):
                await aiotls.connect("127.0.0.1", peer.port, **psk_options(KEY[::-1], ciphers=CIPHERS))

    run(main)


@needs("openssl")
def test_tickets_have_the_lifetime_of_the_server(run: Run, tmp_path: Path) -> None:
    """A session that stands for a key lives no longer than others (TLS 1.3)."""
    saved = tmp_path / "session.pem"

    async def main() -> None:
        server = aiotls.create_server(
            lambda socket: socket.end(b"hello"),
            psk_callback=lambda _socket, _identity: KEY,
            session_timeout=7,
            handshake_timeout=5.0,
        )
        async with server:
            await server.listen(0, "127.0.0.1")
            arguments = ("-psk", KEY.hex(), "-psk_identity", IDENTITY, "-tls1_3", "-sess_out", saved)
            async with openssl_client(*arguments, port=port_of(server)) as client:
                await client.finished()

    run(main)
    told = subprocess.run(["openssl", "sess_id", "-in", saved, "-noout", "-text"], capture_output=True, check=True)
    assert b"TLS session ticket lifetime hint: 7 (seconds)" in told.stdout
