"""How rows are shown: a table with a progress bar in a terminal, plain lines elsewhere."""

import sys
from typing import Protocol, Self

from .row import Row


class Screen(Protocol):
    """Where the rows appear."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def begin(self, row: Row, size: int) -> None:
        """A row is being played, which may move a file of `size` bytes."""

    def progress(self, size: int) -> None:
        """So many bytes more were moved."""

    def done(self, row: Row) -> None:
        """The row is finished."""

    def say(self, text: str) -> None:
        """Words between the rows."""


def make_screen(title: str, *, plain: bool) -> Screen:
    """The screen for this terminal; `plain` asks for plain lines, as anything but a terminal does."""
    if plain or not sys.stdout.isatty():
        return PlainScreen(title)
    try:
        return RichScreen(title)
    except ImportError:
        return PlainScreen(title)


class PlainScreen:
    """Two lines for each row, without any control character."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __enter__(self) -> Self:
        self.say(self._title)
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def begin(self, row: Row, size: int) -> None:
        pass

    def progress(self, size: int) -> None:
        pass

    def done(self, row: Row) -> None:
        self.say(f"{_verdict(row):7}  {row.client} -> {row.server}: {row.task}")
        facts = [
            row.protocol,
            row.cipher,
            row.group,
            row.alpn and f"ALPN {row.alpn}",
            row.authorized and f"{'refused' if row.alert else 'authorised'}: {row.authorized}",
            row.alert and f"the peer saw the alert {row.alert}",
            _handshake(row),
            " at ".join(filter(None, (row.moved, row.rate))),
            "SHA-256 equal" if row.intact else "",
        ]
        for line in (", ".join(filter(None, facts)), *_remarks(row)):
            if line:
                self.say(f"         {line}")

    def say(self, text: str) -> None:
        print(text, flush=True)


class RichScreen:
    """A table that grows, over a progress bar."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        self._title = title
        self._console = Console(highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task("", visible=False)
        self._size = 0

    def __enter__(self) -> Self:
        self.say(self._title)
        self._bar.start()
        self._line("bold", "", "who", "what", "connection", "authorised", "moved")
        return self

    def __exit__(self, *_exception: object) -> None:
        self._bar.stop()

    def begin(self, row: Row, size: int) -> None:
        description = f"{row.client} → {row.server}: {row.task}"
        self._size = size
        self._bar.reset(self._task, total=None, description=description, visible=True)

    def progress(self, size: int) -> None:
        self._bar.update(self._task, total=self._size, advance=size)

    def done(self, row: Row) -> None:
        self._bar.update(self._task, visible=False)
        style, mark = {"ok": ("green", "✓"), "FAILED": ("bold red", "✗"), "skipped": ("yellow", "-")}[_verdict(row)]
        connection = " ".join(filter(None, (row.protocol, row.group, row.alpn)))
        self._line(
            "",
            f"[{style}]{mark}[/]",
            f"{row.client} → {row.server}",
            row.task,
            f"{connection}\n{row.cipher}".strip(),
            "\n".join(filter(None, (row.authorized, row.alert and f"alert {row.alert}", _handshake(row)))),
            "\n".join(filter(None, (row.moved, row.rate, "SHA-256 equal" if row.intact else ""))),
        )
        for remark in _remarks(row):
            self._console.print(f"   {remark}", style=style, markup=False)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _line(self, style: str, *cells: str) -> None:
        from rich.table import Table

        # One table for each row, so that a row stands there as soon as it is finished; the ratios keep them aligned.
        table = Table.grid(expand=True, padding=(0, 1))
        for ratio in (1, 13, 11, 16, 17, 8):
            table.add_column(ratio=ratio)
        table.add_row(*cells, style=style)
        self._console.print(table)


def _verdict(row: Row) -> str:
    if row.skipped:
        return "skipped"
    return "FAILED" if row.problems else "ok"


def _handshake(row: Row) -> str:
    return {None: "", True: "resumed", False: "full handshake"}[row.resumed]


def _remarks(row: Row) -> list[str]:
    return [row.skipped] if row.skipped else row.problems
