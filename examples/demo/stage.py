"""What all rows share: the certificates, the file to move, and our servers."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiotls

from .certificates import NAME, Certificates, Identity
from .files import FileServer

CHUNK = 2**20


class Stage:
    """Certificates, a file of random bytes and its SHA-256, and two servers of ours.

    Args:
        directory: A directory for the file and for what other programs must read from files.
        size: The size of the file, in MiB.
        progress: Called with the number of bytes moved.
    """

    def __init__(self, directory: Path, size: int, progress: Callable[[int], None]) -> None:
        self.directory = directory
        self.certificates = Certificates()
        self.progress = progress
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(self.certificates.ca.cert)
        self.file = directory / "file"
        self.size = size * CHUNK
        self.sha256 = _write_random(self.file, size)
        self._closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        rsa, ec = self.certificates.server_rsa, self.certificates.server_ec
        both = {"cert": [rsa.cert, ec.cert], "key": [rsa.key, ec.key], "alpn_protocols": ["http/1.1"]}
        self.files = await self._closing.enter_async_context(self.server(**both))
        self.members = await self._closing.enter_async_context(
            self.server(**both, ca=self.certificates.ca.cert, request_cert=True)
        )
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._closing.aclose()

    def server(self, **options: Any) -> FileServer:
        """A server of ours."""
        return FileServer(self.file, self.size, self.progress, **options)

    def connect(self, port: int, **options: Any) -> aiotls.TLSSocket:
        """A connection of our client to a server of the demo, by its name, trusting only the demo's root."""
        trust = {"ca": self.certificates.ca.cert, "servername": NAME, "alpn_protocols": ["http/1.1"]}
        return aiotls.connect("127.0.0.1", port, **{**trust, **options})

    def written(self, identity: Identity, name: str) -> tuple[Path, Path]:
        """The certificate and the key as files."""
        return identity.write(self.directory, name)


def _write_random(file: Path, size: int) -> str:
    digest = hashlib.sha256()
    with file.open("wb") as target:
        for _ in range(size):
            chunk = os.urandom(CHUNK)
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()
