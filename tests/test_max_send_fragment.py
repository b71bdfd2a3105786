"""set_max_send_fragment: the records of one side, as they pass on the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, client_options, gone, server_options, tls_pair
from tests.support.pki import named
from tests.support.servers import port_of, serving
from tests.support.stages import SIDES, VERSIONS
from tests.support.wiretap import DATA, HANDSHAKE, Wiretap, wiretap

OVERHEAD = {"TLSv1.2": 24, "TLSv1.3": 17}
"""What a record of AES-GCM is longer than its plaintext (RFC 5288; RFC 8446, section 5.2)."""
LARGEST = 16384

WORDS = bytes(range(256)) * 200
"""51,200 bytes."""

by_side = pytest.mark.parametrize("side", SIDES)
by_version = pytest.mark.parametrize("version", VERSIONS)


class Tapped:
    """Two ends and what is between them."""

    def __init__(self, client: aiotls.TLSSocket, server: aiotls.TLSSocket, tap: Wiretap, version: str) -> None:
        self.ends = {"client": client, "server": server}
        self.tap = tap
        self._version = version

    async def write(self, side: str) -> list[int]:
        """Lets one end write; the sizes of the plaintexts in the records that carried it."""
        mine, other = (self.ends[each] for each in (side, *(set(SIDES) - {side})))
        # The tickets of TLS 1.3 go first.
        mine.write(b".")
        assert await other.readexactly(1) == b"."
        before = len(self.tap.sent[side])
        mine.write(WORDS)
        assert await other.readexactly(len(WORDS)) == WORDS
        found = self.tap.records(side, before)
        assert {record.kind for record in found} == {DATA}
        return [record.length - OVERHEAD[self._version] for record in found]


@contextlib.asynccontextmanager
async def tapped(
    version: str,
    prepare_client: Callable[[aiotls.TLSSocket], Any] = lambda _: None,
    prepare_server: Callable[[aiotls.TLSSocket], Any] = lambda _: None,
) -> AsyncIterator[Tapped]:
    """A connection through a proxy that writes down what passes."""
    accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
    own: dict[str, Any] = {"cert": named.server.chain_pem, "key": named.server.key_pem}
    ciphers = "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    async with serving(accepted.put_nowait, max_version=version, ciphers=ciphers, **own) as server:
        server.on("connection", prepare_server)
        async with wiretap(port_of(server)) as tap:
            client = aiotls.connect("127.0.0.1", tap.port, **client_options())
            prepare_client(client)
            await client
            far = await accepted.get()
            try:
                yield Tapped(client, far, tap, version)
            finally:
                await gone(client, far)


def holds(sizes: list[int], most: int) -> bool:
    """Whether records of these sizes carry all the words, and none holds more; one is full."""
    return sum(sizes) == len(WORDS) and max(sizes) == most and len(sizes) <= len(WORDS) / most + 5


@by_side
@by_version
@pytest.mark.parametrize("size", [512, 1000, 4096, LARGEST])
def test_on_the_wire(run: Run, size: int, version: str, side: str) -> None:
    """From the next write on the records hold so much and no more; those of the other side are as before."""

    async def main() -> None:
        async with tapped(version) as wire:
            assert wire.ends[side].set_max_send_fragment(size) is True
            assert holds(await wire.write(side), size)
            (other,) = set(SIDES) - {side}
            assert holds(await wire.write(other), LARGEST)

    run(main)


@by_side
@by_version
@pytest.mark.parametrize("size", [512, 2000])
def test_before_the_handshake(run: Run, size: int, version: str, side: str) -> None:
    """It is kept, and counts from the first record on."""

    async def main() -> None:
        answers: list[bool] = []

        def prepare(socket: aiotls.TLSSocket) -> None:
            answers.append(socket.set_max_send_fragment(size))

        async with tapped(version, **{f"prepare_{side}": prepare}) as wire:
            assert answers == [True]
            assert holds(await wire.write(side), size)
            assert max(record.length for record in wire.tap.records(side)) == size + OVERHEAD[version]

    run(main)


def test_a_handshake_in_small_pieces(run: Run) -> None:
    """The certificate of a server needs several records then."""

    async def main() -> None:
        sizes: list[list[int]] = []
        for limit in (512, LARGEST):
            async with tapped("TLSv1.2", prepare_server=limiting(limit)) as wire:
                sent = wire.tap.records("server")
                sizes.append([record.length for record in sent if record.kind == HANDSHAKE])
        assert max(sizes[0]) == 512
        assert max(sizes[1]) > len(named.server.der)

    run(main)


def limiting(size: int) -> Callable[[aiotls.TLSSocket], Any]:
    return lambda socket: socket.set_max_send_fragment(size)


@by_side
@by_version
def test_again_and_again(run: Run, version: str, side: str) -> None:
    """The last one counts; a size that cannot be changes nothing."""

    async def main() -> None:
        async with tapped(version) as wire:
            mine = wire.ends[side]
            for size in (600, 512, LARGEST, 1024):
                assert mine.set_max_send_fragment(size) is True
                assert holds(await wire.write(side), size)
            for size in (511, LARGEST + 1, 0, 1, -1, -512, 2**31, 2**64):
                assert mine.set_max_send_fragment(size) is False
            assert holds(await wire.write(side), 1024)

    run(main)


@by_side
@by_version
def test_in_the_midst_of_a_renegotiation_and_after_it(run: Run, version: str, side: str) -> None:
    """A new handshake leaves it as it is."""

    async def main() -> None:
        async with tapped(version) as wire:
            wire.ends[side].set_max_send_fragment(512)
            if version == "TLSv1.2":
                await wire.ends[side].renegotiate()
            assert holds(await wire.write(side), 512)

    run(main)


@pytest.mark.parametrize("wrong", ["512", 512.0, 600.5, None, True, b"512", [512], object()])
def test_what_is_no_size(run: Run, wrong: Any) -> None:
    """A TypeError, before the handshake and after it."""

    async def main() -> None:
        async with tls_pair(secure=False) as pair:
            for socket in pair:
                for _ in range(2):
                    with pytest.raises(aiotls.OptionTypeError, match="size") as refusal:
                        socket.set_max_send_fragment(wrong)
                    assert refusal.value.code == "ERR_INVALID_ARG_TYPE"
                    await socket

    run(main)


@by_side
def test_when_it_is_destroyed(run: Run, side: str) -> None:
    async def main() -> None:
        async with tls_pair() as (client, server):
            mine = client if side == "client" else server
            mine.destroy()
            assert mine.set_max_send_fragment(1024) is False
            await mine.wait_closed()
            assert mine.set_max_send_fragment(1024) is False

    run(main)


class Noted(MemoryDuplex):
    """An end in memory that writes down what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.tap = Wiretap()

    def deliver(self, data: bytes) -> None:
        self.tap.sent["client"] += data
        super().deliver(data)


@by_side
def test_over_a_stream_in_memory(run: Run, side: str) -> None:
    """It belongs to the connection, not to what carries it."""

    async def main() -> None:
        near, far = Noted.pair()
        server = aiotls.TLSSocket(far, is_server=True, **server_options())
        client = aiotls.connect(socket=near, **client_options())
        mine, other, end = (client, server, far) if side == "client" else (server, client, near)
        assert isinstance(end, Noted)
        assert mine.set_max_send_fragment(512)
        await asyncio.gather(client, server)
        mine.write(WORDS)
        assert await other.readexactly(len(WORDS)) == WORDS
        assert max(record.length for record in end.tap.records("client")) == 512 + OVERHEAD["TLSv1.3"]
        await gone(client, server)

    run(main)
