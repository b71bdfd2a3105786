"""A private certificate authority and the certificates of the demo, made in memory."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

NAME = "demo.example"
"""The name that the servers of the demo are known by."""
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as PEM."""

    cert: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Writes both into `directory` for programs that read files; returns their paths."""
        cert, key = directory / f"{name}.cert.pem", directory / f"{name}.key.pem"
        cert.write_bytes(self.cert)
        key.touch(mode=0o600)
        key.write_bytes(self.key)
        return cert, key


class Authority:
    """A root that signs certificates."""

    def __init__(self, common_name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = self._builder(self._name, self._key, datetime.datetime.now(datetime.UTC) + 30 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_SIGNS_CERTIFICATES, critical=True)
        self.cert = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(
        self, common_name: str, names: Sequence[str] = (), *, rsa_key: bool = False, expired: bool = False
    ) -> Identity:
        """A certificate for these DNS names and, when there are any, for loopback; valid from yesterday."""
        key: PrivateKey
        if rsa_key:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        end = datetime.datetime.now(datetime.UTC) + (-DAY if expired else 30 * DAY)
        builder = self._builder(subject, key, end)
        if names:
            alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
            alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        return Identity(
            cert.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def _builder(self, subject: x509.Name, key: PrivateKey, end: datetime.datetime) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - 60 * DAY)
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


# RFC 5280, section 4.2.1.3: an authority must say so, and strict verifiers (Python from 3.13 on) insist.
_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Certificates:
    """Everything that the rows of the demo need."""

    def __init__(self) -> None:
        self.ca = Authority("aiotls demo root")
        stranger = Authority("a root that nobody trusts")
        self.server_rsa = self.ca.issue(NAME, [NAME], rsa_key=True)
        self.server_ec = self.ca.issue(NAME, [NAME])
        self.client = self.ca.issue("demo client")
        self.expired = self.ca.issue(NAME, [NAME], expired=True)
        self.other_name = self.ca.issue("other.example", ["other.example"])
        self.unknown_ca = stranger.issue(NAME, [NAME])
        self.stranger_client = stranger.issue("a stranger")
