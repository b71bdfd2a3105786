"""Public keys, as a certificate holds them: what there is to tell of RSA and EC keys (RFC 8017, RFC 5480)."""

from dataclasses import dataclass

from .der import OBJECT_IDENTIFIER, Element, read


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA or EC key; nothing is told of any other."""

    bits: int | None = None
    """Of an RSA modulus, or of the order of a curve; None for a curve that is not known."""
    modulus: int | None = None
    exponent: int | None = None
    point: bytes | None = None
    """As it is encoded: uncompressed or compressed."""
    curve: str | None = None
    """OpenSSL's name, dotted where it has none; None for parameters without a name."""

    @property
    def nist_curve(self) -> str | None:
        """NIST's name of the curve, where it has one."""
        return _NIST_CURVES.get(self.curve or "")


def parse_public_key(element: Element) -> PublicKey:
    """Reads a SubjectPublicKeyInfo; one that is broken is like one of another kind."""
    try:
        algorithm, key = element.sequence(2)
        kind, *parameters = algorithm.sequence()
        if key.content[:1] != b"\0":
            raise ValueError("a key that is not whole bytes")
        if kind.oid() in _RSA_KEYS:
            return _rsa_key(key.bits())
        if kind.oid() == _EC_KEY and parameters:
            return _ec_key(key.bits(), parameters[0])
    except (ValueError, IndexError):
        pass
    return PublicKey()


def _rsa_key(key: bytes) -> PublicKey:
    modulus, exponent = (part.integer() for part in read(key).sequence(2))
    if modulus < 0 or exponent < 0:
        raise ValueError("a key with a negative number")
    return PublicKey(modulus.bit_length(), modulus=modulus, exponent=exponent)


def _ec_key(point: bytes, parameters: Element) -> PublicKey:
    """Whether the point lies on the curve is not looked at: OpenSSL lets no peer use one that does not."""
    if len(point) < 2 or not (point[0] in (2, 3) or (point[0] in (4, 6, 7) and len(point) % 2)):
        raise ValueError("not a point")
    if parameters.tag == OBJECT_IDENTIFIER:
        curve = parameters.oid()
        name, bits = _CURVES.get(curve, (curve, None))
        return PublicKey(bits, point=point, curve=name)
    return PublicKey(parameters.sequence()[4].integer().bit_length(), point=point)


def _curves(arc: str, table: str) -> dict[str, tuple[str, int | None]]:
    """Curves by object identifier: for each its last arc, its name and the bits of its order."""
    rows = (row.split() for row in table.split(","))
    return {f"{arc}.{last}": (name, int(bits)) for last, name, bits in rows}


_RSA_KEYS = ("1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "2.5.8.1.1")
_EC_KEY = "1.2.840.10045.2.1"

_CURVES: dict[str, tuple[str, int | None]] = {
    **_curves(
        "1.2.156.10197.1",
        "301 SM2 256",
    ),
    **_curves(
        "1.2.840.10045.3.0",
        "1 c2pnb163v1 163, 2 c2pnb163v2 162, 3 c2pnb163v3 162, 4 c2pnb176v1 161, 5 c2tnb191v1 191, "
        "6 c2tnb191v2 190, 7 c2tnb191v3 189, 10 c2pnb208w1 193, 11 c2tnb239v1 238, 12 c2tnb239v2 237, "
        "13 c2tnb239v3 236, 16 c2pnb272w1 257, 17 c2pnb304w1 289, 18 c2tnb359v1 353, 19 c2pnb368w1 353, "
        "20 c2tnb431r1 418",
    ),
    **_curves(
        "1.2.840.10045.3.1",
        "1 prime192v1 192, 2 prime192v2 192, 3 prime192v3 192, 4 prime239v1 239, 5 prime239v2 239, "
        "6 prime239v3 239, 7 prime256v1 256",
    ),
    **_curves(
        "1.3.36.3.3.2.8.1.1",
        "1 brainpoolP160r1 160, 2 brainpoolP160t1 160, 3 brainpoolP192r1 192, 4 brainpoolP192t1 192, "
        "5 brainpoolP224r1 224, 6 brainpoolP224t1 224, 7 brainpoolP256r1 256, 8 brainpoolP256t1 256, "
        "9 brainpoolP320r1 320, 10 brainpoolP320t1 320, 11 brainpoolP384r1 384, 12 brainpoolP384t1 384, "
        "13 brainpoolP512r1 512, 14 brainpoolP512t1 512",
    ),
    **_curves(
        "1.3.132.0",
        "1 sect163k1 163, 2 sect163r1 162, 3 sect239k1 238, 4 sect113r1 113, 5 sect113r2 113, 6 secp112r1 112, "
        "7 secp112r2 110, 8 secp160r1 161, 9 secp160k1 161, 10 secp256k1 256, 15 sect163r2 163, "
        "16 sect283k1 281, 17 sect283r1 282, 22 sect131r1 131, 23 sect131r2 131, 24 sect193r1 193, "
        "25 sect193r2 193, 26 sect233k1 232, 27 sect233r1 233, 28 secp128r1 128, 29 secp128r2 126, "
        "30 secp160r2 161, 31 secp192k1 192, 32 secp224k1 225, 33 secp224r1 224, 34 secp384r1 384, "
        "35 secp521r1 521, 36 sect409k1 407, 37 sect409r1 409, 38 sect571k1 570, 39 sect571r1 570",
    ),
    **_curves(
        "2.23.43.1.4",
        "1 wap-wsg-idm-ecid-wtls1 112, 3 wap-wsg-idm-ecid-wtls3 163, 4 wap-wsg-idm-ecid-wtls4 113, "
        "5 wap-wsg-idm-ecid-wtls5 163, 6 wap-wsg-idm-ecid-wtls6 112, 7 wap-wsg-idm-ecid-wtls7 161, "
        "8 wap-wsg-idm-ecid-wtls8 113, 9 wap-wsg-idm-ecid-wtls9 161, 10 wap-wsg-idm-ecid-wtls10 232, "
        "11 wap-wsg-idm-ecid-wtls11 233, 12 wap-wsg-idm-ecid-wtls12 224",
    ),
}
_NIST_CURVES = {
    "prime192v1": "P-192",
    "prime256v1": "P-256",
    "sect163k1": "K-163",
    "sect163r2": "B-163",
    "sect283k1": "K-283",
    "sect283r1": "B-283",
    "sect233k1": "K-233",
    "sect233r1": "B-233",
    "secp224r1": "P-224",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
    "sect409k1": "K-409",
    "sect409r1": "B-409",
    "sect571k1": "K-571",
    "sect571r1": "B-571",
}
