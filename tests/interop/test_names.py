"""Names and protocols as other programs ask for them: openssl, GnuTLS, curl and Node against our server."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.names import ClientErrors, answering, credentials
from tests.support.peers import (
    Handshake,
    curl,
    curl_handshake,
    gnutls_client,
    gnutls_handshake,
    needs,
    node_client,
    openssl_client,
    openssl_handshake,
)
from tests.support.pki import IdentityFiles, Named
from tests.support.servers import port_of

WAYS = ("add_context", "plain", "async")
"""How the server knows its names: from `add_context`, or from an `sni_callback` of one of the two styles."""

NAMES = [
    ("a.example.com", "a.example.com"),
    ("A.Example.COM", "a.example.com"),
    ("b.example.com", "b.example.com"),
    ("any.example.org", "*.example.org"),
    ("x.any.example.org", "localhost"),
    ("localhost", "localhost"),
    (None, "localhost"),
]
"""What a client asks for, and the common name that it gets."""

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}
NO_CERTIFICATE = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
NO_APPLICATION_PROTOCOL = "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
INTERNAL_ERROR = "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR"


@dataclass
class NamesServer:
    """A running server: whom it served, and whom it could not."""

    server: aiotls.Server
    port: int
    errors: ClientErrors
    connections: "asyncio.Queue[tuple[str | bool | None, str | bool | None]]"
    """`servername` and `alpn_protocol` of each."""


@contextlib.asynccontextmanager
async def names_server(way: str | None = None, **options: Any) -> AsyncIterator[NamesServer]:
    """A server that knows `NAMES`, echoes, and answers a GET with the name that it was asked for."""
    connections: asyncio.Queue[Any] = asyncio.Queue()

    async def serve(socket: aiotls.TLSSocket) -> None:
        name = socket.servername
        connections.put_nowait((name, socket.alpn_protocol))
        with contextlib.suppress(ConnectionError):  # a peer that the test has ended
            async for chunk in socket:
                if chunk.startswith(b"GET "):
                    body = str(name).encode()
                    socket.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
                    socket.end(body)
                else:
                    socket.write(chunk)
                await socket.drain()

    if way in ("plain", "async"):
        contexts = {
            name: aiotls.create_secure_context(**credentials(name))
            for name in ("a.example.com", "b.example.com", "*.example.org")
        }

        def choose(name: str) -> aiotls.SecureContext | None:
            name = name.lower().removesuffix(".")
            return contexts.get(name) or contexts.get(re.sub(r"^[^.]+", "*", name))

        options["sni_callback"] = answering(way, choose)
    server = aiotls.create_server(serve, **{**credentials("localhost"), **options})
    if way == "add_context":
        for name in ("*.example.org", "a.example.com", "b.example.com"):
            server.add_context(name, **credentials(name))
    async with server:
        await server.listen(0, "127.0.0.1")
        yield NamesServer(server, port_of(server), ClientErrors(server), connections)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@needs("openssl")
class TestOpenSSL:
    """``openssl s_client`` with ``-servername`` and ``-alpn``."""

    async def told(self, port: int, *arguments: str | Path, session: bool = False) -> "Told":
        """What it says about a connection on which a line came back."""
        async with openssl_client(*arguments, port=port) as peer:
            peer.write(b"marmalade\n")
            await peer.saw("marmalade")
            peer.write_eof()
            result = await peer.finished()
            assert result.exit_code == 0, result.text
            subject = re.search(r"^subject=CN ?= ?(.*)$", result.text, re.MULTILINE)
            return Told(openssl_handshake(result.text), subject[1] if subject else None, result.text)

    async def refused(self, port: int, *arguments: str | Path) -> int | None:
        """The alert that it gets."""
        async with openssl_client(*arguments, port=port) as peer:
            return openssl_handshake((await peer.finished()).text).alert

    def test_server_name(self, run: Run, version: str, way: str, ca_file: Path) -> None:
        """SNI-03: the certificate of the name, verified."""

        async def main() -> None:
            async with names_server(way) as server:
                for name, expected in (*NAMES, ("a.example.com.", "a.example.com")):
                    asked = ("-servername", name) if name else ("-noservername",)
                    told = await self.told(server.port, "-CAfile", ca_file, VERSION_FLAGS[version], *asked)
                    assert told.subject == expected
                    assert told.handshake.verify == "ok"
                    assert await server.connections.get() == (name or False, False)

        run(main)

    @pytest.mark.parametrize("name", ["secret.example", "SECRET.EXAMPLE", "secret.example.", "sEcret.eXample."])
    def test_a_name_that_asks_for_a_certificate(
        self, run: Run, pki: Named, version: str, name: str, stranger_files: IdentityFiles
    ) -> None:
        """CVE-2026-48928: asked for under any spelling, with the authorities of that context; nobody else is asked."""

        async def main() -> None:
            async with names_server() as server:
                strict = {**credentials("secret.example"), "ca": pki.ca_a.cert_pem}
                server.server.add_context("secret.example", **strict, request_cert=True)
                asked = (VERSION_FLAGS[version], "-servername", name)
                assert await self.refused(server.port, *asked) == (116 if version == "TLSv1.3" else 40)
                assert (await server.errors.next())[0].code == NO_CERTIFICATE
                own = ("-cert", stranger_files.cert, "-key", stranger_files.key)
                told = await self.told(server.port, *asked, *own)
                assert told.subject == "secret.example"
                assert re.search(r"Acceptable client certificate CA names\nCN ?= ?ca1\n", told.text)
                told = await self.told(server.port, VERSION_FLAGS[version], "-servername", "secret.example.org")
                assert "No client certificate CA names sent" in told.text
                assert server.errors.empty

        run(main)

    def test_a_session_under_another_name(self, run: Run, pki: Named, version: str, tmp_path: Path) -> None:
        """Failure model 15: a full handshake, with the certificate and the policy of the other name."""

        async def main() -> None:
            async with names_server("add_context") as server:
                server.server.add_context("secret", **credentials("secret"), ca=pki.ca.cert_pem, request_cert=True)
                session = tmp_path / "session.pem"
                flag = VERSION_FLAGS[version]
                name = ("-servername", "a.example.com")
                told = await self.told(server.port, flag, *name, "-sess_out", session)
                assert told.handshake.reused is False
                offered = ("-sess_in", session)
                told = await self.told(server.port, flag, *name, *offered)
                assert told.handshake.reused is True
                for other in ("b.example.com", "localhost"):
                    told = await self.told(server.port, flag, "-servername", other, *offered)
                    assert told.handshake.reused is False
                    assert told.subject == other
                alert = await self.refused(server.port, flag, "-servername", "secret", *offered)
                assert alert == (116 if version == "TLSv1.3" else 40)
                assert (await server.errors.next())[0].code == NO_CERTIFICATE

        run(main)

    def test_names_of_odd_bytes(self, run: Run, version: str, way: str) -> None:
        """A name that is no text ends that handshake at most; the next client is served."""

        async def main() -> None:
            async with names_server(way) as server:
                # The bytes 0xFF and 0xE9, as an argument of a program.
                for name in (
                    "\udcff",
                    "\udce9.example.org",
                    "a.example.com\udcff",
                    "*.example.org",
                    "a b",
                    "-",
                    ".",
                    "x" * 255,
                ):
                    async with openssl_client(VERSION_FLAGS[version], "-servername", name, port=server.port) as peer:
                        peer.write_eof()
                        await peer.finished()
                told = await self.told(server.port, VERSION_FLAGS[version], "-servername", "a.example.com")
                assert told.subject == "a.example.com"

        run(main)

    def test_alpn_callback(self, run: Run, version: str, style: str) -> None:
        """ALPN-02: the answer is negotiated, and ``acme-tls/1`` gets the certificate of its own."""

        def choose(socket: aiotls.TLSSocket, _name: str | bool, protocols: list[str]) -> str:
            if protocols == ["acme-tls/1"]:
                socket.set_key_cert(**credentials("acme"))
            return protocols[-1]

        async def main() -> None:
            async with names_server("add_context", alpn_callback=answering(style, choose)) as server:
                asked = (VERSION_FLAGS[version], "-servername", "a.example.com")
                for offered, agreed, subject in (
                    ("h2,http/1.1", "http/1.1", "a.example.com"),
                    ("acme-tls/1", "acme-tls/1", "acme"),
                ):
                    told = await self.told(server.port, *asked, "-alpn", offered)
                    assert told.handshake.alpn == agreed
                    assert told.subject == subject
                    assert await server.connections.get() == ("a.example.com", agreed)
                assert (await self.told(server.port, *asked)).handshake.alpn is None

        run(main)

    @pytest.mark.parametrize("answer", [None, "not offered"])
    def test_no_application_protocol(self, run: Run, version: str, style: str, answer: str | None) -> None:
        """ALPN-02: the alert, whether there is no answer or a wrong one, and whatever was negotiated by name."""

        async def main() -> None:
            callback = answering(style, lambda *_: answer)
            async with names_server("add_context", alpn_callback=callback) as server:
                asked = (VERSION_FLAGS[version], "-servername", "a.example.com", "-alpn", "h2,http/1.1")
                assert await self.refused(server.port, *asked) == 120
                assert (await server.errors.next())[0].code == (
                    "ERR_SSL_NO_APPLICATION_PROTOCOL" if answer is None else "ERR_TLS_ALPN_CALLBACK_INVALID_RESULT"
                )
                assert server.connections.empty()

        run(main)

    def test_a_list_under_a_name(self, run: Run, version: str, way: str) -> None:
        """The server's list counts for every context: its order, and its alert."""

        async def main() -> None:
            async with names_server(way, alpn_protocols=["h3", "http/1.1", "h2"]) as server:
                asked = (VERSION_FLAGS[version], "-servername", "a.example.com", "-alpn")
                assert (await self.told(server.port, *asked, "h2,http/1.1")).handshake.alpn == "http/1.1"
                assert await self.refused(server.port, *asked, "spdy/3") == 120

        run(main)

    @pytest.mark.parametrize("option", ["sni_callback", "alpn_callback"])
    def test_callbacks_that_raise(self, run: Run, version: str, style: str, option: str) -> None:
        """CVE-2026-27448, CVE-2026-21637: the alert internal_error, and no connection."""
        wrong = LookupError("a mistake of the user")

        def fail(*_: Any) -> None:
            raise wrong

        callbacks: dict[str, Any] = {option: answering(style, fail)}

        async def main() -> None:
            async with names_server(**callbacks) as server:
                asked = (VERSION_FLAGS[version], "-servername", "a.example.com", "-alpn", "h2")
                assert await self.refused(server.port, *asked) == 80
                assert (await server.errors.next())[0] is wrong
                assert server.connections.empty()
                told = await self.told(server.port, VERSION_FLAGS[version], "-noservername")
                assert told.subject == "localhost"

        run(main)

    def test_secure_context_reload(self, run: Run, version: str) -> None:
        """Failure model 17: a connection keeps its context, the next one has the new one."""

        async def main() -> None:
            async with (
                names_server() as server,
                openssl_client(VERSION_FLAGS[version], port=server.port) as peer,
            ):
                peer.write(b"before\n")
                await peer.saw("before")
                server.server.set_secure_context(**credentials("renewed"))
                assert (await self.told(server.port, VERSION_FLAGS[version])).subject == "renewed"
                peer.write(b"after\n")
                await peer.saw("after")
                assert re.search(r"^subject=CN ?= ?localhost$", peer.text, re.MULTILINE)

        run(main)


