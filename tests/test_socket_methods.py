"""What a `TLSSocket` does: every method that is no mere question, in every stage of its life."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import Pair, tls_pair
from tests.support.pki import named
from tests.support.stages import SIDES, STAGES, VERSIONS, Staged, context, staged
from tests.test_socket_properties import ANSWERS, Row, always, row

PROMISED = {
    "address",
    "get_protocol",
    "get_cipher",
    "get_ephemeral_key_info",
    "get_certificate",
    "get_peer_certificate",
    "get_x509_certificate",
    "get_peer_x509_certificate",
    "get_session",
    "set_session",
    "get_tls_ticket",
    "is_session_reused",
    "get_finished",
    "get_peer_finished",
    "get_shared_sigalgs",
    "export_keying_material",
    "set_servername",
    "set_key_cert",
    "set_max_send_fragment",
    "renegotiate",
    "disable_renegotiation",
    "enable_trace",
    "set_timeout",
    "set_no_delay",
    "set_keep_alive",
    "pause",
    "resume",
    "pipe",
    "end",
    "destroy",
    "reset_and_destroy",
    "is_paused",
    "read",
    "readexactly",
    "readuntil",
    "readline",
    "write",
    "drain",
    "write_eof",
    "close",
    "wait_closed",
    "on",
    "once",
    "off",
}
"""The methods of the contract."""


class Outcome:
    """What comes of a call, other than a plain value."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __repr__(self) -> str:
        return self.words


SELF, WAITS, OWN_ERROR = (Outcome(words) for words in ("the socket", "it waits", "the error of the socket"))
TURNS = 12
"""Whatever is not done after so many turns of the loop waits."""


@functools.cache
def raises(code: str) -> Outcome:
    """An error with this code; without codes, one of this class."""
    return Outcome(f"raises {code}")


UNSAFE = raises("ERR_TLS_INVALID_STATE")
AFTER_END = raises("ERR_STREAM_WRITE_AFTER_END")
DESTROYED = raises("ERR_STREAM_DESTROYED")


def failed(gone: Any, **others: Any) -> Row:
    """After the end; a socket that has failed says why."""
    return {
        **dict.fromkeys(("over", "closed", "destroyed", "gone"), gone),
        "refused": OWN_ERROR,
        "lost": OWN_ERROR,
        **others,
    }


@functools.cache
def session() -> bytes:
    """A client's session, as `get_session` gives it."""
    made = Pair.connected().client.connection.client_session()
    assert made is not None
    return made.encode()


async def entered(socket: aiotls.TLSSocket) -> aiotls.TLSSocket:
    return await socket


