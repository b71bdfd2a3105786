"""The benchmarks: what they start works, and what they write is well-formed. Nothing is timed here."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from benchmarks import chart, conversation, report
from benchmarks.__main__ import main
from benchmarks.certificates import Certificates
from benchmarks.machine import Machine, cpu_time, memory
from benchmarks.measurement import Bench
from benchmarks.modes import BY_NAME, MODES, Mode
from benchmarks.process import Misbehaved, Process, free_port
from benchmarks.programs import NAMES, OURS, Missing, Program, find
from benchmarks.results import Measurement, Results
from benchmarks.toolchain import ROOT, Toolchain

SVG = "{http://www.w3.org/2000/svg}"
RESULTS = Results(Machine("a processor", 2, "a system", "3.14.0"), "2030-01-02", rounds=3, seconds=1.0)
RESULTS.programs = {"asyncio": "Python ssl on asyncio", "aiotls": "aiotls on asyncio's loop", "c": "C, OpenSSL"}
RESULTS.versions = {"aiotls": "OpenSSL 3.5.5", "c": "OpenSSL 3.5.5"}
RESULTS.missing = [Missing("go", "install Go <somehow>")]
for _mode in MODES:
    for _times in (3, 1, 2):
        RESULTS.measurements.append(Measurement(_mode.name, "aiotls", _times * 1e-4, 5000, 0.9, 0.8, _times / 10))
        RESULTS.measurements.append(Measurement(_mode.name, "c", _times * 5e-5, 9000, 0.9, 0.8, 0.1))
        RESULTS.measurements.append(Measurement(_mode.name, "asyncio", error="it <broke> | down"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["aiotls", "aiotls-uvloop", "asyncio"])
def server(request: pytest.FixtureRequest, certificates: Certificates, tmp_path: Path) -> Iterator[tuple[Process, int]]:
    """A server under test that is ready, and its port."""
    program, port = _program(request.param), free_port()
    words = _command(program, certificates, port)
    with Process(words, _a_core(), tmp_path / "log", program.environment) as process:
        assert "OpenSSL" in process.ready()
        yield process, port
    assert process.popen.returncode is not None


def test_help_names_every_option() -> None:
    result = _invoke("--help")
    assert result.exit_code == 0
    assert "--report" in result.output
    assert all(option.opts[0] in result.output for option in main.params)


def test_list_names_modes_programs_and_what_is_missing() -> None:
    result = _invoke("--list", "--programs", "aiotls,node,asyncio", "--node", "/nowhere/node")
    assert result.exit_code == 0
    assert all(mode.name in result.output for mode in MODES)
    assert "Python ssl on asyncio" in result.output
    assert "missing: install Node.js, or name one with --node PATH" in result.output


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "benchmarks", "--list", "--programs", "aiotls"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "aiotls on asyncio's loop" in result.stdout


@pytest.mark.parametrize(("option", "value"), [("--modes", "handshake,nothing"), ("--programs", "nothing")])
def test_an_unknown_name_is_told(option: str, value: str) -> None:
    result = _invoke(option, value)
    assert result.exit_code == 2
    assert "nothing is none of" in result.output


def test_a_recorded_run_is_written_again(tmp_path: Path) -> None:
    RESULTS.save(tmp_path / "run.json")
    result = _invoke("--report", str(tmp_path / "run.json"), "--output", str(tmp_path / "docs"))
    assert result.exit_code == 0, result.output
    page = (tmp_path / "docs" / "performance.md").read_text()
    assert page.count(report.BEGIN) == page.count(report.END) == 1
    ElementTree.fromstring((tmp_path / "docs" / "performance.svg").read_text())


def test_a_file_that_is_no_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    result = _invoke("--report", str(tmp_path / "other.json"), "--output", str(tmp_path))
    assert result.exit_code == 1
    assert "other.json is not what a run has kept" in result.output


def test_several_runs_are_put_together(tmp_path: Path) -> None:
    for number, mode in enumerate(("handshake", "idle")):
        part = Results(RESULTS.machine, RESULTS.date, 1, 1.0, {OURS: "ours"}, missing=[Missing("go", "somehow")])
        part.measurements.append(Measurement(mode, OURS, 0.1))
        part.save(tmp_path / f"{number}.json")
    together = Results.load([tmp_path / "0.json", tmp_path / "1.json"])
    assert [mode.name for mode in together.modes] == ["handshake", "idle"]
    assert together.missing == [Missing("go", "somehow")]


def test_the_page_has_every_figure() -> None:
    text = report.text(RESULTS, "performance.svg")
    rows = [line.split(" | ") for line in text.splitlines()]
    for mode in MODES:
        assert [row for row in rows if row[0] == f"| {mode.title} ({mode.unit.name})"], mode.name
    figures = next(row for row in rows if row[0].startswith("| full handshake, TLS 1.3, ECDSA (µs)"))
    # The medians of 100, 200 and 300 µs and of half of that; the third has failed in every round.
    assert figures[1:] == ["200", "100", "– |"]
    ratios = next(row for row in rows if row[0] == "| full handshake, TLS 1.3, ECDSA" and "1.00" in row)
    assert ratios[1:] == ["1.00", "0.50", "– |"]
    assert "- asyncio, full handshake, TLS 1.3, ECDSA: it &lt;broke> / down" in text
    assert "Not measured: go (install Go &lt;somehow>)." in text


def test_the_page_keeps_what_others_wrote() -> None:
    page = report.put("first", f"# Title\n\nwords\n\n{report.BEGIN}\nold\n{report.END}\n\nmore words\n")
    page = report.put("second", page)
    assert page.startswith(f"# Title\n\nwords\n\n{report.BEGIN}\n")
    assert page.endswith(f"{report.END}\n\nmore words\n")
    assert "second" in page
    assert "first" not in page
    assert "old" not in page


def test_the_chart_has_every_bar() -> None:
    picture = ElementTree.fromstring(chart.draw(RESULTS))
    panels = picture.findall(f"{SVG}g")
    assert [panel.findtext(f"{SVG}text[@class='panel']") for panel in panels] == [mode.title for mode in MODES]
    for panel in panels:
        ours, c = (float(bar.attrib["width"]) for bar in panel.findall(f"{SVG}rect"))
        assert ours == pytest.approx(2 * c, abs=0.2)
        assert [text.text for text in panel.findall(f"{SVG}text") if "name" in text.attrib["class"]] == [
            "aiotls",
            "c",
            "asyncio",
        ]
        assert "no figure" in [text.text for text in panel.findall(f"{SVG}text")]
    described = picture.attrib["aria-labelledby"].split()
    assert [picture.findtext(f"{SVG}*[@id='{name}']", "") != "" for name in described] == [True, True]


def test_a_chart_of_one_program_without_figures_is_well_formed() -> None:
    results = Results(RESULTS.machine, RESULTS.date, 1, 1.0, {OURS: "ours"})
    results.measurements.append(Measurement("client", OURS, error="<>&"))
    ElementTree.fromstring(chart.draw(results))
    assert "&lt;>&" in report.text(results, "performance.svg")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_speaks_its_protocol(server: tuple[Process, int], certificates: Certificates, version: str) -> None:
    process, port = server
    conversation.hold(port, certificates.ca, version)
    conversation.hold(port, certificates.ca, version)
    assert cpu_time(process.pid) > 0
    assert memory(process.pid) > 1_000_000


def test_a_server_of_a_stranger_is_not_measured(server: tuple[Process, int], tmp_path: Path) -> None:
    with pytest.raises(Misbehaved, match="CERTIFICATE_VERIFY_FAILED"):
        conversation.hold(server[1], Certificates.make(tmp_path / "strangers").ca)


@pytest.mark.parametrize("program", ["aiotls", "aiotls-uvloop", "asyncio"])
def test_a_client_prints_what_it_did(program: str, certificates: Certificates, tmp_path: Path) -> None:
    bench = _bench(certificates, tmp_path)
    with Process(_command(bench.peer, certificates, port := free_port()), _a_core(), tmp_path / "peer") as peer:
        peer.ready()
        words = ["127.0.0.1", str(port), str(certificates.ca), "8", "2", "0"]
        one = _program(program)
        result = subprocess.run([*one.client, *words], env=os.environ | one.environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert (said["n"], said["warmup"], said["resumed"]) == (8, 2, 0)
    assert said["cpu"] > 0
    assert said["elapsed"] > 0
    assert "OpenSSL" in said["version"]


@pytest.mark.parametrize("program", ["aiotls", "asyncio"])
def test_a_client_that_resumes_is_measured(program: str, certificates: Certificates, tmp_path: Path) -> None:
    bench = _bench(certificates, tmp_path)
    measured: list[Measurement] = []
    bench.measure(BY_NAME["client-resumed"], [_program(program)], 1, measured.append)
    assert [(one.program, one.error) for one in measured] == [(program, "")]
    assert measured[0].cost


@pytest.mark.parametrize("mode", [BY_NAME["handshake"], BY_NAME["idle"], BY_NAME["client"]], ids=lambda mode: mode.name)
def test_a_program_that_breaks_stops_nothing(mode: Mode, certificates: Certificates, tmp_path: Path) -> None:
    broken = (sys.executable, "-c", "import sys; sys.exit('it broke')")
    silent = (sys.executable, "-c", "import sys; print('ready', file=sys.stderr); print('{}')")
    bench = _bench(certificates, tmp_path)
    programs = [Program("c", "", broken, broken), Program("go", "", silent, silent)]
    measured: list[Measurement] = []
    bench.measure(mode, programs, 2, measured.append)
    assert [one.program for one in measured] == ["c", "go", "c", "go"]
    assert [one.cost for one in measured] == [None] * 4
    assert measured[0].error == measured[2].error == "it broke"
    assert all(one.error for one in measured)


def test_every_program_is_there_or_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    found, missing = find(NAMES, Toolchain(tmp_path))
    assert {one.name for one in missing} >= {"c", "go", "node"}
    assert all("install" in one.how for one in missing)
    assert OURS in {program.name for program in found}
    assert {program.name for program in found} | {one.name for one in missing} == set(NAMES)


def test_ctrl_c_ends_every_process() -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("nobody tells which processes there are")
    mark = f"AIOTLS_TEST={uuid.uuid4()}"
    environment = {**os.environ, "AIOTLS_TEST": mark.partition("=")[2], "CC": "/nowhere/cc"}
    words = ["-m", "benchmarks", "--modes", "client", "--programs", "asyncio", "--rounds", "1000"]
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr is not None
        assert "client's connection" in next(line for line in run.stderr if line.startswith("[1/1]"))
        while len(_marked(mark)) < 3 and run.poll() is None:
            os.sched_yield()
        run.send_signal(signal.SIGINT)
        assert "stopped" in run.stderr.read()
    assert run.returncode == 0
    assert not _marked(mark)


def _marked(mark: str) -> list[str]:
    """The processes that were started with `mark` in their environment and have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                found.append(process.name)
    return found


def _invoke(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def _a_core() -> int:
    return min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def _bench(certificates: Certificates, folder: Path) -> Bench:
    """A bench without a load generator, whose clients talk to our server."""
    return Bench(None, certificates, _program(OURS), folder, seconds=0.01)


def _program(name: str) -> Program:
    found, missing = find((name,), Toolchain(Path()))
    if missing:
        pytest.skip(missing[0].how)
    return found[0]


def _command(program: Program, certificates: Certificates, port: int) -> list[str]:
    return [*program.server, str(port), str(certificates.cert("ecdsa")), str(certificates.key("ecdsa"))]
