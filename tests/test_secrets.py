"""Secrets that were given to the library appear in nothing that a program prints, logs or stores."""

import base64
import gc
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import client_options, until
from tests.support.pki import named
from tests.support.servers import port_of
from tests.test_server_process import in_process

PASSPHRASE = b"planted-passphrase-of-the-key"
PSK_KEY = b"planted-pre-shared-key-32-bytes!"
TICKET_KEY = b"planted-ticket-key-with-48-bytes-exactly-no-more"


def forms(secret: bytes) -> list[bytes]:
    """How a secret may look in a text."""
    return [secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret)[:-4]]


def planted() -> list[bytes]:
    """Every form of every secret; of the private key each line of its PEM, and its number."""
    key = named.server_ec.key_pem
    number = named.server_ec.key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    lines = [line for line in key.splitlines()[1:-1] if len(line) > 20]
    return [*lines, *(form for secret in (PASSPHRASE, PSK_KEY, TICKET_KEY, number) for form in forms(secret))]


def assert_silent(what: str, text: str | bytes) -> None:
    octets = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    found = [form for form in planted() if form in octets]
    assert not found, f"{what} tells a secret"


def assert_error_silent(error: BaseException) -> None:
    """Neither its words nor its traceback, its attributes or its pickle tell anything."""
    assert_silent("the traceback", "".join(traceback.format_exception(error)))
    each: BaseException | None = error
    while each is not None:
        for text in (str(each), repr(each), repr(each.args), repr(vars(each))):
            assert_silent(f"{type(each).__name__}", text)
        if isinstance(each, aiotls.TLSError):
            assert_silent("its pickle", pickle.dumps(each))
        each = each.__cause__ or each.__context__


def encrypted() -> bytes:
    return named.server_ec.key_pem_encrypted(PASSPHRASE)


BROKEN = b"-----BEGIN PRIVATE KEY-----\n" + b"".join(named.server_ec.key_pem.splitlines(True)[1:-1])[:-10]

