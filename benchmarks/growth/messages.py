"""Messages from 1 KiB to 64 MiB, each written at once and read as a whole."""

import sys

from benchmarks.growth.measuring import GB, KIB, MIB, Table, both_sides

SIZES = (KIB, 16 * KIB, 256 * KIB, MIB, 16 * MIB, 64 * MIB)
TOTAL = 512 * MIB
MOST = 50_000
"""Messages of one size."""


def measure(scale: float) -> Table:
    """Measures it for each of the sizes; `scale` changes how many messages there are."""
    return Table(
        "Messages",
        "The server writes each message by one `write` and awaits `drain`; the other way round it awaits the whole by "
        "one `readexactly`. CPU time is the server's; *growth* is the most resident memory that it had, less what it "
        "had before.",
        (
            "size",
            "sent, CPU s/GB",
            "sent, CPU µs a message",
            "sent, growth in MiB",
            "received, CPU s/GB",
            "received, CPU µs a message",
            "received, growth in MiB",
        ),
        [[_size(size), *_way("down", size, scale), *_way("up", size, scale)] for size in SIZES],
    )


def _way(way: str, size: int, scale: float) -> list[str]:
    count = max(2, round(min(TOTAL // size, MOST) * scale))
    print(f"messages: {way}, {count:,} of {_size(size)}", file=sys.stderr)
    with both_sides("messages") as (server, client, port):
        # So that everything is loaded that will be needed.
        client.ask(way, port=port, size=KIB, count=100)
        server.ask("empty")
        server.ask("forget_peak")
        before, started = server.facts()["resident"], server.cpu()
        client.ask(way, port=port, size=size, count=count)
        cpu = server.cpu() - started
        peak = server.facts()["peak"]
    return [
        f"{cpu / (size * count) * GB:.3f}",
        f"{cpu / count * 1e6:,.0f}",
        f"{(peak - before) / MIB:.1f}",
    ]


def _size(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"
