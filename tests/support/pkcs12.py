"""PKCS#12 files (PFX), as different programs write them; RFC 7292.

>>> make(named.server_ec, b"sample")
>>> by_openssl(named.server_ec, b"sample", "-nomac")

`by_openssl`, `by_certtool` and `by_keytool` start these programs; see `peers.needs`.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import KeySerializationEncryption, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates

from tests.support.pki import Identity, PrivateKey

PASSPHRASE = b"sample"


def make(identity: Identity, passphrase: bytes | None = PASSPHRASE, *, old: bool = False) -> bytes:
    """An identity and its chain, encrypted with AES-256, or with triple DES when `old`.

    Args:
        identity: A key, its certificate, and the intermediates.
        passphrase: None leaves everything readable, under a MAC with the empty passphrase.
        old: The algorithms of the time before PBES2.
    """
    return pack(identity.key, identity.certificate, identity.intermediates, passphrase, old=old)


def pack(
    key: PrivateKey | None,
    certificate: x509.Certificate | None,
    others: Sequence[x509.Certificate] = (),
    passphrase: bytes | None = PASSPHRASE,
    *,
    old: bool = False,
) -> bytes:
    """Any of a key, its certificate and further certificates; without `certificate` nothing says which one is its."""
    encryption = NoEncryption() if passphrase is None else _encryption(passphrase, old)
    return serialize_key_and_certificates(None, key, certificate, others or None, encryption)


def without_key(identity: Identity, passphrase: bytes | None = PASSPHRASE) -> bytes:
    return pack(None, identity.certificate, (), passphrase)


def without_certificate(identity: Identity, passphrase: bytes | None = PASSPHRASE) -> bytes:
    return pack(identity.key, None, (), passphrase)


def leaf_last(identity: Identity, passphrase: bytes | None = PASSPHRASE) -> bytes:
    """The intermediates stand before the leaf, and nothing but the key tells which one is the leaf."""
    return pack(identity.key, None, (*identity.intermediates, identity.certificate), passphrase)


def merged(*identities: Identity) -> bytes:
    """Several keys with their certificates in one file, readable, without a MAC."""
    return _file(b"".join(_safes(make(each, None)) for each in identities))


def by_openssl(identity: Identity, passphrase: bytes = PASSPHRASE, *arguments: str) -> bytes:
    """``openssl pkcs12 -export``; it has few rounds of key derivation unless the arguments say otherwise."""
    done = subprocess.run(
        ["openssl", "pkcs12", "-export", "-iter", "1", "-passout", "env:PFX_PASSPHRASE", *arguments],
        input=identity.key_pem + identity.chain_pem,
        env={**os.environb, b"PFX_PASSPHRASE": passphrase},
        capture_output=True,
        timeout=10,
        check=True,
    )
    return done.stdout


OPEN = ("-keypbe", "NONE", "-certpbe", "NONE", "-nomac")
"""Arguments of `by_openssl` for a file that nothing protects."""
RC2 = ("-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-RC2-40", "-macalg", "sha1")
"""What OpenSSL 3 reads only with its legacy provider."""


def by_certtool(identity: Identity, folder: Path, *arguments: str) -> bytes:
    """GnuTLS's ``certtool --to-p12``; the arguments say which passphrase."""
    files = identity.write(folder)
    target = folder / "certtool.p12"
    named = ["--load-privkey", files.key, "--load-certificate", files.chain, "--outfile", target, "--p12-name", "x"]
    _run("certtool", "--to-p12", "--outder", *map(str, named), *arguments)
    return target.read_bytes()


def by_keytool(identities: Sequence[Identity], folder: Path, passphrase: str = "sample", *arguments: str) -> bytes:
    """A key store of Java's ``keytool``: one entry for each identity, all under one passphrase."""
    store = folder / "keytool.p12"
    for number, each in enumerate(identities):
        source = folder / f"{number}.p12"
        source.write_bytes(make(each, passphrase.encode()))
        words = ["-importkeystore", "-noprompt", "-srcalias", "1", "-destalias", f"entry{number}"]
        for side, path in (("src", source), ("dest", store)):
            words += [f"-{side}keystore", str(path), f"-{side}storetype", "PKCS12", f"-{side}storepass", passphrase]
        _run("keytool", *arguments, *words)
    return store.read_bytes()


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=15, check=True)


def _encryption(passphrase: bytes, old: bool) -> KeySerializationEncryption:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(1)
    if old:
        algorithm, mac = PBES.PBESv1SHA1And3KeyTripleDESCBC, hashes.SHA1()
        return builder.key_cert_algorithm(algorithm).hmac_hash(mac).build(passphrase)
    return builder.build(passphrase)


# ---- the outermost structure, in DER

_DATA = bytes.fromhex("06092a864886f70d010701")
"""The type of what stands there as it is."""


def _safes(file: bytes) -> bytes:
    """What stands in the authenticated safe of a file; its MAC is left out."""
    version, safe, *_ = _elements(_elements(file)[0])
    assert version == b"\x03"
    octets = _elements(_elements(safe)[1])[0]
    return _elements(octets)[0]


def _file(safes: bytes) -> bytes:
    octets = _tlv(0x04, _tlv(0x30, safes))
    return _tlv(0x30, b"\x02\x01\x03" + _tlv(0x30, _DATA + _tlv(0xA0, octets)))


def _elements(data: bytes) -> list[bytes]:
    """The contents of each of the elements that stand one behind the other."""
    found: list[bytes] = []
    while data:
        size, start = data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        found.append(data[start : start + size])
        data = data[start + size :]
    return found


def _tlv(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + body
