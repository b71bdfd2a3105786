"""connect: its forms, its options, and what it says when there is no way to the server."""

import asyncio
import gc
import socket as sockets
import weakref
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import client_options, server_options, streams, tcp_pair, until
from tests.support.pki import Named, named
from tests.support.servers import echo, port_of, serving, to


def refused_port() -> int:
    """A port that nobody listens on."""
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---- forms


def test_forms(run: Run) -> None:
    """Host and port in either order, told apart by type, or by name; a listener as the last argument."""

    async def main() -> None:
        async with serving(echo) as server:
            port = port_of(server)
            calls: list[str] = []
            forms: list[tuple[Any, Any]] = [
                (("127.0.0.1", port), {}),
                ((port, "127.0.0.1"), {}),
                ((port,), {"host": "127.0.0.1"}),
                (("127.0.0.1",), {"port": port}),
                ((), {"host": "127.0.0.1", "port": port}),
                ((port, lambda: calls.append("port")), {"host": "127.0.0.1"}),
                (("127.0.0.1", port, lambda: calls.append("both")), {}),
            ]
            for arguments, options in forms:
                socket = aiotls.connect(*arguments, **{**client_options(), **options})
                assert isinstance(socket, aiotls.TLSSocket)
                assert socket.connecting
                assert socket.secure_connecting
                assert socket.pending
                assert socket.ready_state == "opening"
                assert await socket is socket
                assert not socket.connecting
                assert not socket.pending
                assert socket.ready_state == "open"
                await socket
                socket.close()
                await socket.wait_closed()
            assert calls == ["port", "both"]

    run(main)


def test_the_default_host_is_localhost(run: Run) -> None:
    """AUTH-07: for the connection, the server name and the certificate."""

    async def main() -> None:
        async with aiotls.create_server(echo, **server_options()) as server:
            await server.listen(0)
            async with aiotls.connect(port_of(server), ca=named.ca.cert_pem) as client:
                assert client.authorized
                assert client.servername == "localhost"

    run(main)


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        ((), {}, "port"),
        (("localhost",), {}, "port"),
        ((1,), {"port": 1}, "port"),
        (("localhost", 1), {"host": "x"}, "host"),
        (("localhost", 1, 2), {}, "host"),
        (("localhost", 70000), {}, "port"),
        (("localhost", -1), {}, "port"),
        (("localhost", "http"), {}, "port"),
        (("localhost", True), {}, "port"),
        ((b"localhost", 1), {}, "host"),
        (("nul\0byte", 1), {}, "host"),
        (("localhost", 1), {"servername": "127.0.0.1"}, "servername"),
        (("localhost", 1), {"servername": "::1"}, "servername"),
        (("localhost", 1), {"servername": 1}, "servername"),
        (("localhost", 1), {"lookup": "foobar"}, "lookup"),
        (("localhost", 1), {"lookup": 1}, "lookup"),
        (("localhost", 1), {"lookup": {}}, "lookup"),
        (("localhost", 1), {"lookup": []}, "lookup"),
        (("localhost", 1), {"lookup": False}, "lookup"),
        (("localhost", 1), {"lookup": 0}, "lookup"),
        (("localhost", 1), {"lookup": ""}, "lookup"),
        (("localhost", 1), {"family": 5}, "family"),
        (("localhost", 1), {"family": "IPv4"}, "family"),
        (("localhost", 1), {"local_port": 70000}, "local_port"),
        (("localhost", 1), {"local_address": 1}, "local_address"),
        (("localhost", 1), {"handshake_timeout": 0}, "handshake_timeout"),
        (("localhost", 1), {"handshake_timeout": "1"}, "handshake_timeout"),
        (("localhost", 1), {"close_timeout": -1}, "close_timeout"),
        (("localhost", 1), {"timeout": -1}, "timeout"),
        (("localhost", 1), {"check_server_identity": "no"}, "check_server_identity"),
        (("localhost", 1), {"secure_context": {}}, "secure_context"),
        (("localhost", 1), {"path": ""}, "path"),
        (("localhost", 1), {"path": 1}, "path"),
        (("localhost", 1), {"socket": 1}, "socket"),
        (("localhost", 1), {"rejectUnauthorized": False}, "reject_unauthorized"),
        (("localhost", 1), {"server_name": "x"}, "servername"),
    ],
)
def test_wrong_arguments(run: Run, arguments: Any, options: dict[str, Any], name: str) -> None:
    """SNI-01, CONN-06, CONN-14: raised at once; nothing is opened, nothing stays behind."""

    async def main() -> None:
        with pytest.raises((TypeError, ValueError), match=name):
            aiotls.connect(*arguments, **options)
        assert len(asyncio.all_tasks()) == 1

    run(main)


