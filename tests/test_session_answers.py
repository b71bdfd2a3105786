"""Answers to "resume_session" and "new_session" of every kind, and what becomes of the handshake."""

import asyncio
import ssl
from typing import Any

import pytest

import aiotls
from aiotls.constants import SSL_OP_NO_TICKET
from tests.conftest import Run
from tests.support.pki import Named
from tests.support.servers import port_of, to
from tests.support.sessions import (
    NEW,
    WORDS,
    ForeignClient,
    Store,
    first_session,
    keeping,
    long_ago,
    turns,
    visit,
)

INTERNAL_ERROR = 80


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["plain", "async"])
def patiently(request: pytest.FixtureRequest) -> bool:
    """Whether the answer comes some turns of the loop later."""
    return bool(request.param == "async")


class TestAnswers:
    """What "resume_session" answers, and what becomes of it."""

    def test_late(self, run: Run, version: str) -> None:
        async def main() -> None:
            store = Store()
            asked, gate = asyncio.Event(), asyncio.Event()

            async def later(session_id: bytes) -> bytes | None:
                data = store.sessions.get(session_id)
                if data is not None:
                    asked.set()
                    await gate.wait()
                return data

            async with keeping(version) as server:
                server.on("new_session", store.sessions.__setitem__)
                server.on("resume_session", later)
                session = await first_session(server)
                second = asyncio.create_task(visit(server, session=session))
                await asked.wait()
                async with to(server) as other:
                    assert await other.read() == WORDS
                assert not second.done()
                gate.set()
                assert (await second).reused is True

        run(main)

    @pytest.mark.parametrize(
        "answer",
        [
            "nothing",
            "garbage",
            "empty",
            "cut off",
            "followed by more",
            "damaged",
            "of another client",
            "expired",
            "the identifier",
            "megabytes",
        ],
    )
    def test_that_does_not_fit(self, run: Run, version: str, answer: str, patiently: bool) -> None:
        """SES-04: a full handshake, which makes sessions of its own, and never an error."""

        async def main() -> None:
            store = Store()

            def spoil(session_id: bytes, data: bytes) -> bytes | None:
                return {
                    "nothing": None,
                    "garbage": b"INVALID SESSION",
                    "empty": b"",
                    "cut off": data[:-20],
                    "followed by more": long_ago(data) + data,
                    "damaged": data[:8] + bytes(8) + data[16:],
                    "of another client": others[session_id],
                    "expired": long_ago(data),
                    "the identifier": session_id,
                    "megabytes": b"\x30\x84\x00\x80\x00\x00" + bytes(2**23),
                }[answer]

            async def resume(session_id: bytes) -> bytes | None:
                if session_id not in own:
                    return None
                asked.append(session_id)
                if patiently:
                    await turns()
                return spoil(session_id, store.sessions[session_id])

            async with keeping(version) as server:
                errors: list[Any] = []
                asked: list[bytes] = []
                server.on("tls_client_error", lambda error, _: errors.append(error))
                store.serve(server)
                session = await first_session(server)
                own = dict(store.sessions)
                await first_session(server)
                other = next(data for each, data in store.sessions.items() if each not in own)
                others = dict.fromkeys(own, other)
                server.off("resume_session", store._resume_session).on("resume_session", resume)
                for visits in (1, 2):
                    seen = await visit(server, session=session)
                    assert seen.reused is False
                    assert seen.authorized is True
                    assert len(asked) == visits
                assert len(set(store.made)) == 4 * NEW[version]
                assert errors == []

        run(main)

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_kind_of_bytes(self, run: Run, version: str, kind: Any) -> None:
        async def main() -> None:
            store = Store()
            async with keeping(version) as server:
                server.on("new_session", store.sessions.__setitem__)
                server.on("resume_session", lambda session_id: kind(store.sessions.get(session_id, b"")))
                assert (await visit(server, session=await first_session(server))).reused is True

        run(main)

    def test_the_first_listener_that_has_one_counts(self, run: Run, version: str) -> None:
        async def main() -> None:
            store = Store()
            order: list[str] = []

            def nothing(_: bytes) -> None:
                order.append("nothing")

            async def something(session_id: bytes) -> bytes | None:
                await turns()
                order.append("something")
                return store.sessions.get(session_id)

            def garbage(_: bytes) -> bytes:
                return b"garbage"

            async with keeping(version) as server:
                server.on("new_session", store.sessions.__setitem__)
                for listener in (nothing, something, garbage):
                    server.on("resume_session", listener)
                assert (await visit(server, session=await first_session(server))).reused is True
                assert order[:2] == ["nothing", "something"]

        run(main)

    @pytest.mark.parametrize("event", ["new_session", "resume_session"])
    def test_that_raises(self, run: Run, version: str, event: Any, patiently: bool) -> None:
        """That very exception is in "tls_client_error", once; the connection ends, and the next one is served."""

        async def main() -> None:
            store = Store()
            failure = LookupError("the store is down")
            errors: list[Any] = []
            secured: list[aiotls.TLSSocket] = []

            def fail(*_: bytes) -> None:
                raise failure

            async def fail_later(*_: bytes) -> None:
                await turns()
                raise failure

            async with keeping(version) as server:
                store.serve(server)
                session = await first_session(server)
                store.sessions.clear()
                listener = fail_later if patiently else fail
                server.on("tls_client_error", lambda error, _: errors.append(error))
                server.on("secure_connection", secured.append)
                server.on(event, listener)
                client = to(server, session=session if event == "resume_session" else None)
                with pytest.raises((aiotls.TLSError, asyncio.IncompleteReadError)) as refusal:
                    await client.readexactly(1)
                if event == "resume_session":
                    assert getattr(refusal.value, "alert", None) == INTERNAL_ERROR
                assert errors == [failure]
                assert secured == []
                await client.wait_closed()
                server.off(event, listener)
                assert (await visit(server)).authorized is True
                assert errors == [failure]

        run(main)

    @pytest.mark.parametrize("answer", ["text", 1, True, ["list"], object()])
    def test_of_a_wrong_type(self, run: Run, version: str, answer: Any) -> None:
        """It fails the handshake like an exception: ERR_INVALID_ARG_TYPE in "tls_client_error"."""

        async def main() -> None:
            store = Store()
            errors: list[Any] = []
            async with keeping(version) as server:
                store.serve(server)
                session = await first_session(server)
                store.sessions.clear()
                server.on("tls_client_error", lambda error, _: errors.append(error))
                server.on("resume_session", lambda _: answer)
                client = to(server, session=session)
                with pytest.raises(aiotls.AlertReceived) as refusal:
                    await client.readexactly(1)
                assert refusal.value.alert == INTERNAL_ERROR
                (error,) = errors
                assert isinstance(error, TypeError)
                assert error.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]
                await client.wait_closed()

        run(main)


