"""`check_client_identity`: who is let in is asked once the chain is good, and before anything else happens."""

import asyncio
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import KINDS, gone, server_options, tls_pair
from tests.support.pki import Named
from tests.support.servers import serving, to
from tests.support.visits import BAD_CERTIFICATE, UNKNOWN_CA, Check, Visit, credentials, demanding, hosting, known


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def assert_refused(visit: Visit, wrong: BaseException) -> None:
    """The server has the exception itself, the client bad_certificate and nothing to resume with."""
    assert visit.welcome is None
    assert visit.refusal is wrong
    assert isinstance(visit.error, aiotls.AlertReceived)
    assert visit.error.alert == BAD_CERTIFICATE
    assert visit.sessions == ()


# ---- accepting


def test_accepts(run: Run, pki: Named, version: str, style: str) -> None:
    """Asked once, with the socket and the certificate, before anything is secure; what it returns does not count."""

    async def main() -> None:
        order: list[str] = []
        check = Check(style)

        def asked(socket: aiotls.TLSSocket, certificate: aiotls.PeerCertificate) -> Any:
            order.append("asked")
            assert socket.server is server
            assert socket.secure_connecting
            assert certificate.raw == pki.client_ec.der
            assert certificate.subject["CN"] == "client"
            return check.function(socket, certificate)

        def connected(socket: aiotls.TLSSocket) -> None:
            socket.on("secure", lambda: order.append("secure"))
            socket.on("data", lambda data: order.append(data.decode()))

        def serve(socket: aiotls.TLSSocket) -> None:
            order.append("secure_connection")
            assert socket.authorized
            assert socket.authorization_error is None
            socket.write(b"welcome")

        async with serving(serve, **demanding(pki, asked)) as server:
            server.on("connection", connected)
            client = to(server, **known(pki, max_version=version))
            client.write(b"early")
            async with client:
                assert await client.readexactly(7) == b"welcome"
                client.end()
                assert await client.read() == b""
            assert order == ["asked", "secure", "secure_connection", "early"]
            ((_, certificate),) = check.calls
            assert isinstance(certificate, aiotls.PeerCertificate)

    run(main)


def test_the_issuer_is_there(run: Run, pki: Named, version: str) -> None:
    """The certificate comes with the chain that was verified."""

    async def main() -> None:
        check = Check("plain")
        server = demanding(pki, check.function, ca=pki.ca_ec.cert_pem)
        async with hosting(**server) as host:
            assert (await host.visit(max_version=version, **credentials(pki.chain_ec))).verdict == (True, None)
        ((_, certificate),) = check.calls
        issuer = certificate.issuer_certificate
        assert issuer is not None
        assert issuer.raw == pki.int_ec.der

    run(main)


@pytest.mark.parametrize("wrong", ["not callable", 1, True])
def test_what_is_no_function(wrong: Any) -> None:
    with pytest.raises(aiotls.OptionTypeError, match="check_client_identity"):
        aiotls.create_server(**server_options(check_client_identity=wrong))


# ---- refusing


@pytest.mark.parametrize("kind", [ValueError, KeyError, aiotls.TLSError])
def test_refuses(run: Run, pki: Named, version: str, style: str, kind: type[Exception]) -> None:
    """Nothing is delivered, no session is made, nobody is secure; the exception is told unchanged, once."""

    async def main() -> None:
        told: list[Any] = []
        wrong = kind("not him")
        check = Check(style, wrong)

        def connected(socket: aiotls.TLSSocket) -> None:
            for event in ("secure", "data", "end", "error"):
                socket.on(event, lambda *_, event=event: told.append(event))

        async with hosting(**demanding(pki, check.function)) as host:
            host.server.on("connection", connected)
            host.server.on("new_session", lambda *_: told.append("new_session"))
            assert_refused(await host.visit(**known(pki, max_version=version)), wrong)
            assert len(check.calls) == 1
            assert told == []
            assert check.calls[0][0].destroyed

    run(main)


