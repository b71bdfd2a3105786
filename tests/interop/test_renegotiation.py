"""Renegotiation (TLS 1.2) with openssl, Node and the scanner sslyze."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import until
from tests.support.peers import Peer, available, needs, node_client, node_server, openssl_client, openssl_server
from tests.support.pki import Named
from tests.support.servers import port_of

NO_RENEGOTIATION = 100
NO_RESUMPTION = aiotls.constants.SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION


class Watched:
    """A server that echoes, and what its sockets have emitted."""

    def __init__(self) -> None:
        self.port = 0
        self.sockets: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        self.secure = 0
        self.errors: list[Any] = []
        self.rejected: list[Any] = []

    def secured(self, socket: aiotls.TLSSocket) -> None:
        def again() -> None:
            self.secure += 1

        socket.on("secure", again)
        socket.on("error", self.errors.append)
        socket.on("data", socket.write)
        self.sockets.put_nowait(socket)


@contextlib.asynccontextmanager
async def watched(pki: Named, **options: Any) -> AsyncIterator[Watched]:
    told = Watched()
    given = {"cert": pki.server.chain_pem, "key": pki.server.key_pem, "max_version": "TLSv1.2", **options}
    server = aiotls.create_server(told.secured, **given)
    server.on("tls_client_error", lambda error, _socket: told.rejected.append(error))
    async with server:
        await server.listen(0, "127.0.0.1")
        told.port = port_of(server)
        yield told
        server.close_all_connections()


# ---- openssl


@needs("openssl")
class TestOpensslAsClient:
    """``openssl s_client`` renegotiates when a line of its input begins with R."""

    def test_reneg_02_the_limit(self, run: Run, pki: Named) -> None:
        """RENEG-02, failure model 13: three succeed, with data between them; the fourth ends the connection."""

        async def main() -> None:
            async with watched(pki) as told, openssl_client("-tls1_2", port=told.port) as peer:
                for number in range(1, 4):
                    peer.write(b"R\n")
                    await turned(peer, number, lambda: told.secure)
                    peer.write(b"line %d\n" % number)
                    await peer.saw(f"line {number}")
                assert told.errors == []
                peer.write(b"R\n")
                text = (await peer.finished()).text
                assert f"SSL alert number {NO_RENEGOTIATION}" in text or "no renegotiation" in text
                await until(lambda: told.errors)
                assert [error.code for error in told.errors] == ["ERR_TLS_SESSION_ATTACK"]
                assert told.secure == 3
                assert told.rejected == []
                assert (await told.sockets.get()).destroyed

        run(main)

    def test_failure_model_13_nobody_listens(self, run: Run, pki: Named, loop_errors: list[dict[str, Any]]) -> None:
        """Failure model 13: the limit holds for a server that has no listener of its sockets' errors."""

        async def main() -> None:
            server = aiotls.create_server(cert=pki.server.chain_pem, key=pki.server.key_pem, max_version="TLSv1.2")
            secure = 0

            def again() -> None:
                nonlocal secure
                secure += 1

            server.on("secure_connection", lambda socket: socket.on("secure", again))
            async with server:
                await server.listen(0, "127.0.0.1")
                async with openssl_client("-tls1_2", port=port_of(server)) as peer:
                    for number in range(1, 4):
                        peer.write(b"R\n")
                        await turned(peer, number, lambda: secure)
                    peer.write(b"R\n")
                    await peer.finished()
                await until(lambda: server.get_connections() == 0)
            assert [context["exception"].code for context in loop_errors] == ["ERR_TLS_SESSION_ATTACK"]
            loop_errors.clear()

        run(main)

    def test_reneg_02_disabled(self, run: Run, pki: Named) -> None:
        """RENEG-02."""

        async def main() -> None:
            async with watched(pki) as told, openssl_client("-tls1_2", port=told.port) as peer:
                (await told.sockets.get()).disable_renegotiation()
                peer.write(b"R\n")
                await peer.finished()
                await until(lambda: told.errors)
                assert [error.code for error in told.errors] == ["ERR_TLS_RENEGOTIATION_DISABLED"]
                assert told.secure == 0

        run(main)

    @pytest.mark.parametrize("name", ["leaf_a", "leaf_b", None])
    def test_auth_04_a_certificate_later(self, run: Run, pki: Named, name: str | None, tmp_path: Path) -> None:
        """AUTH-04: our server asks for a certificate when the connection is open already."""

        async def main() -> None:
            own: tuple[str | Path, ...] = ()
            if name is not None:
                files = getattr(pki, name).write(tmp_path)
                own = ("-cert", files.chain, "-key", files.key)
            async with (
                watched(pki, ca=pki.ca_a.cert_pem, secure_options=NO_RESUMPTION) as told,
                openssl_client("-tls1_2", *own, port=told.port) as peer,
            ):
                socket = await told.sockets.get()
                assert not socket.get_peer_certificate()
                await socket.renegotiate(request_cert=True, reject_unauthorized=False)
                codes = {"leaf_b": "UNABLE_TO_VERIFY_LEAF_SIGNATURE", None: "UNABLE_TO_GET_ISSUER_CERT"}
                assert socket.authorized is (name == "leaf_a")
                assert socket.authorization_error == codes.get(name)
                peer.write(b"marmalade\n")
                await peer.saw("marmalade")

        run(main)

    def test_a_client_that_declines(self, run: Run, pki: Named) -> None:
        async def main() -> None:
            async with watched(pki) as told, openssl_client("-tls1_2", "-no_renegotiation", port=told.port):
                with pytest.raises(aiotls.RenegotiationError) as caught:
                    await (await told.sockets.get()).renegotiate()
                assert caught.value.code == "ERR_SSL_NO_RENEGOTIATION"

        run(main)


