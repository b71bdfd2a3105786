"""Clients and servers with pre-shared keys."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiotls
from tests.support.pairs import until
from tests.support.servers import serving, to

IDENTITY = "sensor 7"
KEY = b"correct horse battery staple 012"
STRANGER = aiotls.PSK("nobody", KEY)
FORGER = aiotls.PSK(IDENTITY, KEY[::-1])


def know(_socket: aiotls.TLSSocket, identity: str) -> bytes | None:
    """A server that knows one identity."""
    return KEY if identity == IDENTITY else None


def show(_hint: str | None) -> aiotls.PSK:
    """A client that has the right key."""
    return aiotls.PSK(IDENTITY, KEY)


def psk_server(callback: Any = know, **options: Any) -> dict[str, Any]:
    """The options of a server without a certificate."""
    return {"cert": None, "key": None, "ciphers": "PSK+HIGH", "psk_callback": callback, **options}


def psk_client(version: str, callback: Any = show, **options: Any) -> dict[str, Any]:
    return {"ciphers": "PSK+HIGH", "max_version": version, "psk_callback": callback, **options}


class Watched:
    """What a server has told: connections that became secure, and errors of those that did not."""

    def __init__(self, server: aiotls.Server) -> None:
        self.server = server
        self.secure: list[aiotls.TLSSocket] = []
        self.errors: list[Any] = []
        server.on("secure_connection", self.secure.append)
        server.on("tls_client_error", lambda error, _socket: self.errors.append(error))

    async def error(self) -> Any:
        """The one error of a client that did not become secure."""
        await until(lambda: self.errors)
        (error,) = self.errors
        assert self.secure == []
        return error


@contextlib.asynccontextmanager
async def watched(**options: Any) -> AsyncIterator[Watched]:
    async with serving(lambda socket: socket.resume(), **options) as server:
        yield Watched(server)


async def refused(server: dict[str, Any], client: dict[str, Any]) -> tuple[Any, Any]:
    """Lets a client try and fail; the errors of the client and of the server."""
    async with watched(**server) as told:
        return await _attempt(told.server, client), await told.error()


async def _attempt(server: aiotls.Server, client: dict[str, Any]) -> BaseException:
    try:
        async with to(server, **client) as socket:
            received = await socket.read(1)  # a client of TLS 1.3 learns of it with the first read
    except BaseException as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return error
    raise AssertionError(f"the client was accepted, and read {received!r}")
