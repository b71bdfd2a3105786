"""The reference: its pages are what the generator writes, and nothing public is left without its words."""

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docs import generate
from docs.generator import api_reference, docstrings, guide, links, markdown, option_reference, public
from docs.generator.docstrings import Docstring

import aiotls
from aiotls import keywords

NAMES = sorted(public.names())
OPTIONS = option_reference.OPTIONS
SENTENCE = re.compile(r"[A-Z`\"'*].*[.:]$|``.*[.:]$")
TELLS = re.compile(r"(?:The|A|An|All|Whether|How|What|Which|Why|Our|True|SHA-|OpenSSL's|None) |``")
"""How the sentence of a function begins that says what is returned."""


def functions() -> Iterator[tuple[str, Any]]:
    """Every public function and method, under the name of the class that has it first."""
    for name in NAMES:
        found = public.find(name)
        if inspect.isroutine(found) and not inspect.isbuiltin(found):
            yield name, found


def classes() -> Iterator[tuple[str, type]]:
    for name in NAMES:
        found = public.find(name)
        if isinstance(found, type):
            yield name, found


def attributes() -> Iterator[tuple[str, type, str]]:
    """Every public attribute and property: its name, its class, and what it is called in it."""
    for name, owner in [*classes(), ("aiotls.defaults", type(aiotls.defaults))]:
        for member in public.members(public.find(name)):
            if not public.is_method(name, member):
                yield f"{name}.{member}", owner, member


FUNCTIONS = list(functions())


def parameters(function: Any) -> list[inspect.Parameter]:
    return [each for each in inspect.signature(function).parameters.values() if each.name not in ("self", "cls")]


class TestPages:
    def test_they_are_what_the_generator_writes(self) -> None:
        """`python -m docs.generate` brings them up to date."""
        stale = [page for page, text in generate.pages() if not page.exists() or page.read_text() != text]
        assert [str(page.relative_to(generate.FOLDER)) for page in stale] == []

    def test_there_are_no_others(self) -> None:
        written = {page for page, _ in generate.pages()}
        assert {*(generate.FOLDER / "api").iterdir()} <= written

    def test_examples_keep_their_empty_lines(self) -> None:
        page = (generate.FOLDER / "api" / "server.md").read_text()
        assert "drain()\n\n\nserver =" in page
        assert "\n\n\n" not in re.sub(r"```.*?```", "code", page, flags=re.DOTALL)

    def test_every_public_name_is_described(self) -> None:
        known = links.places()
        assert [name for name in NAMES if name not in known and not name.startswith("aiotls.constants")] == []
        assert {f"({option})" for option in OPTIONS} <= known.keys()

    def test_links_lead_to_headings(self) -> None:
        found = 0
        for page, text in generate.pages():
            for target, anchor in re.findall(r"\]\(([\w./-]*\.md)#([\w-]+)\)", text):
                found += 1
                assert f"#{anchor}" in _anchors(page.parent / target), f"{page.name}: {target}#{anchor}"
        assert found > 100

    @pytest.mark.parametrize("name", ["aiotls.TLSSocket", "aiotls.Server"])
    def test_every_member_stands_in_a_group(self, name: str) -> None:
        assert api_reference.groups(name).get("", []) == []

    @pytest.mark.parametrize("kind", [aiotls.TLSSocket, aiotls.Server])
    def test_every_event_is_described(self, kind: type) -> None:
        headings = links.API["events"][f"aiotls.{kind.__name__}"]
        assert {event for heading in headings for event in guide.events(heading)} == public.events(kind)

    def test_every_variable_is_described(self) -> None:
        assert links.API["variables"].keys() == public.variables()

    @pytest.mark.parametrize("table", ["text", "source"])
    def test_nothing_is_said_of_what_is_not_there(self, table: str) -> None:
        assert [name for name in links.API[table] if not _is_there(name)] == []


