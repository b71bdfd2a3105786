"""The option `onread`: received data goes into memory of the user's, and a function is told how much.

No chunk is made into an object of its own for the user, and a function that wants no more says so by returning False.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from . import checks
from .errors import OptionError, OptionTypeError


@dataclass(frozen=True, slots=True)
class OnReadOption:
    """What `onread` was given: `aiotls.keywords.OnRead`, checked."""

    buffer: Any
    """Something that can be written to by the buffer protocol, or a function that gives one for each piece."""
    callback: Callable[[int, Any], object]

    @classmethod
    def parse(cls, option: str, value: object) -> Self:
        """Checks the value of the option.

        Raises:
            OptionTypeError: It has another shape, or its parts have.
            OptionError: The buffer cannot be written to, or has no room.
        """
        if not isinstance(value, Mapping):
            raise checks.wrong_type(option, 'a dict with "buffer" and "callback"', value)
        for name in value:
            if name not in ("buffer", "callback"):
                raise OptionTypeError(f'{option} has "buffer" and "callback", but no {name!r:.80}', option=option)
        buffer, callback = value.get("buffer"), value.get("callback")
        if not callable(buffer):
            room(buffer)
        for name, function in (("buffer", buffer), ("callback", callback)):
            if inspect.iscoroutinefunction(function):
                raise OptionTypeError(f"{option}: {name} must not be an async function", option=option)
        if not callable(callback):
            raise OptionTypeError(
                f"{option}: callback must be callable, not {checks.describe(callback)}", option=option
            )
        return cls(buffer, callback)


class OwnBuffer:
    """The memory of one connection, and the function that is told."""

    __slots__ = ("_buffer", "_callback", "_next")

    def __init__(self, option: OnReadOption) -> None:
        self._callback = option.callback
        self._next: Callable[[], Any] | None = option.buffer if callable(option.buffer) else None
        # None where the function is still to be asked for it.
        self._buffer: Any = None if self._next is not None else option.buffer

    def room(self) -> int:
        """How many bytes the next piece may have; the buffer is asked for if there is none yet."""
        if self._buffer is None and self._next is not None:
            self._buffer = self._next()
        return room(self._buffer)

    def put(self, piece: bytes) -> bool:
        """Copies a piece that fits, and tells; answers whether the user wants more."""
        buffer = self._buffer
        # Given back before the call, so that the function may do anything with its memory.
        with memoryview(buffer) as view, view.cast("B") as octets:
            octets[: len(piece)] = piece
        if self._next is not None:
            self._buffer = None
        answer = self._callback(len(piece), buffer)
        if inspect.iscoroutine(answer):
            answer.close()
            raise OptionTypeError("onread: callback must not be an async function", option="onread")
        return answer is not False


def room(buffer: object) -> int:
    """The size of a buffer that can be written to, in bytes.

    Raises:
        OptionTypeError: It is no buffer.
        OptionError: It cannot be written to, has no room, or its bytes are not one after the other.
    """
    try:
        view = memoryview(buffer)  # type: ignore[arg-type]
    except TypeError:
        raise OptionTypeError(
            f"onread: buffer must be a bytearray, a writable memoryview or a function, not {checks.describe(buffer)}",
            option="onread",
        ) from None
    with view:
        if view.readonly:
            raise OptionError("onread: buffer must be writable", option="onread")
        if not view.c_contiguous:
            raise OptionError("onread: the bytes of buffer must stand one after the other", option="onread")
        if not view.nbytes:
            raise OptionError("onread: buffer must have room for at least one byte", option="onread")
        return view.nbytes
