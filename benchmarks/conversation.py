"""One verified conversation with a server under test, which shows that it does what the load will ask of it."""

import socket
import ssl
from pathlib import Path

from benchmarks.process import Misbehaved

PATIENCE = 10.0


def hold(port: int, ca: Path, version: str = "1.3") -> None:
    """Have a server send, take and echo some bytes, and close in order; raises `Misbehaved`."""
    context = ssl.create_default_context(cafile=str(ca))
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            _converse(tls)
    except (OSError, EOFError) as error:
        raise Misbehaved(f"{type(error).__name__}: {error}") from error


def _converse(tls: ssl.SSLSocket) -> None:
    tls.sendall(b"D 300000\n")
    if len(_exactly(tls, 300000)) != 300000:
        raise Misbehaved("it did not send what it was asked for")
    tls.sendall(b"U 100000\n" + bytes(100000))
    if _exactly(tls, 10) != b"OK 100000\n":
        raise Misbehaved("it did not tell what it took")
    tls.sendall(b"E\n")
    for message in (b"a message", b"another"):
        tls.sendall(message)
        if _exactly(tls, len(message)) != message:
            raise Misbehaved("it echoed something else")
    # Sends close_notify and waits for the server's.
    tls.unwrap()


def _exactly(tls: ssl.SSLSocket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = tls.recv(count - len(data))
        if not more:
            raise EOFError("the server has closed")
        data += more
    return bytes(data)