class TestBinding:
    """A store that gives a session to the wrong server does no harm."""

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"session_id_context": "one"}, {"session_id_context": "two"}),
            ({}, {"session_id_context": "two"}),
            ({}, {"request_cert": True, "reject_unauthorized": False}),
            ({"request_cert": True, "reject_unauthorized": False}, {}),
        ],
    )
    def test_another_context(self, run: Run, version: str, first: dict[str, Any], second: dict[str, Any]) -> None:
        async def main() -> None:
            store = Store()
            async with keeping(version, **first) as one, keeping(version, **second) as two:
                store.serve(one)
                store.serve(two)
                session = await first_session(one)
                assert (await visit(two, session=session)).reused is False
                assert len(store.found) == 1
                assert (await visit(one, session=session)).reused is True

        run(main)

    def test_no_way_round_client_certificates(self, run: Run, pki: Named, version: str) -> None:
        """A session without a certificate is of no use where one is asked for."""

        async def main() -> None:
            store = Store()
            errors: list[Any] = []
            strict: dict[str, Any] = {"request_cert": True, "ca": pki.ca.cert_pem}
            async with (
                keeping(version, request_cert=True, reject_unauthorized=False, ca=pki.ca.cert_pem) as lax,
                keeping(version, **strict) as server,
            ):
                store.serve(lax)
                store.serve(server)
                server.on("tls_client_error", lambda error, _: errors.append(error))
                client = to(server, session=await first_session(lax))
                with pytest.raises(aiotls.AlertReceived):
                    await client.readexactly(1)
                (error,) = errors
                assert error.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
                await client.wait_closed()

        run(main)

    def test_another_name(self, run: Run, pki: Named, version: str) -> None:
        """A session made under one server name is not resumed under the name of another context."""

        async def main() -> None:
            store = Store()
            seen: list[tuple[Any, ...]] = []
            foreign = ForeignClient(version)
            identity: dict[str, Any] = {
                "cert": pki.server.chain_pem,
                "key": pki.server.key_pem,
                "secure_options": SSL_OP_NO_TICKET,
            }
            async with keeping(version) as server:
                server.add_context("a.example.com", **identity)
                server.add_context("b.example.com", **identity, ca=pki.ca.cert_pem, request_cert=True)
                store.serve(server)
                server.on("secure_connection", lambda s: seen.append((s.servername, s.is_session_reused())))
                port = port_of(server)
                _, session, _ = await foreign.visit(port, "a.example.com")
                with pytest.raises(ssl.SSLError):
                    await foreign.visit(port, "b.example.com", session)
                for name in ("c.example.com", None):
                    reused, _, words = await foreign.visit(port, name, session)
                    assert (reused, words) == (False, WORDS)
                reused, _, _ = await foreign.visit(port, "A.Example.Com", session)
                assert reused is True
            assert seen == [
                ("a.example.com", False),
                ("c.example.com", False),
                (False, False),
                ("A.Example.Com", True),
            ]

        run(main)
