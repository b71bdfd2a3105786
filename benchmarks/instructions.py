"""Counts instructions: ``python -m benchmarks.instructions``.

Where times differ from run to run, the number of instructions hardly does.  So it shows a slip of one per cent, on any
machine and whatever else runs.  It is counted by valgrind, what the kernel does is not in it, and it is no time.
"""

import argparse
import datetime
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.instruction_count import PARTS, ROOT, WORKS, Count, Laboratory
from benchmarks.machine import Machine
from benchmarks.toolchain import Unavailable

RECORD = ROOT / "benchmarks" / "instructions.json"
PAGE = ROOT / "docs" / "performance" / "instructions.md"
BUILD = ROOT / "build" / "benchmarks"
SLIP = 0.03
"""From what share on a rise is told."""


def main() -> None:
    """Does what the command line says."""
    arguments = _arguments()
    names = arguments.only.split(",") if arguments.only else list(WORKS)
    if unknown := [name for name in names if name not in WORKS]:
        sys.exit(f"there is no {unknown[0]}; there are {', '.join(WORKS)}")
    try:
        laboratory = Laboratory(BUILD, arguments.symbols)
    except Unavailable as problem:
        sys.exit(str(problem))
    openssl, python = laboratory.facts()
    names = [name for name in names if WORKS[name].since <= tuple(map(int, openssl.split()[1].split(".")))]
    rounds = []
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}: about half a minute", file=sys.stderr)
        rounds.append(laboratory.count(names))
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "openssl": openssl,
        "python": python,
        "valgrind": laboratory.valgrind_version,
        "works": {name: _summary([counts[name] for counts in rounds]) for name in names},
    }
    print(_table(result["works"]))
    if arguments.functions:
        _print_functions(rounds[-1], arguments.functions)
    if arguments.check:
        _check(result)
    if arguments.record:
        RECORD.write_text(json.dumps(result, indent=2) + "\n")
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(_page(result))
        print(f"recorded in {RECORD.relative_to(ROOT)} and {PAGE.relative_to(ROOT)}")


def _arguments() -> argparse.Namespace:
    works = "\n".join(f"  {name:18} {work.words}" for name, work in WORKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions",
        description="Counts the instructions of handshakes, data and messages, by valgrind (callgrind).",
        epilog=f"what is counted:\n{works}\n\nIt needs valgrind with its header files, and a C compiler.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="WORK,...", help="count these alone")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="count N times (3); medians and the spread")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"compare with the record; tell what rose by more than {SLIP * 100:g} %%",
    )
    parser.add_argument(
        "--record", action="store_true", help=f"write {RECORD.relative_to(ROOT)} and {PAGE.relative_to(ROOT)}"
    )
    parser.add_argument(
        "--symbols", type=Path, metavar="FOLDER", help="a folder with an aiotls whose core has its symbols"
    )
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="print the N largest functions of each")
    arguments = parser.parse_args()
    if arguments.record and arguments.only:
        parser.error("--record writes all of them, so it goes without --only")
    return arguments


def _summary(counts: list[Count]) -> dict[str, Any]:
    """The median of the rounds."""
    totals = [count.total for count in counts]
    middle = counts[totals.index(statistics.median_low(totals))]
    spread = (max(totals) - min(totals)) / middle.total if len(totals) > 1 else None
    return {"total": middle.total, "spread": spread, "parts": middle.parts}


def _check(result: dict[str, Any]) -> None:
    if not RECORD.exists():
        print(f"there is no {RECORD.relative_to(ROOT)} to compare with: see --record")
        return
    record = json.loads(RECORD.read_text())
    for what in ("openssl", "python", "valgrind"):
        if record[what] != result[what]:
            print(f"mind: it was recorded with {what} {record[what]}, and this is {result[what]}")
    slips = 0
    for name, counted in result["works"].items():
        if name not in record["works"]:
            print(f"{name}: not recorded yet")
            continue
        before = record["works"][name]
        rise = counted["total"] / before["total"] - 1
        if abs(rise) > SLIP:
            slips += rise > 0
            parts = ", ".join(
                f"{part} {counted['parts'].get(part, 0) - before['parts'].get(part, 0):+,}"
                for part in PARTS
                if part in counted["parts"] or part in before["parts"]
            )
            print(f"{name}: {before['total']:,} -> {counted['total']:,} ({rise:+.1%}; {parts})")
    print(f"{slips} of {len(result['works'])} rose by more than {SLIP:.0%}" if slips else "nothing rose")


def _print_functions(counts: dict[str, Count], most: int) -> None:
    for name, count in counts.items():
        print(f"\n{name}")
        for function, instructions in list(count.functions.items())[:most]:
            print(f"{instructions:12,}  {function}")
            for caller, share in count.callers[function].items():
                print(f"{share:20,}  from {caller}")


def _table(works: dict[str, Any]) -> str:
    parts = [part for part in PARTS if any(part in work["parts"] for work in works.values())]
    lines = [
        f"| thousands of instructions | all | {' | '.join(parts)} | spread |",
        f"|---|---|{'---|' * len(parts)}---|",
    ]
    for name, work in works.items():
        cells = [f"{work['parts'].get(part, 0) / 1000:,.1f}" for part in parts]
        total = f"{work['total'] / 1000:,.1f}"
        lines.append(f"| {WORKS[name].words} | **{total}** | {' | '.join(cells)} | {_spread(work['spread'])} |")
    return "\n".join(lines)


def _spread(spread: float | None) -> str:
    return "–" if spread is None else f"{spread:.2%}"


def _page(result: dict[str, Any]) -> str:
    return f"""# Instructions

Written by `python -m benchmarks.instructions --record` on {result["date"]}, with {result["openssl"]}, Python \
{result["python"]} and valgrind {result["valgrind"]} on {Machine.here().system}.

{_table(result["works"])}

The number of instructions of one unit of work hardly differs from run to run (the last column: the largest less the
smallest of some runs), so it shows a slip where times are too noisy. It is no time: an instruction may wait for memory
or do the work of eight others, and one that copies a block (`rep movsb`) is counted for each of its bytes. What the
kernel does is not in it, nor is the work of the other side.

- One connection at a time on asyncio's own loop; with many, a turn of the loop serves several of them.
- The processor that valgrind plays has AES and AVX2, but none of the newer instructions that OpenSSL would use.
- A handshake is that and all around it: the connection is accepted or made, and ended in order.
- *Python* is the interpreter with its modules, *libc* copies and allocates for all of them, *Rust* is our core.
- Python's garbage collector is off, because how often it runs depends on what else there is.

`python -m benchmarks.instructions --check` compares with these figures.
"""


if __name__ == "__main__":
    main()
