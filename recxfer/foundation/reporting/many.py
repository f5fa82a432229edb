"""Report to several reporters at once."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from typing_extensions import override

from recxfer.foundation.reporting.contract import Progress, Reporter


class Many(Reporter):
    """One reporter for the user, and others that get the same.

    A listener that fails is left out from then on, with one warning: it must not end what it
    listens to.
    """

    def __init__(self, watched: Reporter, listeners: Mapping[str, Reporter]) -> None:
        """Put reporters together.

        Args:
            watched: shows progress too.
            listeners: by the names that a warning calls them by.
        """
        self.warnings = watched.warnings
        self._watched = watched
        self._listeners = dict(listeners)

    @override
    def note(self, message: str) -> None:
        self._watched.note(message)
        self._tell(lambda listener: listener.note(message))

    @override
    def warn(self, message: str) -> None:
        self._watched.warn(message)
        self._tell(lambda listener: listener.warn(message))

    @override
    def progress(
        self, description: str, total: int | None, unit: str
    ) -> AbstractContextManager[Progress]:
        """Show progress in the watched reporter alone."""
        return self._watched.progress(description, total, unit)

    @override
    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        self._watched.record(step, values)
        self._tell(lambda listener: listener.record(step, values))

    def _tell(self, message: Callable[[Reporter], None]) -> None:
        for name, listener in list(self._listeners.items()):
            try:
                message(listener)
            except Exception as error:
                del self._listeners[name]
                self._watched.warn(f"{name} is left out from here on: {error}")
