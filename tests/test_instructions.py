"""The program that counts instructions: what it runs, and what is read.  Valgrind itself is too slow for a test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import aiotls
from benchmarks import instructions
from benchmarks.callgrind_profile import CallgrindProfile
from benchmarks.certificates import Certificates
from benchmarks.instruction_count import WORKS, Count, compiled
from benchmarks.toolchain import ROOT, Unavailable

DUMP = """# callgrind format
version: 1
desc: Trigger: Client Request: server_up
positions: line
events: Ir
ob=(1) /usr/lib/libc.so.6
fl=(1) ???
fn=(1) memcpy
0 100
ob=(2) /somewhere/_native.abi3.so
fn=(2) SSL_read
0 20
cob=(1)
cfn=(1)
calls=3 0
0 100
0 5
fn=(1)
0 2
"""


def test_a_dump_is_read(tmp_path: Path) -> None:
    """What a function has called is not its own; a name is written out only once."""
    (tmp_path / "dump").write_text(DUMP)
    profile = CallgrindProfile.read(tmp_path / "dump")
    assert profile.name == "server_up"
    assert profile.functions == {
        ("/usr/lib/libc.so.6", "memcpy"): 100,
        ("/somewhere/_native.abi3.so", "SSL_read"): 25,
        ("/somewhere/_native.abi3.so", "memcpy"): 2,
    }
    assert profile.callers == {("memcpy", "SSL_read"): 100}
    assert profile.total == 127


def test_the_work_is_done(tmp_path: Path) -> None:
    """Every work that is counted can be done with this OpenSSL, without valgrind too."""
    try:
        library = compiled(tmp_path)
    except Unavailable as problem:
        pytest.skip(str(problem))
    Certificates.make(tmp_path)
    version = tuple(map(int, aiotls.openssl_version.split()[1].split(".")))
    names = [name for name, work in WORKS.items() if work.since <= version]
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "benchmarks.workload", str(library), str(tmp_path)),
            *(f"{name}=2" for name in ("calibration", *names)),
        ],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=19,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["work"], line["count"]) for line in told] == [(name, 2) for name in ("calibration", *names)]


@pytest.mark.parametrize("program", ["instructions", "growth", "threads"])
def test_help(program: str) -> None:
    """Each program that stands by itself says what it does."""
    command = [sys.executable, "-W", "error", "-m", f"benchmarks.{program}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=19, check=False)
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m benchmarks.{program}" in done.stdout


def test_a_slip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` names what rose by more than 3 %, and whose instructions they are; it fails on nothing."""

    class Laboratory:
        valgrind_version = "3.19.0"
        core = 1_000_000

        def __init__(self, _build: Path, _symbols: Path | None) -> None:
            pass

        def facts(self) -> tuple[str, str]:
            return "OpenSSL 3.5.5 27 Jan 2026", "3.11.7"

        def count(self, names: list[str]) -> dict[str, Count]:
            return {name: Count({"Python": 50_000, "core": self.core}, {}, {}) for name in names}

    monkeypatch.setattr(instructions, "Laboratory", Laboratory)
    monkeypatch.setattr(instructions, "RECORD", ROOT / "build" / f"{tmp_path.name}.json")
    monkeypatch.setattr(instructions, "PAGE", ROOT / "build" / f"{tmp_path.name}.md")
    try:
        monkeypatch.setattr(sys, "argv", ["instructions", "--rounds", "1", "--record"])
        instructions.main()
        assert "| **1,050.0** |" in instructions.PAGE.read_text()
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["instructions", "--rounds", "1", "--check"])
        Laboratory.core += 30_000
        instructions.main()
        assert "nothing rose" in capsys.readouterr().out
        Laboratory.core += 10_000
        instructions.main()
        said = capsys.readouterr().out
        assert "server_up: 1,050,000 -> 1,090,000 (+3.8%; Python +0, core +40,000)" in said
        assert f"{len(WORKS)} of {len(WORKS)} rose by more than 3%" in said
    finally:
        instructions.RECORD.unlink(missing_ok=True)
        instructions.PAGE.unlink(missing_ok=True)
