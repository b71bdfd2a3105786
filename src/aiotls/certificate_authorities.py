"""The CA certificates of a program: which there are, and which are trusted where the option `ca` is not given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from . import ca_sources, checks
from .ca_sources import Authorities
from .errors import OptionError
from .trust import default_trust, read_certificates, replace_default_trust

Kind: TypeAlias = Literal["default", "bundled", "system", "extra"]

root_certificates: tuple[str, ...]
"""The CA certificates of Mozilla, as the package certifi carries them, each a PEM text."""


def get_ca_certificates(kind: Kind = "default") -> list[str]:
    """The CA certificates of one kind, each a PEM text that ends in a newline.

    Args:
        kind: One of

            - ``"default"``: what contexts trust that are made without ``ca``,
            - ``"bundled"``: those of Mozilla, as the package certifi carries them,
            - ``"system"``: those of the machine, or of SSL_CERT_FILE and SSL_CERT_DIR,
            - ``"extra"``: those in the file that AIOTLS_EXTRA_CA_CERTS names.

    Raises:
        OptionError: There is no such kind (code ``ERR_INVALID_ARG_VALUE``, of another type ``ERR_INVALID_ARG_TYPE``).

    Example::

        context = create_secure_context(ca=[*get_ca_certificates(), Path("our-root.pem")])
    """
    source = _KINDS.get(checks.text("kind", kind))
    if source is None:
        raise OptionError(f"kind must be one of {', '.join(_KINDS)}, not {kind!r:.80}", option="kind")
    return [*source().pems]


def set_default_ca_certificates(certificates: Sequence[str | bytes | bytearray | memoryview]) -> None:
    """Replaces what contexts trust that are made from now on without ``ca``, in every thread.

    Contexts that are there, and their connections, go on as they are.  Sessions made under another default are not
    resumed.

    Args:
        certificates: A list or tuple of PEM texts, each with any number of certificates; a text without any is
            ignored, a certificate that comes twice counts once.  An empty list trusts nothing.

    Raises:
        OptionError: Of a wrong type (code ``ERR_INVALID_ARG_TYPE``); a certificate is broken
            (``ERR_OSSL_PEM_ASN1_LIB``, ``ERR_OSSL_PEM_BAD_BASE64_DECODE``); there is no certificate in any of the texts
            (``ERR_CRYPTO_OPERATION_FAILED``).  The default stays what it was.

    Example::

        set_default_ca_certificates([*root_certificates, Path("our-root.pem").read_bytes()])
    """
    if not isinstance(certificates, list | tuple):
        raise checks.wrong_type("certificates", "a list of PEM texts", certificates)
    texts = {f"certificates[{index}]": text for index, text in enumerate(certificates)}
    try:
        found = [each for option, text in texts.items() for each in read_certificates(_pem(text, option), option)]
    except OptionError as error:
        # Which of the many mistakes of an encoding it is stays in `reason`.
        if "_ASN1_" in error.code:
            error.code = "ERR_OSSL_PEM_ASN1_LIB"
        raise
    if certificates and not found:
        raise OptionError(
            "certificates: No valid certificates found in the provided array",
            option="certificates",
            code="ERR_CRYPTO_OPERATION_FAILED",
        )
    replace_default_trust(found)


def __getattr__(name: str) -> tuple[str, ...]:
    if name == "root_certificates":
        return ca_sources.bundled().pems
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _pem(text: object, option: str) -> bytes:
    if isinstance(text, str):
        return checks.encoded(option, text)
    if not isinstance(text, bytes | bytearray | memoryview):
        raise checks.wrong_type(option, "a str or a bytes-like object", text)
    return bytes(text)


_KINDS: dict[str, Callable[[], Authorities]] = {
    "default": lambda: default_trust().authorities,
    "bundled": ca_sources.bundled,
    "system": ca_sources.system,
    "extra": ca_sources.extra,
}
