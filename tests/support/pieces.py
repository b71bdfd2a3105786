"""What the callback of `onread` was given."""

from collections.abc import Callable
from typing import Any


class Pieces:
    """What a callback was given."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.buffers: list[Any] = []
        self.parts: list[bytes] = []

    def __call__(self, size: int, buffer: Any) -> Any:
        self.buffers.append(buffer)
        self.parts.append(bytes(memoryview(buffer).cast("B")[:size]))
        return self.answer

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)


def into(buffer: Any, callback: Callable[[int, Any], Any]) -> dict[str, Any]:
    """The option of a client."""
    return {"onread": {"buffer": buffer, "callback": callback}}