def test_a_cipher_that_does_not_exist(run: Run) -> None:
    """CONN-14, CIPH-01: known before anything is opened."""

    async def main() -> None:
        with pytest.raises(ValueError, match="no cipher match") as failure:
            aiotls.connect("127.0.0.1", refused_port(), ciphers="rick-128-roll")
        assert failure.value.code == "ERR_SSL_NO_CIPHER_MATCH"  # type: ignore[attr-defined]

    run(main)


def test_outside_of_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        aiotls.connect("127.0.0.1", 1)


# ---- events and options


def test_events_of_a_connection(run: Run) -> None:
    """ "lookup" for each address, "connect", "secure", "secure_connect", "ready", each once and in this order."""

    async def main() -> None:
        async with serving(lambda socket: socket.end(b"x")) as server:
            events: list[Any] = []
            client = aiotls.connect("127.0.0.1", port_of(server), **client_options())
            client.on("lookup", lambda *arguments: events.append(("lookup", *arguments)))
            for name in ("connect", "secure", "secure_connect", "ready", "data", "end", "close"):
                client.on(name, lambda *_, name=name: events.append(name))
            await client.wait_for("close")
            assert events == [
                ("lookup", None, "127.0.0.1", "IPv4", "127.0.0.1"),
                "connect",
                "secure",
                "secure_connect",
                "ready",
                "data",
                "end",
                "close",
            ]

    run(main)


def test_secure_context(run: Run, pki: Named) -> None:
    """CONN-03, AUTH-09: a shared context decides; context options beside it are an error."""

    async def main() -> None:
        async with serving(echo, cert=pki.leaf_a.chain_pem, key=pki.leaf_a.key_pem) as server:
            context = aiotls.create_secure_context(
                ca=pki.ca_a.cert_pem, ciphers=None, passphrase=None, sigalgs=None, session_timeout=None
            )
            for _ in range(2):
                target = ("127.0.0.1", port_of(server))
                async with aiotls.connect(*target, servername="agent1", secure_context=context) as client:
                    assert client.authorized
            with pytest.raises(aiotls.VerificationError) as failure:
                await aiotls.connect(*target, servername="agent1", secure_context=aiotls.create_secure_context())
            assert failure.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
            with pytest.raises(TypeError, match="ca belongs to the secure context"):
                aiotls.connect(*target, secure_context=context, ca=pki.ca_a.cert_pem)

    run(main)


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"host": "localhost"}, "localhost"),
        ({"host": "localhost.", "lookup": lambda *_: "127.0.0.1"}, "localhost"),
        ({"host": "LocalHost"}, "localhost"),
        ({"host": "127.0.0.1"}, False),
        ({"host": "localhost", "servername": False}, False),
        ({"host": "localhost", "servername": ""}, False),
        ({"host": "127.0.0.1", "servername": "a.example.com"}, "a.example.com"),
    ],
)
def test_server_name(run: Run, options: dict[str, Any], sent: str | bool) -> None:
    """SNI-08, SNI-09: what is sent, and what the certificate is verified for."""

    async def main() -> None:
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        async with aiotls.create_server(accepted.put_nowait, **server_options()) as server:
            await server.listen(0)
            client = aiotls.connect(port=port_of(server), ca=named.ca.cert_pem, **options)
            await client
            assert client.authorized
            socket = await accepted.get()
            name = socket.servername
            assert (name.lower() if isinstance(name, str) else name) == sent
            socket.end()
            async with client:
                pass

    run(main)


