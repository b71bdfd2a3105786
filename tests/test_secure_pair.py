"""create_secure_pair: TLS between two streams in memory, whose ciphertext the program moves itself."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from aiotls import SecurePair, create_secure_pair
from tests.conftest import Run
from tests.support.pairs import client_options, gone, server_options, tls_pair, until
from tests.support.peers import needs, openssl_client, openssl_server
from tests.support.pki import Named

pytestmark = pytest.mark.filterwarnings("ignore:create_secure_pair is deprecated:DeprecationWarning")

BULK = os.urandom(1024) * 2048


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def client_pair(**options: Any) -> SecurePair:
    return create_secure_pair(**client_options(**options))


def server_pair(**options: Any) -> SecurePair:
    return create_secure_pair(is_server=True, **server_options(**options))


async def settled(count: Callable[[], int]) -> None:
    """Waits until a number stays as it is, as long as nobody does anything."""
    last, steady = -1, 0
    while steady < 100:
        await asyncio.sleep(0)
        steady, last = steady + 1 if count() == last else 0, count()


async def pump(source: Any, sink: Any) -> None:
    """What a program does that knows nothing but the methods of a stream."""
    while data := await source.read(10_000):
        sink.write(data)
        await sink.drain()
    sink.write_eof()


@contextlib.asynccontextmanager
async def joined(how: str = "pipes", **options: dict[str, Any]) -> AsyncIterator[tuple[SecurePair, SecurePair]]:
    """A client and a server, each the peer of the other, gone at the end.

    Args:
        how: By ``"pipes"`` or by ``"tasks"``.
        options: Those of the `client` and of the `server`.
    """
    near, far = client_pair(**options.get("client", {})), server_pair(**options.get("server", {}))
    tasks: list[asyncio.Task[None]] = []
    if how == "pipes":
        near.encrypted.pipe(far.encrypted).pipe(near.encrypted)
    else:
        tasks = [
            asyncio.create_task(pump(near.encrypted, far.encrypted)),
            asyncio.create_task(pump(far.encrypted, near.encrypted)),
        ]
    try:
        yield near, far
    finally:
        near.destroy()
        far.destroy()
        await asyncio.gather(*tasks, return_exceptions=True)
        await gone(near.cleartext, far.cleartext)
        await asyncio.gather(near.encrypted.wait_closed(), far.encrypted.wait_closed(), return_exceptions=True)


# ---- what it is made of


def test_the_warning(run: Run) -> None:
    """It names the line of the caller, and what to use instead."""

    async def main() -> None:
        with pytest.warns(DeprecationWarning, match="use TLSSocket") as caught:
            pair = create_secure_pair(**client_options())
        assert [warning.filename for warning in caught] == [__file__]
        pair.destroy()
        await pair.encrypted.wait_closed()

    run(main)


def test_positional_arguments(run: Run, pki: Named) -> None:
    """In the order of the reference: context, is_server, request_cert, reject_unauthorized."""

    async def main() -> None:
        context = aiotls.create_secure_context(ca=pki.ca.cert_pem, **server_options())
        far = create_secure_pair(context, True, True, False)
        near = create_secure_pair(aiotls.create_secure_context(ca=pki.ca.cert_pem), False, servername="localhost")
        near.encrypted.pipe(far.encrypted).pipe(near.encrypted)
        await asyncio.gather(near.cleartext, far.cleartext)
        assert near.cleartext.authorized
        assert not far.cleartext.authorized
        assert far.cleartext.authorization_error == "UNABLE_TO_GET_ISSUER_CERT"
        await gone(near.cleartext, far.cleartext)

    run(main)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"context": {}}, "context"),
        ({"context": True}, "context"),
        ({"is_server": "yes"}, "is_server"),
        ({"request_cert": 1}, "request_cert"),
        ({"isServer": True}, "isServer"),
        ({"port": 443}, "port"),
        ({"servername": "127.0.0.1"}, "servername"),
        ({"high_water_mark": -1}, "high_water_mark"),
        ({"key": "no key"}, "key"),
    ],
)
def test_options_that_cannot_work(run: Run, options: dict[str, Any], option: str) -> None:
    async def main() -> None:
        with pytest.raises(aiotls.OptionError, match=option) as caught:
            create_secure_pair(**options)
        assert caught.value.option == option

    run(main)


def test_two_contexts(run: Run) -> None:
    async def main() -> None:
        context = aiotls.create_secure_context()
        for options in ({"secure_context": context}, {"ca": client_options()["ca"]}):
            with pytest.raises(aiotls.OptionTypeError):
                create_secure_pair(context, **options)

    run(main)


def test_outside_of_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        create_secure_pair()


def test_the_two_streams(run: Run) -> None:
    async def main() -> None:
        pair = client_pair(high_water_mark=1000)
        assert isinstance(pair.cleartext, aiotls.TLSSocket)
        assert isinstance(pair.encrypted, aiotls.Duplex)
        assert not isinstance(pair.encrypted, aiotls.TLSSocket)
        assert pair.cleartext.high_water_mark == pair.encrypted.high_water_mark == 1000
        assert not pair.cleartext.connecting
        with pytest.raises(aiotls.OptionError, match="secure"):
            pair.on("secureConnect", print)  # type: ignore[arg-type]
        assert await pair.encrypted.readexactly(1) == b"\x16"
        pair.destroy()
        await pair.encrypted.read()
        await pair.encrypted.wait_closed()

    run(main)


# ---- pair against pair


@pytest.mark.parametrize("how", ["pipes", "tasks"])
def test_pair_against_pair(run: Run, version: str, how: str) -> None:
    """Each is told once that it is secure; data goes both ways; in the end all four streams have closed in order."""

    async def main() -> None:
        async with joined(
            how, client={"max_version": version, "alpn_protocols": ["a"]}, server={"alpn_protocols": ["a"]}
        ) as (
            near,
            far,
        ):
            told: list[Any] = []
            for name, pair in (("near", near), ("far", far)):
                pair.on("secure", lambda *_, name=name: told.append(name))
                pair.cleartext.on("close", lambda had_error, *_, name=name: told.append((name, had_error)))
                pair.encrypted.on("close", lambda failed, *_, name=name: told.append((f"{name} encrypted", failed)))
            await asyncio.gather(near.cleartext, far.cleartext)
            assert near.cleartext.authorized
            assert near.cleartext.get_protocol() == version
            assert far.cleartext.alpn_protocol == "a"

            async def send(socket: aiotls.TLSSocket) -> None:
                for start in range(0, len(BULK), 50_000):
                    socket.write(BULK[start : start + 50_000])
                    await socket.drain()
                socket.end()

            results = await asyncio.gather(
                send(near.cleartext), send(far.cleartext), near.cleartext.read(), far.cleartext.read()
            )
            for received in results[2:]:
                assert hashlib.sha256(received or b"").digest() == hashlib.sha256(BULK).digest()
            await until(lambda: len(told) == 6)
            assert sorted(map(str, told[:2])) == ["far", "near"]
            assert set(told[2:]) == {(name, False) for name in ("near", "far", "near encrypted", "far encrypted")}
            assert not near.cleartext.truncated
            assert near.encrypted.bytes_read == far.encrypted.bytes_written > len(BULK)

    run(main)


@pytest.mark.parametrize("style", ["plain", "async"])
def test_a_listener_that_raises(run: Run, style: str) -> None:
    """The connection ends with its error, as that of any socket does."""

    async def main() -> None:
        wrong = LookupError("wrong")

        def plain() -> None:
            raise wrong

        async def later() -> None:
            await asyncio.sleep(0)
            raise wrong

        async with joined() as (near, far):
            errors: list[Any] = []
            near.cleartext.on("error", errors.append)
            far.cleartext.on("error", lambda _: None)
            near.on("secure", plain if style == "plain" else later)
            assert await near.cleartext.wait_for("close") is True
            assert errors == [wrong]

    run(main)


def test_a_listener_that_is_cancelled(run: Run) -> None:
    async def main() -> None:
        async with joined() as (near, _far):
            entered: asyncio.Future[asyncio.Task[Any] | None] = asyncio.get_running_loop().create_future()

            async def listener() -> None:
                entered.set_result(asyncio.current_task())
                await asyncio.Event().wait()

            near.on("secure", listener)
            task = await entered
            assert task is not None
            task.cancel()
            await near.encrypted.wait_closed()
            assert near.cleartext.destroyed

    run(main)


def test_tls_over_the_encrypted_stream(run: Run, version: str) -> None:
    """It is a stream like any other: the peer's TLS may run over it directly."""

    async def main() -> None:
        pair = server_pair(max_version=version)
        async with aiotls.connect(socket=pair.encrypted, **client_options()) as client:
            client.write(b"question")
            assert await pair.cleartext.readexactly(8) == b"question"
            pair.cleartext.end(b"answer")
            assert await client.read() == b"answer"
        assert await pair.cleartext.read() == b""
        await asyncio.gather(pair.cleartext.wait_closed(), pair.encrypted.wait_closed())

    run(main)


