"""Failure model 34: clocks that jump, and certificates that expire while a connection is open.

The programs run under ``faketime``; the wall clock is what a file says, the monotonic clock goes on as ever.
"""

import datetime
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.peers import needs
from tests.support.pki import named

ROOT = Path(__file__).parent.parent

pytestmark = needs("faketime")

COMMON = """
    import asyncio, contextlib, os, sys, time
    import aiotls

    CERT, KEY, CA = os.environ["TEST_CERT"], os.environ["TEST_KEY"], os.environ["TEST_CA"]
    VERSION = sys.argv[1]

    HOUR, DAY = 3600, 86400
    BEGIN = time.time() - time.monotonic()

    def jump(offset):
        with open(os.environ["FAKETIME_TIMESTAMP_FILE"], "w") as file:
            file.write(f"{offset:+d}")
        moved = time.time() - time.monotonic() - BEGIN
        assert abs(moved - offset) < 60, (offset, moved)

    async def echo(socket):
        async for chunk in socket:
            socket.write(chunk)

    async def say(client, words):
        client.write(words)
        assert await client.readexactly(len(words)) == words

    def to(server, **options):
        trust = {} if "secure_context" in options else {"ca": CA}
        return aiotls.connect("127.0.0.1", server.address().port, servername="localhost", **trust, **options)

    async def refusal(server, **options):
        errors, closed = [], asyncio.get_running_loop().create_future()
        client = to(server, **options)
        client.on("error", errors.append)
        client.on("close", closed.set_result)
        assert await closed
        (error,) = errors
        return error

    def serving(**options):
        return aiotls.create_server(echo, cert=CERT, key=KEY, max_version=VERSION, **options)
"""

EXPIRES = (
    COMMON
    + """
    async def main():
        async with serving() as server:
            refused = []
            server.on("tls_client_error", lambda error, _: refused.append(error.alert))
            await server.listen(0, "127.0.0.1")
            context = aiotls.create_secure_context(ca=CA)
            client, other = await to(server, secure_context=context), await to(server, secure_context=context)
            await say(client, b"while it is good")
            jump(2 * DAY)
            await say(client, b"expired")
            assert client.authorized and client.authorization_error is None

            if VERSION == "TLSv1.2":  # a new handshake is a new look at the certificate
                try:
                    await other.renegotiate()
                except aiotls.VerificationError as error:
                    assert error.code == "CERT_HAS_EXPIRED"
                else:
                    raise AssertionError("it was renegotiated")
            other.destroy()

            # The next one fails, with a context of before as with a new one.
            for options in ({"secure_context": context}, {}):
                error = await refusal(server, **options)
                assert isinstance(error, aiotls.VerificationError), repr(error)
                assert error.code == "CERT_HAS_EXPIRED"
            while len(refused) < 2:
                await asyncio.sleep(0)
            assert refused == [45, 45], refused  # certificate_expired
            tolerant = await to(server, reject_unauthorized=False)
            assert (tolerant.authorized, tolerant.authorization_error) == (False, "CERT_HAS_EXPIRED")
            await say(tolerant, b"tolerated")
            tolerant.destroy()

            # Before it was made.
            jump(-2 * DAY)
            assert (await refusal(server)).code == "CERT_NOT_YET_VALID"
            jump(0)
            async with to(server) as other:
                await say(other, b"good again")
            await say(client, b"and still there")
            client.end()
            assert await client.read() == b""
        print("done")

    asyncio.run(main())
"""
)

