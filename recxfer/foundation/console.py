"""Talking to a person while something runs: notes, warnings and progress, all on stderr."""

import time
from collections.abc import Iterator, Mapping
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

LOG_SECONDS = 15.0
"""Where stderr is no terminal, a tracker writes a line this often at most."""


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
        if speed is None:
            return Text("")
        return Text(f"{speed:,.{0 if speed >= 10 else 2}f} {task.fields['unit']}/s", style="dim")


@dataclass
class _Bar:
    """A tracker drawn as one line of a rich display."""

    progress: Progress
    task: TaskID

    def advance(self, count: int = 1, **fields: float | str) -> None:
        """See `Tracker.advance`."""
        if fields:
            self.progress.update(self.task, shown=_text(fields))
        self.progress.advance(self.task, count)


@dataclass
class _Log:
    """A tracker for files and pipes: a line now and then."""

    console: Console
    description: str
    total: int | None
    unit: str
    done: int = 0
    fields: dict[str, float | str] = field(default_factory=dict)
    written: float = field(default_factory=time.monotonic)

    def advance(self, count: int = 1, **fields: float | str) -> None:
        """See `Tracker.advance`."""
        self.done += count
        self.fields |= fields
        if time.monotonic() - self.written >= LOG_SECONDS:
            self.written = time.monotonic()
            of = "" if self.total is None else f"/{self.total:,}"
            line = f"{self.description}: {self.done:,}{of} {self.unit}  {_text(self.fields)}"
            self.console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


class RichReporter:
    """Bars with rate and time left where stderr is a terminal, else a line now and then.

    Keeps the warnings, too.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        """See `Reporter.note`."""
        self._print(message, "dim")

    def warn(self, message: str) -> None:
        """See `Reporter.warn`."""
        self.warnings.append(message)
        self._print(f"warning: {message}", "yellow")

    @contextmanager
    def track(self, description: str, total: int | None, unit: str) -> Iterator[Tracker]:
        """See `Reporter.track`."""
        if not self._console.is_terminal:
            yield _Log(self._console, description, total, unit)
            return
        with self._display() as progress:
            task = progress.add_task(description, total=total, unit=unit, shown="")
            try:
                yield _Bar(progress, task)
            finally:
                progress.refresh()  # a block shorter than a frame is drawn once, too
                progress.remove_task(task)

    @contextmanager
    def _display(self) -> Iterator[Progress]:
        """The display that is on screen; the outermost block puts it there and takes it away."""
        if self._progress is not None:
            yield self._progress
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
        ) as self._progress:
            try:
                yield self._progress
            finally:
                self._progress = None

    def _print(self, message: str, style: str) -> None:
        self._console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def _text(fields: Mapping[str, float | str]) -> str:
    parts = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in fields.items())
    return "  ".join(parts)
