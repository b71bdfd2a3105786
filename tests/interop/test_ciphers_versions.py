"""Protocol versions with other programs: old ones, single ones, and none in common."""

from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.echo import echo_server
from tests.support.peers import needs, node_client, node_server, openssl_client, openssl_handshake, openssl_server
from tests.support.pki import Named

ALL = "ALL@SECLEVEL=0"
FLAGS = {"TLSv1": "-tls1", "TLSv1.1": "-tls1_1", "TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}
METHODS = {"TLSv1": "TLSv1_method", "TLSv1.1": "TLSv1_1_method", "TLSv1.2": "TLSv1_2_method"}


@needs("openssl")
@pytest.mark.parametrize("protocol", FLAGS)
def test_a_client_with_one_version(run: Run, pki: Named, protocol: str) -> None:
    """VER-01: ``s_client`` with one version, and a server that has it by a range or by a method."""
    wishes: list[dict[str, Any]] = [{"min_version": "TLSv1"}]
    if protocol in METHODS:
        wishes.append({"secure_protocol": METHODS[protocol]})

    async def main() -> None:
        for wish in wishes:
            async with (
                echo_server(pki.chain_a, ciphers=ALL, **wish) as server,
                openssl_client(FLAGS[protocol], "-cipher", "ALL:@SECLEVEL=0", port=server.port) as peer,
            ):
                peer.write(b"hello\n")
                await peer.saw(r"^hello$")
                assert openssl_handshake(peer.text).protocol == (await server.connections.get()).protocol == protocol

    run(main)


@needs("openssl")
@pytest.mark.parametrize("protocol", ["TLSv1", "TLSv1.1"])
def test_a_client_that_is_too_old(run: Run, pki: Named, protocol: str) -> None:
    """VER-01, VER-03: the default server refuses it with the alert protocol_version."""

    async def main() -> None:
        async with (
            echo_server(pki.chain_a) as server,
            openssl_client(FLAGS[protocol], "-cipher", "ALL:@SECLEVEL=0", port=server.port) as peer,
        ):
            assert openssl_handshake((await peer.finished()).text).alert == 70
            assert (await server.errors.get()).code == "ERR_SSL_UNSUPPORTED_PROTOCOL"
            assert server.connections.empty()

    run(main)


@needs("openssl")
@pytest.mark.parametrize("protocol", FLAGS)
def test_a_server_with_one_version(run: Run, pki: Named, protocol: str, tmp_path: Path) -> None:
    """VER-01: ``s_server`` with one version; a client whose range has it, and one whose range ends elsewhere."""
    files = pki.server.write(tmp_path)
    above_or_below: dict[str, Any] = {"min_version": "TLSv1.3"} if protocol != "TLSv1.3" else {"max_version": "TLSv1.2"}

    async def main() -> None:
        own = ("-cert", files.cert, "-key", files.key, "-cipher", "ALL:@SECLEVEL=0", "-rev", FLAGS[protocol])
        async with openssl_server(*own) as peer:
            options: dict[str, Any] = {"ca": pki.ca.cert_pem, "ciphers": ALL}
            async with aiotls.connect("localhost", peer.port, min_version="TLSv1", **options) as socket:
                assert socket.get_protocol() == protocol
            with pytest.raises(aiotls.AlertReceived) as refused:
                await aiotls.connect("localhost", peer.port, **options, **above_or_below)
            assert (refused.value.code, refused.value.alert) == ("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", 70)

    run(main)


@needs("node")
@pytest.mark.parametrize("protocol", ["TLSv1", "TLSv1.2", "TLSv1.3"])
def test_node(run: Run, pki: Named, protocol: str) -> None:
    """VER-01: Node with one version, both ways."""
    text = {name: pem.decode() for name, pem in {"cert": pki.server.chain_pem, "key": pki.server.key_pem}.items()}
    one = {"min_version": protocol, "max_version": protocol, "ciphers": ALL}
    ours: dict[str, Any] = {"min_version": "TLSv1", "ciphers": ALL}
    ca = pki.ca.cert_pem.decode()

    async def main() -> None:
        async with (
            echo_server(pki.server, **ours) as server,
            node_client(port=server.port, ca=ca, servername="localhost", **one) as client,
        ):
            assert (await client.event("secure"))["protocol"] == protocol
            assert (await server.connections.get()).protocol == protocol
        async with node_server(**text, **one) as peer, aiotls.connect("localhost", peer.port, ca=ca, **ours) as socket:
            assert socket.get_protocol() == protocol
            assert (await peer.event("secure"))["protocol"] == protocol

    run(main)
