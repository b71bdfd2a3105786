"""aiotls and the openssl program, both ways."""

import re
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.echo import echo_server
from tests.support.peers import (
    Handshake,
    Peer,
    needs,
    openssl_client,
    openssl_handshake,
    openssl_server,
)
from tests.support.pki import Identity, IdentityFiles, Named

pytestmark = needs("openssl")

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


class TestAsClient:
    """``openssl s_client`` talks to our server."""

    def test_echo(self, run: Run, version: str, identity: Identity, ca_file: Path) -> None:
        async def main() -> None:
            arguments = ("-CAfile", ca_file, "-servername", "localhost", "-alpn", "h2,http/1.1", VERSION_FLAGS[version])
            async with (
                echo_server(identity, alpn_protocols=["http/1.1"]) as server,
                openssl_client(*arguments, port=server.port) as peer,
            ):
                told, seen = await _echo(peer), await server.connections.get()
                assert (told.protocol, seen.protocol) == (version, version)
                assert (told.cipher, told.alpn) == (seen.cipher, seen.alpn)
                assert told.alpn == "http/1.1"
                assert told.verify == "ok"
                assert told.reused is False
                assert seen.servername == "localhost"
                assert not seen.authorized

        run(main)

    def test_ed25519(self, run: Run, pki: Named, version: str, ca_file: Path) -> None:
        async def main() -> None:
            async with (
                echo_server(pki.server_ed25519) as server,
                openssl_client("-CAfile", ca_file, VERSION_FLAGS[version], port=server.port) as peer,
            ):
                assert (await _echo(peer)).verify == "ok"

        run(main)

    @pytest.mark.parametrize(
        ("arguments", "key"),
        [
            (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), "2048"),
            (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), "256"),
            (("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256"), "2048"),
            (("-tls1_3", "-sigalgs", "ECDSA+SHA256:RSA+SHA256"), "256"),
        ],
    )
    def test_several_identities(self, run: Run, pki: Named, arguments: tuple[str, ...], key: str) -> None:
        """The peer gets the certificate that it can verify."""
        rsa, ec = pki.server, pki.server_ec

        async def main() -> None:
            both: dict[str, Any] = {"cert": [rsa.chain_pem, ec.chain_pem], "key": [rsa.key_pem, ec.key_pem]}
            async with (
                echo_server(**both) as server,
                openssl_client(*arguments, port=server.port) as peer,
            ):
                await _echo(peer)
                assert f"Server public key is {key} bit" in peer.text

        run(main)

    def test_resumption(self, run: Run, version: str, tmp_path: Path) -> None:
        async def main() -> None:
            session = tmp_path / "session.pem"
            async with echo_server(max_version=version) as server:
                async with openssl_client("-sess_out", session, port=server.port) as peer:
                    assert (await _echo(peer)).reused is False
                async with openssl_client("-sess_in", session, port=server.port) as peer:
                    assert (await _echo(peer)).reused is True
                assert (await server.connections.get()).resumed is False
                assert (await server.connections.get()).resumed is True

        run(main)

    def test_client_certificate(
        self, run: Run, pki: Named, version: str, ca_file: Path, client_files: IdentityFiles
    ) -> None:
        async def main() -> None:
            own = ("-cert", client_files.cert, "-key", client_files.key)
            async with (
                echo_server(request_cert=True, ca=pki.ca.cert_pem) as server,
                openssl_client("-CAfile", ca_file, *own, VERSION_FLAGS[version], port=server.port) as peer,
            ):
                await _echo(peer)
                seen = await server.connections.get()
                assert seen.authorized
                assert seen.peer == "client"
                # The names of the authorities that we trust help a client to choose its certificate.
                assert re.search(r"Acceptable client certificate CA names\nCN ?= ?aiotls test root", peer.text)

        run(main)

    def test_client_certificate_missing(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with (
                echo_server(request_cert=True, ca=pki.ca.cert_pem) as server,
                openssl_client(VERSION_FLAGS[version], port=server.port) as peer,
            ):
                told = openssl_handshake((await peer.finished()).text)
                assert told.alert == (116 if version == "TLSv1.3" else 40)
                assert (await server.errors.get()).code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
                assert server.connections.empty()

        run(main)

    def test_client_certificate_of_an_unknown_authority(
        self, run: Run, pki: Named, version: str, stranger_files: IdentityFiles
    ) -> None:
        async def main() -> None:
            own = ("-cert", stranger_files.cert, "-key", stranger_files.key)
            async with (
                echo_server(request_cert=True, ca=pki.ca.cert_pem) as server,
                openssl_client(*own, VERSION_FLAGS[version], port=server.port) as peer,
            ):
                assert openssl_handshake((await peer.finished()).text).alert == 48
                assert (await server.errors.get()).code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
                assert server.connections.empty()

        run(main)

    @pytest.mark.parametrize(("cert", "ca", "authorized"), [("client", "ca", True), ("leaf_a", "ca", False)])
    def test_client_certificate_is_only_looked_at(
        self, run: Run, pki: Named, cert: str, ca: str, authorized: bool, tmp_path: Path
    ) -> None:
        """With ``reject_unauthorized=False`` every client gets in, and the server is told the truth."""

        async def main() -> None:
            files = getattr(pki, cert).write(tmp_path)
            options: dict[str, Any] = {
                "request_cert": True,
                "reject_unauthorized": False,
                "ca": getattr(pki, ca).cert_pem,
            }
            async with (
                echo_server(**options) as server,
                openssl_client("-cert", files.cert, "-key", files.key, port=server.port) as peer,
            ):
                await _echo(peer)
                seen = await server.connections.get()
                assert seen.authorized is authorized
                assert seen.authorization_error == (None if authorized else "UNABLE_TO_VERIFY_LEAF_SIGNATURE")

        run(main)

    def test_no_version_in_common(self, run: Run) -> None:
        async def main() -> None:
            async with (
                echo_server(min_version="TLSv1.3") as server,
                openssl_client("-tls1_2", port=server.port) as peer,
            ):
                assert openssl_handshake((await peer.finished()).text).alert == 70
                assert (await server.errors.get()).code == "ERR_SSL_UNSUPPORTED_PROTOCOL"

        run(main)

    def test_no_cipher_in_common(self, run: Run) -> None:
        async def main() -> None:
            async with (
                echo_server(ciphers="ECDHE-RSA-AES256-GCM-SHA384", max_version="TLSv1.2") as server,
                openssl_client("-cipher", "ECDHE-RSA-AES128-GCM-SHA256", port=server.port) as peer,
            ):
                assert openssl_handshake((await peer.finished()).text).alert == 40
                assert (await server.errors.get()).code == "ERR_SSL_NO_SHARED_CIPHER"

        run(main)

    def test_no_server_name(self, run: Run) -> None:
        async def main() -> None:
            async with echo_server() as server, openssl_client("-noservername", port=server.port) as peer:
                await _echo(peer)
                assert (await server.connections.get()).servername is False

        run(main)

    def test_unix_socket(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "socket"
            async with echo_server(path=path), openssl_client("-unix", path) as peer:
                await _echo(peer)

        run(main)

    def test_ipv6(self, run: Run, ipv6: str) -> None:
        async def main() -> None:
            async with (
                echo_server(host=ipv6) as server,
                openssl_client("-connect", f"[{ipv6}]:{server.port}") as peer,
            ):
                await _echo(peer)

        run(main)


class TestAsServer:
    """Our client talks to ``openssl s_server``, which reverses lines when told ``-rev``."""

    def test_echo(self, run: Run, pki: Named, version: str, identity: Identity, tmp_path: Path) -> None:
        async def main() -> None:
            arguments = (*_own(identity, tmp_path), "-alpn", "h2", "-rev", VERSION_FLAGS[version])
            async with openssl_server(*arguments) as peer:
                options: dict[str, Any] = {"ca": pki.ca.cert_pem, "alpn_protocols": ["http/1.1", "h2"]}
                async with aiotls.connect("localhost", peer.port, **options) as socket:
                    assert socket.get_protocol() == version
                    assert socket.alpn_protocol == "h2"
                    assert socket.authorized is True
                    key = socket.get_ephemeral_key_info()
                    assert key is not None
                    assert key.name
                    socket.write(b"desserts\n")
                    assert await socket.readline() == b"stressed\n"
                    cipher = socket.get_cipher()
                assert (await peer.saw(r"^Protocol version: (\S+)$"))[1] == version
                assert cipher is not None
                assert (await peer.saw(r"^Ciphersuite: (\S+)$"))[1] == cipher.name

        run(main)

    def test_client_certificate(self, run: Run, pki: Named, version: str, ca_file: Path, tmp_path: Path) -> None:
        async def main() -> None:
            arguments = (*_own(pki.server, tmp_path), "-CAfile", ca_file, "-Verify", "3", "-verify_return_error")
            async with openssl_server(*arguments, VERSION_FLAGS[version], "-rev") as peer:
                own: dict[str, Any] = {"cert": pki.client.chain_pem, "key": pki.client.key_pem}
                async with aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, **own) as socket:
                    socket.write(b"live\n")
                    assert await socket.readline() == b"evil\n"
                await peer.saw(r"^Peer certificate: CN ?= ?client$")

        run(main)

    def test_client_certificate_missing(
        self, run: Run, pki: Named, version: str, ca_file: Path, tmp_path: Path
    ) -> None:
        async def main() -> None:
            arguments = (*_own(pki.server, tmp_path), "-CAfile", ca_file, "-Verify", "3", "-verify_return_error")
            async with openssl_server(*arguments, VERSION_FLAGS[version]) as peer:
                with pytest.raises(aiotls.AlertReceived) as refusal:
                    async with aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem) as socket:
                        await socket.read(1)
                assert refusal.value.alert == (116 if version == "TLSv1.3" else 40)
                await peer.saw("peer did not return a certificate")

        run(main)

    @pytest.mark.parametrize(
        ("identity", "ca", "code", "alert"),
        [
            ({"expired": True}, "ca", "CERT_HAS_EXPIRED", 45),
            ({"not_yet_valid": True}, "ca", "CERT_NOT_YET_VALID", 42),
            ({"names": ["other.example"]}, "ca", "ERR_TLS_CERT_ALTNAME_INVALID", 42),
            ({}, "ca_a", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 48),
            ({"purposes": ["client"]}, "ca", "INVALID_PURPOSE", 43),
        ],
    )
    def test_we_refuse(
        self,
        run: Run,
        pki: Named,
        version: str,
        identity: dict[str, Any],
        ca: str,
        code: str,
        alert: int,
        tmp_path: Path,
    ) -> None:
        """The right code for us, the right alert for the server (RFC 8446, section 6.2)."""

        async def main() -> None:
            issued = pki.ca.issue(**{"names": ["localhost"], **identity})
            async with openssl_server(*_own(issued, tmp_path), VERSION_FLAGS[version]) as peer:
                with pytest.raises(aiotls.VerificationError) as refusal:
                    await aiotls.connect("localhost", peer.port, ca=getattr(pki, ca).cert_pem)
                assert refusal.value.code == code
                assert (await peer.saw(r"SSL alert number (\d+)"))[1] == str(alert)

        run(main)

    def test_we_look_only(self, run: Run, pki: Named, tmp_path: Path) -> None:
        """With ``reject_unauthorized=False`` we get in and are told the truth."""

        async def main() -> None:
            expired = pki.ca.issue(["localhost"], expired=True)
            async with openssl_server(*_own(expired, tmp_path), "-rev") as peer:
                options: dict[str, Any] = {"ca": pki.ca.cert_pem, "reject_unauthorized": False}
                async with aiotls.connect("localhost", peer.port, **options) as socket:
                    assert socket.authorized is False
                    assert socket.authorization_error == "CERT_HAS_EXPIRED"
                    socket.write(b"live\n")
                    assert await socket.readline() == b"evil\n"

        run(main)

    def test_chain_of_intermediates(self, run: Run, pki: Named, tmp_path: Path) -> None:
        async def main() -> None:
            files = pki.chain_ec.write(tmp_path)
            async with openssl_server(
                "-cert", files.cert, "-key", files.key, "-cert_chain", files.chain, "-rev"
            ) as peer:
                options: dict[str, Any] = {"ca": pki.ca_ec.cert_pem, "servername": "agent10.example.com"}
                async with aiotls.connect("localhost", peer.port, **options) as socket:
                    assert socket.authorized is True

        run(main)

    def test_unix_socket(self, run: Run, pki: Named, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "socket"
            async with openssl_server(*_own(pki.server, tmp_path), "-rev", unix=path):
                options: dict[str, Any] = {"ca": pki.ca.cert_pem, "servername": "localhost"}
                async with aiotls.connect(path=str(path), **options) as socket:
                    socket.write(b"live\n")
                    assert await socket.readline() == b"evil\n"

        run(main)

    def test_ipv6(self, run: Run, pki: Named, ipv6: str, tmp_path: Path) -> None:
        async def main() -> None:
            async with (
                openssl_server(*_own(pki.server, tmp_path), "-rev", host=ipv6) as peer,
                aiotls.connect(ipv6, peer.port, ca=pki.ca.cert_pem) as socket,
            ):
                socket.write(b"live\n")
                assert await socket.readline() == b"evil\n"

        run(main)


async def _echo(peer: Peer) -> Handshake:
    """Sends a line, waits until it comes back, closes; returns what ``s_client`` says of the connection."""
    peer.write(b"marmalade\n")
    await peer.saw("marmalade")  # wherever it is: only the report that surrounds it is buffered
    peer.write_eof()
    result = await peer.finished()
    assert result.exit_code == 0, result.text
    return openssl_handshake(result.text)


def _own(identity: Identity, directory: Path) -> tuple[str | Path, ...]:
    files = identity.write(directory)
    return "-cert", files.chain, "-key", files.key
