"""Asking functions of the user, plain or ``async``, what a handshake wants to know."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from .errors import presentable

Talk = Generator[tuple[Any, ...], Any, None]
"""Yields calls, each a function and its arguments, and is sent what the function has answered."""
Answer = Callable[[Exception | None], None]


def converse(
    loop: asyncio.AbstractEventLoop, talk: Talk, answer: Answer, abandon: Callable[[], object]
) -> "asyncio.Task[None] | None":
    """Makes the calls that `talk` yields; `answer` gets None at its end, or what was raised.

    Args:
        loop: The event loop.
        talk: What to ask.
        answer: Called once, perhaps before this returns.
        abandon: Called instead when the task is cancelled, as it is at the end of a program.

    Returns:
        A task, where a function was ``async``, to be cancelled when the answer is not needed any more.
    """
    try:
        waiting = _advance(talk, None)
    except BaseException as error:
        _give_up(answer, error)
        return None
    if waiting is not None:
        task = loop.create_task(_go_on(loop, talk, waiting, answer, abandon))
        if isinstance(waiting, Coroutine):
            # It has not begun where the task is cancelled before its first step.
            task.add_done_callback(lambda _: waiting.close())
        return task
    answer(None)
    return None


async def _go_on(
    loop: asyncio.AbstractEventLoop,
    talk: Talk,
    waiting: Awaitable[Any] | None,
    answer: Answer,
    abandon: Callable[[], object],
) -> None:
    task = asyncio.current_task()
    try:
        while waiting is not None:
            waiting = _advance(talk, await waiting)
    except BaseException as error:
        if isinstance(error, GeneratorExit) and loop.is_closed():
            # There is nothing to go on with.
            raise
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            abandon()
            raise
        _give_up(answer, error)
    else:
        answer(None)


def _advance(talk: Talk, value: Any) -> Awaitable[Any] | None:
    """Goes on until a function does not answer at once; None at the end of the talk."""
    while True:
        try:
            function, *arguments = talk.send(value)
        except StopIteration:
            return None
        value = function(*arguments)
        if inspect.isawaitable(value):
            return value


def _give_up(answer: Answer, error: BaseException) -> None:
    answer(presentable(error))
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
