"""The pages of docs/api, from signatures, docstrings, the tables of the guide, api.toml and options.toml."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from docs.generator import docstrings, guide, option_reference, public
from docs.generator.docstrings import Docstring
from docs.generator.links import API, Page, error_names, linked, pages
from docs.generator.markdown import fenced, table
from docs.generator.signatures import readable, signatures

import aiotls
from aiotls import errors, switches


def page(described: Page) -> str:
    """A page, whole."""
    lines = [f"# {described.title}"]
    for part in described.parts:
        lines += ["", *_part(part, titled=described.title == part.removeprefix("aiotls."))]
    return _tidy(lines)


def contents() -> str:
    """The page that lists the others."""
    rows = ((f"[{each.title}]({each.name}.md)", ", ".join(map(_summary, each.parts))) for each in pages())
    return _tidy(["# Reference", "", CONTENTS, *table(("page", ""), rows), "", CONVENTIONS])


CONTENTS = """\
Every public name: how it is called, what it returns and raises, and where what it does is defined. The
[guide](../index.md) shows how it is used, and [Coming from Node.js](../coming-from-node.md) has the names of that
runtime.
"""

CONVENTIONS = """\
Durations are seconds, sizes bytes. What takes bytes takes anything with the buffer protocol. Methods marked `await` are
coroutines. Methods and properties that tell about a connection answer `None` before it is known and after the socket is
closed. Every exception of aiotls is a [`TLSError`](errors.md#tlserror)."""


def _summary(part: str) -> str:
    return f"`{part.removeprefix('aiotls.')}`" if part.startswith("aiotls.") else _PARTS[part][0]


def _tidy(lines: Iterable[str]) -> str:
    """A text without superfluous empty lines; code keeps its own."""
    parts = re.split(r"(^```.*?^```$)", "\n".join(lines), flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [re.sub(r"\n{3,}", "\n\n", part) for part in parts[::2]]
    return "".join(parts).strip() + "\n"


def _part(part: str, *, titled: bool) -> Iterator[str]:
    if not part.startswith("aiotls."):
        yield from _PARTS[part][1]()
        return
    found = public.find(part)
    if not titled:
        yield f"## {part.removeprefix('aiotls.')}\n"
    if isinstance(found, type):
        yield from _class(part, found)
    elif part == "aiotls.defaults":
        yield from _class(part, type(found))
    elif callable(found):
        yield from _function(part, found)
    else:
        yield f"{said_of(part)}\n"
        yield f"Source: {source(part)}."


# ---- functions


def _function(name: str, function: Callable[..., Any], owner: str = "") -> Iterator[str]:
    docstring = Docstring.of(function)
    yield from fenced("text", *signatures(name.rpartition(".")[2], function, owner.rpartition(".")[2]))
    yield from _words(docstring, owner)
    yield from _details(name, docstring, owner)


def _words(docstring: Docstring, owner: str) -> Iterator[str]:
    yield f"\n{linked(docstring.sentence, owner)}\n"
    if docstring.body:
        yield f"{linked(docstring.body, owner)}\n"


def _details(name: str, docstring: Docstring, owner: str) -> Iterator[str]:
    if docstring.args:
        yield "Arguments:\n"
        yield from (f"- `{argument}`: {linked(text, owner)}" for argument, text in docstring.args.items())
        yield ""
    if "options" in docstring.args:
        others = "" if name in _CONTEXT_ONLY else ", [all others](options-of-connections.md)"
        yield f"All options: [of contexts](options-of-contexts.md){others}.\n"
    if docstring.returns:
        yield f"Returns: {linked(docstring.returns, owner)}\n"
    if docstring.raises:
        yield "Raises:\n"
        yield from (f"- {linked(f'`{kind}`')}: {linked(text, owner)}" for kind, text in docstring.raises)
        yield ""
    if docstring.example:
        yield from fenced("python", docstring.example)
        yield ""
    if said := source(name, docstring):
        yield f"Source: {said}.\n"


_CONTEXT_ONLY = {
    "aiotls.create_secure_context",
    "aiotls.Server.add_context",
    "aiotls.Server.set_secure_context",
    "aiotls.TLSSocket.set_key_cert",
}


def said_of(name: str) -> str:
    """What api.toml says of a name that no docstring describes."""
    text: str = API["text"].get(name, "")
    return text


def source(name: str, docstring: Docstring | None = None) -> str:
    """Where what a name does is defined; empty where nothing says it."""
    said: str = (docstring.source if docstring else "") or API["source"].get(name, "")
    return said


# ---- classes


def _class(name: str, owner: type) -> Iterator[str]:
    docstring = Docstring.of(owner)
    if docstring.args and "__init__" in owner.__dict__:
        yield from fenced("text", *_constructor(owner))
    yield from _words(docstring, name)
    yield from _details(name, docstring, name)
    if headings := API["events"].get(name):
        yield from _events(headings)
    for title, members in groups(name).items():
        if title:
            yield f"### {title}\n"
        yield from _members(name, owner, members)


def _constructor(owner: type) -> Iterator[str]:
    initialise: Any = inspect.getattr_static(owner, "__init__")
    if hasattr(owner, "__dataclass_fields__"):
        yield f"{owner.__name__}{inspect.signature(owner)}".removesuffix(" -> None")
    else:
        yield from signatures(owner.__name__, initialise)


def groups(name: str) -> dict[str, list[str]]:
    """The members of a class under their titles; what no group of api.toml names has none."""
    there = public.members(public.find(name))
    grouped = {title: [each for each in names if each in there] for title, names in API["groups"].get(name, {}).items()}
    rest = [each for each in there if not any(each in names for names in grouped.values())]
    return {"": rest, **grouped} if rest else grouped


def _members(name: str, owner: type, members: Iterable[str]) -> Iterator[str]:
    methods = [member for member in members if public.is_method(name, member)]
    if attributes := [member for member in members if member not in methods]:
        rows = ((f"`{each}`", _attribute_type(owner, each), _attribute(name, owner, each)) for each in attributes)
        yield from table(("attribute", "type", ""), rows)
        yield ""
    for member in methods:
        yield f"#### {member}\n"
        yield from _function(f"{name}.{member}", getattr(owner, member), name)


def _attribute(name: str, owner: type, member: str) -> str:
    said = source(f"{name}.{member}")
    return f"{linked(attribute_text(name, owner, member), name)}{f' Source: {said}.' if said else ''}"


def attribute_text(name: str, owner: type, member: str) -> str:
    """What an attribute is: its property's docstring, the string behind it in the source, or that of api.toml."""
    found = inspect.getattr_static(owner, member, None)
    if isinstance(found, property):
        docstring = Docstring.of(found)
        return " ".join(f"{docstring.sentence} {docstring.body}".split())
    attribute = docstrings.attributes(owner).get(member)
    return (attribute.text if attribute else "") or said_of(f"{name}.{member}")


def _attribute_type(owner: type, member: str) -> str:
    found = inspect.getattr_static(owner, member, None)
    attribute = docstrings.attributes(owner).get(member)
    annotation = attribute.annotation if attribute else ""
    if isinstance(found, property) and found.fget is not None:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(found.fget))).body
        assert isinstance(tree, ast.FunctionDef)
        annotation = docstrings.unquoted(tree.returns) if tree.returns is not None else ""
    annotation = re.sub(r"^(?:ClassVar|Final)\[(.*)\]$", r"\1", annotation)
    return f"`{readable(annotation, owner.__name__)}`" if annotation else ""


