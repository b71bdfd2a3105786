"""A client that renegotiates for ever, under TLS 1.2."""

import asyncio
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import until
from tests.support.peers import needs, openssl_client
from tests.support.servers import port_of, serving, to


@needs("openssl")
@pytest.mark.parametrize("listens", [True, False], ids=["listener", "no-listener"])
def test_renegotiation_flood(run: Run, loop_errors: list[dict[str, Any]], listens: bool) -> None:
    """Failure model 13, F3: the fourth time within the window ends the connection, whoever listens."""

    async def main() -> None:
        told: list[Any] = []
        closed = asyncio.Event()

        def accept(socket: aiotls.TLSSocket) -> None:
            if listens:
                socket.on("error", told.append)
            socket.on("close", lambda _: closed.set())
            socket.on("data", socket.write)

        async with serving(accept, max_version="TLSv1.2") as server:
            good = await to(server)
            async with openssl_client("-tls1_2", port=port_of(server)) as client:
                await client.saw("Verify return code")
                for number in range(4):
                    client.write(b"R\n")
                    await client.saw("(?s)" + "RENEGOTIATING.*" * (number + 1))
                    if number < 3:
                        client.write(b"%d and on\n" % number)
                        await client.saw(f"^{number} and on")
                await closed.wait()
                client.write_eof()
                await client.finished()
            told += [report["exception"] for report in loop_errors]
            loop_errors.clear()
            assert [error.code for error in told] == ["ERR_TLS_SESSION_ATTACK"]
            assert isinstance(told[0], aiotls.RenegotiationError)
            good.write(b"undisturbed")
            assert await good.readexactly(11) == b"undisturbed"
            good.close()
            good.destroy()
            await until(lambda: not server.get_connections())

    run(main)
