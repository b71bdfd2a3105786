"""What the options of every function refuse: one table, gone through wherever an option can be given.

An error names its option at the call itself, before anything is opened, and leaves what it was given as it was.
"""

import asyncio
import contextlib
import math
import pathlib
import socket
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import aiotls
from aiotls.keywords import ConnectKeywords, ContextKeywords, ServerKeywords, WrapKeywords
from tests.conftest import Run, open_descriptors
from tests.support.pairs import MemoryDuplex, gone, server_options
from tests.support.pki import named
from tests.support.servers import echo, serving, to

TYPE = "ERR_INVALID_ARG_TYPE"
VALUE = "ERR_INVALID_ARG_VALUE"
RANGE = "ERR_OUT_OF_RANGE"
PORT = "ERR_SOCKET_BAD_PORT"
VERSION = "ERR_TLS_INVALID_PROTOCOL_VERSION"
FAILED = "ERR_CRYPTO_OPERATION_FAILED"
NO_CIPHER = "ERR_SSL_NO_CIPHER_MATCH"
OPENSSL = "ERR_OSSL_"
"""How the codes of OpenSSL's other libraries begin; which one it is depends on the version."""


@dataclass(frozen=True)
class Refusal:
    """What one option does not take."""

    types: tuple[Any, ...] = ()
    """Refused with `TYPE`, as a TypeError."""
    values: tuple[tuple[Any, str], ...] = ()
    """Refused with this code, or one that begins so, as a ValueError and no TypeError."""
    none: bool = False
    """Whether None is refused too, as a wrong type; else it means that the option is absent."""
    beside: dict[str, Any] = field(default_factory=dict)
    """What else is given, for options that mean nothing alone."""

    @property
    def cases(self) -> Iterator[tuple[Any, str]]:
        yield from ((value, TYPE) for value in (*self.types, *((None,) if self.none else ())))
        yield from self.values


PEM = named.ca.cert_pem
MISSING = pathlib.Path(__file__).with_name("there-is-no-such-file.pem")
BROKEN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BROKEN_KEY = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"

FLAG = Refusal((0, 1, 1.0, "yes", "", b"", [], {}))
TEXT: tuple[Any, ...] = (0, 1, True, False, 1.5, b"text", ["text"], {}, object())
FUNCTION = Refusal((0, 1, True, False, "", "name", b"", [], {}, object()))
SECONDS: tuple[Any, ...] = ("1", True, False, b"1", [1], {}, object())
TIMEOUT = Refusal(SECONDS, tuple((value, RANGE) for value in (0, -1, -0.5, math.inf, -math.inf, math.nan, 3e6)))
IDLE = Refusal(SECONDS, tuple((value, RANGE) for value in (-1, -0.5, math.inf, math.nan, 3e6)))
NUMBER: tuple[Any, ...] = ("1", True, False, 1.0, b"1", [1], {}, object())
COUNT = Refusal(NUMBER, tuple((value, RANGE) for value in (-1, 1.5, 2**31, math.inf, math.nan)))
PORTS = Refusal(("443", True, False, 1.0, 1.5, b"443", [443], {}), ((-1, PORT), (65536, PORT)))
PROTOCOL = Refusal(
    values=tuple((value, VERSION) for value in ("x", "TLSv1.4", "tlsv1.2", "", 1, 1.2, True, b"TLSv1.2"))
)
CERTIFICATES = Refusal(
    (True, 1, 1.5, {}, {"pem": PEM}, object(), [True], [PEM, True], [PEM, None], [PEM, False], [[PEM]], named.ca.key),
    (
        ("server.pem", VALUE),
        (["server.pem"], VALUE),
        (named.ca.key_pem, VALUE),
        (MISSING, "ENOENT"),
        (BROKEN_CERTIFICATE, OPENSSL),
        ([PEM, BROKEN_CERTIFICATE], OPENSSL),
        (b"\x30\x03\x02\x01", OPENSSL),
    ),
)
NO_STORE = ((MISSING.as_uri(), "ERR_"), ("no-such-scheme:x", "ERR_"), (["no-such-scheme:x"], "ERR_"))
"""Store URIs that lead nowhere."""
ENGINE = Refusal(TEXT, (("", VALUE), ("a\0b", VALUE)))

