"""What was negotiated about ciphers and keys."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cipher:
    """A negotiated cipher suite."""

    name: str
    """OpenSSL's name, such as ``"ECDHE-RSA-AES128-GCM-SHA256"``."""
    standard_name: str
    """The name in the RFCs, such as ``"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"``."""
    version: str
    """The protocol version that brought the suite, such as ``"TLSv1.2"``."""


@dataclass(frozen=True, slots=True)
class EphemeralKeyInfo:
    """The ephemeral key of a key exchange."""

    type: str
    """``"ECDH"``, ``"DH"``, or ``"KEM"`` for a hybrid or post-quantum group."""
    name: str
    """The group, such as ``"X25519"`` or ``"X25519MLKEM768"``."""
    size: int | None
    """The size of the key in bits; None where it says nothing, as for a hybrid group."""


def ephemeral_key(group: str) -> EphemeralKeyInfo:
    """The key behind OpenSSL's name of a group."""
    name, size = _GROUPS.get(group.lower(), (group, None))
    if "mlkem" in name.lower():
        return EphemeralKeyInfo("KEM", name, size)
    if name.startswith("ffdhe"):
        return EphemeralKeyInfo("DH", name, int(name.removeprefix("ffdhe")))
    return EphemeralKeyInfo("ECDH", name, size)


# The names that certificates use for the same curves, and the sizes of their keys in bits.
_GROUPS = {
    "secp256r1": ("prime256v1", 256),
    "secp384r1": ("secp384r1", 384),
    "secp521r1": ("secp521r1", 521),
    "x25519": ("X25519", 253),
    "x448": ("X448", 448),
}
