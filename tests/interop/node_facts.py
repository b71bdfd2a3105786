"""Starts node_facts.js: a client or server on Node that tells what it knows of a connection."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tests.support.peers import ScriptedPeer, node_script
from tests.support.pki import Identity, named

_SCRIPT = Path(__file__).with_suffix(".js")


def node(role: str, identity: Identity | None = None, **options: Any) -> AbstractAsyncContextManager[ScriptedPeer]:
    """A ``"client"`` or ``"server"`` that trusts `pki.ca`; see the script for its options and events."""
    own = {"cert": identity.chain_pem.decode(), "key": identity.key_pem.decode()} if identity else {}
    ca = named.ca.cert_pem.decode()
    return node_script(_SCRIPT, role, {"ca": ca, "servername": "localhost", **own, **options})
