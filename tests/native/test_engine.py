"""`Engine`: one TLS connection over two buffers, by its contract in `aiotls._native`."""

import datetime
import functools
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from aiotls import _native
from tests.support.pki import named


@functools.cache
def contexts() -> tuple[_native.Context, _native.Context]:
    """Those of a client and a server."""
    client = _native.Context()
    store = _native.TrustStore()
    for certificate in _native.Certificate.from_pem(named.ca.cert_pem):
        store.add(certificate)
    client.set_trust(store, False)
    server = _native.Context()
    chain = _native.Certificate.from_pem(named.server_ec.chain_pem)
    server.add_identity(chain, _native.PrivateKey.from_pem(named.server_ec.key_pem, None))
    return client, server


def engines(*, client: Any = None, server: Any = None, asks: int = 0) -> tuple[_native.Engine, _native.Engine]:
    """A client's and a server's engine."""
    client_context, server_context = contexts()
    near = _native.Settings(client_context, server=False, asks=asks, **(client or {}))
    far = _native.Settings(server_context, server=True, **(server or {}))
    return _native.Engine(near, "localhost"), _native.Engine(far)


def carry(one: _native.Engine, other: _native.Engine) -> bool:
    """Moves ciphertext in both directions; answers whether there was any."""
    moved = False
    for sender, receiver in ((one, other), (other, one)):
        while data := sender.drain():
            receiver.feed(data)
            moved = True
    return moved


def handshake(near: _native.Engine, far: _native.Engine) -> tuple[int, int]:
    """Shakes hands until neither has anything to say; answers the last statuses."""
    while True:
        statuses = near.handshake(), far.handshake()
        if not carry(near, far):
            return statuses


def connected(**options: Any) -> tuple[_native.Engine, _native.Engine]:
    near, far = engines(**options)
    assert handshake(near, far) == (_native.DONE, _native.DONE)
    return near, far


def test_the_version_is_that_of_the_library() -> None:
    number = _native.OPENSSL_VERSION_NUMBER
    text = f"{number >> 28}.{number >> 20 & 0xFF}.{number >> 4 & 0xFF}"
    assert _native.OPENSSL_VERSION.startswith(f"OpenSSL {text}")


def test_handshake_and_data() -> None:
    near, far = connected()
    assert near.protocol() == far.protocol() == "TLSv1.3"
    assert near.write(b"hello") == _native.DONE
    assert near.outgoing > 5
    carry(near, far)
    assert near.outgoing == 0
    assert far.incoming > 0
    assert far.read(3) == b"hel"
    assert far.read(100) == b"lo"
    assert far.read(100) == _native.WANT_INPUT
    assert far.incoming == 0


def test_nothing_is_known_before_the_handshake() -> None:
    near, far = engines()
    for engine in (near, far):
        assert engine.protocol() is None
        assert engine.cipher() is None
        assert engine.group() is None
        assert engine.alpn() is None
        assert engine.finished() is None
        assert engine.peer_finished() is None
        assert engine.peer_certificate() is None
        assert engine.peer_names() is None
        assert engine.failure is None
        assert engine.question == 0
        assert not engine.session_reused()


def test_drain_in_pieces() -> None:
    """Nothing is lost or doubled, whatever the limit."""
    near, far = connected()
    near.write(b"x" * 50_000)
    total = near.outgoing
    taken = 0
    while piece := near.drain(1000):
        assert len(piece) <= 1000
        taken += len(piece)
        assert near.outgoing == total - taken
        far.feed(bytearray(piece))
    assert taken == total
    received = b""
    while isinstance(part := far.read(777), bytes):
        assert 0 < len(part) <= 777
        received += part
    assert received == b"x" * 50_000


def test_the_question() -> None:
    """The client stops until it is answered; the peer has not seen our Finished by then."""
    near, far = engines(asks=_native.ASK_VERIFY)
    assert handshake(near, far) == (_native.ASKING, _native.WANT_INPUT)
    assert near.question == _native.ASK_VERIFY
    assert near.handshake() == _native.ASKING
    assert near.peer_certificate() == named.server_ec.der
    names = near.peer_names()
    assert names is not None
    dns, addresses, common = names
    assert dns == (b"localhost", b"*.example.com")
    assert addresses == (b"\x7f\0\0\1", bytes(15) + b"\1")
    assert common == ("localhost",)
    near.answer(True)
    assert near.question == 0
    assert handshake(near, far) == (_native.DONE, _native.DONE)


def test_a_refusal() -> None:
    near, far = engines(asks=_native.ASK_VERIFY)
    handshake(near, far)
    near.answer(False)
    assert near.handshake() == _native.FAILED
    failure = near.failure
    assert failure is not None
    assert failure.kind == "refused"
    assert failure.alert_sent == 42
    carry(near, far)
    assert far.handshake() == _native.FAILED
    assert far.failure is not None
    assert far.failure.alert_received == 42