@dataclass(frozen=True)
class Told:
    """What ``openssl s_client`` tells."""

    handshake: Handshake
    subject: str | None
    """The common name in our certificate."""
    text: str


@needs("node")
class TestNode:
    """Node's `servername` and `ALPNProtocols`."""

    def test_server_name(self, run: Run, pki: Named, version: str, way: str) -> None:
        """SNI-03, SNI-04: the certificate of the name; Node verifies it for that name."""

        async def main() -> None:
            async with names_server(way) as server:
                for name, expected in NAMES[:5]:
                    options = {"ca": pki.ca.cert_pem.decode(), "servername": name, "max_version": version}
                    async with node_client(port=server.port, verify=False, **options) as peer:
                        told = await peer.event("secure", peer=expected, protocol=version)
                        assert told["authorized"] is (expected != "localhost")
                        assert await server.connections.get() == (name, False)

        run(main)

    def test_a_name_that_asks_for_a_certificate(self, run: Run, pki: Named, version: str) -> None:
        """CVE-2026-48928: in upper case too; a certificate of an authority of that context opens."""

        async def main() -> None:
            async with names_server() as server:
                strict = {**credentials("secret.example"), "ca": pki.ca_a.cert_pem}
                server.server.add_context("secret.example", **strict, request_cert=True)
                options = {"port": server.port, "verify": False, "max_version": version}
                async with node_client(servername="SECRET.EXAMPLE", **options) as peer:
                    await peer.event("error")
                    assert (await server.errors.next())[0].code == NO_CERTIFICATE
                own = {"cert": pki.leaf_a.chain_pem.decode(), "key": pki.leaf_a.key_pem.decode()}
                async with node_client(servername="SECRET.EXAMPLE", **own, **options) as peer:
                    await peer.event("secure", peer="secret.example")
                    peer.write(b"hello")
                    await peer.event("data", text="hello")

        run(main)

    def test_alpn_callback(self, run: Run, version: str, style: str) -> None:
        """ALPN-02: the answer is negotiated, under a context by name."""

        async def main() -> None:
            callback = answering(style, lambda _socket, _name, protocols: protocols[1])
            async with names_server("add_context", alpn_callback=callback) as server:
                options = {"servername": "a.example.com", "verify": False, "max_version": version}
                async with node_client(port=server.port, alpn=["h2", "http/1.1"], **options) as peer:
                    await peer.event("secure", alpn="http/1.1", peer="a.example.com")
                    assert await server.connections.get() == ("a.example.com", "http/1.1")

        run(main)

    @pytest.mark.parametrize("option", ["alpn_protocols", "alpn_callback", "wrong"])
    def test_no_application_protocol(self, run: Run, version: str, option: str) -> None:
        """ALPN-02: Node names the alert as it would that of its own server."""
        every: dict[str, dict[str, Any]] = {
            "alpn_protocols": {"alpn_protocols": ["h3"]},
            "alpn_callback": {"alpn_callback": lambda *_: None},
            "wrong": {"alpn_callback": lambda *_: "h3"},
        }
        options = every[option]

        async def main() -> None:
            async with (
                names_server(**options) as server,
                node_client(port=server.port, verify=False, alpn=["h2"], max_version=version) as peer,
            ):
                await peer.event("error", code=NO_APPLICATION_PROTOCOL)
                await peer.event("close")
                assert (await server.errors.next())[0].code == (
                    "ERR_TLS_ALPN_CALLBACK_INVALID_RESULT" if option == "wrong" else "ERR_SSL_NO_APPLICATION_PROTOCOL"
                )

        run(main)

    def test_sni_05_invalid_context(self, run: Run, version: str, style: str) -> None:
        """SNI-05: the client is told, and the server which name it was."""

        async def main() -> None:
            async with (
                names_server(sni_callback=answering(style, lambda _: {})) as server,
                node_client(port=server.port, servername="c.another.com", verify=False, max_version=version) as peer,
            ):
                await peer.event("error", code=INTERNAL_ERROR)
                error, servername = await server.errors.next()
                assert error.message == "Invalid SNI context"
                assert servername == "c.another.com"

        run(main)


