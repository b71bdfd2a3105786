"""Certificates made while the tests run: one call, one certificate.

>>> ca = Authority.root("ca")
>>> server = ca.issue(["localhost"], ip_addresses=["127.0.0.1"])
>>> server.chain_pem, server.key_pem, ca.cert_pem

`named` holds the identities that the described behaviours speak of, each made when it is first asked for.
"""

import datetime
import functools
import ipaddress
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

KeyKind = Literal["rsa", "ec", "ed25519"]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Purpose = Literal["server", "client"]
Extension = tuple[x509.ExtensionType, bool]

DAY = datetime.timedelta(days=1)


class CertificateOptions(TypedDict, total=False):
    """What a certificate may be asked to be; everything has a default."""

    common_name: str | None
    """The subject's common name; by default the first of the names, or none."""
    ip_addresses: Sequence[str]
    """IP addresses of the subjectAltName extension."""
    key: KeyKind | PrivateKey
    """A kind of key, or a key that is already there; ``"rsa"`` (2048 bits) by default."""
    purposes: Sequence[Purpose]
    """The extended key usage; server and client by default, empty for no such extension."""
    attributes: Sequence[tuple[x509.ObjectIdentifier, str]]
    """Further attributes of the subject, before the common name."""
    extensions: Sequence[Extension]
    """Further extensions, each with its critical flag."""
    not_before: datetime.datetime | None
    not_after: datetime.datetime | None
    expired: bool
    """Valid until yesterday."""
    not_yet_valid: bool
    """Valid from tomorrow."""
    is_ca: bool
    """The basic constraint; with it comes the right to sign certificates."""
    key_usage: x509.KeyUsage | None
    """None leaves the extension out; by default what `is_ca` needs."""


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key, and the intermediates between it and its root."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate, as it travels."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def cert_pem(self) -> bytes:
        """The certificate alone."""
        return _pem(self.certificate)

    @property
    def chain_pem(self) -> bytes:
        """The certificate and the intermediates, leaf first, without the root."""
        return b"".join(_pem(certificate) for certificate in (self.certificate, *self.intermediates))

    @property
    def key_pem(self) -> bytes:
        """The private key as PKCS#8, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def key_pem_encrypted(self, passphrase: bytes, *, traditional: bool = False) -> bytes:
        """The private key encrypted: as PKCS#8, or in OpenSSL's traditional form (not for Ed25519)."""
        form = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(
            serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(passphrase)
        )

    def write(self, directory: Path) -> "IdentityFiles":
        """Writes the identity into `directory`, for programs that read files."""
        stem = format(self.certificate.serial_number, "x")
        files = IdentityFiles(
            directory / f"{stem}.cert.pem", directory / f"{stem}.chain.pem", directory / f"{stem}.key.pem"
        )
        files.cert.write_bytes(self.cert_pem)
        files.chain.write_bytes(self.chain_pem)
        files.key.touch(mode=0o600)
        files.key.write_bytes(self.key_pem)
        return files


@dataclass(frozen=True)
class IdentityFiles:
    """Where an identity was written."""

    cert: Path
    chain: Path
    key: Path


@dataclass(frozen=True)
class Authority(Identity):
    """A certificate authority: a root, or an intermediate under one."""

    @classmethod
    def root(cls, common_name: str, *, key: KeyKind | PrivateKey = "rsa") -> "Authority":
        """A self-signed certificate authority."""
        identity = self_signed(common_name=common_name, key=key, is_ca=True, purposes=())
        return cls(identity.certificate, identity.key)

    def intermediate(self, common_name: str, *, key: KeyKind | PrivateKey = "rsa") -> "Authority":
        """A certificate authority signed by this one."""
        identity = self.issue(common_name=common_name, key=key, is_ca=True, purposes=())
        return Authority(identity.certificate, identity.key, identity.intermediates)

    def issue(self, names: Sequence[str] = (), **options: Unpack[CertificateOptions]) -> Identity:
        """A certificate signed by this authority; `names` are the DNS names of its subjectAltName extension."""
        key = _private_key(options.get("key", "rsa"))
        certificate = _build(names, key, options, issuer=self)
        chain = self.intermediates if self._is_root else (self.certificate, *self.intermediates)
        return Identity(certificate, key, chain)

    def crl(self, revoked: Iterable[Identity] = (), *, expired: bool = False, not_yet_valid: bool = False) -> bytes:
        """A certificate revocation list of this authority, as PEM, valid today unless told otherwise."""
        last_update, next_update = _validity({"expired": expired, "not_yet_valid": not_yet_valid})
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(last_update)
            .next_update(next_update)
        )
        for identity in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(identity.certificate.serial_number)
                .revocation_date(datetime.datetime.now(datetime.UTC) - DAY)
                .build()
            )
        return builder.sign(self.key, _digest(self.key)).public_bytes(serialization.Encoding.PEM)

    def ocsp_response(self, identity: Identity, *, revoked: bool = False) -> bytes:
        """An OCSP response about a certificate of this authority, as DER, signed by the authority itself."""
        now = datetime.datetime.now(datetime.UTC)
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=identity.certificate,
            issuer=self.certificate,
            algorithm=hashes.SHA1(),  # it only names the issuer (RFC 6960, section 4.1.1)
            cert_status=ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=now - DAY,
            next_update=now + DAY,
            revocation_time=now - DAY if revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
        )
        # Some clients look for the signer in the response only.
        builder = builder.certificates([self.certificate])
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.certificate)
        return builder.sign(self.key, _digest(self.key)).public_bytes(serialization.Encoding.DER)

    @property
    def _is_root(self) -> bool:
        return self.certificate.issuer == self.certificate.subject