class Away:
    """A destination for `pipe`."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


CALLS: dict[str, Callable[[aiotls.TLSSocket], Any]] = {
    "__aiter__": lambda socket: socket.__aiter__(),
    "__anext__": lambda socket: anext(socket),
    "__await__": entered,
    "close": lambda socket: socket.close(),
    "destroy": lambda socket: socket.destroy(),
    "disable_renegotiation": lambda socket: socket.disable_renegotiation(),
    "drain": lambda socket: socket.drain(),
    "enable_trace": lambda socket: socket.enable_trace(),
    "end": lambda socket: socket.end(),
    "end, with data": lambda socket: socket.end(b"x"),
    "off": lambda socket: socket.off("data", print),
    "on": lambda socket: socket.on("timeout", print),
    "once": lambda socket: socket.once("timeout", print),
    "pause": lambda socket: socket.pause(),
    "pipe": lambda socket: isinstance(socket.pipe(Away()), Away),
    "read": lambda socket: socket.read(1),
    "read, nothing": lambda socket: socket.read(0),
    "readexactly": lambda socket: socket.readexactly(1),
    "readline": lambda socket: socket.readline(),
    "readuntil": lambda socket: socket.readuntil(b"x"),
    "renegotiate": lambda socket: socket.renegotiate(),
    "reset_and_destroy": lambda socket: socket.reset_and_destroy(),
    "resume": lambda socket: socket.resume(),
    "set_keep_alive": lambda socket: socket.set_keep_alive(True, 1.0),
    "set_key_cert": lambda socket: socket.set_key_cert(context("server")),
    "set_max_send_fragment": lambda socket: socket.set_max_send_fragment(1024),
    "set_no_delay": lambda socket: socket.set_no_delay(True),
    "set_servername": lambda socket: socket.set_servername("localhost"),
    "set_session": lambda socket: socket.set_session(session()),
    "set_timeout": lambda socket: socket.set_timeout(100.0),
    "wait_closed": lambda socket: socket.wait_closed(),
    "wait_for": lambda socket: socket.wait_for("close"),
    "write": lambda socket: socket.write(b"x"),
    "write_eof": lambda socket: socket.write_eof(),
    "writelines": lambda socket: socket.writelines([b"x", b"y"]),
}

_WRITING = row(True, True, True, None) | {"ended": AFTER_END, "closing": AFTER_END}
_READING = row(WAITS, WAITS, WAITS, None) | failed(DESTROYED)

OUTCOMES: dict[str, Row] = {
    "__aiter__": always(SELF),
    "__anext__": _READING | dict.fromkeys(("heard", "over", "closed"), raises("StopAsyncIteration")),
    "__await__": row(WAITS, WAITS, SELF, None) | failed(DESTROYED),
    "close": always(None),
    "destroy": always(SELF),
    "disable_renegotiation": always(None),
    "drain": always(None) | dict.fromkeys(("refused", "lost"), OWN_ERROR),
    "enable_trace": always(None),
    "end": always(SELF),
    "end, with data": row(SELF, SELF, SELF, None) | {"ended": AFTER_END, "closing": AFTER_END} | failed(DESTROYED),
    "off": always(SELF),
    "on": always(SELF),
    "once": always(SELF),
    "pause": always(SELF),
    "pipe": row(True, True, True, True) | failed(DESTROYED) | {"over": True, "closed": True},
    "read": _READING | dict.fromkeys(("heard", "over", "closed"), b""),
    "read, nothing": always(b""),
    "readexactly": _READING | dict.fromkeys(("heard", "over", "closed"), raises("IncompleteReadError")),
    "readline": _READING | dict.fromkeys(("heard", "over", "closed"), b""),
    "readuntil": _READING | dict.fromkeys(("heard", "over", "closed"), raises("IncompleteReadError")),
    "renegotiate": row(UNSAFE, UNSAFE, UNSAFE, None) | failed(UNSAFE, secure=None),
    "reset_and_destroy": always(SELF),
    "resume": always(SELF),
    "set_keep_alive": always(SELF),
    "set_key_cert": always(UNSAFE),
    "set_max_send_fragment": row(True, True, True, False),
    "set_no_delay": always(SELF),
    "set_servername": always(UNSAFE) | {"created": None, "dialing": None},
    "set_session": always(UNSAFE) | {"created": None, "dialing": None},
    "set_timeout": always(SELF),
    "wait_closed": row(WAITS, WAITS, WAITS, None),
    # It waits for the next one, which does not come when it was there.
    "wait_for": always(WAITS) | {"destroyed": False},
    "write": _WRITING | failed(DESTROYED),
    "write_eof": always(None),
    "writelines": _WRITING | failed(DESTROYED),
}
"""Of a client under TLS 1.2."""

DIFFERENCES: dict[tuple[str, str], Row] = {
    ("server", "set_key_cert"): {"asking": None},
    ("server", "set_servername"): always(raises("ERR_TLS_SNI_FROM_SERVER")),
    ("server", "set_session"): always(UNSAFE),
    ("TLSv1.3", "renegotiate"): {"secure": raises("ERR_SSL_WRONG_SSL_VERSION")},
}


def outcome_of(call: str, stage: str, side: str, version: str) -> Any:
    table = OUTCOMES[call] | DIFFERENCES.get((side, call), {}) | DIFFERENCES.get((version, call), {})
    return table[stage]


async def happens(call: str, scene: Staged, expected: Any) -> Any:
    """What comes of a call, in the words of the table."""
    try:
        result = CALLS[call](scene.socket)
        if inspect.isawaitable(result) and result is not scene.socket:
            result = await _awaited(result, waits=expected is WAITS)
    except (aiotls.TLSError, EOFError, StopAsyncIteration) as error:
        if expected is OWN_ERROR and error in scene.errors:
            return OWN_ERROR
        return raises(getattr(error, "code", type(error).__name__))
    return SELF if result is scene.socket else result


async def _awaited(awaitable: Any, *, waits: bool) -> Any:
    async with asyncio.timeout(5):
        if not waits:
            return await awaitable
        task = asyncio.ensure_future(awaitable)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return WAITS


async def goes_on(scene: Staged, stage: str) -> None:
    """Sees that a socket that is still there does its work: in the directions that have not ended, data flows."""
    mine, other = scene.socket, scene.peer
    if mine.is_closing() or (stage == "dialing" and mine.is_server):
        return
    mine.resume()
    if mine.secure_connecting:
        assert scene.finish is not None
        other = await scene.finish()
    assert other is not None
    if mine.writable:
        mine.write(b"!")
        await other.readuntil(b"!")
    if mine.readable and not mine.listeners("data"):
        other.write(b"!")
        await mine.readuntil(b"!")


# Some 2,000 connections; what depends on the loop is tested elsewhere.
@pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stage", STAGES)
def test_what_comes_of_it(run: Run, stage: str, version: str, side: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Failure model 24: each method answers, waits or raises as the table says, and the connection goes on."""

    async def main() -> None:
        wrong = {}
        for call in CALLS:
            expected = outcome_of(call, stage, side, version)
            async with staged(stage, side, version) as scene:
                happened = await happens(call, scene, expected)
                await goes_on(scene, stage)
            if type(happened) is not type(expected) or happened != expected:
                wrong[call] = (happened, expected)
        assert wrong == {}

    run(main)
    capfd.readouterr()  # what enable_trace has printed