REFUSED: dict[str, Refusal] = {
    # ---- of a secure context
    "allow_partial_trust_chain": FLAG,
    "ca": CERTIFICATES,
    "cert": Refusal(CERTIFICATES.types, (*CERTIFICATES.values, *NO_STORE)),
    "certificate_compression": Refusal(
        (True, False, 1, "zlib", b"zlib", {}), tuple(([value], VALUE) for value in ("invalid", "ZLIB", "", 1, None))
    ),
    "ciphers": Refusal(
        TEXT,
        (
            *((value, NO_CIPHER) for value in ("no-such-cipher", "-ALL", "TLS_NO_SUCH_SUITE", "no-such:nor-this")),
            *((value, VALUE) for value in (":", " ", "@SECLEVEL=1", "HIGH\0")),
        ),
    ),
    "client_cert_engine": ENGINE,
    "crl": Refusal(
        (True, 1, 1.5, {}, object(), [True], [named.crl, None], [[named.crl]]),
        (("crl.pem", FAILED), (PEM, FAILED), ([named.crl, "crl.pem"], FAILED), (MISSING, "ENOENT")),
    ),
    "dhparam": Refusal(
        (1, 1.5, True, {}, [], object()), tuple((value, "ERR_") for value in ("none", "dh.pem", PEM, "a\0b"))
    ),
    "ecdh_curve": Refusal(
        TEXT,
        (("", VALUE), ("prime256v1\0", VALUE), *((v, FAILED) for v in ("bogus", "prime256v1:bogus", "prime192v3"))),
        none=True,
    ),
    "honor_cipher_order": FLAG,
    "key": Refusal(
        (
            *(True, 1, 1.5, {}, {"pem": named.ca.key_pem}, object(), [True], [True, False], [named.ca.key_pem, None]),
            *(
                [named.ca.key_pem, False],
                [[named.ca.key_pem]],
                [{}],
                [{"pem": 5}],
                [{"pem": None}],
                named.ca.certificate,
            ),
            [{"pem": named.ca.key_pem, "passphrase": 5}],
        ),
        (
            *(("server.key", VALUE), (["server.key"], VALUE), (PEM, VALUE), (MISSING, "ENOENT")),
            *((BROKEN_KEY, OPENSSL), ([{"pem": named.ca.key_pem, "passphase": "x"}], VALUE)),
            (named.ca.key_pem_encrypted(b"password"), "ERR_OSSL_BAD_DECRYPT"),
            *NO_STORE,
        ),
    ),
    "max_version": PROTOCOL,
    "min_version": PROTOCOL,
    "passphrase": Refusal(
        (0, 1, 1.5, True, False, [], {}, object(), lambda: 5, lambda: object()),
        beside={"key": named.ca.key_pem_encrypted(b"password")},
    ),
    "pfx": Refusal(
        (True, 1, 1.5, "text", {}, {"buf": b"x"}, object(), [True], ["text"], [None], [{}], [{"buf": 5}], [[b"x"]]),
        ((b"junk", OPENSSL), ([b"junk"], OPENSSL), ([{"buf": b"junk"}], OPENSSL), (MISSING, "ENOENT")),
    ),
    "private_key_engine": ENGINE,
    "private_key_identifier": ENGINE,
    "secure_options": Refusal(NUMBER, ((-1, RANGE), (2**64, RANGE), (1.5, RANGE), (math.nan, RANGE))),
    "secure_protocol": Refusal(
        TEXT,
        tuple(
            (value, "ERR_TLS_INVALID_PROTOCOL_METHOD")
            for value in (
                "SSLv2_method",
                "SSLv3_method",
                "hokey-pokey",
                "%s_method",
                "TLSv1_3_method",
                "",
                "tls_method",
            )
        ),
    ),
    "session_id_context": Refusal(TEXT, (("", VALUE), ("a\0b", VALUE), ("x" * 33, RANGE), ("é" * 17, RANGE))),
    "session_timeout": Refusal(NUMBER, tuple((value, RANGE) for value in (-1, 1.5, 2**31, math.nan))),
    "sigalgs": Refusal(TEXT, (("", VALUE), ("a\0b", VALUE), ("BOGUS+SHA1", FAILED), ("RSA+SHA256:BOGUS", FAILED))),
    "ticket_keys": Refusal(
        (1, True, False, "x" * 48, [], {}, [b"x" * 48], object()),
        ((b"", VALUE), (b"x" * 47, VALUE), (b"x" * 49, VALUE)),
    ),
    # ---- of every connection
    "allow_half_open": FLAG,
    "alpn_protocols": Refusal(
        ("h2", 1, True, False, {}, {"h2"}, object(), [1], [None], ["h2", True]),
        (([""], VALUE), (["x" * 256], VALUE), (["x" * 200] * 400, VALUE), (b"\x05h2", VALUE), (b"\x00", VALUE)),
    ),
    "close_timeout": TIMEOUT,
    "enable_trace": FLAG,
    "handshake_timeout": TIMEOUT,
    "high_water_mark": COUNT,
    "keep_alive": FLAG,
    "keep_alive_initial_delay": IDLE,
    "no_delay": FLAG,
    # CVE-2021-22939: only False turns verification off; everything else, however wrong, leaves it on.
    "reject_unauthorized": Refusal(),
    "require_close_notify": FLAG,
    "secure_context": Refusal((0, 1, True, False, "", "x", b"", {}, [], object(), aiotls.SecureContext)),
    "timeout": IDLE,
    # ---- of clients
    "check_server_identity": FUNCTION,
    "min_dh_size": Refusal(
        (True, False, {}, [], "", "1", b"1", object()),
        tuple((value, RANGE) for value in (0, -1, -math.inf, math.nan, 1.5)),
        none=True,
    ),
    "onread": Refusal((0, 1, True, False, "x", b"x", [], object(), print, {}, {"buffer": bytearray(8)})),
    "request_ocsp": FLAG,
    "servername": Refusal(
        (0, 1, True, b"localhost", ["localhost"], {}, object()),
        tuple((value, VALUE) for value in ("127.0.0.1", "::1", "a\0b.example", "a b", "a\nb", "x" * 256)),
    ),
    "session": Refusal((1, True, False, "x", [], {}, object()), ((b"", VALUE), (b"junk", VALUE))),
    # ---- of connect
    "auto_select_family": FLAG,
    "auto_select_family_attempt_timeout": TIMEOUT,
    "family": Refusal(("4", True, False, 4.0, b"4", [], {}), ((5, VALUE), (-1, VALUE), (socket.AF_UNIX, VALUE))),
    "host": Refusal(
        (1, True, False, b"localhost", [], {}, object()),
        tuple((value, VALUE) for value in ("", "a\0b.example", "a b.example", "a\n.example", "x" * 256)),
    ),
    "local_address": Refusal(TEXT, (("", VALUE), ("a\0b", VALUE))),
    "local_port": PORTS,
    "lookup": FUNCTION,
    "path": Refusal((1, True, False, b"/run/x", [], {}, object()), (("", VALUE), ("a\0b", VALUE), ("x" * 200, VALUE))),
    "port": PORTS,
    "psk_callback": FUNCTION,
    "socket": Refusal((0, 1, True, False, "", "x", b"", {}, [], (1, 2), object())),
    # ---- of servers
    "alpn_callback": FUNCTION,
    "check_client_identity": FUNCTION,
    "drop_max_connection": FLAG,
    "max_connections": COUNT,
    "pause_on_connect": FLAG,
    "psk_identity_hint": Refusal(TEXT, (("a\0b", VALUE),)),
    "request_cert": FLAG,
    "sni_callback": FUNCTION,
    # ---- of TLSSocket
    "is_server": FLAG,
}