async def turned(peer: Peer, times: int, count: Callable[[], int]) -> None:
    """Waits until `peer` says that it renegotiates for the so-manieth time, and the server has counted it."""
    await peer.saw("(?s)" + "RENEGOTIATING.*?" * times)
    await until(lambda: count() == times)


@needs("openssl")
class TestOpensslAsServer:
    """``openssl s_server`` renegotiates when a line of its input is r, and asks for a certificate when it is R."""

    def arguments(self, pki: Named, directory: Path) -> tuple[str | Path, ...]:
        files = pki.server.write(directory)
        return ("-cert", files.chain, "-key", files.key, "-tls1_2")

    def test_it_renegotiates(self, run: Run, pki: Named, ca_file: Path, tmp_path: Path) -> None:
        async def main() -> None:
            arguments = (*self.arguments(pki, tmp_path), "-CAfile", ca_file, "-no_resumption_on_reneg")
            async with openssl_server(*arguments) as peer:
                own: dict[str, Any] = {"cert": pki.client.chain_pem, "key": pki.client.key_pem}
                async with aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, **own) as socket:
                    events: list[str] = []
                    for event in ("secure", "secure_connect"):
                        socket.on(event, lambda event=event: events.append(event))
                    socket.write(b"before\n")
                    await peer.saw("^before$")
                    for number, letter in enumerate((b"r\n", b"R\n", b"r\n", b"r\n", b"r\n"), 1):
                        again = asyncio.ensure_future(socket.wait_for("secure"))
                        peer.write(letter)
                        await again
                        socket.write(b"after %d\n" % number)
                        await peer.saw(f"^after {number}$")
                        peer.write(b"answer %d\n" % number)
                        assert await socket.readline() == b"answer %d\n" % number
                    assert events == ["secure"] * 5
                    await peer.saw("depth=0 CN ?= ?client")
                    assert socket.authorized is True

        run(main)

    def test_we_renegotiate(self, run: Run, pki: Named, tmp_path: Path) -> None:
        async def main() -> None:
            async with (
                openssl_server(*self.arguments(pki, tmp_path), "-client_renegotiation") as peer,
                aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem) as socket,
            ):
                for number in range(5):
                    await socket.renegotiate()
                    socket.write(b"line %d\n" % number)
                    await peer.saw(f"^line {number}$")

        run(main)

    def test_it_declines(self, run: Run, pki: Named, tmp_path: Path) -> None:
        """Without being told so, it does not let clients renegotiate."""

        async def main() -> None:
            async with openssl_server(*self.arguments(pki, tmp_path)) as peer:
                socket = await aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem)
                with pytest.raises(aiotls.PeerError) as caught:
                    await socket.renegotiate()
                assert caught.value.code == "ERR_SSL_NO_RENEGOTIATION"
                assert socket.destroyed

        run(main)

    def test_we_decline(self, run: Run, pki: Named, tmp_path: Path) -> None:
        async def main() -> None:
            async with openssl_server(*self.arguments(pki, tmp_path)) as peer:
                socket = await aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem)
                errors: list[Any] = []
                socket.on("error", errors.append)
                socket.disable_renegotiation()
                closed = asyncio.ensure_future(socket.wait_for("close"))
                peer.write(b"r\n")
                assert await closed is True
                assert [error.code for error in errors] == ["ERR_TLS_RENEGOTIATION_DISABLED"]

        run(main)


