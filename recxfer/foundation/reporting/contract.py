"""Contract of reporters: notes, warnings, progress and figures."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class Progress(Protocol):
    """A piece of work that is being counted."""

    def advance(self, count: int = 1, **fields: float | str) -> None:
        """Count some of it as done, and show these values beside it."""
        ...


class Reporter(Protocol):
    """Receiver of notes, warnings, progress and figures."""

    warnings: list[str]
    """What was warned of."""

    def note(self, message: str) -> None:
        """Tell something worth knowing."""
        ...

    def warn(self, message: str) -> None:
        """Tell something that may not be what the user wants."""
        ...

    def progress(
        self, description: str, total: int | None, unit: str
    ) -> AbstractContextManager[Progress]:
        """Count work while the block runs; nested blocks are shown below one another."""
        ...

    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        """Take figures of training.

        Args:
            step: optimiser steps of the run so far.
            values: figures by name, some perhaps not finite; names of what they belong to.
        """
        ...
