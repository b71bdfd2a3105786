"""Checks the documentation: `make docs`.

Every Python example in a Markdown file must compile and import only what exists, every link to a file of this
repository must lead to one, and every program in examples/ must compile.
"""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = re.compile(r"^( *)```(?:python|py)\b[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def main() -> None:
    documents = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    programs = sorted(ROOT.glob("examples/**/*.py"))
    problems = [problem for document in documents for problem in _document_problems(document)]
    problems += [problem for program in programs for problem in _code_problems(program, 1, program.read_text())]
    for problem in problems:
        print(problem)
    print(f"{len(documents)} documents and {len(programs)} examples: {len(problems)} problems")
    sys.exit(bool(problems))


def _document_problems(document: Path) -> Iterator[str]:
    text = document.read_text()
    for example in EXAMPLE.finditer(text):
        indent, code = example.groups()
        line = text.count("\n", 0, example.start(2)) + 1
        yield from _code_problems(document, line, re.sub(f"^{indent}", "", code, flags=re.MULTILINE))
    for link in LINK.finditer(text):
        target = link[1].partition("#")[0]
        elsewhere = "://" in target or target.startswith("mailto:")
        if not elsewhere and not (document.parent / target).exists():
            line = text.count("\n", 0, link.start()) + 1
            yield f"{document.relative_to(ROOT)}:{line}: there is no {target}"


def _code_problems(file: Path, first_line: int, code: str) -> Iterator[str]:
    try:
        tree = compile(code, str(file), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        yield f"{file.relative_to(ROOT)}:{first_line - 1 + (error.lineno or 1)}: {error.msg}"
        return
    for node in ast.walk(tree):
        for name in _names_of_ours(node):
            if not _exists(name):
                yield f"{file.relative_to(ROOT)}:{first_line - 1 + node.lineno}: there is no {name}"


def _names_of_ours(node: ast.AST) -> list[str]:
    """The dotted names below `aiotls` that a node speaks of."""
    match node:
        case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "aiotls":
            return [f"{module}.{alias.name}" for alias in names]
        case ast.Import(names=names):
            return [alias.name for alias in names if alias.name.split(".")[0] == "aiotls"]
        case ast.Attribute(value=ast.Name(id="aiotls"), attr=attribute):
            return [f"aiotls.{attribute}"]
    return []


def _exists(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        return not module or hasattr(importlib.import_module(module), attribute) or bool(importlib.import_module(name))
    except ImportError:
        return False


if __name__ == "__main__":
    main()
