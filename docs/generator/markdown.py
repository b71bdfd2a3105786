"""Pieces of Markdown."""

import re
from collections.abc import Iterable, Iterator


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A table, line by line."""
    yield _line(head)
    yield f"|{'---|' * len(head)}"
    yield from map(_line, rows)


def _line(cells: tuple[str, ...]) -> str:
    escaped = (re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in cells)
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in escaped)}|"


def fenced(language: str, *lines: str) -> Iterator[str]:
    """A block of code."""
    yield f"```{language}"
    yield from lines
    yield "```"


def anchor(heading: str) -> str:
    """What a heading is called in links."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
