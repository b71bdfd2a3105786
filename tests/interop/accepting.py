"""A server whose connections are handed to the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiotls
from tests.support.pairs import gone
from tests.support.servers import port_of, serving


@contextlib.asynccontextmanager
async def accepting(**options: Any) -> AsyncIterator[tuple[int, "asyncio.Queue[aiotls.TLSSocket]"]]:
    """The port of a server, and its connections, which are gone at the end.

    Args:
        options: Of the server, besides `server_options`.
    """
    accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
    sockets: list[aiotls.TLSSocket] = []

    def listener(socket: aiotls.TLSSocket) -> None:
        # A program that was ended may leave with a reset.
        sockets.append(socket.on("error", lambda _: None))
        accepted.put_nowait(socket)

    async with serving(listener, **options) as server:
        try:
            yield port_of(server), accepted
        finally:
            await gone(*sockets)
