"""Tables of components by name: data, not import side effects.

A table holds names, one-line summaries and dotted targets. Targets are imported when they are
asked for, so that listing names (for `--help`) imports no torch. Other distributions add lines by
entry points, which are read when a table is first asked for more than its own lines.
"""

import difflib
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from recxfer.foundation.errors import UsageError
from recxfer.foundation.plugins import Plugin, find_plugins, warn_of_plugin

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table."""

    name: str
    """What users type; spelled as the table says."""

    summary: str
    """One line for `--help` and for lists."""

    target: str
    """`package.module:Class`, imported on demand."""


WORDS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""How names are spelled: lower case, words joined by hyphens."""


class Table(Generic[T_co]):
    """An ordered table of entries with unique names: its own, then those of plug-ins.

    Args:
        kind: what an entry is, for messages.
        entries: the table's own lines.
        group: the group of entry points that add lines; None: there are none.
        contract: `package.module:Class` that plug-ins derive from; own entries are tested to.
        spelling: of a name; another one where a field has names of its own.
    """

    def __init__(
        self,
        kind: str,
        entries: Sequence[Entry],
        *,
        group: str | None = None,
        contract: str | None = None,
        spelling: re.Pattern[str] = WORDS,
    ) -> None:
        self.kind = kind
        self._group = group
        self._contract = contract
        self._entries = {entry.name: entry for entry in entries}
        self._told: set[str] = set()
        self._spelling = spelling
        if len(self._entries) != len(entries):
            raise ValueError(f"a {kind} is listed twice")
        for name in self._entries:
            if not spelling.fullmatch(name):
                raise ValueError(f"{kind} name {name!r} is not spelled as {spelling.pattern}")

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over entries that work: plug-ins are imported, and broken ones warned of."""
        yield from self._entries.values()
        for name in self._plugins:
            try:
                yield self.entry(name)
            except UsageError as error:
                if name not in self._told:
                    self._told.add(name)
                    warn_of_plugin(error.message)

    def __contains__(self, name: str) -> bool:
        return name in self._entries or name in self._plugins

    @property
    def own_names(self) -> list[str]:
        """The names of the table's own lines, in table order; no entry points are read."""
        return list(self._entries)

    @property
    def names(self) -> list[str]:
        """All names: the table's own, then those of plug-ins, whether these work or not."""
        return [*self._entries, *self._plugins]

    def entry(self, name: str) -> Entry:
        """Return the line of a name; a plug-in's summary is the first line of its docstring.

        Raises:
            UsageError: the name is unknown, or the plug-in cannot be loaded.
        """
        if plugin := self._plugins.get(name):
            summary = (inspect.getdoc(self._load(plugin)) or "").partition("\n")[0].rstrip(".")
            return Entry(name, f"{summary} ({plugin.origin})", plugin.entry_point.value)
        return self._own(name)

    def resolve(self, name: str) -> T_co:
        """Import and return the component of a name.

        Raises:
            UsageError: the name is unknown, or the plug-in cannot be loaded.
        """
        if plugin := self._plugins.get(name):
            return self._load(plugin)
        found: T_co = _imported(self._own(name).target)
        return found

    def distribution(self, name: str) -> tuple[str, str] | None:
        """Return name and version of an entry's distribution; None for the table's own."""
        plugin = self._plugins.get(name)
        return (plugin.distribution, plugin.version) if plugin else None

    @cached_property
    def _plugins(self) -> Mapping[str, Plugin]:
        """Plug-ins by name; the first keeps it, and the table's own lines go before all."""
        found: dict[str, Plugin] = {}
        for plugin in find_plugins(self._group) if self._group else []:
            name = plugin.entry_point.name
            owner = found[name].origin if name in found else "recxfer"
            if not self._spelling.fullmatch(name):
                reason = f"the name is not spelled as {self._spelling.pattern}"
            elif name in found or name in self._entries:
                reason = f"there is one of that name in {owner}"
            else:
                found[name] = plugin
                continue
            warn_of_plugin(f"{self.kind} {name!r} of plug-in {plugin.origin} is left out: {reason}")
        return found

    def _own(self, name: str) -> Entry:
        if name not in self._entries:
            raise UsageError(
                f"unknown {self.kind} {name!r}; there are {', '.join(self.names)}",
                hint=suggestion(name, self.names),
            )
        return self._entries[name]

    def _load(self, plugin: Plugin) -> T_co:
        try:
            found: T_co = plugin.entry_point.load()
            problem = self._problem(found)
        except Exception as error:  # the author's code: it may fail in any way
            raise self._broken(plugin, f"{type(error).__name__}: {error}") from error
        if problem:
            raise self._broken(plugin, problem)
        return found

    def _problem(self, found: object) -> str | None:
        """Say why a plug-in's object cannot be an entry; None if it can."""
        if self._contract is None:
            return None
        contract = _imported(self._contract)
        if not (isinstance(found, type) and issubclass(found, contract)):
            return f"it does not derive from {self._contract.replace(':', '.')}"
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        return f"it does not answer {', '.join(missing)}" if missing else None

    def _broken(self, plugin: Plugin, problem: str) -> UsageError:
        return UsageError(
            f"{self.kind} {plugin.entry_point.name!r} of plug-in {plugin.origin} "
            f"cannot be loaded: {' '.join(problem.split())}",
            hint=f"update or uninstall {plugin.distribution}",
        )


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def suggestion(word: str, known: Sequence[str]) -> str | None:
    """Suggest a known word that is close to `word`: `did you mean X?`."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else None
