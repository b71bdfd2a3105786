"""`dhparam`: Diffie-Hellman over finite fields in TLS 1.2, off unless it is asked for."""

import base64
import functools
import warnings
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.interop.capture import recording
from tests.support.pairs import client_options
from tests.support.pki import Identity, Named, new_rsa_key
from tests.support.servers import port_of, serving, to
from tests.support.visits import credentials, staying

DHE = "DHE-RSA-AES128-SHA256"
ECDHE = "ECDHE-RSA-AES128-SHA256"

# ---- groups


def dh_pem(prime: int, generator: int = 2) -> bytes:
    """Parameters as PEM (PKCS #3)."""
    numbers = b"".join(_integer(number) for number in (prime, generator))
    return armoured(b"\x30" + _length(len(numbers)) + numbers)


def armoured(der: bytes, label: bytes = b"DH PARAMETERS") -> bytes:
    return b"-----BEGIN " + label + b"-----\n" + base64.encodebytes(der) + b"-----END " + label + b"-----\n"


@functools.cache
def dh_group(bits: int) -> bytes:
    """A group of this size, as PEM: RFC 7919, appendix A, and for 1024 bits RFC 2409, section 6.2."""
    return dh_pem(dh_prime(bits))


def dh_prime(bits: int) -> int:
    if bits == 1024:
        return 2**1024 - 2**960 - 1 + 2**64 * (_pi(894) + 129093)
    offset = {2048: 560316, 3072: 2625351}[bits]
    return int(2**bits - 2 ** (bits - 64) + (_e(bits - 130) + offset) * 2**64 - 1)


def dh_of_size(bits: int) -> bytes:
    """Parameters of this size that are no group: good for being refused."""
    return dh_pem(2 ** (bits - 1) + 1)


def _e(bits: int) -> int:
    """The integral part of e times a power of two."""
    total = term = 1 << bits + 64
    for divisor in range(1, bits):
        term //= divisor
        total += term
    return total >> 64


def _pi(bits: int) -> int:
    """The integral part of pi times a power of two, by Machin's formula."""

    def inverse_tangent(divisor: int) -> int:
        total = power = (1 << bits + 64) // divisor
        for odd in range(3, 2 * bits, 2):
            power = -power // divisor**2
            total += power // odd
        return total

    return (16 * inverse_tangent(5) - 4 * inverse_tangent(239)) >> 64


def _integer(number: int) -> bytes:
    size = number.bit_length() // 8 + 1
    return b"\x02" + _length(size) + number.to_bytes(size, "big")


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


# ---- what is negotiated


def rsa_server(pki: Named, **options: Any) -> dict[str, Any]:
    """The server of CIPH-06: it prefers DHE."""
    return {**credentials(pki.server), "max_version": "TLSv1.2", "ciphers": f"{DHE}:{ECDHE}", **options}


async def negotiated(server: aiotls.Server, **options: Any) -> tuple[str, str, int | None]:
    """The cipher of a new connection, and type and size of the ephemeral key."""
    ciphers = {"max_version": "TLSv1.2", "ciphers": f"{DHE}:{ECDHE}"}
    async with staying(to(server, **{**ciphers, **options})) as client:
        cipher, key = client.get_cipher(), client.get_ephemeral_key_info()
        assert cipher
        assert key
        return cipher.name, key.type, key.size


@pytest.mark.parametrize("options", [{}, {"dhparam": None}], ids=["absent", "None"])
def test_ciph_06_off(run: Run, pki: Named, options: dict[str, Any]) -> None:
    """CIPH-06: without the option there is no DHE, although the cipher list begins with it."""

    async def main() -> None:
        async with serving(**rsa_server(pki, **options)) as server:
            assert (await negotiated(server))[:2] == (ECDHE, "ECDH")
            with pytest.raises(aiotls.AlertReceived):
                await to(server, ciphers=DHE, max_version="TLSv1.2")

    run(main)


@pytest.mark.parametrize("bits", [2048, 3072])
def test_ciph_06_auto(run: Run, pki: Named, bits: int) -> None:
    """CIPH-06: "auto" is a group as large as the RSA key of the certificate."""
    identity = pki.ca.issue(["localhost"], key=rsa_key(bits))

    async def main() -> None:
        async with serving(**rsa_server(pki, **credentials(identity), dhparam="auto")) as server:
            assert await negotiated(server) == (DHE, "DH", bits)

    run(main)


@functools.cache
def rsa_key(bits: int) -> Any:
    return new_rsa_key(bits)


@pytest.mark.parametrize(("bits", "level"), [(2048, 1), (2048, 2), (3072, 2), (3072, 3)])
def test_ciph_06_groups(run: Run, pki: Named, bits: int, level: int) -> None:
    """CIPH-06: the group that was given is used."""
    identity = pki.ca.issue(["localhost"], key=rsa_key(3072)) if level == 3 else pki.server
    server_ciphers = f"{DHE}:{ECDHE}:@SECLEVEL={level}"

    async def main() -> None:
        options = rsa_server(pki, **credentials(identity), ciphers=server_ciphers, dhparam=dh_group(bits))
        async with serving(**options) as server:
            assert await negotiated(server) == (DHE, "DH", bits)

    run(main)


