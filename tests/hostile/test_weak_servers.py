"""Servers by hand that want less than we do: old versions, ciphers not offered, Diffie-Hellman in bad groups."""

import functools
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import aiotls
from tests.conftest import Run
from tests.hostile.records import HANDSHAKE, plain_record
from tests.hostile.test_bad_servers import extensions_of
from tests.support.bad_servers import BadServer, behaving
from tests.support.peers import needs, openssl_server
from tests.support.pki import named
from tests.test_dhparam import dh_pem, dh_prime

DHE = "DHE-RSA-AES128-GCM-SHA256"
NUMBER_OF_DHE = 0x009E


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + vector(3, body)


def server_hello(version: int, cipher: int, server_random: bytes, extensions: bytes = b"") -> bytes:
    """The message; with secure renegotiation, as every server since 2010 has it."""
    known = b"\xff\x01\x00\x01\x00" + extensions
    listed = vector(2, known) if version > 0x0300 else b""
    return message(2, struct.pack("!H", version) + server_random + b"\x00" + struct.pack("!HB", cipher, 0) + listed)


# ---- versions and ciphers


@pytest.mark.parametrize("version", [0x0200, 0x0300, 0x0301, 0x0302, 0x0304, 0x0305, 0x7F1C, 0xFEFD], ids=hex)
def test_a_version_that_was_not_offered(run: Run, version: int) -> None:
    """badssl: ssl-v3, tls-v1-0, tls-v1-1: a ServerHello of another version than ours is refused with an alert."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.flight()
            below = version if 0x0300 < version < 0x0303 else 0x0303
            await server.send(plain_record(HANDSHAKE, server_hello(version, 0xC02B, os.urandom(32)), below))
            assert await server.told() in ("protocol_version", "illegal_parameter")

        async with behaving(behave, version="TLSv1.2") as stage:
            visitor = stage.visitor()
            error = await visitor.failed()
            assert error.code in (
                "ERR_SSL_UNSUPPORTED_PROTOCOL",
                "ERR_SSL_WRONG_SSL_VERSION",
                "ERR_SSL_WRONG_VERSION_NUMBER",
                "ERR_SSL_INVALID_SESSION_ID",  # TLS 1.3 is called 1.2 there
            )
            assert visitor.secure == 0

    run(main)


def test_ssl_2(run: Run) -> None:
    """badssl: ssl-v2: its answer is no TLS at all, and our hello is none of its kind."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.flight()
            assert server.hello[:3] == b"\x16\x03\x01"
            body = b"\x04\x00\x01\x00\x02" + struct.pack("!HHH", 0, 3, 16) + b"\x01\x00\x80" + bytes(16)
            await server.send(struct.pack("!H", 0x8000 | len(body)) + body)
            assert await server.told() in ("", "protocol_version")

        async with behaving(behave) as stage:
            error = await stage.visitor().failed()
            assert error.code in ("ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG")

    run(main)


def test_ssl_3_that_says_so(run: Run) -> None:
    """badssl: ssl-v3: a server that knows no better refuses our hello, in its own version."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.flight()
            await server.send(plain_record(21, b"\x02\x28", 0x0300))
            await server.told()

        async with behaving(behave) as stage:
            error = await stage.visitor().failed()
            assert isinstance(error, aiotls.AlertReceived)
            assert error.alert == 40

    run(main)


def ciphers_of(hello: bytes) -> list[int]:
    """The numbers of the ciphers that a ClientHello, in its record, offers."""
    start = 5 + 4 + 2 + 32 + 1 + hello[43]
    size = int.from_bytes(hello[start : start + 2], "big")
    return list(struct.unpack(f"!{size // 2}H", hello[start + 2 : start + 2 + size]))


WEAK = {
    "rc4": 0x0005,
    "rc4-md5": 0x0004,
    "rc4-ecdhe": 0xC011,
    "3des": 0x000A,
    "3des-ecdhe": 0xC012,
    "null": 0x003B,
    "null-ecdhe": 0xC010,
    "null-null": 0x0000,
    "export": 0x0003,
    "anonymous": 0x006C,
    "des": 0x0009,
}


@pytest.mark.parametrize("name", WEAK)
def test_a_cipher_that_was_not_offered(run: Run, name: str) -> None:
    """badssl: rc4, rc4-md5, 3des, null: not in our hello by default, and refused when chosen all the same."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.flight()
            offered = ciphers_of(server.hello)
            assert len(offered) > 10
            assert not set(WEAK.values()) & set(offered)
            assert 0xFF01 in extensions_of(server.hello) or 0x00FF in offered
            await server.send(plain_record(HANDSHAKE, server_hello(0x0303, WEAK[name], os.urandom(32))))
            assert await server.told() == "illegal_parameter"

        async with behaving(behave) as stage:
            error = await stage.visitor(ciphers=None).failed()
            assert error.code in ("ERR_SSL_WRONG_CIPHER_RETURNED", "ERR_SSL_UNKNOWN_CIPHER_RETURNED")

    run(main)


