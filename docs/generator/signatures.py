"""How functions are called, as their source has it."""

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from docs.generator.docstrings import unquoted

WIDTH = 120
"""A longer signature takes a line for each parameter."""


def signatures(name: str, function: Any, owner: str = "") -> Iterator[str]:
    """How a function is called: its source's signature, one for each way."""
    for implementation in typing.get_overloads(function) or [function]:
        implementation = inspect.unwrap(getattr(implementation, "__func__", implementation))
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(implementation))).body
        assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
        kind = "await " if isinstance(tree, ast.AsyncFunctionDef) else ""
        result = "" if tree.returns is None else unquoted(tree.returns)
        arrow = "" if result in ("", "None") else f" -> {readable(result, owner)}"
        parameters = [*_parameters(tree.args, owner)]
        line = f"{kind}{name}({', '.join(parameters)}){arrow}"
        if len(line) <= WIDTH:
            yield line
        else:
            yield f"{kind}{name}("
            yield from (f"    {parameter}," for parameter in parameters)
            yield f"){arrow}"


def _parameters(arguments: ast.arguments, owner: str) -> Iterator[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    for index, (argument, default) in enumerate(zip(positional, defaults, strict=True), 1):
        if argument.arg not in ("self", "cls"):
            yield _parameter(argument, default, owner)
        if index == len(arguments.posonlyargs) and argument.arg != "self":
            yield "/"
    if arguments.vararg is not None:
        yield f"*{arguments.vararg.arg}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, default, owner)
    if arguments.kwarg is not None:
        yield f"**{arguments.kwarg.arg}"


def _parameter(argument: ast.arg, default: ast.expr | None, owner: str) -> str:
    type_ = "" if argument.annotation is None else f": {readable(unquoted(argument.annotation), owner)}"
    if default is None:
        return f"{argument.arg}{type_}"
    equals = " = " if type_ else "="
    return f"{argument.arg}{type_}{equals}{_CONSTANTS.get(ast.unparse(default), ast.unparse(default))}"


def readable(annotation: str, owner: str) -> str:
    """An annotation without the names that only the source knows."""
    text = annotation.replace("'", "").replace('"', "")
    for name, meaning in {**_ALIASES, "Self": owner or "Self"}.items():
        text = re.sub(rf"\b{name}\b", meaning, text)
    return text


_ALIASES = {
    "Data": "bytes | bytearray | memoryview",
    "SecureListener": "Callable[[], Any]",
    "Listener": "Callable[..., Any]",
    "EventName": "str",
    "Kind": "str",
    "asyncio.Task": "Awaitable",
}
_CONSTANTS = {"BACKLOG": "511", "READ_LIMIT": "262144"}
