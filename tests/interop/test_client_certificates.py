"""Client certificates from other programs: good, a stranger, revoked, expired, none; and the alert that each sees."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.echo import EchoServer, echo_server
from tests.support import peers
from tests.support.peers import needs, openssl_client, openssl_handshake
from tests.support.pki import Identity, Named, named
from tests.support.servers import port_of

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}

CASES: dict[str, tuple[str | None, str | None, int]] = {
    "good": ("client", None, 0),
    "stranger": ("leaf_a", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 48),
    "revoked": ("client_revoked", "CERT_REVOKED", 44),
    "expired": ("client_expired", "CERT_HAS_EXPIRED", 45),
    "none": (None, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE", 0),
}
"""The identity, the server's code, the alert."""

ALERTS = {
    40: "handshake failure",
    42: "bad certificate",
    44: "certificate revoked",
    45: "certificate expired",
    48: "unknown ca",
    116: "certificate required",
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> str:
    """What the client shows."""
    return str(request.param)


def shown(pki: Named, case: str) -> Identity | None:
    name = CASES[case][0]
    return getattr(pki, name) if name else None


def alert_of(case: str, version: str) -> int:
    """The alert of RFC 8446, section 6.2, or of RFC 5246, section 7.2.2."""
    return CASES[case][2] or (116 if version == "TLSv1.3" else 40)


def strict(pki: Named, version: str) -> dict[str, Any]:
    """The options of a server that lets in the clients of `pki.ca` which are not in its list."""
    return {"request_cert": True, "ca": pki.ca.cert_pem, "crl": pki.crl, "max_version": version}


async def told(server: EchoServer, case: str) -> None:
    """The server has let in the good client, or has the right code; nobody else was there."""
    code = CASES[case][1]
    if code is None:
        seen = await server.connections.get()
        assert (seen.authorized, seen.authorization_error) == (True, None)
        assert seen.peer == "client"
    else:
        error = await server.errors.get()
        assert isinstance(error, aiotls.VerificationError)
        assert error.code == code
    assert server.connections.empty()
    assert server.errors.empty()


def openssl_files(identity: Identity | None, directory: Path) -> tuple[str | Path, ...]:
    if identity is None:
        return ()
    files = identity.write(directory)
    return "-cert", files.cert, "-key", files.key, "-cert_chain", files.chain


# ---- each program in turn


@needs("openssl")
def test_openssl(run: Run, pki: Named, version: str, case: str, tmp_path: Path) -> None:
    """AUTH-04: ``openssl s_client``."""

    async def main() -> None:
        own = openssl_files(shown(pki, case), tmp_path)
        async with echo_server(**strict(pki, version)) as server, openssl_client(*own, port=server.port) as peer:
            if case == "good":
                peer.write(b"marmalade\n")
                await peer.saw("marmalade")
            else:
                assert openssl_handshake((await peer.finished()).text).alert == alert_of(case, version)
            await told(server, case)

    run(main)


@needs("curl")
def test_curl(run: Run, pki: Named, version: str, case: str, ca_file: Path, tmp_path: Path) -> None:
    """``curl --cert --key``."""

    async def main() -> None:
        own: tuple[str | Path, ...] = ()
        if (identity := shown(pki, case)) is not None:
            files = identity.write(tmp_path)
            own = ("--cert", files.chain, "--key", files.key)
        async with page_server(**strict(pki, version)) as (url, visits):
            result = await peers.curl("--cacert", ca_file, *own, url)
            visit = await visits.get()
        if case == "good":
            assert result.exit_code == 0, result.text
            assert result.output == visit == "hello client"
        else:
            assert result.exit_code in (35, 56, 60), result.text
            # It gives a fatal alert with its level, which is the number 2 in the byte before.
            assert f"({2 << 8 | alert_of(case, version)}):" in result.errors
            assert visit == CASES[case][1]
        assert visits.empty()

    run(main)


@pytest.mark.parametrize(
    "start",
    [pytest.param(peers.node_client, marks=needs("node"), id="node"), pytest.param(peers.python_client, id="ssl")],
)
def test_scripted(run: Run, pki: Named, version: str, case: str, start: Any) -> None:
    """Node, and Python's own ssl."""

    async def main() -> None:
        identity = shown(pki, case)
        own = {"cert": identity.chain_pem.decode(), "key": identity.key_pem.decode()} if identity else {}
        options = {"ca": pki.ca.cert_pem.decode(), "servername": "localhost", **own}
        async with echo_server(**strict(pki, version)) as server, start(port=server.port, **options) as peer:
            if case == "good":
                peer.write(b"marmalade")
                await peer.event("data", text="marmalade")
            else:
                error = await peer.event("error")
                assert ALERTS[alert_of(case, version)].upper().replace(" ", "_") in error["code"]
            await told(server, case)

    run(main)


@needs("gnutls-cli")
def test_gnutls(run: Run, pki: Named, version: str, case: str, ca_file: Path, tmp_path: Path) -> None:
    """``gnutls-cli``."""

    async def main() -> None:
        own: tuple[str | Path, ...] = ()
        if (identity := shown(pki, case)) is not None:
            files = identity.write(tmp_path)
            own = ("--x509certfile", files.chain, "--x509keyfile", files.key)
        async with (
            echo_server(**strict(pki, version)) as server,
            peers.gnutls_client("--x509cafile", ca_file, *own, port=server.port) as peer,
        ):
            if case == "good":
                peer.write(b"marmalade\n")
                await peer.saw("^marmalade$")
            else:
                said = await peer.saw(r"Received alert \[(\d+)\]")
                assert int(said[1]) == alert_of(case, version)
            await told(server, case)

    run(main)


# ---- AUTH-04 by openssl s_client


LONE_LEAF = "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
SELF_SIGNED = "DEPTH_ZERO_SELF_SIGNED_CERT"
NONE_RETURNED = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
NONE_GIVEN = "UNABLE_TO_GET_ISSUER_CERT"

CLIENTS = ("leaf_a", "self_rsa", "leaf_b", "leaf_b_revoked", None)

POLICIES: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "not asked": ({"request_cert": False, "reject_unauthorized": False}, ((False, None),) * 5),
    "asked": (
        {"request_cert": True, "reject_unauthorized": False, "ca": ["ca_a"]},
        ((True, None), (False, SELF_SIGNED), (False, LONE_LEAF), (False, LONE_LEAF), (False, NONE_GIVEN)),
    ),
    "required": (
        {"request_cert": True, "reject_unauthorized": True, "ca": ["ca_a"]},
        ((True, None), SELF_SIGNED, LONE_LEAF, LONE_LEAF, NONE_RETURNED),
    ),
    "required, two roots": (
        {"request_cert": True, "reject_unauthorized": True, "ca": ["ca_a", "ca_b"]},
        ((True, None), SELF_SIGNED, (True, None), (True, None), NONE_RETURNED),
    ),
    "required, crl": (
        {"request_cert": True, "reject_unauthorized": True, "ca": ["ca_b"], "crl": "crl_b"},
        (LONE_LEAF, "UNABLE_TO_GET_CRL", (True, None), "CERT_REVOKED", NONE_RETURNED),
    ),
}