def self_signed(names: Sequence[str] = (), **options: Unpack[CertificateOptions]) -> Identity:
    """A certificate that signs itself; `names` are the DNS names of its subjectAltName extension."""
    key = _private_key(options.get("key", "rsa"))
    return Identity(_build(names, key, options, issuer=None), key)


def new_rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key that nobody else has; slow, so ask only where the key itself matters."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


class Named:
    """The identities of the described behaviours, and a few for everyday use; see each docstring."""

    @functools.cached_property
    def ca(self) -> Authority:
        """The root of the everyday identities; an RSA key."""
        return Authority.root("aiotls test root", key=new_rsa_key())

    @functools.cached_property
    def server(self) -> Identity:
        """RSA, for localhost, *.example.com, 127.0.0.1 and ::1."""
        return self.ca.issue(_SERVER_NAMES, ip_addresses=_SERVER_ADDRESSES, key=new_rsa_key(), purposes=["server"])

    @functools.cached_property
    def server_ec(self) -> Identity:
        """P-256, for the same names as `server`."""
        return self.ca.issue(_SERVER_NAMES, ip_addresses=_SERVER_ADDRESSES, key="ec", purposes=["server"])

    @functools.cached_property
    def server_ed25519(self) -> Identity:
        """Ed25519, for the same names as `server`."""
        return self.ca.issue(_SERVER_NAMES, ip_addresses=_SERVER_ADDRESSES, key="ed25519", purposes=["server"])

    @functools.cached_property
    def client(self) -> Identity:
        """RSA, a client certificate with CN=client."""
        return self.ca.issue(common_name="client", key=new_rsa_key(), purposes=["client"])

    @functools.cached_property
    def client_ec(self) -> Identity:
        """P-256, a client certificate with CN=client."""
        return self.ca.issue(common_name="client", key="ec", purposes=["client"])

    @functools.cached_property
    def client_revoked(self) -> Identity:
        """P-256, a client certificate with CN=revoked that stands in `crl`."""
        return self.ca.issue(common_name="revoked", key="ec", purposes=["client"])

    @functools.cached_property
    def client_expired(self) -> Identity:
        """P-256, a client certificate with CN=expired, valid until yesterday."""
        return self.ca.issue(common_name="expired", key="ec", purposes=["client"], expired=True)

    @functools.cached_property
    def client_not_yet_valid(self) -> Identity:
        """P-256, a client certificate with CN=early, valid from tomorrow."""
        return self.ca.issue(common_name="early", key="ec", purposes=["client"], not_yet_valid=True)

    @functools.cached_property
    def crl(self) -> bytes:
        """The revocation list of the everyday root: `client_revoked` stands in it."""
        return self.ca.crl([self.client_revoked])

    @functools.cached_property
    def ca_a(self) -> Authority:
        """CA-A: a root, CN=ca1."""
        return Authority.root("ca1", key=new_rsa_key())

    @functools.cached_property
    def int_a(self) -> Authority:
        """INT-A: an intermediate signed by CA-A."""
        return self.ca_a.intermediate("ca1 intermediate", key=new_rsa_key())

    @functools.cached_property
    def ca_b(self) -> Authority:
        """CA-B: another root, CN=ca2."""
        return Authority.root("ca2", key=new_rsa_key())

    @functools.cached_property
    def int_b(self) -> Authority:
        """INT-B: an intermediate signed by CA-B."""
        return self.ca_b.intermediate("ca2 intermediate", key=new_rsa_key())

    @functools.cached_property
    def ca_ec(self) -> Authority:
        """CA-EC: a P-256 root."""
        return Authority.root("ca ec", key="ec")

    @functools.cached_property
    def int_ec(self) -> Authority:
        """INT-EC: a P-256 intermediate signed by CA-EC."""
        return self.ca_ec.intermediate("ca ec intermediate", key="ec")

    @functools.cached_property
    def ca_l(self) -> Authority:
        """CA-L: a private root that is in no bundle."""
        return Authority.root("ca local", key=new_rsa_key())

    @functools.cached_property
    def leaf_a(self) -> Identity:
        """LEAF-A: RSA, CN=agent1 and an e-mail address, signed by CA-A, no SAN, with OCSP and issuer URLs."""
        access = x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
                for method, url in (
                    (AuthorityInformationAccessOID.OCSP, "http://ocsp.example.com/"),
                    (AuthorityInformationAccessOID.CA_ISSUERS, "http://ca.example.com/ca1.cert"),
                )
            ]
        )
        return self.ca_a.issue(
            common_name="agent1",
            key=new_rsa_key(),
            attributes=[(NameOID.EMAIL_ADDRESS, "agent1@example.com")],
            extensions=[(access, False)],
        )

    @functools.cached_property
    def self_rsa(self) -> Identity:
        """SELF: RSA, self-signed, CN=agent2, no SAN."""
        return self_signed(common_name="agent2", key=new_rsa_key())

    @functools.cached_property
    def self_ec(self) -> Identity:
        """SELF-EC: P-256, self-signed, C=US, CN=agent2."""
        return self_signed(common_name="agent2", key="ec", attributes=[(NameOID.COUNTRY_NAME, "US")])

    @functools.cached_property
    def self_localhost(self) -> Identity:
        """SELF-LOCALHOST: RSA, self-signed, CA:TRUE, CN=localhost, OU given twice."""
        units = [(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in ("first unit", "second unit")]
        return self_signed(common_name="localhost", key=new_rsa_key(), attributes=units, is_ca=True)

    @functools.cached_property
    def leaf_b(self) -> Identity:
        """LEAF-B: CN=agent3, signed by CA-B, no SAN."""
        return self.ca_b.issue(common_name="agent3", key=new_rsa_key())

    @functools.cached_property
    def leaf_b_client(self) -> Identity:
        """LEAF-B-CLIENT, also called LEAF-B-REVOKED: CN=agent4, signed by CA-B, for clients, revoked by `crl_b`."""
        return self.ca_b.issue(common_name="agent4", key=new_rsa_key(), purposes=["client"])

    @property
    def leaf_b_revoked(self) -> Identity:
        """The other name of LEAF-B-CLIENT."""
        return self.leaf_b_client

    @functools.cached_property
    def crl_b(self) -> bytes:
        """The revocation list of CA-B: LEAF-B-REVOKED stands in it."""
        return self.ca_b.crl([self.leaf_b_revoked])

    @functools.cached_property
    def leaf_local(self) -> Identity:
        """LEAF-LOCAL: CN=localhost, signed by CA-L."""
        return self.ca_l.issue(common_name="localhost", key=new_rsa_key())

    @functools.cached_property
    def chain_a(self) -> Identity:
        """CHAIN-A: RSA, CN 'Ádám Lippai' and an e-mail address, signed by INT-A."""
        return self.int_a.issue(
            common_name="Ádám Lippai", key=new_rsa_key(), attributes=[(NameOID.EMAIL_ADDRESS, "adam@example.com")]
        )

    @functools.cached_property
    def chain_b(self) -> Identity:
        """CHAIN-B: RSA, CN=agent10.example.com, signed by INT-B."""
        return self.int_b.issue(common_name="agent10.example.com", key=new_rsa_key())

    @functools.cached_property
    def chain_ec(self) -> Identity:
        """CHAIN-EC: P-256, CN=agent10.example.com, signed by INT-EC."""
        return self.int_ec.issue(common_name="agent10.example.com", key="ec")


named = Named()

_SERVER_NAMES = ("localhost", "*.example.com")
_SERVER_ADDRESSES = ("127.0.0.1", "::1")


def _build(
    names: Sequence[str], key: PrivateKey, options: CertificateOptions, issuer: Authority | None
) -> x509.Certificate:
    subject = _subject(names, options)
    not_before, not_after = _validity(options)
    is_ca = options.get("is_ca", False)
    public_key = key.public_key()
    issuer_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    usage = options.get("key_usage", _key_usage(is_ca))
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    purposes = options.get("purposes", ("server", "client"))
    if purposes:
        usages = x509.ExtendedKeyUsage([_PURPOSES[purpose] for purpose in purposes])
        builder = builder.add_extension(usages, critical=False)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(text)) for text in options.get("ip_addresses", ())]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    for extension, critical in options.get("extensions", ()):
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, _digest(issuer_key))


def _subject(names: Sequence[str], options: CertificateOptions) -> x509.Name:
    common_name = options.get("common_name", names[0] if names else None)
    attributes = [*options.get("attributes", ())]
    if common_name is not None:
        attributes.append((NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _validity(options: CertificateOptions) -> tuple[datetime.datetime, datetime.datetime]:
    now = datetime.datetime.now(datetime.UTC)
    if options.get("expired"):
        return now - 10 * DAY, now - DAY
    if options.get("not_yet_valid"):
        return now + DAY, now + 10 * DAY
    return options.get("not_before") or now - DAY, options.get("not_after") or now + 30 * DAY


def _key_usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not is_ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _private_key(wanted: KeyKind | PrivateKey) -> PrivateKey:
    match wanted:
        case "rsa":
            return _shared_rsa_key(next(_turns))
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    return wanted


@functools.cache
def _shared_rsa_key(turn: int) -> rsa.RSAPrivateKey:
    return new_rsa_key()


# RSA keys are slow to make, so certificates that did not ask for a key of their own take turns with these.
_turns = itertools.cycle(range(4))


def _digest(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


_PURPOSES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