def _events(headings: Iterable[str]) -> Iterator[str]:
    yield "### Events\n"
    rows = ((f'`"{event}"`', *words) for heading in headings for event, words in guide.events(heading).items())
    yield from table(("event", "arguments", ""), rows)
    yield "\n[Events](../events.md) says more.\n"


# ---- parts that are no objects


def _switches() -> Iterator[str]:
    yield "## Switches\n"
    yield "Of `python -m aiotls run [switches] program.py`, and of `AIOTLS_OPTIONS`.\n"
    rows = ((f"`{each.word}{f'={each.takes}' if each.takes else ''}`", each.help) for each in switches.SWITCHES)
    yield from table(("switch", ""), rows)


def _variables() -> Iterator[str]:
    yield "## Environment variables\n"
    yield from table(("variable", ""), ((f"`{name}`", text) for name, text in API["variables"].items()))


def _constants() -> Iterator[str]:
    yield "The members of `aiotls.constants`: the bits of [`secure_options`](options-of-contexts.md#secure_options),"
    yield "and the default cipher list as built. A 0 is a bit that OpenSSL keeps for old programs; it does nothing.\n"
    values = ((name, getattr(aiotls.constants, name)) for name in public.members(aiotls.constants))
    yield from table(("constant", "value"), ((f"`{name}`", f"`{_value(value)}`") for name, value in values))
    yield "\nSource: SSL_CTX_set_options(3); ciphers(1)."


def _value(value: object) -> str:
    return f"{value:#x}" if isinstance(value, int) else str(value)


def _errors() -> Iterator[str]:
    assert errors.__doc__ is not None
    tree = textwrap.dedent(errors.__doc__.split("::\n", 1)[1].split("\nAn exception", 1)[0]).strip()
    yield from fenced("text", tree)
    yield "\nAn exception that a function of the program raises passes through unchanged."
    yield "[Errors](../errors.md) says more.\n"
    for name in error_names():
        owner = public.find(name)
        docstring = Docstring.of(owner)
        yield f"## {owner.__name__}"
        yield from _words(docstring, name)
        yield f"Usual code: `{owner.default_code}`.\n"
        yield from _members(name, owner, [each for each in public.members(owner) if each != "default_code"])
        if said := source(name, docstring):
            yield f"Source: {said}.\n"


_PARTS: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "options context": (
        "keys, certificates, trust, versions, ciphers, sessions",
        lambda: option_reference.option_list("options context"),
    ),
    "options connection": (
        "where to, whom to trust, limits, callbacks",
        lambda: option_reference.option_list("options connection"),
    ),
    "switches": ("switches of the command line", _switches),
    "variables": ("environment variables", _variables),
    "constants": ("`SSL_OP_*`, `DEFAULT_CORE_CIPHER_LIST`", _constants),
    "errors": ("every exception", _errors),
}
