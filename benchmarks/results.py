"""What a run has measured, as data, and the JSON that it is kept in."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.modes import MODES, Mode
from benchmarks.programs import NAMES, OURS, Missing


@dataclass(frozen=True)
class Measurement:
    """One program, one mode, one round."""

    mode: str
    program: str
    cost: float | None = None
    """CPU seconds for each unit of work, or bytes of memory for each connection; None when it failed."""
    rate: float = 0.0
    """Units of work in a second."""
    busy: float = 0.0
    """The share of its core that the program used."""
    load: float = 0.0
    """The share of its core that the other side used."""
    other: float = 0.0
    """How many cores everything else on the machine used."""
    error: str = ""


@dataclass(frozen=True)
class Summary:
    """All rounds of one program in one mode."""

    cost: float | None
    """The median."""
    ratio: float | None
    """The median as a multiple of ours."""
    spread: float
    """From the least to the greatest, as a share of the median."""
    rate: float
    busy: float
    load: float
    other: float
    """The greatest of all rounds."""
    error: str


@dataclass
class Results:
    """A whole run."""

    machine: Machine
    date: str
    rounds: int
    seconds: float
    programs: dict[str, str] = field(default_factory=dict)
    """The title of each program that was measured."""
    versions: dict[str, str] = field(default_factory=dict)
    """What each program says it is made of."""
    missing: list[Missing] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The programs that were measured, in the order in which they are shown."""
        return [name for name in NAMES if name in self.programs]

    @property
    def modes(self) -> list[Mode]:
        """The modes that were measured, in the order in which they are shown."""
        measured = {measurement.mode for measurement in self.measurements}
        return [mode for mode in MODES if mode.name in measured]

    def summary(self, mode: Mode, program: str) -> Summary | None:
        """All rounds of `program` in `mode` together; None when there were none."""
        rounds = self._rounds(mode, program)
        if not rounds:
            return None
        good = [one for one in rounds if one.cost is not None]
        costs = [one.cost for one in good if one.cost is not None]
        error = next((one.error for one in rounds if one.error), "")
        if not costs:
            return Summary(None, None, 0, 0, 0, 0, 0, error)
        cost = statistics.median(costs)
        ours = [one.cost for one in self._rounds(mode, OURS) if one.cost is not None]
        return Summary(
            cost=cost,
            ratio=cost / statistics.median(ours) if ours and statistics.median(ours) else None,
            spread=(max(costs) - min(costs)) / cost if cost else 0.0,
            rate=statistics.median(one.rate for one in good),
            busy=statistics.median(one.busy for one in good),
            load=statistics.median(one.load for one in good),
            other=max(one.other for one in good),
            error=error,
        )

    def _rounds(self, mode: Mode, program: str) -> list[Measurement]:
        return [one for one in self.measurements if one.mode == mode.name and one.program == program]

    def save(self, file: Path) -> None:
        """Write it to `file`."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, files: Sequence[Path]) -> "Results":
        """Read it from `files`, of which several are put together; raises `ValueError` for a file of another kind."""
        first, *others = map(cls._read, files)
        for other in others:
            first.programs |= other.programs
            first.versions |= other.versions
            first.missing += other.missing
            first.measurements += other.measurements
            first.rounds = min(first.rounds, other.rounds)
        first.missing = [one for one in _unique(first.missing) if one.name not in first.programs]
        return first

    @classmethod
    def _read(cls, file: Path) -> "Results":
        try:
            data: dict[str, Any] = json.loads(file.read_text())
            data["machine"] = Machine(**data["machine"])
            data["missing"] = [Missing(**one) for one in data["missing"]]
            data["measurements"] = [Measurement(**one) for one in data["measurements"]]
            return cls(**data)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is not what a run has kept: {error}") from error


def _unique(missing: Iterable[Missing]) -> list[Missing]:
    return list(dict.fromkeys(missing))
