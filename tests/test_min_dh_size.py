"""`min_dh_size`: a client refuses a Diffie-Hellman group that is too small, before anything else is told."""

import asyncio
import math
import warnings
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import KINDS, tls_pair, until
from tests.support.pki import Named
from tests.support.servers import port_of, serving, to
from tests.support.visits import credentials, staying
from tests.test_dhparam import dh_group, dh_of_size

DHE = "DHE-RSA-AES128-GCM-SHA256"
LOW = f"{DHE}:@SECLEVEL=1"


def dhe_server(pki: Named, bits: int, ciphers: str = DHE) -> dict[str, Any]:
    """The options of a server of CIPH-07."""
    return {**credentials(pki.server), "ciphers": ciphers, "dhparam": dh_group(bits)}


class Watched:
    """What a client emits."""

    def __init__(self, socket: aiotls.TLSSocket) -> None:
        self.socket = socket
        self.events: list[str] = []
        self.errors: list[Any] = []
        for event in ("secure", "secure_connect", "session", "close"):
            socket.on(event, lambda *_, event=event: self.events.append(event))
        socket.on("error", self.errors.append)


@pytest.fixture
def small_groups() -> Any:
    """A group of 1024 bits is one to be warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aiotls.SecurityWarning)
        yield


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(
    ("bits", "least", "ciphers"),
    [(1024, 2048, LOW), (1024, 1025, LOW), (2048, 3072, DHE), (2048, 2049, DHE), (2048, 2**31 - 1, DHE)],
)
def test_ciph_07_too_small(run: Run, pki: Named, bits: int, least: int, ciphers: str) -> None:
    """CIPH-07: an error with its code, within the handshake: no side is secure."""

    async def main() -> None:
        secure: list[aiotls.TLSSocket] = []
        refusals: asyncio.Queue[Any] = asyncio.Queue()
        async with serving(secure.append, **dhe_server(pki, bits, ciphers)) as server:
            server.on("tls_client_error", lambda error, _: refusals.put_nowait(error))
            client = Watched(to(server, ciphers=ciphers, max_version="TLSv1.2", min_dh_size=least))
            with pytest.raises(aiotls.WeakParametersError) as raised:
                await client.socket
            assert raised.value.code == "ERR_TLS_DH_PARAM_SIZE"
            assert str(bits) in raised.value.message
            assert isinstance(await refusals.get(), aiotls.AlertReceived)
            await until(lambda: client.events)
            assert client.events == ["close"]
            assert (secure, refusals.empty()) == ([], True)

    run(main)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(
    ("bits", "least", "ciphers"),
    [(1024, 1024, LOW), (2048, 2048, LOW), (3072, 2048, DHE), (3072, 3072, DHE), (2048, 1, DHE), (2048, None, DHE)],
)
def test_ciph_07_large_enough(run: Run, pki: Named, bits: int, least: int | None, ciphers: str) -> None:
    """CIPH-07: a group of that size, or a larger one, connects; the default is 1024."""
    wish = {} if least is None else {"min_dh_size": least}

    async def main() -> None:
        async with (
            serving(**dhe_server(pki, bits, ciphers)) as server,
            staying(to(server, ciphers=ciphers, max_version="TLSv1.2", **wish)) as client,
        ):
            cipher, key = client.get_cipher(), client.get_ephemeral_key_info()
            assert cipher
            assert key
            assert (cipher.name, key.type, key.size) == (DHE, "DH", bits)

    run(main)


def test_ciph_07_dhparam_too_small(pki: Named) -> None:
    """CIPH-07: a server cannot even have a group of 512 bits."""
    with pytest.raises(aiotls.OptionError, match="DH parameter is less than 1024 bits"):
        aiotls.create_server(**{**dhe_server(pki, 2048), "dhparam": dh_of_size(512)})


@pytest.mark.parametrize("wrong", [0, -1, -math.inf, math.nan])
def test_ciph_07_out_of_range(run: Run, wrong: Any) -> None:
    """CIPH-07: at least one bit; raised at once."""

    async def main() -> None:
        with pytest.raises(aiotls.OptionError, match="min_dh_size") as raised:
            aiotls.connect("127.0.0.1", 9, min_dh_size=wrong)
        assert raised.value.code == "ERR_OUT_OF_RANGE"
        assert isinstance(raised.value, ValueError)
        assert not isinstance(raised.value, TypeError)

    run(main)


@pytest.mark.parametrize("wrong", [True, False, None, {}, [], "", "1"])
def test_ciph_07_wrong_types(run: Run, wrong: Any) -> None:
    """CIPH-07: nothing but a number, None included; raised at once."""

    async def main() -> None:
        with pytest.raises(aiotls.OptionTypeError, match="min_dh_size") as raised:
            aiotls.connect("127.0.0.1", 9, min_dh_size=wrong)
        assert raised.value.code == "ERR_INVALID_ARG_TYPE"

    run(main)


# ---- around it


@pytest.mark.parametrize("kind", KINDS)
def test_over_every_stream(run: Run, pki: Named, kind: str) -> None:
    """Whatever carries it, the group is looked at."""

    async def main() -> None:
        client = {"ciphers": DHE, "max_version": "TLSv1.2", "min_dh_size": 3072}
        async with tls_pair(kind, client=client, server=dhe_server(pki, 2048), secure=False) as (near, far):
            refusals = await asyncio.gather(near, far, return_exceptions=True)
            assert [type(each) for each in refusals] == [aiotls.WeakParametersError, aiotls.AlertReceived]

    run(main)


@pytest.mark.parametrize("verification", [{}, {"reject_unauthorized": False, "ca": None}], ids=["strict", "none"])
def test_it_does_not_depend_on_verification(run: Run, pki: Named, verification: dict[str, Any]) -> None:
    """A client that takes any certificate does not take any group."""

    async def main() -> None:
        async with serving(**dhe_server(pki, 2048)) as server:
            server.on("tls_client_error", lambda *_: None)
            with pytest.raises(aiotls.WeakParametersError):
                await to(server, ciphers=DHE, max_version="TLSv1.2", min_dh_size=3072, **verification)

    run(main)


@pytest.mark.parametrize("ciphers", ["ECDHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256"])
def test_other_key_exchanges(run: Run, pki: Named, ciphers: str) -> None:
    """Elliptic curves, and RSA alone, have no such group: the option says nothing about them."""

    async def main() -> None:
        async with (
            serving(**{**dhe_server(pki, 2048), "ciphers": ciphers}) as server,
            staying(to(server, ciphers=ciphers, max_version="TLSv1.2", min_dh_size=8192)) as client,
        ):
            assert client.authorized is True

    run(main)


@pytest.mark.parametrize(("least", "taken"), [(2048, True), (3072, False)])
def test_tls_1_3(run: Run, pki: Named, least: int, taken: bool) -> None:
    """The groups of RFC 7919 that TLS 1.3 can be told to use have a size too."""

    async def main() -> None:
        curves = {"ecdh_curve": "ffdhe2048", "min_version": "TLSv1.3"}
        async with serving(**credentials(pki.server), **curves) as server:
            server.on("tls_client_error", lambda *_: None)
            client = Watched(to(server, min_dh_size=least, **curves))
            if taken:
                async with staying(client.socket):
                    key = client.socket.get_ephemeral_key_info()
                    assert key
                    assert (key.type, key.size) == ("DH", 2048)
                return
            with pytest.raises(aiotls.WeakParametersError) as raised:
                await client.socket
            assert raised.value.code == "ERR_TLS_DH_PARAM_SIZE"
            assert "secure_connect" not in client.events

    run(main)


def test_each_connection_has_its_own(run: Run, pki: Named) -> None:
    """The option is the connection's, not the context's: clients share a context and differ in it."""

    async def main() -> None:
        context = aiotls.create_secure_context(ca=pki.ca.cert_pem, ciphers=DHE, max_version="TLSv1.2")
        async with serving(**dhe_server(pki, 2048)) as server:
            server.on("tls_client_error", lambda *_: None)

            def client(least: int) -> aiotls.TLSSocket:
                options: dict[str, Any] = {"servername": "localhost", "secure_context": context}
                return aiotls.connect("127.0.0.1", port_of(server), min_dh_size=least, **options)

            for _ in range(2):
                async with staying(client(2048)):
                    pass
                with pytest.raises(aiotls.WeakParametersError):
                    await client(2049)

    run(main)
