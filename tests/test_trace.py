"""Tracing: what a connection says and hears, on the error stream of its process."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.pki import named
from tests.support.psk import KEY

ROOT = Path(__file__).parent.parent

PROGRAM = """
    import asyncio, os
    import aiotls

    async def main():
        # A slow machine is no matter of the test.
        asyncio.get_running_loop().slow_callback_duration = 60
        server = aiotls.create_server(
            key=os.environ["TEST_KEY"], cert=os.environ["TEST_CERT"], ciphers=os.environ["TEST_CIPHERS"],
            max_version=os.environ["TEST_VERSION"], {server}
        )
        async def echo(socket):
            async for chunk in socket:
                socket.write(chunk)
        server.on("secure_connection", echo)
        async with server:
            await server.listen(0, "127.0.0.1")
            {between}
            client = aiotls.connect(
                "127.0.0.1", server.address().port, ca=os.environ["TEST_CA"], servername="localhost",
                ciphers=os.environ["TEST_CIPHERS"], {client}
            )
            {at_once}
            async with client:
                {when_secure}
                client.end(b"marmalade")
                assert await client.read() == b"marmalade"

    asyncio.run(main())
"""

RECORD = r"(?:Sent|Received) (?:TLS )?Record"


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def traced(version: str, *, ciphers: str = "HIGH:TLS_AES_128_GCM_SHA256", **places: str) -> str:
    """Runs a server and its client in a process of their own; what it wrote to its error stream.

    Args:
        version: The protocol version of the connection.
        ciphers: The cipher list of both.
        places: Code for the places in the program: ``server``, ``client``, ``between``, ``at_once``, ``when_secure``.
    """
    empty = dict.fromkeys(("server", "client", "between", "at_once", "when_secure"), "")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TEST_CERT": named.server_ec.chain_pem.decode(),
        "TEST_KEY": named.server_ec.key_pem.decode(),
        "TEST_CA": named.ca.cert_pem.decode(),
        "TEST_VERSION": version,
        "TEST_CIPHERS": ciphers,
    }
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(PROGRAM).format(**{**empty, **places})],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=15,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def messages(trace: str, direction: str) -> set[str]:
    """The handshake messages that were sent or received, such as ``ClientHello``."""
    records = re.split(f"(?={RECORD})", trace, flags=re.MULTILINE)
    text = "".join(part for part in records if part and part.startswith(direction))
    return set(re.findall(r"^ +(\w+), Length=\d+$", text, re.MULTILINE))


def test_nothing_by_itself(version: str) -> None:
    assert traced(version) == ""


def test_trace_01_the_servers_option(version: str) -> None:
    """TRACE-01: ``enable_trace=True``: what the server receives and sends, in words."""
    trace = traced(version, server="enable_trace=True")
    assert re.search(r"Received (TLS )?Record", trace)
    assert "ClientHello" in messages(trace, "Received")
    assert "ServerHello" in messages(trace, "Sent")
    assert "ClientHello" not in messages(trace, "Sent")
    assert "Certificate" in messages(trace, "Sent")


@pytest.mark.parametrize(
    "places", [{"client": "enable_trace=True"}, {"at_once": "client.enable_trace()"}], ids=["option", "method"]
)
def test_trace_01_the_client(version: str, places: dict[str, str]) -> None:
    """TRACE-01: the client's method, called before the handshake, and its option."""
    trace = traced(version, **places)
    assert "ClientHello" in messages(trace, "Sent")
    assert "ServerHello" in messages(trace, "Received")
    assert "ServerHello" not in messages(trace, "Sent")


def test_trace_01_both(version: str) -> None:
    """TRACE-01: the traces of two connections stand in one stream."""
    trace = traced(version, server="enable_trace=True", at_once="client.enable_trace()")
    for direction in ("Sent", "Received"):
        assert {"ClientHello", "ServerHello", "Finished"} <= messages(trace, direction)


@pytest.mark.parametrize("event", ["connection", "secure_connection"])
def test_the_method_of_a_servers_socket(version: str, event: str) -> None:
    """From the moment on at which it is called."""
    trace = traced(version, between=f'server.on("{event}", lambda socket: socket.enable_trace())')
    assert "close notify" in trace
    assert ("ClientHello" in trace) is (event == "connection")


def test_after_the_handshake(version: str) -> None:
    """What follows is told, but no handshake that is over."""
    trace = traced(version, when_secure="client.enable_trace()")
    assert "close notify" in trace
    assert "ClientHello" not in trace


def test_twice_is_once(version: str) -> None:
    """The option and the method together print each record one time."""
    once = traced(version, client="enable_trace=True")
    twice = traced(version, client="enable_trace=True", at_once="client.enable_trace(); client.enable_trace()")
    assert len(re.findall(RECORD, once)) == len(re.findall(RECORD, twice)) > 0


def test_after_the_close() -> None:
    """It does nothing then, and raises nothing."""
    trace = traced("TLSv1.3", when_secure="client.destroy(); client.enable_trace(); return")
    assert "ClientHello" not in trace


def test_failure_model_30_what_it_does_not_tell(version: str) -> None:
    """Failure model 30: neither the data, nor a private key, nor a pre-shared one."""
    callbacks = {
        "server": f"enable_trace=True, psk_callback=lambda socket, identity: {KEY!r}",
        "client": f"enable_trace=True, psk_callback=lambda hint: aiotls.PSK('sensor', {KEY!r})",
    }
    trace = traced(version, ciphers="PSK+HIGH", **callbacks)
    plain = re.sub(r"[\s:-]", "", trace).lower()
    for secret in (b"marmalade", KEY):
        assert secret.decode() not in trace
        assert secret.hex() not in plain
    assert "sensor" in trace or b"sensor".hex() in plain
    assert "PRIVATE" not in trace