def test_every_method_is_in_a_table() -> None:
    """What is public can be called or told in every stage, and what is promised is there."""
    public = {name for name in dir(aiotls.TLSSocket) if not name.startswith("_")}
    methods = {name for name in public if callable(getattr(aiotls.TLSSocket, name))}
    called = {call.partition(",")[0] for call in CALLS} - {"__aiter__", "__anext__", "__await__"}
    assert methods == called | ANSWERS.keys()
    assert methods >= PROMISED
    assert CALLS.keys() == OUTCOMES.keys()
    assert all(each.keys() == STAGES.keys() for each in OUTCOMES.values())


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("destroy", ("reason",), "ERR_INVALID_ARG_TYPE"),
        ("destroy", (ValueError,), "ERR_INVALID_ARG_TYPE"),
        ("destroy", (False,), "ERR_INVALID_ARG_TYPE"),
        ("pipe", (None,), "ERR_INVALID_ARG_TYPE"),
        ("pipe", (b"bytes",), "ERR_INVALID_ARG_TYPE"),
        ("pipe", (Away,), "ERR_INVALID_ARG_TYPE"),
        ("readuntil", (5,), None),
        ("readuntil", ("text",), None),
        ("readuntil", (None,), None),
        ("set_keep_alive", ("x",), "ERR_INVALID_ARG_TYPE"),
        ("set_keep_alive", (None,), "ERR_INVALID_ARG_TYPE"),
        ("set_keep_alive", (1,), "ERR_INVALID_ARG_TYPE"),
        ("set_keep_alive", (True, "x"), "ERR_INVALID_ARG_TYPE"),
        ("set_keep_alive", (True, True), "ERR_INVALID_ARG_TYPE"),
        ("set_keep_alive", (True, -1), "ERR_OUT_OF_RANGE"),
        ("set_keep_alive", (True, float("nan")), "ERR_OUT_OF_RANGE"),
        ("set_keep_alive", (False, float("inf")), "ERR_OUT_OF_RANGE"),
        ("set_no_delay", ("x",), "ERR_INVALID_ARG_TYPE"),
        ("set_no_delay", (None,), "ERR_INVALID_ARG_TYPE"),
        ("set_no_delay", (5,), "ERR_INVALID_ARG_TYPE"),
        ("set_timeout", ("1",), "ERR_INVALID_ARG_TYPE"),
        ("set_timeout", (True,), "ERR_INVALID_ARG_TYPE"),
        ("set_timeout", (-1,), "ERR_OUT_OF_RANGE"),
        ("set_timeout", (float("nan"),), "ERR_OUT_OF_RANGE"),
        ("set_timeout", (float("inf"),), "ERR_OUT_OF_RANGE"),
        ("set_timeout", (1.0, "listener"), "ERR_INVALID_ARG_TYPE"),
        ("writelines", (b"bytes",), None),
        ("writelines", ([b"x", "text"],), None),
        ("writelines", (5,), None),
    ],
)
def test_wrong_arguments(run: Run, method: str, arguments: tuple[Any, ...], code: str | None) -> None:
    """They are refused at once, and the connection goes on."""

    async def main() -> None:
        async with staged("secure", "client", "TLSv1.3") as scene:
            with pytest.raises((TypeError, ValueError)) as refusal:
                await in_time(getattr(scene.socket, method), *arguments)
            if code is not None:
                assert getattr(refusal.value, "code", None) == code
                assert isinstance(refusal.value, TypeError if code == "ERR_INVALID_ARG_TYPE" else ValueError)
            assert scene.socket.timeout is None
            await goes_on(scene, "secure")

    run(main)


async def in_time(function: Callable[..., Any], *arguments: Any) -> None:
    called = function(*arguments)
    if inspect.iscoroutine(called):
        async with asyncio.timeout(1):
            await called


def test_set_key_cert_when_the_certificate_has_left(run: Run) -> None:
    """The client's own check comes too late to choose: what `get_certificate` tells is what the client has seen."""

    async def main() -> None:
        refused: list[BaseException] = []

        def check(socket: aiotls.TLSSocket, _certificate: aiotls.PeerCertificate) -> None:
            with pytest.raises(aiotls.StateError) as refusal:
                socket.set_key_cert(cert=named.server.chain_pem, key=named.server.key_pem)
            refused.append(refusal.value)

        own = {"cert": named.client_ec.chain_pem, "key": named.client_ec.key_pem}
        asking = {"ca": named.ca.cert_pem, "request_cert": True, "check_client_identity": check}
        async with tls_pair(client=own, server=asking) as (client, server):
            shown, told = client.get_peer_certificate(), server.get_certificate()
            assert len(refused) == 1
            assert shown is not None
            assert told is not None
            assert shown.raw == told.raw == named.server_ec.der

    run(main)
