"""Renegotiation (TLS 1.2): by both sides, its limits, and how it is refused."""

import asyncio
from collections import Counter
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import until
from tests.support.psk import psk_client, psk_server
from tests.support.secured import WAYS, secured
from tests.support.servers import echo, serving, to

TLS12 = {"max_version": "TLSv1.2"}
NO_RENEGOTIATION = 100
"""The alert (RFC 5246, section 7.2.2)."""
ATTACK = ("ERR_TLS_SESSION_ATTACK", "TLS session renegotiation attack detected")
DISABLED = ("ERR_TLS_RENEGOTIATION_DISABLED", "TLS session renegotiation disabled for this socket")


class Counted:
    """Counts what a socket emits."""

    def __init__(self, socket: aiotls.TLSSocket) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[Any] = []
        for event in ("secure", "secure_connect", "ready", "connect", "end", "close"):
            socket.on(event, lambda *_, event=event: self.counts.update([event]))
        socket.on("error", self.errors.append)


async def refused(near: aiotls.TLSSocket) -> Any:
    """Renegotiates, and returns the error with which the peer refuses."""
    with pytest.raises(aiotls.TLSError) as caught:
        await near.renegotiate()
    await until(lambda: near.destroyed)
    return caught.value


async def talk(near: aiotls.TLSSocket, far: aiotls.TLSSocket) -> None:
    """Proves that both directions work."""
    near.write(b"to the server")
    assert await far.readexactly(13) == b"to the server"
    far.write(b"to the client")
    assert await near.readexactly(13) == b"to the client"


def pair_of(side: str, near: aiotls.TLSSocket, far: aiotls.TLSSocket) -> tuple[aiotls.TLSSocket, aiotls.TLSSocket]:
    """The socket of `side`, then the other."""
    return (near, far) if side == "client" else (far, near)


# ---- what may be asked

_NO_BOOLS: tuple[Any, ...] = (1, 0, "yes", b"", [], {})


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("way", WAYS)
def test_reneg_01_tls13_has_none(run: Run, way: str, side: str) -> None:
    """RENEG-01: it raises, nothing is emitted, and the connection goes on."""

    async def main() -> None:
        async with secured(way) as (near, far):
            counted = Counted(near), Counted(far)
            mine, _ = pair_of(side, near, far)
            for _ in range(2):
                with pytest.raises(aiotls.TLSError, match="wrong ssl version") as caught:
                    await mine.renegotiate()
                assert caught.value.code == "ERR_SSL_WRONG_SSL_VERSION"
                assert caught.value.library == "SSL routines"
                assert caught.value.reason == "wrong ssl version"
                await talk(near, far)
            assert [(each.errors, each.counts) for each in counted] == [([], Counter())] * 2

    run(main)


@pytest.mark.parametrize("side", ["client", "server"])
def test_reneg_02_arguments(run: Run, side: str) -> None:
    """RENEG-02: two keywords, each a bool or None."""

    async def main() -> None:
        async with secured(server=TLS12) as (near, far):
            mine, _ = pair_of(side, near, far)
            for keyword in ("request_cert", "reject_unauthorized"):
                for wrong in _NO_BOOLS:
                    with pytest.raises(TypeError, match=keyword) as caught:
                        await mine.renegotiate(**{keyword: wrong})
                    assert getattr(caught.value, "code", None) == "ERR_INVALID_ARG_TYPE"
            with pytest.raises(TypeError):
                await mine.renegotiate(requestCert=True)  # type: ignore[call-arg]
            with pytest.raises(TypeError):
                await mine.renegotiate(True)  # type: ignore[call-arg]
            await mine.renegotiate(request_cert=None, reject_unauthorized=None)
            await talk(near, far)

    run(main)


def test_at_the_wrong_moment(run: Run) -> None:
    """There is nothing to renegotiate before the handshake is done, nor after the end."""

    async def main() -> None:
        async with serving(**TLS12) as server:
            client = to(server)
            with pytest.raises(aiotls.StateError):
                await client.renegotiate()
            await client
            client.destroy()
            with pytest.raises(aiotls.StateError):
                await client.renegotiate()

    run(main)


# ---- it is done


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("way", WAYS)
def test_reneg_02_events(run: Run, way: str, side: str) -> None:
    """RENEG-02: ``"secure"`` once more on both sides; the events of the first handshake do not come again."""

    async def main() -> None:
        async with secured(way, TLS12, {"alpn_protocols": ["h2"]}) as (near, far):
            counted = Counted(near), Counted(far)
            connections: list[aiotls.TLSSocket] = []
            if far.server is not None:
                far.server.on("secure_connection", connections.append)
            before = near.get_finished(), far.get_finished(), near.export_keying_material(32, "EXPERIMENTAL")
            mine, other = pair_of(side, near, far)
            await mine.renegotiate()
            await until(lambda: counted[0].counts and counted[1].counts)
            await talk(near, far)
            assert [each.counts for each in counted] == [Counter({"secure": 1})] * 2
            assert [each.errors for each in counted] == [[], []]
            assert connections == []
            # It was a handshake: what it made is new, and the same on both sides.
            after = near.get_finished(), far.get_finished(), near.export_keying_material(32, "EXPERIMENTAL")
            assert not {*before} & {*after}
            assert near.get_finished() == far.get_peer_finished()
            assert other.export_keying_material(32, "EXPERIMENTAL") == mine.export_keying_material(32, "EXPERIMENTAL")

    run(main)