def test_refuses_with_early_data(run: Run, pki: Named, version: str, style: str) -> None:
    """What the client wrote at once under TLS 1.3 is thrown away, and it can read nothing."""

    async def main() -> None:
        check = Check(style, PermissionError("not him"))
        async with serving(lambda socket: socket.write(b"secret"), **demanding(pki, check.function)) as server:
            errors: asyncio.Queue[Any] = asyncio.Queue()
            data: list[bytes] = []
            server.on("connection", lambda socket: socket.on("data", data.append))
            server.on("tls_client_error", lambda error, _: errors.put_nowait(error))
            client = to(server, **known(pki, max_version=version))
            sessions: list[bytes] = []
            client.on("session", sessions.append)
            client.write(b"x" * 40000)

            async def look() -> bytes:
                await client
                return await client.read()

            with pytest.raises(aiotls.AlertReceived) as alerted:
                await look()
            assert alerted.value.alert == BAD_CERTIFICATE
            assert await errors.get() is check.wrong
            assert (data, sessions) == ([], [])
            assert client.get_session() is None
            assert errors.empty()

    run(main)


def test_a_check_that_is_cancelled(run: Run, pki: Named, version: str, style: str) -> None:
    """Failure model 18: what is no `Exception` refuses too, and stands behind the error."""

    async def main() -> None:
        check = Check(style, asyncio.CancelledError())
        async with hosting(**demanding(pki, check.function)) as host:
            visit = await host.visit(**known(pki, max_version=version))
            assert visit.welcome is None
            assert visit.refusal.__cause__ is check.wrong
            assert visit.error.alert == BAD_CERTIFICATE

    run(main)


def test_each_client_has_its_own_answer(run: Run, pki: Named, version: str) -> None:
    """Answers given in another order than asked reach the connections that they are about."""

    async def main() -> None:
        waiting: list[tuple[str, asyncio.Future[None]]] = []
        everybody = asyncio.Event()
        clients = [pki.client_ec, pki.ca.issue(common_name="other", key="ec", purposes=["client"])] * 6

        async def check(socket: aiotls.TLSSocket, certificate: aiotls.PeerCertificate) -> None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append((str(certificate.subject["CN"]), future))
            if len(waiting) == len(clients):
                everybody.set()
            await future

        async def answer() -> None:
            await everybody.wait()
            for name, future in reversed(waiting):
                if name == "client":
                    future.set_result(None)
                else:
                    future.set_exception(ValueError(name))

        async with hosting(**demanding(pki, check)) as host:
            answering = asyncio.create_task(answer())
            visits = [host.visit(max_version=version, **credentials(each)) for each in clients]
            met = await asyncio.gather(*visits)
            await answering
            assert [visit.error is None for visit in met] == [each is pki.client_ec for each in clients]

    run(main)


def test_without_rejection_a_refusal_is_remembered(run: Run, pki: Named, version: str, style: str) -> None:
    """`reject_unauthorized=False`: the connection is made, and `authorization_error` has the code."""

    async def main() -> None:
        check = Check(style, aiotls.VerificationError("not him", code="CERT_REJECTED"), allowed=("client",))
        server = demanding(pki, check.function, reject_unauthorized=False)
        other = pki.ca.issue(common_name="other", key="ec", purposes=["client"])
        async with hosting(**server) as host:
            assert (await host.visit(**known(pki, max_version=version))).verdict == (True, None)
            visit = await host.visit(max_version=version, **credentials(other))
            assert visit.verdict == (False, "CERT_REJECTED")
            check.wrong = LookupError("without a code")
            visit = await host.visit(max_version=version, **credentials(other))
            assert visit.verdict[0] is False
            assert visit.verdict[1]

    run(main)


# ---- not asked


def test_asked_only_when_the_chain_is_good(run: Run, pki: Named, version: str) -> None:
    """The fault of the chain stands, with its alert; a client without a certificate is asked about neither."""

    async def main() -> None:
        check = Check("plain", ValueError("never asked"))
        own = {"max_version": version, **credentials(pki.self_ec)}
        async with hosting(**demanding(pki, check.function)) as host:
            visit = await host.visit(**own)
            assert visit.verdict == "DEPTH_ZERO_SELF_SIGNED_CERT"
            assert visit.error.alert == UNKNOWN_CA
            visit = await host.visit(max_version=version)
            assert visit.verdict == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
        async with hosting(**demanding(pki, check.function, reject_unauthorized=False)) as host:
            assert (await host.visit(**own)).verdict == (False, "DEPTH_ZERO_SELF_SIGNED_CERT")
            assert (await host.visit(max_version=version)).verdict == (False, "UNABLE_TO_GET_ISSUER_CERT")
        async with hosting(**demanding(pki, check.function, request_cert=False)) as host:
            assert (await host.visit(**own)).verdict == (False, None)
        assert check.calls == []

    run(main)


