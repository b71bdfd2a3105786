"""OCSP stapling between our own two sides: who is asked, and what the client is told when."""

import asyncio
from typing import Any

import aiotls
from tests.support.pki import Named
from tests.support.servers import to
from tests.support.visits import credentials, staying

RESPONSE = b"hello world"
"""Neither side looks into a response."""


class Stapler:
    """A listener of ``"ocsp_request"`` in both styles that writes down what it was asked.

    Args:
        answer: What it returns, or raises.
        style: ``"plain"`` or ``"async"``.
    """

    def __init__(self, answer: Any = RESPONSE, style: str = "async") -> None:
        self.calls: list[tuple[bytes, bytes | None]] = []
        self.answer = answer
        self.listener: Any = self._plain if style == "plain" else self._async

    def _plain(self, certificate: bytes, issuer: bytes | None) -> Any:
        self.calls.append((certificate, issuer))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def _async(self, certificate: bytes, issuer: bytes | None) -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
        return self._plain(certificate, issuer)


class Client:
    """A client that asks for a response and writes down what happens to it."""

    def __init__(self, socket: aiotls.TLSSocket) -> None:
        self.socket = socket
        self.events: list[Any] = []
        socket.on("ocsp_response", lambda response: self.events.append((response, socket.secure_connecting)))
        socket.on("secure", lambda: self.events.append("secure"))
        socket.on("secure_connect", lambda: self.events.append("secure_connect"))


def asking(server: aiotls.Server, **options: Any) -> Client:
    return Client(to(server, **{"request_ocsp": True, **options}))


def leaf_a(pki: Named, **options: Any) -> dict[str, Any]:
    """The server of OCSP-01: LEAF-A, with its issuer in `ca`."""
    return {**credentials(pki.leaf_a), "ca": [pki.ca_a.cert_pem], **options}


def agent1(pki: Named, **options: Any) -> dict[str, Any]:
    return {"ca": pki.ca_a.cert_pem, "servername": "agent1", **options}


async def stapled(server: aiotls.Server, **options: Any) -> bytes | None:
    """What a client gets that lets the handshake finish."""
    client = asking(server, **options)
    async with staying(client.socket):
        ((response, connecting), *rest) = client.events
        assert connecting is True
        assert rest == ["secure", "secure_connect"]
        return response  # type: ignore[no-any-return]
