"""A run as a page: the tables, and where they stand in ``performance.md``."""

from collections.abc import Callable

from benchmarks.modes import Mode
from benchmarks.programs import OURS
from benchmarks.results import Results, Summary

BEGIN = "<!-- results: written by python -m benchmarks -->"
END = "<!-- end of results -->"
Cell = Callable[[Mode, Summary], str]
PAGE = f"# Performance\n\n{BEGIN}\n{END}\n"


def put(text: str, page: str | None) -> str:
    """The page with `text` between its two markers; a new page where there is none, or none with markers."""
    if page is None or BEGIN not in page or END not in page:
        page = PAGE
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def text(results: Results, picture: str) -> str:
    """What was measured, in Markdown."""
    parts = [
        _conditions(results),
        f"![CPU time of each program for each kind of work; the tables below have the same figures]({picture})\n",
        _figures(results),
        _ratios(results),
        _details(results),
        _programs(results),
    ]
    return "\n".join(part for part in parts if part)


def figure(value: float) -> str:
    """A number with about three digits that count."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _conditions(results: Results) -> str:
    machine = results.machine
    cores = f"{machine.cores} {'core' if machine.cores == 1 else 'cores'}"
    rounds = f"{results.rounds} {'round' if results.rounds == 1 else 'rounds'} of {results.seconds:g} s, interleaved"
    return f"Measured on {results.date}: {machine.cpu}, {cores}, {machine.system}, Python {machine.python}; {rounds}.\n"


def _figures(results: Results) -> str:
    def cell(mode: Mode, summary: Summary) -> str:
        return figure(summary.cost * mode.unit.scale) if summary.cost is not None else "–"

    return "CPU time, user and system, for each unit of work; the median of the rounds.\n\n" + _table(
        results, cell, unit=True
    )


def _ratios(results: Results) -> str:
    if OURS not in results.names:
        return ""
    words = "The same as multiples of the first column: above 1 is dearer than aiotls on asyncio's own loop.\n\n"
    return words + _table(results, lambda mode, summary: f"{summary.ratio:.2f}" if summary.ratio else "–", unit=False)


def _table(results: Results, cell: Cell, *, unit: bool) -> str:
    names = results.names
    lines = [_row(["", *names]), "|---|" + "---:|" * len(names)]
    for mode in results.modes:
        summaries = (results.summary(mode, name) for name in names)
        title = f"{mode.title} ({mode.unit.name})" if unit else mode.title
        lines.append(_row([title, *(cell(mode, summary) if summary else "" for summary in summaries)]))
    return "\n".join(lines) + "\n"


def _details(results: Results) -> str:
    lines = [
        "<details><summary>Every figure, and how sure it is</summary>\n",
        "*Spread* is the distance from the least to the greatest round, *core* how much of "
        "its core the program used, *other side* the same of what it was measured with, *rest* how many cores "
        "everything else on the machine used at most.\n",
        "| | program | median | spread | per second | core | other side | rest |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    failures = []
    for mode in results.modes:
        for name in results.names:
            summary = results.summary(mode, name)
            if summary is None:
                continue
            if summary.error:
                failures.append(f"- {name}, {mode.title}: {_plain(summary.error)}")
            if summary.cost is not None:
                cells = [mode.title, name, f"{figure(summary.cost * mode.unit.scale)} {mode.unit.name}"]
                cells += [f"{summary.spread:.0%}", rate(summary.rate), *_shares(mode, summary)]
                lines.append(_row(cells))
    lines += ["", "</details>"]
    if failures:
        lines += ["", "What failed:\n", *failures]
    return "\n".join(lines) + "\n"


def rate(value: float) -> str:
    """So and so many in a second."""
    for limit, name in ((1e9, "G"), (1e6, "M")):
        if value >= limit:
            return f"{value / limit:.2f} {name}"
    return f"{value:,.0f}" if value else ""


def _shares(mode: Mode, summary: Summary) -> list[str]:
    if mode.kind == "idle":
        return ["", "", ""]
    return [f"{summary.busy:.0%}", f"{summary.load:.0%}", f"{summary.other:.2f}"]


def _programs(results: Results) -> str:
    lines = ["| program | | made of |", "|---|---|---|"]
    for name in results.names:
        lines.append(_row([name, results.programs[name], _plain(results.versions.get(name, ""))]))
    if results.missing:
        lines += ["", "Not measured: " + "; ".join(f"{one.name} ({_plain(one.how)})" for one in results.missing) + "."]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(words: str) -> str:
    """Words of another program, as one cell of a table."""
    return " ".join(words.split()).replace("|", "/").replace("<", "&lt;")
