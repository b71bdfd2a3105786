"""The other processes of the machine: what they use is missing from what is measured."""

import time

from benchmarks.machine import busy_time, ended_time


class Others:
    """How many cores are kept busy by processes that are not ours, from now on; None where nobody says."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy = busy_time()
        self._ours = self._used()

    def words(self) -> str:
        """The same as a sentence for a page."""
        foreign = self.cores()
        return "" if foreign is None else f"Other processes kept {foreign:.2f} cores busy meanwhile."

    def cores(self) -> float | None:
        """So many on average."""
        if self._busy is None or (busy := busy_time()) is None:
            return None
        foreign = busy - self._busy - (self._used() - self._ours)
        return max(0.0, foreign / (time.perf_counter() - self._began))

    @staticmethod
    def _used() -> float:
        return time.process_time() + ended_time()
