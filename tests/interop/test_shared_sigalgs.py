"""get_shared_sigalgs: what both sides can sign with, in the words of OpenSSL and Node."""

from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.accepting import accepting
from tests.interop.node_facts import node
from tests.support.pairs import tls_pair
from tests.support.peers import needs, openssl_client, openssl_server
from tests.support.pki import IdentityFiles, Named

# What is told of a connection does not depend on the loop.
pytestmark = pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)

VERSION_FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}

OFFERS = [
    ("RSA-PSS+SHA384", None, ["RSA-PSS+SHA384"]),
    ("RSA-PSS+SHA384:RSA-PSS+SHA256", None, ["RSA-PSS+SHA256", "RSA-PSS+SHA384"]),
    (
        "RSA-PSS+SHA256:RSA-PSS+SHA512:ECDSA+SHA256",
        "ECDSA+SHA256:RSA-PSS+SHA256",
        ["ECDSA+SHA256", "RSA-PSS+SHA256"],
    ),
    ("ed25519:RSA-PSS+SHA256:ed448", "RSA-PSS+SHA256:ed448:ed25519", ["RSA-PSS+SHA256", "Ed448", "Ed25519"]),
    ("rsa_pss_pss_sha256:RSA-PSS+SHA256", None, ["RSA-PSS+SHA256"]),
    (None, "RSA+SHA512:RSA-PSS+SHA512", ["RSA+SHA512", "RSA-PSS+SHA512"]),
]
"""What a client offers, what a server wants, each None for the usual list, and what they share, as the server wants."""


def in_our_words(names: list[str]) -> list[str]:
    """Names of OpenSSL's programs and of Node; two names of the same algorithm are one for us."""
    found = [name.removesuffix("+UNDEF").replace("rsa_pss_pss_sha", "RSA-PSS+SHA") for name in names]
    return list(dict.fromkeys(name.replace("ed", "Ed", 1) if name.startswith("ed") else name for name in found))


def server_of(pki: Named, version: str, wanted: str | None) -> dict[str, Any]:
    return {
        "cert": pki.server.chain_pem,
        "key": pki.server.key_pem,
        "max_version": version,
        "min_version": version,
        "sigalgs": wanted,
    }


def flags(option: str, value: str | None) -> tuple[str, ...]:
    return () if value is None else (option, value)


@pytest.mark.parametrize(("offered", "wanted", "shared"), OFFERS)
class TestServer:
    """CIPH-05: on our server."""

    @needs("openssl")
    def test_openssl(
        self, run: Run, pki: Named, version: str, offered: str | None, wanted: str | None, shared: list[str]
    ) -> None:
        async def main() -> None:
            async with (
                accepting(**server_of(pki, version, wanted)) as (port, accepted),
                openssl_client(VERSION_FLAGS[version], *flags("-sigalgs", offered), port=port),
            ):
                socket = await accepted.get()
                assert socket.get_shared_sigalgs() == shared

        run(main)

    @needs("node")
    def test_node(
        self, run: Run, pki: Named, version: str, offered: str | None, wanted: str | None, shared: list[str]
    ) -> None:
        async def main() -> None:
            async with (
                accepting(**server_of(pki, version, wanted)) as (port, accepted),
                node("client", port=port, sigalgs=offered),
            ):
                socket = await accepted.get()
                assert socket.get_shared_sigalgs() == shared

        run(main)

    def test_our_client(
        self, run: Run, pki: Named, version: str, offered: str | None, wanted: str | None, shared: list[str]
    ) -> None:
        """Which has none to tell: nobody asked for its certificate."""

        async def main() -> None:
            async with tls_pair(client={"sigalgs": offered}, server=server_of(pki, version, wanted)) as (near, far):
                assert far.get_shared_sigalgs() == shared
                assert near.get_shared_sigalgs() == []

        run(main)


class TestSameAsOthers:
    """With the same peer, they say the same, in whatever words."""

    @needs("openssl")
    def test_server_of_openssl(self, run: Run, pki: Named, version: str, tmp_path: Path) -> None:
        async def main() -> None:
            files = pki.server.write(tmp_path)
            own = ("-cert", files.chain, "-key", files.key, "-serverpref")
            async with (
                openssl_server(*own, VERSION_FLAGS[version]) as server,
                openssl_client(VERSION_FLAGS[version], port=server.port),
            ):
                told = (await server.saw(r"^Shared Signature Algorithms: (.*)$"))[1].split(":")
            async with (
                accepting(**server_of(pki, version, None)) as (port, accepted),
                openssl_client(VERSION_FLAGS[version], port=port),
            ):
                socket = await accepted.get()
                assert socket.get_shared_sigalgs() == in_our_words(told)

        run(main)

    @needs("node", "openssl")
    def test_server_of_node(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            async with (
                node("server", pki.server, max_version=version) as server,
                openssl_client(VERSION_FLAGS[version], port=server.port),
            ):
                told = (await server.event("facts"))["sigalgs"]
            async with (
                accepting(**server_of(pki, version, None)) as (port, accepted),
                openssl_client(VERSION_FLAGS[version], port=port),
            ):
                socket = await accepted.get()
                assert socket.get_shared_sigalgs() == in_our_words(told)

        run(main)

    @needs("openssl")
    def test_client_of_openssl(
        self, run: Run, pki: Named, version: str, ca_file: Path, client_files: IdentityFiles, tmp_path: Path
    ) -> None:
        """A client that is asked for its certificate shares what it can sign with."""

        async def main() -> None:
            files = pki.server.write(tmp_path)
            own = ("-cert", files.chain, "-key", files.key, "-Verify", "1", "-CAfile", ca_file)
            wanted = ("-client_sigalgs", "RSA-PSS+SHA512:RSA-PSS+SHA256:ECDSA+SHA256")
            async with openssl_server(*own, *wanted, VERSION_FLAGS[version]) as server:
                theirs = ("-cert", client_files.cert, "-key", client_files.key)
                async with openssl_client(*theirs, VERSION_FLAGS[version], port=server.port) as client:
                    told = await client.saw(r"^Shared Requested Signature Algorithms: (.*)$")
                identity: dict[str, Any] = {"cert": pki.client.chain_pem, "key": pki.client.key_pem}
                options = {"ca": pki.ca.cert_pem, "close_timeout": 0.1, **identity}
                async with aiotls.connect("localhost", server.port, **options) as socket:
                    ours = socket.get_shared_sigalgs()
            assert ours == in_our_words(told[1].split(":"))
            assert ours == ["RSA-PSS+SHA512", "RSA-PSS+SHA256", "ECDSA+SHA256"]

        run(main)

    @needs("node")
    def test_client_of_node(self, run: Run, pki: Named, version: str) -> None:
        async def main() -> None:
            asking = {"request_cert": True, "max_version": version}
            async with node("server", pki.server, sigalgs="RSA-PSS+SHA512:RSA-PSS+SHA256", **asking) as server:
                async with node("client", pki.client, port=server.port) as client:
                    told = (await client.event("facts"))["sigalgs"]
                identity: dict[str, Any] = {"cert": pki.client.chain_pem, "key": pki.client.key_pem}
                async with aiotls.connect("localhost", server.port, ca=pki.ca.cert_pem, **identity) as socket:
                    assert socket.get_shared_sigalgs() == in_our_words(told)

        run(main)
