"""A reporter that shows nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from recxfer.foundation.reporting.contract import Progress


class _Unwatched:
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
    def progress(self, description: str, total: int | None, unit: str) -> Iterator[Progress]:
        """See `Reporter.progress`."""
        yield _Unwatched()

    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        """See `Reporter.record`."""
