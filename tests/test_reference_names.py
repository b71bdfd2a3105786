"""The map of names: what it points at is there, and no public name is missing from it."""

import inspect
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
from docs import generate
from docs.generator import public, reference_names
from docs.generator.reference_names import Row, Section

import aiotls

SECTIONS = reference_names.sections()
ROWS = [row for section in SECTIONS for row in section.rows]
MAPPED = {row.full_name for row in ROWS if row.here}

TAKE_OPTIONS = ("create_secure_context", "connect", "create_server", "TLSSocket")


def own_names() -> Iterator[str]:
    """Everything public, as full names."""
    yield from public.names()
    for kind in (aiotls.TLSSocket, aiotls.Server, *_secure_pair()):
        yield from (f'aiotls.{kind.__name__} "{event}"' for event in public.events(kind))
    yield from public.switch_words()
    yield from (f"${name}" for name in public.variables())


def _secure_pair() -> tuple[Any, ...]:
    return (aiotls.SecurePair,) if hasattr(aiotls, "SecurePair") else ()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_the_names_of_a_section_are_there(section: Section) -> None:
    assert [f"{row.there}: {problem}" for row in section.rows if row.here and (problem := row.problem())] == []


def test_a_name_that_is_left_out_has_a_reason() -> None:
    assert [row.there for row in ROWS if not row.here and not row.note] == []


def test_every_public_name_has_a_row_or_a_reason() -> None:
    assert [name for name in own_names() if name not in MAPPED and not reference_names.is_own(name)] == []


@pytest.mark.parametrize("function", TAKE_OPTIONS)
def test_every_option_has_a_row_or_a_reason(function: str) -> None:
    owners = (f"aiotls.{function}", "aiotls.create_secure_context")
    assert {
        option
        for option in _keywords(function)
        if not any(f"{owner}({option})" in MAPPED for owner in owners) and not reference_names.is_own(f"({option})")
    } == set()


def test_every_argument_of_listen_has_a_row() -> None:
    assert {f"aiotls.Server.listen({name})" for name in public.options(aiotls.Server.listen)} <= MAPPED


def _keywords(function: str) -> set[str]:
    found = public.options(getattr(aiotls, function))
    positional = {"listener", "stream"}
    assert found.keys() > {"ca", "key"}
    return found.keys() - positional


def test_no_reason_without_a_name() -> None:
    names = [*own_names(), *(f"({option})" for function in TAKE_OPTIONS for option in _keywords(function))]
    assert [own for own in reference_names.own() if not any(fnmatchcase(name, own) for name in names)] == []


def test_a_name_with_a_row_needs_no_reason() -> None:
    assert {name for name in reference_names.own() if "*" not in name} & MAPPED == set()


def test_the_page_has_every_name() -> None:
    page = (generate.FOLDER / "coming-from-node.md").read_text()
    for row in ROWS:
        assert row.there in page
        assert row.here in page


@pytest.mark.parametrize(
    ("kind", "of", "here"),
    [
        ("name", "aiotls", "disconnect"),
        ("name", "aiotls.TLSSocket", "get_cypher"),
        ("name", "aiotls.TLSError", "alarm"),
        ("name", "aiotls.Nothing", "at_all"),
        ("option", "aiotls.connect", "is_server"),
        ("option", "aiotls.disconnect", "host"),
        ("event", "aiotls.Server", "secure_connect"),
        ("switch", "", "--tls-max-v1.1"),
        ("variable", "", "AIOTLS_NOTHING"),
        ("page", "", "nothing.md"),
        ("page", "", "contexts.md#nothing"),
        ("nothing", "", ""),
    ],
)
def test_a_name_that_is_not_there_is_found_out(kind: str, of: str, here: str) -> None:
    assert Row("there", here, "", kind, of).problem()


def test_what_is_public() -> None:
    assert {
        "aiotls.connect",
        "aiotls.defaults.ciphers",
        "aiotls.constants.SSL_OP_ALL",
        "aiotls.TLSSocket.get_cipher",
        "aiotls.TLSSocket.read",
        "aiotls.Server.listening",
        "aiotls.Server.on",
        "aiotls.Address.family",
        "aiotls.Phase.OPEN",
        "aiotls.Duplex.drain",
        "aiotls.WireError.syscall",
        "aiotls.ServerIdentityError.host",
        "aiotls.VerificationError.verify_code",
    } <= {*public.names()}
    for name in public.names():
        assert public.find(name) is not None
        assert not re.search(r"\._[a-z]", name)


def test_the_options_of_a_function() -> None:
    assert public.options(aiotls.connect).keys() > {"host", "port", "lookup", "ca", "servername", "listener"}
    assert public.options(aiotls.Server.listen).keys() == inspect.signature(aiotls.Server.listen).parameters.keys() - {
        "self"
    }
    assert "is_server" in public.options(aiotls.TLSSocket)
    assert "is_server" not in public.options(aiotls.connect)