@pytest.mark.parametrize("side", ["client", "server"])
def test_what_stays(run: Run, side: str) -> None:
    """Who the peer is, what was agreed on, and the sessions that were told."""

    async def main() -> None:
        def look(socket: aiotls.TLSSocket) -> tuple[Any, ...]:
            return (
                socket.get_protocol(),
                socket.get_cipher(),
                socket.alpn_protocol,
                socket.servername,
                socket.authorized,
                socket.authorization_error,
                socket.get_peer_certificate(),
            )

        options: dict[str, Any] = {"alpn_protocols": ["http/1.1", "h2"]}
        async with secured(server={**TLS12, **options}, client={"alpn_protocols": ["h2"]}) as (near, far):
            sessions: list[bytes] = []
            near.on("session", sessions.append)
            before = look(near), look(far)
            assert before[0][2] == before[1][2] == "h2"
            mine, _ = pair_of(side, near, far)
            for _ in range(3):
                await mine.renegotiate()
            await talk(near, far)
            assert (look(near), look(far)) == before
            assert len({*sessions}) == len(sessions)

    run(main)


def test_with_a_pre_shared_key(run: Run) -> None:
    """The key is asked for again, and the client stays sure of the server."""

    async def main() -> None:
        async with secured(server=psk_server(), client=psk_client("TLSv1.2")) as (near, far):
            await near.renegotiate()
            await far.renegotiate()
            await talk(near, far)
            assert near.authorized is True
            assert near.authorization_error is None

    run(main)


def test_several_at_once(run: Run) -> None:
    """Whoever awaits is told when it is done, or that one is under way already."""

    async def main() -> None:
        async with secured(server=TLS12) as (near, far):
            done = await asyncio.gather(*(near.renegotiate() for _ in range(3)), return_exceptions=True)
            assert None in done
            assert all(each is None or isinstance(each, aiotls.StateError) for each in done)
            await asyncio.gather(near.renegotiate(), far.renegotiate())
            await talk(near, far)

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_asked_while_one_is_under_way(run: Run, way: str) -> None:
    """A server is done a flight before its client, who may already want the next one."""

    async def main() -> None:
        async with secured(way, TLS12) as (near, far):
            await far.renegotiate()
            await near.renegotiate()
            await far.renegotiate()
            await near.renegotiate()
            await near.renegotiate()
            await talk(near, far)

    run(main)


def test_while_paused(run: Run) -> None:
    """A pause holds back data, and no handshake for ever: what was asked is done at the latest with `resume`."""

    async def main() -> None:
        for side in ("client", "server"):
            async with secured(server=TLS12) as (near, far):
                mine, other = pair_of(side, near, far)
                other.pause()
                other.on("data", lambda _: None)
                mine.write(b"x" * 100)
                task = asyncio.create_task(mine.renegotiate())
                await asyncio.sleep(0)
                other.resume()
                await task

    run(main)


# ---- the limit


