"""What callgrind has written: instructions by file and function."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_COST = re.compile(r"[-+*\d]\S* (\d+)")
_NAMED = re.compile(r"\((\d+)\)(?: (.*))?")


@dataclass
class CallgrindProfile:
    """One dump."""

    name: str
    """What the program has called it."""
    functions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Instructions of each function, under the path of its file and its name."""
    callers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Instructions of each function with what it called, under its name and that of its caller."""

    @property
    def total(self) -> int:
        """All instructions."""
        return self.functions.total()

    @classmethod
    def read(cls, path: Path) -> "CallgrindProfile":
        """Reads a dump, whose format is that of the Callgrind Format Specification, version 1."""
        profile = cls("")
        files: dict[str, str] = {}
        names: dict[str, str] = {}
        file = function = callee = ""
        called = False
        for line in path.read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and key == "ob":
                file = _name(files, value)
            elif equals and key == "fn":
                function = _name(names, value)
            elif equals and key == "cob":
                _name(files, value)
            elif equals and key == "cfn":
                callee = _name(names, value)
            elif equals and key == "calls":
                # The next line has what the call has cost.
                called = True
            elif (cost := _COST.match(line)) is not None:
                if called:
                    profile.callers[callee, function] += int(cost[1])
                else:
                    profile.functions[file, function] += int(cost[1])
                called = False
            elif line.startswith("desc: Trigger: Client Request: "):
                profile.name = line.rpartition(": ")[2]
        return profile


def _name(names: dict[str, str], value: str) -> str:
    """A name, which is written out only where it stands first."""
    found = _NAMED.fullmatch(value)
    if found is None:
        return value
    number, text = found.groups()
    if text is not None:
        names[number] = text
    return names[number]
