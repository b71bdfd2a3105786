"""Resumption between aiotls and other implementations, both ways, by tickets and by identifiers."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import aiotls
from aiotls.constants import SSL_OP_NO_TICKET
from tests.conftest import Run
from tests.support import peers
from tests.support.peers import Peer, needs, openssl_client, openssl_handshake
from tests.support.pki import Identity, Named
from tests.support.servers import echo, port_of, serving
from tests.support.sessions import NEW, RENEWED, Store, greet, turns

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


@pytest.fixture(params=["tickets", "identifiers"])
def stored(request: pytest.FixtureRequest) -> bool:
    """Whether the server keeps the sessions itself: by identifier, or by a stateful ticket of TLS 1.3."""
    return bool(request.param == "identifiers")


def keeping(version: str, stored: bool) -> dict[str, Any]:
    """The options of a server."""
    return {"max_version": version, "secure_options": SSL_OP_NO_TICKET if stored else None}


@needs("openssl")
@pytest.mark.parametrize("flags", [("-tls1_2",), ("-tls1", "-cipher", "ALL:@SECLEVEL=0")], ids=["TLSv1.2", "TLSv1"])
class TestReconnectingClient:
    """SES-04: ``openssl s_client -reconnect``, which connects six times with the session of the first connection."""

    def options(self, pki: Named) -> dict[str, Any]:
        return {
            "cert": pki.server.chain_pem,
            "key": pki.server.key_pem,
            "request_cert": True,
            "reject_unauthorized": False,
            "ciphers": "RSA@SECLEVEL=0",
            "secure_protocol": "TLS_method",
        }

    async def run_client(self, server: aiotls.Server, *flags: str) -> None:
        async with openssl_client("-reconnect", *flags, port=port_of(server)) as peer:
            result = await peer.finished()
        assert result.exit_code == 0, result.text
        assert "unexpected eof" not in result.text

    def test_identifiers(self, run: Run, pki: Named, flags: tuple[str, ...]) -> None:
        """SES-04: one new session, asked for five times, and resumed."""

        async def main() -> None:
            store = Store()
            resumed: list[bool | None] = []
            async with serving(lambda tls: tls.end(), **self.options(pki)) as server:
                server.on("secure_connection", lambda tls: resumed.append(tls.is_session_reused()))
                store.serve(server, patiently=True)
                await self.run_client(server, "-no_ticket", *flags)
            assert resumed == [False] + [True] * 5
            assert len(store.made) == 1
            assert store.asked == store.made * 5

        run(main)

    def test_tickets(self, run: Run, pki: Named, flags: tuple[str, ...]) -> None:
        """SES-04: neither event is used."""

        async def main() -> None:
            store = Store()
            resumed: list[bool | None] = []
            async with serving(lambda tls: tls.end(), **self.options(pki)) as server:
                server.on("secure_connection", lambda tls: resumed.append(tls.is_session_reused()))
                store.serve(server, patiently=True)
                await self.run_client(server, *flags)
            assert resumed == [False] + [True] * 5
            assert (store.made, store.asked) == ([], [])

        run(main)

    def test_garbage(self, run: Run, pki: Named, flags: tuple[str, ...]) -> None:
        """SES-04: an answer that is no session means six sessions, and close_notify on each connection."""

        async def main() -> None:
            store = Store()
            asked: list[bytes] = []

            async def garbage(session_id: bytes) -> bytes:
                await turns()
                asked.append(session_id)
                return b"INVALID SESSION"

            async with serving(lambda tls: tls.end(), **self.options(pki)) as server:
                resumed: list[bool | None] = []
                server.on("secure_connection", lambda tls: resumed.append(tls.is_session_reused()))
                server.on("resume_session", garbage)
                store.serve(server, patiently=True)
                await self.run_client(server, "-no_ticket", *flags)
            assert resumed == [False] * 6
            assert len(asked) == 5
            assert len(set(store.made)) == len(store.made) == 6

        run(main)


class TestClients:
    """They resume what our server gave them."""

    @needs("openssl")
    def test_openssl(self, run: Run, version: str, stored: bool, tmp_path: Path) -> None:
        async def main() -> None:
            store = Store()
            session = tmp_path / "session.pem"
            async with serving(greet, **keeping(version, stored)) as server:
                store.serve(server, patiently=True)
                port = port_of(server)
                assert await openssl_reused(port, "-sess_out", session) is False
                made = len(store.made)
                assert made == (NEW[version] if stored or version == "TLSv1.3" else 0)
                for visits in (1, 2):
                    assert await openssl_reused(port, "-sess_in", session) is True
                    assert len(store.found) == (visits if stored else 0)
                assert len(store.made) == made + 2 * RENEWED[version]

        run(main)

    @needs("openssl")
    def test_openssl_under_another_name(self, run: Run, pki: Named, version: str, stored: bool, tmp_path: Path) -> None:
        """Failure model 15: s_client offers its session anywhere; only the context that made it takes it."""

        async def main() -> None:
            store = Store()
            session = tmp_path / "session.pem"
            identity: dict[str, Any] = {"cert": pki.server.chain_pem, "key": pki.server.key_pem}
            options = keeping(version, stored)
            async with serving(greet, **options) as server:
                server.add_context("a.example.com", **identity, secure_options=options["secure_options"])
                server.add_context("b.example.com", **identity, secure_options=options["secure_options"])
                store.serve(server)
                port = port_of(server)
                assert await openssl_reused(port, "-servername", "a.example.com", "-sess_out", session) is False
                for name, expected in (("b.example.com", False), ("c.example.com", False), ("a.example.com", True)):
                    assert await openssl_reused(port, "-servername", name, "-sess_in", session) is expected

        run(main)

    @needs("openssl")
    def test_session_timeout(self, run: Run, tmp_path: Path) -> None:
        """SES-08: new, reused at once, new again when the time is over; the session says how long it lives."""

        async def one(version: str) -> None:
            session = tmp_path / f"{version}.pem"
            options: dict[str, Any] = {"session_timeout": 5, "session_id_context": "test-session-timeout"}
            async with serving(greet, max_version=version, **options) as server:
                async with openssl_client("-sess_out", session, port=port_of(server)) as peer:
                    first = (await peer.finished()).text
                assert openssl_handshake(first).reused is False
                assert "ticket lifetime hint: 5 (seconds)" in first
                assert await openssl_reused(port_of(server), "-sess_in", session) is True
                await asyncio.sleep(6)
                assert await openssl_reused(port_of(server), "-sess_in", session) is False

        async def main() -> None:
            await asyncio.gather(one("TLSv1.2"), one("TLSv1.3"))

        run(main)

    @needs("curl")
    @pytest.mark.parametrize(("arguments", "resumed"), [((), [False, True, True]), (("--no-sessionid",), [False] * 3)])
    def test_curl(
        self, run: Run, version: str, stored: bool, ca_file: Path, arguments: tuple[str, ...], resumed: list[bool]
    ) -> None:
        """Three pages in one go, each on a connection of its own."""

        async def page(tls: aiotls.TLSSocket) -> None:
            await tls.readuntil(b"\r\n\r\n")
            tls.end(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

        async def main() -> None:
            store = Store()
            seen: list[bool | None] = []
            async with serving(page, **keeping(version, stored)) as server:
                server.on("secure_connection", lambda tls: seen.append(tls.is_session_reused()))
                store.serve(server, patiently=True)
                url = f"https://localhost:{port_of(server)}/"
                result = await peers.curl("--cacert", ca_file, "--http1.1", *arguments, url, url, url)
            assert result.exit_code == 0, result.text
            assert result.output == "ok" * 3
            assert seen == resumed
            # It asks for no tickets, but TLS 1.3 gives some.
            assert len(store.found) == (seen.count(True) if stored or version == "TLSv1.2" else 0)

        run(main)

    @pytest.mark.parametrize("peer", [pytest.param("node", marks=needs("node"))])
    def test_node(self, run: Run, pki: Named, version: str, stored: bool, peer: str) -> None:
        async def main() -> None:
            store = Store()
            seen: list[bool | None] = []
            options: dict[str, Any] = {"ca": pki.ca.cert_pem.decode(), "servername": "localhost", "resume": True}
            async with serving(echo, **keeping(version, stored)) as server:
                server.on("secure_connection", lambda tls: seen.append(tls.is_session_reused()))
                store.serve(server, patiently=True)
                async with peers.node_client(port=port_of(server), **options) as client:
                    await client.event("secure", reused=False, authorized=True)
                    await client.event("secure", reused=True, authorized=True)
                    client.write(b"again")
                    await client.event("data", text="again")
                    client.write_eof()
                    assert (await client.finished()).exit_code == 0
            assert seen == [False, True]
            assert len(store.found) == (1 if stored else 0)

        run(main)


class TestServers:
    """Our client resumes what they gave it."""

    @needs("openssl")
    @pytest.mark.parametrize("flags", [(), ("-no_ticket",)], ids=["tickets", "identifiers"])
    def test_openssl(self, run: Run, pki: Named, version: str, tmp_path: Path, flags: tuple[str, ...]) -> None:
        async def main() -> None:
            files = pki.server.write(tmp_path)
            own = ("-cert", files.chain, "-key", files.key)
            async with peers.openssl_server(*own, "-rev", *flags, VERSION_FLAGS[version]) as peer:
                await three_connections(pki, peer.port, version, answer=b"stressed\n")

        run(main)

    @needs("gnutls-serv")
    def test_gnutls(self, run: Run, pki: Named, version: str, tmp_path: Path) -> None:
        async def main() -> None:
            files = pki.server.write(tmp_path)
            own = ("--x509certfile", files.chain, "--x509keyfile", files.key, "--disable-client-cert")
            async with peers.gnutls_server(*own) as peer:
                await three_connections(pki, peer.port, version)

        run(main)

    @needs("node")
    def test_node(self, run: Run, pki: Named, version: str) -> None:
        self.scripted(run, pki, version, peers.node_server)

    def test_python(self, run: Run, pki: Named, version: str) -> None:
        self.scripted(run, pki, version, peers.python_server)

    def scripted(
        self,
        run: Run,
        pki: Named,
        version: str,
        start: Callable[..., AbstractAsyncContextManager[peers.ScriptedPeer]],
    ) -> None:
        async def main() -> None:
            async with start(**pem(pki.server)) as peer:
                await three_connections(pki, peer.port, version)
                for reused in (False, True, True):
                    assert (await peer.event("secure"))["reused"] is reused

        run(main)

    @needs("openssl")
    def test_a_server_that_has_forgotten(self, run: Run, pki: Named, version: str, tmp_path: Path) -> None:
        """After a restart its tickets are of no use: a full handshake."""

        async def main() -> None:
            files = pki.server.write(tmp_path)
            session: bytes | None = None
            for _ in range(2):
                own = ("-cert", files.chain, "-key", files.key)
                async with peers.openssl_server(*own, "-rev", VERSION_FLAGS[version]) as peer:
                    session = await connection(pki, peer.port, version, session, reused=False, answer=b"stressed\n")

        run(main)


async def three_connections(pki: Named, port: int, version: str, answer: bytes = b"desserts\n") -> None:
    """A full handshake, and two that resume what the one before has brought."""
    session: bytes | None = None
    for reused in (False, True, True):
        session = await connection(pki, port, version, session, reused=reused, answer=answer)


async def connection(
    pki: Named, port: int, version: str, session: bytes | None, *, reused: bool, answer: bytes
) -> bytes | None:
    options: dict[str, Any] = {"ca": pki.ca.cert_pem, "max_version": version, "session": session}
    async with aiotls.connect("localhost", port, **options) as client:
        assert client.get_protocol() == version
        assert client.is_session_reused() is reused
        assert client.authorized is True
        certificate = client.get_peer_certificate()
        assert certificate is not None
        assert certificate.raw == pki.server.der
        client.write(b"desserts\n")
        assert await client.readline() == answer
        session = client.get_session()
        assert session is not None
        return session


async def openssl_reused(port: int, *arguments: str | Path) -> bool | None:
    """Whether ``s_client`` has resumed a session of a server that greets."""
    async with openssl_client(*arguments, port=port) as peer:
        return await _reused(peer)


async def _reused(peer: Peer) -> bool | None:
    result = await peer.finished()
    assert result.exit_code == 0, result.text
    return openssl_handshake(result.text).reused


def pem(identity: Identity) -> dict[str, str]:
    """An identity as options of a scripted peer."""
    return {"cert": identity.chain_pem.decode(), "key": identity.key_pem.decode()}