MISTAKES: dict[str, Callable[[], object]] = {
    "key-for-another-certificate": lambda: aiotls.create_secure_context(
        cert=named.server.chain_pem, key=named.server_ec.key_pem
    ),
    "key-as-certificate": lambda: aiotls.create_secure_context(cert=named.server_ec.key_pem),
    "broken-key": lambda: aiotls.create_secure_context(cert=named.server_ec.chain_pem, key=BROKEN),
    "key-in-a-dict": lambda: aiotls.create_secure_context(key={"pem": named.server_ec.key_pem}),
    "key-of-a-wrong-type": lambda: aiotls.create_secure_context(key=[named.server_ec.key_pem, True]),  # type: ignore[list-item]
    "wrong-passphrase": lambda: aiotls.create_secure_context(
        cert=named.server_ec.chain_pem, key=named.server_ec.key_pem_encrypted(b"another"), passphrase=PASSPHRASE
    ),
    "passphrase-of-a-wrong-type": lambda: aiotls.create_secure_context(
        cert=named.server_ec.chain_pem,
        key=encrypted(),
        passphrase=[PASSPHRASE],  # type: ignore[arg-type]
    ),
    "passphrase-in-the-list": lambda: aiotls.create_secure_context(
        cert=named.server_ec.chain_pem,
        key=[{"pem": named.server.key_pem_encrypted(b"another"), "passphrase": PASSPHRASE.decode()}],
    ),
    "short-ticket-key": lambda: aiotls.create_server(ticket_keys=TICKET_KEY[:-1]),
    "long-ticket-key": lambda: aiotls.create_server(ticket_keys=TICKET_KEY + b"x"),
    "ticket-key-as-text": lambda: aiotls.create_server(ticket_keys=TICKET_KEY.decode()),  # type: ignore[arg-type]
    "ring-of-text": lambda: aiotls.TicketKeyRing(TICKET_KEY.decode()),  # type: ignore[arg-type]
    "ring-with-a-short-key": lambda: aiotls.TicketKeyRing(TICKET_KEY, TICKET_KEY[:-1]),
    "psk-as-text": lambda: aiotls.PSK("client", PSK_KEY.decode()),  # type: ignore[arg-type]
    "long-psk": lambda: aiotls.PSK("client", PSK_KEY * 100),
    "swapped-psk": lambda: aiotls.PSK(PSK_KEY, "client"),  # type: ignore[arg-type]
    "psk-for-a-callback": lambda: aiotls.create_server(psk_callback=PSK_KEY),  # type: ignore[arg-type]
    "key-for-a-ca": lambda: aiotls.create_secure_context(ca=named.server_ec.key_pem),
    "key-for-a-crl": lambda: aiotls.create_secure_context(crl=named.server_ec.key_pem),
    "unknown-option": lambda: aiotls.create_server(pass_phrase=PASSPHRASE),  # type: ignore[call-arg]
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_of_options_that_cannot_work(mistake: str) -> None:
    """Failure model 30: an error that names the option, not what was in it."""
    with pytest.raises((TypeError, ValueError)) as failure:
        MISTAKES[mistake]()
    error = failure.value
    error.__traceback__ = None  # the lines of this very test are in it
    assert_error_silent(error)


def test_of_objects_that_are_printed(run: Run) -> None:
    """Failure model 30: whatever the library holds while a server serves, its repr is silent, and no secret pickled."""

    async def main() -> None:
        others = {id(each) for each in gc.get_objects()}
        ring = aiotls.TicketKeyRing(TICKET_KEY)
        psk = aiotls.PSK("client", PSK_KEY)
        server = aiotls.create_server(
            lambda socket: socket.on("data", socket.write),
            cert=named.server_ec.chain_pem,
            key=encrypted(),
            passphrase=PASSPHRASE,
            ticket_keys=ring,
            psk_callback=lambda socket, identity: PSK_KEY,
        )
        async with server:
            await server.listen(0, "127.0.0.1")
            options = client_options(psk_callback=lambda hint: psk, check_server_identity=lambda *_: None)
            accepted: list[aiotls.TLSSocket] = []
            server.on("secure_connection", accepted.append)
            client = aiotls.connect("127.0.0.1", port_of(server), **options)
            sessions: list[bytes] = []
            client.on("session", sessions.append)
            async with client:
                client.write(b"x")
                assert await client.readexactly(1) == b"x"
                await until(lambda: accepted)
                for each in gc.get_objects():
                    if str(type(each).__module__).partition(".")[0] == "aiotls" and id(each) not in others:
                        for text in (repr(each), str(each), f"{each}"):
                            assert_silent(repr(type(each)), text)
                context = aiotls.create_secure_context(cert=named.server_ec.chain_pem, key=named.server_ec.key_pem)
                for holder in (server, client, accepted[0], context, ring, psk):
                    with pytest.raises(TypeError):
                        pickle.dumps(holder)
                client.end()
                await client.read()

    run(main)


WRONG_ANSWERS = {"text": PSK_KEY.decode(), "list": [PSK_KEY], "too-long": PSK_KEY * 100}


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("answer", WRONG_ANSWERS)
def test_of_answers_of_the_wrong_kind(run: Run, version: str, side: str, answer: str) -> None:
    """Failure model 30: a psk_callback that returns its key in a wrong shape does not publish it."""

    async def main() -> None:
        wrong = WRONG_ANSWERS[answer]
        errors: list[Any] = []
        server = aiotls.create_server(
            ciphers="PSK+HIGH",
            max_version=version,
            psk_callback=lambda socket, identity: wrong if side == "server" else PSK_KEY,  # type: ignore[arg-type, return-value]
        )
        server.on("tls_client_error", lambda error, _: errors.append(error))
        async with server:
            await server.listen(0, "127.0.0.1")
            client = aiotls.connect(
                "127.0.0.1",
                port_of(server),
                ciphers="PSK+HIGH",
                psk_callback=lambda hint: wrong if side == "client" else aiotls.PSK("client", PSK_KEY),  # type: ignore[arg-type, return-value]
            )
            client.on("error", errors.append)
            await client.wait_for("close")
            await until(lambda: len(errors) >= 2)
        assert any(isinstance(error, TypeError | ValueError) for error in errors)
        for error in errors:
            error.__traceback__ = None
            assert_error_silent(error)

    run(main)


SILENT = """
    import asyncio, os
    import aiotls

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 60
        server = aiotls.create_server(
            lambda socket: socket.end(b"x"), cert=os.environ["TEST_CERT"], key=os.environ["TEST_KEY"])
        async with server:
            await server.listen(0, "127.0.0.1")
            port = server.address().port
            async with aiotls.connect("127.0.0.1", port, ca=os.environ["TEST_CA"]) as client:
                assert await client.read() == b"x"

    asyncio.run(main())
"""


def test_no_key_log_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure model 29: no listener, no variable: no file, and not a line on the terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    assert in_process(SILENT, named.server_ec) == ""
    assert list(tmp_path.iterdir()) == []
