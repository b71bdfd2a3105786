"""Functions and listeners of the user that misbehave: the connection fails closed, and nobody else notices.

One table: every function that a connection asks or tells something, and every way to get it wrong.
"""

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import server_options, until
from tests.support.pki import named
from tests.support.servers import port_of, to

Errors = list[dict[str, Any]]

PATIENCE = 8.0
"""Seconds to wait for a connection to end: one that stays open fails the test."""
TIMEOUT = 0.25
"""The `handshake_timeout`, in seconds, of a function that never answers."""
SECRET = bytes(range(32))


class Mistake(Exception):
    """What the user's function raises."""


class Interruption(BaseException):
    """Like KeyboardInterrupt, but nothing that may end a loop."""


RAISED: dict[str, type[BaseException]] = {
    "Exception": Mistake,
    "CancelledError": asyncio.CancelledError,
    "BaseException": Interruption,
    "StopIteration": StopIteration,
    "GeneratorExit": GeneratorExit,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One function of the user."""

    name: Any
    place: str
    """Where it is installed: ``"server"``, ``"accepted"`` (one of its sockets), ``"client"``, or ``"other"``."""
    option: bool = False
    """An option, not a listener."""
    question: bool = False
    """The handshake waits for its answer."""
    told: tuple[str, ...] = ("tls_client_error", "socket", "client", "server", "loop")
    """Who may be told."""
    answer: Callable[["Scene"], Any] = lambda scene: None
    """The right answer."""
    wrong: Any = ...
    """An answer of the wrong type."""
    alert: int | None = None
    """What the peer hears when the function raises."""
    styles: tuple[str, ...] = ("plain", "async")
    server: Callable[[], dict[str, Any]] = dict
    client: Callable[[], dict[str, Any]] = dict
    course: Callable[["Scene"], Awaitable[None]] | None = None
    """How it comes to be called; by default a client says something."""
    early: bool = False
    """A listener of an accepted socket that must be there before the handshake."""
    ends: bool = False
    """It is called when the client has ended."""
    label: str = ""

    @property
    def id(self) -> str:
        return f"{self.place}-{self.name}{self.label}"

    @property
    def kinds(self) -> Iterator[tuple[str, str]]:
        """The styles and ways to misbehave that apply."""
        for style in self.styles:
            for kind in RAISED:
                yield style, kind
            if self.wrong is not ...:
                yield style, "wrong type"
            if self.question:
                yield style, "after close"
                if style == "async":
                    yield style, "never answers"


class Scene:
    """A server and its clients, and what anybody was told."""

    def __init__(self, row: Row, style: str, kind: str) -> None:
        self.row, self.kind = row, kind
        self.failing = False
        self.reports: list[tuple[str, BaseException]] = []
        self.calls = 0
        self.secured = 0
        self.client_secured = 0
        self.received = bytearray()
        self.stored: dict[bytes, bytes] = {}
        self.session: bytes | None = None
        self.wanted: Any = None
        self.last: aiotls.TLSSocket
        self.asked, self.gone, self.answered = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.function = self.plain if style == "plain" else self.later
        options = {"handshake_timeout": TIMEOUT} if kind == "never answers" and row.place == "server" else {}
        own = {row.name: self.function} if row.option and row.place == "server" else {}
        self.server = aiotls.create_server(self.accept, **server_options(**{**options, **row.server(), **own}))
        self.server.on("tls_client_error", lambda error, _: self.reports.append(("tls_client_error", error)))
        self.server.on("error", lambda error: self.reports.append(("server", error)))
        if row.place == "server" and not row.option:
            self.server.on(row.name, self.function)
        if row.early:
            self.server.on("connection", lambda socket: socket.on(row.name, self.function) if self.failing else None)
        if row.name == "resume_session":
            self.server.on("new_session", self.stored.__setitem__)

    # ---- the function

    def plain(self, *arguments: Any) -> Any:
        self.wanted = arguments[0] if arguments else None
        if not self.failing:
            return self.row.answer(self)
        self.calls += 1
        if self.kind == "wrong type":
            return self.row.wrong
        if self.kind == "after close":
            self.close_all()
            return self.row.answer(self)
        raise RAISED[self.kind]("a mistake of the user")

    async def later(self, *arguments: Any) -> Any:
        failing, self.wanted = self.failing, arguments[0] if arguments else None
        await asyncio.sleep(0)
        if not failing:
            return self.row.answer(self)
        self.calls += 1
        if self.kind == "never answers":
            await asyncio.Event().wait()
        if self.kind == "after close":
            self.asked.set()
            while not self.gone.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await self.gone.wait()
            self.answered.set()
            return self.row.answer(self)
        if self.kind == "wrong type":
            return self.row.wrong
        raise RAISED[self.kind]("a mistake of the user")

    def close_all(self) -> None:
        if self.row.place == "client":
            self.last.destroy()
        else:
            self.server.close_all_connections()

    # ---- the connections

    def accept(self, socket: aiotls.TLSSocket) -> None:
        self.secured += self.failing
        socket.on("error", lambda error: self.reports.append(("socket", error)))
        socket.on("data", socket.write)
        if self.row.place == "accepted" and not self.row.early and self.failing:
            socket.on(self.row.name, self.function)

    def client(self, **options: Any) -> aiotls.TLSSocket:
        own: dict[str, Any] = {"session": self.session} if self.session else {}
        if self.row.place == "client" and self.row.option:
            own[self.row.name] = self.function
        if self.failing and self.kind == "never answers" and self.row.place == "client":
            own["handshake_timeout"] = TIMEOUT
        self.last = client = to(self.server, **{**self.row.client(), **own, **options})
        client.on("secure_connect", self.client_secure)
        client.on("data", self.received.extend)
        client.on("error", lambda error: self.reports.append(("client", error)))
        if self.row.place == "client" and not self.row.option and self.failing:
            client.on(self.row.name, self.function)
        return client

    def client_secure(self) -> None:
        self.client_secured += self.failing

    async def serve_one(self, **options: Any) -> bytes:
        """One client that says something and ends; returns the answer."""
        self.received.clear()
        client = self.client(**options)
        client.end(b"ping")
        await self.closed(client)
        return bytes(self.received)

    async def closed(self, client: aiotls.TLSSocket) -> None:
        """Waits until both ends of the connection are closed."""
        async with asyncio.timeout(PATIENCE):
            if not client.destroyed:
                await client.wait_for("close")
            await until(lambda: not self.server.get_connections())

    async def misbehave(self) -> None:
        """Lets the function do it."""
        self.failing = True
        if self.row.course is not None:
            await self.row.course(self)
        else:
            await talk(self)
        async with asyncio.timeout(PATIENCE):
            await until(lambda: self.calls)
        self.failing = False

    async def settle(self, loop_errors: Errors) -> None:
        """Lets what is still under way come to an end, and takes over what the loop was told."""
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
        for report in loop_errors:
            self.reports.append(("loop", report.get("exception") or RuntimeError(report["message"])))
        loop_errors.clear()


# ---- what makes a connection call its functions


async def talk(scene: Scene) -> None:
    """A client that says something, and leaves the ending to the server where it can."""
    client = scene.client()
    client.write(b"ping")
    if scene.row.ends:
        client.end()
    if scene.kind == "after close" and scene.function == scene.later:
        await scene.asked.wait()
        scene.close_all()
        await scene.closed(client)
        scene.gone.set()
        await scene.answered.wait()
    await scene.closed(client)


async def reset_after_an_answer(scene: Scene) -> None:
    client = scene.client()
    client.write(b"ping")
    await client.wait_for("data")
    client.reset_and_destroy()
    await scene.closed(client)


async def distrust(scene: Scene) -> None:
    await scene.closed(scene.client(ca=named.ca_b.cert_pem))


async def no_tls(scene: Scene) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(scene.server))
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    await until(lambda: not scene.server.get_connections())


async def one_too_many(scene: Scene) -> None:
    async with to(scene.server) as first:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port_of(scene.server))
        with contextlib.suppress(ConnectionError):
            assert await _reader.read() == b""
        writer.close()
        first.end(b"ping")
        assert await first.read() == b"ping"
    await until(lambda: not scene.server.get_connections())


async def listen_where_somebody_is(scene: Scene) -> None:
    other = aiotls.create_server(**server_options())
    other.on("error", scene.function)
    with contextlib.suppress(aiotls.ConnectError):
        await other.listen(port_of(scene.server), "127.0.0.1")
    other.close()
    await other.wait_closed()


async def close_another(scene: Scene) -> None:
    other = aiotls.create_server(**server_options())
    other.on("close", scene.function)
    await other.listen(0, "127.0.0.1")
    other.close()
    await other.wait_closed()


# ---- the table

QUESTION: dict[str, Any] = {"place": "server", "question": True, "told": ("tls_client_error",), "alert": 80}
OF_CLIENT: dict[str, Any] = {"place": "client", "question": True, "option": True, "told": ("client",)}
STATEFUL = {"secure_options": aiotls.constants.SSL_OP_NO_TICKET}


def psk_rows(version: str) -> Iterator[Row]:
    versioned = {"ciphers": "PSK+HIGH", "max_version": version}
    common: dict[str, Any] = {
        "name": "psk_callback",
        "option": True,
        "styles": ("plain",),
        "wrong": "text",
        "label": f"-{version}",
    }
    yield Row(
        **{**QUESTION, **common, "alert": None},
        answer=lambda scene: SECRET,
        server=lambda: versioned,
        client=lambda: {"ciphers": "PSK+HIGH", "psk_callback": lambda hint: aiotls.PSK("client", SECRET)},
    )
    yield Row(
        **{**OF_CLIENT, **common},
        answer=lambda scene: aiotls.PSK("client", SECRET),
        server=lambda: {**versioned, "psk_callback": lambda socket, identity: SECRET},
        client=lambda: {"ciphers": "PSK+HIGH"},
    )


def certificate_rows(version: str) -> Iterator[Row]:
    yield Row(
        **{**QUESTION, "alert": 42},
        name="check_client_identity",
        option=True,
        wrong=ValueError("returned, not raised"),
        server=lambda: {"request_cert": True, "ca": named.ca.cert_pem, "max_version": version},
        client=lambda: {"cert": named.client_ec.chain_pem, "key": named.client_ec.key_pem},
        label=f"-{version}",
    )
    yield Row(
        **{**OF_CLIENT, "alert": 42},
        name="check_server_identity",
        wrong=ValueError("returned, not raised"),
        server=lambda: {"max_version": version},
        label=f"-{version}",
    )


def session_rows(version: str, **options: Any) -> Iterator[Row]:
    label = f"-{version}{'-stateful' if options else ''}"
    server = {"max_version": version, **options}
    told = ("tls_client_error", "socket")
    yield Row(**{**QUESTION, "alert": None, "told": told}, name="new_session", server=lambda: server, label=label)
    if options:
        yield Row(
            **QUESTION,
            name="resume_session",
            answer=lambda scene: scene.stored.get(scene.wanted),
            wrong="text",
            server=lambda: server,
            client=lambda: {"max_version": version},
            label=label,
        )


QUESTIONS = [
    Row(**QUESTION, name="sni_callback", option=True, wrong="text"),
    Row(
        **QUESTION,
        name="alpn_callback",
        option=True,
        answer=lambda scene: "h2",
        wrong=5,
        client=lambda: {"alpn_protocols": ["h2"]},
    ),
    Row(**QUESTION, name="ocsp_request", wrong="text", client=lambda: {"request_ocsp": True}),
    *(row for version in ("TLSv1.2", "TLSv1.3") for row in (*psk_rows(version), *certificate_rows(version))),
    *session_rows("TLSv1.3"),
    *session_rows("TLSv1.2", **STATEFUL),
    *session_rows("TLSv1.3", **STATEFUL),
]
LISTENERS = [
    Row(place="server", name="connection"),
    Row(place="server", name="secure_connection"),
    Row(place="server", name="keylog"),
    Row(place="server", name="tls_client_error", course=no_tls),
    Row(place="server", name="drop", course=one_too_many, server=lambda: {"max_connections": 1}),
    Row(place="other", name="error", course=listen_where_somebody_is),
    Row(place="other", name="close", course=close_another),
    Row(place="accepted", name="secure", early=True),
    Row(place="accepted", name="data"),
    Row(place="accepted", name="end", ends=True),
    Row(place="accepted", name="close", ends=True),
    Row(place="accepted", name="error", course=reset_after_an_answer),
    Row(place="client", name="secure"),
    Row(place="client", name="secure_connect"),
    Row(place="client", name="keylog"),
    Row(place="client", name="session"),
    Row(place="client", name="ocsp_response", client=lambda: {"request_ocsp": True}),
    Row(place="client", name="data"),
    Row(place="client", name="end", ends=True),
    Row(place="client", name="close", ends=True),
    Row(place="client", name="error", course=distrust),
]
CASES = [(row, style, kind) for row in (*QUESTIONS, *LISTENERS) for style, kind in row.kinds]


@pytest.mark.parametrize(
    ("row", "style", "kind"), CASES, ids=[f"{row.id}-{style}-{kind.replace(' ', '_')}" for row, style, kind in CASES]
)
def test_functions_that_misbehave(run: Run, loop_errors: Errors, row: Row, style: str, kind: str) -> None:
    """Failure model 18 and 19, CVE-2026-21637, CVE-2026-27448, CVE-2025-59465, PSK-01.

    It is reported once, the connection fails closed, nothing is left, and the next client is served.
    """

    async def main() -> None:
        scene = Scene(row, style, kind)
        async with scene.server:
            await scene.server.listen(0, "127.0.0.1")
            if row.name == "resume_session":
                await keep_a_session(scene)
            assert await scene.serve_one() == b"ping"
            assert scene.reports == []
            scene.received.clear()
            await scene.misbehave()
            received = bytes(scene.received)
            await scene.settle(loop_errors)
            check(scene, style, received)
            scene.reports.clear()
            assert await scene.serve_one() == b"ping", "the next client is served"
            assert scene.reports == []

    run(main)


def check(scene: Scene, style: str, received: bytes) -> None:
    """Whether the right ones were told, and the connection was refused where it had to be."""
    row, kind, reports = scene.row, scene.kind, scene.reports
    if kind in RAISED:
        mine = [channel for channel, error in reports if caused_by(error, RAISED[kind])]
    elif kind == "wrong type":
        mine = [channel for channel, error in reports if channel in row.told and is_answer_error(error)]
    elif kind == "never answers":
        mine = [channel for channel, error in reports if isinstance(error, aiotls.HandshakeTimeout)]
    else:
        mine = [row.told[0]]  # nothing went wrong, so nothing need be said
    # Each call of an async function has an exception of its own; one that is cancelled may be so by the loop's end.
    least = 0 if kind == "CancelledError" and style == "async" and not row.question else 1
    most = scene.calls if style == "async" else 1
    assert least <= len(mine) <= most, reports
    assert {*mine} <= {*row.told}, reports
    others = [channel for channel, _ in reports]
    for channel in mine if kind != "after close" else ():
        others.remove(channel)
    assert "loop" not in others, reports
    assert max((others.count(channel) for channel in others), default=0) <= 1, reports
    if row.question:
        assert received == b""
        assert scene.secured == 0 or row.place == "client", "a server does not serve it"
        assert scene.client_secured == 0 or row.place == "server", "a client does not use it"
        if kind in RAISED and row.alert is not None:
            heard = [error.alert for _, error in reports if isinstance(error, aiotls.AlertReceived)]
            assert heard == [row.alert], reports


def caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if type(error) is kind:
            return True
        error = error.__cause__ or error.__context__
    return False


def is_answer_error(error: BaseException) -> bool:
    return isinstance(error, aiotls.TLSError) and error.code in (
        "ERR_INVALID_ARG_TYPE",
        "ERR_TLS_ALPN_CALLBACK_INVALID_RESULT",
    )


async def keep_a_session(scene: Scene) -> None:
    """A first connection, whose session the others offer."""
    client = scene.client()
    client.on("session", lambda data: setattr(scene, "session", data))
    client.write(b"ping")
    await client.wait_for("data")
    assert scene.session
    client.close()
    await scene.closed(client)
