"""A reader for DER, as far as X.509 certificates need it (X.690).

Certificates come from peers, so nothing here trusts a length or an encoding: what is broken raises `ValueError`, and
characters that cannot be decoded are replaced.
"""

import datetime
from dataclasses import dataclass

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
IA5_STRING = 0x16
UTC_TIME = 0x17
SEQUENCE = 0x30
SET = 0x31


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag, its content, and the two together as encoded."""

    tag: int
    content: bytes
    encoded: bytes

    def children(self) -> list["Element"]:
        """The elements within."""
        return read_all(self.content)

    def integer(self) -> int:
        return int.from_bytes(self.content, "big", signed=True)

    def boolean(self) -> bool:
        return self.content != b"\0"

    def bits(self) -> bytes:
        """The bytes of a BIT STRING."""
        return self.content[1:]

    def oid(self) -> str:
        """An object identifier in dotted form."""
        arcs: list[int] = []
        value = 0
        for byte in self.content:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(value)
                value = 0
        if not arcs:
            raise ValueError("empty object identifier")
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))

    def text(self) -> str:
        """A character string of any type."""
        return self.content.decode(_ENCODINGS.get(self.tag, "latin-1"), "replace")

    def time(self) -> datetime.datetime:
        """A UTCTime or GeneralizedTime (RFC 5280, section 4.1.2.5)."""
        digits = self.content.decode("ascii").removesuffix("Z")
        if self.tag == UTC_TIME:
            digits = ("19" if digits[:2] >= "50" else "20") + digits
        return datetime.datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC)


def read(data: bytes) -> Element:
    """The one element that `data` is.

    Raises:
        ValueError: It is broken, or something follows it.
    """
    elements = read_all(data)
    if len(elements) != 1:
        raise ValueError(f"one element expected, found {len(elements)}")
    return elements[0]


def read_all(data: bytes) -> list[Element]:
    """The elements that follow each other in `data`.

    Raises:
        ValueError: One is broken.
    """
    elements = []
    position = 0
    while position < len(data):
        start, position = position, _header_end(data, position)
        length, position = _length(data, position)
        if position + length > len(data):
            raise ValueError("an element reaches past the end")
        elements.append(Element(data[start], data[position : position + length], data[start : position + length]))
        position += length
    return elements


def _header_end(data: bytes, position: int) -> int:
    if data[position] & 0x1F == 0x1F:
        raise ValueError("a tag of more than one byte")
    if position + 1 >= len(data):
        raise ValueError("an element without length")
    return position + 1


def _length(data: bytes, position: int) -> tuple[int, int]:
    first = data[position]
    position += 1
    if first < 0x80:
        return first, position
    count = first & 0x7F
    if not 1 <= count <= 4 or position + count > len(data):
        raise ValueError("a length that cannot be")
    return int.from_bytes(data[position : position + count], "big"), position + count


_ENCODINGS = {UTF8_STRING: "utf-8", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
