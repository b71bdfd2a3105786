"""The documentation: its examples run, and what it lists is what there is.

A page is one session, as `python -m asyncio` would run it: its examples share their names and run one after the other,
in a folder that holds ``key.pem`` and ``cert.pem``.  An example that calls ``asyncio.run`` is a program of its own.  A
block marked ``text`` right behind an example is what it prints.
"""

import ast
import contextlib
import inspect
import io
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import aiotls
from aiotls import errors, keywords, phases
from tests.conftest import Run
from tests.support.pki import self_signed

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A block of Python in a page."""

    page: Path
    line: int
    code: str
    output: str | None
    """What it prints, where the page says so."""

    @property
    def is_program(self) -> bool:
        return "asyncio.run(" in self.code

    def check(self, printed: io.StringIO) -> None:
        """Compares what it has printed with what the page says."""
        if self.output is not None:
            assert printed.getvalue().strip() == self.output.strip(), str(self)

    def compiled(self) -> Any:
        # The empty lines give a traceback the line numbers of the page.
        source = "\n" * self.line + self.code
        return compile(source, str(self.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def examples(page: Path) -> list[Example]:
    text = page.read_text()
    return [
        Example(page, text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in EXAMPLE.finditer(text)
    ]


PROGRAMS = [example for page in PAGES for example in examples(page) if example.is_program]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory of the examples."""
    identity = self_signed(["localhost"], ip_addresses=["127.0.0.1"], key="ec")
    (tmp_path / "cert.pem").write_bytes(identity.cert_pem)
    (tmp_path / "key.pem").write_bytes(identity.key_pem)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path, run: Run) -> None:
    assert examples(page)
    run(_session, page)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_program_runs(program: Example) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program.compiled(), {"__name__": "__main__"})
    program.check(printed)


async def _session(page: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        for example in examples(page):
            if not example.is_program:
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    result = eval(example.compiled(), names)
                    if inspect.isawaitable(result):
                        await result
                example.check(printed)
    finally:
        for value in names.values():
            await _close(value)


async def _close(value: object) -> None:
    if isinstance(value, aiotls.TLSSocket):
        value.destroy()
        await value.wait_closed()
    elif isinstance(value, aiotls.Server):
        value.close()
        value.close_all_connections()
        await value.wait_closed()


def test_every_public_name_is_described() -> None:
    described = _words("docs")
    assert {name for name in aiotls.__all__ if name not in described} == set()


def test_every_option_is_described() -> None:
    known = keywords.ConnectKeywords.__optional_keys__ | keywords.ServerKeywords.__optional_keys__
    known |= keywords.WrapKeywords.__optional_keys__
    described = "".join(page.read_text() for page in PAGES)
    assert {name for name in known if f"`{name}`" not in described} == set()


def test_every_event_is_described() -> None:
    described = (ROOT / "docs" / "events.md").read_text()
    for name in aiotls.TLSSocket.EVENTS | aiotls.Server.EVENTS:
        assert f'`"{name}"' in described


def test_every_method_of_sockets_and_servers_is_described() -> None:
    described = _words("docs")
    public = {name for kind in (aiotls.TLSSocket, aiotls.Server) for name in dir(kind) if not name.startswith("_")}
    assert public - described == set()


def test_the_tree_of_errors_is_that_of_the_module() -> None:
    assert errors.__doc__ is not None
    tree = textwrap.dedent(errors.__doc__.split("::\n", 1)[1].split("\nAn exception", 1)[0]).strip()
    assert tree in (ROOT / "docs" / "errors.md").read_text()


def test_the_diagram_of_phases_is_that_of_the_table() -> None:
    assert phases.diagram() in (ROOT / "ARCHITECTURE.md").read_text()


@pytest.mark.parametrize("folder", ["src/aiotls", "native/src"])
def test_every_source_file_stands_in_the_architecture(folder: str) -> None:
    described = (ROOT / "ARCHITECTURE.md").read_text()
    assert {name for name in _sources(ROOT / folder) if f"`{name}`" not in described} == set()


def _sources(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.suffix in (".py", ".rs", ".pyi"):
            yield path.relative_to(folder).as_posix()


def _words(folder: str) -> set[str]:
    """The words of the pages; that which has every name of the reference would prove nothing."""
    pages = [page for page in (ROOT / folder).glob("*.md") if page.name != "coming-from-node.md"]
    return {word for page in pages for word in re.findall(r"\w+", page.read_text())}
