"""The contexts of a server by name: which one a client gets."""

import asyncio
import gc
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.names import (
    Accepted,
    ClientErrors,
    common_name,
    credentials,
    refused,
    shown,
)
from tests.support.pairs import client_options, until
from tests.support.pki import Named
from tests.support.servers import echo, port_of, serving, to


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- which context


def test_sni_02_a_context_by_name(run: Run, pki: Named, version: str) -> None:
    """SNI-02: options and a ready context; the authorities of the context decide about the client."""

    async def main() -> None:
        accepted = Accepted()
        own = {**credentials(pki.self_rsa), "ca": [pki.ca_b.cert_pem]}
        async with serving(accepted, request_cert=True, reject_unauthorized=False, **own) as server:
            named = {**credentials(pki.leaf_a), "ca": [pki.ca_a.cert_pem]}
            server.add_context("context1", **named)
            server.add_context("context2", aiotls.create_secure_context(**named))
            for name, certificate, expected in (
                ("context1", "agent1", (True, None)),
                ("context2", "agent1", (True, None)),
                ("unknowncontext", "agent2", (False, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")),
            ):
                assert await shown(server, name, max_version=version, **credentials(pki.leaf_a)) == certificate
                assert await accepted.peers.get() == expected
                assert await accepted.names.get() == name
            assert accepted.names.empty()

    run(main)


def test_sni_03_the_latest_match_wins(run: Run, pki: Named, version: str) -> None:
    """SNI-03: for every connection, also for names that were added while the server runs, in any case."""

    async def main() -> None:
        accepted = Accepted()
        options: dict[str, Any] = {"request_cert": True, "reject_unauthorized": False, "ca": pki.ca_b.cert_pem}
        own = {**credentials(pki.leaf_a), "max_version": version}
        async with serving(accepted, **options) as server:
            server.add_context("*.example.com", **credentials("first"), ca=pki.ca_b.cert_pem)
            assert await shown(server, "a.example.com", **own) == "first"
            assert (await accepted.peers.get())[0] is False
            server.add_context("*.example.com", **credentials("second"), ca=pki.ca_a.cert_pem)
            for name in ("b.example.com", "b.example.com", "B.EXAMPLE.COM"):
                assert await shown(server, name, **own) == "second"
                assert await accepted.peers.get() == (True, None)
            for name in ("x.y.example.com", "example.com", "b.example.org"):
                assert await shown(server, name, **own) == "localhost"
                assert (await accepted.peers.get())[0] is False

    run(main)


def test_the_order_of_names_and_patterns(run: Run) -> None:
    """SNI-03: a pattern that is added after a name goes before it, and the other way round."""

    async def main() -> None:
        async with serving(echo) as server:
            server.add_context("a.example.com", **credentials("one"))
            server.add_context("*.example.com", **credentials("two"))
            assert await shown(server, "a.example.com") == "two"
            server.add_context("a.example.com", **credentials("three"))
            assert await shown(server, "a.example.com") == "three"
            assert await shown(server, "b.example.com") == "two"
            server.add_context("*.example.com", **credentials("four"))
            assert await shown(server, "a.example.com") == "four"

    run(main)


def test_without_a_name_or_with_another(run: Run, version: str) -> None:
    """SNI-08: the context of the server itself serves those who send no name."""

    async def main() -> None:
        accepted = Accepted()
        async with serving(accepted) as server:
            server.add_context("*", **credentials("single"))
            server.add_context("*.example.com", **credentials("wild"))
            for name, certificate in ((False, "localhost"), ("host", "single"), ("a.example.com", "wild")):
                assert await shown(server, name, max_version=version) == certificate
                assert await accepted.names.get() == name

    run(main)


def test_a_server_with_nothing_but_names(run: Run, version: str) -> None:
    """A server without a certificate of its own serves its names, and nobody else."""

    async def main() -> None:
        async with serving(echo, cert=None, key=None) as server:
            server.add_context("a.example.com", **credentials("a.example.com"))
            errors = ClientErrors(server)
            assert await shown(server, "a.example.com", max_version=version) == "a.example.com"
            error = await refused(server, servername="b.example.com", max_version=version)
            assert error.alert == 40
            assert (await errors.next())[0].code in (
                "ERR_SSL_NO_SHARED_CIPHER",
                "ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM",
            )
            assert errors.empty

    run(main)


@pytest.mark.parametrize(("default", "own"), [("rsa", "ec"), ("ec", "rsa")])
def test_keys_of_different_kinds(run: Run, pki: Named, version: str, default: str, own: str) -> None:
    """The kinds of key of the two contexts need not be the same: the suite follows the certificate that is shown."""

    async def main() -> None:
        identities = {"rsa": pki.server, "ec": pki.server_ec}
        async with serving(echo, **credentials(identities[default])) as server:
            server.add_context("a.example.com", **credentials(identities[own]))
            for name, kind in (("a.example.com", own), ("localhost", default)):
                async with to(server, servername=name, max_version=version) as client:
                    certificate = client.get_peer_x509_certificate()
                    assert certificate == identities[kind].certificate
                    cipher = client.get_cipher()
                    assert cipher is not None
                    if version == "TLSv1.2":
                        assert ("ECDSA" in cipher.name) is (kind == "ec")

    run(main)


def test_everything_else_is_the_servers(run: Run, version: str) -> None:
    """A context by name brings keys and trust; protocols and key log stay those of the server."""

    async def main() -> None:
        accepted = Accepted()
        async with serving(accepted, alpn_protocols=["h2"]) as server:
            server.add_context("a.example.com", **credentials("a.example.com"))
            lines: list[bytes] = []
            server.on("keylog", lambda line, _socket: lines.append(line))
            async with to(server, servername="a.example.com", alpn_protocols=["h2"], max_version=version) as client:
                assert client.authorized
                assert client.alpn_protocol == "h2"
                client.write(b"x")
                assert await client.readexactly(1) == b"x"
            assert len(lines) == (1 if version == "TLSv1.2" else 5)

    run(main)


def test_many_names(run: Run) -> None:
    """Each of two hundred names gets its own certificate, however many ask at once."""

    async def main() -> None:
        names = [f"n{number}.example.org" for number in range(200)]
        async with serving(echo) as server:
            for name in names:
                server.add_context(name, **credentials(name))
            for start in range(0, 200, 50):
                part = names[start : start + 50]
                assert await asyncio.gather(*(shown(server, name) for name in part)) == part

    run(main)


def test_sni_01_no_address_is_a_name(run: Run) -> None:
    """SNI-01: an address, or something that is no str, is refused before anything is opened."""

    async def main() -> None:
        seen: list[Any] = []
        async with serving(echo) as server:
            server.on("connection", seen.append)
            for wrong, code in (
                ("127.0.0.1", "ERR_INVALID_ARG_VALUE"),
                ("::1", "ERR_INVALID_ARG_VALUE"),
                (1, "ERR_INVALID_ARG_TYPE"),
            ):
                with pytest.raises(aiotls.OptionError) as failure:
                    aiotls.connect(port=port_of(server), **client_options(servername=wrong))
                assert failure.value.code == code
            assert await shown(server, "localhost") == "localhost"
            assert len(seen) == 1

    run(main)


def test_sni_09_the_name_is_verified_not_the_host(run: Run, pki: Named) -> None:
    """SNI-09: the certificate of agent1 on localhost is that of `servername`."""

    async def main() -> None:
        async with serving(echo, **credentials(pki.leaf_a)) as server:
            options: dict[str, Any] = {"ca": pki.ca_a.cert_pem, "servername": "agent1", "reject_unauthorized": True}
            async with aiotls.connect("localhost", port_of(server), family=4, **options) as client:
                assert client.authorized
                assert common_name(client) == "agent1"

    run(main)


@pytest.mark.parametrize("form", ["list", "one string"])
def test_auth_01_forms_of_ca(run: Run, pki: Named, version: str, form: str) -> None:
    """AUTH-01: a list of PEMs, and all in one; on the server, in a context by name, and on the client."""
    both = [pki.ca_a.cert_pem.decode(), pki.ca_b.cert_pem.decode()]
    ca: Any = both if form == "list" else "\n".join(both)

    async def main() -> None:
        accepted = Accepted()
        async with serving(accepted, ca=ca, request_cert=True, **credentials(pki.leaf_a)) as server:
            server.add_context("agent3", ca=ca, **credentials(pki.leaf_b))
            for own in (pki.leaf_a, pki.leaf_b_client):
                options = {"ca": ca, "servername": "agent3", "max_version": version, **credentials(own)}
                async with aiotls.connect("127.0.0.1", port_of(server), **options) as client:
                    assert client.authorized
                    assert common_name(client) == "agent3"
                assert await accepted.peers.get() == (True, None)

    run(main)


# ---- what cannot be added


@pytest.mark.parametrize("hostname", [1, None, b"a.example", "", "a\0.example", "a b.example", "." * 3])
def test_wrong_names(run: Run, hostname: Any) -> None:
    """A name that no client can ask for is refused, and the error says so."""

    async def main() -> None:
        server = aiotls.create_server()
        with pytest.raises((TypeError, ValueError), match="hostname"):
            server.add_context(hostname, **credentials("a.example"))

    run(main)


def test_wrong_contexts(pki: Named) -> None:
    """Known when the context is added: a wrong option, a wrong type, options beside a context, a key of another."""
    server = aiotls.create_server()
    context = aiotls.create_secure_context(**credentials("a.example"))
    wrong: Any
    for wrong in (1, {"cert": "x"}, "a.example", object()):
        with pytest.raises(TypeError, match="context"):
            server.add_context("a.example", wrong)
    with pytest.raises(TypeError, match="context"):
        server.add_context("a.example", context, key=pki.server.key_pem)
    with pytest.raises(TypeError, match="request_cert"):
        server.add_context("a.example", **{"requestCert": True, **credentials("a.example")})
    with pytest.raises(aiotls.OptionError) as failure:
        server.add_context("a.example", cert=pki.server.cert_pem, key=pki.leaf_a.key_pem)
    assert failure.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
    with pytest.raises(aiotls.OptionError, match="cert"):
        server.add_context("a.example", cert="no PEM", key=pki.leaf_a.key_pem)


def test_what_was_refused_changes_nothing(run: Run) -> None:
    """After an error the context that was there goes on."""

    async def main() -> None:
        async with serving(echo) as server:
            server.add_context("a.example", **credentials("a.example"))
            with pytest.raises(aiotls.OptionError):
                server.add_context("a.example", cert="no PEM")
            assert await shown(server, "a.example") == "a.example"

    run(main)


# ---- how long contexts live


def test_cve_2026_19445_contexts_live_as_long_as_their_connections(run: Run, version: str) -> None:
    """CVE-2026-19445: the first context and the one by name are replaced and forgotten while connections use them."""

    async def main() -> None:
        held: list[asyncio.Event] = []

        async def chosen(name: str) -> aiotls.SecureContext:
            release = asyncio.Event()
            held.append(release)
            await release.wait()
            # Nothing but the connection refers to it when this has returned.
            return aiotls.create_secure_context(**credentials(name))

        sockets: list[aiotls.TLSSocket] = []

        async def listener(socket: aiotls.TLSSocket) -> None:
            sockets.append(socket)
            await echo(socket)

        async with serving(listener, sni_callback=chosen, max_version=version) as server:
            clients = [to(server, servername=f"n{number}.example.com") for number in range(10)]
            await until(lambda: len(held) == len(clients))
            # All of them have begun with this server's first context, and are asking.
            server.set_secure_context(**credentials("localhost"), max_version=version)
            gc.collect()
            for release in held:
                release.set()
            await asyncio.gather(*clients)
            server.set_secure_context(**credentials("localhost"))
            gc.collect()
            for number, client in enumerate(clients):
                assert common_name(client) == f"n{number}.example.com"
                client.write(b"alive")
                assert await client.readexactly(5) == b"alive"
                assert client.export_keying_material(16, "EXPERIMENTAL") is not None
            for socket in sockets:
                assert socket.get_certificate()
                assert socket.get_finished()
            for client in clients:
                client.end()
                assert await client.read() == b""
            await asyncio.gather(*(client.wait_closed() for client in clients))

    run(main)


def test_contexts_that_only_the_server_knew(run: Run, version: str) -> None:
    """CVE-2026-19445: contexts that were added by name are replaced, and then the server itself is forgotten."""

    async def main() -> None:
        server = aiotls.create_server(echo, **credentials("localhost"))
        await server.listen(0, "127.0.0.1")
        server.add_context("a.example.com", **credentials("a.example.com"))
        client = to(server, servername="a.example.com", max_version=version)
        await client
        server.add_context("a.example.com", **credentials("second"))
        assert await shown(server, "a.example.com") == "second"
        server.close()
        del server
        gc.collect()
        client.write(b"alive")
        assert await client.readexactly(5) == b"alive"
        client.end()
        assert await client.read() == b""
        await client.wait_closed()

    run(main)
