"""A TCP proxy that writes down what passes through it, as a capture file for tshark.

Nothing is sniffed, so no privilege is needed: the packets of the file (pcap, link type raw IP) are made up around the
bytes that the proxy has forwarded, in their order.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

CLIENT, SERVER = bytes([127, 0, 0, 2]), bytes([127, 0, 0, 1])
CLIENT_PORT, SERVER_PORT = 40000, 443
RAW_IP = 101
SYN, PSH, ACK, FIN = 2, 8, 16, 1
SEGMENT = 16000


@dataclass
class Recorder:
    """A listening proxy and what has passed through it: one connection at a time."""

    port: int = 0
    segments: list[tuple[bool, bytes]] = field(default_factory=list)
    """From the client or not, and the bytes."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Both directions of a connection have ended."""

    def write(self, path: Path) -> None:
        """Writes the capture file."""
        packets = [*_packets(self.segments)]
        with path.open("wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, RAW_IP))
            for number, packet in enumerate(packets):
                file.write(struct.pack("<IIII", 1 + number // 1000, number % 1000, len(packet), len(packet)) + packet)


@contextlib.asynccontextmanager
async def recording(port: int) -> AsyncIterator[Recorder]:
    """A proxy in front of `port` on loopback."""
    recorder = Recorder()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            _forward(reader, far_writer, recorder, from_client=True),
            _forward(far_reader, writer, recorder, from_client=False),
        )
        for each in (writer, far_writer):
            each.close()
            await each.wait_closed()
        recorder.ended.set()

    proxy = await asyncio.start_server(connected, "127.0.0.1", 0)
    recorder.port = proxy.sockets[0].getsockname()[1]
    async with proxy:
        yield recorder


async def _forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recorder: Recorder, *, from_client: bool
) -> None:
    while data := await reader.read(65536):
        recorder.segments.append((from_client, data))
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def _packets(segments: list[tuple[bool, bytes]]) -> list[bytes]:
    sent = {True: 1000, False: 2000}
    found: list[bytes] = []

    def packet(from_client: bool, flags: int, data: bytes = b"") -> None:
        acknowledged = sent[not from_client] if flags & ACK else 0
        ports = (CLIENT_PORT, SERVER_PORT) if from_client else (SERVER_PORT, CLIENT_PORT)
        tcp = struct.pack("!HHIIBBHHH", *ports, sent[from_client], acknowledged, 5 << 4, flags, 0xFFFF, 0, 0)
        addresses = (CLIENT, SERVER) if from_client else (SERVER, CLIENT)
        length = 20 + len(tcp) + len(data)
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, len(found) & 0xFFFF, 0, 64, 6, 0, *addresses)
        found.append(ip + tcp + data)
        sent[from_client] += len(data) + bool(flags & (SYN | FIN))

    packet(True, SYN)
    packet(False, SYN | ACK)
    packet(True, ACK)
    for from_client, data in segments:
        for start in range(0, len(data), SEGMENT):
            packet(from_client, PSH | ACK, data[start : start + SEGMENT])
    packet(True, FIN | ACK)
    packet(False, FIN | ACK)
    packet(True, ACK)
    return found
