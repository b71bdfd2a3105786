"""What the options of every function take: each type of each option, and None, wherever an option can be given."""

import pathlib
import socket
import ssl
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

import aiotls
from aiotls import constants
from aiotls.options import ConnectOptions
from tests.conftest import Run
from tests.support.pairs import MemoryDuplex, gone, server_options
from tests.support.pki import named
from tests.test_option_values import NAMES, REFUSED

FLAG = (True, False)
LIMIT = (1, 0.5, 2_147_483)
IDLE = (0, *LIMIT)
COUNT = (0, 1, 65536, 2**31 - 1)
CERT, KEY = named.server_ec.chain_pem, named.server_ec.key_pem
PFX = pkcs12.serialize_key_and_certificates(
    None,
    named.server_ec.key,
    named.server_ec.certificate,
    None,
    NoEncryption(),
)
TEXTS = (bytes, bytes.decode, bytearray, memoryview)


class Call:
    """Something that can be called, as users may have it."""

    def __call__(self, *_: object) -> None: ...

    async def later(self, *_: object) -> None: ...


FUNCTION = (print, lambda *_: None, Call(), Call().later)

ACCEPTED: dict[str, tuple[Any, ...]] = {
    # ---- of a secure context
    "allow_partial_trust_chain": FLAG,
    "ca": (*(kind(CERT) for kind in TEXTS), [CERT], (CERT,), [], (), False, "", named.ca.der, named.ca.certificate),
    "cert": (*(kind(CERT) for kind in TEXTS), [CERT], (CERT,), [], (), False, "", named.ca.der, named.ca.certificate),
    "certificate_compression": ([], (), [*aiotls.get_certificate_compression_algorithms()]),
    "ciphers": ("", "HIGH", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256:ECDHE+AESGCM:@SECLEVEL=1"),
    "client_cert_engine": (),
    "crl": (*(kind(named.crl) for kind in TEXTS), [named.crl], (named.crl,), [], (), False, ""),
    "dhparam": ("auto",),
    "ecdh_curve": ("auto", "prime256v1", "X25519:P-256:secp384r1"),
    "honor_cipher_order": FLAG,
    "key": (
        *(kind(KEY) for kind in TEXTS),
        *([KEY], (KEY,), [{"pem": KEY}], [{"pem": KEY, "passphrase": None}], [], (), False, "", named.server_ec.key),
    ),
    "max_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
    "min_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
    "passphrase": ("word", b"word", bytearray(b"word"), memoryview(b"word"), "", lambda: "word", print),
    "pfx": (PFX, bytearray(PFX), memoryview(PFX), [PFX], (PFX,), [{"buf": PFX}, PFX], [], (), False, b""),
    "private_key_engine": (),
    "private_key_identifier": (),
    "secure_options": (0, 1, constants.SSL_OP_NO_TICKET, 2**64 - 1, ssl.OP_NO_TICKET),
    "secure_protocol": ("TLS_method", "SSLv23_method", "TLSv1_2_method", "TLSv1_2_client_method"),
    "session_id_context": ("x", "x" * 32, "é" * 16),
    "session_timeout": (0, 1, 300, 2**31 - 1),
    "sigalgs": ("RSA-PSS+SHA256", "ECDSA+SHA256:ed25519", "rsa_pss_rsae_sha384"),
    "ticket_keys": (b"x" * 48, bytearray(48), memoryview(bytes(48)), aiotls.TicketKeyRing()),
    # ---- of every connection
    "allow_half_open": FLAG,
    "alpn_protocols": (
        ["h2"],
        (b"h2", "http/1.1"),
        [],
        (),
        b"\x02h2",
        bytearray(b"\x02h2"),
        memoryview(b"\x02h2"),
        b"",
    ),
    "close_timeout": LIMIT,
    "enable_trace": (False,),
    "handshake_timeout": LIMIT,
    "high_water_mark": COUNT,
    "keep_alive": FLAG,
    "keep_alive_initial_delay": IDLE,
    "no_delay": FLAG,
    # Only False turns verification off, so nothing else has to be refused.
    "reject_unauthorized": (True, False, 0, 1, "", "no", [], object()),
    "require_close_notify": FLAG,
    "secure_context": (aiotls.create_secure_context(),),
    "timeout": IDLE,
    # ---- of clients
    "check_server_identity": FUNCTION,
    "min_dh_size": (1, 1024, 2048, 16384),
    "onread": (
        {"buffer": bytearray(8), "callback": print},
        {"buffer": memoryview(bytearray(8)), "callback": print},
        {"buffer": lambda: bytearray(8), "callback": lambda nread, buffer: False},
    ),
    "request_ocsp": FLAG,
    "servername": ("a.example", "A.Example.", "bücher.example", "xn--bcher-kva.example", "localhost", False, ""),
    "session": (),
    # ---- of connect
    "auto_select_family": FLAG,
    "auto_select_family_attempt_timeout": LIMIT,
    "family": (0, 4, 6, socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC),
    "host": ("localhost", "127.0.0.1", "::1", "a.example", "bücher.example"),
    "local_address": ("127.0.0.1", "::1"),
    "local_port": (0, 1, 65535),
    "lookup": (lambda *_: "127.0.0.1", Call(), Call().later),
    "path": ("/run/there-is-nothing", pathlib.Path("/run/there-is-nothing")),
    "port": (0, 1, 65535),
    "psk_callback": (lambda *_: None, Call()),
    "socket": (),
    # ---- of servers
    "alpn_callback": FUNCTION,
    "check_client_identity": FUNCTION,
    "drop_max_connection": FLAG,
    "max_connections": COUNT,
    "pause_on_connect": FLAG,
    "psk_identity_hint": ("", "hint", "é" * 64),
    "request_cert": FLAG,
    "sni_callback": FUNCTION,
    # ---- of TLSSocket
    "is_server": FLAG,
}
"""What is not here because nothing valid can be made up stands in `ELSEWHERE`."""
ELSEWHERE = {"client_cert_engine", "private_key_engine", "private_key_identifier", "session", "socket"}

DIALS = {"auto_select_family", "auto_select_family_attempt_timeout", "family", "host", "local_address", "local_port"}
DIALS |= {"lookup", "path", "port", "socket"}
"""Options about how `connect` gets a connection: they are read here, and none is made."""
FUNCTIONS = [function for function in NAMES if function != "set_key_cert"]


async def take(function: str, options: dict[str, Any]) -> None:
    """Calls a function with options, and ends at once what has begun."""
    stream, _ = MemoryDuplex.pair()
    if function == "create_secure_context":
        aiotls.create_secure_context(**options)
    elif function == "create_server":
        aiotls.create_server(**options)
    elif function == "connect" and DIALS & options.keys():
        instead = {"path": "/run/there-is-nothing"} if "port" in options else {"port": 1}
        ConnectOptions.parse({**instead, **options})
    elif function == "connect":
        await gone(aiotls.connect(socket=stream, **options))
    elif function == "TLSSocket":
        await gone(aiotls.TLSSocket(stream, **options))
    elif function == "create_secure_pair":
        with pytest.warns(DeprecationWarning, match="create_secure_pair"):
            pair = aiotls.create_secure_pair(**options)
        pair.destroy()
        await gone(pair.cleartext)
    else:
        server = aiotls.create_server(**server_options())
        if function == "add_context":
            server.add_context("a.example", **options)
        else:
            server.set_secure_context(**options)


@pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)
@pytest.mark.parametrize(
    ("function", "option"), [(name, option) for name in FUNCTIONS for option in sorted(NAMES[name])]
)
def test_what_an_option_takes(run: Run, function: str, option: str) -> None:
    """Each type of each option; None is absent, but for the two that refuse it."""
    values = ACCEPTED[option]
    if option == "reject_unauthorized" and function == "add_context":
        values = FLAG

    async def main() -> None:
        for value in values:
            await take(function, {option: value})
        if not REFUSED[option].none:
            await take(function, {option: None})

    run(main)


@pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_everything_absent(run: Run, function: str) -> None:
    """CONN-03: every option None at once is as if nothing had been given."""
    absent = {option: None for option in NAMES[function] if not REFUSED[option].none}

    async def main() -> None:
        if function == "connect":
            for option in DIALS:
                absent.pop(option)
        await take(function, absent)

    run(main)


def test_no_option_is_missing() -> None:
    """A new option has to say here what it takes."""
    assert set(ACCEPTED) == set(REFUSED)
    assert {option for option, values in ACCEPTED.items() if not values} == ELSEWHERE
    assert [option for option in REFUSED if REFUSED[option].none] == ["ecdh_curve", "min_dh_size"]
