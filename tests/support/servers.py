"""A server on loopback and its clients, in the test's own loop."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiotls
from tests.support.pairs import client_options, server_options


@contextlib.asynccontextmanager
async def serving(listener: Any = None, *, host: str = "127.0.0.1", **options: Any) -> AsyncIterator[aiotls.Server]:
    """A server on a free port."""
    server = aiotls.create_server(listener, **server_options(**options))
    async with server:
        await server.listen(0, host)
        yield server


def port_of(server: aiotls.Server) -> int:
    address = server.address()
    assert address is not None
    assert address.port is not None
    return address.port


def to(server: aiotls.Server, **options: Any) -> aiotls.TLSSocket:
    """A client of `server`."""
    return aiotls.connect("127.0.0.1", port_of(server), **client_options(**options))


async def echo(socket: aiotls.TLSSocket) -> None:
    async for chunk in socket:
        socket.write(chunk)
        await socket.drain()
