"""Application protocols: a list of names, and the length-prefixed form of the wire (RFC 7301, section 3.1)."""

from collections.abc import Sequence

from . import checks
from .errors import OptionError

ProtocolNames = Sequence[str | bytes] | bytes | bytearray | memoryview


def to_wire(protocols: object, option: str = "alpn_protocols") -> bytes:
    """The wire form of application protocols.

    Args:
        protocols: Names as ``str`` or bytes, best first, or the wire form itself.  None and an empty list mean that
            the extension is not sent.
        option: The option to name when something is wrong.

    Returns:
        Each name with its length in one byte before it; empty for no extension.

    Raises:
        OptionError: A name is empty or longer than 255 bytes, or they are longer than 65,535 bytes together, or the
            wire form is broken.

    Example::

        >>> to_wire(["h2", "http/1.1"])
        b'\\x02h2\\x08http/1.1'
    """
    if protocols is None:
        return b""
    if isinstance(protocols, bytes | bytearray | memoryview):
        wire = bytes(protocols)
        from_wire(wire, option)
        return wire
    if not isinstance(protocols, list | tuple):
        raise checks.wrong_type(option, "a list of str or bytes, or the wire form in bytes", protocols)
    wire = b"".join(_prefixed(item, f"{option}[{index}]") for index, item in enumerate(protocols))
    return _bounded(wire, option)


def from_wire(wire: bytes, option: str = "alpn_protocols") -> tuple[bytes, ...]:
    """The names in a wire form, in order.

    Raises:
        OptionError: A length is 0 or reaches past the end.
    """
    names = []
    position = 0
    while position < len(_bounded(wire, option)):
        end = position + 1 + wire[position]
        if end == position + 1 or end > len(wire):
            raise OptionError(f"{option}: the wire form is broken at byte {position}", option=option)
        names.append(wire[position + 1 : end])
        position = end
    return tuple(names)


def _prefixed(item: object, option: str) -> bytes:
    if isinstance(item, str):
        name = item.encode()
    elif isinstance(item, bytes | bytearray | memoryview):
        name = bytes(item)
    else:
        raise checks.wrong_type(option, "a str or bytes", item)
    if not 1 <= len(name) <= 255:
        raise OptionError(f"{option} must have 1 to 255 bytes, not {len(name)}", option=option)
    return bytes((len(name),)) + name


def _bounded(wire: bytes, option: str) -> bytes:
    if len(wire) > 65535:
        raise OptionError(f"{option}: the names have {len(wire)} bytes together, 65535 are possible", option=option)
    return wire
