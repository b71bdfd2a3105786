"""The behaviours that the library must show, and the tests that show them: `make behaviours`.

behaviours.toml lists the behaviours.  A test shows one by naming its id in its docstring, or in that of its class:
``SES-05``, ``SES-05, SES-06``, ``VER-05..08``, ``VER-05 to VER-08``.
"""

import argparse
import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PASSED, FAILED, SKIPPED, NOT_RUN = "passed", "failed", "skipped", "not run"
NO_TEST, DOES_NOT_APPLY = "NO TEST", "does not apply"

Definition = ast.FunctionDef | ast.AsyncFunctionDef


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Prints the table; answers with the exit code."""
    parser = argparse.ArgumentParser(
        prog="behaviours", allow_abbrev=False, description="Ids, their tests, and results. More words go to pytest."
    )
    parser.add_argument("--list", action="store_true", help="run nothing")
    parser.add_argument("--tests", action="store_true", help="print the tests of each id, too")
    parser.add_argument("--only", metavar="IDS", default="", help="ids or areas: CERT,SES-05,VER-05..08")
    options, for_pytest = parser.parse_known_args(arguments)
    catalogue = Catalogue.read(root)
    chosen = catalogue.choose(options.only)
    shown_by = tests_by_id(find_tests(root / "tests"), catalogue.areas)
    results = Results()
    code = 0
    if not options.list:
        names = sorted({name for id in chosen for name in shown_by.get(id, ())})
        code = int(pytest.main([*names, *for_pytest], plugins=[results])) if names else 0
    verdicts = {id: catalogue.verdict(id, shown_by.get(id, ()), results, ran=not options.list) for id in chosen}
    for line in table(catalogue, verdicts, shown_by, results, with_tests=options.tests):
        print(line)
    if any(verdict in (FAILED, NO_TEST) for verdict in verdicts.values()):
        return 1
    return 0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else code


# ---- what there is to show


@dataclass(frozen=True)
class Catalogue:
    """What behaviours.toml says."""

    areas: Mapping[str, str]
    """From the letters of an area to what it is about."""
    titles: Mapping[str, str]
    """From an id to a few words."""
    apart: Mapping[str, str]
    """From an id to what of it cannot be shown, and why."""
    reasons: Mapping[str, str]
    """From an id that cannot be shown at all to the reason."""

    @classmethod
    def read(cls, root: Path = ROOT) -> "Catalogue":
        tables = tomllib.loads((root / "tests" / "behaviours.toml").read_text())
        apart, reasons = tables.pop("apart"), tables.pop("reasons")
        areas = {letters: table.pop("area") for letters, table in tables.items()}
        titles = {f"{area}-{number}": title for area, table in tables.items() for number, title in table.items()}
        return cls(areas, titles, apart, reasons)

    def choose(self, words: str) -> list[str]:
        """The ids behind the words of ``--only``: all when there are none."""
        chosen = {word for word in words.split(",") if word in self.areas}
        ids = {*ids_in(words, self.areas), *(id for id in self.titles if id.partition("-")[0] in chosen)}
        if unknown := [
            word for word in words.split(",") if word and word not in chosen and not ids_in(word, self.areas)
        ]:
            raise SystemExit(f"behaviours: there is no {', '.join(unknown)}")
        return [id for id in self.titles if not words or id in ids]

    def verdict(self, id: str, names: Iterable[str], results: "Results", *, ran: bool) -> str:
        """What has become of an id, by the tests that name it."""
        names = list(names)
        if not names:
            return DOES_NOT_APPLY if id in self.reasons else NO_TEST
        if not ran:
            return ""
        outcomes = sum((results.outcomes[name] for name in names if name in results.outcomes), Counter[str]())
        return next((outcome for outcome in (FAILED, PASSED, SKIPPED) if outcomes[outcome]), NOT_RUN)


def ids_in(text: str, areas: Iterable[str]) -> list[str]:
    """The ids that a text names, those within ranges included."""
    area = rf"(?:{'|'.join(areas)})"
    found: list[str] = []
    for match in re.finditer(rf"\b({area})-(\d\d)\b(?:(?:\.\.|–)(?:\1-)?(\d\d)\b| to \1-(\d\d)\b)?", text):
        first = int(match[2])
        last = int(match[3] or match[4] or first)
        found += [f"{match[1]}-{number:02}" for number in range(first, last + 1)]
    return found


# ---- the tests


@dataclass(frozen=True)
class FoundTest:
    """A test function, or a method of a test class."""

    name: str
    """As pytest calls it, without parameters: ``tests/test_a.py::TestB::test_c``."""
    words: str
    """Its docstring, and those of the classes around it."""


def tests_by_id(tests: Iterable[FoundTest], areas: Iterable[str]) -> dict[str, list[str]]:
    """From each id that is named to the names of the tests that name it."""
    shown_by: dict[str, list[str]] = {}
    for test in tests:
        for id in dict.fromkeys(ids_in(test.words, areas)):
            shown_by.setdefault(id, []).append(test.name)
    return shown_by


def find_tests(folder: Path) -> Iterator[FoundTest]:
    """The tests below a folder.  Nothing is imported; classes may come from other files by their plain names."""
    trees = {path: ast.parse(path.read_text(), path) for path in sorted(folder.rglob("*.py"))}
    classes = {node.name: node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for path, tree in trees.items():
        if path.name.startswith("test_"):
            yield from _Finder(classes).find(tree, path.relative_to(folder.parent).as_posix(), "")


@dataclass(frozen=True)
class _Finder:
    classes: Mapping[str, ast.ClassDef]

    def find(self, node: ast.Module | ast.ClassDef, name: str, words: str) -> Iterator[FoundTest]:
        for inner in self._members(node).values():
            inner_name = f"{name}::{inner.name}"
            inner_words = f"{words}\n{ast.get_docstring(inner) or ''}"
            if isinstance(inner, ast.ClassDef):
                yield from self.find(inner, inner_name, inner_words)
            else:
                yield FoundTest(inner_name, inner_words)

    def _members(self, node: ast.Module | ast.ClassDef) -> dict[str, Definition | ast.ClassDef]:
        """The tests and test classes in a module or a class, inherited ones included."""
        members: dict[str, Definition | ast.ClassDef] = {}
        for base in reversed(node.bases) if isinstance(node, ast.ClassDef) else ():
            above = self.classes.get(base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", ""))
            members |= self._members(above) if above is not None else {}
        for inner in _statements(node.body):
            if isinstance(inner, Definition | ast.ClassDef) and inner.name.startswith(_prefix(inner)):
                members[inner.name] = inner
        return members


def _prefix(node: Definition | ast.ClassDef) -> str:
    return "Test" if isinstance(node, ast.ClassDef) else "test"


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, those under ``if`` and ``try`` included."""
    for statement in body:
        yield statement
        for inner in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.Try):
                yield from _statements(getattr(statement, inner, ()))


