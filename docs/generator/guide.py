"""What the pages of the guide say about options and events, for the reference: it stands in one place only."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent.parent

OPTION_PAGES = ("contexts.md", "sockets.md", "clients.md", "servers.md")
"""The pages whose tables of options count."""


@dataclass(frozen=True)
class Described:
    """A row of a table."""

    page: str
    default: str
    text: str
    """With links as they are in docs/api."""


@cache
def options() -> dict[str, list[Described]]:
    """From the name of an option to the rows that describe it."""
    found: dict[str, list[Described]] = {}
    for page in OPTION_PAGES:
        for head, (cell, *others) in _rows(page):
            if head[0] == "option":
                names = re.findall(r"`(\w+)`", cell)
                default, text = others
                defaults = default.split(", ")
                for index, name in enumerate(names):
                    own = defaults[index] if len(defaults) == len(names) else default
                    found.setdefault(name, []).append(Described(page, own, text))
    return found


@cache
def events(heading: str) -> dict[str, tuple[str, str]]:
    """From an event to its arguments and what it means, as the tables under a heading of events.md have it."""
    return {
        name: (arguments, text)
        for head, (cell, arguments, text) in _rows("events.md", heading)
        if head[0] == "event"
        for name in re.findall(r'`"(\w+)"`', cell)
    }


def _rows(page: str, heading: str = "") -> Iterator[tuple[list[str], list[str]]]:
    """The rows of all tables of a page, or below a heading, each with the head of its table."""
    text = (FOLDER / page).read_text()
    if heading:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    head: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [_relinked(cell.strip(), page) for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
        if line.startswith("|---"):
            continue
        if not head:
            head = cells
            continue
        yield head, cells


def _relinked(cell: str, page: str) -> str:
    """Links as they must be one folder further down."""
    return re.sub(r"\]\((#)?", lambda found: f"](../{page}#" if found[1] else "](../", cell)
