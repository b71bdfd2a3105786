"""Application protocols: list and wire form."""

import pytest

from aiotls.alpn import from_wire, to_wire
from aiotls.errors import OptionError, OptionTypeError


@pytest.mark.parametrize(
    ("protocols", "wire"),
    [
        (None, b""),
        ([], b""),
        (["h2", "http/1.1"], b"\x02h2\x08http/1.1"),
        ((b"h2", bytearray(b"x")), b"\x02h2\x01x"),
        (["é"], b"\x02\xc3\xa9"),
        (b"\x08http/1.1", b"\x08http/1.1"),
        (bytearray(b"\x01a\x01b"), b"\x01a\x01b"),
        ([b"x" * 255], b"\xff" + b"x" * 255),
    ],
)
def test_to_wire(protocols: object, wire: bytes) -> None:
    assert to_wire(protocols) == wire


def test_there_and_back() -> None:
    names = (b"h2", b"http/1.1", b"x" * 255)
    assert from_wire(to_wire(names)) == names


@pytest.mark.parametrize("protocols", ["h2", 1, True, {"h2"}, ["h2", 1], ["h2", None]])
def test_wrong_types(protocols: object) -> None:
    with pytest.raises(OptionTypeError, match="alpn_protocols") as caught:
        to_wire(protocols)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.parametrize(
    "protocols",
    [[""], ["h2", b""], ["x" * 256], ["x" * 255] * 257, b"\x00", b"\x03h2", b"\x02h2\x00", b"\x02h2\x09http/1.1"],
)
def test_wrong_values(protocols: object) -> None:
    with pytest.raises(OptionError, match="alpn_protocols") as caught:
        to_wire(protocols)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


def test_a_list_is_not_changed() -> None:
    protocols: list[str | bytes] = ["h2", b"http/1.1"]
    to_wire(protocols)
    assert protocols == ["h2", b"http/1.1"]