# ---- their results


@dataclass(eq=False)
class Results:
    """A plugin of pytest that counts the outcomes of each test, whatever its parameters."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        name = report.nodeid.partition("[")[0]
        self.outcomes.setdefault(name, Counter())[report.outcome] += 1
        if report.failed:
            self.failures.append(report.nodeid)

    @property
    def cases(self) -> int:
        return sum(outcomes.total() for outcomes in self.outcomes.values())


def table(
    catalogue: Catalogue,
    verdicts: Mapping[str, str],
    shown_by: Mapping[str, Sequence[str]],
    results: Results,
    *,
    with_tests: bool,
) -> Iterator[str]:
    """The lines to print."""
    widest = max((len(catalogue.titles[id]) for id in verdicts), default=0)
    area = ""
    for id, verdict in verdicts.items():
        if (letters := id.partition("-")[0]) != area:
            area = letters
            yield f"\n{area}: {catalogue.areas[area]}"
        names = shown_by.get(id, ())
        yield f"  {id:8}  {catalogue.titles[id]:{widest}}  {len(names):4}  {verdict}".rstrip()
        if verdict == DOES_NOT_APPLY:
            yield f"            {catalogue.reasons[id]}"
        if id in catalogue.apart:
            yield f"            apart: {catalogue.apart[id]}"
        for name in names if with_tests else ():
            outcomes = ", ".join(f"{count} {outcome}" for outcome, count in results.outcomes.get(name, {}).items())
            yield f"            {name}  {outcomes}".rstrip()
    if results.failures:
        yield "\nfailed:"
        yield from (f"  {name}" for name in results.failures)
    counts = Counter(verdict or "shown" for verdict in verdicts.values())
    tests = {name for id in verdicts for name in shown_by.get(id, ())}
    yield ""
    yield f"{len(verdicts)} behaviours: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    yield f"{len(tests)} tests" + (f", run {results.cases} times" if results.cases else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
