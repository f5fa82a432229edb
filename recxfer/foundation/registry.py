"""Tables of things invoked by name: data, not import side effects.

A table holds names, one-line summaries and dotted targets. Targets are imported when they are
asked for, so that listing names (for `--help`) imports no torch.
"""

import difflib
import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from recxfer.foundation.errors import UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table."""

    name: str
    """What users type: lower case, words joined by hyphens."""

    summary: str
    """One line for `--help` and for lists."""

    target: str
    """`package.module:Class`, imported on demand."""


class Table:
    """An ordered table of entries with unique names."""

    def __init__(self, kind: str, entries: Sequence[Entry]) -> None:
        self.kind = kind
        self._entries = {entry.name: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise ValueError(f"a {kind} is listed twice")
        for name in self._entries:
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                raise ValueError(f"{kind} name {name!r} is not lower-case-with-hyphens")

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """The names in table order."""
        return list(self._entries)

    def entry(self, name: str) -> Entry:
        """The line of that name; an unknown name is a usage error with a suggestion."""
        if name not in self._entries:
            raise UsageError(
                f"unknown {self.kind} {name!r}; there are {', '.join(self.names)}",
                hint=suggestion(name, self.names),
            )
        return self._entries[name]

    def resolve(self, name: str) -> Any:
        """Import and return what `name` stands for."""
        module, _, attribute = self.entry(name).target.partition(":")
        return getattr(importlib.import_module(module), attribute)


def suggestion(word: str, known: Sequence[str]) -> str | None:
    """`did you mean X?` when a known word is close to `word`."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else None
