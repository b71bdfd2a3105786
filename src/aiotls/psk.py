"""A pre-shared key as a client names it."""

from dataclasses import dataclass, field
from typing import NoReturn

from . import checks
from .errors import OptionError

LONGEST_IDENTITY = 256
"""In bytes; OpenSSL takes no more."""
LONGEST_KEY = 512
"""In bytes; OpenSSL takes no more."""


@dataclass(frozen=True, slots=True)
class PSK:
    """An identity and the key that belongs to it (RFC 4279; RFC 8446, section 4.2.11).

    Args:
        identity: A name that the server knows; at most 256 bytes of UTF-8, without NUL.
        key: 1 to 512 bytes; TLS 1.3 uses it with SHA-256.

    Raises:
        OptionError: One of them has a wrong type or length.

    Example::

        aiotls.connect(host, port, psk_callback=lambda hint: aiotls.PSK("sensor-7", key), ciphers="PSK")

    Source: SSL_CTX_set_psk_use_session_callback(3), SSL_CTX_set_psk_client_callback(3).
    """

    identity: str
    """The name of the key."""
    key: bytes = field(repr=False)
    """The key itself; no repr shows it."""

    def __post_init__(self) -> None:
        try:
            identity = checks.name("identity", self.identity).encode()
        except UnicodeEncodeError:
            raise OptionError("identity cannot be written in UTF-8", option="identity") from None
        if len(identity) > LONGEST_IDENTITY:
            raise OptionError(
                f"identity may have {LONGEST_IDENTITY} bytes, not {len(identity)}",
                option="identity",
                code="ERR_OUT_OF_RANGE",
            )
        object.__setattr__(self, "key", check_key("key", self.key))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PSK holds a secret key and cannot be pickled")


def check_key(option: str, value: object) -> bytes:
    """A pre-shared key of a length that OpenSSL takes."""
    key = checks.octets(option, value)
    if not 1 <= len(key) <= LONGEST_KEY:
        raise OptionError(
            f"{option} must have 1 to {LONGEST_KEY} bytes, not {len(key)}", option=option, code="ERR_OUT_OF_RANGE"
        )
    return key
