"""Find components of other distributions by entry points, without importing them."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class PluginWarning(UserWarning):
    """A plug-in is left out: broken, or with a name that is taken."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point of a group."""

    entry_point: "EntryPoint"
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """Distribution, as messages name it: `recxfer-foo 1.2`."""
        return f"{self.distribution} {self.version}"


def find_plugins(group: str) -> list[Plugin]:
    """List the entry points of a group in all installed distributions, by distribution and name.

    Metadata that cannot be read is a warning, and there are no plug-ins then.
    """
    from importlib.metadata import entry_points  # takes longer to import than the command line

    try:
        found = [
            Plugin(entry_point, entry_point.dist.name, entry_point.dist.version)
            for entry_point in entry_points(group=group)
            if entry_point.dist is not None
        ]
    except Exception as error:  # whatever a damaged distribution leads to, ours still works
        warn_of_plugin(
            f"no plug-ins are read, as the entry points of a distribution are damaged: {error}"
        )
        return []
    return sorted(found, key=lambda plugin: (plugin.distribution, plugin.entry_point.name))


def warn_of_plugin(message: str) -> None:
    """Warn whoever uses the package; the command line shows it as one of its own warnings."""
    warnings.warn(message, PluginWarning, stacklevel=3)


@contextmanager
def plugin_warnings_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Hand warnings of plug-ins to `tell` while the block runs; others are shown as ever."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", PluginWarning)
        show_others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, PluginWarning):
                tell(str(message))
            else:
                show_others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
