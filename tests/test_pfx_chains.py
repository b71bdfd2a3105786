"""The chain in a PKCS#12 file: where it ends, and files in which there is none."""

import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import aiotls
from aiotls import _native
from tests.support import pkcs12

LONGEST = 100


def certificate(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate that only its names lead from: no key identifiers, and whoever has the name may have issued it."""
    today = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


def chain(key: ec.EllipticCurvePrivateKey, leaf: x509.Certificate, *others: x509.Certificate) -> list[bytes]:
    """The chain of the only key in a file, as DER."""
    ((_, found),) = _native.load_pkcs12(pkcs12.pack(key, leaf, others, None), None)
    return [each.der() for each in found]


def test_it_ends_at_a_root() -> None:
    """Further certificates with the name of a root that signs itself do not belong to it."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf, middle = certificate("leaf", "middle", key), certificate("middle", "root", key)
    roots = [certificate("root", "root", key) for _ in range(20)]
    found = chain(key, leaf, *roots, middle)
    assert found == [*map(der, (leaf, middle, roots[0]))]


def test_a_leaf_that_signs_itself() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = certificate("root", "root", key)
    assert chain(key, leaf, *(certificate("root", "root", key) for _ in range(20))) == [der(leaf)]


@pytest.mark.parametrize("length", [2, LONGEST - 1, LONGEST, LONGEST + 1, LONGEST + 30])
def test_it_is_no_longer_than_a_hundred(length: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    each = [certificate(f"{number}", f"{number + 1}", key) for number in range(length)]
    assert chain(key, each[0], *reversed(each[1:])) == [*map(der, each[:LONGEST])]


def test_a_circle() -> None:
    """Two that have issued each other stand there once."""
    key = ec.generate_private_key(ec.SECP256R1())
    one, other = certificate("one", "other", key), certificate("other", "one", key)
    assert chain(key, one, other) == [der(one), der(other)]


@pytest.mark.parametrize("shape", ["list", "dict", "path"])
def test_an_empty_file(tmp_path: Path, shape: str) -> None:
    """The error names the option, and says that it is no such file."""
    (tmp_path / "empty").touch()
    shapes: dict[str, tuple[str, Any]] = {
        "list": ("pfx[0]", [b""]),
        "dict": ("pfx[0]['buf']", [{"buf": b""}]),
        "path": ("pfx", tmp_path / "empty"),
    }
    option, pfx = shapes[shape]
    with pytest.raises(aiotls.OptionError, match=r"no PKCS#12 file|not enough data") as caught:
        aiotls.create_secure_context(pfx=pfx)
    assert caught.value.option == option
    assert "unknown error" not in str(caught.value)


def der(each: x509.Certificate) -> bytes:
    return each.public_bytes(Encoding.DER)
