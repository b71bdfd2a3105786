"""Idle connections: what each keeps, and what they cost while others work."""

import sys
import time

from benchmarks.growth.measuring import KIB, Table, both_sides

COUNTS = (1, 100, 2_000, 20_000)
MESSAGES = 5_000
QUIET = 5.0
"""Seconds in which nothing happens."""


def measure(scale: float) -> Table:
    """Measures it for each of the counts, `scale` times as many."""
    rows = [_row(max(1, round(count * scale))) for count in COUNTS]
    return Table(
        "Idle connections",
        "Each connection is used once and then left alone. Memory is what the process has grown by; *a message* is 64 "
        "bytes to the server and back on one connection more, beside the idle ones; *while idle* is the server's CPU "
        f"time in {QUIET:g} s in which nothing happens. All CPU times are the server's.",
        (
            "idle connections",
            "server, KiB each",
            "client, KiB each",
            "CPU of a message, µs",
            "CPU while idle, ms",
            "CPU of closing, µs each",
            "closing all, s",
        ),
        rows,
    )


def _row(wanted: int) -> list[str]:
    with both_sides() as (server, client, port):
        count = min(side.ask("make_room", wanted=wanted + 1)["count"] - 1 for side in (server, client))
        print(f"idle: {count:,} connections", file=sys.stderr)
        client.ask("echo", port=port, count=500, size=64)
        client.ask("visits", port=port, count=200)
        server.ask("empty")
        before = server.facts(), client.facts()
        client.ask("keep", port=port, count=count)
        after = server.facts(), client.facts()
        memory = [(now["resident"] - then["resident"]) / KIB / count for then, now in zip(before, after, strict=True)]
        started = server.cpu()
        client.ask("echo", port=port, count=MESSAGES, size=64)
        message = (server.cpu() - started) / MESSAGES
        started = server.cpu()
        time.sleep(QUIET)
        idle = server.cpu() - started
        started, began = server.cpu(), time.perf_counter()
        client.ask("close")
        server.ask("empty")
        closed = (server.cpu() - started) / count
        elapsed = time.perf_counter() - began
    few = count < 50
    return [
        f"{count:,}",
        "–" if few else f"{memory[0]:.1f}",
        "–" if few else f"{memory[1]:.1f}",
        f"{message * 1e6:.1f}",
        f"{idle * 1e3:.1f}",
        "–" if few else f"{closed * 1e6:.0f}",
        f"{elapsed:.2f}",
    ]