def test_shutdown() -> None:
    """close_notify once; the other side reads the end, and may still write."""
    near, far = connected()
    near.write(b"last")
    near.shutdown()
    before = near.outgoing
    near.shutdown()
    assert near.outgoing == before
    carry(near, far)
    assert far.read(100) == b"last"
    assert far.read(100) == _native.ENDED
    assert far.read(100) == _native.ENDED
    assert far.truncated is False
    assert far.write(b"answer") == _native.DONE
    carry(near, far)
    assert near.read(100) == b"answer"
    assert near.write(b"x") == _native.FAILED


def test_truncation() -> None:
    near, far = connected()
    near.write(b"data")
    carry(near, far)
    far.feed_eof()
    assert far.read(100) == b"data"
    assert far.read(100) == _native.ENDED
    assert far.truncated is True


def test_the_end_during_the_handshake() -> None:
    near, far = engines()
    near.handshake()
    near.feed_eof()
    assert near.handshake() == _native.FAILED
    assert near.failure is not None
    assert near.failure.kind == "eof"
    far.feed_eof()
    assert far.handshake() == _native.FAILED


@pytest.mark.parametrize("junk", [b"*" * 50, b"GET / HTTP/1.0\r\n\r\n", bytes(50), b"\x16\x03\x01\xff\xff" + bytes(20)])
def test_junk(junk: bytes) -> None:
    _, far = engines()
    far.feed(junk)
    assert far.handshake() == _native.FAILED
    failure = far.failure
    assert failure is not None
    assert failure.kind == "openssl"
    assert failure.library == "SSL routines"
    assert failure.code == f"ERR_SSL_{(failure.reason or '').upper().replace(' ', '_')}"
    assert far.handshake() == _native.FAILED
    assert far.read(10) == _native.FAILED
    assert far.write(b"x") == _native.FAILED


def test_a_failure_harms_no_other_engine() -> None:
    """OpenSSL's error queue belongs to the thread: what one engine leaves there must not fail another."""
    near, far = connected()
    for _ in range(100):
        _, broken = engines()
        broken.feed(b"*" * 50)
        assert broken.handshake() == _native.FAILED
        with pytest.raises(_native.NativeError):
            _native.PrivateKey.from_pem(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None)
        near.write(b"x")
        carry(near, far)
        assert far.read(10) == b"x"
        assert far.read(10) == _native.WANT_INPUT


def test_keylog() -> None:
    """Lines only where they were asked for; read once."""
    near, far = engines(asks=_native.ASK_KEYLOG)
    handshake(near, far)
    news = near.news()
    assert len(news) == 5
    assert {event for event, _ in news} == {"keylog"}
    assert near.news() == []
    assert far.news() == []


def test_alpn() -> None:
    near, far = connected(client={"alpn": b"\x02h2\x08http/1.1"}, server={"alpn": b"\x08http/1.1"})
    assert near.alpn() == far.alpn() == b"http/1.1"


def test_large_writes() -> None:
    near, far = connected()
    data = bytes(range(256)) * 40_000
    assert near.write(memoryview(data)) == _native.DONE
    carry(near, far)
    received = b""
    while isinstance(part := far.read(2**20), bytes):
        received += part
    assert received == data


def test_wrong_arguments() -> None:
    near, _ = engines()
    text: Any = "text"
    for call in (near.feed, near.write):
        with pytest.raises(TypeError):
            call(text)
    with pytest.raises((OverflowError, TypeError, ValueError)):
        near.read(-1)
    assert near.drain(0) == b""
    near.feed(b"")


def test_keying_material() -> None:
    near, far = connected()
    assert near.export_keying_material(40, "label", None) == far.export_keying_material(40, "label", None)
    assert near.finished() == far.peer_finished()


def test_ciphers() -> None:
    names = _native.cipher_suites()
    assert "TLS_AES_128_GCM_SHA256" in names
    assert "ECDHE-RSA-AES128-GCM-SHA256" in names
    context = _native.Context()
    context.set_cipher_list("ECDHE-RSA-AES128-GCM-SHA256")
    assert "ECDHE-RSA-AES128-GCM-SHA256" in context.cipher_names()
    assert "AES128-SHA" not in context.cipher_names()
    with pytest.raises(_native.NativeError) as failure:
        context.set_cipher_list("rick-128-roll")
    assert failure.value.args[0].code == "ERR_SSL_NO_CIPHER_MATCH"


def test_what_a_peer_left_in_the_queue_concerns_no_other_call() -> None:
    """CVE-2023-23919: a certificate with a broken subjectAltName, then a good one that is loaded."""
    broken = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x05\x82\x7fabc")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(broken, critical=False)
        .sign(key, hashes.SHA256())
    )
    context = _native.Context()
    context.add_identity(
        [_native.Certificate.from_der(certificate.public_bytes(serialization.Encoding.DER))],
        _native.PrivateKey.from_pem(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            None,
        ),
    )
    near = _native.Engine(_native.Settings(contexts()[0], server=False, reject_unauthorized=False), "localhost")
    far = _native.Engine(_native.Settings(context, server=True))
    assert handshake(near, far) == (_native.DONE, _native.DONE)
    assert near.peer_names() is None
    assert len(_native.Certificate.from_pem(named.ca.cert_pem)) == 1
