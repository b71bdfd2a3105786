"""Wires: the three ways ciphertext moves.

`reactor`
    Descriptors of our own, many at a time, driven by the compiled core: the fast path.
`transport`
    An asyncio transport that somebody else made.
`stream`
    Any duplex of coroutines: an asyncio ``(reader, writer)`` pair, a `TLSSocket` (TLS in TLS), an object of yours.

All of them carry one `Connection` and report to one `Sink`, in the same words; nothing above knows which it is.
"""

from collections.abc import Callable
from typing import Any, Protocol

from ..connection import Connection


class Sink(Protocol):
    """Who is told what happens on a wire."""

    def _notice(self, kind: int, payload: object) -> None:
        """One of the notices of the core; see `aiotls.notices`."""


class Wire(Protocol):
    """What carries the ciphertext of one connection."""

    @property
    def connection(self) -> Connection: ...

    def soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Calls `function` in the next turn of the loop, after the listeners and tasks of this one."""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Takes all of `data`; answers how many bytes of application data have not left yet."""

    def pending(self) -> int:
        """Bytes of application data that have not left yet."""

    def want_drain(self) -> None:
        """Asks for a notice once nothing is pending."""

    def end(self) -> None:
        """After what was written: close_notify and the end of the stream, then a notice."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def push(self) -> None:
        """Sends what the connection has produced by itself."""

    def answered(self) -> None:
        """The connection's question has its answer: the handshake goes on."""

    def close(self, reset: bool = False) -> None:
        """Sends what is still to be said, then closes; never waits, and reports nothing more."""

    def fileno(self) -> int:
        """The descriptor below, -1 when there is none any more or none that we may touch."""

    def get_extra_info(self, name: str) -> object:
        """``"sockname"`` and ``"peername"`` as asyncio gives them; None when it is not known."""
