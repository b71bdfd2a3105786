"""Cipher suites: whose order counts, and where the list comes from when none is given."""

import asyncio
from typing import Any

import pytest

import aiotls
from aiotls.constants import SSL_OP_CIPHER_SERVER_PREFERENCE
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, client_options, gone
from tests.support.pki import Named
from tests.support.servers import echo, port_of, serving

AES128, AES256 = "AES128-SHA256", "AES256-SHA256"
GCM, ECDHE_GCM = "AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"

SERVER = f"{AES256}:{GCM}:{AES128}:{ECDHE_GCM}"
ONE = f"{GCM}:{AES256}:{AES128}"
OTHER = f"{AES128}:{GCM}"


def rsa(pki: Named, **options: Any) -> dict[str, Any]:
    """A server whose RSA key may encrypt, as the key exchange of some of the suites needs."""
    return {"cert": pki.server.chain_pem, "key": pki.server.key_pem, "max_version": "TLSv1.2", **options}


@pytest.mark.parametrize(
    ("honor", "chosen"),
    [
        (False, {ONE: GCM, OTHER: AES128, AES128: AES128, None: ECDHE_GCM, "": ECDHE_GCM}),
        (True, {ONE: AES256, OTHER: GCM, AES128: AES128, None: AES256, "": AES256}),
        (None, {ONE: AES256, OTHER: GCM, AES128: AES128, None: AES256, "": AES256}),
    ],
)
def test_whose_order_counts(run: Run, pki: Named, honor: bool | None, chosen: dict[str | None, str]) -> None:
    """CIPH-04: the client's order with ``honor_cipher_order=False``, the server's with True and by default."""

    async def main() -> None:
        seen: asyncio.Queue[str] = asyncio.Queue()

        async def secured(socket: aiotls.TLSSocket) -> None:
            seen.put_nowait(name_of(socket))
            await echo(socket)

        async with serving(secured, **rsa(pki, ciphers=SERVER, honor_cipher_order=honor)) as server:
            for ciphers, suite in chosen.items():
                options = client_options(ciphers=ciphers)
                async with aiotls.connect(port_of(server), "127.0.0.1", **options) as client:
                    assert (name_of(client), await seen.get()) == (suite, suite), ciphers

    run(main)


def test_the_default_list_when_it_connects(run: Run, pki: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIPH-03, CIPH-04: a client without ciphers has those that `defaults` holds when it connects."""

    async def main() -> None:
        async with serving(echo, **rsa(pki, ciphers=SERVER)) as server:
            for ciphers in (ECDHE_GCM, AES128, f"{AES128}:{GCM}"):
                monkeypatch.setattr(aiotls.defaults, "ciphers", ciphers)
                async with aiotls.connect(port_of(server), "127.0.0.1", **client_options(ciphers=None)) as client:
                    assert name_of(client) == (GCM if GCM in ciphers.split(":") else ciphers)

    run(main)


def test_what_a_client_offers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIPH-03: the suites in the ClientHello are those of `defaults.ciphers`, in this order."""

    async def main() -> None:
        monkeypatch.setattr(aiotls.defaults, "ciphers", f"TLS_AES_128_GCM_SHA256:{ECDHE_GCM}:{AES128}")
        near, far = MemoryDuplex.pair()
        client = aiotls.connect(socket=near, **client_options())
        hello = (await far.read(65536))[9:]
        await gone(client)
        start = 37 + hello[34]
        size = int.from_bytes(hello[start - 2 : start], "big")
        suites = [int.from_bytes(hello[at : at + 2], "big") for at in range(start, start + size, 2)]
        # The last one only says that renegotiation is safe (RFC 5746, section 3.3).
        assert [suite for suite in suites if suite != 0x00FF] == [0x1301, 0xC02F, 0x003C]

    run(main)


def test_a_context_without_ciphers_has_the_default_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIPH-03: the list of the context itself."""
    monkeypatch.setattr(aiotls.defaults, "ciphers", f"TLS_AES_128_GCM_SHA256:{AES128}:{ECDHE_GCM}")
    for options in ({}, {"ciphers": None}, {"ciphers": ""}):
        context = aiotls.create_secure_context(**options)
        assert context._native.cipher_names() == ["TLS_AES_128_GCM_SHA256", AES128, ECDHE_GCM]
    assert aiotls.create_secure_context(ciphers=GCM)._native.cipher_names()[-1] == GCM


@pytest.mark.parametrize(("options", "suite"), [({}, AES128), ({"honor_cipher_order": True}, AES256)])
@pytest.mark.parametrize("bit", [False, True])
def test_contexts_made_by_themselves(run: Run, pki: Named, options: dict[str, Any], suite: str, bit: bool) -> None:
    """The reference: only `create_server` honours its order by default; a context says so, or has the bit."""

    async def main() -> None:
        own = rsa(pki, ciphers=f"{AES256}:{AES128}", secure_options=SSL_OP_CIPHER_SERVER_PREFERENCE if bit else None)
        context = aiotls.create_secure_context(**own, **options)
        async with serving(echo, cert=None, key=None, secure_context=context) as server:
            target = (port_of(server), "127.0.0.1")
            async with aiotls.connect(*target, **client_options(ciphers=f"{AES128}:{AES256}")) as client:
                assert name_of(client) == (AES256 if bit else suite)

    run(main)


@pytest.mark.parametrize(
    ("way", "honor", "suite"),
    [
        ("add_context", None, AES256),
        ("set_secure_context", None, AES256),
        ("set_secure_context", False, AES128),
    ],
)
def test_contexts_that_a_server_makes(run: Run, pki: Named, way: str, honor: bool | None, suite: str) -> None:
    """Those of `add_context` and `set_secure_context` honour their order by default, like the first one."""

    async def main() -> None:
        async with serving(echo, max_version="TLSv1.2") as server:
            own = rsa(pki, ciphers=f"{AES256}:{AES128}", honor_cipher_order=honor)
            if way == "add_context":
                server.add_context("localhost", **own)
            else:
                server.set_secure_context(**own)
            target = (port_of(server), "127.0.0.1")
            async with aiotls.connect(*target, **client_options(ciphers=f"{AES128}:{AES256}")) as client:
                assert name_of(client) == suite

    run(main)


def test_tls_1_3_has_its_own_order(run: Run, pki: Named) -> None:
    """The order of the suites of TLS 1.3 counts in the same way."""
    one, other = "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"

    async def main() -> None:
        for honor, suite in ((True, other), (False, one)):
            own = rsa(pki, ciphers=f"{other}:{one}", honor_cipher_order=honor, max_version="TLSv1.3")
            async with serving(echo, **own) as server:
                target = (port_of(server), "127.0.0.1")
                async with aiotls.connect(*target, **client_options(ciphers=f"{one}:{other}")) as client:
                    assert name_of(client) == suite

    run(main)


def name_of(socket: aiotls.TLSSocket) -> str:
    cipher = socket.get_cipher()
    assert cipher is not None
    return cipher.name
