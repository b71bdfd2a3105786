"""Starts node_certificates.js: what Node reads in certificates, by itself or over a connection."""

import json
import subprocess
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from aiotls.certificate import PeerCertificate
from tests.support.peers import PATIENCE, ScriptedPeer, node_script

_SCRIPT = Path(__file__).with_suffix(".js")

DIED = "died"
"""The answer for a certificate that ended the process of Node."""


def ask(lines: Sequence[str]) -> list[Any]:
    """The answers of a reader; see the script."""
    answers: list[Any] = []
    while len(answers) < len(lines):
        reader = subprocess.run(
            ["node", _SCRIPT, "reader"],
            input="".join(f"{line}\n" for line in lines[len(answers) :]),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        answers += [json.loads(line) for line in reader.stdout.split("\n") if line]
        if reader.returncode:
            assert reader.returncode < 0, reader.stderr
            answers.append(DIED)
    return answers


def node(role: str, **options: Any) -> AbstractAsyncContextManager[ScriptedPeer]:
    """A ``"client"`` or ``"server"``; see the script."""
    return node_script(_SCRIPT, role, options)


def told(certificate: PeerCertificate | None) -> dict[str, Any]:
    """Our fields in the form in which the script tells Node's."""
    assert certificate is not None
    return _plain(certificate.to_dict())


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value.hex() if isinstance(value, bytes) else value for key, value in fields.items()}
    if "issuerCertificate" in fields:
        issuer = fields["issuerCertificate"]
        plain["issuerCertificate"] = "itself" if issuer is fields else _plain(issuer)
    return plain
