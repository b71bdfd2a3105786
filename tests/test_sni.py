"""The table behind add_context."""

import gc
import sys
import weakref
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiotls import sni
from aiotls.errors import OptionError, OptionTypeError
from aiotls.sni import SniTable


def table_of(*hostnames: str) -> SniTable[int]:
    """A table whose values tell which of these was added when."""
    table: SniTable[int] = SniTable()
    for number, hostname in enumerate(hostnames):
        table.add(hostname, number)
    return table


def value_of(table: SniTable[Any], servername: str) -> Any:
    entry = table.find(servername)
    return None if entry is None else entry.value


@pytest.mark.parametrize(
    ("hostname", "servername", "found"),
    [
        ("a.example.com", "a.example.com", True),
        ("a.example.com", "b.example.com", False),
        ("a.example.com", "x.a.example.com", False),
        ("a.example.com", "example.com", False),
        ("a.example.com", "a-example.com", False),
        ("a.example.com", "a.example.com.evil.org", False),
        ("localhost", "localhost", True),
        # SNI-03: a star stands for one label, or a part of one.
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "x.y.example.com", False),
        ("*.example.com", "*.example.com", True),
        ("*.example.com", "aexample.com", False),
        ("*.example.com", "a.example.com.org", False),
        ("*", "localhost", True),
        ("*", "a.b", False),
        ("f*.example.com", "foo.example.com", True),
        ("f*.example.com", "bar.example.com", False),
        ("f*.example.com", "f.oo.example.com", False),
        ("*oo.example.com", "foo.example.com", True),
        ("f*o.example.com", "foo.example.com", True),
        ("f*o.example.com", "fox.example.com", False),
        ("a.*.example.com", "a.b.example.com", True),
        ("a.*.example.com", "a.b.c.example.com", False),
        ("*.*.example.com", "a.b.example.com", True),
        ("*.*.example.com", "a.example.com", False),
        ("f*.example.com", "fooXexample.com", False),
        # CVE-2026-48928: in any case, with or without a trailing dot.
        ("a.example.com", "A.EXAMPLE.com", True),
        ("A.Example.COM", "a.example.com", True),
        ("a.example.com", "a.example.com.", True),
        ("a.example.com.", "a.example.com", True),
        ("a.example.com.", "A.EXAMPLE.COM.", True),
        ("*.EXAMPLE.com.", "a.example.com", True),
        ("*.example.com", "A.EXAMPLE.COM.", True),
        ("F*.example.com", "foo.EXAMPLE.com.", True),
        # In ASCII.
        ("bücher.example", "xn--bcher-kva.example", True),
        ("BÜCHER.example", "XN--BCHER-KVA.example", True),
        ("*.bücher.example", "a.xn--bcher-kva.example", True),
        ("k.example", "\u212a.example", False),  # KELVIN SIGN, whose lower case is k
        # What a peer may say.
        ("*.example.com", "", False),
        ("*.example.com", ".", False),
        ("a.example.com", "a.example.com\0.evil.org", False),
        ("a.example.com", "a.example.com\n", False),
        ("f*.example.com", "foo.example.com\n", False),
    ],
)
def test_find(hostname: str, servername: str, found: bool) -> None:
    assert value_of(table_of(hostname), servername) == (0 if found else None)


def test_nothing() -> None:
    assert value_of(table_of(), "a.example") is None


@pytest.mark.parametrize(
    "hostnames",
    [
        ["ab.example.com", "*.example.com"],
        ["*.example.com", "ab.example.com"],
        ["a*.example.com", "*.example.com"],
        ["*.example.com", "a*.example.com"],
        ["ab.example.com", "ab.*.com"],
        ["ab.*.com", "ab.example.com"],
        ["ab.example.com", "AB.EXAMPLE.COM."],
        ["*.example.com", "*.EXAMPLE.COM"],
        ["a*.example.com", "A*.example.com."],
        ["ab.example.com", "a*.example.com", "*.example.com", "ab.*.com", "ab.example.com"],
    ],
)
def test_the_most_recent_match_wins(hostnames: list[str]) -> None:
    """SNI-03: whatever kinds of name they are, and every time."""
    table = table_of(*hostnames, "b.example.com", "*.example.org", "b*.example.com")
    for _ in range(3):
        assert value_of(table, "ab.example.com") == len(hostnames) - 1


def matching(labels: list[str], pattern: list[str]) -> bool:
    """The rule, for patterns whose labels are words or a lone star."""
    return len(labels) == len(pattern) and all(
        wanted in ("*", label) for label, wanted in zip(labels, pattern, strict=True)
    )


LABELS = st.sampled_from(["a", "b"])


@given(
    st.lists(st.lists(st.one_of(LABELS, st.just("*")), min_size=1, max_size=3), max_size=12),
    st.lists(LABELS, min_size=1, max_size=3),
)
def test_the_rule(patterns: list[list[str]], labels: list[str]) -> None:
    """For any names in any order: the last one that matches."""
    expected = [number for number, pattern in enumerate(patterns) if matching(labels, pattern)]
    assert value_of(table_of(*map(".".join, patterns)), ".".join(labels)) == (expected[-1] if expected else None)


def test_values_may_be_anything() -> None:
    """Also such that are not true."""
    table: SniTable[Any] = SniTable()
    table.add("a.example", 0)
    table.add("*.example", "")
    assert value_of(table, "a.example") == ""
    table.add("a.example", [])
    assert value_of(table, "a.example") == []


@pytest.mark.parametrize("hostname", ["", ".", "a b.example", "a\0.example", "a/b", "..", "a..b", "é" * 100, "a:443"])
def test_wrong_names(hostname: str) -> None:
    table = table_of("a.example")
    with pytest.raises(OptionError, match="hostname") as failure:
        table.add(hostname, 1)
    assert failure.value.code == "ERR_INVALID_ARG_VALUE"
    assert value_of(table, "a.example") == 0


@pytest.mark.parametrize("hostname", [None, 1, b"a.example", ["a.example"]])
def test_wrong_types(hostname: Any) -> None:
    with pytest.raises(OptionTypeError, match="hostname") as failure:
        table_of().add(hostname, 1)
    assert failure.value.code == "ERR_INVALID_ARG_TYPE"


class Value:
    """Something that can be watched."""


@pytest.mark.parametrize("hostname", ["a.example", "*.example", "a*.example", "a.*.example"])
def test_what_was_replaced_is_forgotten(hostname: str) -> None:
    """A server that renews the certificates of its names for years keeps only the newest ones."""
    table: SniTable[Value] = SniTable()
    replaced = []
    for _ in range(5):
        value = Value()
        table.add(hostname, value)
        replaced.append(weakref.ref(value))
    del value
    gc.collect()
    assert [reference() is None for reference in replaced] == [True] * 4 + [False]


def steps(table: SniTable[int], servername: str) -> int:
    """How many lines of its module a look-up runs through."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace if frame.f_code.co_filename == sni.__file__ else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        table.find(servername)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("servername", ["n7.example", "a.n7.example", "nobody.example", "a.nobody.example"])
def test_the_work_does_not_grow_with_the_names(servername: str) -> None:
    """Names and ``*.`` patterns: a look-up among ten thousand is no more work than one among ten."""

    def table(size: int) -> SniTable[int]:
        names = (f"n{number}.example" for number in range(size))
        return table_of(*(hostname for name in names for hostname in (name, f"*.{name}")))

    assert steps(table(10_000), servername) == steps(table(10), servername)
