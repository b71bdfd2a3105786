"""Connections one after the other: nothing of them is left."""

import itertools
import sys
from typing import Any

from benchmarks.growth.measuring import KIB, MIB, Table, both_sides
from benchmarks.growth.side import Side

WARMUP = 2_000
QUARTERS = 4


def measure(count: int) -> Table:
    """Measures it with `count` connections, full and resumed."""
    return Table(
        "Connections one after the other",
        f"{count:,} connections (TLS 1.3), 16 at a time, each used once and ended in order, after {WARMUP:,} that do "
        "not count. Growth of resident memory in each quarter of them, in KiB; and what is left at the end of "
        "descriptors, tasks, and `TLSSocket` and `Connection` objects.",
        ("connections", "side", "growth in each quarter, KiB", "CPU, µs each", "descriptors", "tasks", "objects"),
        [row for resume in (False, True) for row in _rows(count, resume=resume)],
    )


def _rows(count: int, *, resume: bool) -> list[list[str]]:
    words = "resumed" if resume else "full"
    with both_sides() as (server, client, port):
        client.ask("visits", port=port, count=WARMUP, resume=resume)
        server.ask("empty")
        facts = [[_facts(side) for side in (server, client)]]
        resumed = 0
        for quarter in range(QUARTERS):
            print(f"sequence: {words}, quarter {quarter + 1} of {QUARTERS}", file=sys.stderr)
            done = client.ask("visits", port=port, count=count // QUARTERS, resume=resume)
            server.ask("empty")
            resumed += done["resumed"]
            facts.append([_facts(side) for side in (server, client)])
        left = server.ask("sockets_left")["count"], client.ask("sockets_left")["count"]
    made = count // QUARTERS * QUARTERS
    words = f"{made:,} {words}" if not resume else f"{made:,}, of which {resumed:,} resumed"
    return [
        [words, name, *_row([both[side] for both in facts], made), str(left[side])]
        for side, name in enumerate(("server", "client"))
    ]


def _facts(side: Side) -> dict[str, Any]:
    return {**side.facts(), "cpu": side.cpu()}


def _row(facts: list[dict[str, Any]], count: int) -> list[str]:
    growth = [(now["resident"] - then["resident"]) / KIB for then, now in itertools.pairwise(facts)]
    first, last = facts[0], facts[-1]
    flat = "" if growth[-1] * KIB <= 4 * MIB else " (**not flat**)"
    return [
        ", ".join(f"{quarter:+,.0f}" for quarter in growth) + flat,
        f"{(last['cpu'] - first['cpu']) / count * 1e6:.0f}",
        f"{last['descriptors'] - first['descriptors']:+}",
        f"{last['tasks'] - first['tasks']:+}",
    ]
