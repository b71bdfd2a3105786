"""aiotls and Node, both ways."""

import asyncio
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop import scripted
from tests.interop.echo import echo_server
from tests.support import peers
from tests.support.pki import Named

pytestmark = peers.needs("node")


class TestNodeAsClient(scripted.AsClient):
    peer = staticmethod(peers.node_client)
    certificate_required = "ALERT_CERTIFICATE_REQUIRED"
    unknown_ca = "ALERT_UNKNOWN_CA"

    def test_it_refuses_an_unknown_authority(self, run: Run, pki: Named, version: str) -> None:
        """Node looks at the certificate when the handshake is done, and just hangs up."""

        async def main() -> None:
            async with (
                echo_server(pki.leaf_local, max_version=version) as server,
                self.start(port=server.port) as peer,
            ):
                await peer.event("error", code="UNABLE_TO_VERIFY_LEAF_SIGNATURE")
                await peer.event("close")

        run(main)

    def test_resumption(self, run: Run, version: str) -> None:
        async def main() -> None:
            async with (
                echo_server(max_version=version) as server,
                self.start(port=server.port, resume=True) as peer,
            ):
                await peer.event("secure", reused=False)
                await peer.event("secure", reused=True)
                assert (await server.connections.get()).resumed is False
                assert (await server.connections.get()).resumed is True

        run(main)

    @pytest.mark.parametrize("name", ["localhost", "www.example.com"])
    def test_server_name(self, run: Run, name: str) -> None:
        async def main() -> None:
            async with echo_server() as server, self.start(port=server.port, servername=name) as peer:
                await peer.event("secure", authorized=True)
                assert (await server.connections.get()).servername == name

        run(main)

    def test_no_server_name(self, run: Run, pki: Named) -> None:
        async def main() -> None:
            async with echo_server() as server, self.start(port=server.port, servername=None) as peer:
                await peer.event("secure", authorized=True)
                assert (await server.connections.get()).servername is False

        run(main)


class TestNodeAsServer(scripted.AsServer):
    peer = staticmethod(peers.node_server)

    def test_client_certificate_of_an_unknown_authority(self, run: Run, pki: Named, version: str) -> None:
        """Node looks at the certificate when the handshake is done, and just hangs up."""

        async def main() -> None:
            async with self.start(pki.server, request_cert=True, max_version=version) as peer:
                own: dict[str, Any] = {"cert": pki.leaf_a.chain_pem, "key": pki.leaf_a.key_pem}
                with pytest.raises((aiotls.ConnectionLost, asyncio.IncompleteReadError)):
                    async with aiotls.connect("localhost", peer.port, ca=pki.ca.cert_pem, **own) as socket:
                        await socket.readexactly(1)
                await peer.event("error")

        run(main)