def test_ciph_06_1024_bits(run: Run, pki: Named) -> None:
    """CIPH-06: with a warning at security level 1, which the client has to agree with."""
    low = f"{DHE}:{ECDHE}:@SECLEVEL=1"
    options = rsa_server(pki, ciphers=low, dhparam=dh_group(1024))
    with pytest.warns(aiotls.SecurityWarning, match="DH parameter is less than 2048 bits") as warned:
        context = aiotls.create_secure_context(**options)
    assert len(warned) == 1

    async def main() -> None:
        async with serving() as server:
            server.add_context("dh.example.com", context)
            own = {"servername": "dh.example.com"}
            assert await negotiated(server, ciphers=low, **own) == (DHE, "DH", 1024)
            with pytest.raises(aiotls.WeakParametersError):
                await negotiated(server, ciphers=f"{DHE}:{ECDHE}:@SECLEVEL=2", **own)

    run(main)


def test_the_warning_points_at_the_caller() -> None:
    """Whoever reads it finds the line that asked for it."""
    with pytest.warns(aiotls.SecurityWarning) as warned:
        aiotls.create_secure_context(ciphers="HIGH:@SECLEVEL=1", dhparam=dh_group(1024))
    assert warned[0].filename == __file__


@pytest.mark.parametrize("shape", ["bytes", "str", "bytearray", "view", "path", "with words"])
def test_shapes(run: Run, pki: Named, tmp_path: Path, shape: str) -> None:
    """Text and bytes are contents, a path is read."""
    pem = dh_group(2048)
    path = tmp_path / "dh.pem"
    path.write_bytes(pem)
    shapes: dict[str, Any] = {
        "bytes": pem,
        "str": pem.decode(),
        "bytearray": bytearray(pem),
        "view": memoryview(pem),
        "path": path,
        "with words": b"made for this test\n" + pem,
    }

    async def main() -> None:
        async with serving(**rsa_server(pki, dhparam=shapes[shape])) as server:
            assert await negotiated(server) == (DHE, "DH", 2048)

    run(main)


# ---- where it counts


@pytest.mark.parametrize("way", ["name", "callback", "reload"])
def test_another_context(run: Run, pki: Named, way: str) -> None:
    """The group of the context that a connection ends up with counts, that of no other one."""
    with_group = rsa_server(pki, dhparam=dh_group(2048))

    async def main() -> None:
        chosen = aiotls.create_secure_context(**with_group)
        callback = (lambda name: chosen if name == "dh.example.com" else None) if way == "callback" else None
        async with serving(**rsa_server(pki, sni_callback=callback)) as server:
            if way == "name":
                server.add_context("dh.example.com", **with_group)
            elif way == "reload":
                assert (await negotiated(server))[0] == ECDHE
                server.set_secure_context(**with_group)
            assert await negotiated(server, servername="dh.example.com") == (DHE, "DH", 2048)
            if way != "reload":
                assert (await negotiated(server))[0] == ECDHE

    run(main)


def test_an_identity_from_somewhere_else(run: Run, pki: Named) -> None:
    """`set_key_cert` exchanges the certificate; the group of the server stays."""
    other: Identity = pki.ca.issue(["localhost"], common_name="other")

    def choose(socket: aiotls.TLSSocket, servername: str | bool, protocols: list[str]) -> str:
        socket.set_key_cert(**credentials(other))
        return protocols[0]

    async def main() -> None:
        async with serving(**rsa_server(pki, dhparam=dh_group(2048), alpn_callback=choose)) as server:
            assert await negotiated(server, alpn_protocols=["x"]) == (DHE, "DH", 2048)

    run(main)


def test_without_a_certificate(run: Run) -> None:
    """Anonymous Diffie-Hellman has a group too."""
    anonymous = {"ciphers": "ADH-AES128-SHA256:@SECLEVEL=0", "max_version": "TLSv1.2"}
    nobody: dict[str, Any] = {"cert": None, "key": None, "dhparam": dh_group(2048), **anonymous}

    async def main() -> None:
        async with (
            serving(**nobody) as server,
            staying(to(server, reject_unauthorized=False, **anonymous)) as client,
        ):
            key = client.get_ephemeral_key_info()
            assert key
            assert (key.type, key.size) == ("DH", 2048)

    run(main)


def test_a_client_needs_none(run: Run, pki: Named) -> None:
    """A client takes the group of the server; one of its own changes nothing."""

    async def main() -> None:
        async with serving(**rsa_server(pki, dhparam=dh_group(3072))) as server:
            assert await negotiated(server, dhparam=dh_group(2048)) == (DHE, "DH", 3072)
            assert await negotiated(server, dhparam="auto") == (DHE, "DH", 3072)

    run(main)


