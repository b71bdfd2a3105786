"""The law of the rows: who may import whom.

around -> face -> movement -> meaning -> words; the compiled core stands beside them and only some of meaning sees it.
"""

import ast
import pathlib
import sys
from collections.abc import Iterator

import pytest

SOURCES = pathlib.Path(__file__).parent.parent / "src" / "aiotls"

WORDS = {
    "checks",
    "constants",
    "defaults",
    "der",
    "environment",
    "errors",
    "key_log",
    "names",
    "phases",
    "psk",
    "questions",
    "security_warning",
    "switches",
    "verify_codes",
    "versions",
}
MEANING = {
    "alpn",
    "ca_sources",
    "certificate",
    "certificate_authorities",
    "cipher",
    "ciphers",
    "connection",
    "connection_settings",
    "context",
    "context_options",
    "credentials",
    "diagnostics",
    "distinguished_name",
    "general_name",
    "identities",
    "identity",
    "keywords",
    "notices",
    "onread",
    "options",
    "public_key",
    "session",
    "sni",
    "tickets",
    "trust",
}
MOVEMENT = {
    "asking",
    "binding",
    "dial",
    "duplex",
    "emitter",
    "idle",
    "pipe",
    "readable",
    "stream_state",
    "wires",
    "writable",
}
FACE = {
    "answering",
    "client",
    "event_types",
    "secure_pair",
    "server",
    "server_policy",
    "socket_control",
    "socket_info",
    "socket_waiting",
    "tls_socket",
    "trace",
}
AROUND = {"adapters", "cli", "ocsp", "reload", "stores", "workers", "__main__"}
ROWS = (WORDS, MEANING, MOVEMENT, FACE, AROUND)

SEES_THE_CORE = {
    "ca_sources",
    "ciphers",
    "connection",
    "connection_settings",
    "context",
    "diagnostics",
    "identities",
    "notices",
    "session",
    "tickets",
    "trust",
    "wires",
}
WIRES_KNOW = WORDS | {"connection", "notices", "wires"}
NO_IO = {"asyncio", "selectors", "socket", "socketserver"}

MODULES = sorted(path.relative_to(SOURCES) for path in SOURCES.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_what_its_row_may(path: pathlib.Path) -> None:
    noun = _noun(path)
    if noun == "__init__":
        return
    row = _row(noun)
    for imported in _imports_of_ours(path):
        if imported == "_native":
            assert noun in SEES_THE_CORE, f"{noun} must not see the core"
        elif imported != "__init__":
            assert _row(imported) <= row, f"{noun} imports {imported}, which stands in a higher row"
            assert noun != "wires" or imported in WIRES_KNOW, f"wires must not know {imported}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_words_and_meaning_do_no_io(path: pathlib.Path) -> None:
    noun = _noun(path)
    if noun == "__init__" or _row(noun) > ROWS.index(MEANING):
        return
    others = _other_imports(path)
    assert not others & NO_IO
    if noun in WORDS:
        assert others <= sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_is_one_noun(path: pathlib.Path) -> None:
    assert path.stem not in {"common", "helpers", "misc", "utils"}
    assert len((SOURCES / path).read_text().splitlines()) <= 500


def _noun(path: pathlib.Path) -> str:
    return path.parts[0].removesuffix(".py")


def _row(noun: str) -> int:
    for number, row in enumerate(ROWS):
        if noun in row:
            return number
    raise AssertionError(f"{noun} stands in no row: give it one here and in ARCHITECTURE.md")


def _imports_of_ours(path: pathlib.Path) -> Iterator[str]:
    package = ["aiotls", *path.parts[:-1]]
    for node in ast.walk(ast.parse((SOURCES / path).read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "aiotls":
                    yield [*alias.name.split("."), "__init__"][1]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            full = [*base, *(node.module.split(".") if node.module else [])]
            if full[:1] == ["aiotls"]:
                yield from [full[1]] if len(full) > 1 else (alias.name for alias in node.names)


def _other_imports(path: pathlib.Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse((SOURCES / path).read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - {"aiotls"}