# ---- Diffie-Hellman


@functools.cache
def prime(bits: int, *, factor: int = 2) -> int:
    """A prime of which only this is known: that one less is a multiple of `factor`, which is even."""
    noise = random.Random(bits)
    while True:
        number = (noise.getrandbits(bits) | 3 << bits - 2) // factor * factor + 1
        if all(number % small for small in _SMALL_PRIMES) and pow(2, number - 1, number) == 1:
            return number


_SMALL_PRIMES = [
    number for number in range(3, 5000, 2) if all(number % each for each in range(3, 71, 2) if each < number)
]
_ORDER = 2**61 - 1
"""A prime: how many powers an element of a small subgroup has."""

Group = Callable[[], tuple[int, int]]


def small_subgroup() -> tuple[int, int]:
    p = prime(2048, factor=2 * _ORDER)
    return p, pow(2, (p - 1) // _ORDER, p)


REFUSED_GROUPS: dict[str, Group] = {
    "dh480": lambda: (prime(480), 2),
    "dh512": lambda: (prime(512), 2),
    "dh1024": lambda: (dh_prime(1024), 2),
    "even": lambda: (2**2048 - 2**1000, 2),
    "generator-0": lambda: (dh_prime(2048), 0),
    "generator-1": lambda: (dh_prime(2048), 1),
    "generator-p-1": lambda: (dh_prime(2048), dh_prime(2048) - 1),
    "modulus-0": lambda: (0, 2),
    "modulus-1": lambda: (1, 2),
}
TAKEN_GROUPS: dict[str, Group] = {
    "dh-small-subgroup": small_subgroup,
    "dh-composite": lambda: (prime(1024) * prime(1024, factor=6), 2),
}


def dhe_flight(hello: bytes, p: int, g: int, public: int) -> bytes:
    """The flight of a server of TLS 1.2 with these parameters, signed by `pki.server`."""
    server_random = os.urandom(32)
    numbers = [number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big") for number in (p, g, public)]
    parameters = b"".join(vector(2, number) for number in numbers)
    key = named.server.key
    assert isinstance(key, rsa.RSAPrivateKey)
    signature = key.sign(hello[11:43] + server_random + parameters, padding.PKCS1v15(), hashes.SHA256())
    messages = [
        server_hello(0x0303, NUMBER_OF_DHE, server_random),
        message(11, vector(3, vector(3, named.server.der))),
        message(12, parameters + b"\x04\x01" + vector(2, signature)),
        message(14, b""),
    ]
    return b"".join(plain_record(HANDSHAKE, each) for each in messages)


async def answer_to(p: int, g: int, public: int, **options: Any) -> tuple[str, str]:
    """The code and the alert of a client; ECONNRESET and nothing when it has sent its share."""
    alerts: list[str] = []

    async def behave(server: BadServer) -> None:
        await server.flight()
        await server.send(dhe_flight(server.hello, p, g, public))
        server.hang_up()
        alerts.append(await server.told())

    async with behaving(behave, version="TLSv1.2") as stage:
        visitor = stage.visitor(**{"ciphers": DHE, "max_version": "TLSv1.2", **options})
        error = await visitor.failed()
        assert visitor.secure == 0
    return error.code, alerts[0]


@pytest.mark.parametrize("name", REFUSED_GROUPS)
def test_groups(run: Run, name: str) -> None:
    """badssl: dh480, dh512, dh1024 (at security level 2): refused with an alert, before our share is sent."""

    async def main() -> None:
        p, g = REFUSED_GROUPS[name]()
        code, alert = await answer_to(p, g, pow(g, 12345, p) if p > 1 else 1)
        assert code.startswith("ERR_"), code
        assert alert in ("handshake_failure", "illegal_parameter", "internal_error", "decode_error")
        if name in ("dh480", "dh512", "dh1024"):
            assert code in ("ERR_SSL_DH_KEY_TOO_SMALL", "ERR_SSL_BAD_DH_VALUE", "ERR_OSSL_DH_MODULUS_TOO_SMALL")

    run(main)


@pytest.mark.parametrize("public", [0, 1, -1, 2**4096], ids=["0", "1", "p-1", "huge"])
def test_shares(run: Run, public: int) -> None:
    """badssl: dh-small-subgroup: a share that leaves no secret, 0, 1 or p - 1, is refused in a good group, too."""

    async def main() -> None:
        p = dh_prime(2048)
        code, alert = await answer_to(p, 2, public % p if public < 0 else public)
        assert code.startswith("ERR_"), code
        assert alert

    run(main)


def test_a_good_group(run: Run) -> None:
    """badssl: dh2048: what the tests above change is otherwise in order; and who wants dh1024 gets it."""

    async def main() -> None:
        p = dh_prime(2048)
        assert await answer_to(p, 2, pow(2, 12345, p)) == ("ECONNRESET", "")
        p = dh_prime(1024)
        assert await answer_to(p, 2, pow(2, 12345, p), ciphers=f"{DHE}:@SECLEVEL=1") == ("ECONNRESET", "")

    run(main)


@needs("openssl")
@pytest.mark.parametrize("name", TAKEN_GROUPS)
def test_groups_that_openssl_takes(run: Run, tmp_path: Path, name: str) -> None:
    """badssl: dh-small-subgroup, dh-composite: a client of OpenSSL looks at sizes and ranges alone, and takes them.

    Whether a number is prime is not looked at by any release so far.
    """
    p, g = TAKEN_GROUPS[name]()
    files = named.server.write(tmp_path)
    parameters = tmp_path / "dh.pem"
    parameters.write_bytes(dh_pem(p, g))

    async def main() -> None:
        assert await answer_to(p, g, pow(g, 12345, p)) == ("ECONNRESET", "")
        words = ("-cert", files.cert, "-key", files.key, "-tls1_2", "-cipher", DHE, "-dhparam", parameters)
        async with openssl_server(*words) as peer:
            options: dict[str, Any] = {"ca": named.ca.cert_pem, "max_version": "TLSv1.2", "ciphers": DHE}
            client = await aiotls.connect("localhost", peer.port, **options)
            key = client.get_ephemeral_key_info()
            assert key is not None
            assert (key.type, key.size) == ("DH", p.bit_length())
            client.destroy()
            await client.wait_closed()

    run(main)


def test_diffie_hellman_comes_last(run: Run) -> None:
    """badssl: dh-small-subgroup, dh-composite: by our order, a server that could do better does."""

    async def main() -> None:
        async def behave(server: BadServer) -> None:
            await server.flight()
            offered = ciphers_of(server.hello)
            ephemeral = [number for number in offered if number in (0xC02B, 0xC02C, 0xC02F, 0xC030)]
            assert len(ephemeral) == 4
            assert max(map(offered.index, ephemeral)) < offered.index(NUMBER_OF_DHE)
            server.reset()

        async with behaving(behave) as stage:
            assert (await stage.visitor(ciphers=None).failed()).code == "ECONNRESET"

    run(main)
