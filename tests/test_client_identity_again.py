"""`check_client_identity` on a connection that is resumed, and in a renegotiation: asked again."""

import asyncio
import contextlib
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import gone, until
from tests.support.pki import Named
from tests.support.servers import serving, to
from tests.support.visits import BAD_CERTIFICATE, Check, credentials, demanding, hosting, known


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- resumed connections


def test_asked_again_when_resumed(run: Run, pki: Named, version: str, style: str) -> None:
    """CVE-2026-48934: a resumed connection is asked about with its certificate, and can be refused."""

    async def main() -> None:
        check = Check(style)
        own = known(pki, max_version=version)
        async with hosting(**demanding(pki, check.function)) as host:
            first = await host.visit(**own)
            second = await host.visit(**own, session=first.sessions[-1])
            assert second.welcome is not None
            assert second.welcome.resumed is True
            assert second.verdict == (True, None)
            assert [certificate.raw for _, certificate in check.calls] == [pki.client_ec.der] * 2
            check.wrong = PermissionError("not any more")
            session = (second.sessions or first.sessions)[-1]
            refused = await host.visit(**own, session=session)
            assert len(check.calls) == 3
            assert refused.refusal is check.wrong
            assert refused.welcome is None
            if version == "TLSv1.3":
                # Up to TLS 1.2 a server that resumes has said all that it can say when its client is known.
                assert refused.error.alert == BAD_CERTIFICATE
            assert refused.sessions == ()
            check.wrong = None
            assert (await host.visit(**own)).verdict == (True, None)

    run(main)


def test_resumed_without_rejection(run: Run, pki: Named, version: str) -> None:
    """A refusal is not lost in the session, nor kept in it: each connection has its own verdict."""

    async def main() -> None:
        check = Check("async", aiotls.VerificationError("not him", code="CERT_REJECTED"))
        own = known(pki, max_version=version)
        async with hosting(**demanding(pki, check.function, reject_unauthorized=False)) as host:
            session = None
            for wrong in (check.wrong, check.wrong, None, check.wrong):
                check.wrong = wrong
                visit = await host.visit(**own, session=session)
                assert visit.welcome is not None
                assert visit.welcome.resumed is (session is not None)
                assert visit.verdict == ((True, None) if wrong is None else (False, "CERT_REJECTED"))
                session = visit.sessions[-1] if visit.sessions else session
        assert len(check.calls) == 4

    run(main)


# ---- renegotiation


@pytest.mark.parametrize("accept", [True, False])
def test_asked_in_a_renegotiation(run: Run, pki: Named, style: str, accept: bool) -> None:
    """A certificate that was asked for later is asked about before anything more is delivered."""

    async def main() -> None:
        check = Check(style, None if accept else ValueError("not him"))
        known_now: asyncio.Queue[Any] = asyncio.Queue()
        after: list[bytes] = []

        async def serve(socket: aiotls.TLSSocket) -> None:
            assert await socket.readexactly(5) == b"enter"
            assert check.calls == []
            try:
                await socket.renegotiate(request_cert=True)
            except Exception as error:
                known_now.put_nowait(error)
                return
            known_now.put_nowait((socket.authorized, socket.authorization_error))
            after.append(await socket.readexactly(6))
            socket.end(b"secret")

        server_options = demanding(pki, check.function, request_cert=False, max_version="TLSv1.2")
        async with serving(serve, **server_options) as server:
            client = to(server, **known(pki))
            await client
            client.write(b"enter")
            await until(lambda: check.calls)
            with contextlib.suppress(aiotls.StreamDestroyed):
                client.write(b"thanks")
            verdict = await known_now.get()
            ((socket, certificate),) = check.calls
            assert certificate.raw == pki.client_ec.der
            if accept:
                assert verdict == (True, None)
                assert await client.read() == b"secret"
                assert after == [b"thanks"]
            else:
                assert verdict is check.wrong
                with pytest.raises(aiotls.ConnectionLost):
                    await client.read()
                assert socket.destroyed
                assert after == []
            await gone(client)

    run(main)


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize("begins", ["server", "client"])
def test_another_certificate(run: Run, pki: Named, style: str, begins: str, accept: bool) -> None:
    """A client that shows another certificate in a renegotiation is asked about again, and can be refused then."""

    async def main() -> None:
        check = Check(style, None if accept else ValueError("not him"), allowed=("client",))
        secured: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        received: list[bytes] = []

        def serve(socket: aiotls.TLSSocket) -> None:
            socket.on("data", received.append)
            secured.put_nowait(socket)

        async with serving(serve, **demanding(pki, check.function, max_version="TLSv1.2")) as server:
            client = to(server, **known(pki))
            await client
            socket = await secured.get()
            assert socket.authorized
            failed: asyncio.Queue[Any] = asyncio.Queue()
            socket.on("error", failed.put_nowait)
            client.on("error", lambda _: None)
            second = pki.ca.issue(common_name="second", key="ec", purposes=["client"])
            # No client of ours changes its mind; this one is made to.
            connection = client._connection
            assert connection is not None
            connection.use_identity(aiotls.create_secure_context(**credentials(second)))
            client.resume()
            beginner = socket if begins == "server" else client
            renegotiating = asyncio.ensure_future(beginner.renegotiate())
            if accept:
                await renegotiating
                client.write(b"after")
                await until(lambda: received)
                assert received == [b"after"]
                assert socket.authorized
            else:
                await until(lambda: len(check.calls) == 2)
                with contextlib.suppress(aiotls.StreamDestroyed):
                    client.write(b"after")
                with pytest.raises(ValueError if begins == "server" else aiotls.ConnectionLost) as refused:
                    await renegotiating
                # It is told to who awaits, else to the listeners of "error".
                assert (refused.value if begins == "server" else await failed.get()) is check.wrong
                assert failed.empty()
                await until(lambda: socket.destroyed)
                assert received == []
            shown = [certificate.subject["CN"] for _, certificate in check.calls]
            assert shown == ["client", "second"]
            await gone(client)

    run(main)
