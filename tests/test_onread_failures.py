"""The option `onread` when a function of the user's raises, a buffer cannot be used, or the option is wrong."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import tls_pair, until
from tests.support.pieces import Pieces, into
from tests.support.pipes import Nonsense

MESSAGE = b"hello world"


def raising() -> Any:
    raise Nonsense


async def asleep(*_: Any) -> bytearray:
    return bytearray(1)


@pytest.mark.parametrize("turn", [1, 3])
def test_a_callback_that_raises(run: Run, turn: int) -> None:
    """Its error ends the connection, and is told once; nothing more is delivered."""

    async def main() -> None:
        errors: list[BaseException] = []

        def received(size: int, buffer: bytearray) -> None:
            pieces(size, buffer)
            if len(pieces.parts) == turn:
                raise Nonsense

        pieces = Pieces()
        async with tls_pair(client=into(bytearray(2), received)) as (client, server):
            closes: list[bool] = []
            client.on("error", errors.append).on("close", closes.append)
            server.write(MESSAGE)
            await until(lambda: closes)
            assert closes == [True]
            assert [type(error) for error in errors] == [Nonsense]
            assert len(pieces.parts) == turn

    run(main)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (raising, Nonsense, ""),
        (lambda: bytearray(), aiotls.OptionError, "at least one byte"),
        (lambda: b"12345678", aiotls.OptionError, "writable"),
        (lambda: memoryview(bytearray(8)).toreadonly(), aiotls.OptionError, "writable"),
        (lambda: memoryview(bytearray(8))[::2], aiotls.OptionError, "one after the other"),
        (lambda: None, aiotls.OptionTypeError, "not None"),
        (lambda: "12345678", aiotls.OptionTypeError, "an instance of str"),
        (lambda: next(iter(())), aiotls.StateError, "StopIteration"),
    ],
    ids=["raises", "empty", "bytes", "read-only", "strided", "None", "str", "StopIteration"],
)
@pytest.mark.parametrize("turn", [1, 2])
def test_a_function_without_a_buffer(
    run: Run, make: Callable[[], Any], kind: type[Exception], words: str, turn: int
) -> None:
    """What it gives cannot be used, or it raises: the connection ends with that error."""

    async def main() -> None:
        errors: list[BaseException] = []
        asked = 0

        def following() -> Any:
            nonlocal asked
            asked += 1
            return make() if asked == turn else bytearray(2)

        pieces = Pieces()
        async with tls_pair(client=into(following, pieces)) as (client, server):
            closes: list[bool] = []
            client.on("error", errors.append).on("close", closes.append)
            server.write(MESSAGE)
            await until(lambda: closes)
            assert closes == [True]
            (error,) = errors
            assert type(error) is kind
            assert words in str(error)
            if isinstance(error, aiotls.OptionError):
                assert error.option == "onread"
            assert pieces.data == MESSAGE[: 2 * (turn - 1)]

    run(main)


def test_a_buffer_that_lost_its_room(run: Run) -> None:
    """One that was given, then emptied by the callback."""

    async def main() -> None:
        def received(_size: int, same: bytearray) -> None:
            same.clear()

        async with tls_pair(client=into(bytearray(2), received)) as (client, server):
            errors: list[Any] = []
            client.on("error", errors.append)
            server.write(MESSAGE)
            await until(lambda: errors)
            (error,) = errors
            assert isinstance(error, aiotls.OptionError)
            assert error.option == "onread"

    run(main)


def test_an_answer_that_is_a_coroutine(run: Run) -> None:
    """A plain function that gives one is found out at the first piece; nothing is left unawaited."""

    async def main() -> None:
        async with tls_pair(client=into(bytearray(2), lambda size, buffer: asleep(size, buffer))) as (client, server):
            errors: list[Any] = []
            client.on("error", errors.append)
            server.write(MESSAGE)
            await until(lambda: errors)
            (error,) = errors
            assert isinstance(error, aiotls.OptionTypeError)
            assert error.option == "onread"

    run(main)


def test_nobody_listens_for_the_error(run: Run, loop_errors: list[dict[str, Any]]) -> None:
    """Then the loop's exception handler is told, and an await raises too."""

    async def main() -> None:
        def received(_size: int, _buffer: bytearray) -> None:
            raise Nonsense

        async with tls_pair(client=into(bytearray(2), received)) as (client, server):
            closing = asyncio.ensure_future(client.wait_closed())
            await asyncio.sleep(0)
            server.write(MESSAGE)
            with pytest.raises(Nonsense):
                await closing

    run(main)
    (context,) = loop_errors
    assert isinstance(context["exception"], Nonsense)
    loop_errors.clear()


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (True, aiotls.OptionTypeError, "onread must be a dict"),
        (bytearray(8), aiotls.OptionTypeError, "onread must be a dict"),
        ({}, aiotls.OptionTypeError, "buffer"),
        ({"buffer": bytearray(8)}, aiotls.OptionTypeError, "callback"),
        ({"callback": print}, aiotls.OptionTypeError, "buffer"),
        ({"buffer": bytearray(8), "callback": print, "call_back": print}, aiotls.OptionTypeError, "'call_back'"),
        ({"buffer": bytearray(8), "callback": True}, aiotls.OptionTypeError, "callback must be callable, not True"),
        ({"buffer": bytearray(8), "callback": asleep}, aiotls.OptionTypeError, "async"),
        ({"buffer": asleep, "callback": print}, aiotls.OptionTypeError, "async"),
        ({"buffer": 8, "callback": print}, aiotls.OptionTypeError, "not 8"),
        ({"buffer": "12345678", "callback": print}, aiotls.OptionTypeError, "an instance of str"),
        ({"buffer": [bytearray(8)], "callback": print}, aiotls.OptionTypeError, "an instance of list"),
        ({"buffer": b"12345678", "callback": print}, aiotls.OptionError, "writable"),
        ({"buffer": memoryview(b"12345678"), "callback": print}, aiotls.OptionError, "writable"),
        ({"buffer": bytearray(), "callback": print}, aiotls.OptionError, "at least one byte"),
        ({"buffer": memoryview(bytearray(8))[::-1], "callback": print}, aiotls.OptionError, "one after the other"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, dict | bytearray) else None,
)
def test_what_it_may_not_be(run: Run, value: Any, kind: type[aiotls.OptionError], words: str) -> None:
    """DATA-09: refused at once, by an error that names onread; nothing is opened, and no function is called."""

    async def main() -> None:
        makes: list[Callable[[], object]] = [
            lambda: aiotls.connect(port=1, onread=value),
            lambda: aiotls.TLSSocket(object(), onread=value),
            lambda: aiotls.TLSSocket(object(), is_server=True, onread=value),
        ]
        for make in makes:
            with pytest.raises(aiotls.OptionError, match="onread") as failure:
                make()
            assert type(failure.value) is kind
            assert failure.value.option == "onread"
            assert words in str(failure.value)

    run(main)


def test_none_is_nothing(run: Run) -> None:
    async def main() -> None:
        async with tls_pair(client={"onread": None}) as (client, server):
            server.write(MESSAGE)
            assert await client.read(100) == MESSAGE

    run(main)


def test_a_server_does_not_take_it(run: Run) -> None:
    """One buffer for many connections would be a mistake."""

    async def main() -> None:
        with pytest.raises(aiotls.OptionTypeError, match="create_server has no option 'onread'"):
            aiotls.create_server(onread={"buffer": bytearray(8), "callback": print})  # type: ignore[call-arg]

    run(main)
