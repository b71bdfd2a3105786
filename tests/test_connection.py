"""`Connection`: TLS without I/O, its phases, its question, and failures as data."""

import functools
import hashlib
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiotls
from aiotls import Ask, Phase, _native
from tests.support.pairs import Pair, client_options, server_options
from tests.support.pki import Named, named

BULK = os.urandom(1024) * 300


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_handshake_and_data(version: str) -> None:
    pair = Pair.connected(client={"max_version": version, "alpn": b"\x02h2"}, server={"alpn": b"\x08http/1.1\x02h2"})
    client, server = pair.client.connection, pair.server.connection
    for connection in (client, server):
        assert connection.engine.protocol() == version
        assert connection.alpn_protocol == "h2"
        assert connection.cipher is not None
        assert connection.cipher.standard_name.startswith("TLS_")
        assert not connection.engine.session_reused()
    assert client.cipher == server.cipher
    assert client.authorized
    assert client.authorization_error is None
    assert not server.authorized
    assert server.engine.servername() == "localhost"
    assert client.peer_certificate().raw == named.server_ec.der == server.certificate().raw
    assert not server.peer_certificate()
    assert not client.certificate()

    assert client.write(b"hello")
    pair.run()
    assert server.write(bytearray(b"world"))
    pair.run()
    assert pair.server.received == b"hello"
    assert pair.client.received == b"world"


def test_phases(version: str) -> None:
    """HANDSHAKE, ASKING, OPEN, ENDING, CLOSED, each with its notice."""
    pair = Pair(client={"max_version": version})
    client, server = pair.client.connection, pair.server.connection
    assert client.phase is Phase.HANDSHAKE
    while client.phase is Phase.HANDSHAKE:
        pair.turn(answer=False)
    assert client.phase is Phase.ASKING
    assert pair.client.kinds == [_native.NOTICE_ASKING]
    pair.run(answer=False)
    assert client.phase is Phase.ASKING, "a question waits for its answer"
    assert server.phase is Phase.HANDSHAKE
    question = client.question
    assert question is not None
    assert question.hostname == "localhost"
    assert question.certificate.raw == named.server_ec.der
    client.answer(None)
    assert client.question is None
    pair.run()
    assert client.phase is Phase.OPEN
    assert server.phase is Phase.OPEN
    client.shutdown()
    assert client.phase is Phase.ENDING
    pair.run()
    assert server.phase is Phase.ENDING
    assert server.peer_ended
    assert pair.server.notices[-1] == (_native.NOTICE_ENDED, False)
    assert not client.peer_ended
    server.shutdown()
    pair.run()
    assert client.peer_ended
    client.close()
    assert client.phase is Phase.CLOSED
    assert pair.client.kinds == [_native.NOTICE_ASKING, _native.NOTICE_SECURE, _native.NOTICE_ENDED]


def test_half_closed_connection(version: str) -> None:
    """After our close_notify the peer may still talk, and is heard."""
    pair = Pair.connected(client={"max_version": version})
    pair.client.connection.shutdown()
    pair.run()
    assert pair.server.connection.write(BULK)
    pair.run()
    assert pair.client.received == BULK
    assert not pair.client.connection.write(b"no more")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_ciphertext_in_small_pieces(version: str, size: int) -> None:
    """Where the pieces of ciphertext are cut does not matter."""
    pair = Pair(client={"max_version": version})
    while pair.turn(size=size):
        pass
    assert pair.client.connection.phase is Phase.OPEN
    pair.client.connection.write(BULK[:20_000])
    while pair.turn(size=size):
        pass
    assert pair.server.received == BULK[:20_000]


