"""Public keys in certificates: what is told of each kind, and that a broken one costs only itself."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from aiotls.certificate import PeerCertificate
from tests.support import odd_certificates as odd
from tests.support.odd_catalogue import CATALOGUE, EXPLICIT_P_256, MODULUS, made
from tests.support.peers import needs
from tests.support.pki import new_rsa_key

FIELDS = ("modulus", "exponent", "bits", "asn1_curve", "nist_curve")
KEYS = ("modulus", "exponent", "bits", "asn1Curve", "nistCurve", "pubkey")
NOTHING = (None,) * 5
SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fields(certificate: PeerCertificate) -> tuple[Any, ...]:
    """What is told of the key; the dict has the same, but for what is None."""
    told = tuple(getattr(certificate, name) for name in FIELDS)
    dictionary = certificate.to_dict()
    assert tuple(dictionary.get(key) for key in KEYS[:-1]) == told
    assert all(dictionary[key] is not None for key in KEYS if key in dictionary)
    return told


@pytest.mark.parametrize("bits", [1024, 1025, 2048, 3072, 4096])
def test_rsa(bits: int) -> None:
    key = new_rsa_key(bits)
    certificate = PeerCertificate(odd.certificate(key=key.public_key().public_bytes(*SPKI)))
    numbers = key.public_key().public_numbers()
    assert fields(certificate) == (f"{numbers.n:X}", "0x10001", bits, None, None)
    assert certificate.pubkey == certificate.to_dict()["pubkey"] == key.public_key().public_bytes(*SPKI)


@pytest.mark.parametrize("exponent", [1, 3, 17, 0xABCDEF, 2**32 + 1, 2**63 + 1, 2**64 + 1, 2**200 + 1])
def test_exponents(exponent: int) -> None:
    """Of any size, in lower-case digits."""
    certificate = PeerCertificate(odd.certificate(key=odd.rsa_key(MODULUS, exponent)))
    assert fields(certificate) == (f"{MODULUS:X}", f"0x{exponent:x}", 2048, None, None)


def test_exponent_3() -> None:
    """As cryptography makes it."""
    key = rsa.generate_private_key(public_exponent=3, key_size=2048).public_key()
    assert PeerCertificate(odd.certificate(key=key.public_bytes(*SPKI))).exponent == "0x3"


@pytest.mark.parametrize("which", [each for each in CATALOGUE if each.startswith("key: rsa-pss")])
def test_rsa_pss(which: str) -> None:
    """An RSA key, whatever it may be used for; its SubjectPublicKeyInfo says what."""
    certificate = PeerCertificate(made(which))
    assert fields(certificate) == (f"{MODULUS:X}", "0x10001", 2048, None, None)
    assert certificate.pubkey == CATALOGUE[which]["key"] == certificate.to_dict()["pubkey"]


@needs("openssl")
def test_rsa_pss_of_openssl(tmp_path: Path) -> None:
    """A certificate with such a key, as ``openssl req`` makes it."""
    command = "openssl req -x509 -newkey rsa-pss -nodes -keyout key.pem -subj /CN=pss -outform DER -out cert.der"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    certificate = PeerCertificate((tmp_path / "cert.der").read_bytes())
    public = load_der_public_key(certificate.pubkey or b"")
    assert isinstance(public, rsa.RSAPublicKey)
    assert fields(certificate) == (f"{public.public_numbers().n:X}", "0x10001", 2048, None, None)


@pytest.mark.parametrize("form", [PublicFormat.UncompressedPoint, PublicFormat.CompressedPoint])
@pytest.mark.parametrize(
    ("curve", "identifier", "told"),
    [
        (ec.SECP224R1(), "1.3.132.0.33", (224, "secp224r1", "P-224")),
        (ec.SECP256R1(), "1.2.840.10045.3.1.7", (256, "prime256v1", "P-256")),
        (ec.SECP384R1(), "1.3.132.0.34", (384, "secp384r1", "P-384")),
        (ec.SECP521R1(), "1.3.132.0.35", (521, "secp521r1", "P-521")),
        (ec.SECP256K1(), "1.3.132.0.10", (256, "secp256k1", None)),
        (ec.BrainpoolP256R1(), "1.3.36.3.3.2.8.1.1.7", (256, "brainpoolP256r1", None)),
        (ec.BrainpoolP384R1(), "1.3.36.3.3.2.8.1.1.11", (384, "brainpoolP384r1", None)),
        (ec.BrainpoolP512R1(), "1.3.36.3.3.2.8.1.1.13", (512, "brainpoolP512r1", None)),
    ],
)
def test_ec(curve: ec.EllipticCurve, identifier: str, told: tuple[Any, ...], form: PublicFormat) -> None:
    """The key is the point as it stands there, unlike RSA's."""
    key = ec.generate_private_key(curve).public_key()
    point = key.public_bytes(Encoding.X962, form)
    encoded = odd.ec_key(identifier, point)
    assert load_der_public_key(encoded) == key
    certificate = PeerCertificate(odd.certificate(key=encoded))
    assert fields(certificate) == (None, None, *told)
    assert certificate.pubkey == certificate.to_dict()["pubkey"] == point