def test_between_two_pipes(run: Run, version: str) -> None:
    """The code of the reference: ``pair.encrypted.pipe(socket); socket.pipe(pair.encrypted)``."""

    async def main() -> None:
        async with tls_pair(server={"allow_half_open": True}) as (outer_client, outer_server):
            pair = server_pair(max_version=version)
            assert pair.encrypted.pipe(outer_server) is outer_server
            assert outer_server.pipe(pair.encrypted) is pair.encrypted
            inner = await aiotls.connect(socket=outer_client, **client_options())
            pair.cleartext.pipe(pair.cleartext)
            inner.write(BULK)
            inner.end()
            assert await inner.read() == BULK
            await asyncio.gather(inner.wait_closed(), pair.cleartext.wait_closed(), pair.encrypted.wait_closed())

    run(main)


# ---- other programs as peers


@needs("openssl")
@pytest.mark.parametrize("how", ["pipes", "tasks"])
def test_openssl_as_client(run: Run, tmp_path: Path, pki: Named, how: str, version: str) -> None:
    """A server's pair behind an asyncio server, as the reference shows it."""
    files = pki.ca.write(tmp_path)

    async def main() -> None:
        pairs: asyncio.Queue[SecurePair] = asyncio.Queue()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            pair = server_pair(max_version=version)
            pairs.put_nowait(pair)
            if how == "pipes":
                pair.encrypted.pipe(writer)
                await pump(reader, pair.encrypted)
            else:
                await asyncio.gather(pump(reader, pair.encrypted), pump(pair.encrypted, writer))
            await pair.encrypted.wait_closed()
            writer.close()

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            arguments = (
                "-CAfile",
                files.cert,
                "-verify_return_error",
                "-quiet",
                "-no_ign_eof",
                "-servername",
                "localhost",
            )
            async with openssl_client(*arguments, port=port) as peer:
                peer.write(b"hello from openssl\n")
                pair = await pairs.get()
                assert await pair.cleartext.readline() == b"hello from openssl\n"
                assert pair.cleartext.get_protocol() == version
                pair.cleartext.write(b"hello from the pair\n")
                await peer.saw("hello from the pair")
                peer.write_eof()
                assert await pair.cleartext.read() == b""
                assert not pair.cleartext.truncated
                await pair.cleartext.wait_closed()
                assert (await peer.finished()).exit_code == 0

    run(main)


