"""What is measured: one `Mode` for each kind of work."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["load", "idle", "client"]


@dataclass(frozen=True)
class Unit:
    """What a figure counts, and how it is written."""

    name: str
    scale: float
    """From CPU seconds for each unit of work, or from bytes, to the figure that is shown."""
    thing: str
    """What there is so and so many of in a second."""


HANDSHAKE = Unit("µs", 1e6, "handshakes")
BULK = Unit("s/GB", 1e9, "bytes")
MESSAGE = Unit("µs", 1e6, "messages")
MEMORY = Unit("KiB", 1 / 1024, "connections")
CONNECTION = Unit("µs", 1e6, "connections")


@dataclass(frozen=True)
class Mode:
    """One kind of work that a server or a client is measured with."""

    name: str
    title: str
    unit: Unit
    kind: Kind
    load: str = ""
    """What the load generator is asked for."""
    connections: int = 1
    """How many connections there are at a time."""
    version: str = "1.3"
    certificate: Literal["ecdsa", "rsa"] = "ecdsa"
    resume: bool = False

    @property
    def role(self) -> Literal["server", "client"]:
        """Which part of a program it measures."""
        return "client" if self.kind == "client" else "server"


MODES = (
    Mode("handshake", "full handshake, TLS 1.3, ECDSA", HANDSHAKE, "load", "handshake", 16),
    Mode("handshake-rsa", "full handshake, TLS 1.3, RSA-2048", HANDSHAKE, "load", "handshake", 16, certificate="rsa"),
    Mode("handshake-1.2", "full handshake, TLS 1.2, ECDSA", HANDSHAKE, "load", "handshake", 16, "1.2"),
    Mode("resumed", "resumed handshake, TLS 1.3", HANDSHAKE, "load", "resume", 16, resume=True),
    Mode("resumed-1.2", "resumed handshake, TLS 1.2", HANDSHAKE, "load", "resume", 16, "1.2", resume=True),
    Mode("download", "bytes sent, 1 connection", BULK, "load", "download"),
    Mode("upload", "bytes received, 1 connection", BULK, "load", "upload"),
    Mode("message-1", "64-byte message echoed, 1 connection", MESSAGE, "load", "message"),
    Mode("message-64", "64-byte message echoed, 64 connections", MESSAGE, "load", "message", 64),
    Mode("idle", "memory of an idle connection", MEMORY, "idle", "idle"),
    Mode("client", "client's connection, full handshake", CONNECTION, "client", connections=16),
    Mode("client-resumed", "client's connection, resumed", CONNECTION, "client", connections=16, resume=True),
)
BY_NAME = {mode.name: mode for mode in MODES}