@needs("curl")
class TestCurl:
    """curl with ``--resolve``: names as the URLs of the web have them."""

    def test_server_name(self, run: Run, version: str, way: str, ca_file: Path) -> None:
        """SNI-03: each host gets its certificate, which curl verifies for it."""

        async def main() -> None:
            async with names_server(way, alpn_protocols=["http/1.1"]) as server:
                for host in ("a.example.com", "b.example.com", "any.example.org", "localhost"):
                    result = await curl(
                        *("--cacert", ca_file, "--tls-max", version.removeprefix("TLSv")),
                        *("--resolve", f"{host}:{server.port}:127.0.0.1", f"https://{host}:{server.port}/"),
                    )
                    assert result.exit_code == 0, result.text
                    assert result.output == host
                    assert curl_handshake(result.errors).protocol == version

        run(main)

    def test_a_name_that_is_not_served(self, run: Run, ca_file: Path) -> None:
        """curl refuses the certificate of the default context for it."""

        async def main() -> None:
            async with names_server("add_context") as server:
                host = "x.any.example.org"
                result = await curl(
                    *("--cacert", ca_file, "--resolve", f"{host}:{server.port}:127.0.0.1"),
                    f"https://{host}:{server.port}/",
                )
                assert result.exit_code == 60

        run(main)

    @pytest.mark.parametrize(("flag", "offered"), [("--http1.1", ["http/1.1"]), ("--http2", ["h2", "http/1.1"])])
    def test_alpn_callback(self, run: Run, style: str, ca_file: Path, flag: str, offered: list[str]) -> None:
        """ALPN-02: the callback sees what curl offers, and its answer is taken."""

        async def main() -> None:
            seen: list[Any] = []

            def choose(_socket: aiotls.TLSSocket, name: str | bool, protocols: list[str]) -> str:
                seen.append((name, protocols))
                return "http/1.1"

            async with names_server(alpn_callback=answering(style, choose)) as server:
                result = await curl("--cacert", ca_file, flag, f"https://localhost:{server.port}/")
                assert result.exit_code == 0, result.text
                assert result.output == "localhost"
                assert curl_handshake(result.errors).alpn == "http/1.1"
                assert seen == [("localhost", offered)]

        run(main)

    def test_no_application_protocol(self, run: Run, version: str, ca_file: Path) -> None:
        """ALPN-02: curl has the alert in its own words."""

        async def main() -> None:
            async with names_server(alpn_callback=lambda *_: None) as server:
                limit = ("--tls-max", version.removeprefix("TLSv"))
                result = await curl("--cacert", ca_file, *limit, f"https://localhost:{server.port}/")
                assert result.exit_code == 35
                assert "no application protocol" in result.errors
                assert (await server.errors.next())[0].code == "ERR_SSL_NO_APPLICATION_PROTOCOL"

        run(main)


@needs("gnutls-cli")
class TestGnuTLS:
    """``gnutls-cli`` with ``--sni-hostname`` and ``--alpn``."""

    def test_server_name_and_protocol(self, run: Run, version: str, way: str, ca_file: Path) -> None:
        async def main() -> None:
            callback = answering("async", lambda _socket, _name, protocols: protocols[0])
            async with names_server(way, alpn_callback=callback) as server:
                for name, expected in NAMES[:4]:
                    assert name is not None
                    only = f"NORMAL:-VERS-ALL:+VERS-TLS{version.removeprefix('TLSv')}"
                    names = ("--sni-hostname", name, "--verify-hostname", name)
                    arguments = ("--x509cafile", ca_file, "--priority", only, *names, "--alpn", "h2")
                    async with gnutls_client(*arguments, port=server.port) as peer:
                        peer.write(b"marmalade\n")
                        await peer.saw("^marmalade$")
                        peer.write_eof()
                        told = gnutls_handshake((await peer.finished()).text)
                        assert told.alpn == "h2"
                        assert told.verify == "The certificate is trusted."
                        assert f"subject `CN={expected}'" in peer.text
                        assert await server.connections.get() == (name, "h2")

        run(main)
