"""Asking a function of the user, plain or ``async``, a question of a handshake."""

import asyncio
from collections.abc import Callable
from typing import Any

from .errors import StateError

Answer = Callable[[Exception | None], None]


def ask(
    loop: asyncio.AbstractEventLoop, function: Callable[..., Any], arguments: tuple[Any, ...], answer: Answer
) -> "asyncio.Task[None] | None":
    """Calls `function`; `answer` gets None when it returned, or what it raised.

    Args:
        loop: The event loop.
        function: The user's.
        arguments: For the function.
        answer: Called once, perhaps before this returns.

    Returns:
        The task of an ``async`` function, to be cancelled when the answer is not needed any more.
    """
    try:
        result = function(*arguments)
    except BaseException as error:
        answer(_refusal(function, error))
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return None
    if asyncio.iscoroutine(result):
        return loop.create_task(_await(function, result, answer))
    answer(None)
    return None


async def _await(function: Callable[..., Any], result: Any, answer: Answer) -> None:
    try:
        await result
    except BaseException as error:
        answer(_refusal(function, error))
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
    else:
        answer(None)


def _refusal(function: Callable[..., Any], error: BaseException) -> Exception:
    """The exception that stands for the answer; what is no `Exception` (a cancellation) may not travel on."""
    if isinstance(error, Exception):
        return error
    name = getattr(function, "__qualname__", "a function")
    refusal = StateError(f"{name} ended with {type(error).__name__} instead of an answer")
    refusal.__cause__ = error
    return refusal
