"""Starts node_stapling.js: a client or server on Node that tells about OCSP stapling."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support.peers import ScriptedPeer

_SCRIPT = Path(__file__).with_suffix(".js")


@contextlib.asynccontextmanager
async def node(role: str, **options: Any) -> AsyncIterator[ScriptedPeer]:
    """A ``"client"`` or ``"server"``; see the script for its options and events."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(_SCRIPT),
        role,
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    peer = ScriptedPeer(process, f"node {role}")
    try:
        if role == "server":
            peer.port = (await peer.event("listening"))["port"]
        yield peer
    finally:
        await peer.stop()
