"""The options of aiotls: their types, ranges, defaults, errors and sources."""

import tomllib
from collections.abc import Iterator
from typing import Any

from docs.generator import guide, public
from docs.generator.links import FOLDER, linked, options_of

import aiotls

OPTIONS: dict[str, dict[str, Any]] = tomllib.loads((FOLDER / "options.toml").read_text())

INTRODUCTION = """\
`None` is the same as leaving an option out, where nothing else is said. A wrong type is an {type_error} with the code
`ERR_INVALID_ARG_TYPE`, a wrong value an {error} with `ERR_INVALID_ARG_VALUE` or one of the codes given here; both name
the option.
"""


def option_list(part: str) -> Iterator[str]:
    """The options of contexts, or all others, one after the other."""
    yield INTRODUCTION.format(type_error=linked("`OptionTypeError`"), error=linked("`OptionError`"))
    names = [name for name in OPTIONS if name in options_of(part)]
    alike = len({tuple(taken_by(name)) for name in names}) == 1
    if alike:
        yield f"All of them are taken by {_functions(names[0])}.\n"
    for name in names:
        yield f"## {name}\n"
        yield from _option(name)
        if not alike:
            yield f"Taken by {_functions(name)}.\n"


def _option(option: str) -> Iterator[str]:
    own = OPTIONS[option]
    yield f"{_type(own)}{f' Default: {default(option)}.' if default(option) else ''}\n"
    if words := text(option):
        yield f"{_sentence(words)}\n"
    if codes := own.get("errors"):
        yield f"Errors: {', '.join(f'`{code}`' for code in codes)}.\n"
    yield f"Example: `{own['example']}`. Source: {own['source']}.\n"


def _functions(option: str) -> str:
    return _and([linked(f"`{name}`") for name in taken_by(option)])


def _type(own: dict[str, Any]) -> str:
    return _sentence(f"{own['type']}; {own['range']}" if "range" in own else own["type"])


def default(option: str) -> str:
    """What counts where an option is left out."""
    described = guide.options().get(option)
    own: str = OPTIONS[option].get("default", "")
    return own or (described[0].default if described else "")


def text(option: str) -> str:
    """What an option does, as the guide has it, or else options.toml."""
    described = guide.options().get(option, [])
    return "; ".join(row.text for row in described) or OPTIONS[option].get("text", "")


def taken_by(option: str) -> list[str]:
    """The functions and classes that take an option."""
    names = ("create_secure_context", "connect", "create_server", "TLSSocket")
    return [name for name in names if option in public.options(getattr(aiotls, name))]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:].removesuffix('.')}."


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
