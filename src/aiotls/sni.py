"""The table behind `add_context`: which entry belongs to a server name."""

import re
from typing import Generic, NamedTuple, TypeVar

from .errors import OptionError
from .identity import ascii_hostname

T = TypeVar("T")


class Named(NamedTuple, Generic[T]):
    """An entry of the table."""

    number: int
    """Of several entries that match a name, the one with the highest number counts."""
    pattern: str
    value: T


class SniTable(Generic[T]):
    """Entries under host names and patterns; the most recent one that matches counts.

    Names are compared in lower case and without a trailing dot.  The table is a tree of labels, from the last one on:
    finding a name takes the same time for any number of entries, unless many have labels like ``a*b*c`` that begin and
    end alike.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, hostname: object, value: T) -> None:
        """Adds an entry.

        Args:
            hostname: A DNS name, in which ``*`` stands for any characters of one label.
            value: What `find` gives for it.

        Raises:
            OptionError: It is no such name.
        """
        pattern = _pattern(hostname)
        self._count += 1
        node = self._root
        for label in reversed(pattern.split(".")):
            node = node.make(label)
        node.entry = Named(self._count, pattern, value)

    def find(self, servername: str) -> Named[T] | None:
        """The entry for a name that a client asks for; None when nothing matches."""
        nodes = [self._root]
        if servername.isascii():
            for label in reversed(servername.lower().removesuffix(".").split(".")):
                nodes = [child for node in nodes for child in node.matching(label)]
        entries = (node.entry for node in nodes if node.entry is not None)
        return max(entries, key=lambda entry: entry.number, default=None)


class _Node(Generic[T]):
    """What follows, to the left, after certain labels."""

    __slots__ = ("_exact", "_lengths", "_parts", "entry")

    def __init__(self) -> None:
        self.entry: Named[T] | None = None
        self._exact: dict[str, _Node[T]] = {}
        # Labels with a "*", by what stands before the first one and behind the last one, and the lengths of both.
        self._parts: dict[tuple[str, str], dict[re.Pattern[str], _Node[T]]] = {}
        self._lengths: set[tuple[int, int]] = set()

    def make(self, label: str) -> "_Node[T]":
        """The child for a label of a pattern."""
        before, star, rest = label.partition("*")
        if not star:
            return self._exact.setdefault(label, _Node())
        behind = rest.rpartition("*")[2]
        self._lengths.add((len(before), len(behind)))
        alike = self._parts.setdefault((before, behind), {})
        return alike.setdefault(re.compile(re.escape(label).replace(r"\*", "[^.]+")), _Node())

    def matching(self, label: str) -> "list[_Node[T]]":
        """The children that a label of a name leads to."""
        found = [self._exact[label]] if label in self._exact else []
        for before, behind in self._lengths:
            alike = self._parts.get((label[:before], label[len(label) - behind :]))
            if alike is not None and before + behind < len(label):
                found += [node for pattern, node in alike.items() if pattern.fullmatch(label)]
        return found


def _pattern(hostname: object) -> str:
    name = ascii_hostname(hostname, "hostname").lower().removesuffix(".")
    if not _LABELS.fullmatch(name):
        raise OptionError(f"hostname must be a DNS name, in which * may stand, not {hostname!r:.80}", option="hostname")
    return name


_LABELS = re.compile(r"[a-z0-9_*-]+(\.[a-z0-9_*-]+)*")
