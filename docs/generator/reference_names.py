"""The map of names, as reference_names.toml and own_names.toml have it."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from docs.generator import public
from docs.generator.markdown import anchor

FOLDER = Path(__file__).parent.parent


@dataclass(frozen=True)
class Row:
    """A name of the reference."""

    there: str
    here: str
    """Empty where there is nothing."""
    note: str
    """The reason, where there is nothing here."""
    kind: str
    of: str

    @property
    def full_name(self) -> str:
        """The name here with its owner: ``aiotls.Server.listen``, ``aiotls.connect(lookup)``, ``$SSL_CERT_DIR``."""
        match self.kind:
            case "name":
                return self.here if self.here.split(".")[0] == "aiotls" else f"{self.of}.{self.here}"
            case "option":
                return f"{self.of}({self.here})"
            case "event":
                return f'{self.of} "{self.here}"'
            case "variable":
                return f"${self.here}"
        return self.here

    def problem(self) -> str:
        """Why the name here is none; empty when it is one."""
        match self.kind:
            case "name":
                return _without(public.find, self.full_name)
            case "option":
                problem = _without(public.find, self.of)
                return problem or _missing(self.here, public.options(public.find(self.of)), self.of)
            case "event":
                problem = _without(public.find, self.of)
                return problem or _missing(self.here, public.events(public.find(self.of)), self.of)
            case "switch":
                return _missing(self.here, public.switch_words(), "the command line")
            case "variable":
                return _missing(self.here, public.variables(), "the environment")
            case "page":
                return _missing(self.here, _headings(), "docs")
        return f"there is no kind {self.kind!r}"


@dataclass(frozen=True)
class Section:
    """Rows about one thing."""

    title: str
    rows: tuple[Row, ...]


@cache
def sections() -> tuple[Section, ...]:
    """All there is in reference_names.toml."""
    tables = tomllib.loads((FOLDER / "reference_names.toml").read_text())["section"]
    return tuple(Section(table["title"], tuple(_rows(table))) for table in tables)


def _rows(table: dict[str, object]) -> Iterator[Row]:
    kind, of, rows = str(table["kind"]), str(table.get("of", "")), table["rows"]
    assert isinstance(rows, dict)
    for there, words in rows.items():
        here, _, note = (part.strip() for part in words.partition("|"))
        yield Row(there, here, note, kind, of)


@cache
def own() -> dict[str, str]:
    """From the names that have no row, or patterns of them, to the reasons."""
    reasons: dict[str, str] = tomllib.loads((FOLDER / "own_names.toml").read_text())
    return reasons


def is_own(name: str) -> bool:
    """Whether a name stands in own_names.toml."""
    return any(fnmatchcase(name, pattern) for pattern in own())


def _without(find: object, name: str) -> str:
    assert callable(find)
    try:
        find(name)
    except AttributeError:
        return f"there is no {name}"
    return ""


def _missing(name: str, known: object, where: str) -> str:
    assert hasattr(known, "__contains__")
    return "" if name in known else f"{where} has no {name}"


@cache
def _headings() -> frozenset[str]:
    """Pages, and pages with the anchors of their headings."""
    found = set()
    for page in FOLDER.glob("**/*.md"):
        name = page.relative_to(FOLDER).as_posix()
        found |= {name, *(f"{name}#{anchor(heading)}" for heading in _HEADING.findall(page.read_text()))}
    return frozenset(found)


_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
