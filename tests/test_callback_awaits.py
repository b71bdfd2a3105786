"""Who waits for a connection whose functions raise: told at once, with an exception of the connection."""

import asyncio
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import server_options
from tests.support.servers import echo, to
from tests.test_callback_failures import PATIENCE, RAISED, Errors, caused_by


@pytest.mark.parametrize("kind", RAISED)
@pytest.mark.parametrize("style", ["plain", "async"])
def test_who_awaits_is_told_of_a_check_that_raises(run: Run, style: str, kind: str) -> None:
    """Failure model 18: an `await` ends with an exception of the connection, never with the program's own signals."""

    async def main() -> None:
        def plain(*_: Any) -> None:
            raise RAISED[kind]("a mistake of the user")

        async def later(*_: Any) -> None:
            plain()

        async with aiotls.create_server(echo, **server_options()) as server:
            await server.listen(0, "127.0.0.1")
            with pytest.raises(Exception) as failure:  # noqa: PT011 - of any class, but an Exception
                await to(server, check_server_identity=plain if style == "plain" else later)
            assert caused_by(failure.value, RAISED[kind])
            async with to(server):
                pass

    run(main)


@pytest.mark.parametrize("kind", RAISED)
def test_readers_are_told_of_a_listener_that_raises(run: Run, loop_errors: Errors, kind: str) -> None:
    """Failure model 18: whoever reads from the connection at that moment does not wait for ever."""

    async def main() -> None:
        def listener() -> None:
            raise RAISED[kind]("a mistake of the user")

        async with aiotls.create_server(echo, **server_options()) as server:
            await server.listen(0, "127.0.0.1")
            client = to(server)
            client.on("secure_connect", listener)
            told: list[Any] = []
            client.on("error", told.append)
            reading = asyncio.create_task(client.read())
            await asyncio.wait([reading], timeout=PATIENCE)
            assert reading.done()
            assert reading.cancelled() or reading.exception() is not None
            told += [report["exception"] for report in loop_errors]
            loop_errors.clear()
            assert [caused_by(error, RAISED[kind]) for error in told] == [True]

    run(main)
