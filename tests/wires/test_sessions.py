"""Sessions over everything that can carry TLS: kept by the server, held back until they are, and resumed."""

import asyncio

import pytest

import aiotls
from aiotls.constants import SSL_OP_NO_TICKET
from tests.conftest import Run
from tests.support.pairs import KINDS, client_options, gone, server_options, streams
from tests.support.sessions import NEW, RENEWED, WORDS, Store, Visit, greet, turns, witness


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def visit_over(kind: str, server: aiotls.Server, session: bytes | None = None) -> Visit:
    """A connection that is handed to the server."""
    async with streams(kind) as (near, far):
        socket = server.handle_connection(far)
        options = client_options(allow_half_open=True, require_close_notify=True, session=session)
        seen = await witness(aiotls.connect(socket=near, **options))
        await socket.wait_closed()
    assert seen.words == WORDS
    return seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", [True, False], ids=["identifiers", "tickets"])
def test_resumption(run: Run, version: str, kind: str, stored: bool) -> None:
    async def main() -> None:
        store = Store()
        flags = SSL_OP_NO_TICKET if stored else 0
        server = aiotls.create_server(greet, **server_options(max_version=version, secure_options=flags))
        store.serve(server, patiently=True)
        session: bytes | None = None
        for reused in (False, True, True):
            seen = await visit_over(kind, server, session)
            assert seen.reused is reused
            assert len(seen.sessions) == (RENEWED if reused else NEW)[version]
            session = seen.last
        assert len(store.found) == (2 if stored else 0)
        server.close()
        await server.wait_closed()

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_data_waits_for_the_answer(run: Run, version: str, kind: str) -> None:
    """Neither side has data before "new_session" is answered; an end that came meanwhile follows."""

    async def main() -> None:
        asked, gate = asyncio.Event(), asyncio.Event()

        async def new_session(_id: bytes, _data: bytes) -> None:
            asked.set()
            await gate.wait()

        server = aiotls.create_server(**server_options(max_version=version, secure_options=SSL_OP_NO_TICKET))
        server.on("new_session", new_session)
        async with streams(kind) as (near, far):
            socket = server.handle_connection(far)
            client = aiotls.connect(socket=near, **client_options(require_close_notify=True))
            client.end(b"question")
            socket.end(WORDS)
            question, words = asyncio.create_task(socket.read()), asyncio.create_task(client.read())
            await asked.wait()
            await turns(20)
            assert not question.done()
            assert not words.done()
            assert socket.secure_connecting
            gate.set()
            assert (await question, await words) == (b"question", WORDS)
            await gone(client, socket)
        server.close()
        await server.wait_closed()

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_raises(run: Run, version: str, kind: str) -> None:
    async def main() -> None:
        failure = LookupError("the store is down")
        errors: list[Exception] = []

        async def new_session(_id: bytes, _data: bytes) -> None:
            await turns()
            raise failure

        server = aiotls.create_server(greet, **server_options(max_version=version, secure_options=SSL_OP_NO_TICKET))
        server.on("new_session", new_session).on("tls_client_error", lambda error, _: errors.append(error))
        async with streams(kind) as (near, far):
            server.handle_connection(far)
            client = aiotls.connect(socket=near, **client_options())
            with pytest.raises((aiotls.TLSError, asyncio.IncompleteReadError)):
                await client.readexactly(1)
            assert errors == [failure]
            await gone(client)
        server.close()
        await server.wait_closed()

    run(main)
