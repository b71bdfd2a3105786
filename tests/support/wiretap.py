"""A TCP proxy that writes down what each side sends, and what there is in it: the records of TLS."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23


class Record(NamedTuple):
    """A record as it passes (RFC 8446, section 5.1)."""

    kind: int
    length: int
    """Of what follows the header."""


class Wiretap:
    """What has passed; one connection at a time."""

    def __init__(self) -> None:
        self.port = 0
        self.sent: dict[str, bytearray] = {"client": bytearray(), "server": bytearray()}
        """By each side."""

    def records(self, side: str, start: int = 0) -> list[Record]:
        """The records that a side has sent, from an offset on."""
        found = []
        stream = memoryview(self.sent[side])[start:]
        while stream:
            length = int.from_bytes(stream[3:5], "big")
            assert len(stream) >= 5 + length, "half a record"
            found.append(Record(stream[0], length))
            stream = stream[5 + length :]
        return found


@contextlib.asynccontextmanager
async def wiretap(port: int) -> AsyncIterator[Wiretap]:
    """A proxy in front of `port` on loopback."""
    tap = Wiretap()
    running: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            _forward(reader, far_writer, tap.sent["client"]),
            _forward(far_reader, writer, tap.sent["server"]),
        )
        for each in (writer, far_writer):
            each.close()
            with contextlib.suppress(OSError):
                await each.wait_closed()

    proxy = await asyncio.start_server(connected, "127.0.0.1", 0)
    tap.port = proxy.sockets[0].getsockname()[1]
    async with proxy:
        try:
            yield tap
        finally:
            # Whoever used it has closed its ends, so both directions end.
            await asyncio.gather(*running)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytearray) -> None:
    # An end that is gone is seen by the other one.
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            sent += data
            writer.write(data)
            await writer.drain()
        writer.write_eof()
