"""Measures what it costs when the work grows: ``python -m benchmarks.growth [PART ...]``."""

import argparse
import datetime
import json
import sys
import time
from dataclasses import asdict

import aiotls
from benchmarks.growth import idle, messages, names, sequence
from benchmarks.growth.measuring import Table
from benchmarks.growth.side import ROOT
from benchmarks.machine import Machine
from benchmarks.others import Others

PARTS = ("idle", "messages", "names", "sequence")
RESULTS = ROOT / "build" / "benchmarks" / "growth.json"
PAGE = ROOT / "docs" / "performance" / "growth.md"
CONNECTIONS = 100_000


def main() -> None:
    """Does what the command line says."""
    arguments = _arguments()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in arguments.parts or PARTS:
        started, others = time.perf_counter(), Others()
        table = _measure(part, arguments)
        print(f"{part}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        print(table.text())
        results[part] = {
            "date": datetime.date.today().isoformat(),
            "openssl": aiotls.openssl_version,
            "others": others.words(),
            **asdict(table),
        }
    if arguments.scale != 1 or arguments.connections != CONNECTIONS:
        print("nothing was written: this was less than what is to be measured")
        return
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2))
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(_page(results))
    print(f"written to {PAGE.relative_to(ROOT)}")


def _measure(part: str, arguments: argparse.Namespace) -> Table:
    if part == "sequence":
        return sequence.measure(arguments.connections)
    measure = {"idle": idle.measure, "messages": messages.measure, "names": names.measure}[part]
    return measure(arguments.scale)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=f"Measures what it costs when the work grows, and writes {PAGE.relative_to(ROOT)}.",
        epilog="""parts:
  idle      1, 100, 2,000 and 20,000 idle connections: memory, messages beside them, closing (1 minute)
  messages  1 KiB to 64 MiB, each way: CPU time and memory (1 minute)
  names     1 to 10,000 names in add_context: adding and finding them (1 minute)
  sequence  100,000 connections one after the other, full and resumed: what is left of them (3 minutes)

Figures of parts that are not measured again stay on the page. It needs Linux (/proc).""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="measure these alone")
    parser.add_argument(
        "--connections", type=int, default=CONNECTIONS, metavar="N", help="of the sequence (100000), a multiple of 4"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="X", help="for a quick look: X times as much work, such as 0.1"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {unknown.pop()!r}; there are {', '.join(PARTS)}")
    if arguments.connections < 4 or not 0 < arguments.scale <= 1:
        parser.error("--connections is at least 4, and --scale between 0 and 1")
    return arguments


def _page(results: dict[str, dict[str, object]]) -> str:
    machine = Machine.here()
    parts = [part for part in PARTS if part in results]
    head = f"""# Cost as work grows

Written by `python -m benchmarks.growth` on {machine.cpu}, {machine.cores} cores, {machine.system}, Python \
{machine.python}, with asyncio's own loop. Server and client are a process each, on different cores; both are aiotls.

"""
    sections = []
    for part in parts:
        result = results[part]
        table = Table(**{key: result[key] for key in ("title", "words", "columns", "rows")})  # type: ignore[arg-type]
        when = f"Measured on {result['date']} with {result['openssl']}. {result.get('others', '')}"
        sections.append(f"{table.text()}\n{when.strip()}\n")
    return head + "\n".join(sections)


if __name__ == "__main__":
    main()
