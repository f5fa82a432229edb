"""Report to a terminal: notes, warnings and progress, all on stderr."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Display
from rich.text import Text
from typing_extensions import override

from recxfer.foundation.reporting.contract import Progress, Reporter

LOG_SECONDS = 15.0
"""Where stderr is no terminal, progress writes a line this often at most."""


class _Rate(ProgressColumn):
    """Units per second."""

    @override
    def render(self, task: Task) -> Text:
        """Draw the column."""
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        return Text(f"{speed:,.{0 if speed >= 10 else 2}f} {task.fields['unit']}/s", style="dim")


@dataclass
class _Bar(Progress):
    """Progress drawn as one line of a rich display."""

    display: Display
    task: TaskID

    @override
    def advance(self, count: int = 1, **fields: float | str) -> None:
        if fields:
            self.display.update(self.task, shown=_text(fields))
        self.display.advance(self.task, count)


@dataclass
class _Log(Progress):
    """Progress for files and pipes: a line now and then."""

    console: Console
    description: str
    total: int | None
    unit: str
    done: int = 0
    fields: dict[str, float | str] = field(default_factory=dict)
    written: float = field(default_factory=time.monotonic)

    @override
    def advance(self, count: int = 1, **fields: float | str) -> None:
        self.done += count
        self.fields |= fields
        if time.monotonic() - self.written >= LOG_SECONDS:
            self.written = time.monotonic()
            of = "" if self.total is None else f"/{self.total:,}"
            line = f"{self.description}: {self.done:,}{of} {self.unit}  {_text(self.fields)}"
            self.console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


class RichReporter(Reporter):
    """Bars with rate and time left where stderr is a terminal, else a line now and then.

    Keeps the warnings, too.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._open: Display | None = None
        self.warnings: list[str] = []

    @override
    def note(self, message: str) -> None:
        self._print(message, "dim")

    @override
    def warn(self, message: str) -> None:
        self.warnings.append(message)
        self._print(f"warning: {message}", "yellow")

    @contextmanager
    @override
    def progress(self, description: str, total: int | None, unit: str) -> Iterator[Progress]:
        if not self._console.is_terminal:
            yield _Log(self._console, description, total, unit)
            return
        with self._display() as display:
            task = display.add_task(description, total=total, unit=unit, shown="")
            try:
                yield _Bar(display, task)
            finally:
                display.refresh()  # a block shorter than a frame is drawn once, too
                display.remove_task(task)

    @contextmanager
    def _display(self) -> Iterator[Display]:
        """Show a display, or use that on screen; the outermost block takes it away."""
        if self._open is not None:
            yield self._open
            return
        with Display(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
            console=self._console,
            transient=True,
        ) as self._open:
            try:
                yield self._open
            finally:
                self._open = None

    @override
    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        """Keep the latest figures, which progress shows."""

    def _print(self, message: str, style: str) -> None:
        self._console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def _text(fields: Mapping[str, float | str]) -> str:
    parts = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in fields.items())
    return "  ".join(parts)
