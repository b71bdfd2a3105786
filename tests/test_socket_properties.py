"""What a `TLSSocket` tells: every property and every method that only answers, in every stage of its life."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import tls_pair
from tests.support.pki import named
from tests.support.stages import FROM_PEER, SIDES, STAGES, TO_PEER, VERSIONS, Staged, staged

PROMISED = {
    "authorized",
    "authorization_error",
    "alpn_protocol",
    "servername",
    "encrypted",
    "secure_connecting",
    "connecting",
    "pending",
    "destroyed",
    "ready_state",
    "local_address",
    "local_port",
    "local_family",
    "remote_address",
    "remote_port",
    "remote_family",
    "bytes_read",
    "bytes_written",
    "readable",
    "writable",
    "readable_length",
    "writable_length",
    "allow_half_open",
    "high_water_mark",
    "timeout",
}
"""The properties of the contract."""

LOOPBACK = "127.0.0.1"

Row = dict[str, Any]
Look = Callable[[Any, Staged], object]


# ---- what is told in each stage: a value, or a function that looks at it


def row(early: Any, shaking: Any, secure: Any, over: Any, **others: Any) -> Row:
    """Before there is a path, in the handshake, while the connection is secure, and afterwards."""
    assert others.keys() <= STAGES.keys()
    return {
        **dict.fromkeys(("created", "dialing"), early),
        **dict.fromkeys(("shaking", "asking"), shaking),
        **dict.fromkeys(("secure", "ended", "heard", "closing"), secure),
        **dict.fromkeys(("over", "closed", "destroyed", "gone", "refused", "lost"), over),
        **others,
    }


def always(value: Any) -> Row:
    return row(value, value, value, value)


def connected(value: Any) -> Row:
    """From the moment on when there is a path, until the end."""
    return row(None, value, value, None)


def secure(value: Any) -> Row:
    """As long as the connection is secure."""
    return row(None, None, value, None)


def of(kind: type) -> Look:
    return lambda value, _: isinstance(value, kind)


def octets(*sizes: int) -> Look:
    return lambda value, _: type(value) is bytes and (len(value) in sizes or not sizes)


def shown(identity: str) -> Look:
    """The certificate of a named identity, in either form."""
    return lambda value, _: value.raw == named_der(identity)


def shown_x509(identity: str) -> Look:
    return lambda value, _: value == getattr(named, identity).certificate


def named_der(identity: str) -> bytes:
    der: bytes = getattr(named, identity).der
    return der


def port(value: Any, _: Staged) -> bool:
    return type(value) is int and 0 < value < 65536


def dialed(value: Any, stage: Staged) -> bool:
    return bool(value == stage.port)


def empty(value: Any, _: Staged) -> bool:
    return isinstance(value, aiotls.PeerCertificate) and not value


def version(value: Any, stage: Staged) -> bool:
    return bool(value == stage.version)


def unsafe(value: Any, _: Staged) -> bool:
    """Keys of a connection that is not secure would be no secret."""
    return isinstance(value, aiotls.StateError) and value.code == "ERR_TLS_INVALID_STATE"


PROPERTIES: dict[str, Row] = {
    "allow_half_open": always(True),
    "alpn_protocol": secure("echo"),
    "authorization_error": always(None),
    "authorized": row(False, False, True, False),
    "bytes_read": row(0, 0, len(FROM_PEER), len(FROM_PEER), refused=0),
    "bytes_written": row(0, 0, len(TO_PEER), len(TO_PEER), refused=0),
    "connecting": row(True, False, False, False),
    "destroyed": row(False, False, False, True),
    "encrypted": always(True),
    "high_water_mark": always(65536),
    "is_server": always(False),
    "local_address": connected(LOOPBACK),
    "local_family": connected("IPv4"),
    "local_port": connected(port),
    "pending": row(True, False, False, of(bool)),
    "readable": row(True, True, True, False, heard=False),
    "readable_length": always(0),
    "ready_state": row("opening", "open", "open", "closed", ended="read_only", heard="write_only", closing="read_only"),
    "remote_address": connected(LOOPBACK),
    "remote_family": connected("IPv4"),
    "remote_port": connected(dialed),
    "secure_connecting": row(True, True, False, False),
    "server": always(None),
    "servername": connected("localhost"),
    "timeout": always(None),
    "truncated": always(False),
    "writable": row(True, True, True, False, ended=False, closing=False),
    "writable_length": always(0),
}
"""Of a client."""

ANSWERS: dict[str, Row] = {
    "address": connected(of(aiotls.Address)),
    "at_eof": row(False, False, False, of(bool), heard=True) | {"over": True},
    "can_write_eof": always(True),
    "export_keying_material": row(unsafe, unsafe, octets(16), unsafe),
    "get_certificate": connected(shown("client_ec")),
    "get_cipher": secure(lambda cipher, stage: cipher.version == stage.version),
    "get_ephemeral_key_info": secure(of(aiotls.EphemeralKeyInfo)),
    "get_extra_info": connected(lambda name, stage: name == (LOOPBACK, stage.port)),
    "get_finished": secure(octets(12, 32, 48)),
    "get_peer_certificate": connected(shown("server_ec")) | {"shaking": empty},
    "get_peer_finished": secure(octets(12, 32, 48)),
    "get_peer_x509_certificate": connected(shown_x509("server_ec")) | {"shaking": None},
    "get_protocol": secure(version),
    "get_session": secure(octets()),
    "get_shared_sigalgs": secure(of(list)),
    "get_tls_ticket": secure(octets()),
    "get_x509_certificate": connected(shown_x509("client_ec")),
    "is_closing": row(False, False, False, True, closing=True),
    "is_paused": always(False),
    "is_session_reused": secure(False),
    "listeners": always(()),
}
"""The methods of a client that only answer."""

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "export_keying_material": (16, "EXPERIMENTAL stage"),
    "get_extra_info": ("peername",),
    "listeners": ("data",),
}

# The stream of a server has been there from the start, unless it is a socket that is still connecting.
TELLING: dict[str, dict[str, Row]] = {
    "client": PROPERTIES | ANSWERS,
    "server": PROPERTIES
    | ANSWERS
    | {
        "connecting": row(False, False, False, False, dialing=True),
        "get_certificate": connected(shown("server_ec")) | {"dialing": of(aiotls.PeerCertificate)},
        "get_ephemeral_key_info": always(None),
        "get_extra_info": connected(lambda name, stage: port(name[1], stage)),
        "get_peer_certificate": secure(shown("client_ec")) | dict.fromkeys(("dialing", "shaking", "asking"), empty),
        "get_peer_x509_certificate": secure(shown_x509("client_ec")),
        "get_session": always(None),
        "get_tls_ticket": always(None),
        "get_x509_certificate": connected(shown_x509("server_ec")) | {"dialing": shown_x509("server_ec")},
        "is_server": always(True),
        "local_port": connected(dialed),
        "pending": PROPERTIES["pending"] | {"created": of(bool)},
        "ready_state": PROPERTIES["ready_state"] | {"created": "open"},
        "remote_port": connected(port),
        "server": always(of(aiotls.Server)),
        "servername": connected("localhost") | {"shaking": None},
    },
}


def told(socket: aiotls.TLSSocket, name: str) -> Any:
    """The value of a property, or what a method answers or raises."""
    if name in PROPERTIES:
        return getattr(socket, name)
    try:
        return getattr(socket, name)(*ARGUMENTS.get(name, ()))
    except aiotls.TLSError as error:
        return error


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stage", STAGES)
def test_what_a_socket_tells(run: Run, stage: str, version: str, side: str) -> None:
    """INFO-01, INFO-02: each property and each method that only answers, as the table says."""

    async def main() -> None:
        async with staged(stage, side, version) as scene:
            wrong = {}
            for name, expected in TELLING[side].items():
                value = told(scene.socket, name)
                wanted = expected[stage]
                if callable(wanted):
                    right = value is not None and bool(wanted(value, scene))
                else:
                    right = type(value) is type(wanted) and value == wanted
                if not right:
                    wrong[name] = value
            assert wrong == {}

    run(main)


@pytest.mark.parametrize(
    ("method", "protocol"),
    [("TLSv1_method", "TLSv1"), ("TLSv1_1_method", "TLSv1.1"), ("TLSv1_2_method", "TLSv1.2")],
)
def test_info_03_the_protocol(run: Run, method: str, protocol: str) -> None:
    """INFO-03: the same on both sides, still at "end"; at "close" and after it None, as is what belongs to it."""
    questions = ("get_protocol", "get_cipher", "is_session_reused", "get_peer_certificate")

    async def main() -> None:
        told_at: dict[tuple[str, bool], Any] = {}

        def listen(tls: aiotls.TLSSocket) -> None:
            tls.on("end", lambda: told_at.update({("end", tls.is_server): tls.get_protocol()}))
            tls.on("close", lambda _: told_at.update({("close", tls.is_server): tls.get_protocol()}))

        old = {"secure_protocol": method, "ciphers": "DEFAULT:@SECLEVEL=0"}
        own = {"cert": named.server.chain_pem, "key": named.server.key_pem}
        server_options = {"secure_protocol": "TLS_method", "ciphers": "RSA@SECLEVEL=0", **own}
        async with tls_pair(client=old, server=server_options) as pair:
            for tls in pair:
                listen(tls)
                assert tls.get_protocol() == protocol
                assert all(getattr(tls, name)() is not None for name in questions)
            closed = [asyncio.ensure_future(tls.wait_for("close")) for tls in pair]
            await asyncio.sleep(0)
            for tls in pair:
                tls.resume().end()
            await asyncio.gather(*closed)
            for is_server in (False, True):
                assert told_at["end", is_server] == protocol
                assert told_at["close", is_server] is None
            for tls in pair:
                assert [getattr(tls, name)() for name in questions] == [None] * len(questions)

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_while_the_client_is_being_checked(run: Run, version: str) -> None:
    """A server's own check sees who the client claims to be; nothing else is told, for nothing is agreed on yet."""

    async def main() -> None:
        told_then: dict[str, Any] = {}

        def check(tls: aiotls.TLSSocket, _certificate: aiotls.PeerCertificate) -> None:
            told_then.update({name: told(tls, name) for name in TELLING["server"]})

        own = {"cert": named.client_ec.chain_pem, "key": named.client_ec.key_pem, "max_version": version}
        asking = {"ca": named.ca.cert_pem, "request_cert": True, "check_client_identity": check}
        async with tls_pair(client=own, server=asking):
            assert told_then.pop("get_peer_certificate").raw == named.client_ec.der
            assert told_then.pop("get_certificate").raw == named.server_ec.der
            assert told_then.pop("export_keying_material").code == "ERR_TLS_INVALID_STATE"
            for name in ("authorized", "connecting", "destroyed", "pending"):
                assert told_then[name] is False, name
            for name in ("encrypted", "readable", "writable", "secure_connecting"):
                assert told_then[name] is True, name
            unknown = ("alpn_protocol", "authorization_error", "get_cipher", "get_protocol", "get_shared_sigalgs")
            for name in (*unknown, "is_session_reused", "get_ephemeral_key_info", "get_session", "get_tls_ticket"):
                assert told_then[name] is None, name

    run(main)


@pytest.mark.parametrize("side", SIDES)
def test_every_property_is_in_the_table(side: str) -> None:
    """What is public and no method stands in the table, and so does everything that is promised."""
    public = {name for name in dir(aiotls.TLSSocket) if not name.startswith("_")}
    properties = {name for name in public if not callable(getattr(aiotls.TLSSocket, name))}
    assert properties - {"EVENTS"} == PROPERTIES.keys()
    assert PROPERTIES.keys() >= PROMISED
    assert TELLING[side].keys() == PROPERTIES.keys() | ANSWERS.keys()
    assert all(list(each) and each.keys() == STAGES.keys() for each in TELLING[side].values())


def test_nobody_can_make_it_up(run: Run) -> None:
    """What a connection has found out cannot be assigned."""
    found_out = PROMISED - {"allow_half_open", "destroyed", "high_water_mark"}

    async def main() -> None:
        async with staged("secure", "client", "TLSv1.3") as scene:
            for name in found_out:
                before = getattr(scene.socket, name)
                with pytest.raises(AttributeError):
                    setattr(scene.socket, name, not before)
                assert getattr(scene.socket, name) == before

    run(main)
