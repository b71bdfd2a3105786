"""Streams to be connected by pipes, and what is told on the way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiotls
from tests.support.pairs import tls_pair


class Nonsense(Exception):
    """Raised by the functions and objects of a test."""


class Shelf:
    """A destination that keeps what it is given, and says of a write that it is done when the test wants so."""

    def __init__(self, *, open: bool = True) -> None:
        self.data = bytearray()
        self.undrained = 0
        self.most = 0
        self.calls: list[str] = []
        self.failure: BaseException | None = None
        self.door = asyncio.Event()
        if open:
            self.door.set()

    def write(self, data: bytes) -> None:
        self.data += data
        self.undrained += len(data)
        self.most = max(self.most, self.undrained)

    async def drain(self) -> None:
        await asyncio.sleep(0)
        await self.door.wait()
        if self.failure is not None:
            raise self.failure
        self.undrained = 0

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def close(self) -> None:
        self.calls.append("close")


def note(socket: aiotls.TLSSocket, *events: Any) -> list[tuple[Any, ...]]:
    """Everything of these kinds that its listeners are told from now on."""
    told: list[tuple[Any, ...]] = []
    for event in events:
        socket.on(event, lambda *arguments, event=event: told.append((event, *arguments)))
    return told


def listeners(*sockets: aiotls.TLSSocket) -> int:
    """How many listeners they have."""
    return sum(len(each.listeners(event)) for each in sockets for event in each.EVENTS)


@contextlib.asynccontextmanager
async def two_pairs(kind: str = "socketpair", **options: Any) -> AsyncIterator[tuple[aiotls.TLSSocket, ...]]:
    """A sender with its server's end, a client with its receiving server: the two in the middle are to be connected."""
    async with tls_pair(kind, server=options) as (sender, source), tls_pair(kind, client=options) as (target, receiver):
        yield sender, source, target, receiver
