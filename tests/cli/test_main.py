"""The command line as a whole: ``python -m aiotls``."""

import subprocess
import sys
from pathlib import Path

import pytest

import aiotls
from aiotls.switches import SWITCHES
from tests.support.programs import environment, python


def test_help() -> None:
    done = python("-m", "aiotls", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: python -m aiotls" in done.stdout
    assert "run" in done.stdout
    assert "--version" in done.stdout


def test_without_a_command() -> None:
    """It says what there is, and that this was not enough."""
    done = python("-m", "aiotls")
    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


def test_version() -> None:
    done = python("-m", "aiotls", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"aiotls {aiotls.__version__}", aiotls.openssl_version]


def test_help_of_run_lists_every_switch() -> None:
    done = python("-m", "aiotls", "run", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: python -m aiotls run [OPTIONS] PROGRAM [ARGUMENTS]..." in done.stdout
    lines = done.stdout.splitlines()
    for switch in SWITCHES:
        beginning = f"  {switch.word} {switch.takes}".rstrip() + "  "
        assert [line for line in lines if line.startswith(beginning)], switch.word
    assert "AIOTLS_OPTIONS" in done.stdout


@pytest.mark.parametrize("words", [["walk"], ["--run"], ["-x"]])
def test_what_is_not_known(words: list[str]) -> None:
    done = python("-m", "aiotls", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert words[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_the_console_script(tmp_path: Path) -> None:
    """What an installation puts in place of ``aiotls``: the same, under its own name."""
    script = tmp_path / "aiotls"
    script.write_text("import sys\nfrom aiotls.cli import main\nsys.exit(main())\n")
    done = python(script, "--version")
    assert done.stdout.startswith(f"aiotls {aiotls.__version__}\n")
    program = tmp_path / "program.py"
    program.write_text("import sys; print(sys.argv, sys.flags.dev_mode)")
    done = python("-X", "dev", script, "run", "program.py", "--help", cwd=tmp_path)
    assert done.stdout == "['program.py', '--help'] True\n"


def test_the_console_script_is_installed() -> None:
    script = Path(sys.executable).with_name("aiotls")
    done = subprocess.run(
        [script, "--version"], env=environment(), capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"aiotls {aiotls.__version__}\n")
