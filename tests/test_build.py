"""The compiled core as it was built, and the choice of its OpenSSL."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from aiotls import _native

OPENSSL_BUILD = Path(__file__).parent.parent / "build_backend" / "aiotls_openssl.py"


@pytest.fixture(scope="module")
def openssl_build() -> ModuleType:
    """The part of the build backend that chooses the OpenSSL."""
    spec = importlib.util.spec_from_file_location("aiotls_openssl", OPENSSL_BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_the_core_exports_nothing_but_its_module() -> None:
    # The process also holds the libssl of Python's own ssl module: our symbols must not meet its.
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", "--format=posix", str(_native.__file__)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in symbols.stdout.splitlines()] == ["PyInit__native"]


def test_python_s_own_ssl_works_in_the_same_process() -> None:
    program = (
        "import aiotls._native as core, hashlib, ssl\n"
        "ssl.create_default_context(); hashlib.sha256(b'').digest()\n"
        "print(core.OPENSSL_VERSION)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.stdout.strip(), result.stderr) == (_native.OPENSSL_VERSION, "")


@pytest.mark.parametrize(
    ("variable", "machine", "chosen"),
    [
        ("vendored", "3.6.0", "vendored"),
        ("system", "3.0.19", "system"),
        ("", "3.5.4", "system"),
        ("", "3.4.1", "vendored"),
        ("", "", "vendored"),
    ],
)
def test_the_choice_of_openssl(
    monkeypatch: pytest.MonkeyPatch, openssl_build: ModuleType, variable: str, machine: str, chosen: str
) -> None:
    monkeypatch.setenv("AIOTLS_OPENSSL", variable)
    monkeypatch.setattr(openssl_build, "_output", lambda *command: machine)
    assert openssl_build.chosen() == chosen


def test_an_unknown_choice_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, openssl_build: ModuleType) -> None:
    monkeypatch.setenv("AIOTLS_OPENSSL", "static")
    with pytest.raises(SystemExit, match="AIOTLS_OPENSSL=static: it must be vendored or system"):
        openssl_build.chosen()


def test_a_tool_that_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, openssl_build: ModuleType
) -> None:
    outputs = {"cargo": "cargo 1.99.0", "pkg-config": "3.0.0", "perl": "1", "make": ""}
    monkeypatch.setenv("AIOTLS_OPENSSL", "vendored")
    monkeypatch.setattr(openssl_build, "_output", lambda tool, *arguments: outputs[tool])
    with pytest.raises(SystemExit, match=r"make is missing.*apt-get install make"):
        openssl_build.check_tools()


def test_a_cargo_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch, openssl_build: ModuleType) -> None:
    monkeypatch.setattr(openssl_build, "_output", lambda *command: "cargo 1.63.0")
    with pytest.raises(SystemExit, match=r"cargo 1\.63\.0 is too old: the compiled core needs Rust 1\.\d+ or newer"):
        openssl_build.check_tools()
