"""``python -m benchmarks``: measures aiotls beside other programs."""

import contextlib
import datetime
import tempfile
from pathlib import Path

import click

from benchmarks import chart, interrupts, report
from benchmarks.certificates import Certificates
from benchmarks.machine import Machine, allow_descriptors
from benchmarks.measurement import Bench
from benchmarks.modes import BY_NAME, MODES, Mode
from benchmarks.process import end_all
from benchmarks.programs import NAMES, OURS, Program, find
from benchmarks.results import Results
from benchmarks.toolchain import ROOT, Toolchain, Unavailable

BUILD = ROOT / "build" / "benchmarks"
IDLE = 2000
"""How many idle connections there are, where the system allows as many."""
SPARE = 200
"""Descriptors that are left for other things."""


def _chosen(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """The names that an option asks for, in the order in which they are shown."""
    known = NAMES if param.name == "programs" else tuple(BY_NAME)
    chosen = known if value is None else tuple(value.replace(" ", "").split(","))
    if strange := [name for name in chosen if name not in known]:
        raise click.BadParameter(f"{strange[0]} is none of {', '.join(known)}")
    return tuple(name for name in known if name in chosen)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--modes", callback=_chosen, metavar="A,B", help="What to measure; everything by default.")
@click.option("--programs", callback=_chosen, metavar="A,B", help="Which programs to measure; all by default.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often; the median counts.")
@click.option(
    "--seconds", type=click.FloatRange(0.05), default=1.0, show_default=True, help="How long each measurement takes."
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="How often a measurement is repeated while other work keeps the machine busy.",
)
@click.option("--node", metavar="PATH", help="Another Node.js than the one on PATH.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=BUILD,
    help="The folder that performance.md and performance.svg are written to; build/benchmarks by default.",
)
@click.option(
    "--report",
    "files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Measure nothing, and write again what FILE says. Several are put together.",
)
@click.option("--list", "listing", is_flag=True, help="Show what can be measured here, and what is missing.")
def main(
    modes: tuple[str, ...],
    programs: tuple[str, ...],
    rounds: int,
    seconds: float,
    retries: int,
    node: str | None,
    output: Path,
    files: tuple[Path, ...],
    listing: bool,
) -> None:
    """Measure aiotls beside other TLS servers and clients: the CPU time that each unit of work costs them.

    The program under test runs on the first core, what it is measured with on the last; the programs take turns, and
    the median of all rounds counts. What was measured is kept in build/benchmarks/ as JSON. A program that is missing
    or misbehaves is left out and named.
    """
    try:
        if listing:
            _list(programs, node)
            return
        chosen = [BY_NAME[name] for name in modes]
        results = _read(files) if files else _measure(chosen, programs, rounds, seconds, retries, node)
        if results.measurements:
            _write(results, output)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def _read(files: tuple[Path, ...]) -> Results:
    try:
        return Results.load(files)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _list(names: tuple[str, ...], node: str | None) -> None:
    found, missing = find(names, Toolchain(BUILD), node)
    titles = {program.name: program.title for program in found}
    reasons = {one.name: one.how for one in missing}
    click.echo("Modes:")
    for mode in MODES:
        click.echo(f"  {mode.name:18} {mode.title} ({mode.unit.name})")
    click.echo("Programs:")
    for name in names:
        click.echo(f"  {name:18} {titles.get(name) or f'missing: {reasons[name]}'}")


def _measure(
    modes: list[Mode], names: tuple[str, ...], rounds: int, seconds: float, retries: int, node: str | None
) -> Results:
    toolchain = Toolchain(BUILD)
    found, missing = find(names, toolchain, node)
    date = datetime.datetime.now().astimezone()
    results = Results(Machine.here(), f"{date:%Y-%m-%d}", rounds, seconds, missing=missing)
    results.programs = {program.name: program.title for program in found}
    for one in missing:
        click.echo(f"{one.name} is left out: {one.how}", err=True)
    file = BUILD / f"{date:%Y%m%d-%H%M%S}.json"
    interrupts.install()
    with tempfile.TemporaryDirectory(prefix="aiotls-benchmarks-") as folder, contextlib.ExitStack() as stack:
        stack.callback(end_all)
        bench = Bench(
            _load(toolchain),
            Certificates.make(Path(folder)),
            _peer(toolchain),
            Path(folder),
            seconds,
            retries,
            allow_descriptors(IDLE + SPARE) - SPARE,
        )
        for number, mode in enumerate(modes, 1):
            click.echo(f"[{number}/{len(modes)}] {mode.title} ({mode.unit.name})", err=True)
            bench.measure(mode, found, rounds, results.measurements.append)
            results.versions = bench.versions
            results.save(file)
            _tell(results, mode)
    click.echo(f"kept in {file}", err=True)
    return results


def _load(toolchain: Toolchain) -> Path | None:
    try:
        return toolchain.c("c_load")
    except Unavailable as reason:
        click.echo(f"servers cannot be measured: {reason}", err=True)
        return None


def _peer(toolchain: Toolchain) -> Program:
    """The server of the clients under test: the one in C, where it can be built."""
    for name in ("c", OURS):
        programs, _ = find((name,), toolchain)
        if programs:
            return programs[0]
    raise AssertionError("aiotls itself is always there")


def _tell(results: Results, mode: Mode) -> None:
    for name in results.names:
        summary = results.summary(mode, name)
        if summary is None:
            continue
        if summary.cost is None:
            click.echo(f"    {name:18} {summary.error}", err=True)
            continue
        ratio = f"{summary.ratio:6.2f}" if summary.ratio else " " * 6
        words = [f"{report.figure(summary.cost * mode.unit.scale):>8}", ratio, f"spread {summary.spread:4.0%}"]
        if mode.kind != "idle":
            words.append(f"core {summary.busy:4.0%}  other side {summary.load:4.0%}  rest {summary.other:.2f}")
        if summary.error:
            words.append(f"once: {summary.error}")
        click.echo(f"    {name:18} {'  '.join(words)}", err=True)


def _write(results: Results, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    picture, page = output / "performance.svg", output / "performance.md"
    picture.write_text(chart.draw(results))
    page.write_text(report.put(report.text(results, picture.name), page.read_text() if page.exists() else None))
    click.echo(f"wrote {page} and {picture}", err=True)


if __name__ == "__main__":
    main()