class TestDocstrings:
    """One sentence; arguments, what is returned, what is raised; where it is defined."""

    @pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
    def test_of_a_function(self, name: str, function: Any) -> None:
        assert list(problems(name, function)) == []

    @pytest.mark.parametrize(("name", "owner"), list(classes()), ids=[name for name, _ in classes()])
    def test_of_a_class(self, name: str, owner: type) -> None:
        docstring = Docstring.parse(owner.__dict__.get("__doc__") or "")
        assert SENTENCE.match(docstring.sentence)
        assert api_reference.source(name, docstring) or _source_of_bases(owner)

    def test_of_attributes(self) -> None:
        assert [name for name, owner, member in attributes() if not _attribute_text(name, owner, member)] == []

    def test_examples_compile(self) -> None:
        for name in NAMES:
            if example := Docstring.of(public.find(name)).example:
                compile(example, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _attribute_text(name: str, owner: type, member: str) -> str:
    return api_reference.attribute_text(name.rpartition(".")[0], owner, member)


def problems(name: str, function: Any) -> Iterator[str]:
    """What the docstring of a function lacks."""
    docstring = Docstring.of(function)
    if not SENTENCE.match(docstring.sentence):
        yield f"no sentence: {docstring.sentence!r}"
    named = {*docstring.args, *re.findall(r"`(\w+)`", docstring.sentence)}
    for parameter in parameters(function):
        if parameter.name not in named:
            yield f"Args: {parameter.name}"
        if "float" in str(parameter.annotation) and "econds" not in docstring.args.get(parameter.name, ""):
            yield f"unit of {parameter.name}"
    for argument in docstring.args.keys() - {parameter.name for parameter in parameters(function)}:
        yield f"there is no argument {argument}"
    returned = str(inspect.signature(function).return_annotation)
    told = docstring.returns or TELLS.match(docstring.sentence)
    if not told and not re.search(r"^None$|Self|NoneType|_empty|NoReturn", returned):
        yield f"Returns: {returned}"
    if _raises(function) and not docstring.raises:
        yield "Raises"
    owner = name.rpartition(".")[0]
    if not api_reference.source(name, docstring) and (owner == "aiotls" or not _source_of_class(owner)):
        yield "Source"


def _raises(function: Any) -> bool:
    """Whether a function raises by itself, or checks its arguments."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body
    assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
    nodes = [*_own_nodes(tree)]
    raised = [node.exc for node in nodes if isinstance(node, ast.Raise) and node.exc is not None]
    calls = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    return any(ast.unparse(each) != "NotImplementedError" for each in raised) or any(
        call.startswith("checks.") or call.endswith(("._check_event", "Options.parse", "Session.decode"))
        for call in calls
    )


def _own_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _own_nodes(node)


def _source_of_class(name: str) -> str:
    owner = public.find(name)
    docstring = Docstring.of(owner)
    return api_reference.source(name, docstring) or _source_of_bases(owner)


def _source_of_bases(owner: type) -> str:
    sources = (Docstring.parse(base.__dict__.get("__doc__") or "").source for base in owner.__mro__)
    return next(filter(None, sources), "")


def _anchors(page: Path) -> set[str]:
    return {f"#{markdown.anchor(heading)}" for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)}


def _is_there(name: str) -> bool:
    try:
        return public.find(name) is not None
    except AttributeError:
        return False


class TestOptions:
    def test_none_is_missing(self) -> None:
        kinds = (keywords.ConnectKeywords, keywords.ServerKeywords, keywords.WrapKeywords)
        assert OPTIONS.keys() == {name for kind in kinds for name in kind.__optional_keys__}

    @pytest.mark.parametrize("option", OPTIONS)
    def test_an_option_has_its_facts(self, option: str) -> None:
        facts = OPTIONS[option]
        assert facts.keys() <= {"type", "range", "errors", "example", "source", "default", "text"}
        assert facts["type"]
        assert facts["source"]
        assert option_reference.default(option) or option in ("passphrase",)
        assert option_reference.taken_by(option)

    @pytest.mark.parametrize("option", OPTIONS)
    def test_an_option_is_described_in_one_place(self, option: str) -> None:
        """In a table of the guide; as long as there is none, in options.toml."""
        described = [row.text for row in guide.options().get(option, [])]
        assert bool(described) is not ("text" in OPTIONS[option])
        assert len(described) <= len({"psk_callback": 2}.get(option, 1) * "x")

    @pytest.mark.parametrize("option", OPTIONS)
    def test_an_example_names_the_option(self, option: str) -> None:
        call = ast.parse(f"f({OPTIONS[option]['example']})", mode="eval").body
        assert isinstance(call, ast.Call)
        assert option in {keyword.arg for keyword in call.keywords}

    @pytest.mark.parametrize("option", OPTIONS)
    def test_a_number_has_a_range(self, option: str) -> None:
        if re.search("`(?:int|float)`", OPTIONS[option]["type"]):
            assert OPTIONS[option]["range"]


class TestParsing:
    def test_a_docstring(self) -> None:
        parsed = Docstring.parse(
            inspect.cleandoc(
                """Does a thing,
                as it should.

                More words.

                Args:
                    first: Some words
                        on two lines.
                    second: One of

                        - ``"a"``
                        - ``"b"``

                Returns:
                    What it has done.

                Raises:
                    OptionError: It cannot.
                    asyncio.IncompleteReadError: It could not.

                Example::

                    if done:
                        stop()

                Source: RFC 1; a(3).
                """
            )
        )
        assert parsed == Docstring(
            sentence="Does a thing, as it should.",
            body="More words.",
            args={"first": "Some words on two lines.", "second": 'One of\n    - ``"a"``\n    - ``"b"``'},
            returns="What it has done.",
            raises=(("OptionError", "It cannot."), ("asyncio.IncompleteReadError", "It could not.")),
            example="if done:\n    stop()",
            source="RFC 1; a(3)",
        )

    def test_no_docstring(self) -> None:
        assert Docstring.parse("") == Docstring("", "", {}, "", (), "", "")

    def test_attributes(self) -> None:
        found = docstrings.attributes(aiotls.WireError)
        assert found["syscall"].annotation == "str | None"
        assert found["code"].text == "What happened, for programs."

    @pytest.mark.parametrize(
        ("lacking", "problem"),
        [
            ('"""no sentence"""', "no sentence"),
            ('"""Does it."""', "Args: delay"),
            ('"""Does it.\n\n    Args:\n        delay: How long.\n    """', "unit of delay"),
            (
                '"""Does it.\n\n    Args:\n        delay: Seconds.\n        other: No.\n    """',
                "there is no argument other",
            ),
            ('"""Does it for `delay`."""', "Returns"),
            ('"""Does it for `delay`."""', "Raises"),
            ('"""Does it for `delay`."""', "Source"),
        ],
    )
    def test_what_is_lacking_is_found(self, lacking: str, problem: str, tmp_path: Path) -> None:
        source = f"def wait(delay: float) -> int:\n    {lacking}\n    raise ValueError\n"
        path = tmp_path / "lacking.py"
        path.write_text(source)
        names: dict[str, Any] = {}
        exec(compile(source, str(path), "exec"), names)
        assert any(found.startswith(problem) for found in problems("aiotls.wait", names["wait"]))

    def test_overloads_are_all_shown(self) -> None:
        page = (generate.FOLDER / "api" / "connect.md").read_text()
        assert page.count("\nconnect(") == len(typing.get_overloads(aiotls.connect))