TIMERS = (
    COMMON
    + """
    async def main():
        loop = asyncio.get_running_loop()
        accepted = asyncio.Queue()

        async def accept(socket):
            accepted.put_nowait(socket)
            await echo(socket)

        async with aiotls.create_server(accept, cert=CERT, key=KEY, max_version=VERSION) as server:
            await server.listen(0, "127.0.0.1")

            def waits_for_nobody(reader, writer):
                asyncio.ensure_future(hold(reader, writer))

            async def hold(reader, writer):
                with contextlib.suppress(ConnectionError):
                    while await reader.read(1000):
                        pass
                writer.close()

            silent = await asyncio.start_server(waits_for_nobody, "127.0.0.1", 0)
            stalled = aiotls.connect("127.0.0.1", silent.sockets[0].getsockname()[1], ca=CA, servername="localhost")
            client = await to(server, timeout=30.0, keep_alive=True)
            other = await accepted.get()
            fired = []
            for socket in (client, other, stalled):
                for name in ("timeout", "error", "close"):
                    socket.on(name, lambda *_, name=name: fired.append(name))
            other.set_timeout(30.0)
            for offset in (DAY, 3650 * DAY, -10 * DAY, -3650 * DAY, 0):
                jump(offset)
                for number in range(20):
                    await say(client, b"%d" % number)
                    await asyncio.sleep(0)
            assert fired == [], fired
            assert stalled.secure_connecting
            # A timer that is due still fires.
            client.set_timeout(0.05)
            jump(-100 * DAY)
            await client.wait_for("timeout")
            stalled.destroy()
            client.destroy()
            silent.close()
            await silent.wait_closed()
        print("done")

    asyncio.run(main())
"""
)

SESSIONS = (
    COMMON
    + """
    async def visit(server, session=None):
        sessions = []
        async with to(server, session=session).on("session", sessions.append) as client:
            await say(client, b"x")
            assert client.authorized
            reused = client.is_session_reused()
            client.end()
            assert await client.read() == b""
            return reused, (sessions or [session])[-1]

    async def main():
        async with serving(session_timeout=300) as server:
            await server.listen(0, "127.0.0.1")
            _, session = await visit(server)
            assert (await visit(server, session))[0] is True
            jump(2 * HOUR)  # longer than the session is good for, the certificate is not yet expired
            assert (await visit(server, session))[0] is False
            jump(-1 * HOUR)
            _, session = await visit(server)
            jump(0)
            assert (await visit(server, session))[0] is False, "an hour old"
            _, session = await visit(server)
            jump(DAY)
            # Whatever the session says, an expired certificate is one.
            error = await refusal(server, session=session)
            assert error.code == "CERT_HAS_EXPIRED", repr(error)
        print("done")

    asyncio.run(main())
"""
)


def under_faketime(program: str, tmp_path: Path, version: str, hours: float) -> str:
    """Runs a program whose certificate is good for so many hours from now; returns what it printed."""
    now = datetime.datetime.now(datetime.UTC)
    identity = named.ca.issue(
        ["localhost"],
        key="ec",
        not_before=now - datetime.timedelta(hours=12),
        not_after=now + datetime.timedelta(hours=hours),
    )
    clock = tmp_path / "clock"
    clock.write_text("+0")
    done = subprocess.run(
        [
            "faketime",
            "-f",
            "+0",
            "env",
            "-u",
            "FAKETIME",
            sys.executable,
            "-W",
            "error",
            "-c",
            textwrap.dedent(program),
            version,
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TEST_CERT": identity.chain_pem.decode(),
            "TEST_KEY": identity.key_pem.decode(),
            "TEST_CA": named.ca.cert_pem.decode(),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        },
        capture_output=True,
        text=True,
        timeout=18,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_certificate_that_expires_while_the_connection_is_open(tmp_path: Path, version: str) -> None:
    """Failure model 34: nothing happens to the connection; the next one fails with CERT_HAS_EXPIRED."""
    assert under_faketime(EXPIRES, tmp_path, version, hours=24) == "done\n"


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_clock_that_jumps(tmp_path: Path, version: str) -> None:
    """Failure model 34: no timer of a connection looks at the wall clock, neither too early nor never."""
    assert under_faketime(TIMERS, tmp_path, version, hours=24) == "done\n"


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_sessions_of_another_time(tmp_path: Path, version: str) -> None:
    """Failure model 34: a session that is too old by the clock is not resumed; nor is one of an expired certificate."""
    assert under_faketime(SESSIONS, tmp_path, version, hours=12) == "done\n"
