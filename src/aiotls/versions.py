"""Names and numbers of the protocol versions, and the legacy method names that stand for ranges of them."""

import ssl

from .checks import wrong_type
from .errors import OptionError

VERSION_NUMBERS: dict[str, int] = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def parse_version(value: object, option: str) -> str:
    """The name of a protocol version, such as ``"TLSv1.2"``.

    Args:
        value: Such a name, or a member of `ssl.TLSVersion`.
        option: The option to name when it is wrong.

    Raises:
        OptionError: No such version (code ``ERR_TLS_INVALID_PROTOCOL_VERSION``).
    """
    if isinstance(value, ssl.TLSVersion):
        known = _TLS_VERSIONS.get(value)
    else:
        known = value if isinstance(value, str) and value in VERSION_NUMBERS else None
    if known is None:
        names = ", ".join(VERSION_NUMBERS)
        raise OptionError(
            f"{option} must be one of {names} or a member of ssl.TLSVersion, not {value!r:.80}",
            option=option,
            code="ERR_TLS_INVALID_PROTOCOL_VERSION",
        )
    return known


def parse_method(value: object, default_minimum: str) -> tuple[str, str]:
    """The lowest and the highest version that a legacy method name allows.

    Args:
        value: A method name of OpenSSL, such as ``"TLSv1_2_method"``; ``_client`` and ``_server`` forms too.
        default_minimum: What ``SSLv23_method`` begins at.

    Raises:
        OptionError: No such method, or one of SSL 2 or 3 (code ``ERR_TLS_INVALID_PROTOCOL_METHOD``).
    """
    if not isinstance(value, str):
        raise wrong_type("secure_protocol", "a str", value)
    name = value.replace("_client_method", "_method").replace("_server_method", "_method")
    if name == "SSLv23_method":
        return default_minimum, "TLSv1.2"
    if name not in _METHODS:
        raise OptionError(
            f"secure_protocol: unknown method {value!r:.80}; min_version and max_version say the same clearly",
            option="secure_protocol",
            code="ERR_TLS_INVALID_PROTOCOL_METHOD",
        )
    return _METHODS[name]


_METHODS: dict[str, tuple[str, str]] = {
    "TLS_method": ("TLSv1", "TLSv1.3"),
    "TLSv1_method": ("TLSv1", "TLSv1"),
    "TLSv1_1_method": ("TLSv1.1", "TLSv1.1"),
    "TLSv1_2_method": ("TLSv1.2", "TLSv1.2"),
}

_TLS_VERSIONS: dict[ssl.TLSVersion, str] = {
    ssl.TLSVersion.MINIMUM_SUPPORTED: "TLSv1",
    ssl.TLSVersion.TLSv1: "TLSv1",
    ssl.TLSVersion.TLSv1_1: "TLSv1.1",
    ssl.TLSVersion.TLSv1_2: "TLSv1.2",
    ssl.TLSVersion.TLSv1_3: "TLSv1.3",
    ssl.TLSVersion.MAXIMUM_SUPPORTED: "TLSv1.3",
}
