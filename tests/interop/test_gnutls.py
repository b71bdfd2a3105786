"""aiotls and GnuTLS, both ways."""

from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.echo import echo_server
from tests.support.peers import gnutls_client, gnutls_handshake, gnutls_server, needs
from tests.support.pki import Identity, IdentityFiles, Named

pytestmark = needs("gnutls-cli", "gnutls-serv")


class TestAsClient:
    """``gnutls-cli`` talks to our server."""

    def test_echo(self, run: Run, version: str, identity: Identity, ca_file: Path) -> None:
        async def main() -> None:
            arguments = ("--x509cafile", ca_file, "--alpn", "http/1.1", "--priority", _only(version))
            async with (
                echo_server(identity, alpn_protocols=["h2", "http/1.1"]) as server,
                gnutls_client(*arguments, port=server.port) as peer,
            ):
                peer.write(b"hello\n")
                await peer.saw(r"^hello$")
                peer.write_eof()
                result = await peer.finished()
                assert result.exit_code == 0
                told, seen = gnutls_handshake(result.text), await server.connections.get()
                assert (told.protocol, seen.protocol) == (version, version)
                assert (told.alpn, seen.alpn) == ("http/1.1", "http/1.1")
                assert seen.servername == "localhost"
                assert told.verify == "The certificate is trusted."

        run(main)

    def test_resumption(self, run: Run, version: str, ca_file: Path) -> None:
        async def main() -> None:
            arguments = ("--x509cafile", ca_file, "--resume", "--priority", _only(version))
            async with echo_server() as server, gnutls_client(*arguments, port=server.port) as peer:
                peer.write(b"hello\n")
                await peer.saw(r"^hello$")
                await peer.saw(r"This is a resumed session")
                assert (await server.connections.get()).resumed is False
                assert (await server.connections.get()).resumed is True

        run(main)

    def test_client_certificate(
        self, run: Run, pki: Named, version: str, ca_file: Path, client_files: IdentityFiles
    ) -> None:
        async def main() -> None:
            own = ("--x509certfile", client_files.cert, "--x509keyfile", client_files.key)
            arguments = ("--x509cafile", ca_file, *own, "--priority", _only(version))
            async with (
                echo_server(request_cert=True, ca=pki.ca.cert_pem) as server,
                gnutls_client(*arguments, port=server.port) as peer,
            ):
                peer.write(b"hello\n")
                await peer.saw(r"^hello$")
                seen = await server.connections.get()
                assert seen.authorized
                assert seen.peer == "client"

        run(main)

    def test_client_certificate_missing(self, run: Run, pki: Named, version: str, ca_file: Path) -> None:
        async def main() -> None:
            arguments = ("--x509cafile", ca_file, "--priority", _only(version))
            async with (
                echo_server(request_cert=True, ca=pki.ca.cert_pem) as server,
                gnutls_client(*arguments, port=server.port) as peer,
            ):
                await peer.saw(r"Received alert \[116\]|Received alert \[40\]")
                assert (await server.errors.get()).code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
                assert server.connections.empty()

        run(main)

    def test_it_refuses_an_unknown_authority(self, run: Run, pki: Named, ca_file: Path) -> None:
        async def main() -> None:
            async with (
                echo_server(pki.leaf_local) as server,
                gnutls_client("--x509cafile", ca_file, port=server.port) as peer,
            ):
                assert (await peer.finished()).exit_code == 1
                error = await server.errors.get()
                assert isinstance(error, aiotls.AlertReceived)
                assert error.alert in (42, 48)

        run(main)


class TestAsServer:
    """Our client talks to ``gnutls-serv``."""

    def test_echo(self, run: Run, pki: Named, version: str, identity: Identity, tmp_path: Path) -> None:
        async def main() -> None:
            arguments = (
                *_own(identity, tmp_path),
                "--disable-client-cert",
                "--alpn",
                "h2",
                "--priority",
                _only(version),
            )
            async with gnutls_server(*arguments) as peer:
                options: dict[str, Any] = {"ca": pki.ca.cert_pem, "alpn_protocols": ["http/1.1", "h2"]}
                async with aiotls.connect("localhost", peer.port, **options) as socket:
                    assert socket.get_protocol() == version
                    assert socket.alpn_protocol == "h2"
                    assert socket.authorized is True
                    socket.write(b"hello\n")
                    assert await socket.readline() == b"hello\n"
                await peer.saw(r"^- Given server name\[1\]: localhost$")

        run(main)

    def test_client_certificate(self, run: Run, pki: Named, version: str, ca_file: Path, tmp_path: Path) -> None:
        async def main() -> None:
            async with gnutls_server(*_demanding(pki.server, ca_file, tmp_path), "--priority", _only(version)) as peer:
                own: dict[str, Any] = {"cert": pki.client_ec.chain_pem, "key": pki.client_ec.key_pem}
                async with aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, **own) as socket:
                    socket.write(b"hello\n")
                    assert await socket.readline() == b"hello\n"
                await peer.saw(r"^- Status: The certificate is trusted\.")

        run(main)

    def test_client_certificate_missing(
        self, run: Run, pki: Named, version: str, ca_file: Path, tmp_path: Path
    ) -> None:
        async def main() -> None:
            async with gnutls_server(*_demanding(pki.server, ca_file, tmp_path), "--priority", _only(version)) as peer:
                with pytest.raises(aiotls.AlertReceived):
                    async with aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem) as socket:
                        await socket.read(1)

        run(main)

    def test_we_refuse(self, run: Run, pki: Named, version: str, tmp_path: Path) -> None:
        async def main() -> None:
            own = _own(pki.leaf_local, tmp_path)
            async with gnutls_server(*own, "--disable-client-cert", "--priority", _only(version)) as peer:
                with pytest.raises(aiotls.VerificationError) as refusal:
                    await aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem)
                assert refusal.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
                # In TLS 1.3 OpenSSL sends this alert unencrypted, before it changes its keys; GnuTLS cannot read that.
                await peer.saw(r"^Error in handshake: (A TLS fatal alert has been received|Decryption has failed)")

        run(main)


def _only(version: str) -> str:
    return f"NORMAL:-VERS-ALL:+VERS-{version.replace('v', '')}"


def _own(identity: Identity, directory: Path) -> tuple[str | Path, ...]:
    files = identity.write(directory)
    return "--x509certfile", files.chain, "--x509keyfile", files.key


def _demanding(identity: Identity, ca_file: Path, directory: Path) -> tuple[str | Path, ...]:
    return (*_own(identity, directory), "--x509cafile", ca_file, "--require-client-cert", "--verify-client-cert")