# ---- where options can be given

Place = Callable[..., object]

NAMES: dict[str, frozenset[str]] = {
    "create_secure_context": ContextKeywords.__optional_keys__,
    "connect": ConnectKeywords.__optional_keys__,
    "create_server": ServerKeywords.__optional_keys__,
    "TLSSocket": WrapKeywords.__optional_keys__,
    "add_context": ContextKeywords.__optional_keys__ | {"request_cert", "reject_unauthorized"},
    "set_secure_context": ContextKeywords.__optional_keys__,
    "set_key_cert": ContextKeywords.__optional_keys__,
    "create_secure_pair": WrapKeywords.__optional_keys__,
}
"""Each function with the names of its options."""


@contextlib.asynccontextmanager
async def places() -> AsyncIterator[dict[str, Place]]:
    """The functions of `NAMES`, ready to be called with options alone.

    What a refused call could have opened is watched: nobody connects, no task begins, no descriptor is left, and a
    stream that was to be wrapped stays its owner's.
    """
    server = aiotls.create_server(**server_options())
    far = aiotls.TLSSocket(MemoryDuplex.pair()[0], is_server=True, **server_options())
    stream, other = MemoryDuplex.pair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        def connect(**options: Any) -> object:
            return aiotls.connect(**{"host": "127.0.0.1", "port": listening.getsockname()[1], **options})

        def secure_pair(**options: Any) -> object:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                return aiotls.create_secure_pair(**options)

        before, tasks = open_descriptors(), asyncio.all_tasks()
        yield {
            "create_secure_context": aiotls.create_secure_context,
            "connect": connect,
            "create_server": aiotls.create_server,
            "TLSSocket": lambda **options: aiotls.TLSSocket(stream, **options),
            "add_context": lambda **options: server.add_context("a.example", **options),
            "set_secure_context": server.set_secure_context,
            "set_key_cert": far.set_key_cert,
            "create_secure_pair": secure_pair,
        }
        with pytest.raises(BlockingIOError):
            listening.accept()
        assert asyncio.all_tasks() == tasks
        assert not open_descriptors() - before
    assert not stream.closed.is_set()
    assert not other.closed.is_set()
    await gone(far)