def test_each_connection_has_its_own_key(run: Run, pki: Named) -> None:
    """The private half of the exchange is never used twice, so yesterday's traffic stays closed."""

    async def main() -> None:
        async with serving(lambda socket: socket.end(), **rsa_server(pki, dhparam=dh_group(2048))) as server:
            assert len({await server_public_value(server) for _ in range(3)}) == 3

    run(main)


async def server_public_value(server: aiotls.Server) -> bytes:
    """The public value in the ServerKeyExchange of a new connection."""
    async with recording(port_of(server)) as recorder:
        options = client_options(ciphers=DHE, max_version="TLSv1.2")
        async with aiotls.connect("127.0.0.1", recorder.port, **options) as client:
            await client.read()
        await recorder.ended.wait()
    flight = b"".join(data for from_client, data in recorder.segments if not from_client)
    group = b"\x01\x00" + dh_prime(2048).to_bytes(256, "big") + b"\x00\x01\x02"
    assert flight.count(group) == 1
    _, _, behind = flight.partition(group)
    return behind[2 : 2 + int.from_bytes(behind[:2], "big")]


# ---- what is refused


@pytest.mark.parametrize("level", [0, 1, 2, None])
@pytest.mark.parametrize("bits", [512, 768, 1023])
def test_ciph_06_too_small(level: int | None, bits: int) -> None:
    """CIPH-06: below 1024 bits at every security level."""
    ciphers = {} if level is None else {"ciphers": f"HIGH:@SECLEVEL={level}"}
    for make in (aiotls.create_secure_context, aiotls.create_server):
        with pytest.raises(aiotls.OptionError, match="DH parameter is less than 1024 bits") as raised:
            make(dhparam=dh_of_size(bits), **ciphers)  # type: ignore[arg-type]
        assert raised.value.code == "ERR_INVALID_ARG_VALUE"
        assert raised.value.option == "dhparam"


def test_ciph_06_against_the_security_level() -> None:
    """CIPH-06: 1024 bits at level 2, which is also the default, and 2048 at level 3: refused at creation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aiotls.SecurityWarning)
        for pem, ciphers in (
            (dh_group(1024), {"ciphers": "HIGH:@SECLEVEL=2"}),
            (dh_group(1024), {}),
            (dh_group(2048), {"ciphers": "HIGH:@SECLEVEL=3"}),
        ):
            with pytest.raises(aiotls.OptionError, match="dhparam") as raised:
                aiotls.create_secure_context(dhparam=pem, **ciphers)  # type: ignore[arg-type]
            assert raised.value.code == "ERR_CRYPTO_OPERATION_FAILED"


BROKEN: dict[str, bytes] = {
    "no PEM": b"not a PEM",
    "empty": armoured(b""),
    "truncated": dh_group(2048)[:-120] + b"-----END DH PARAMETERS-----\n",
    "without an end": dh_group(2048)[:-40],
    "no base64": b"-----BEGIN DH PARAMETERS-----\n!!!!\n-----END DH PARAMETERS-----\n",
    "no DER": armoured(b"\x30\x03\x02\x01"),
    "DER": base64.b64decode(b"".join(dh_group(2048).splitlines()[1:-1])),
    "zero": dh_pem(0),
    "another label": armoured(base64.b64decode(b"".join(dh_group(2048).splitlines()[1:-1])), b"EC PARAMETERS"),
}


@pytest.mark.parametrize("kind", [*BROKEN, "certificate", "key", "AUTO", "nothing"])
def test_ciph_06_cannot_be_parsed(pki: Named, kind: str) -> None:
    """CIPH-06: where the reference silently discards it, api.md has an error that names the option."""
    others = {"certificate": pki.server.cert_pem, "key": pki.server.key_pem, "AUTO": b"AUTO", "nothing": b" "}
    broken = {**BROKEN, **others}[kind]
    shapes = (broken, broken.decode("latin-1"))
    for make in (aiotls.create_secure_context, aiotls.create_server):
        for shape in shapes:
            with pytest.raises(aiotls.OptionError, match="dhparam") as raised:
                make(dhparam=shape)
            assert raised.value.option == "dhparam"


@pytest.mark.parametrize("wrong", [0, 1, 2048, 1.5, True, False, [], [b"pem"], {}, object()])
def test_ciph_06_wrong_types(wrong: Any) -> None:
    """CIPH-06: a number, a truth value or a list is no PEM."""
    with pytest.raises(aiotls.OptionTypeError, match="dhparam") as raised:
        aiotls.create_secure_context(dhparam=wrong)
    assert raised.value.code == "ERR_INVALID_ARG_TYPE"


def test_a_missing_file(tmp_path: Path) -> None:
    """The error names the option and the file."""
    with pytest.raises(aiotls.OptionError, match=r"dhparam.*missing\.pem") as raised:
        aiotls.create_secure_context(dhparam=tmp_path / "missing.pem")
    assert raised.value.code == "ENOENT"
