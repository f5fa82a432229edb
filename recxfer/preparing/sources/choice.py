"""Choose the source that `NAME`, `NAME:PATH` or `PATH` stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from recxfer.foundation.errors import DataError, UsageError
from recxfer.preparing.sources import SOURCES
from recxfer.preparing.sources.contract import AnySource
from recxfer.preparing.sources.format import Format, visible_files

AnyFormat: TypeAlias = Format[Any]
_UNRECOGNISED: Final = "delimited"
"""What a file is whose name says nothing: `u.data.backup`, `ratings`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A source, and what it is to read."""

    name: str
    """Its name in `SOURCES`."""

    source: type[AnySource]
    path: Path | None
    """None where the name stands alone."""


def choose(source: str, columns: Mapping[str, str]) -> Choice:
    """Understand what the user gave as SOURCE.

    A path that exists is a path, whatever is in its name, but for a source that stands alone
    (`synthetic`), whose name it is first of all. That nothing is at a path is found when it is
    read.

    Args:
        source: `NAME`, `NAME:PATH` or `PATH`.
        columns: `--columns`: tells that the files are tables.

    Raises:
        UsageError: a source stands with a path that it does not take, or without one it needs.
        DataError: a path is of no single format.
    """
    name, colon, place = source.partition(":")
    path = Path(source)
    if name not in SOURCES or (colon and path.exists()):
        return _recognised(path, columns)
    named = SOURCES.resolve(name)
    if colon:
        if named.path == "refused":
            raise UsageError(f"{source}: {name} reads no files", hint=f"write {name} alone")
        if not place:
            raise UsageError(f"{source} names no path", hint=f"write {name}:PATH")
        return Choice(name, named, Path(place))
    if named.path != "required":
        return Choice(name, named, None)
    if path.exists():
        return _recognised(path, columns)
    raise UsageError(f"{name} says how a file is read, but not which", hint=f"write {name}:PATH")


def choose_format(path: Path) -> AnyFormat:
    """Choose the format, with its default settings, of a file, a folder or a glob.

    Raises:
        DataError: it is of no single format.
    """
    _, format = _format(path)
    return format(format.config_type())


def _recognised(path: Path, columns: Mapping[str, str]) -> Choice:
    if path.exists():
        for entry in SOURCES:
            source = SOURCES.resolve(entry.name)
            if (source.takes_columns or not columns) and source.recognises(path):
                return Choice(entry.name, source, path)
    name, format = _format(path)
    return Choice(name, format, path)


def _format(path: Path) -> tuple[str, type[AnyFormat]]:
    """Choose the format of the files at a path, by the names of these files."""
    sources = {entry.name: SOURCES.resolve(entry.name) for entry in SOURCES}
    formats = {name: source for name, source in sources.items() if issubclass(source, Format)}
    if path.suffix == ".zip" and path.exists():
        raise DataError(
            f"{path} is a zip that no source recognises", hint="unpack it, and give a file"
        )
    if path.is_dir():
        for name, format in formats.items():
            if format.recognises(path):
                return name, format
    found = {
        next((name for name, format in formats.items() if format.recognises(file)), None)
        for file in visible_files(path)
    }
    if path.is_dir():
        known = {name for name in found if name}  # beside others, which are not read
    else:  # a file that is named alone, or by a glob, is meant whatever its name; or none is there
        known = {name or _UNRECOGNISED for name in found} or {_UNRECOGNISED}
    if not known:
        told = [name for name, format in formats.items() if format.suffixes]
        raise DataError(
            f"{path} holds no file that is {', '.join(told)} by its name",
            hint="say what the files are: FORMAT:PATH",
        )
    if len(known) > 1:
        raise DataError(
            f"{path} mixes formats: {', '.join(sorted(known))}",
            hint="name one of them by a glob, or as FORMAT:PATH",
        )
    (name,) = known
    return name, formats[name]
