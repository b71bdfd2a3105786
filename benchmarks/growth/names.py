"""Names in `add_context`: what they cost, and whether finding one takes longer where there are many."""

import sys

from benchmarks.growth.measuring import KIB, Table, both_sides
from benchmarks.growth.side import Side

COUNTS = (1, 10, 100, 1_000, 10_000)
HANDSHAKES = 200
ROUNDS = 3
KINDS = {
    "exact": "`nK.example`",
    "wildcard": "`*.wK.example`",
    "part": "`a*.pK.example`",
}
MOST_DISTINCT = 1_000
"""Contexts take longer to make than all the rest of it."""


def measure(scale: float) -> Table:
    """Measures it for each kind of name; `scale` changes how many there are at most."""
    counts = [count for count in COUNTS if count <= max(1, 10_000 * scale)]
    rows = [_row(kind, count, distinct=False) for kind in KINDS for count in counts]
    rows += [_row("exact", count, distinct=True) for count in counts if count <= MOST_DISTINCT]
    return Table(
        "Names in `add_context`",
        "CPU time is the server's: of one `add_context`, and of one full handshake (TLS 1.3) with a client that asks "
        "for the name that was added first, for the last one, and for one that is not there: the least of "
        f"{ROUNDS} rounds of {HANDSHAKES} connections. Memory is what the process has grown by. *one each* are names "
        "with a context of their own; making the context is not in the time of `add_context`.",
        (
            "names",
            "how many",
            "`add_context`, µs",
            "memory, KiB each",
            "first, µs",
            "last, µs",
            "none, µs",
        ),
        rows,
    )


def _row(kind: str, count: int, *, distinct: bool) -> list[str]:
    print(f"names: {count:,} of the kind {kind}{', one context each' if distinct else ''}", file=sys.stderr)
    with both_sides() as (server, client, port):
        client.ask("visits", port=port, count=HANDSHAKES)
        done = server.ask("add_names", kind=kind, first=1, count=count, distinct=distinct)
        asked = [_asked(kind, 1), _asked(kind, count), "x.other.example"]
        costs: list[list[float]] = [[] for _ in asked]
        for _ in range(ROUNDS):
            for name, found in zip(asked, costs, strict=True):
                found.append(_handshake(server, client, port, name))
    return [
        KINDS[kind] + (", one each" if distinct else ""),
        f"{count:,}",
        f"{done['added'] / count * 1e6:.1f}",
        "–" if count < 100 else f"{done['memory'] / KIB / count:.2f}",
        *(f"{min(found) * 1e6:.0f}" for found in costs),
    ]


def _handshake(server: Side, client: Side, port: int, name: str) -> float:
    started = server.cpu()
    client.ask("visits", port=port, count=HANDSHAKES, servername=name)
    server.ask("empty")
    return (server.cpu() - started) / HANDSHAKES


def _asked(kind: str, number: int) -> str:
    return {"exact": f"n{number}.example", "wildcard": f"x.w{number}.example", "part": f"ax.p{number}.example"}[kind]
