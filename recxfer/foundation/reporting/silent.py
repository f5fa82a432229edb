"""A reporter that shows nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from typing_extensions import override

from recxfer.foundation.reporting.contract import Progress, Reporter


class _Unwatched(Progress):
    @override
    def advance(self, count: int = 1, **fields: float | str) -> None:
        """Show nothing."""


@dataclass
class SilentReporter(Reporter):
    """Reporter that shows nothing and keeps the warnings."""

    warnings: list[str] = field(default_factory=list)

    @override
    def note(self, message: str) -> None:
        """Show nothing."""

    @override
    def warn(self, message: str) -> None:
        self.warnings.append(message)

    @contextmanager
    @override
    def progress(self, description: str, total: int | None, unit: str) -> Iterator[Progress]:
        yield _Unwatched()

    @override
    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        """Keep nothing."""
