"""A client and its server socket, both secure, made in each of the ways there are."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiotls
from tests.support.pairs import MemoryDuplex, client_options, gone, tls_pair, until
from tests.support.servers import serving, to

WAYS = ("accepted", "handed", "wrapped", "memory")
"""Accepted by a server over TCP; handed to a server over memory; wrapped without a server, over TCP and over memory."""


@contextlib.asynccontextmanager
async def secured(
    way: str = "accepted", server: dict[str, Any] | None = None, client: dict[str, Any] | None = None
) -> AsyncIterator[tuple[aiotls.TLSSocket, aiotls.TLSSocket]]:
    """The client and the server socket; both are gone at the end.

    Args:
        way: One of `WAYS`.
        server: Options of the server, besides `server_options`.
        client: Options of the client, besides `client_options`.
    """
    if way in ("wrapped", "memory"):
        async with tls_pair("tcp" if way == "wrapped" else "duplex", client=client, server=server) as pair:
            yield pair
        return
    secure: list[aiotls.TLSSocket] = []
    async with serving(secure.append, **(server or {})) as listening:
        if way == "handed":
            stream, other = MemoryDuplex.pair()
            listening.handle_connection(other)
            near = aiotls.connect(socket=stream, **client_options(**(client or {})))
        else:
            near = to(listening, **(client or {}))
        await near
        await until(lambda: secure)
        try:
            yield near, secure[0]
        finally:
            for each in (near, secure[0]):
                each.destroy()
            await gone(near, secure[0])
