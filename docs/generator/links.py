"""Where names are described, and texts that lead there."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from docs.generator import public
from docs.generator.markdown import anchor

import aiotls
from aiotls import errors

FOLDER = Path(__file__).parent.parent
API: dict[str, Any] = tomllib.loads((FOLDER / "api.toml").read_text())

OPTION_PAGES = {"options context": "options-of-contexts", "options connection": "options-of-connections"}


@dataclass(frozen=True)
class Page:
    """A page of docs/api, as api.toml has it."""

    name: str
    title: str
    parts: tuple[str, ...]

    @property
    def path(self) -> Path:
        return FOLDER / "api" / f"{self.name}.md"


@cache
def pages() -> tuple[Page, ...]:
    """All pages, without the parts that are not there."""
    return tuple(Page(page["name"], page["title"], tuple(filter(_is_there, page["parts"]))) for page in API["page"])


def _is_there(part: str) -> bool:
    try:
        return not part.startswith("aiotls.") or public.find(part) is not None
    except AttributeError:
        return False


def options_of(part: str) -> list[str]:
    """The options of contexts, or all others."""
    of_contexts = public.options(aiotls.create_secure_context)
    of_all = of_contexts | public.options(aiotls.TLSSocket) | public.options(aiotls.connect)
    of_all |= public.options(aiotls.create_server)
    names = of_contexts if part == "options context" else of_all.keys() - of_contexts.keys()
    return [name for name in names if name not in ("listener", "stream")]


def error_names() -> list[str]:
    """The classes of exceptions, in the order of the tree."""
    assert errors.__doc__ is not None
    return [f"aiotls.{name}" for name in re.findall(r"(?:── |^    )(\w+)", errors.__doc__, re.MULTILINE)]


@cache
def places() -> dict[str, str]:
    """From dotted names, and options in brackets, to the pages with anchors that describe them."""
    return {name: f"{page.name}.md#{place}" for page in pages() for name, place in _places(page)}


def _places(page: Page) -> Iterator[tuple[str, str]]:
    for part in page.parts:
        if part.startswith("options"):
            yield from ((f"({option})", option) for option in options_of(part))
        for name in error_names() if part == "errors" else [part]:
            if name.startswith("aiotls."):
                short = name.removeprefix("aiotls.")
                place = anchor(short)
                yield name, place
                for member in public.members(public.find(name)):
                    yield f"{name}.{member}", member if public.is_method(name, member) else place


def place(full_name: str, option: str = "") -> str:
    """Where a full name of the map of names is described; empty where it is not."""
    known = places()
    owner, bracket, _ = full_name.partition("(")
    if bracket and f"({option})" in known and owner.count(".") == 1:
        return known[f"({option})"]
    return known.get(owner.partition(" ")[0], "")


def linked(text: str, owner: str = "") -> str:
    """A docstring's text in Markdown: a name in single quotes leads to where it is described.

    Args:
        text: As it is written in docstrings: ``code`` in double, `names` in single quotes.
        owner: The dotted name of the class whose members may be named alone.
    """

    def replace(found: re.Match[str]) -> str:
        if found[1] is not None:
            return f"`{found[1]}`"
        name = found[2].removeprefix("aiotls.")
        owners = [f"{owner}.", "aiotls.", "aiotls.TLSSocket.", "aiotls.Server."]
        place = next((places()[each + name] for each in owners if each + name in places()), places().get(f"({name})"))
        return f"[`{name}`]({place})" if place and owner != f"aiotls.{name}" else f"`{name}`"

    return re.sub(r"``(.+?)``|`([^`\n]+)`", replace, re.sub(r"(?<=\S)  (?=\S)", " ", text))
