"""The ends of a secure pair: in order, by an error, by force, at any time."""

import asyncio

import pytest

import aiotls
from aiotls import secure_pair
from tests.conftest import Run
from tests.test_secure_pair import BULK, client_pair, joined, server_pair

pytestmark = pytest.mark.filterwarnings("ignore:create_secure_pair is deprecated:DeprecationWarning")


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- what goes wrong


def test_junk(run: Run) -> None:
    """The error is that of `cleartext`; its alert, if it sends one, and the end come out of `encrypted`."""

    async def main() -> None:
        pair = client_pair()
        assert (await pair.encrypted.read(65536))[:1] == b"\x16"
        pair.encrypted.write(b"\x16\x03\x03\x00\x04\x0b\x00\x00\x00")
        with pytest.raises(aiotls.ProtocolError) as caught:
            await pair.cleartext
        assert caught.value.code == "ERR_SSL_UNEXPECTED_MESSAGE"
        alert = await pair.encrypted.read()
        assert (alert[0], alert[3:]) == (0x15, b"\x00\x02\x02\x0a")
        await pair.encrypted.wait_closed()

    run(main)


def test_the_wrong_server(run: Run, version: str) -> None:
    """The refused peer gets the alert through the pairs."""

    async def main() -> None:
        async with joined(client={"servername": "wrong.example", "max_version": version}) as (near, far):
            refused, alerted = await asyncio.gather(near.cleartext, far.cleartext, return_exceptions=True)
            assert isinstance(refused, aiotls.ServerIdentityError)
            assert isinstance(alerted, aiotls.AlertReceived)
            assert alerted.alert == 42

    run(main)


@pytest.mark.parametrize("how", ["write_eof", "close", "destroy"])
def test_the_ciphertext_ends_in_the_handshake(run: Run, how: str) -> None:
    async def main() -> None:
        pair = client_pair()
        await pair.encrypted.read(1)
        getattr(pair.encrypted, how)()
        with pytest.raises(aiotls.ConnectionLost) as caught:
            await pair.cleartext
        assert caught.value.code == "ECONNRESET"
        if how == "write_eof":
            await pair.encrypted.read()
        await pair.encrypted.wait_closed()

    run(main)


@pytest.mark.parametrize("how", ["write_eof", "close", "destroy"])
def test_the_ciphertext_ends_without_close_notify(run: Run, how: str) -> None:
    """The end of `cleartext` is a truncated one; it still closes in order."""

    async def main() -> None:
        near, far = client_pair(), server_pair()
        near.encrypted.pipe(far.encrypted, end=False).pipe(near.encrypted, end=False)
        await asyncio.gather(near.cleartext, far.cleartext)
        far.cleartext.write(b"before")
        assert await near.cleartext.readexactly(6) == b"before"
        getattr(near.encrypted, how)()
        assert await near.cleartext.read() == b""
        assert near.cleartext.truncated
        await near.cleartext.wait_closed()
        far.destroy()
        await asyncio.gather(near.encrypted.wait_closed(), far.encrypted.wait_closed())

    run(main)


def test_the_path_below_fails(run: Run) -> None:
    """An error given to `encrypted` is what both streams fail with."""

    async def main() -> None:
        async with joined() as (near, far):
            await asyncio.gather(near.cleartext, far.cleartext)
            far.cleartext.on("error", lambda _: None)
            below = [asyncio.create_task(each) for each in (near.cleartext.read(1), near.encrypted.wait_closed())]
            await asyncio.sleep(0)
            near.encrypted.destroy(ConnectionResetError(104, "Connection reset by peer"))
            for task in below:
                with pytest.raises(ConnectionError) as caught:
                    await task
                assert "reset" in str(caught.value)
            with pytest.raises(ConnectionError):
                near.encrypted.write(b"x")
            assert near.cleartext.destroyed

    run(main)