def options_of(pki: Named, policy: str) -> dict[str, Any]:
    options = dict(POLICIES[policy][0])
    if "ca" in options:
        options["ca"] = [getattr(pki, name).cert_pem for name in options["ca"]]
    if "crl" in options:
        options["crl"] = getattr(pki, options["crl"])
    return options


@needs("openssl")
@pytest.mark.parametrize("policy", list(POLICIES))
def test_auth_04_policies(run: Run, pki: Named, version: str, policy: str, tmp_path: Path) -> None:
    """AUTH-04: five clients and what each policy makes of them."""

    async def main() -> None:
        async with echo_server(pki.self_rsa, **options_of(pki, policy)) as server:
            for client, verdict in zip(CLIENTS, POLICIES[policy][1], strict=True):
                own = openssl_files(getattr(pki, client) if client else None, tmp_path)
                async with openssl_client(*own, VERSION_FLAGS[version], port=server.port) as peer:
                    if isinstance(verdict, tuple):
                        peer.write(b"marmalade\n")
                        await peer.saw("marmalade")
                        seen = await server.connections.get()
                        assert (seen.authorized, seen.authorization_error) == verdict, client
                    else:
                        await peer.finished()
                        assert (await server.errors.get()).code == verdict, client
            assert server.connections.empty()
            assert server.errors.empty()

    run(main)


@needs("openssl")
@pytest.mark.parametrize(("client", "verdict"), [*zip(CLIENTS, POLICIES["asked"][1], strict=True)])
def test_auth_04_asked_later(run: Run, pki: Named, client: str | None, verdict: Any, tmp_path: Path) -> None:
    """AUTH-04: in a renegotiation of the server; data passes after it."""

    async def main() -> None:
        verdicts: asyncio.Queue[Any] = asyncio.Queue()

        async def serve(socket: aiotls.TLSSocket) -> None:
            verdicts.put_nowait((socket.authorized, socket.authorization_error))
            await socket.readuntil(b"\n")
            await socket.renegotiate(request_cert=True, reject_unauthorized=False)
            verdicts.put_nowait((socket.authorized, socket.authorization_error))
            socket.end(b"marmalade\n")

        options = {
            "secure_options": aiotls.constants.SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION,
            "ca": pki.ca_a.cert_pem,
            "max_version": "TLSv1.2",
        }
        own = openssl_files(getattr(pki, client) if client else None, tmp_path)
        async with (
            listening(serve, pki.self_rsa, **options) as server,
            openssl_client(*own, port=port_of(server)) as peer,
        ):
            peer.write(b"enter\n")
            assert await verdicts.get() == (False, None)
            assert await verdicts.get() == verdict
            await peer.saw("^marmalade$")

    run(main)


