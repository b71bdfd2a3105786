"""How a TLS socket is waited for: until it is secure, and until it is closed."""

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .errors import ConnectionLost, StreamDestroyed
from .socket_control import SocketControl


class SocketWaiting(SocketControl):
    """The part of `TLSSocket` that stands behind ``await`` and ``async with``."""

    __slots__ = ("_closed", "_closers", "_ready")

    _closed: bool
    _closers: list[asyncio.Future[None]] | None
    _ready: list[asyncio.Future[None]] | None

    if TYPE_CHECKING:
        truncated: bool

        def close(self) -> None: ...
        def destroy(self, error: BaseException | None = None) -> Self: ...

    def __await__(self) -> Generator[Any, None, Self]:
        return self._wait_ready().__await__()

    async def _wait_ready(self) -> Self:
        """Waits until the connection is secure."""
        self._used_await = True
        while self._secure_connection is None:
            if self._error is not None:
                raise self._error
            if self.destroyed:
                # The peer may have gone in the very tick in which the connection became secure.
                raise ConnectionLost.truncated() if self.truncated else StreamDestroyed()
            future: asyncio.Future[None] = self._loop.create_future()
            self._ready = [*(self._ready or ()), future]
            try:
                await future
            except asyncio.CancelledError:
                self.destroy()
                raise
        return self

    async def __aenter__(self) -> Self:
        return await self._wait_ready()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.destroy()
        self.close()
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.destroy()
            raise

    async def wait_closed(self) -> None:
        """Waits until the socket is closed.

        Raises:
            TLSError: The connection failed while this waited.
        """
        self._used_await = True
        if not self._closed:
            future: asyncio.Future[None] = self._loop.create_future()
            self._closers = [*(self._closers or ()), future]
            await future