def test_a_reset(run: Run) -> None:
    """`reset_and_destroy` of `cleartext` is an error of `encrypted`."""

    async def main() -> None:
        pair = client_pair()
        await pair.encrypted.read(65536)
        reading = asyncio.create_task(pair.encrypted.read(1))
        await asyncio.sleep(0)
        pair.cleartext.reset_and_destroy()
        with pytest.raises(aiotls.ConnectionLost):
            await reading
        assert pair.encrypted.destroyed

    run(main)


# ---- closing


@pytest.mark.parametrize("when", ["at once", "in the handshake", "when secure"])
def test_destroy(run: Run, version: str, when: str) -> None:
    """Both streams close; the last words, close_notify among them, can still be read from `encrypted`."""

    async def main() -> None:
        near, far = client_pair(max_version=version), server_pair()
        if when == "in the handshake":
            far.encrypted.write(await near.encrypted.read(65536))
            await far.encrypted.read(1)
        if when == "when secure":
            near.encrypted.pipe(far.encrypted).pipe(near.encrypted)
            await asyncio.gather(near.cleartext, far.cleartext)
        ended = asyncio.create_task(far.cleartext.read())
        near.destroy()
        near.destroy()
        assert near.cleartext.destroyed
        if when == "when secure":
            assert await ended == b""
            assert not far.cleartext.truncated
        else:
            await near.encrypted.read()
            ended.cancel()
        await asyncio.gather(near.encrypted.wait_closed(), near.cleartext.wait_closed())
        far.destroy()
        if when != "when secure":
            await far.encrypted.read()
        await asyncio.gather(far.encrypted.wait_closed(), far.cleartext.wait_closed())
        await asyncio.gather(ended, return_exceptions=True)

    run(main)


def test_destroy_waits_for_nothing_without_need(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where nothing is left to read, nor once it was read; who waits to write does not wait any more."""
    monkeypatch.setattr(secure_pair, "LINGER", 1000)

    async def main() -> None:
        pair = client_pair()
        pair.destroy()
        await pair.encrypted.wait_closed()
        near, far = client_pair(), server_pair(high_water_mark=1)
        far.cleartext.pause()
        assert far.encrypted.write(await near.encrypted.read(65536)) is False
        drained = asyncio.create_task(far.encrypted.drain())
        far.destroy()
        await drained
        await far.encrypted.read()
        await asyncio.gather(far.encrypted.wait_closed(), far.cleartext.wait_closed())
        near.destroy()
        await near.encrypted.read()
        await asyncio.gather(near.encrypted.wait_closed(), near.cleartext.wait_closed())

    run(main)


def test_destroy_when_nobody_reads(run: Run) -> None:
    """Nothing waits for a reader for longer than a moment; what is written meanwhile is thrown away."""

    async def main() -> None:
        pair = client_pair()
        await asyncio.sleep(0)
        pair.destroy()
        assert pair.encrypted.write(bytes(100_000)) is True
        await pair.encrypted.drain()
        await pair.encrypted.wait_closed()
        with pytest.raises(aiotls.StreamDestroyed):
            pair.encrypted.write(b"x")

    run(main)


def test_close_in_order(run: Run, version: str) -> None:
    """What was written before leaves before, also what is more than the marks."""

    async def main() -> None:
        async with joined("tasks", client={"max_version": version}) as (near, far):
            await asyncio.gather(near.cleartext, far.cleartext)
            near.cleartext.write(BULK)
            near.cleartext.close()
            assert await far.cleartext.read() == BULK
            assert not far.cleartext.truncated
            await asyncio.gather(near.cleartext.wait_closed(), far.cleartext.wait_closed())
            await asyncio.gather(near.encrypted.wait_closed(), far.encrypted.wait_closed())

    run(main)


def test_the_handshake_takes_too_long(run: Run) -> None:
    async def main() -> None:
        pair = client_pair(handshake_timeout=0.01)
        with pytest.raises(aiotls.HandshakeTimeout):
            await pair.cleartext
        await pair.encrypted.read()
        await pair.encrypted.wait_closed()

    run(main)