def test_local_address_and_port(run: Run) -> None:
    """CONN-09, CONN-10."""

    async def main() -> None:
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        async with serving(accepted.put_nowait) as server:
            async with to(server, local_address="127.0.0.2", family=4) as client:
                socket = await accepted.get()
                assert socket.remote_address == client.local_address == "127.0.0.2"
                assert client.local_family == "IPv4"
                socket.end()
            port = refused_port()
            async with to(server, local_port=port, family=4) as client:
                socket = await accepted.get()
                assert socket.remote_port == client.local_port == port
                assert client.remote_port == port_of(server)
                socket.reset_and_destroy()
                with pytest.raises(aiotls.ConnectionLost):
                    await client.read()

    run(main)


def test_socket_options(run: Run) -> None:
    """CONN-04, CONN-12: no_delay by default; keep-alive and the idle timeout when asked for; also before connecting."""

    async def main() -> None:
        async with serving(echo) as server:
            client = to(server, keep_alive=True, keep_alive_initial_delay=30.0, timeout=1.0)
            assert client.timeout == 1.0
            assert client.set_no_delay(True) is client
            assert client.set_keep_alive(True, 30.0) is client
            assert client.set_timeout(1.5) is client
            async with client:
                assert client.timeout == 1.5
                wire = client._wire
                assert wire is not None
                below = sockets.socket(fileno=wire.fileno())
                try:
                    assert below.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY)
                    assert below.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE)
                    assert below.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_KEEPIDLE) == 30
                    client.set_no_delay(False)
                    assert not below.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY)
                finally:
                    below.detach()
                client.end(b"x")
                assert await client.read() == b"x"

    run(main)


def test_path_goes_before_host_and_port(run: Run, tmp_path: Path) -> None:
    """CONN-02."""

    async def main() -> None:
        path = tmp_path / "s"
        async with (
            serving(lambda socket: socket.end(b"port")) as server,
            aiotls.create_server(lambda socket: socket.end(b"path"), **server_options()) as other,
        ):
            await other.listen(path=path)
            async with aiotls.connect("127.0.0.1", port_of(server), path=str(path), **client_options()) as client:
                assert await client.read() == b"path"
                assert client.authorized

    run(main)


@pytest.mark.parametrize("moment", ["at once", "connected"])
def test_the_stream_that_was_given(run: Run, moment: str) -> None:
    """WRAP-01: destroying the TLS socket destroys what it wraps; only "close" is told."""

    async def main() -> None:
        near, far = await tcp_pair()
        with far:
            events: list[Any] = []
            client = aiotls.connect(socket=near, **client_options())
            assert client.readable
            assert client.writable
            assert not client.connecting
            for name in ("error", "secure", "secure_connect", "end"):
                client.on(name, lambda *_, name=name: events.append(name))
            client.on("close", events.append)
            if moment == "connected":
                far.setblocking(False)
                await asyncio.get_running_loop().sock_recv(far, 1)
            client.destroy()
            await client.wait_for("close")
            far.setblocking(True)
            far.settimeout(5)
            while far.recv(65536):
                pass
            assert events == [False]
            assert near.fileno() == -1

    run(main)


def test_over_a_socket_that_is_still_connecting(run: Run) -> None:
    """WRAP-01 (4), WRAP-06: TLS in TLS from the first moment on."""

    async def main() -> None:
        inner = aiotls.create_server(echo, **server_options())

        async with serving(lambda socket: inner.handle_connection(socket)) as outer:
            below = to(outer)
            client = aiotls.connect(socket=below, **client_options())
            assert client.connecting is below.connecting is True
            async with client:
                client.write(b"x" * 40_000)
                assert await client.readexactly(40_000) == b"x" * 40_000
            assert below.destroyed
            await below.wait_closed()
            inner.close()
            await inner.wait_closed()

    run(main)


# ---- no way to the server


def test_connection_refused(run: Run) -> None:
    """CONN-13, CONN-14: the code and where it was tried; "close" with had_error."""

    async def main() -> None:
        port = refused_port()
        with pytest.raises(aiotls.ConnectionRefused) as failure:
            await aiotls.connect("127.0.0.1", port)
        assert isinstance(failure.value, ConnectionRefusedError)
        assert failure.value.code == "ECONNREFUSED"
        assert failure.value.syscall == "connect"
        assert (failure.value.address, failure.value.port) == ("127.0.0.1", port)

        events: list[Any] = []
        client = aiotls.connect(0, lambda: events.append("connected"), host="127.0.0.1")
        client.on("error", lambda error: events.append(getattr(error, "code", None)))
        client.on("error", lambda _: client.destroy())
        client.on("close", events.append)
        await client.wait_for("close")
        assert events == ["ECONNREFUSED", True]

    run(main)


