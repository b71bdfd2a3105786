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

    Names are compared in lower case and without a trailing dot.  Finding a name takes the same time for any number of
    names and of patterns like ``*.example.com``.
    """

    def __init__(self) -> None:
        self._exact: dict[str, Named[T]] = {}
        self._wildcards: dict[str, Named[T]] = {}
        self._patterns: dict[re.Pattern[str], Named[T]] = {}
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
        entry = Named(self._count, pattern, value)
        first, _, rest = pattern.partition(".")
        if "*" not in pattern:
            self._exact[pattern] = entry
        elif first == "*" and "*" not in rest:
            self._wildcards[rest] = entry
        else:
            self._patterns[re.compile(re.escape(pattern).replace(r"\*", "[^.]+"))] = entry

    def find(self, servername: str) -> Named[T] | None:
        """The entry for a name that a client asks for; None when nothing matches."""
        name = servername.lower().removesuffix(".") if servername.isascii() else ""
        first, _, rest = name.partition(".")
        found = [self._exact.get(name), self._wildcards.get(rest) if first else None]
        found += [entry for pattern, entry in self._patterns.items() if pattern.fullmatch(name)]
        return max((entry for entry in found if entry is not None), key=lambda entry: entry.number, default=None)


def _pattern(hostname: object) -> str:
    name = ascii_hostname(hostname, "hostname").lower().removesuffix(".")
    if not _LABELS.fullmatch(name):
        raise OptionError(f"hostname must be a DNS name, in which * may stand, not {hostname!r:.80}", option="hostname")
    return name


_LABELS = re.compile(r"[a-z0-9_*-]+(\.[a-z0-9_*-]+)*")
