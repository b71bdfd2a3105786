"""What a `TLSSocket` tells about its connection: before, during, and after."""

import asyncio
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import gone, streams, tls_pair
from tests.support.pki import Named


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


METADATA = (
    "get_protocol",
    "get_cipher",
    "get_ephemeral_key_info",
    "is_session_reused",
    "get_peer_certificate",
    "get_peer_x509_certificate",
    "get_certificate",
    "get_x509_certificate",
    "get_finished",
    "get_peer_finished",
    "address",
)


def test_after_the_close_everything_is_none(run: Run, version: str) -> None:
    """INFO-01, INFO-03: at "end" still there, at "close" and after it None."""

    async def main() -> None:
        async with tls_pair(client={"max_version": version}) as (client, server):
            seen: dict[str, Any] = {}
            client.on("end", lambda: seen.update(end=client.get_protocol()))
            client.on("close", lambda _: seen.update(close=client.get_protocol()))
            closed = asyncio.ensure_future(client.wait_for("close"))
            await asyncio.sleep(0)
            server.end()
            client.resume()
            await closed
            assert seen == {"end": version, "close": None}
            for method in METADATA:
                assert getattr(client, method)() is None, method
            assert client.alpn_protocol is None
            assert client.remote_address is None
            assert client.local_port is None
            assert not client.authorized
            with pytest.raises(aiotls.StateError):
                client.export_keying_material(32, "label")

    run(main)


def test_before_the_handshake(run: Run) -> None:
    """INFO-01, INFO-02: None, and an error where None would be mistaken for keys."""

    async def main() -> None:
        async with tls_pair(secure=False) as (client, server):
            for socket in (client, server):
                assert socket.secure_connecting
                assert not socket.authorized
                for method in ("get_protocol", "get_cipher", "get_finished", "get_peer_finished", "is_session_reused"):
                    assert getattr(socket, method)() is None
                assert socket.alpn_protocol is None
                assert socket.encrypted is True
                with pytest.raises(aiotls.StateError, match="must be securely established") as failure:
                    socket.export_keying_material(128, "label")
                assert failure.value.code == "ERR_TLS_INVALID_STATE"
            await asyncio.gather(client, server)

    run(main)


def test_keying_material(run: Run, version: str) -> None:
    """INFO-02."""

    async def main() -> None:
        async with tls_pair(client={"max_version": version}) as (client, server):
            plain = server.export_keying_material(128, "label")
            context = server.export_keying_material(128, "label", b"\0\1\2\3")
            empty = server.export_keying_material(128, "label", b"")
            assert len(plain) == len(context) == len(empty) == 128
            assert plain != context
            assert (plain == empty) is (version == "TLSv1.3")
            assert len(server.export_keying_material(1, "")) == 1
            assert client.export_keying_material(128, "label") == plain
            assert client.export_keying_material(128, "label", memoryview(b"\0\1\2\3")) == context
            wrong: list[tuple[Any, type[Exception], str]] = [
                (("length", "label"), TypeError, "ERR_INVALID_ARG_TYPE"),
                ((True, "label"), TypeError, "ERR_INVALID_ARG_TYPE"),
                ((-3, "label"), ValueError, "ERR_OUT_OF_RANGE"),
                ((0, "label"), ValueError, "ERR_OUT_OF_RANGE"),
                ((1.5, "label"), ValueError, "ERR_OUT_OF_RANGE"),
                ((2**40, "label"), ValueError, "ERR_OUT_OF_RANGE"),
                ((10, None), TypeError, "ERR_INVALID_ARG_TYPE"),
                ((10, 1), TypeError, "ERR_INVALID_ARG_TYPE"),
                ((10, "label", "context"), TypeError, "ERR_INVALID_ARG_TYPE"),
                ((10, "label", 1), TypeError, "ERR_INVALID_ARG_TYPE"),
            ]
            for arguments, kind, code in wrong:
                with pytest.raises(aiotls.OptionError) as failure:
                    client.export_keying_material(*arguments)
                assert isinstance(failure.value, kind)
                assert failure.value.code == code, arguments

    run(main)


def test_finished(run: Run, version: str) -> None:
    """INFO-01."""

    async def main() -> None:
        async with tls_pair(client={"max_version": version}) as (client, server):
            for one, other in ((client, server), (server, client)):
                finished = one.get_finished()
                assert finished
                assert finished == other.get_peer_finished()
                assert len(finished) == (12 if version == "TLSv1.2" else 48)

    run(main)


def test_cipher_and_group(run: Run, version: str) -> None:
    async def main() -> None:
        options = {"max_version": version, "ecdh_curve": "X25519:prime256v1"}
        async with tls_pair(client=options) as (client, server):
            cipher = client.get_cipher()
            assert cipher == server.get_cipher()
            assert cipher is not None
            assert cipher.standard_name.startswith("TLS_")
            assert cipher.version == version
            assert client.get_ephemeral_key_info() == aiotls.EphemeralKeyInfo("ECDH", "X25519", 253)
            assert server.get_ephemeral_key_info() is None
            assert client.is_session_reused() is False
            assert client.get_extra_info("cipher") == (cipher.name, cipher.version, None)
            assert client.get_extra_info("no such thing", "default") == "default"

    run(main)


