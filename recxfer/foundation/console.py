"""Talking to a person while something runs: notes, warnings and progress, all on stderr."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Tracker(Protocol):
    """A piece of work that is being counted."""

    def advance(self, count: int = 1, **fields: float | str) -> None:
        """Count some of it as done, and show these values beside it."""
        ...


class Reporter(Protocol):
    """Whoever wants to know what is going on."""

    def note(self, message: str) -> None:
        """Something worth knowing."""
        ...

    def warn(self, message: str) -> None:
        """Something that may not be what the user wants."""
        ...

    def track(
        self, description: str, total: int | None, unit: str
    ) -> AbstractContextManager[Tracker]:
        """Count work while the block runs; nested blocks are shown below one another."""
        ...


class _Untracked:
    def advance(self, count: int = 1, **fields: float | str) -> None:
        """Nobody watches."""


@dataclass
class SilentReporter:
    """Shows nothing; keeps the warnings for whoever asks."""

    warnings: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        """See `Reporter.note`."""

    def warn(self, message: str) -> None:
        """See `Reporter.warn`."""
        self.warnings.append(message)

    @contextmanager
    def track(self, description: str, total: int | None, unit: str) -> Iterator[Tracker]:
        """See `Reporter.track`."""
        yield _Untracked()


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        """What the column shows."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {task.fields['unit']}/s", style="dim")


@dataclass
class _Shown:
    """A tracker drawn as one line of a rich display."""

    progress: Progress
    task: TaskID

    def advance(self, count: int = 1, **fields: float | str) -> None:
        """See `Tracker.advance`."""
        if fields:
            parts = (
                f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in fields.items()
            )
            self.progress.update(self.task, shown="  ".join(parts))
        self.progress.advance(self.task, count)


class RichReporter:
    """Bars with rate and time left where stderr is a terminal; notes and warnings as lines."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress: Progress | None = None

    def note(self, message: str) -> None:
        """See `Reporter.note`."""
        self._console.print(message, style="dim", markup=False, highlight=False)

    def warn(self, message: str) -> None:
        """See `Reporter.warn`."""
        self._console.print(f"warning: {message}", style="yellow", markup=False, highlight=False)

    @contextmanager
    def track(self, description: str, total: int | None, unit: str) -> Iterator[Tracker]:
        """See `Reporter.track`."""
        if self._progress is not None:
            yield from self._line(self._progress, description, total, unit)
            return
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as progress:
            self._progress = progress
            try:
                yield from self._line(progress, description, total, unit)
            finally:
                self._progress = None

    @staticmethod
    def _line(
        progress: Progress, description: str, total: int | None, unit: str
    ) -> Iterator[Tracker]:
        task = progress.add_task(description, total=total, unit=unit, shown="")
        try:
            yield _Shown(progress, task)
        finally:
            progress.remove_task(task)
