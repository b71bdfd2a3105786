"""Python programs in processes of their own, in an environment in which nobody has chosen what aiotls does."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, TypeAlias

CHOICES = (
    "AIOTLS_EXTRA_CA_CERTS",
    "AIOTLS_OPTIONS",
    "AIOTLS_USE_SYSTEM_CA",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)
"""The variables that aiotls heeds."""

Done: TypeAlias = "subprocess.CompletedProcess[str]"

VISIT = """
    import asyncio, sys
    from pathlib import Path
    import aiotls

    key, cert = map(Path, sys.argv[1:3])

    async def main():
        listener = lambda socket: socket.end(b"welcome")
        async with aiotls.create_server(listener, key=key, cert=cert, ca=[]) as server:
            await server.listen(0, "127.0.0.1")
            client = aiotls.connect("127.0.0.1", server.address().port, servername="localhost", {client})
            try:
                async with client:
                    print((await client.read()).decode())
                    {inside}
            except aiotls.TLSError as error:
                print(error.code)

    asyncio.run(main())
"""
"""A server and one client, which trusts what is trusted by default: prints ``welcome``, or the code of its error."""


SHOW = """
    import json
    from aiotls.certificate_authorities import get_ca_certificates
    print(json.dumps({kind: get_ca_certificates(kind) for kind in ("default", "bundled", "system", "extra")}))
"""
"""Prints the CA certificates of each kind."""


def environment(**choices: Any) -> dict[str, str]:
    """Ours, without the variables of `CHOICES` but for those given."""
    kept = {name: value for name, value in os.environ.items() if name not in CHOICES}
    return {**kept, **{name: str(value) for name, value in choices.items()}}


def python(*words: str | Path, cwd: Path | None = None, stdin: str = "", **choices: Any) -> Done:
    """Runs the interpreter, and waits for its end.

    Args:
        words: Its command line.
        cwd: Where.
        stdin: What it may read.
        choices: See `environment`.
    """
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment(**choices),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=15,
        check=False,
    )


def printed(program: str, *arguments: str | Path, cwd: Path | None = None, **choices: Any) -> str:
    """What a program prints that must end well, with warnings as errors."""
    done = python("-X", "dev", "-W", "error", "-c", textwrap.dedent(program), *arguments, cwd=cwd, **choices)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def visit(client: str = "", inside: str = "") -> str:
    """The program `VISIT`.

    Args:
        client: Further options of the client, as code.
        inside: What else happens while it is connected, as code.
    """
    return VISIT.format(client=client, inside=inside)


def ca_certificates(*switches: str, **choices: Any) -> dict[str, list[str]]:
    """The CA certificates of each kind, as a program sees them.

    Args:
        switches: For AIOTLS_OPTIONS.
        choices: See `environment`.
    """
    if switches:
        choices["AIOTLS_OPTIONS"] = " ".join(switches)
    found: dict[str, list[str]] = json.loads(printed(SHOW, **choices))
    return found