# ---- Node


@needs("node")
class TestNode:
    def test_as_client(self, run: Run, pki: Named) -> None:
        """RENEG-02: three of its ``renegotiate`` succeed, the fourth fails on both sides."""

        async def main() -> None:
            own = {"ca": pki.ca.cert_pem.decode(), "servername": "localhost", "renegotiate": {"times": 4}}
            async with watched(pki) as told, node_client(**own, port=told.port) as peer:
                await peer.event("secure", protocol="TLSv1.2")
                for _ in range(3):
                    await peer.event("renegotiated", code=None)
                await peer.event("error")
                await until(lambda: told.errors)
                assert [error.code for error in told.errors] == ["ERR_TLS_SESSION_ATTACK"]
                assert told.secure == 3

        run(main)

    def test_as_client_that_is_asked(self, run: Run, pki: Named) -> None:
        async def main() -> None:
            own = {"ca": pki.ca.cert_pem.decode(), "servername": "localhost"}
            identity = {"cert": pki.client.chain_pem.decode(), "key": pki.client.key_pem.decode()}
            async with (
                watched(pki, ca=pki.ca.cert_pem) as told,
                node_client(**own, **identity, port=told.port) as peer,
            ):
                socket = await told.sockets.get()
                await socket.renegotiate(request_cert=True)
                assert socket.authorized is True
                assert socket.get_peer_certificate().raw == pki.client.der  # type: ignore[union-attr]
                peer.write(b"marmalade")
                await peer.event("data", text="marmalade")

        run(main)

    def test_as_server(self, run: Run, pki: Named) -> None:
        """It asks for our certificate later, and ours is shown; it counts its own ones too, so once is enough."""

        async def main() -> None:
            identity = {"cert": pki.server.chain_pem.decode(), "key": pki.server.key_pem.decode()}
            wanted = {"times": 1, "requestCert": True, "rejectUnauthorized": True}
            options = {"ca": pki.ca.cert_pem.decode(), "max_version": "TLSv1.2", "secure_options": NO_RESUMPTION}
            async with node_server(**identity, **options, renegotiate=wanted) as peer:
                own: dict[str, Any] = {"cert": pki.client.chain_pem, "key": pki.client.key_pem}
                async with aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, **own) as socket:
                    await peer.event("renegotiated", code=None, authorized=True, peer="client")
                    socket.end(b"marmalade")
                    assert await socket.read() == b"marmalade"

        run(main)

    def test_as_server_that_answers(self, run: Run, pki: Named) -> None:
        async def main() -> None:
            identity = {"cert": pki.server.chain_pem.decode(), "key": pki.server.key_pem.decode()}
            async with (
                node_server(**identity, max_version="TLSv1.2") as peer,
                aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem) as socket,
            ):
                for _ in range(3):
                    await socket.renegotiate()
                socket.end(b"marmalade")
                assert await socket.read() == b"marmalade"

        run(main)


# ---- a scanner


@pytest.mark.skipif(not available("sslyze"), reason="not installed: sslyze")  # no peer that a CI must have
def test_sslyze_finds_no_denial_of_service(run: Run, pki: Named, tmp_path: Path) -> None:
    """Goal 10: a client may not renegotiate as often as it likes, and never insecurely (RFC 5746)."""

    async def main() -> None:
        report = tmp_path / "report.json"
        async with watched(pki) as told:
            process = await asyncio.create_subprocess_exec(
                "sslyze",
                "--reneg",
                f"--json_out={report}",
                f"127.0.0.1:{told.port}",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            assert report.exists(), output
        (server,) = json.loads(report.read_text())["server_scan_results"]
        found = server["scan_result"]["session_renegotiation"]["result"]
        assert found["is_vulnerable_to_client_renegotiation_dos"] is False
        assert found["supports_secure_renegotiation"] is True
        assert "ERR_TLS_SESSION_ATTACK" in {error.code for error in told.errors}

    run(main)
