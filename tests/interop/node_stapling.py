"""Starts node_stapling.js: a client or server on Node that tells about OCSP stapling."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tests.support.peers import ScriptedPeer, node_script

_SCRIPT = Path(__file__).with_suffix(".js")


def node(role: str, **options: Any) -> AbstractAsyncContextManager[ScriptedPeer]:
    """A ``"client"`` or ``"server"``; see the script for its options and events."""
    return node_script(_SCRIPT, role, options)
