"""The program whose instructions are counted: ``python -m benchmarks.workload LIBRARY FOLDER WORK=COUNT ...``.

LIBRARY is `callgrind.c`, compiled; FOLDER holds `Certificates`.  One side is under test, by the public API; `lockstep`
says what the other one is.  For each work it prints a line of JSON: its name, its count, and how often the peer acted.
"""

import gc
import socket as sockets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import aiotls
from aiotls.session import ClientSession
from benchmarks.certificates import Certificates
from benchmarks.lockstep import MIB, WARMUP, Counter, Lockstep, Peer, Script

Version = Literal["TLSv1.2", "TLSv1.3"]

CIPHERS = "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"
GROUP = "X25519:P-256"
HYBRID_GROUP = "X25519MLKEM768"
CHUNK = bytes(256 * 1024)
MESSAGE = bytes(64)
ROOM = 512 * 1024
"""The buffers of the sockets for bulk data, which the system would let grow as time goes by."""


class Workload:
    """What is counted: a method for each work, under its name."""

    def __init__(self, library: str, folder: Path) -> None:
        self.counter = Counter(library)
        self.lockstep = Lockstep(self.counter)
        certificates = Certificates(folder)
        self._identity: dict[str, Any] = {"cert": certificates.cert("ecdsa"), "key": certificates.key("ecdsa")}
        self._ca = certificates.ca

    def calibration(self, name: str, count: int) -> None:
        """What it costs to hide something: the counts of the others hold it."""

        def work() -> None:
            for _ in range(count):
                self.counter.hide(bool)

        self.counter.count(name, count, work)

    def connection_made(self, name: str, count: int) -> None:
        """A server's `Connection` without I/O, made and thrown away."""
        settings = aiotls.ConnectionSettings(context=aiotls.create_secure_context(**self._identity), server=True)

        def work() -> None:
            for _ in range(count):
                aiotls.Connection(settings)

        work()
        self.counter.count(name, count, work)

    # ---- a server under test

    def server_full13(self, name: str, count: int) -> None:
        self._server_handshakes(name, count, "TLSv1.3")

    def server_hybrid13(self, name: str, count: int) -> None:
        self._server_handshakes(name, count, "TLSv1.3", group=HYBRID_GROUP)

    def server_resumed13(self, name: str, count: int) -> None:
        self._server_handshakes(name, count, "TLSv1.3", resume=True)

    def server_full12(self, name: str, count: int) -> None:
        self._server_handshakes(name, count, "TLSv1.2")

    def server_resumed12(self, name: str, count: int) -> None:
        self._server_handshakes(name, count, "TLSv1.2", resume=True)

    def _server_handshakes(
        self, name: str, count: int, version: Version, *, group: str = GROUP, resume: bool = False
    ) -> None:
        """Connections that come, shake hands, and end in order."""
        secure = 0

        def accept(socket: aiotls.TLSSocket) -> None:
            nonlocal secure
            secure += 1
            socket.resume()

        server, port = self._server(accept)
        context = aiotls.create_secure_context(
            ca=self._ca, ciphers=CIPHERS, ecdh_curve=group, min_version=version, max_version=version
        )
        session: ClientSession | None = None

        def visit(offered: ClientSession | None) -> Script:
            nonlocal session
            peer = self._client(context, port, offered)
            # A session of TLS 1.3 comes behind our Finished, and a resumption of TLS 1.2 brings none.
            yield from peer.until(lambda: peer.secure and (version == "TLSv1.2" or peer.session is not None))
            peer.shutdown()
            yield from peer.until(lambda: peer.hung_up)
            assert peer.connection.engine.session_reused() == (offered is not None)
            session = peer.session or session
            peer.close()

        def script(count: int) -> Script:
            for _ in range(count):
                yield from visit(session if resume else None)

        self.lockstep.count(name, count, script)
        assert secure == WARMUP + count
        server.close()

    def server_down(self, name: str, count: int) -> None:
        """A MiB from the server."""
        left = 0

        def accept(socket: aiotls.TLSSocket) -> None:
            def send() -> None:
                nonlocal left
                while left:
                    left -= len(CHUNK)
                    if not socket.write(CHUNK):
                        return

            def data(command: bytes) -> None:
                nonlocal left
                left = int(command) * MIB
                send()

            socket.on("data", data).on("drain", send)

        server, peer = self._served(accept)

        def script(count: int) -> Script:
            yield from peer.until(lambda: peer.session is not None)
            wanted = peer.received + count * MIB
            peer.write(b"%d" % count)
            yield from peer.until(lambda: peer.received >= wanted)

        self.lockstep.count(name, count, script)
        server.close()

    def server_up(self, name: str, count: int) -> None:
        """A MiB to the server."""
        taken = 0

        def accept(socket: aiotls.TLSSocket) -> None:
            def data(data: bytes) -> None:
                nonlocal taken
                taken += len(data)

            socket.on("data", data)

        server, peer = self._served(accept)

        def script(count: int) -> Script:
            yield from peer.until(lambda: peer.session is not None)
            wanted = taken + count * MIB
            for _ in range(count * MIB // len(CHUNK)):
                peer.write(CHUNK)
                yield from peer.until(lambda: peer.sent)
            while taken < wanted:
                yield

        self.lockstep.count(name, count, script)
        server.close()

    def server_message(self, name: str, count: int) -> None:
        """64 bytes to the server, and the same back."""

        def accept(socket: aiotls.TLSSocket) -> None:
            socket.on("data", socket.write)

        server, peer = self._served(accept)

        def script(count: int) -> Script:
            yield from peer.until(lambda: peer.session is not None)
            first = peer.received
            for number in range(count):
                peer.write(MESSAGE)
                wanted = first + (number + 1) * len(MESSAGE)
                while peer.received < wanted:
                    yield
                    peer.turn()

        self.lockstep.count(name, count, script)
        server.close()

    def _server(self, accept: Callable[[aiotls.TLSSocket], None]) -> tuple[aiotls.Server, int]:
        below = sockets.create_server(("127.0.0.1", 0))
        below.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, ROOM)
        below.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, ROOM)
        port = below.getsockname()[1]
        server = aiotls.create_server(accept, ciphers=CIPHERS, **self._identity)

        async def listen() -> None:
            await server.listen(sock=below)

        self.lockstep.loop.run_until_complete(listen())
        return server, port

    def _client(self, context: aiotls.SecureContext, port: int, session: ClientSession | None = None) -> Peer:
        settings = aiotls.ConnectionSettings(context=context, server=False, asks=aiotls.Ask.TICKETS)
        connection = aiotls.Connection(settings, servername="localhost", hostname="localhost")
        if session is not None:
            connection.offer_session(session)
        below = sockets.socket()
        below.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, ROOM)
        below.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, ROOM)
        below.connect(("127.0.0.1", port))
        return Peer(connection, below)

    def _served(self, accept: Callable[[aiotls.TLSSocket], None]) -> tuple[aiotls.Server, Peer]:
        server, port = self._server(accept)
        return server, self._client(self._client_context(), port)

    def _client_context(self) -> aiotls.SecureContext:
        return aiotls.create_secure_context(ca=self._ca, ciphers=CIPHERS, ecdh_curve=GROUP, min_version="TLSv1.3")

    # ---- a client under test

    def client_full13(self, name: str, count: int) -> None:
        self._visits(name, count, resume=False)

    def client_resumed13(self, name: str, count: int) -> None:
        self._visits(name, count, resume=True)

    def _visits(self, name: str, count: int, *, resume: bool) -> None:
        """Connections that are made, verified, used for a line and a byte, and ended in order."""
        client = self._client_context()
        settings = aiotls.ConnectionSettings(
            context=aiotls.create_secure_context(ciphers=CIPHERS, **self._identity), server=True
        )
        listener = sockets.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        port = listener.getsockname()[1]
        sessions: list[bytes] = []

        async def visits(count: int) -> None:
            for _ in range(count):
                offered: dict[str, Any] = {"session": sessions[-1]} if resume and sessions else {}
                socket = aiotls.connect("127.0.0.1", port, servername="localhost", secure_context=client, **offered)
                if resume:
                    socket.on("session", sessions.append)
                await socket
                assert socket.is_session_reused() == bool(offered)
                socket.write(b"D 1\n")
                assert await socket.readexactly(1) == b"x"
                socket.end()
                await socket.wait_closed()

        def host() -> Script:
            while True:
                try:
                    below, _ = listener.accept()
                    break
                except BlockingIOError:
                    yield
            peer = Peer(aiotls.Connection(settings), below)
            yield from peer.until(lambda: peer.received > 0)
            peer.write(b"x")
            yield from peer.until(lambda: peer.connection.peer_ended)
            peer.shutdown()
            peer.close()

        def script(count: int) -> Script:
            for _ in range(count):
                yield from host()

        self.lockstep.count(name, count, script, visits)
        listener.close()


def main() -> None:
    """Does what the command line says."""
    library, folder, *works = sys.argv[1:]
    workload = Workload(library, Path(folder))
    # How often it would run depends on what else there is; that nothing is left for it, the tests see to.
    gc.disable()
    workload.counter.start()
    for work in works:
        name, _, count = work.partition("=")
        getattr(workload, name)(name, int(count))


if __name__ == "__main__":
    main()
