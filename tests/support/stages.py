"""The stages in the life of a `TLSSocket`: one brought to a stage, on either side, with whoever is at its other end."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiotls
from tests.support.pairs import gone, until
from tests.support.pki import named

SIDES = ("client", "server")
VERSIONS = ("TLSv1.2", "TLSv1.3")

STAGES = {
    "created": "made this very moment",
    "dialing": "the path below is still being made",
    "shaking": "the path is there, and the peer has said nothing",
    "asking": "a question of the handshake waits for its answer",
    "secure": "data has flowed both ways",
    "ended": "we have ended our direction",
    "heard": "the peer has ended its direction, and that was read",
    "closing": "`close` was called, and the peer goes on",
    "over": "both directions have ended",
    "closed": "closed by `close`",
    "destroyed": "`destroy` was called this very moment",
    "gone": "`destroy` was called, and that was told",
    "refused": "the client did not trust the server",
    "lost": "the peer has reset the connection",
}
"""Each stage, in words."""

TO_PEER, FROM_PEER = b"question", b"answers"
"""What has been written and read in a connection that was secure."""
HOST = "server.test"
"""The name that is looked up; it stands for this machine."""


@dataclass
class Staged:
    """A socket in its stage."""

    socket: aiotls.TLSSocket
    version: str
    """The version that both ends speak."""
    peer: aiotls.TLSSocket | None = None
    """The other end, where it is one of ours."""
    port: int = 0
    """The port that the client dials."""
    errors: list[BaseException] = field(default_factory=list)
    """What the socket was told of, or its server for it."""
    finish: Callable[[], Awaitable[aiotls.TLSSocket]] | None = None
    """Lets the handshake go on to its end, and gives the other end."""


@contextlib.asynccontextmanager
async def staged(stage: str, side: str, version: str) -> AsyncIterator[Staged]:
    """A socket in a stage, both ends half-open, each with a certificate that the other trusts."""
    scene = _Scene(side, version, mistrusting=stage == "refused")
    try:
        yield await scene.play(stage)
    finally:
        await scene.leave()


@functools.cache
def context(side: str, version: str = "TLSv1.3", ca: str = "ca") -> aiotls.SecureContext:
    """The context of a side, made once."""
    identity = named.server_ec if side == "server" else named.client_ec
    options: dict[str, Any] = {"cert": identity.chain_pem, "key": identity.key_pem, "max_version": version}
    return aiotls.create_secure_context(**options, ca=getattr(named, ca).cert_pem)


class _Scene:
    """Both ends and what is between them, to be taken down whatever happens."""

    def __init__(self, side: str, version: str, *, mistrusting: bool) -> None:
        self.side = side
        self.version = version
        self.mistrusting = mistrusting
        self.dialed, self.answered = asyncio.Event(), asyncio.Event()
        self.asked = asyncio.Event()
        self.errors: dict[str, list[BaseException]] = {"client": [], "server": []}
        self.sockets: list[aiotls.TLSSocket] = []
        self.raw: list[socket.socket] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        self.port = self.listening.getsockname()[1]
        options: dict[str, Any] = {"secure_context": context("server", version), "request_cert": True}
        options["alpn_callback"] = self._choose
        self.server = aiotls.create_server(allow_half_open=True, **options)
        self.server.on("tls_client_error", lambda error, _: self.errors["server"].append(error))

    async def play(self, stage: str) -> Staged:
        bring = getattr(self, f"_{self.side}_{stage}", None) or getattr(self, f"_{stage}")
        socket, peer = await bring()
        return Staged(socket, self.version, peer, self.port, self.errors[self.side], self.finish)

    async def finish(self) -> aiotls.TLSSocket:
        self.answered.set()
        if len(self.sockets) < 2:
            below = self.raw[0] if self.raw else await self.accept()
            if self.side == "client":
                self.serve(below)
            else:
                self._keep(aiotls.connect(socket=below, **self._client_options()), "client")
        await asyncio.gather(*self.sockets)
        (other,) = (each for each in self.sockets if each.is_server is (self.side == "client"))
        return other

    async def leave(self) -> None:
        self.dialed.set()
        self.answered.set()
        for each in self.sockets:
            each.destroy()
        await gone(*self.sockets)
        for below in (*self.raw, self.listening):
            below.close()
        self.server.close()
        await self.server.wait_closed()

    # ---- the questions

    async def _look_up(self, _host: str, _options: Any) -> str:
        await self.dialed.wait()
        return "127.0.0.1"

    async def _check(self, _host: str, _certificate: Any) -> None:
        self.asked.set()
        await self.answered.wait()

    async def _choose(self, _socket: Any, _name: Any, protocols: list[str]) -> str:
        if self.side == "server":
            self.asked.set()
            await self.answered.wait()
        return protocols[0]

    # ---- the ends

    def client(self) -> aiotls.TLSSocket:
        client = aiotls.connect(HOST, self.port, lookup=self._look_up, **self._client_options())
        return self._keep(client, "client")

    def _client_options(self) -> dict[str, Any]:
        ca = "ca_b" if self.mistrusting else "ca"
        check = {"check_server_identity": self._check} if self.side == "client" else {}
        return {
            "secure_context": context("client", self.version, ca),
            "alpn_protocols": ["echo"],
            "servername": "localhost",
            "allow_half_open": True,
            **check,
        }

    def serve(self, stream: Any) -> aiotls.TLSSocket:
        return self._keep(self.server.handle_connection(stream), "server")

    def _keep(self, each: aiotls.TLSSocket, side: str) -> aiotls.TLSSocket:
        self.sockets.append(each)
        return each.on("error", self.errors[side].append)

    async def accept(self) -> socket.socket:
        self.dialed.set()
        far, _ = await asyncio.get_running_loop().sock_accept(self.listening)
        # A stream that is given to a server is taken as it is, and small records would wait for each other's ACK.
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw.append(far)
        return far

    async def both(self) -> tuple[aiotls.TLSSocket, aiotls.TLSSocket]:
        """The client and the server, in their handshake."""
        client = self.client()
        return client, self.serve(await self.accept())

    async def pair(self) -> tuple[aiotls.TLSSocket, aiotls.TLSSocket]:
        """The one that counts and the other one, secure."""
        self.answered.set()
        client, server = await self.both()
        await asyncio.gather(client, server)
        mine, other = (client, server) if self.side == "client" else (server, client)
        mine.write(TO_PEER)
        assert await other.readexactly(len(TO_PEER)) == TO_PEER
        other.write(FROM_PEER)
        assert await mine.readexactly(len(FROM_PEER)) == FROM_PEER
        return mine, other

    # ---- the stages

    async def _client_created(self) -> Any:
        return self.client(), None

    async def _server_created(self) -> Any:
        self.client()
        return self.serve(await self.accept()), None

    async def _client_dialing(self) -> Any:
        client = self.client()
        await asyncio.sleep(0.001)
        return client, None

    async def _server_dialing(self) -> Any:
        server = self.serve(self.client())
        await asyncio.sleep(0.001)
        return server, None

    async def _client_shaking(self) -> Any:
        client = self.client()
        far = await self.accept()
        far.setblocking(False)
        await until(lambda: _has_data(far))
        return client, None

    async def _server_shaking(self) -> Any:
        near = socket.socket()
        near.setblocking(False)
        self.raw.append(near)
        await asyncio.get_running_loop().sock_connect(near, self.listening.getsockname())
        server = self.serve(await self.accept())
        await until(lambda: not server.pending)
        return server, None

    async def _asking(self) -> Any:
        client, server = await self.both()
        await self.asked.wait()
        return (client, server) if self.side == "client" else (server, client)

    async def _secure(self) -> Any:
        return await self.pair()

    async def _ended(self) -> Any:
        mine, other = await self.pair()
        mine.end()
        assert await other.read() == b""
        return mine, other

    async def _heard(self) -> Any:
        mine, other = await self.pair()
        other.end()
        assert await mine.read() == b""
        return mine, other

    async def _closing(self) -> Any:
        mine, other = await self.pair()
        mine.close()
        assert await other.read() == b""
        return mine, other

    async def _over(self) -> Any:
        mine, other = await self._ended()
        other.end()
        assert await mine.read() == b""
        await mine.wait_closed()
        return mine, other

    async def _closed(self) -> Any:
        mine, other = await self._closing()
        other.end()
        await mine.wait_closed()
        return mine, other

    async def _destroyed(self) -> Any:
        mine, other = await self.pair()
        mine.destroy()
        return mine, other

    async def _gone(self) -> Any:
        mine, other = await self._destroyed()
        await mine.wait_closed()
        return mine, other

    async def _refused(self) -> Any:
        self.answered.set()
        client, server = await self.both()
        mine, other = (client, server) if self.side == "client" else (server, client)
        await asyncio.gather(*(each.wait_for("close") for each in (client, server)))
        return mine, other

    async def _lost(self) -> Any:
        mine, other = await self.pair()
        closed = asyncio.ensure_future(mine.wait_for("close"))
        await asyncio.sleep(0)
        other.reset_and_destroy()
        await closed
        return mine, other


def _has_data(end: socket.socket) -> bool:
    try:
        return bool(end.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