@pytest.mark.parametrize(
    ("curve", "told"),
    [
        ("1.3.132.0.7", (110, "secp112r2", None)),
        ("1.3.132.0.8", (161, "secp160r1", None)),
        ("1.3.132.0.26", (232, "sect233k1", "K-233")),
        ("1.3.132.0.39", (570, "sect571r1", "B-571")),
        ("1.2.840.10045.3.1.4", (239, "prime239v1", None)),
        ("1.2.840.10045.3.0.10", (193, "c2pnb208w1", None)),
        ("2.23.43.1.4.12", (224, "wap-wsg-idm-ecid-wtls12", None)),
        ("1.2.156.10197.1.301", (256, "SM2", None)),
        (odd.UNKNOWN, (None, odd.UNKNOWN, None)),
    ],
)
def test_curves_that_are_rare(curve: str, told: tuple[Any, ...]) -> None:
    """The size is that of the order, not that of the field; of an unknown curve it is not guessed."""
    certificate = PeerCertificate(odd.certificate(key=odd.ec_key(curve, odd.POINT)))
    assert fields(certificate) == (None, None, *told)
    assert certificate.pubkey == certificate.to_dict()["pubkey"] == odd.POINT


def test_explicit_parameters() -> None:
    """A curve that is spelt out has a size and no name, even if it looks like P-256 (CVE-2020-0601)."""
    certificate = PeerCertificate(odd.certificate(key=odd.public_key(odd.EC, odd.POINT, EXPLICIT_P_256)))
    assert fields(certificate) == (None, None, 256, None, None)
    assert certificate.to_dict()["pubkey"] == odd.POINT


def test_other_kinds() -> None:
    """Ed448, DSA: the SubjectPublicKeyInfo is an attribute; the dict has none, as in the reference."""
    keys = (ed448.Ed448PrivateKey.generate().public_key(), dsa.generate_private_key(2048).public_key())
    for encoded in (key.public_bytes(*SPKI) for key in keys):
        certificate = PeerCertificate(odd.certificate(key=encoded))
        assert fields(certificate) == NOTHING
        assert certificate.pubkey == encoded
        assert "pubkey" not in certificate.to_dict()


@pytest.mark.parametrize(
    "which", ["ed25519", "ed25519 too short", "ed448", "x25519", "x448", "dsa", "dh", "ml-dsa-44", "ecdh", "unknown"]
)
def test_kinds_that_nothing_is_told_of(which: str) -> None:
    certificate = PeerCertificate(made(f"key: {which}"))
    assert fields(certificate) == NOTHING
    assert certificate.pubkey == CATALOGUE[f"key: {which}"]["key"]
    assert "pubkey" not in certificate.to_dict()


@pytest.mark.parametrize(
    "which",
    [
        "rsa negative modulus",
        "rsa negative exponent",
        "rsa with something behind it",
        "rsa of three numbers",
        "rsa of no number",
        "rsa of octets",
        "rsa of nothing",
        "rsa oaep",
        "ec infinity",
        "ec without a point",
        "ec one byte short",
        "ec without parameters",
        "ec with implicit parameters",
        "ec of unused bits",
    ],
)
def test_broken_keys(which: str) -> None:
    """CVE-2023-30588: a public key that is none is told as an unknown one; the rest is there."""
    certificate = PeerCertificate(made(f"key: {which}"))
    assert fields(certificate) == NOTHING
    assert certificate.pubkey == CATALOGUE[f"key: {which}"]["key"]
    assert "pubkey" not in certificate.to_dict()
    assert certificate.subject == {"CN": "odd"}


def test_key_off_its_curve() -> None:
    """CVE-2023-30588: it is told as it stands; nobody computes with it here."""
    certificate = PeerCertificate(made("key: ec off the curve"))
    assert fields(certificate) == (None, None, 256, "prime256v1", "P-256")
    with pytest.raises(ValueError, match=r"EC|point"):
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), certificate.pubkey or b"")


def test_sizes() -> None:
    """From one bit to 64 KiB."""
    for bits in (1, 512, 1023, 16384):
        assert PeerCertificate(made(f"key: rsa {bits}")).bits == bits
    assert PeerCertificate(made("key: rsa 64 KiB")).bits == 8 * 65536 + 1
    assert fields(PeerCertificate(made("key: rsa modulus 0")))[:3] == ("0", "0x3", 0)


def test_without_parameters_or_under_another_name() -> None:
    """RSA keys that are encoded unusually are told, and stay as they are encoded."""
    for which in ("without parameters", "with a number as parameters", "under its X.500 name"):
        certificate = PeerCertificate(made(f"key: rsa {which}"))
        assert (certificate.modulus, certificate.bits) == (f"{MODULUS:X}", 2048)
        assert certificate.pubkey == CATALOGUE[f"key: rsa {which}"]["key"]
