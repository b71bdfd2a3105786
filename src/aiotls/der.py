"""A reader for DER, as far as X.509 certificates need it (X.690).

Certificates come from peers, so nothing here trusts a tag, a length or an encoding: what is broken raises `ValueError`.
"""

import datetime
import re
from dataclasses import dataclass

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
IA5_STRING = 0x16
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
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

    def sequence(self, size: int | None = None) -> list["Element"]:
        """The elements of a SEQUENCE, which must have `size` of them, if that is given."""
        elements = read_all(self._content_of(SEQUENCE))
        if size is not None and len(elements) != size:
            raise ValueError(f"a sequence of {size} elements expected, found {len(elements)}")
        return elements

    def set_of(self) -> list["Element"]:
        """The elements of a SET."""
        return read_all(self._content_of(SET))

    def integer(self) -> int:
        content = self._content_of(INTEGER)
        if not content:
            raise ValueError("an integer without content")
        return int.from_bytes(content, "big", signed=True)

    def boolean(self) -> bool:
        content = self._content_of(BOOLEAN)
        if len(content) != 1:
            raise ValueError("a boolean that is not one byte")
        return content != b"\0"

    def octets(self) -> bytes:
        """The content of an OCTET STRING."""
        return self._content_of(OCTET_STRING)

    def bits(self) -> bytes:
        """The bytes of a BIT STRING; bits that are not used are zero."""
        content = self._content_of(BIT_STRING)
        unused = content[0] if content else 8
        if unused > 7 or (unused and len(content) == 1):
            raise ValueError("a string of bits that cannot be")
        return content[1:-1] + bytes((content[-1] >> unused << unused,)) if len(content) > 1 else b""

    def oid(self) -> str:
        """An object identifier in dotted form."""
        return dotted(self._content_of(OBJECT_IDENTIFIER))

    def is_text(self) -> bool:
        """Whether it is a character string."""
        return self.tag in _ENCODINGS

    def text(self, errors: str = "strict") -> str:
        """A character string of any type.

        Args:
            errors: ``"replace"`` puts U+FFFD where a character cannot be decoded.
        """
        if not self.is_text():
            raise ValueError(f"no character string has the tag {self.tag:#x}")
        return self.content.decode(_ENCODINGS[self.tag], errors)

    def time(self) -> datetime.datetime:
        """A UTCTime or GeneralizedTime in the one form that certificates may have (RFC 5280, section 4.1.2.5)."""
        found = _TIMES[self.tag].fullmatch(self.content) if self.tag in _TIMES else None
        if found is None:
            raise ValueError("not a time")
        year, *rest = map(int, found.groups())
        if self.tag == UTC_TIME:
            year += 1900 if year >= 50 else 2000
        month, day, hour, minute, second = rest
        return datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC)

    def _content_of(self, tag: int) -> bytes:
        if self.tag != tag:
            raise ValueError(f"tag {tag:#x} expected, found {self.tag:#x}")
        return self.content


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


def dotted(content: bytes) -> str:
    """The dotted form of an object identifier.

    Raises:
        ValueError: It is none, or has an arc that nobody would register.
    """
    arcs: list[int] = []
    value = 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if value >> _LONGEST_ARC:
            raise ValueError("an object identifier with an arc that is too large")
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    if not arcs or content[-1] & 0x80:
        raise ValueError("an object identifier without an end")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


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


_LONGEST_ARC = 1024  # bits; the work would grow with the square of it

_ENCODINGS = {
    UTF8_STRING: "utf-8",
    0x12: "latin-1",  # NumericString, as OpenSSL reads it; so are the next two
    0x13: "latin-1",  # PrintableString
    0x14: "latin-1",  # T61String
    IA5_STRING: "latin-1",
    0x1A: "latin-1",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}

_TIMES = {
    UTC_TIME: re.compile(rb"([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z"),
    GENERALIZED_TIME: re.compile(rb"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z"),
}
