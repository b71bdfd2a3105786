"""Docstrings taken apart: a sentence, more words, Args, Returns, Raises, Example, Source."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

SECTION = re.compile(r"^(Args|Returns|Raises|Example|Source)(::?)[ ]*(.*)$")
ENTRY = re.compile(r"^ {4}(\w[\w., ]*): ?(.*)$")


@dataclass(frozen=True)
class Docstring:
    """What a docstring says."""

    sentence: str
    body: str
    args: dict[str, str]
    returns: str
    raises: tuple[tuple[str, str], ...]
    example: str
    source: str

    @classmethod
    def of(cls, target: object) -> "Docstring":
        """That of an object; an empty one where there is none."""
        return cls.parse(inspect.getdoc(target) or "")

    @classmethod
    def parse(cls, text: str) -> "Docstring":
        parts = _parts(inspect.cleandoc(text))
        sentence, _, body = parts[""].partition("\n\n")
        return cls(
            sentence=" ".join(sentence.split()),
            body=body.strip(),
            args=dict(_entries(parts.get("Args", ""))),
            returns=_joined(parts.get("Returns", "").splitlines()),
            raises=tuple(_entries(parts.get("Raises", ""))),
            example=textwrap.dedent(parts.get("Example", "")).strip("\n"),
            source=_joined(parts.get("Source", "").splitlines()).removesuffix("."),
        )


def _parts(text: str) -> dict[str, str]:
    """From the name of a section to its lines; what stands before the first one has no name."""
    name = ""
    lines: dict[str, list[str]] = {name: []}
    for line in text.splitlines():
        if found := SECTION.match(line):
            name = found[1]
            lines[name] = [f"    {found[3]}"] if found[3] else []
        else:
            lines[name].append(line)
    return {name: "\n".join(part) for name, part in lines.items()}


def _entries(text: str) -> Iterator[tuple[str, str]]:
    name, lines = "", list[str]()
    for line in text.splitlines():
        if found := ENTRY.match(line):
            if name:
                yield name, _joined(lines)
            name, lines = found[1], [found[2]]
        else:
            lines.append(line)
    if name:
        yield name, _joined(lines)


def _joined(lines: list[str]) -> str:
    """Lines as one text; the items of a list stay apart."""
    text = ""
    for line in (line.strip() for line in lines):
        if line.startswith("- "):
            text += f"\n    {line}"
        elif line:
            text += f" {line}"
    return text.strip()


# ---- attributes


@dataclass(frozen=True)
class Attribute:
    """An attribute of a class, as its source has it."""

    text: str
    annotation: str
    """Empty where there is none."""


@cache
def attributes(owner: type) -> dict[str, Attribute]:
    """The attributes that a class and its bases annotate, or describe by a string behind an assignment."""
    found: dict[str, Attribute] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.split(".")[0] == "aiotls":
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(tree, ast.ClassDef)
            for name, attribute in _attributes(tree):
                if attribute.text or name not in found:
                    found[name] = attribute
    return found


def _attributes(tree: ast.ClassDef) -> Iterator[tuple[str, Attribute]]:
    bodies = [tree.body, *(inner.body for inner in tree.body if isinstance(inner, ast.FunctionDef))]
    for body in bodies:
        for statement, behind in zip(body, [*body[1:], None], strict=True):
            match statement:
                case ast.AnnAssign(target=target, annotation=annotation):
                    type_ = unquoted(annotation)
                case ast.Assign(targets=[target]):
                    type_ = ""
                case _:
                    continue
            name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            match behind:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield name, Attribute(" ".join(text.split()), type_)
                case _ if type_:
                    yield name, Attribute("", type_)


def unquoted(annotation: ast.expr) -> str:
    """An annotation as text; one that is a string already as it is."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation)