@needs("openssl")
@pytest.mark.parametrize("how", ["pipes", "tasks"])
def test_openssl_as_server(run: Run, tmp_path: Path, pki: Named, how: str, version: str) -> None:
    files = pki.server_ec.write(tmp_path)
    only = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}[version]

    async def main() -> None:
        async with openssl_server("-cert", files.cert, "-key", files.key, "-rev", only) as peer:
            reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
            pair = client_pair()
            if how == "pipes":
                pair.encrypted.pipe(writer)
                moving = [asyncio.create_task(pump(reader, pair.encrypted))]
            else:
                moving = [
                    asyncio.create_task(pump(reader, pair.encrypted)),
                    asyncio.create_task(pump(pair.encrypted, writer)),
                ]
            await pair.wait_for("secure")
            assert pair.cleartext.authorized
            assert pair.cleartext.get_protocol() == version
            pair.cleartext.write(b"drawer\n")
            assert await pair.cleartext.readline() == b"reward\n"
            pair.cleartext.end()
            assert await pair.cleartext.read() == b""
            await asyncio.gather(pair.cleartext.wait_closed(), pair.encrypted.wait_closed(), *moving)
            writer.close()
            await writer.wait_closed()

    run(main)


# ---- flow control


def test_nobody_reads_the_ciphertext(run: Run) -> None:
    """What is written to `cleartext` waits there, and little more than the mark waits in `encrypted`."""

    async def main() -> None:
        mark = 10_000
        near, far = client_pair(high_water_mark=mark), server_pair()
        out = asyncio.create_task(pump(near.encrypted, far.encrypted))
        back = asyncio.create_task(pump(far.encrypted, near.encrypted))
        await asyncio.gather(near.cleartext, far.cleartext)
        out.cancel()
        await asyncio.wait([out])
        written = 0

        async def send() -> None:
            nonlocal written
            while written < len(BULK):
                near.cleartext.write(BULK[written : written + mark])
                written += mark
                await near.cleartext.drain()
            near.cleartext.end()

        sending = asyncio.create_task(send())
        await settled(lambda: written)
        assert 2 * mark <= written < 8 * mark
        assert mark <= near.encrypted.readable_length < 4 * mark
        assert near.cleartext.writable_length >= mark
        out = asyncio.create_task(pump(near.encrypted, far.encrypted))
        assert await far.cleartext.read() == BULK
        await sending
        assert await near.cleartext.read() == b""
        await asyncio.gather(out, back)
        await asyncio.gather(near.cleartext.wait_closed(), far.cleartext.wait_closed())
        await asyncio.gather(near.encrypted.wait_closed(), far.encrypted.wait_closed())

    run(main)


def test_nobody_reads_the_plaintext(run: Run) -> None:
    """What the peer sends waits outside: `encrypted` says so, and its `drain` waits."""

    async def main() -> None:
        mark = 20_000
        near, far = client_pair(), server_pair(high_water_mark=mark)
        taken = 0

        async def feed() -> None:
            nonlocal taken
            while data := await near.encrypted.read(4096):
                taken += len(data)
                assert far.encrypted.write(data) is (far.encrypted.writable_length < mark)
                await far.encrypted.drain()
                assert far.encrypted.writable_length < mark
            far.encrypted.end()

        moving = [asyncio.create_task(each) for each in (feed(), pump(far.encrypted, near.encrypted))]
        await asyncio.gather(near.cleartext, far.cleartext)
        before = taken
        near.cleartext.write(BULK)
        await settled(lambda: taken)
        assert 2 * mark < taken - before < 8 * mark
        assert far.encrypted.writable_length >= mark
        assert mark <= far.cleartext.readable_length < 4 * mark
        assert await far.cleartext.readexactly(len(BULK)) == BULK
        near.destroy()
        far.destroy()
        await asyncio.gather(*moving)
        await asyncio.gather(near.encrypted.wait_closed(), far.encrypted.wait_closed())

    run(main)
