"""What every part of it has in common: the two sides, and a table."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.certificates import Certificates
from benchmarks.growth.side import Side

KIB, MIB, GB = 2**10, 2**20, 10**9


@dataclass(frozen=True)
class Table:
    """What a part has measured."""

    title: str
    words: str
    """What was done, and what the columns are."""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """It in Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"## {self.title}\n\n{self.words}\n\n{table}\n"


@contextlib.contextmanager
def both_sides(conversation: str = "lines") -> Iterator[tuple[Side, Side, int]]:
    """A server, a client, and the server's port."""
    cores = machine.cores()
    with tempfile.TemporaryDirectory(prefix="aiotls-") as folder:
        certificates = Certificates.make(Path(folder))
        identity = str(certificates.cert("ecdsa")), str(certificates.key("ecdsa"))
        with (
            Side("benchmarks.growth.server", *identity, conversation, core=cores[0]) as server,
            Side("benchmarks.growth.client", str(certificates.ca), core=cores[-1]) as client,
        ):
            yield server, client, server.ask("port")["port"]
