"""What is public: the names of aiotls, the options of its functions, its events, switches and variables."""

import ast
import inspect
import ssl
import typing
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import aiotls
from aiotls import switches

SOURCES = Path(aiotls.__file__).parent


def find(name: str) -> Any:
    """The object behind a dotted name that begins with ``aiotls``; for an attribute of instances, a stand-in.

    Raises:
        AttributeError: There is none.
    """
    found: Any = aiotls
    head, *parts = name.split(".")
    if head != "aiotls":
        raise AttributeError(f"{name} does not begin with aiotls")
    for part in parts:
        found = _attribute(found, part)
    return found


def _attribute(owner: Any, name: str) -> Any:
    if isinstance(owner, type) and not hasattr(owner, name) and name in instance_attributes(owner):
        return INSTANCE_ATTRIBUTE
    return getattr(owner, name)


INSTANCE_ATTRIBUTE = object()
"""Stands for an attribute that only instances have."""


def instance_attributes(owner: type) -> set[str]:
    """The public attributes that instances have and their class only announces."""
    names = {name for base in owner.__mro__ for name in inspect.get_annotations(base)}
    if issubclass(owner, aiotls.TLSError):
        names |= vars(_sample(owner)).keys()
    return {name for name in names if not name.startswith("_")}


def _sample(kind: type[Exception]) -> Exception:
    needed = [
        parameter
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    return kind(*("" for _ in needed))


# ---- names


def names() -> Iterator[str]:
    """The dotted name of everything public."""
    for name in aiotls.__all__:
        yield f"aiotls.{name}"
        yield from (f"aiotls.{name}.{member}" for member in members(getattr(aiotls, name)))


def members(owner: Any) -> list[str]:
    """The public members of a class, of a module, or of the object of the defaults; none of anything else."""
    if isinstance(owner, type) and issubclass(owner, aiotls.TLSError):
        return sorted(_members_of_exception(owner))
    if isinstance(owner, type):
        own = {name for base in owner.__mro__ if _is_ours(base) for name in base.__dict__}
        return sorted(name for name in own | instance_attributes(owner) if not name.startswith("_"))
    if isinstance(owner, ModuleType):
        return [name for name in vars(owner) if name.isupper() or name.startswith("SSL_OP_")]
    if isinstance(owner, type(aiotls.defaults)):
        return sorted(name for name in type(owner).__slots__ if not name.startswith("_"))
    return []


def is_method(name: str, member: str) -> bool:
    """Whether a member of a class is called, not just looked at."""
    return inspect.isroutine(getattr(find(name), member, None)) and not inspect.isdatadescriptor(
        getattr(find(name), member)
    )


def _members_of_exception(owner: type[Exception]) -> set[str]:
    """What a class of errors adds to its base."""
    base = owner.__bases__[0]
    own = {name for name in owner.__dict__ if not name.startswith("_")}
    if issubclass(base, aiotls.TLSError):
        return (own | instance_attributes(owner)) - instance_attributes(base) - set(dir(base))
    return own | instance_attributes(owner)


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "aiotls"


# ---- options and arguments


def options(function: Any) -> dict[str, Any]:
    """The options of a function or class with their types; where it takes none by keyword, its arguments."""
    target = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    found: dict[str, Any] = {}
    for implementation in typing.get_overloads(target) or [target]:
        for parameter in inspect.signature(implementation).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD and (keywords := _keywords(implementation, parameter)):
                found |= keywords
            elif parameter.name not in ("self", "cls"):
                found[parameter.name] = parameter.annotation
    return found


def _keywords(function: Callable[..., Any], parameter: inspect.Parameter) -> dict[str, Any]:
    """The keys of the TypedDict behind ``**options: Unpack[...]``."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        annotation = eval(annotation, inspect.unwrap(function).__globals__)
    (kind,) = typing.get_args(annotation) or (None,)
    return dict.fromkeys(kind.__optional_keys__) if typing.is_typeddict(kind) else {}


# ---- events, switches, variables


def events(owner: type) -> frozenset[str]:
    """The events of a class."""
    found: frozenset[str] = owner.EVENTS  # type: ignore[attr-defined]
    return found


def switch_words() -> set[str]:
    """The switches of ``python -m aiotls run``."""
    return {switch.word for switch in switches.SWITCHES}


@cache
def variables() -> set[str]:
    """The environment variables that aiotls reads: the names in modules that look into the environment."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        source = path.read_text()
        if "environ" in source:
            strings = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
            found |= {name for name in strings if isinstance(name, str) and name.startswith(("AIOTLS_", "SSL"))}
            paths = ssl.get_default_verify_paths()
            found |= {getattr(paths, name) for name in ("openssl_cafile_env", "openssl_capath_env") if name in source}
    return found
