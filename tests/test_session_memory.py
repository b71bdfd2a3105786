"""What sessions cost a server that makes many of them."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.pki import named

PROGRAM = """
    import resource, sys, time
    import aiotls
    from aiotls.constants import SSL_OP_NO_TICKET

    identity, ca, version = sys.argv[1:]
    server = aiotls.create_secure_context(
        cert=identity, key=identity, max_version=version, secure_options=SSL_OP_NO_TICKET
    )
    client = aiotls.create_secure_context(ca=ca)
    settings = [
        aiotls.ConnectionSettings(context=client, server=False),
        aiotls.ConnectionSettings(context=server, server=True),
    ]

    def handshake():
        near = aiotls.Connection(settings[0], servername="localhost", hostname="localhost")
        far = aiotls.Connection(settings[1])
        moved = True
        while moved:
            moved = False
            for one, other in ((near, far), (far, near)):
                one.advance()
                if one.question is not None:
                    one.answer(one.check_identity())
                    one.advance()
                if data := one.drain():
                    other.feed(data)
                    moved = True
        assert near.phase is far.phase is aiotls.Phase.OPEN
        assert near.engine.protocol() == version

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    for _ in range(400):
        handshake()
    before, done, end = resident(), 0, time.monotonic() + 5
    while done < 3000 and time.monotonic() < end:
        handshake()
        done += 1
    print(done, resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="nothing tells what is resident")
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_handshakes_without_tickets(version: str) -> None:
    """CVE-2024-2511: what stateful sessions leave behind does not grow with their number.

    A session that is kept takes more than 500 bytes, and each handshake under TLS 1.3 makes two.
    """
    identity = (named.server_ec.chain_pem + named.server_ec.key_pem).decode()
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), identity, named.ca.cert_pem.decode(), version],
        capture_output=True,
        text=True,
        timeout=19,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    done, grown = map(int, ended.stdout.split())
    assert done > 0
    assert grown < 200 * max(done, 1000)