@settings(max_examples=30, deadline=None)
@given(
    pieces=st.lists(st.integers(1, 50_000), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=8),
    limit=st.integers(1, 40_000),
)
def test_any_pieces(pieces: list[int], cuts: list[int], limit: int) -> None:
    """Any sizes of writes, of pieces of ciphertext, and of reads: the same bytes in the same order."""
    client_context, server_context = contexts()
    pair = Pair.connected(client={"context": client_context}, server={"context": server_context})
    client, server = pair.client.connection, pair.server.connection
    expected = b"".join(BULK[:size] for size in pieces)
    for size in pieces:
        assert client.write(BULK[:size])
    ciphertext = b"".join(iter(client.drain, b""))
    at = turn = 0
    while at < len(ciphertext):
        cut = cuts[turn % len(cuts)]
        server.feed(ciphertext[at : at + cut])
        while notices := server.advance(limit):
            assert all(len(payload) <= limit for _, payload in notices if isinstance(payload, bytes))
            pair.server.notices += notices
        at += cut
        turn += 1
    assert hashlib.sha256(pair.server.received).digest() == hashlib.sha256(expected).digest()


def test_refused_question(version: str) -> None:
    """A refusal sends bad_certificate, and stands for the failure."""
    pair = Pair(client={"max_version": version})
    while pair.client.connection.question is None:
        pair.turn(answer=False)
    wrong = LookupError("not him")
    pair.client.connection.answer(wrong)
    pair.run(answer=False)
    assert pair.client.connection.phase is Phase.FAILED
    assert pair.server.connection.phase is Phase.FAILED
    assert pair.client.error is wrong
    error = pair.server.error
    assert isinstance(error, aiotls.AlertReceived)
    assert error.alert == 42


def test_refused_question_that_does_not_count(version: str) -> None:
    pair = Pair(client={"max_version": version, "reject_unauthorized": False}, hostname="wrong.example.org")
    pair.run()
    client = pair.client.connection
    assert client.phase is Phase.OPEN
    assert not client.authorized
    assert client.authorization_error == "ERR_TLS_CERT_ALTNAME_INVALID"


