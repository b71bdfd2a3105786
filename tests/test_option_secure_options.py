"""The option `secure_options`: bits of OpenSSL, each shown by what it changes."""

import ssl
from typing import Any

import pytest

import aiotls
from aiotls import constants
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, Pair, client_options, gone, server_options
from tests.support.pki import named
from tests.support.servers import echo, serving, to

NOTHING = "ERR_SSL_NO_PROTOCOLS_AVAILABLE"
UNSUPPORTED = "ERR_SSL_UNSUPPORTED_PROTOCOL"


def contexts(client: dict[str, Any], server: dict[str, Any]) -> Pair:
    """Both ends after their handshake."""
    pair = Pair(
        client={"context": aiotls.create_secure_context(**{"ca": named.ca.cert_pem, **client})},
        server={"context": aiotls.create_secure_context(**server_options(**server))},
    )
    pair.run()
    return pair


def protocol(client: dict[str, Any], server: dict[str, Any]) -> str | None:
    pair = contexts(client, server)
    return pair.client.connection.engine.protocol() or pair.client.error.code  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("bits", "version"),
    [
        (0, "TLSv1.3"),
        (constants.SSL_OP_NO_TLSv1_3, "TLSv1.2"),
        (constants.SSL_OP_NO_TLSv1 | constants.SSL_OP_NO_TLSv1_1 | constants.SSL_OP_NO_TLSv1_2, "TLSv1.3"),
        (constants.SSL_OP_NO_TLSv1_3 | constants.SSL_OP_NO_TLSv1_2, "TLSv1.1"),
        (constants.SSL_OP_NO_TLSv1_3 | constants.SSL_OP_NO_TLSv1_2 | constants.SSL_OP_NO_TLSv1_1, "TLSv1"),
        (constants.SSL_OP_NO_TLSv1 | constants.SSL_OP_NO_TLSv1_1 | constants.SSL_OP_NO_TLSv1_3, "TLSv1.2"),
    ],
)
@pytest.mark.parametrize("side", ["client", "server"])
def test_versions(bits: int, version: str, side: str) -> None:
    """``SSL_OP_NO_TLSv1_3`` and the like take a version out of the range, on either side."""
    both: dict[str, Any] = {"min_version": "TLSv1", "ciphers": "ALL@SECLEVEL=0"}
    mine = {**both, "secure_options": bits}
    assert (protocol(mine, both) if side == "client" else protocol(both, mine)) == version


def test_no_version_is_left() -> None:
    """Bits and range together may leave nothing: the side that notices names the reason."""
    bits = constants.SSL_OP_NO_TLSv1_2 | constants.SSL_OP_NO_TLSv1_3
    assert protocol({"secure_options": bits}, {}) == NOTHING
    pair = contexts({}, {"secure_options": bits})
    assert isinstance(pair.client.error, aiotls.AlertReceived)
    assert pair.client.error.alert == 70
    # A hole in the range: the client's only version is the one that was taken out.
    hole = {"secure_options": constants.SSL_OP_NO_TLSv1_2}
    assert contexts({"max_version": "TLSv1.2"}, hole).server.error.code == UNSUPPORTED  # type: ignore[attr-defined]


@pytest.mark.parametrize("bits", [0, constants.SSL_OP_NO_TICKET])
def test_no_ticket(run: Run, bits: int) -> None:
    """``SSL_OP_NO_TICKET``: a server of TLS 1.2 gives no ticket, and nothing can be resumed without a store."""

    async def main() -> None:
        async with serving(echo, max_version="TLSv1.2", secure_options=bits) as server:
            async with to(server) as client:
                assert (client.get_tls_ticket() is None) == bool(bits)
                session = client.get_session()
            async with to(server, session=session) as client:
                assert client.is_session_reused() is not bool(bits)

    run(main)


@pytest.mark.parametrize("bits", [0, constants.SSL_OP_CIPHER_SERVER_PREFERENCE, constants.SSL_OP_PRIORITIZE_CHACHA])
def test_preferences(bits: int) -> None:
    """The server's order, and ChaCha20 for a client that wants it most."""
    aes, chacha = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"
    prefer = bits | (constants.SSL_OP_CIPHER_SERVER_PREFERENCE if bits else 0)
    server = {"ciphers": f"{aes}:{chacha}", "secure_options": prefer, "max_version": "TLSv1.2"}
    pair = contexts({"ciphers": f"{chacha}:{aes}", "max_version": "TLSv1.2"}, server)
    cipher = pair.client.connection.engine.cipher()
    assert cipher is not None
    assert cipher[0] == (aes if bits == constants.SSL_OP_CIPHER_SERVER_PREFERENCE else chacha)


@pytest.mark.parametrize(
    ("bits", "extension"),
    [
        (constants.SSL_OP_NO_TICKET, 35),
        (constants.SSL_OP_NO_ENCRYPT_THEN_MAC, 22),
        (constants.SSL_OP_NO_EXTENDED_MASTER_SECRET, 23),
    ],
)
def test_what_a_client_offers(run: Run, bits: int, extension: int) -> None:
    """Extensions that a bit takes out of the ClientHello; what the others do stays."""

    async def main() -> None:
        assert extension in await offered(secure_options=None)
        found = await offered(secure_options=bits)
        assert extension not in found
        assert found == await offered(secure_options=0) - {extension}
        every = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_ENCRYPT_THEN_MAC
        assert await offered(secure_options=every | bits) == await offered() - {35, 22, extension}

    run(main)


async def offered(**options: Any) -> set[int]:
    """The numbers of the extensions in the ClientHello of a client of TLS 1.2."""
    near, far = MemoryDuplex.pair()
    client = aiotls.connect(socket=near, **client_options(max_version="TLSv1.2", **options))
    hello = (await far.read(65536))[9:]
    await gone(client)
    at = 35 + hello[34]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at] + 2
    found: set[int] = set()
    while at < len(hello):
        found.add(int.from_bytes(hello[at : at + 2], "big"))
        at += 4 + int.from_bytes(hello[at + 2 : at + 4], "big")
    return found


@pytest.mark.parametrize("bits", [0, None, constants.SSL_OP_ALL, 2**63])
def test_bits_that_change_nothing_here(bits: int | None) -> None:
    """None and 0 are nothing; bits that OpenSSL does not know it ignores."""
    assert protocol({"secure_options": bits}, {"secure_options": bits}) == "TLSv1.3"


def test_renegotiation_is_refused(run: Run) -> None:
    """``SSL_OP_NO_RENEGOTIATION`` on a server: the client's request fails, and the connection goes on or ends."""

    async def main() -> None:
        bits = constants.SSL_OP_NO_RENEGOTIATION
        async with serving(echo, max_version="TLSv1.2", secure_options=bits) as server, to(server) as client:
            with pytest.raises(aiotls.TLSError):
                await client.renegotiate()

    run(main)


def test_the_constants_are_those_of_openssl() -> None:
    """`constants` has the values that Python's own ssl has for the same names, as far as it has them."""
    checked = 0
    for name in dir(ssl):
        ours = getattr(constants, f"SSL_{name}", None)
        if name.startswith("OP_") and ours is not None and name != "OP_ALL":
            checked += 1
            # What an older OpenSSL keeps for nothing is 0 on both sides.
            assert ours == int(getattr(ssl, name)), name
    assert checked >= 10
