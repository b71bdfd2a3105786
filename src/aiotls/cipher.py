"""What was negotiated about ciphers and keys."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cipher:
    """A negotiated cipher suite.

    Source: SSL_CIPHER_get_name(3).
    """

    name: str
    """OpenSSL's name, such as ``"ECDHE-RSA-AES128-GCM-SHA256"``."""
    standard_name: str
    """The name in the RFCs, such as ``"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"``."""
    version: str
    """The protocol version that brought the suite, such as ``"TLSv1.2"``."""


@dataclass(frozen=True, slots=True)
class EphemeralKeyInfo:
    """The ephemeral key of a key exchange.

    Source: SSL_get_peer_tmp_key(3), RFC 8446, section 4.2.8.
    """

    type: str
    """``"ECDH"``, ``"DH"``, or ``"KEM"`` for a hybrid or post-quantum group."""
    name: str | None
    """The group, such as ``"X25519"`` or ``"X25519MLKEM768"``; None for a group of the server's own."""
    size: int | None
    """The size of the key in bits; None where it says nothing, as for a hybrid group."""


def ephemeral_key(group: str | None, dh_size: int | None) -> EphemeralKeyInfo | None:
    """The key behind OpenSSL's name of a group, or else a key of Diffie-Hellman over a finite field of so many bits."""
    if group is None:
        return None if dh_size is None else EphemeralKeyInfo("DH", None, dh_size)
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
