"""The key log proves itself: tshark decrypts a capture with it."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.capture import Recorder, recording
from tests.support.pairs import client_options
from tests.support.peers import needs
from tests.support.psk import psk_client, psk_server
from tests.support.servers import echo, port_of, serving

pytestmark = needs("tshark")

QUESTION = b"GET /marmalade HTTP/1.1\r\nHost: localhost\r\n\r\n"
SHARED_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "chacha": {"ciphers": "ECDHE+CHACHA20:TLS_CHACHA20_POLY1305_SHA256"},
    "sha384": {"ciphers": "ECDHE+AES256+AESGCM:TLS_AES_256_GCM_SHA384"},
    "cbc": {"ciphers": "ECDHE-ECDSA-AES128-SHA256:TLS_AES_128_GCM_SHA256"},
}


async def decrypted(recorder: Recorder, lines: list[bytes], directory: Path) -> bytes:
    """What tshark makes of the recorded connection with these lines: the bytes of both sides."""
    capture, keys = directory / "capture.pcap", directory / "keys.log"
    recorder.write(capture)
    keys.write_bytes(b"".join(lines))
    # The dissector of HTTP would look for a protocol in the data; we want the data.
    arguments = ("-r", capture, "-o", f"tls.keylog_file:{keys}", "-q", "-z", "follow,tls,raw,0")
    process = await asyncio.create_subprocess_exec(
        "tshark",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(directory), "LC_ALL": "C"},
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    found = b""
    for line in output.decode().split("\n"):
        with contextlib.suppress(ValueError):
            found += bytes.fromhex(line.strip())
    return found


async def recorded(
    version: str, server: dict[str, Any], client: dict[str, Any], *, renegotiate: bool = False
) -> tuple[Recorder, dict[str, list[bytes]]]:
    """One connection through a recorder: what passed, and the key log of each side."""
    lines: dict[str, list[bytes]] = {"client": [], "server": []}
    async with serving(echo, max_version=version, **server) as listening:
        listening.on("keylog", lambda line, _socket: lines["server"].append(line))
        async with recording(port_of(listening)) as recorder:
            near = aiotls.connect("127.0.0.1", recorder.port, **client_options(**client))
            near.on("keylog", lines["client"].append)
            async with near:
                assert near.get_protocol() == version
                if renegotiate:
                    await near.renegotiate()
                near.write(QUESTION)
                assert await near.readexactly(len(QUESTION)) == QUESTION
                near.end()
                assert await near.read() == b""
            await recorder.ended.wait()
    return recorder, lines


@pytest.mark.parametrize("options", SHARED_OPTIONS)
@pytest.mark.parametrize("side", ["client", "server"])
def test_key_01_tshark(run: Run, version: str, side: str, options: str, tmp_path: Path) -> None:
    """KEY-01: with the lines of either side it shows what both have said."""

    async def main() -> None:
        shared = SHARED_OPTIONS[options]
        recorder, lines = await recorded(version, shared, shared)
        assert QUESTION not in b"".join(data for _, data in recorder.segments)
        assert await decrypted(recorder, lines[side], tmp_path) == 2 * QUESTION

    run(main)


def test_without_the_right_lines(run: Run, version: str, tmp_path: Path) -> None:
    """Without lines, or with those of another connection, it shows nothing."""

    async def main() -> None:
        recorder, _ = await recorded(version, {}, {})
        _, others = await recorded(version, {}, {})
        assert await decrypted(recorder, [], tmp_path) == b""
        assert await decrypted(recorder, others["client"], tmp_path) == b""

    run(main)


def test_many_connections_in_one_log(run: Run, version: str, tmp_path: Path) -> None:
    """A log is a plain file of lines: those of other connections do not matter."""

    async def main() -> None:
        several = [await recorded(version, {}, {}) for _ in range(3)]
        everything = [line for _, lines in several for line in lines["server"]]
        for recorder, _ in several:
            assert await decrypted(recorder, everything, tmp_path) == 2 * QUESTION

    run(main)


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_pre_shared_key(run: Run, version: str, side: str, tmp_path: Path) -> None:
    async def main() -> None:
        server, client = psk_server(), psk_client(version)
        recorder, lines = await recorded(version, server, client)
        assert await decrypted(recorder, lines[side], tmp_path) == 2 * QUESTION

    run(main)


@pytest.mark.parametrize("side", ["client", "server"])
def test_renegotiated(run: Run, side: str, tmp_path: Path) -> None:
    """The line of the second handshake lets it go on."""

    async def main() -> None:
        recorder, lines = await recorded("TLSv1.2", {}, {}, renegotiate=True)
        assert len(lines[side]) == 2
        assert await decrypted(recorder, lines[side], tmp_path) == 2 * QUESTION
        assert await decrypted(recorder, lines[side][:1], tmp_path) == b""

    run(main)
