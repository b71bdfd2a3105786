"""Starts node_facts.js: a client or server on Node that tells what it knows of a connection."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support.peers import ScriptedPeer
from tests.support.pki import Identity, named

_SCRIPT = Path(__file__).with_suffix(".js")


@contextlib.asynccontextmanager
async def node(role: str, identity: Identity | None = None, **options: Any) -> AsyncIterator[ScriptedPeer]:
    """A ``"client"`` or ``"server"`` that trusts `pki.ca`; see the script for its options and events."""
    own = {"cert": identity.chain_pem.decode(), "key": identity.key_pem.decode()} if identity else {}
    ca = named.ca.cert_pem.decode()
    process = await asyncio.create_subprocess_exec(
        "node",
        str(_SCRIPT),
        role,
        json.dumps({"ca": ca, "servername": "localhost", **own, **options}),
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
