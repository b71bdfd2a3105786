"""set_secure_context: another certificate for a running server."""

import asyncio
import os
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.names import Accepted, ClientErrors, common_name, credentials, identity_of, refused, shown
from tests.support.pairs import client_options, streams, until
from tests.support.pki import Named
from tests.support.servers import echo, serving, to

RELOADS = 200
CLIENTS = 4


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- old and new


@pytest.mark.parametrize("form", ["options", "context"])
def test_later_connections_get_the_new_one(run: Run, version: str, form: str) -> None:
    """Options or a ready context; a live connection goes on as it began."""

    async def main() -> None:
        async with serving(echo, **credentials("old")) as server:
            async with to(server, servername="old", max_version=version) as client:
                if form == "options":
                    server.set_secure_context(**credentials("new"))
                else:
                    server.set_secure_context(aiotls.create_secure_context(**credentials("new")))
                assert await shown(server, "name", max_version=version) == "new"
                client.write(b"undisturbed")
                assert await client.readexactly(11) == b"undisturbed"
                assert common_name(client) == "old"
            assert await shown(server, "name", max_version=version) == "new"

    run(main)


def test_before_it_listens(run: Run) -> None:
    """A server may get its certificate after it was made."""

    async def main() -> None:
        async with aiotls.create_server(echo) as server:
            server.set_secure_context(**credentials("new"))
            await server.listen(0, "127.0.0.1")
            assert await shown(server, "name") == "new"

    run(main)


def test_failure_model_17_under_load(run: Run, version: str) -> None:
    """Failure model 17: of 200 reloads under load each connection sees one context, no older than its beginning."""

    async def main() -> None:
        generations = [identity_of(f"generation-{number}") for number in range(RELOADS + 1)]
        current = finished = 0
        owned: list[Any] = []

        async def listener(socket: aiotls.TLSSocket) -> None:
            owned.append(socket.get_x509_certificate())
            await echo(socket)

        async with serving(listener, **credentials(generations[0])) as server:
            errors = ClientErrors(server)
            faithful = to(server, servername="generation-0", max_version=version)
            await faithful

            async def visit() -> None:
                nonlocal finished
                while current < RELOADS:
                    begun = current
                    options = {"servername": "any", "reject_unauthorized": False, "max_version": version}
                    async with to(server, **options) as client:
                        assert client.authorization_error == "ERR_TLS_CERT_ALTNAME_INVALID"
                        name = common_name(client)
                        assert name is not None
                        assert begun <= int(name.removeprefix("generation-")) <= current
                        client.end(b"x")
                        assert await client.read() == b"x"
                    finished += 1

            seen = 0

            def somebody_came() -> bool:
                return finished > seen

            async def reload() -> None:
                nonlocal current, seen
                while current < RELOADS:
                    seen = finished
                    server.set_secure_context(**credentials(generations[current + 1]))
                    current += 1
                    await until(somebody_came)

            await asyncio.gather(reload(), *(visit() for _ in range(CLIENTS)))
            assert finished >= RELOADS
            assert errors.empty
            known = {identity.certificate for identity in generations}
            assert set(owned) <= known
            assert len(set(owned)) > RELOADS // 2
            faithful.write(b"still here")
            assert await faithful.readexactly(10) == b"still here"
            faithful.end()
            assert await faithful.read() == b""
            await faithful.wait_closed()

    run(main)


def test_failure_model_17_a_handshake_that_has_begun(run: Run, version: str) -> None:
    """Failure model 17: a connection that was accepted before ends its handshake with the old context."""

    async def main() -> None:
        asked, release = asyncio.Event(), asyncio.Event()

        async def choose(name: str) -> None:
            if name == "held":
                asked.set()
                await release.wait()

        async with serving(echo, sni_callback=choose, **credentials("old")) as server:
            held = asyncio.ensure_future(shown(server, "held", max_version=version))
            await asked.wait()
            server.set_secure_context(**credentials("new"))
            assert await shown(server, "free", max_version=version) == "new"
            release.set()
            assert await held == "old"

    run(main)


@pytest.mark.parametrize("kind", ["tcp", "duplex", "streams"])
def test_of_connections_handed_in(run: Run, kind: str) -> None:
    """`handle_connection` takes what is set at that moment."""

    async def main() -> None:
        server = aiotls.create_server(echo, **credentials("old"))
        server.set_secure_context(**credentials("new"))
        for name, later in (("new", "newer"), ("newer", "newest")):
            async with streams(kind) as (near, far):
                server.handle_connection(far)
                async with aiotls.connect(socket=near, **client_options(servername=name)) as client:
                    server.set_secure_context(**credentials(later))
                    client.write(b"x")
                    assert await client.readexactly(1) == b"x"
        server.close()
        await server.wait_closed()

    run(main)


