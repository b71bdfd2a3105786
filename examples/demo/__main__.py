"""The demo: real peers talk to an aiotls server and client on loopback, and each row shows what came of it.

Run it with ``python -m examples.demo``; ``--help`` tells the options.  The exit status is 1 when a row is not as it
must be.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import aiotls

from . import our_client, our_server, refusals
from .programs import installed
from .row import Case, Row
from .screen import Screen, make_screen
from .stage import Stage

CASES = [*our_client.CASES, *our_server.CASES, *refusals.CASES]
TIME_LIMIT = 300.0
"""Seconds that one row may take."""


def main() -> int:
    options = parse_arguments()
    cases = [case for case in CASES if options.only in case.name]
    if not cases:
        print(f"No row is named {options.only!r}; there are: {', '.join(case.name for case in CASES)}", file=sys.stderr)
        return 2
    title = f"aiotls {aiotls.__version__} on {aiotls.openssl_version}; a file of {options.size} MiB goes each way"
    with (
        tempfile.TemporaryDirectory(prefix="aiotls-demo-") as directory,
        make_screen(title, plain=options.plain) as screen,
    ):
        rows = asyncio.run(play(cases, Path(directory), options.size, screen))
        failed = sum(bool(row.problems) for row in rows)
        skipped = sum(bool(row.skipped) for row in rows)
        screen.say(f"as it must be: {len(rows) - failed - skipped}, failed: {failed}, skipped: {skipped}")
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo", description="Lets real TLS peers talk to aiotls and shows what came of it."
    )
    parser.add_argument("--size", type=size, default=256, metavar="MIB", help="size of the file that is moved (256)")
    parser.add_argument("--only", default="", metavar="NAME", help="only the rows whose name contains NAME")
    parser.add_argument("--plain", action="store_true", help="plain lines, also in a terminal")
    return parser.parse_args()


def size(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65536:
        raise argparse.ArgumentTypeError("must be from 1 to 65536")
    return number


async def play(cases: list[Case], directory: Path, size: int, screen: Screen) -> list[Row]:
    """Plays the cases one after the other, so that none disturbs the rate of another."""
    rows = []
    async with Stage(directory, size, screen.progress) as stage:
        for case in cases:
            row = Row(case.client, case.server, case.task)
            screen.begin(row, stage.size)
            if case.needs and not installed(case.needs):
                row.skipped = f"{case.needs} is not installed"
            else:
                await play_one(case, stage, row)
            screen.done(row)
            rows.append(row)
    return rows


async def play_one(case: Case, stage: Stage, row: Row) -> None:
    try:
        async with asyncio.timeout(TIME_LIMIT):
            await case.play(stage, row)
    except TimeoutError:
        row.problems.append(f"not done after {TIME_LIMIT:.0f} seconds")
    except Exception as error:  # whatever goes wrong belongs to this row alone
        row.problems.append(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
