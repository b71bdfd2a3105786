"""Known vulnerabilities of other TLS layers, shown to be none of ours: those that concern clients."""

import asyncio
import contextlib
import gc
import itertools
import struct
import threading
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.hostile.records import HANDSHAKE, plain_record
from tests.support.bad_servers import BadServer, Visitor, behaving
from tests.support.pairs import MemoryDuplex, client_options, server_options, tcp_pair, until
from tests.support.pki import named
from tests.support.servers import echo, serving, to
from tests.test_server_cves import ENDINGS

SELECTED = {
    "empty-list": b"\x00\x00",
    "empty-name": b"\x00\x01\x00",
    "two-names": b"\x00\x06\x02h2\x02h3",
    "too-long": b"\x00\x03\x09h2",
    "behind-the-end": b"\x00\x03\x02h2\x00",
    "nothing": b"",
}


@pytest.mark.parametrize("offers", [["h2", "http/1.1"], []], ids=["offers", "no-offers"])
@pytest.mark.parametrize("name", SELECTED)
def test_cve_2024_5535(run: Run, name: str, offers: list[str]) -> None:
    """CVE-2024-5535, CVE-2024-5642, for clients: a server's choice of protocol that is none; nothing is read over."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            hello = server.server_hello(await server.flight())
            server.protect()
            body = struct.pack("!HH", 16, len(SELECTED[name])) + SELECTED[name]
            message = struct.pack("!H", len(body)) + body
            await server.send(hello + server.record(HANDSHAKE, b"\x08" + len(message).to_bytes(3, "big") + message))
            assert await server.told() in ("decode_error", "illegal_parameter", "unsupported_extension")

        async with behaving(behave) as stage:
            visitor = stage.visitor(alpn_protocols=offers)
            error = await visitor.failed()
            assert isinstance(error, aiotls.ProtocolError)
            assert error.code.startswith("ERR_SSL_")
            assert not visitor.client.alpn_protocol

    run(main)


def test_cve_2023_40217(run: Run) -> None:
    """CVE-2023-40217, for clients: plain bytes of a server that has gone already are never application data."""

    async def main() -> None:
        for words in (b"HTTP/1.1 200 OK\r\n\r\nwelcome", plain_record(23, b"welcome"), plain_record(21, b"\x01\x00")):
            near, far = await tcp_pair()
            far.sendall(words)
            far.close()
            visitor = Visitor(aiotls.connect(socket=near, **client_options())).listen()
            assert isinstance(await visitor.failed(), aiotls.TLSError)
            assert (visitor.data, visitor.secure, visitor.client.bytes_read) == (b"", 0, 0)

    run(main)


# ---- the order of things


@pytest.mark.parametrize("event", ["secure", "secure_connect", "data", "drain", "end", "finish", "close", "session"])
def test_cve_2020_8265(run: Run, event: Any) -> None:
    """CVE-2020-8265, for clients: writing and every kind of ending, in every order, in callbacks that they call."""

    async def main() -> None:
        orders = list(itertools.permutations(ENDINGS, 3)) * 3

        def serve(socket: aiotls.TLSSocket) -> None:
            socket.on("error", lambda _: None)
            socket.on("data", socket.write)
            socket.write(bytes(100_000))
            if event == "end":
                socket.end()

        async with serving(serve) as server:
            server.on("tls_client_error", lambda *_: None)

            async def client(order: tuple[str, ...]) -> None:
                one = to(server, high_water_mark=1)
                visitor = Visitor(one)
                acted = 0

                def act(*_: Any) -> None:
                    nonlocal acted
                    acted += 1
                    for name in order:
                        with contextlib.suppress(aiotls.StateError):
                            getattr(one, name)(*([b"x" * 50_000] if name == "write" else []))

                one.on(event, act)
                one.on("data", lambda _: None)
                one.write(b"hello" * 10_000)
                if event in ("finish", "close"):
                    one.end()
                    one.on("end", one.destroy)
                await visitor.gone()
                assert acted
                assert len(visitor.closed) == 1
                assert len(visitor.errors) <= 1

            for start in range(0, len(orders), 10):
                await asyncio.gather(*(client(order) for order in orders[start : start + 10]))
            server.close_all_connections()
            await until(lambda: not server.get_connections())

    run(main)


def test_cve_2023_23919(run: Run) -> None:
    """CVE-2023-23919, for clients: after 1,000 forced failures a good handshake and a good key load succeed."""

    async def main() -> None:
        garbage = (b"*" * 100, plain_record(HANDSHAKE, b"\x02\x00\x00\x00"), plain_record(21, b"\x02\x28"), b"")
        context = aiotls.create_secure_context(ca=named.ca.cert_pem)
        broken = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
        async with serving(echo) as server:

            async def good() -> None:
                own = {"cert": named.client_ec.chain_pem, "key": named.client_ec.key_pem_encrypted(b"x")}
                async with to(server, **own, passphrase="x") as client:
                    assert client.authorized
                    client.end(b"x")
                    assert await client.read() == b"x"

            for number in range(1000):
                kind = number % 5
                if kind == 4:
                    with pytest.raises(aiotls.OptionError):
                        aiotls.create_secure_context(ca=broken)
                else:
                    near, far = MemoryDuplex.pair()
                    client = aiotls.connect(socket=near, secure_context=context, servername="localhost")
                    far.write(garbage[kind])
                    await far.drain()
                    far.write_eof()
                    with pytest.raises(aiotls.TLSError):
                        await client
                if number % 100 == 0:
                    await good()
            await good()

    run(main)


def test_cve_2026_19445(run: Run) -> None:
    """CVE-2026-19445, for clients: the context lives as long as its connection, in the midst of a handshake too."""

    async def main() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def check(*_: Any) -> None:
            asked.set()
            await go_on.wait()

        context = aiotls.create_secure_context(ca=named.ca.cert_pem)
        async with serving(echo) as server:
            client = to(server, ca=None, secure_context=context, check_server_identity=check)
            await asked.wait()
            del context
            gc.collect()
            server.set_secure_context(cert=named.server.chain_pem, key=named.server.key_pem)
            gc.collect()
            go_on.set()
            async with client:
                client.end(b"x")
                assert await client.read() == b"x"

    run(main)


# ---- threads


def test_cve_2024_0397() -> None:
    """CVE-2024-0397: the list of authorities is read, replaced and used in several threads: never half of it."""
    choices = [[named.ca.cert_pem.decode()], [named.ca_a.cert_pem.decode(), named.ca_b.cert_pem.decode()]]
    before = aiotls.get_ca_certificates("default")
    stop = threading.Event()
    wrong: list[Any] = []

    def reading() -> None:
        while not stop.is_set():
            found = aiotls.get_ca_certificates("default")
            if found not in (before, *choices):
                wrong.append(found)
            aiotls.create_secure_context()

    def replacing() -> None:
        for number in range(300):
            aiotls.set_default_ca_certificates(choices[number % 2])
        stop.set()

    threads = [threading.Thread(target=reading) for _ in range(3)] + [threading.Thread(target=replacing)]
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        stop.set()
        aiotls.set_default_ca_certificates(before)
    assert wrong == []


def test_cve_2025_23166(run: Run) -> None:
    """CVE-2025-23166: what fails in a worker thread is an error of whoever waits for it, and of nobody else."""

    async def main() -> None:
        broken = named.server.key_pem.replace(b"M", b"!", 40)
        async with serving(echo) as server:
            client = await to(server)

            def build(number: int) -> aiotls.SecureContext:
                if number % 2:
                    return aiotls.create_secure_context(cert=named.server.chain_pem, key=broken)
                return aiotls.create_secure_context(**server_options())

            outcomes = await asyncio.gather(
                *(asyncio.to_thread(build, number) for number in range(40)), return_exceptions=True
            )
            for number, outcome in enumerate(outcomes):
                assert isinstance(outcome, aiotls.OptionError if number % 2 else aiotls.SecureContext)
            await asyncio.get_running_loop().shutdown_default_executor()
            lost = Visitor(aiotls.connect("localhost", 1, **client_options()))  # asyncio has nobody to look it up
            assert isinstance(await lost.failed(), RuntimeError | aiotls.ConnectError)
            client.end(b"still here")
            assert await client.read() == b"still here"
            await client.wait_closed()

    run(main)