@pytest.mark.parametrize(
    ("hostname", "good"),
    [
        ("localhost", True),
        ("a.example.com", True),
        ("A.EXAMPLE.COM", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("127.0.0.2", False),
        ("example.com", False),
        ("a.b.example.com", False),
        ("localhost.evil.example", False),
    ],
)
def test_the_standard_answer(hostname: str, good: bool) -> None:
    pair = Pair(hostname=hostname)
    pair.run()
    if good:
        assert pair.client.connection.authorized
        return
    error = pair.client.error
    assert isinstance(error, aiotls.ServerIdentityError)
    assert error.host == hostname


def test_failures_are_data(version: str) -> None:
    """A failure has OpenSSL's library and reason, the verification code and the alert; nothing is raised."""
    pair = Pair(client={"ca": named.ca_b.cert_pem, "max_version": version})
    pair.run()
    ((_, failure),) = [notice for notice in pair.client.notices if notice[0] == _native.NOTICE_FAILED]
    assert isinstance(failure, _native.Failure)
    assert failure.kind == "verify"
    assert failure.verify_result == 21
    assert failure.alert_sent == 48
    assert failure.alert_received is None
    assert pair.client.connection.engine.failure is not None
    ((_, failure),) = [notice for notice in pair.server.notices if notice[0] == _native.NOTICE_FAILED]
    assert isinstance(failure, _native.Failure)
    assert failure.kind == "openssl"
    assert failure.library == "SSL routines"
    assert failure.alert_received == 48
    assert failure.code == "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"
    assert failure.errno is None


def test_junk() -> None:
    for role in ("client", "server"):
        pair = Pair()
        side = getattr(pair, role)
        side.connection.advance()
        side.connection.drain()
        side.connection.feed(b"*" * 100)
        side.notices += side.connection.advance()
        assert side.connection.phase is Phase.FAILED
        assert side.error.code == "ERR_SSL_WRONG_VERSION_NUMBER"
        assert side.connection.advance() == []


def test_hang_up_during_the_handshake() -> None:
    pair = Pair()
    for side in (pair.client, pair.server):
        side.notices += side.connection.advance()
        side.connection.feed_eof()
        side.notices += side.connection.advance()
    error = pair.client.error
    assert isinstance(error, aiotls.ConnectionLost)
    assert error.code == "ECONNRESET"
    assert "socket hang up" in str(pair.server.error)


def test_end_without_close_notify(version: str) -> None:
    pair = Pair.connected(client={"max_version": version})
    pair.server.connection.write(b"half a mess")
    pair.run()
    pair.client.connection.feed_eof()
    pair.client.notices += pair.client.connection.advance()
    assert pair.client.received == b"half a mess"
    assert pair.client.notices[-1] == (_native.NOTICE_ENDED, True)
    assert pair.client.connection.phase is Phase.ENDING


def test_changed_ciphertext(version: str) -> None:
    """A flipped bit: what came before is delivered, then it fails and the peer gets bad_record_mac."""
    pair = Pair.connected(client={"max_version": version})
    client, server = pair.client.connection, pair.server.connection
    client.write(b"good")
    server.feed(client.drain())
    client.write(b"forged")
    ciphertext = bytearray(client.drain())
    ciphertext[-1] ^= 1
    server.feed(ciphertext)
    pair.server.notices += server.advance()
    assert pair.server.received == b"good"
    error: Any = pair.server.error
    assert error.code == "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
    client.feed(server.drain())
    pair.client.notices += client.advance()
    alerted: Any = pair.client.error
    assert alerted.alert == 20


def test_keylog(version: str) -> None:
    pair = Pair(client={"asks": Ask.KEYLOG, "max_version": version}, server={"asks": Ask.KEYLOG})
    pair.run()
    lines = []
    for side in (pair.client, pair.server):
        news = [payload for kind, payload in side.notices if kind == _native.NOTICE_NEWS]
        lines.append(sorted(line for each in news if isinstance(each, list) for name, line in each if name == "keylog"))
    assert lines[0] == lines[1]
    assert len(lines[0]) == (5 if version == "TLSv1.3" else 1)


def test_client_certificates(pki: Named, version: str) -> None:
    own = {"cert": pki.client_ec.chain_pem, "key": pki.client_ec.key_pem}
    trust = {"ca": pki.ca.cert_pem, "request_cert": True}
    pair = Pair.connected(client={"max_version": version, **own}, server=trust)
    assert pair.server.connection.authorized
    assert pair.server.connection.peer_certificate().raw == pki.client_ec.der

    pair = Pair.connected(client={"max_version": version}, server={**trust, "reject_unauthorized": False})
    assert not pair.server.connection.authorized
    assert pair.server.connection.authorization_error == "UNABLE_TO_GET_ISSUER_CERT"


@pytest.mark.parametrize(
    ("group", "kind", "name", "size"),
    [
        ("X25519", "ECDH", "X25519", 253),
        ("prime256v1", "ECDH", "prime256v1", 256),
        ("secp521r1", "ECDH", "secp521r1", 521),
    ],
)
def test_ephemeral_key_info(group: str, kind: str, name: str, size: int) -> None:
    pair = Pair.connected(client={"ecdh_curve": group})
    assert pair.client.connection.ephemeral_key_info == aiotls.EphemeralKeyInfo(kind, name, size)


def test_an_answer_without_a_question_does_nothing() -> None:
    pair = Pair.connected()
    pair.client.connection.answer(ValueError("nobody asked"))
    assert pair.client.connection.phase is Phase.OPEN
    pair.client.connection.write(b"x")
    pair.run()
    assert pair.server.received == b"x"


@functools.cache
def contexts() -> tuple[aiotls.SecureContext, aiotls.SecureContext]:
    """Those of a client and a server, made once for all examples."""
    return aiotls.create_secure_context(ca=client_options()["ca"]), aiotls.create_secure_context(**server_options())