def refused(place: Place, option: str, value: Any, code: str, **beside: Any) -> aiotls.OptionError:
    """The error of a call with this value; it names the option and has this code, or one that begins so."""
    with pytest.raises(aiotls.OptionError) as caught:
        place(**{option: value, **beside})
    error = caught.value
    assert option in error.message
    assert (error.option or "").startswith(option)
    assert error.code.startswith(code)
    assert isinstance(error, TypeError) == (code == TYPE)
    assert isinstance(error, ValueError)
    return error


@pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)
@pytest.mark.parametrize(("function", "option"), [(name, option) for name in NAMES for option in sorted(NAMES[name])])
def test_a_wrong_value_is_refused_at_once(run: Run, function: str, option: str) -> None:
    """OPT-01, OPT-03, OPT-05, VER-01, CIPH-05, CIPH-09: every option, wherever it is given."""

    async def main() -> None:
        refusal = REFUSED[option]
        async with places() as functions:
            for value, code in refusal.cases:
                refused(functions[function], option, value, code, **refusal.beside)

    run(main)


@pytest.mark.parametrize("value", [0, 1, "", "no", [], object()])
def test_a_policy_for_a_name_is_true_false_or_none(value: Any) -> None:
    """`add_context` takes None for the server's own policy, so that here nothing else stands for True."""
    server = aiotls.create_server(**server_options())
    for option in ("request_cert", "reject_unauthorized"):
        refused(lambda **options: server.add_context("a.example", **options), option, value, TYPE)


@pytest.mark.parametrize("listener", ["this is not valid", 1, {}, True])
def test_a_listener_that_cannot_be_called(listener: Any) -> None:
    """OPT-02: the first argument of `create_server` is the listener; it is refused at once, with what was received."""
    with pytest.raises(aiotls.OptionTypeError) as caught:
        aiotls.create_server(listener)
    assert caught.value.message == f"listener must be callable or None, not {listener!r}"
    assert (caught.value.code, caught.value.option) == (TYPE, "listener")


def test_servers_without_certificates(run: Run) -> None:
    """OPT-02: a suite that needs none, a listener alone, and nothing at all: each can listen and close."""

    async def main() -> None:
        for server in (
            aiotls.create_server(ciphers="AECDH-NULL-SHA"),
            aiotls.create_server(lambda _socket: None),
            aiotls.create_server(),
        ):
            async with server:
                await server.listen(0, "127.0.0.1")
                assert server.listening

    run(main)


def test_a_server_keeps_what_it_has(run: Run) -> None:
    """What is refused changes nothing: the next client sees the old certificate, and no new name."""

    async def main() -> None:
        async with serving(echo) as server:
            for make in (server.set_secure_context, lambda **options: server.add_context("localhost", **options)):
                for options in (
                    {"cert": BROKEN_CERTIFICATE},
                    {"ciphers": "no-such"},
                    {"key": named.client.key_pem, "cert": PEM},
                ):
                    with pytest.raises(aiotls.OptionError):
                        make(**options)
            async with to(server) as client:
                certificate = client.get_peer_certificate()
                assert certificate is not None
                assert certificate.raw == named.server_ec.der

    run(main)


@pytest.mark.parametrize("begin", [lambda end, **options: aiotls.connect(socket=end, **options), aiotls.TLSSocket])
def test_a_socket_stays_its_owners(run: Run, begin: Place) -> None:
    """A ``socket.socket`` that was to be carried is neither closed nor changed; it can be tried again."""

    async def main() -> None:
        near, far = socket.socketpair()
        with near, far:
            for options in (
                {"ciphers": "no-such"},
                {"handshake_timeout": 0},
                {"cyphers": "HIGH"},
                {"servername": "::1"},
            ):
                with pytest.raises(aiotls.OptionError):
                    begin(near, **options)
                assert near.getblocking()
            near.sendall(b"still here")
            assert far.recv(64) == b"still here"

    run(main)


def test_no_option_is_missing() -> None:
    """A new option has to say here what it refuses."""
    assert set(REFUSED) == set().union(*NAMES.values())
    lenient = [option for option, refusal in REFUSED.items() if not list(refusal.cases)]
    assert lenient == ["reject_unauthorized"]