# ---- what it brings, and what stays


def test_it_is_a_whole_context(run: Run, pki: Named, version: str) -> None:
    """Authorities and suites are those of the new options; what is not given has its default."""

    async def main() -> None:
        accepted = Accepted()
        own = {"max_version": version, **credentials(pki.leaf_a)}
        async with serving(accepted, request_cert=True, reject_unauthorized=False, ca=pki.ca_a.cert_pem) as server:
            assert await shown(server, "name", **own) == "localhost"
            assert await accepted.peers.get() == (True, None)
            server.set_secure_context(**credentials("new"))
            assert await shown(server, "name", **own) == "new"
            assert await accepted.peers.get() == (False, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
            server.set_secure_context(**credentials("newer"), ca=pki.ca_a.cert_pem, max_version="TLSv1.2")
            async with to(server, servername="newer", **credentials(pki.leaf_a)) as client:
                assert client.get_protocol() == "TLSv1.2"
            assert await accepted.peers.get() == (True, None)

    run(main)


def test_what_is_not_of_the_context_stays(run: Run, version: str) -> None:
    """Contexts by name, protocols and key log are the server's."""

    async def main() -> None:
        lines: list[bytes] = []
        async with serving(echo, alpn_protocols=["h2"], **credentials("old")) as server:
            server.add_context("a.example.com", **credentials("a.example.com"))
            server.on("keylog", lambda line, _socket: lines.append(line))
            server.set_secure_context(**credentials("new"))
            for name in ("a.example.com", "new"):
                async with to(server, servername=name, alpn_protocols=["h2"], max_version=version) as client:
                    assert client.authorized
                    assert client.alpn_protocol == "h2"
                    assert lines
                    lines.clear()

    run(main)


def test_tickets_stay(run: Run, version: str) -> None:
    """Sessions of the time before are resumed, unless the new context brings ticket keys."""

    async def main() -> None:
        async with serving(echo) as server:
            keys = server.get_ticket_keys()
            client = to(server, max_version=version)
            arrived = asyncio.ensure_future(client.wait_for("session"))
            async with client:
                client.write(b"x")
                assert await client.readexactly(1) == b"x"
                session = await arrived
            server.set_secure_context(**credentials("localhost"))
            assert server.get_ticket_keys() == keys
            async with to(server, max_version=version, session=session) as client:
                assert client.is_session_reused() is True
            server.set_secure_context(**credentials("localhost"), ticket_keys=os.urandom(48))
            assert server.get_ticket_keys() != keys
            async with to(server, max_version=version, session=session) as client:
                assert client.is_session_reused() is False

    run(main)


# ---- what is refused


def test_what_is_refused_changes_nothing(run: Run, pki: Named) -> None:
    """A broken certificate, a key of another, a wrong type: known at once, and the old context goes on."""

    async def main() -> None:
        async with serving(echo, **credentials("old")) as server:
            with pytest.raises(aiotls.OptionError, match="cert"):
                server.set_secure_context(cert="no PEM", key=pki.server.key_pem)
            with pytest.raises(aiotls.OptionError) as failure:
                server.set_secure_context(cert=pki.server.cert_pem, key=pki.leaf_a.key_pem)
            assert failure.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
            wrong: Any
            for wrong in (1, {"cert": "x"}, "cert"):
                with pytest.raises(TypeError, match="context"):
                    server.set_secure_context(wrong)
            context = aiotls.create_secure_context(**credentials("new"))
            with pytest.raises(TypeError, match="context"):
                server.set_secure_context(context, key=pki.server.key_pem)
            with pytest.raises(TypeError, match="min_version"):
                server.set_secure_context(**{"minVersion": "TLSv1.3", **credentials("new")})
            assert await shown(server, "name") == "old"

    run(main)


def test_without_a_certificate(run: Run) -> None:
    """A context without one is a context: nobody can be served by it."""

    async def main() -> None:
        async with serving(echo, **credentials("old")) as server:
            server.set_secure_context()
            assert (await refused(server)).alert == 40
            server.set_secure_context(**credentials("new"))
            assert await shown(server, "name") == "new"

    run(main)