@pytest.mark.parametrize("listening", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_reneg_02_the_limit(run: Run, way: str, listening: bool, loop_errors: list[dict[str, Any]]) -> None:
    """RENEG-02, failure model 13: three within ten minutes; the fourth ends the connection, listener or not."""

    async def main() -> None:
        async with secured(way, TLS12) as (near, far):
            errors: list[Any] = []
            rejected: list[Any] = []
            if listening:
                far.on("error", errors.append)
            if far.server is not None:
                far.server.on("tls_client_error", lambda *arguments: rejected.append(arguments))
            for _ in range(3):
                await near.renegotiate()
            if listening:
                await talk(near, far)
            secure = Counted(near).counts, Counted(far).counts if listening else Counter()
            _look_at_alert(await refused(near))
            await until(lambda: far.destroyed)
            assert not any(counts["secure"] for counts in secure)
            if listening:
                await until(lambda: errors)
            elif way in ("wrapped", "memory"):
                # Somebody has awaited this socket, so its error waits for the next one who does.
                with pytest.raises(aiotls.RenegotiationError) as caught:
                    await far.read()
                errors.append(caught.value)
            else:
                await until(lambda: loop_errors)
                errors += [context["exception"] for context in loop_errors]
                loop_errors.clear()
            (error,) = errors
            assert isinstance(error, aiotls.RenegotiationError)
            assert (error.code, error.message) == ATTACK
            assert rejected == []

    run(main)


def _look_at_alert(error: Any) -> None:
    assert isinstance(error, aiotls.PeerError)
    assert error.alert == NO_RENEGOTIATION


def test_the_limit_is_told_to_who_reads(run: Run) -> None:
    """Data that came before is read, then the error."""

    async def main() -> None:
        async with secured(server=TLS12) as (near, far):
            near.write(b"before")
            assert await far.readexactly(6) == b"before"
            for _ in range(3):
                await near.renegotiate()
            near.write(b"after")
            await refused(near)
            assert await far.readexactly(5) == b"after"
            with pytest.raises(aiotls.RenegotiationError) as caught:
                await far.read()
            assert caught.value.code == ATTACK[0]

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_the_defaults(run: Run, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``client_reneg_limit`` counts within ``client_reneg_window``; both are read when the server is made."""

    async def main() -> None:
        monkeypatch.setattr(aiotls.defaults, "client_reneg_limit", 1)
        async with secured(way, TLS12) as (near, far):
            monkeypatch.setattr(aiotls.defaults, "client_reneg_limit", 100)
            counted = Counted(far)
            await near.renegotiate()
            await refused(near)
            await until(lambda: counted.errors)
            assert counted.errors[0].code == ATTACK[0]

        monkeypatch.setattr(aiotls.defaults, "client_reneg_limit", 1)
        monkeypatch.setattr(aiotls.defaults, "client_reneg_window", 1e-9)
        async with secured(way, TLS12) as (near, far):
            for _ in range(10):
                await near.renegotiate()
            await talk(near, far)

        monkeypatch.setattr(aiotls.defaults, "client_reneg_limit", 0)
        async with secured(way, TLS12) as (near, far):
            counted = Counted(far)
            await refused(near)
            await until(lambda: counted.errors)
            assert counted.errors[0].code == ATTACK[0]

    run(main)


def test_the_limit_counts_for_each_connection(run: Run) -> None:
    async def main() -> None:
        async with serving(echo, **TLS12) as server:
            clients = [await to(server) for _ in range(3)]
            for client in clients:
                for _ in range(3):
                    await client.renegotiate()
            for client in clients:
                client.close()
                await client.wait_closed()

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_what_the_server_asks_for_does_not_count(run: Run, way: str) -> None:
    """The limit is the client's: the server may renegotiate as it likes, and the client still has its three."""

    async def main() -> None:
        async with secured(way, TLS12) as (near, far):
            counted, client = Counted(far), Counted(near)
            for _ in range(6):
                await far.renegotiate()
                await until(lambda: client.counts == counted.counts)
            for _ in range(3):
                await near.renegotiate()
            await talk(near, far)
            await refused(near)
            await until(lambda: counted.errors)
            assert counted.errors[0].code == ATTACK[0]

    run(main)


# ---- disabled


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("way", WAYS)
def test_reneg_02_disabled(run: Run, way: str, side: str) -> None:
    """RENEG-02: the refusing side emits the error once and closes; the peer's await raises."""

    async def main() -> None:
        async with secured(way, TLS12) as (near, far):
            mine, other = pair_of(side, near, far)
            counted = Counted(mine), Counted(other)
            rejected: list[Any] = []
            if far.server is not None:
                far.server.on("tls_client_error", lambda *arguments: rejected.append(arguments))
            mine.disable_renegotiation()
            await talk(near, far)
            _look_at_alert(await refused(other))
            await until(lambda: counted[0].counts["close"] and counted[1].counts["close"])
            (error,) = counted[0].errors
            assert isinstance(error, aiotls.RenegotiationError)
            assert (error.code, error.message) == DISABLED
            assert not counted[0].counts["secure"]
            assert not counted[1].counts["secure"]
            assert rejected == []

    run(main)


def test_reneg_02_disabled_by_a_listener(run: Run) -> None:
    """RENEG-02: the first goes well; a data listener of the server then forbids the next."""

    async def main() -> None:
        async with secured(server=TLS12) as (near, far):
            counted = Counted(near), Counted(far)
            disabled = asyncio.Event()

            def disable(_data: bytes) -> None:
                far.disable_renegotiation()
                disabled.set()

            far.on("data", disable)
            await near.renegotiate()
            near.write(b"now")
            await disabled.wait()
            await refused(near)
            await until(lambda: counted[1].counts["close"])
            assert [error.code for error in counted[1].errors] == [DISABLED[0]]
            assert [each.counts["secure"] for each in counted] == [1, 1]

    run(main)


def test_disabled_and_nobody_listens(run: Run, loop_errors: list[dict[str, Any]]) -> None:
    async def main() -> None:
        async with secured(server=TLS12) as (near, far):
            far.disable_renegotiation()
            await refused(near)
            await until(lambda: loop_errors)
            (context,) = loop_errors
            assert context["exception"].code == DISABLED[0]
            loop_errors.clear()
            assert far.destroyed

    run(main)
