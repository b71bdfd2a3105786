"""A peer that changes its keys and says nothing else (RFC 8446, section 4.6.3)."""

import ctypes
import ctypes.util
from ctypes import c_int, c_void_p
from typing import Any

import pytest

from aiotls import _native
from tests.native.test_engine import engines

LIBSSL = ctypes.util.find_library("ssl")


class Updater:
    """A client on the system's libssl, which Python's own ssl gives no way to have its keys changed."""

    def __init__(self) -> None:
        assert LIBSSL is not None
        self.ssl = ctypes.CDLL(LIBSSL)
        self.crypto = ctypes.CDLL(str(ctypes.util.find_library("crypto")))
        for library, names in ((self.ssl, "TLS_client_method SSL_CTX_new SSL_new"), (self.crypto, "BIO_new BIO_s_mem")):
            for name in names.split():
                getattr(library, name).restype = c_void_p
        context = c_void_p(self.ssl.SSL_CTX_new(c_void_p(self.ssl.TLS_client_method())))
        self.connection = c_void_p(self.ssl.SSL_new(context))
        self.incoming, self.outgoing = (
            c_void_p(self.crypto.BIO_new(c_void_p(self.crypto.BIO_s_mem()))) for _ in range(2)
        )
        self.ssl.SSL_set_bio(self.connection, self.incoming, self.outgoing)
        self.ssl.SSL_set_connect_state(self.connection)
        self.ssl.SSL_CTX_free(context)

    def step(self) -> int:
        done: int = self.ssl.SSL_do_handshake(self.connection)
        return done

    def feed(self, data: bytes) -> None:
        self.crypto.BIO_write(self.incoming, data, len(data))

    def drain(self) -> bytes:
        buffer = ctypes.create_string_buffer(2**20)
        count: int = self.crypto.BIO_read(self.outgoing, buffer, c_int(len(buffer)))
        return buffer.raw[: max(0, count)]

    def update(self, count: int) -> None:
        for _ in range(count):
            assert self.ssl.SSL_key_update(self.connection, 1) == 1
            assert self.step() == 1

    def write(self, data: bytes) -> None:
        assert self.ssl.SSL_write(self.connection, data, len(data)) == len(data)

    def close(self) -> None:
        self.ssl.SSL_free(self.connection)


@pytest.fixture
def shaken() -> Any:
    """The client and our engine, secure."""
    if LIBSSL is None:
        pytest.skip("there is no libssl on this machine")
    _, engine = engines()
    client = Updater()
    for _ in range(3):
        client.step()
        engine.feed(client.drain())
        engine.handshake()
        client.feed(engine.drain())
    assert (client.step(), engine.handshake()) == (1, _native.DONE)
    yield client, engine
    client.close()


def test_a_flood_ends_the_connection(shaken: Any) -> None:
    client, engine = shaken
    client.update(1000)
    engine.feed(client.drain())
    assert engine.read(100) == _native.FAILED
    assert engine.failure.code == "ERR_SSL_TOO_MANY_KEY_UPDATES"
    assert engine.outgoing < 2048, "it was not answered for long"


def test_with_data_between_them_any_number_is_fine(shaken: Any) -> None:
    client, engine = shaken
    for _ in range(10):
        client.update(20)
        client.write(b"data")
        engine.feed(client.drain())
        assert engine.read(100) == b"data"
