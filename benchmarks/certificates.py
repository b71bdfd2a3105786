"""The certificates of the servers under test, made anew for each run."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Certificates:
    """A CA, and a certificate for ``localhost`` of each kind of key that it has signed."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.folder / "ca.pem"

    def cert(self, kind: str) -> Path:
        """The certificate with a key of the kind ``"ecdsa"`` or ``"rsa"``."""
        return self.folder / f"{kind}-cert.pem"

    def key(self, kind: str) -> Path:
        """Its private key."""
        return self.folder / f"{kind}-key.pem"

    @classmethod
    def make(cls, folder: Path) -> "Certificates":
        """Make all of them in `folder`."""
        made = cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aiotls benchmark CA")])
        ca = _builder(ca_name, ca_name, ca_key.public_key(), is_ca=True).sign(ca_key, hashes.SHA256())
        made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        keys: dict[str, Key] = {
            "ecdsa": ec.generate_private_key(ec.SECP256R1()),
            "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        }
        for kind, key in keys.items():
            cert = _builder(name, ca_name, key.public_key(), is_ca=False).sign(ca_key, hashes.SHA256())
            made.cert(kind).write_bytes(cert.public_bytes(serialization.Encoding.PEM))
            made.key(kind).touch(mode=0o600)
            made.key(kind).write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
        return made


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, *, is_ca: bool
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if is_ca:
        return builder
    return builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