def test_no_such_path(run: Run, tmp_path: Path) -> None:
    """ERR-13; listeners added to a closed socket do nothing."""

    async def main() -> None:
        path = str(tmp_path / "cause-error")
        client = aiotls.connect(path=path)
        events: list[Any] = []
        client.on("error", events.append)
        client.on("close", events.append)
        await client.wait_for("close")
        error, had_error = events
        assert (error.code, error.syscall, error.address, error.path) == ("ENOENT", "connect", path, path)
        assert error.port is None
        assert had_error is True
        client.on("keylog", print)
        client.on("data", print)

    run(main)


def test_no_such_host(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(aiotls.ConnectError) as failure:
            await aiotls.connect("no-such-host.invalid", 443)
        assert failure.value.code == "ENOTFOUND"
        assert failure.value.host == "no-such-host.invalid"
        assert failure.value.syscall == "getaddrinfo"

    run(main)


@pytest.mark.parametrize("unix", [False, True])
def test_a_server_that_hangs_up(run: Run, tmp_path: Path, unix: bool) -> None:
    """ERR-04, ERR-05: with the attributes that were given, and no others."""

    async def main() -> None:
        def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        path = str(tmp_path / "s")
        if unix:
            plain = await asyncio.start_unix_server(hang_up, path)
            options: dict[str, Any] = {"path": path}
        else:
            plain = await asyncio.start_server(hang_up, "127.0.0.1", 0)
            port = plain.sockets[0].getsockname()[1]
            options = {"port": port, "family": 4, "local_address": "127.0.0.1"}
        async with plain:
            client = aiotls.connect(**options)
            failed = asyncio.ensure_future(client.wait_for("error"))
            closed = asyncio.ensure_future(client.wait_for("close"))
            error: Any = await failed
            assert error.code == "ECONNRESET"
            assert await closed is True
            if unix:
                assert error.path == path
                assert error.port is error.host is error.local_address is None
            else:
                assert (error.port, error.local_address) == (port, "127.0.0.1")
                assert error.host is error.path is None

    run(main)


def test_cancelled_at_every_turn(run: Run) -> None:
    """The n-th turn of connecting: whatever was under way is gone with the cancelled task."""

    async def main() -> None:
        async with serving(echo) as server:
            server.on("tls_client_error", lambda *_: None)

            async def use() -> None:
                async with aiotls.connect("localhost", port_of(server), family=4, ca=named.ca.cert_pem) as client:
                    client.end(b"x")
                    await client.read()

            for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34):
                task = asyncio.create_task(use())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.done()
            await until(lambda: not server.get_connections())

    run(main)


def test_the_listener_is_let_go(run: Run) -> None:
    """INT-01: once called, it can be collected while the socket lives."""

    async def main() -> None:
        class Listener:
            def __call__(self) -> None:
                pass

        async with serving(echo) as server:
            listener = Listener()
            client = aiotls.connect("127.0.0.1", port_of(server), listener, **client_options())
            await client
            reference = weakref.ref(listener)
            del listener
            await asyncio.sleep(0)
            gc.collect()
            assert reference() is None
            async with client:
                pass

    run(main)


def test_data_written_to_the_stream_before(run: Run) -> None:
    """WRAP-08, WRAP-09: what a plain protocol sent first (a CONNECT, say) leaves first."""

    async def main() -> None:
        async with streams("streams") as ((reader, writer), (far_reader, far_writer)):
            writer.write(b"x" * 2**20)
            client = aiotls.connect(socket=(reader, writer), **client_options())
            assert await far_reader.readexactly(2**20) == b"x" * 2**20
            assert await far_reader.readexactly(1) == b"\x16"
            client.destroy()
            await client.wait_for("close")
            far_writer.close()

    run(main)
