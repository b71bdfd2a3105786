"""The interop tests that are the same for every scripted peer; a test file per peer names its client and server.

The protocol between the two: a server echoes, a client reads what comes back.
"""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.echo import echo_server
from tests.support.peers import ScriptedPeer
from tests.support.pki import Identity, Named, named

Start = Callable[..., AbstractAsyncContextManager[ScriptedPeer]]

BULK = bytes(range(256)) * 4096
"""1 MiB."""


class AsClient:
    """The peer is the client, aiotls the server."""

    peer: ClassVar[Start]
    certificate_required: ClassVar[str]
    """What the peer calls the alert for a missing client certificate."""
    unknown_ca: ClassVar[str]
    """What the peer calls the alert unknown_ca."""

    def start(self, **options: Any) -> AbstractAsyncContextManager[ScriptedPeer]:
        return type(self).peer(**{"ca": _text(named.ca.cert_pem), "servername": "localhost", **options})

    def test_echo(self, run: Run, version: str, identity: Identity) -> None:
        async def main() -> None:
            async with (
                echo_server(identity, alpn_protocols=["h2", "http/1.1"]) as server,
                self.start(port=server.port, alpn=["spdy/3", "http/1.1"], max_version=version) as peer,
            ):
                told, seen = await peer.event("secure"), await server.connections.get()
                assert (told["protocol"], seen.protocol) == (version, version)
                assert (told["alpn"], seen.alpn) == ("http/1.1", "http/1.1")
                assert told["cipher"] == seen.cipher
                assert told["authorized"] is True
                assert seen.servername == "localhost"
                assert not seen.authorized
                assert seen.authorization_error is None
                peer.write(BULK)
                await peer.received(len(BULK))
                peer.write_eof()
                assert (await peer.event("close"))["event"] == "close"
                assert (await peer.finished()).exit_code == 0

        run(main)

    def test_no_alpn(self, run: Run) -> None:
        async def main() -> None:
            async with echo_server(alpn_protocols=["h2"]) as server, self.start(port=server.port) as peer:
                assert (await peer.event("secure"))["alpn"] is None
                assert (await server.connections.get()).alpn is False

        run(main)

    def test_no_common_alpn(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with (
                echo_server(alpn_protocols=["h2"]) as server,
                self.start(port=server.port, alpn=["http/1.1"], max_version=version) as peer,
            ):
                await peer.event("error")
                assert (await server.errors.get()).code == "ERR_SSL_NO_APPLICATION_PROTOCOL"
                assert server.connections.empty()

        run(main)

    def test_client_certificate(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with (
                echo_server(request_cert=True, ca=pki.ca.cert_pem, max_version=version) as server,
                self.start(port=server.port, **pem(pki.client)) as peer,
            ):
                await peer.event("secure")
                seen = await server.connections.get()
                assert seen.authorized is True
                assert seen.peer == "client"
                peer.write(b"welcome")
                await peer.received(7)

        run(main)

    def test_client_certificate_missing(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with (
                echo_server(request_cert=True, ca=pki.ca.cert_pem, max_version=version) as server,
                self.start(port=server.port) as peer,
            ):
                error = await server.errors.get()
                assert error.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
                told = await peer.event("error")
                if version == "TLSv1.3":
                    assert self.certificate_required in told["code"]
                assert server.connections.empty()

        run(main)

    def test_client_certificate_of_an_unknown_authority(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with (
                echo_server(request_cert=True, ca=pki.ca.cert_pem, max_version=version) as server,
                self.start(port=server.port, **pem(pki.leaf_a)) as peer,
            ):
                assert (await server.errors.get()).code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
                assert self.unknown_ca in (await peer.event("error"))["code"]
                assert server.connections.empty()

        run(main)

    def test_it_refuses_an_unknown_authority(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with (
                echo_server(pki.leaf_local, max_version=version) as server,
                self.start(port=server.port) as peer,
            ):
                await peer.event("error")
                error = await server.errors.get()
                assert isinstance(error, aiotls.AlertReceived)
                assert error.alert == 48
                assert server.connections.empty()

        run(main)

    def test_unix_socket(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "socket"
            async with echo_server(path=path) as server, self.start(path=str(path)) as peer:
                peer.write(b"over a file")
                await peer.event("data", text="over a file")
                assert (await server.connections.get()).protocol == "TLSv1.3"

        run(main)

    def test_ipv6(self, run: Run, ipv6: str) -> None:
        async def main() -> None:
            async with echo_server(host=ipv6) as server, self.start(host=ipv6, port=server.port) as peer:
                peer.write(b"six")
                await peer.event("data", text="six")

        run(main)


class AsServer:
    """The peer is the server, aiotls the client."""

    peer: ClassVar[Start]

    def start(self, identity: Identity, **options: Any) -> AbstractAsyncContextManager[ScriptedPeer]:
        return type(self).peer(**pem(identity), ca=_text(named.ca.cert_pem), **options)

    def test_echo(self, run: Run, pki: Named, version: str, identity: Identity) -> None:
        async def main() -> None:
            async with self.start(identity, alpn=["h2", "http/1.1"], max_version=version) as peer:
                options: dict[str, Any] = {"ca": pki.ca.cert_pem, "alpn_protocols": ["spdy/3", "http/1.1"]}
                async with aiotls.connect("localhost", peer.port, **options) as socket:
                    told = await peer.event("secure")
                    assert (socket.get_protocol(), told["protocol"]) == (version, version)
                    assert (socket.alpn_protocol, told["alpn"]) == ("http/1.1", "http/1.1")
                    cipher = socket.get_cipher()
                    assert cipher is not None
                    assert cipher.name == told["cipher"]
                    assert told["servername"] == "localhost"
                    assert socket.authorized is True
                    assert socket.authorization_error is None
                    assert not socket.is_session_reused()
                    echoed = asyncio.create_task(socket.readexactly(len(BULK)))
                    socket.write(BULK)
                    await socket.drain()
                    assert await echoed == BULK
                    assert (socket.bytes_read, socket.bytes_written) == (len(BULK), len(BULK))
                ended = await peer.event("end")
                assert ended["sha256"] == hashlib.sha256(BULK).hexdigest()

        run(main)

    def test_client_certificate(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with self.start(pki.server, request_cert=True, max_version=version) as peer:
                own: dict[str, Any] = {"cert": pki.client_ec.chain_pem, "key": pki.client_ec.key_pem}
                async with aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, **own) as socket:
                    told = await peer.event("secure")
                    assert told["authorized"] is True
                    assert told["peer"] == "client"
                    socket.write(b"hello")
                    assert await socket.readexactly(5) == b"hello"

        run(main)

    def test_client_certificate_missing(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with self.start(pki.server, request_cert=True, max_version=version) as peer:
                refusal = await refused(peer.port, ca=pki.ca.cert_pem)
                assert refusal.alert == (116 if version == "TLSv1.3" else 40)
                await peer.event("error")

        run(main)

    def test_client_certificate_of_an_unknown_authority(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with self.start(pki.server, request_cert=True, max_version=version) as peer:
                own: dict[str, Any] = {"cert": pki.leaf_a.chain_pem, "key": pki.leaf_a.key_pem}
                assert (await refused(peer.port, ca=pki.ca.cert_pem, **own)).alert == 48
                await peer.event("error")

        run(main)

    @pytest.mark.parametrize(
        ("identity", "ca", "code"),
        [
            ("leaf_local", "ca", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
            ("leaf_a", "ca_a", "ERR_TLS_CERT_ALTNAME_INVALID"),
            ("self_localhost", "ca", "DEPTH_ZERO_SELF_SIGNED_CERT"),
        ],
    )
    def test_we_refuse(self, run: Run, pki: Named, version: str, identity: str, ca: str, code: str) -> None:
        async def main() -> None:
            async with self.start(getattr(pki, identity), max_version=version) as peer:
                with pytest.raises(aiotls.VerificationError) as refusal:
                    await aiotls.connect("localhost", peer.port, ca=getattr(pki, ca).cert_pem)
                assert refusal.value.code == code
                await peer.event("error")

        run(main)

    def test_unix_socket(self, run: Run, pki: Named, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "socket"
            async with self.start(pki.server, path=str(path)):
                options: dict[str, Any] = {"ca": pki.ca.cert_pem, "servername": "localhost"}
                async with aiotls.connect(path=str(path), **options) as socket:
                    socket.write(b"over a file")
                    assert await socket.readexactly(11) == b"over a file"

        run(main)

    def test_ipv6(self, run: Run, pki: Named, ipv6: str) -> None:
        async def main() -> None:
            async with (
                self.start(pki.server, host=ipv6) as peer,
                aiotls.connect(ipv6, peer.port, ca=pki.ca.cert_pem) as socket,
            ):
                assert socket.remote_family == "IPv6"
                socket.write(b"six")
                assert await socket.readexactly(3) == b"six"

        run(main)


async def refused(port: int, **options: Any) -> aiotls.TLSError:
    """Connects to a server that refuses us, in TLS 1.3 after our own handshake is done; returns the error."""
    with pytest.raises(aiotls.TLSError) as refusal:
        async with aiotls.connect("localhost", port, **options) as socket:
            await socket.read(1)
    return refusal.value


def pem(identity: Identity) -> dict[str, str]:
    return {"cert": _text(identity.chain_pem), "key": _text(identity.key_pem)}


def _text(pem: bytes) -> str:
    return pem.decode("ascii")
