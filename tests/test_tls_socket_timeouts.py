"""The times of a `TLSSocket`: how long it waits for the peer's goodbye, and how long it may be idle."""

import asyncio

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, server_options, tcp_pair, tls_pair


def test_close_timeout(run: Run) -> None:
    """A peer that never answers close_notify does not keep us."""

    async def main() -> None:
        near, far = await tcp_pair()
        with near:
            peer = BarePeer.client(near)
            server = aiotls.TLSSocket(far, is_server=True, **server_options(close_timeout=0.05))
            await asyncio.gather(peer.handshake(), server)
            server.close()
            await server.wait_closed()
            assert server.destroyed
            assert await peer.read() == b""

    run(main)


def test_idle_timeout(run: Run) -> None:
    """CLOSE-08: ``"timeout"`` only tells; its listener may destroy, and the peer sees an ordinary end."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            calls: list[int] = []

            def idle() -> None:
                calls.append(1)
                server.destroy()

            assert server.set_timeout(0.05, idle) is server
            assert server.timeout == 0.05
            assert await client.read() == b""
            assert not client.truncated
            await client.wait_closed()
            assert calls == [1]

    run(main)


def test_activity_puts_the_idle_timeout_off(run: Run) -> None:
    """CLOSE-09: and closing takes the timer away."""

    async def main() -> None:
        async with tls_pair() as (client, server):
            timeouts: list[float] = []
            server.on("timeout", lambda: timeouts.append(1))
            server.set_timeout(0.3)
            for _ in range(12):
                client.write(b"x")
                assert await server.read(1) == b"x"
                await asyncio.sleep(0.05)
            assert timeouts == []
            await server.wait_for("timeout")
            server.set_timeout(0)
            assert server.timeout is None

    run(main)