def test_certificates(run: Run, pki: Named) -> None:
    """CERT-08 and the like: ours and theirs, in both forms; an empty one where there is none."""

    async def main() -> None:
        own = {"cert": pki.client_ec.chain_pem, "key": pki.client_ec.key_pem}
        asks = {"request_cert": True, "ca": pki.ca.cert_pem}
        async with tls_pair(client=own, server=asks) as (client, server):
            for one, other, identity in ((client, server, pki.client_ec), (server, client, pki.server_ec)):
                mine, theirs = one.get_certificate(), other.get_peer_certificate()
                assert mine is not None
                assert theirs is not None
                assert mine.raw == theirs.raw == identity.der
                assert one.get_x509_certificate() == other.get_peer_x509_certificate() == identity.certificate
            detailed = client.get_peer_certificate(True)
            assert detailed is not None
            assert detailed.issuer_certificate is not None
            assert detailed.issuer_certificate.raw == pki.ca.der
        async with tls_pair() as (client, server):
            assert not client.get_certificate()
            assert not server.get_peer_certificate()
            assert server.get_peer_x509_certificate() is None
            assert client.get_x509_certificate() is None

    run(main)


@pytest.mark.parametrize(
    ("client", "server", "agreed"),
    [
        (None, None, False),
        (["h2"], None, False),
        (None, ["h2"], False),
        (["h2", "http/1.1"], ["http/1.1", "h2"], "http/1.1"),
        ([b"h2"], ["h2"], "h2"),
        (b"\x02h2\x08http/1.1", ["http/1.1"], "http/1.1"),
        ([], ["h2"], False),
    ],
)
def test_alpn(run: Run, version: str, client: Any, server: Any, agreed: str | bool) -> None:
    """ALPN-01, ALPN-03: the server's order decides; False for none."""

    async def main() -> None:
        options = {"alpn_protocols": client, "max_version": version}
        async with tls_pair(client=options, server={"alpn_protocols": server}) as (near, far):
            assert near.alpn_protocol == far.alpn_protocol == agreed
            assert type(near.alpn_protocol) is type(agreed)

    run(main)


def test_no_protocol_in_common(run: Run, version: str) -> None:
    """The alert no_application_protocol, to both."""

    async def main() -> None:
        options = {"alpn_protocols": ["h2"], "max_version": version}
        async with tls_pair(client=options, server={"alpn_protocols": ["http/1.1"]}, secure=False) as (near, far):
            alerted, refused = await asyncio.gather(near, far, return_exceptions=True)
            assert isinstance(refused, aiotls.ProtocolError)
            assert refused.code == "ERR_SSL_NO_APPLICATION_PROTOCOL"
            assert isinstance(alerted, aiotls.AlertReceived)
            assert alerted.code == "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
            assert alerted.alert == 120

    run(main)


def test_addresses(run: Run) -> None:
    async def main() -> None:
        async with tls_pair("tcp") as (client, server):
            address = client.address()
            assert address is not None
            assert (address.address, address.family) == ("127.0.0.1", "IPv4")
            assert (client.local_address, client.local_family, client.local_port) == (
                address.address,
                address.family,
                address.port,
            )
            assert (client.remote_address, client.remote_family) == ("127.0.0.1", "IPv4")
            assert client.remote_port == server.local_port
            assert server.remote_port == client.local_port
            assert client.get_extra_info("peername") == server.get_extra_info("sockname")

    run(main)


@pytest.mark.parametrize("kind", ["transport", "streams", "tls-in-tls"])
def test_addresses_through_other_wires(run: Run, kind: str) -> None:
    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            assert client.get_extra_info("peername") == server.get_extra_info("sockname")
            assert client.remote_port == server.local_port

    run(main)


def test_ready_state(run: Run) -> None:
    async def main() -> None:
        half_open = {"allow_half_open": True}
        async with tls_pair(client=half_open, server=half_open) as (client, server):
            assert client.ready_state == "open"
            client.end()
            assert client.ready_state == "read_only"
            assert await server.read() == b""
            assert server.ready_state == "write_only"
            server.end()
            assert await client.read() == b""
            await client.wait_closed()
            assert client.ready_state == "closed"
            assert not client.readable
            assert not client.writable

    run(main)


def test_a_wrapped_socket_takes_allow_half_open(run: Run) -> None:
    """Unless it is told otherwise."""

    async def main() -> None:
        for given, expected in ((None, True), (False, False), (True, True)):
            async with streams("socketpair") as (near, far):
                below = aiotls.connect(socket=near, allow_half_open=True)
                over = aiotls.connect(socket=below, allow_half_open=given)
                assert over.allow_half_open is expected
                await gone(over, below)
                far.close()

    run(main)
