"""Which events there are, and the types of what their listeners get, for type checkers and editors.

Each class here is a base of the class that has the events.  At run time it holds nothing: what the methods do stands
in `Emitter`, and the names are taken from here into ``EVENTS``.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar, overload

from .emitter import Emitter, EventName, Listener

if TYPE_CHECKING:
    from .socket_info import DropInfo
    from .stream_state import Data
    from .tls_socket import TLSSocket

    Method = TypeVar("Method")

    def typed_like(method: Method) -> Callable[[object], Method]:
        """What is decorated has the types of another method."""

    LookUp: TypeAlias = tuple[Exception | None, str | None, str | None, str]
    Answer: TypeAlias = Data | None
    """Of a request; None leaves it to the next listener."""


# ---- a TLS socket

SocketSignal = Literal["connect", "drain", "end", "finish", "ready", "secure", "secure_connect", "timeout"]
"""The events without arguments."""
SocketBytes = Literal["data", "keylog", "session"]
SocketEvent = Literal[SocketSignal, SocketBytes, "close", "error", "lookup", "ocsp_response"]


class SocketEvents(Emitter):
    """The events of a `TLSSocket`."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def on(self, event: SocketSignal, listener: Callable[[], object]) -> Self: ...
        @overload
        def on(self, event: SocketBytes, listener: Callable[[bytes], object]) -> Self: ...
        @overload
        def on(self, event: Literal["close"], listener: Callable[[bool], object]) -> Self: ...
        @overload
        def on(self, event: Literal["error"], listener: Callable[[Exception], object]) -> Self: ...
        @overload
        def on(
            self, event: Literal["lookup"], listener: Callable[[Exception | None, str | None, str | None, str], object]
        ) -> Self: ...
        @overload
        def on(self, event: Literal["ocsp_response"], listener: Callable[[bytes | None], object]) -> Self: ...
        def on(self, event: EventName, listener: Listener) -> Self: ...
        @typed_like(on)
        def once(self) -> None: ...
        @typed_like(on)
        def off(self) -> None: ...

        @overload
        async def wait_for(self, event: SocketSignal) -> None: ...
        @overload
        async def wait_for(self, event: SocketBytes) -> bytes: ...
        @overload
        async def wait_for(self, event: Literal["close"]) -> bool: ...
        @overload
        async def wait_for(self, event: Literal["error"]) -> Exception: ...
        @overload
        async def wait_for(self, event: Literal["lookup"]) -> LookUp: ...
        @overload
        async def wait_for(self, event: Literal["ocsp_response"]) -> bytes | None: ...
        async def wait_for(self, event: EventName) -> Any: ...

        def listeners(self, event: SocketEvent) -> tuple[Listener, ...]: ...


# ---- a server

ServerSignal = Literal["close", "listening"]
ServerSocket = Literal["connection", "secure_connection"]
ServerEvent = Literal[
    ServerSignal,
    ServerSocket,
    "drop",
    "error",
    "keylog",
    "new_session",
    "ocsp_request",
    "resume_session",
    "tls_client_error",
]


class ServerEvents(Emitter):
    """The events and request events of a `Server`."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def on(self, event: ServerSignal, listener: Callable[[], object]) -> Self: ...
        @overload
        def on(self, event: ServerSocket, listener: Callable[[TLSSocket], object]) -> Self: ...
        @overload
        def on(self, event: Literal["drop"], listener: Callable[[DropInfo], object]) -> Self: ...
        @overload
        def on(self, event: Literal["error"], listener: Callable[[Exception], object]) -> Self: ...
        @overload
        def on(self, event: Literal["keylog"], listener: Callable[[bytes, TLSSocket], object]) -> Self: ...
        @overload
        def on(self, event: Literal["new_session"], listener: Callable[[bytes, bytes], object]) -> Self: ...
        @overload
        def on(
            self,
            event: Literal["ocsp_request"],
            listener: Callable[[bytes, bytes | None], Answer | Awaitable[Answer]],
        ) -> Self: ...
        @overload
        def on(
            self, event: Literal["resume_session"], listener: Callable[[bytes], Answer | Awaitable[Answer]]
        ) -> Self: ...
        @overload
        def on(
            self, event: Literal["tls_client_error"], listener: "Callable[[Exception, TLSSocket], object]"
        ) -> Self: ...
        def on(self, event: EventName, listener: Listener) -> Self: ...
        @typed_like(on)
        def once(self) -> None: ...
        @typed_like(on)
        def off(self) -> None: ...

        @overload
        async def wait_for(self, event: ServerSignal) -> None: ...
        @overload
        async def wait_for(self, event: ServerSocket) -> TLSSocket: ...
        @overload
        async def wait_for(self, event: Literal["drop"]) -> DropInfo: ...
        @overload
        async def wait_for(self, event: Literal["error"]) -> Exception: ...
        @overload
        async def wait_for(self, event: Literal["keylog"]) -> tuple[bytes, TLSSocket]: ...
        @overload
        async def wait_for(self, event: Literal["new_session"]) -> tuple[bytes, bytes]: ...
        @overload
        async def wait_for(self, event: Literal["ocsp_request"]) -> tuple[bytes, bytes | None]: ...
        @overload
        async def wait_for(self, event: Literal["resume_session"]) -> bytes: ...
        @overload
        async def wait_for(self, event: Literal["tls_client_error"]) -> tuple[Exception, TLSSocket]: ...
        async def wait_for(self, event: EventName) -> Any: ...

        def listeners(self, event: ServerEvent) -> tuple[Listener, ...]: ...


# ---- a secure pair, and its stream of ciphertext

PairEvent = Literal["secure"]


class PairEvents(Emitter):
    """The event of a `SecurePair`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def on(self, event: PairEvent, listener: Callable[[], object]) -> Self: ...
        @typed_like(on)
        def once(self) -> None: ...
        @typed_like(on)
        def off(self) -> None: ...
        async def wait_for(self, event: PairEvent) -> None: ...
        def listeners(self, event: PairEvent) -> tuple[Listener, ...]: ...


StreamSignal = Literal["drain", "end", "finish"]
StreamEvent = Literal[StreamSignal, "close", "data", "error"]


class StreamEvents(Emitter):
    """The events of a stream that is no socket."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def on(self, event: StreamSignal, listener: Callable[[], object]) -> Self: ...
        @overload
        def on(self, event: Literal["close"], listener: Callable[[bool], object]) -> Self: ...
        @overload
        def on(self, event: Literal["data"], listener: Callable[[bytes], object]) -> Self: ...
        @overload
        def on(self, event: Literal["error"], listener: Callable[[Exception], object]) -> Self: ...
        def on(self, event: EventName, listener: Listener) -> Self: ...
        @typed_like(on)
        def once(self) -> None: ...
        @typed_like(on)
        def off(self) -> None: ...

        @overload
        async def wait_for(self, event: StreamSignal) -> None: ...
        @overload
        async def wait_for(self, event: Literal["close"]) -> bool: ...
        @overload
        async def wait_for(self, event: Literal["data"]) -> bytes: ...
        @overload
        async def wait_for(self, event: Literal["error"]) -> Exception: ...
        async def wait_for(self, event: EventName) -> Any: ...

        def listeners(self, event: StreamEvent) -> tuple[Listener, ...]: ...
