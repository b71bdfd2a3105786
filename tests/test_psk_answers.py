"""What a PSK callback may answer: kinds, lengths and exceptions; and that no key is ever shown."""

import asyncio
import base64
import dataclasses
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.psk import IDENTITY, KEY, psk_client, psk_server, refused, show
from tests.support.secured import secured
from tests.support.servers import echo, serving, to

# In bytes: what works with every OpenSSL, and what fits into none.
LONG_IDENTITY, LONG_KEY = 256, 512
TOO_LONG_IDENTITY, TOO_LONG_KEY = 257, 513
LENGTH_CODES = ("ERR_INVALID_ARG_VALUE", "ERR_OUT_OF_RANGE")


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- what is taken


@pytest.mark.parametrize("size", [1, 16, 64, LONG_KEY])
def test_keys_of_every_length(run: Run, version: str, size: int) -> None:
    async def main() -> None:
        key = bytes(index % 255 + 1 for index in range(size))
        server = psk_server(lambda _socket, _identity: key)
        async with secured("accepted", server, psk_client(version, lambda _: aiotls.PSK(IDENTITY, key))) as (near, _):
            assert near.authorized is True

    run(main)


@pytest.mark.parametrize("identity", ["x", "a" * LONG_IDENTITY, "é" * (LONG_IDENTITY // 2), "Жanna\n\t\u2028:\x7f"])
def test_identities_of_every_length(run: Run, version: str, identity: str) -> None:
    """They are text, and travel as UTF-8."""

    async def main() -> None:
        seen: list[str] = []

        def server_key(_socket: aiotls.TLSSocket, identity: str) -> bytes:
            seen.append(identity)
            return KEY

        client = psk_client(version, lambda _: aiotls.PSK(identity, KEY))
        async with secured("accepted", psk_server(server_key), client):
            assert seen == [identity]

    run(main)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_keys_in_other_buffers(run: Run, version: str, kind: Callable[[bytes], Any]) -> None:
    async def main() -> None:
        server = psk_server(lambda _socket, _identity: kind(KEY))
        client = psk_client(version, lambda _: aiotls.PSK(IDENTITY, kind(KEY)))
        async with secured("accepted", server, client) as (near, _):
            assert near.authorized is True

    run(main)


def test_a_key_with_nul_bytes(run: Run, version: str) -> None:
    """A key is bytes, not a string of C."""

    async def main() -> None:
        key = b"\0key\0" + KEY
        server = psk_server(lambda _socket, _identity: key)
        async with secured("accepted", server, psk_client(version, lambda _: aiotls.PSK(IDENTITY, key))) as (near, _):
            assert near.authorized is True
        await refused(server, psk_client(version, lambda _: aiotls.PSK(IDENTITY, b"\0key\0" + KEY[::-1])))

    run(main)


# ---- what is not


@pytest.mark.parametrize("answer", [KEY.decode(), True, False, 1, [*KEY], (IDENTITY, KEY), {"key": KEY}, 1.5])
def test_a_wrong_type_from_the_server(run: Run, version: str, answer: Any) -> None:
    """PSK-01: it is the error of that connection, and does not become secure."""

    async def main() -> None:
        seen, told = await refused(psk_server(lambda _socket, _identity: answer), psk_client(version))
        assert told.code == "ERR_INVALID_ARG_TYPE"
        assert isinstance(told, TypeError)
        assert "psk_callback" in str(told)
        assert isinstance(seen, aiotls.TLSError)

    run(main)


@pytest.mark.parametrize(
    "answer", ["text", True, False, 1, KEY, (IDENTITY, KEY), {"identity": IDENTITY, "key": KEY}, aiotls.PSK]
)
def test_a_wrong_type_from_the_client(run: Run, version: str, answer: Any) -> None:
    """PSK-01."""

    async def main() -> None:
        seen, told = await refused(psk_server(), psk_client(version, lambda _: answer))
        assert seen.code == "ERR_INVALID_ARG_TYPE"
        assert isinstance(seen, TypeError)
        assert "psk_callback" in str(seen)
        assert isinstance(told, aiotls.TLSError)

    run(main)


@pytest.mark.parametrize("size", [0, TOO_LONG_KEY, 100_000])
def test_cve_2026_27459_a_key_of_a_wrong_length_from_the_server(run: Run, version: str, size: int) -> None:
    """CVE-2026-27459: what a callback gives is measured before it is copied."""

    async def main() -> None:
        seen, told = await refused(psk_server(lambda _socket, _identity: b"k" * size), psk_client(version))
        assert isinstance(told, ValueError)
        assert getattr(told, "code", "") in LENGTH_CODES
        assert "psk_callback" in str(told)
        assert isinstance(seen, aiotls.TLSError)

    run(main)


@pytest.mark.parametrize(
    ("identity", "size"),
    [
        (IDENTITY, 0),
        (IDENTITY, TOO_LONG_KEY),
        ("a" * TOO_LONG_IDENTITY, 32),
        ("é" * (TOO_LONG_IDENTITY // 2) + "e", 32),
        ("a" * 100_000, 32),
        ("before\0after", 32),
        ("\0", 32),
        ("", 32),
        ("\ud800", 32),
    ],
)
def test_cve_2026_27459_a_wrong_length_from_the_client(run: Run, version: str, identity: str, size: int) -> None:
    """CVE-2026-27459: neither is cut off where it does not fit, nor at a NUL."""

    async def main() -> None:
        seen, _ = await refused(psk_server(), psk_client(version, lambda _: aiotls.PSK(identity, b"k" * size)))
        assert isinstance(seen, ValueError)
        assert getattr(seen, "code", "") in LENGTH_CODES

    run(main)


@pytest.mark.parametrize(
    ("identity", "key"),
    [(b"bytes", KEY), (None, KEY), (7, KEY), (IDENTITY, KEY.decode()), (IDENTITY, None), (IDENTITY, [*KEY])],
)
def test_wrong_types_within_a_psk(run: Run, version: str, identity: Any, key: Any) -> None:
    async def main() -> None:
        seen, _ = await refused(psk_server(), psk_client(version, lambda _: aiotls.PSK(identity, key)))
        assert isinstance(seen, TypeError)
        assert getattr(seen, "code", "ERR_INVALID_ARG_TYPE") == "ERR_INVALID_ARG_TYPE"

    run(main)


@pytest.mark.parametrize("option", ["psk_callback", "psk_identity_hint"])
@pytest.mark.parametrize("value", [1, True, b"bytes", ["list"]])
def test_options_of_a_wrong_type(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=option) as caught:
        aiotls.create_server(**{**psk_server(), option: value})
    assert getattr(caught.value, "code", None) == "ERR_INVALID_ARG_TYPE"


# ---- hints


@pytest.mark.parametrize("hint", ["x", "a" * LONG_IDENTITY, "Ж:\t"])
def test_hints(run: Run, hint: str) -> None:
    async def main() -> None:
        hints: list[str | None] = []

        def client_key(hint: str | None) -> aiotls.PSK:
            hints.append(hint)
            return show(hint)

        async with secured("accepted", psk_server(psk_identity_hint=hint), psk_client("TLSv1.2", client_key)):
            assert hints == [hint]

    run(main)


def test_no_hint(run: Run) -> None:
    async def main() -> None:
        hints: list[str | None] = []

        def client_key(hint: str | None) -> aiotls.PSK:
            hints.append(hint)
            return show(hint)

        async with secured("accepted", psk_server(), psk_client("TLSv1.2", client_key)):
            assert hints == [None]

    run(main)


def test_a_hint_that_is_too_long(run: Run, version: str) -> None:
    """PSK-02: the server is made, and each of its connections fails before anything is sent."""

    async def main() -> None:
        seen, told = await refused(psk_server(psk_identity_hint="h" * 512), psk_client(version))
        assert told.code == "ERR_TLS_PSK_SET_IDENTITY_HINT_FAILED"
        assert told.message == "Failed to set PSK identity hint"
        assert seen.code == "ECONNRESET"

    run(main)


# ---- secrets


def forms(secret: bytes) -> list[str]:
    """How a secret might be written down."""
    return [secret.decode(), secret.hex(), base64.b64encode(secret).decode().rstrip("="), str([*secret])[1:-1]]


def test_failure_model_30_a_psk_does_not_show_its_key() -> None:
    """Failure model 30: neither in its words nor in a pickle; and it cannot be changed."""
    psk = aiotls.PSK(IDENTITY, KEY)
    assert (psk.identity, psk.key) == (IDENTITY, KEY)
    assert psk == aiotls.PSK(IDENTITY, KEY) != aiotls.PSK(IDENTITY, KEY[::-1])
    for text in (repr(psk), str(psk), f"{psk}", repr([psk])):
        assert not [form for form in forms(KEY) if form in text]
        assert IDENTITY in text
    with pytest.raises(TypeError):
        pickle.dumps(psk)
    with pytest.raises(dataclasses.FrozenInstanceError):
        psk.key = b"other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: aiotls.PSK(IDENTITY, KEY.decode()),  # type: ignore[arg-type]
        lambda: aiotls.PSK(IDENTITY, [*KEY]),  # type: ignore[arg-type]
        lambda: KEY.hex(),
    ],
)
def test_failure_model_30_errors_do_not_show_keys(
    run: Run,
    version: str,
    wrong: Callable[[], Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Failure model 30: a key in a wrong shape, a wrong key and an unknown one are in no error, no log, no ``repr``."""
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []

    def tell(error: BaseException) -> None:
        texts.append("".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)))

    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        servers = [
            psk_server(),
            psk_server(lambda *_: wrong()),
            psk_server(lambda *_: (KEY,)),
            psk_server(lambda *_: 2 * [KEY]),
        ]
        clients = [
            psk_client(version, lambda _: wrong()),
            psk_client(version, lambda _: (IDENTITY, KEY)),
            psk_client(version, lambda _: aiotls.PSK("nobody", KEY)),
            psk_client(version, lambda _: aiotls.PSK(IDENTITY, KEY * 100)),
            psk_client(version, lambda _: aiotls.PSK("\0", KEY)),
        ]
        for server, client in [
            *((servers[0], client) for client in clients),
            *((each, psk_client(version)) for each in servers[1:]),
        ]:
            for error in await refused(server, client):
                tell(error)
        async with serving(echo, **psk_server()) as listening, to(listening, **psk_client(version)) as socket:
            texts.extend((repr(listening), repr(socket), repr(socket.get_cipher())))

    run(main)
    texts.extend(record.getMessage() for record in caplog.records)
    caplog.clear()  # a record holds the loop
    texts.extend(capfd.readouterr())
    assert len(texts) > 16
    assert not [form for form in forms(KEY) for text in texts if form in text]
