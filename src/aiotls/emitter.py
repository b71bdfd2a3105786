"""Events: listeners that are told what happened.

A notification needs no answer, so the listeners of an event are called one after the other, in the order they were
added, and what they return does not count.  An ``async`` listener runs as a task that its emitter owns.  What becomes
of a listener that raises is the business of the emitter's owner: see `Emitter._listener_failed`.
"""

import asyncio
import difflib
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, NoReturn, Self, TypeAlias

from .errors import OptionError, OptionTypeError, presentable
from .names import snake_case

EventName: TypeAlias = Any
"""A str; which ones there are, and what their listeners get, is said by each class in `event_types`."""
Listener = Callable[..., Any]


class Emitter:
    """Something that tells listeners about its events.

    A listener is a plain or an ``async`` function.  Listeners may be added and removed at any time, also by a listener;
    that counts from the next event on.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset()
    """The names of the events there are."""

    __slots__ = ("__weakref__", "_listeners", "_tasks")

    def __init__(self) -> None:
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._tasks: set[asyncio.Task[Any]] | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} belongs to its event loop and cannot be copied or pickled")

    def on(self, event: EventName, listener: Listener) -> Self:
        """Adds a listener.

        Args:
            event: The name of the event.
            listener: A plain or ``async`` function; its arguments depend on the event.

        Returns:
            The emitter, so that calls can be chained.

        Raises:
            OptionError: There is no such event; the error names the nearest one.
            OptionTypeError: The listener cannot be called.

        Example::

            server.on("tls_client_error", lambda error, socket: print(error))
        """
        if event not in self.EVENTS:
            self._check_event(event)
        if not callable(listener):
            raise OptionTypeError(
                f"the listener of {event!r} must be callable, not {listener!r:.80}", option="listener"
            )
        self._listeners[event] = (*self._listeners.get(event, ()), listener)
        return self

    def once(self, event: EventName, listener: Listener) -> Self:
        """Adds a listener that is removed before it is called; otherwise like `on`.

        Args:
            event: The name of the event.
            listener: A plain or ``async`` function.

        Raises:
            OptionError: There is no such event; the error names the nearest one.
            OptionTypeError: The listener cannot be called.
        """
        if not callable(listener):
            return self.on(event, listener)

        def only_once(*arguments: Any) -> Any:
            self.off(event, only_once)
            return listener(*arguments)

        only_once.__wrapped__ = listener  # type: ignore[attr-defined]
        return self.on(event, only_once)

    def off(self, event: EventName, listener: Listener) -> Self:
        """Removes a listener, the one added last if it was added several times; one that is not there is no error.

        Args:
            event: The name of the event.
            listener: What `on` or `once` was given.

        Raises:
            OptionError: There is no such event.
        """
        self._check_event(event)
        known = list(self._listeners.get(event, ()))
        for index in reversed(range(len(known))):
            if listener in (known[index], getattr(known[index], "__wrapped__", None)):
                del known[index]
                break
        if known:
            self._listeners[event] = tuple(known)
        else:
            self._listeners.pop(event, None)
        return self

    def listeners(self, event: EventName) -> tuple[Listener, ...]:
        """The listeners of an event, in the order in which they are called.

        Args:
            event: The name of the event.

        Raises:
            OptionError: There is no such event.
        """
        self._check_event(event)
        return tuple(getattr(each, "__wrapped__", each) for each in self._listeners.get(event, ()))

    async def wait_for(self, event: EventName) -> Any:
        """Waits for the next event of a name.

        Args:
            event: The name of the event.

        Returns:
            The event's argument: None when it has none, a tuple when it has several.

        Raises:
            OptionError: There is no such event.

        Example::

            line = await socket.wait_for("keylog")
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def arrived(*arguments: Any) -> None:
            if not future.done():
                future.set_result(arguments if len(arguments) > 1 else (*arguments, None)[0])

        self.once(event, arrived)
        try:
            return await future
        finally:
            self.off(event, arrived)

    def _emit(self, event: str, *arguments: Any) -> bool:
        """Calls the listeners of an event; answers whether there were any."""
        listeners = self._listeners.get(event)
        if not listeners:
            return False
        for listener in listeners:
            try:
                result = listener(*arguments)
            except BaseException as error:
                self._listener_failed(event, presentable(error), arguments)
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise
            else:
                if result is not None and asyncio.iscoroutine(result):
                    self._own_task(event, result, arguments)
        return True

    def _own_task(self, event: str, coroutine: Coroutine[Any, Any, Any], arguments: tuple[Any, ...]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        tasks = self._tasks = self._tasks if self._tasks is not None else set()
        tasks.add(task)

        def done(task: asyncio.Task[Any]) -> None:
            tasks.discard(task)
            if task.cancelled() and task.cancelling():
                self._listener_cancelled(arguments)
                self._task_done()
                return
            # One that raises CancelledError by itself has failed.
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is not None:
                self._listener_failed(event, presentable(error), arguments)
            self._task_done()

        task.add_done_callback(done)

    def _task_done(self) -> None:
        """A task of an ``async`` listener has ended."""

    def _listener_cancelled(self, arguments: tuple[Any, ...]) -> None:
        """The task of an ``async`` listener was cancelled, perhaps because the loop ends; subclasses clean up."""

    def _listener_failed(self, event: str, error: Exception, arguments: tuple[Any, ...]) -> None:
        """A listener raised; subclasses say who is told."""
        raise NotImplementedError

    @classmethod
    def _check_event(cls, event: str) -> None:
        if event in cls.EVENTS:
            return
        if not isinstance(event, str):
            raise OptionTypeError(f"the name of an event must be a str, not {event!r:.80}", option="event")
        snake = snake_case(event)
        if snake in cls.EVENTS:
            raise OptionError(f"the event is spelt {snake!r}, not {event!r}", option="event")
        near = difflib.get_close_matches(snake, sorted(cls.EVENTS), 1)
        advice = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(cls.EVENTS))}"
        raise OptionError(f"{cls.__name__} has no event {event!r}{advice}", option="event")
