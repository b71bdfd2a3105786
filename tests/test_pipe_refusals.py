"""What `pipe` refuses at once: wrong destinations, destinations that have ended, sources that somebody else has."""

import asyncio
import io
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import tcp_pair, tls_pair
from tests.support.pipes import Nonsense, Shelf, listeners, two_pairs


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "out",
        b"out",
        1,
        print,
        io.BytesIO(),
        aiotls.TLSSocket,
        Shelf,
        asyncio.Protocol(),
        {},
        ("reader", "writer"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_wrong_destination(run: Run, wrong: Any) -> None:
    """Refused at once, by an error that names it; the source is not touched."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            before = listeners(server)
            with pytest.raises(aiotls.OptionTypeError, match="destination") as failure:
                server.pipe(wrong)
            assert failure.value.option == "destination"
            assert listeners(server) == before
            client.write(b"?")
            assert await server.read(1) == b"?"

    run(main)


@pytest.mark.parametrize("end", [None, 1, "no"])
def test_a_wrong_end(run: Run, end: Any) -> None:
    async def main() -> None:
        async with tls_pair() as (client, server):
            with pytest.raises(aiotls.OptionTypeError) as failure:
                server.pipe(client, end=end)
            assert failure.value.option == "end"

    run(main)


def test_a_destination_that_takes_nothing_any_more(run: Run) -> None:
    """The same errors as those of write(), before anything is lost."""

    async def main() -> None:
        async with two_pairs() as (sender, source, target, receiver):
            target.end()
            with pytest.raises(aiotls.WriteAfterEnd):
                source.pipe(target)
            receiver.destroy()
            with pytest.raises(aiotls.StreamDestroyed):
                source.pipe(receiver)
            failure = Nonsense()
            target.on("error", lambda _: None)
            target.destroy(failure)
            with pytest.raises(Nonsense):
                source.pipe(target)
            near, far = await tcp_pair()
            far.close()
            _, writer = await asyncio.open_connection(sock=near)
            writer.close()
            with pytest.raises(aiotls.StreamDestroyed, match="destination"):
                source.pipe(writer)
            await writer.wait_closed()
            sender.write(b"?")
            assert await source.read(1) == b"?"

    run(main)


def test_a_source_that_is_taken(run: Run) -> None:
    """Somebody reads from it, or it is gone."""

    async def main() -> None:
        async with two_pairs() as (sender, source, target, receiver):
            reading = asyncio.ensure_future(source.read(1))
            await asyncio.sleep(0)
            with pytest.raises(aiotls.StateError, match="somebody else is reading"):
                source.pipe(target)
            sender.write(b"!")
            assert await reading == b"!"
            source.on("error", lambda _: None)
            source.destroy()
            with pytest.raises(aiotls.StreamDestroyed):
                source.pipe(target)
            failure = Nonsense()
            target.on("error", lambda _: None)
            target.destroy(failure)
            with pytest.raises(Nonsense):
                target.pipe(sender)
            assert not receiver.destroyed

    run(main)