def test_asked_where_a_name_asks(run: Run, pki: Named, version: str) -> None:
    """CVE-2026-48928: `add_context` asks for certificates of one name, in whatever case; then the check is asked."""

    async def main() -> None:
        check = Check("plain", ValueError("not him"))
        server = demanding(pki, check.function, request_cert=False)
        async with hosting(**server) as host:
            host.server.add_context("*.example.com", ca=pki.ca.cert_pem, request_cert=True, **credentials(pki.server))
            assert (await host.visit(**known(pki, max_version=version))).verdict == (False, None)
            for name in ("www.example.com", "WWW.Example.COM"):
                visit = await host.visit(**known(pki, max_version=version, servername=name))
                assert_refused(visit, check.wrong or ValueError())
        assert len(check.calls) == 2

    run(main)


# ---- time and the end


def test_a_check_that_never_answers(run: Run, pki: Named, version: str) -> None:
    """Failure model 19: `handshake_timeout` counts for it, and ends it; others are served meanwhile."""

    async def main() -> None:
        started, ended = asyncio.Event(), asyncio.Event()

        async def check(socket: aiotls.TLSSocket, certificate: aiotls.PeerCertificate) -> None:
            if certificate.subject["CN"] == "client":
                return
            try:
                started.set()
                await asyncio.Event().wait()
            finally:
                ended.set()

        stuck = pki.ca.issue(common_name="stuck", key="ec", purposes=["client"])
        async with hosting(**demanding(pki, check, handshake_timeout=0.5)) as host:
            visiting = asyncio.create_task(host.visit(max_version=version, **credentials(stuck)))
            await started.wait()
            client = to(host.server, **known(pki, max_version=version))
            async with client:
                assert await client.readexactly(7) == b"welcome"
            await host.book.get()
            visit = await visiting
            assert isinstance(visit.refusal, aiotls.HandshakeTimeout)
            assert visit.sessions == ()
            await ended.wait()

    run(main)


@pytest.mark.parametrize("by", ["client", "server", "check"])
def test_destroyed_while_it_checks(run: Run, pki: Named, version: str, by: str) -> None:
    """Failure model 19: whoever ends the connection ends the check; a late answer harms nobody."""

    async def main() -> None:
        started: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        ended = asyncio.Event()

        async def check(socket: aiotls.TLSSocket, certificate: aiotls.PeerCertificate) -> None:
            started.put_nowait(socket)
            try:
                if by == "check":
                    socket.destroy()
                    return
                await asyncio.Event().wait()
            finally:
                ended.set()

        secure: list[Any] = []
        async with serving(secure.append, **demanding(pki, check)) as server:
            client = to(server, **known(pki, max_version=version))
            client.on("error", lambda _: None)
            socket = await started.get()
            closed = asyncio.ensure_future(socket.wait_for("close"))
            await asyncio.sleep(0)
            if by == "client":
                client.reset_and_destroy()
            elif by == "server":
                socket.destroy()
            if not socket.destroyed:
                await closed
            await ended.wait()
            closed.cancel()
            await gone(client)
            assert secure == []

    run(main)


# ---- over every stream


@pytest.mark.parametrize("kind", KINDS)
def test_over_every_stream(run: Run, pki: Named, kind: str, style: str) -> None:
    """Connections that are handed to the server are asked about too."""

    async def main() -> None:
        check = Check(style, ValueError("not him"), allowed=("client",))
        other = pki.ca.issue(common_name="other", key="ec", purposes=["client"])
        async with hosting(**demanding(pki, check.function)) as host:
            accepted = await host.visit(kind, **known(pki))
            assert accepted.verdict == (True, None)
            assert_refused(await host.visit(kind, **credentials(other)), check.wrong or ValueError())
            resumed = await host.visit(kind, **known(pki, session=accepted.sessions[-1]))
            assert resumed.welcome is not None
            assert resumed.welcome.resumed is True
        assert len(check.calls) == 3

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_server(run: Run, pki: Named, kind: str, version: str) -> None:
    """A `TLSSocket(stream, is_server=True)` has the option too; its refusal is raised to who awaits."""

    async def main() -> None:
        check = Check("async", ValueError("not him"))
        server = demanding(pki, check.function)
        client = known(pki, max_version=version)
        async with tls_pair(kind, client=client, server=server, secure=False) as (near, far):
            near.on("error", lambda _: None)
            with pytest.raises(ValueError, match="not him"):
                await far
            ((socket, certificate),) = check.calls
            assert socket is far
            assert certificate.raw == pki.client_ec.der

    run(main)
