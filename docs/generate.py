"""Writes the generated parts of the documentation; with ``--check``, tells which of them are not what they should be.

Below the line ``<!-- generated ... -->`` of a page everything is generated; pages in docs/api are generated whole.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from docs.generator import api_reference, links, reference_names
from docs.generator.markdown import table

FOLDER = Path(__file__).parent
MARK = "<!-- generated from "


def main() -> int:
    """Writes or checks; answers with the exit code."""
    parser = argparse.ArgumentParser(prog="docs.generate")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something would change")
    check = parser.parse_args().check
    stale = [page for page, text in pages() if not page.exists() or page.read_text() != text]
    for page, text in pages():
        if page in stale and not check:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text)
    for page in stale:
        words = "is not what it should be: python -m docs.generate" if check else "written"
        print(f"docs/{page.relative_to(FOLDER)} {words}")
    return int(check and bool(stale))


def pages() -> Iterator[tuple[Path, str]]:
    """Every page with something generated, and what it should hold."""
    yield FOLDER / "coming-from-node.md", with_tail(FOLDER / "coming-from-node.md", map_of_names())
    yield FOLDER / "api" / "index.md", api_reference.contents()
    for page in links.pages():
        yield page.path, api_reference.page(page)


def with_tail(page: Path, lines: Iterator[str]) -> str:
    """A page with other lines behind its mark."""
    head, mark, tail = page.read_text().partition(MARK)
    return "\n".join([f"{head}{mark}{tail.splitlines()[0]}", *lines, ""])


# ---- the map of names


def map_of_names() -> Iterator[str]:
    for section in reference_names.sections():
        yield f"\n## {section.title}\n"
        yield from table(("Node.js", "aiotls", ""), (_row(row) for row in section.rows))
    yield "\n## Only here\n"
    yield from table(("aiotls", ""), ((_code(name), reason) for name, reason in reference_names.own().items()))


def _row(row: reference_names.Row) -> tuple[str, str, str]:
    if not row.here:
        return _code(row.there), "", row.note
    if row.kind == "page":
        return row.there, f"[{row.here.partition('#')[0].removesuffix('.md')}]({row.here})", row.note
    place = links.place(row.full_name, row.here)
    return _code(row.there), f"[{_code(row.here)}](api/{place})" if place else _code(row.here), row.note


def _code(text: str) -> str:
    return f"`{text}`"


if __name__ == "__main__":
    sys.exit(main())