# ---- more than a refusal


@needs("openssl")
def test_a_refused_identity_gets_no_ticket(run: Run, pki: Named, version: str, tmp_path: Path) -> None:
    """`check_client_identity` refuses before any ticket is sent, with the alert bad_certificate."""

    async def main() -> None:
        wrong = ValueError("not him")

        async def check(socket: aiotls.TLSSocket, certificate: aiotls.PeerCertificate) -> None:
            await asyncio.sleep(0)
            if certificate.subject["CN"] != "client":
                raise wrong

        other = pki.ca.issue(common_name="other", key="ec", purposes=["client"])
        options: dict[str, Any] = {"request_cert": True, "ca": pki.ca.cert_pem, "check_client_identity": check}
        async with echo_server(**options, max_version=version) as server:
            async with openssl_client("-msg", *openssl_files(pki.client, tmp_path), port=server.port) as peer:
                peer.write(b"marmalade\n")
                await peer.saw("marmalade")
                await peer.saw("NewSessionTicket")
                assert (await server.connections.get()).authorized
            async with openssl_client("-msg", *openssl_files(other, tmp_path), port=server.port) as peer:
                text = (await peer.finished()).text
                assert openssl_handshake(text).alert == 42
                assert "NewSessionTicket" not in text
            assert await server.errors.get() is wrong
            assert server.connections.empty()

    run(main)


@needs("openssl")
def test_a_session_is_no_way_around(run: Run, pki: Named, version: str, tmp_path: Path) -> None:
    """CVE-2026-48928, CVE-2026-48934: a session of the open name does not open the one that asks for certificates."""

    async def main() -> None:
        session = tmp_path / "session.pem"
        own = openssl_files(pki.client, tmp_path)
        seen: asyncio.Queue[tuple[bool, bool | None]] = asyncio.Queue()
        errors: asyncio.Queue[Any] = asyncio.Queue()

        def serve(socket: aiotls.TLSSocket) -> None:
            seen.put_nowait((socket.authorized, socket.is_session_reused()))
            socket.write(b"marmalade\n")
            socket.resume()

        async with listening(serve, pki.server_ec, ca=pki.ca.cert_pem, max_version=version) as server:
            server.on("tls_client_error", lambda error, _: errors.put_nowait(error))
            server.add_context("secret.example.com", request_cert=True, ca=pki.ca.cert_pem, **files_of(pki.server_ec))

            async def visit(*arguments: str | Path, name: str, refused: bool = False) -> None:
                async with openssl_client(*arguments, "-servername", name, port=port_of(server)) as peer:
                    if not refused:
                        await peer.saw("marmalade")
                        peer.write_eof()
                    await peer.finished()

            await visit("-sess_out", session, name="localhost")
            assert await seen.get() == (False, False)
            await visit("-sess_in", session, name="localhost")
            assert await seen.get() == (False, True)
            for name in ("secret.example.com", "SECRET.example.com"):
                await visit("-sess_in", session, name=name, refused=True)
                assert (await errors.get()).code == NONE_RETURNED
                await visit("-sess_in", session, *own, name=name)
                assert await seen.get() == (True, False)
            await visit("-sess_out", session, *own, name="secret.example.com")
            assert await seen.get() == (True, False)
            await visit("-sess_in", session, name="secret.example.com")
            assert await seen.get() == (True, True)
            assert errors.empty()

    run(main)


# ---- servers


def name_of(socket: aiotls.TLSSocket) -> Any:
    """The common name in the client's certificate."""
    certificate = socket.get_peer_certificate()
    return certificate.subject["CN"] if certificate else None


def files_of(identity: Identity) -> dict[str, Any]:
    return {"cert": identity.chain_pem, "key": identity.key_pem}


@contextlib.asynccontextmanager
async def listening(listener: Any, identity: Identity, **options: Any) -> AsyncIterator[aiotls.Server]:
    async with aiotls.create_server(listener, **files_of(identity), **options) as server:
        await server.listen(0, "127.0.0.1")
        yield server


@contextlib.asynccontextmanager
async def page_server(**options: Any) -> AsyncIterator[tuple[str, "asyncio.Queue[str]"]]:
    """A server that greets by name over HTTP: its URL; and whom it has greeted, or the code of a refusal."""
    visits: asyncio.Queue[str] = asyncio.Queue()

    async def serve(socket: aiotls.TLSSocket) -> None:
        await socket.readuntil(b"\r\n\r\n")
        page = f"hello {name_of(socket)}"
        visits.put_nowait(page)
        socket.end(f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(page)}\r\n\r\n{page}".encode())

    async with listening(serve, named.server, **options) as server:
        server.on("tls_client_error", lambda error, _: visits.put_nowait(getattr(error, "code", repr(error))))
        yield f"https://localhost:{port_of(server)}/", visits
