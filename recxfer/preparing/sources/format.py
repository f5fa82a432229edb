"""Formats of files that are tables: one row is an event, or an item or user of a side table."""

import glob
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import polars as pl
from typing_extensions import override

from recxfer.foundation.errors import DataError
from recxfer.foundation.names import ITEM_ID, USER_ID
from recxfer.foundation.registry import suggestion
from recxfer.preparing.ids import written_id
from recxfer.preparing.sources import SOURCES
from recxfer.preparing.sources.columns import (
    EVENT_ROLES,
    ITEM_ROLE,
    USER_ROLE,
    by_position,
    find_columns,
)
from recxfer.preparing.sources.contract import ConfigT, RawSource, Request, Source, source_file
from recxfer.preparing.streams import stream_errors

_COMPRESSIONS: Final = (".gz", ".zst")
_PLAIN_NUMBER: Final = r"^-?(0|[1-9]\d*)(\.\d+)?$"


class Format(Source[ConfigT]):
    """Read files that are tables. A concrete format says its suffixes and how files become a frame.

    Finding files, columns, ids and numbers is the same in all formats, and done here. Files of a
    format are also what `--items` and `--users` take.
    """

    takes_columns: ClassVar[bool] = True

    suffixes: ClassVar[tuple[str, ...]]
    """Lower case, with the dot; `.gz` and `.zst` may follow."""

    fields_vary: ClassVar[bool] = False
    """Whether rows say their own field names, so that files need not have the same columns."""

    @abstractmethod
    def scan(self, paths: Sequence[Path], *, header: bool) -> pl.LazyFrame:
        """Files of the same columns as one frame, rows in file order.

        Columns are text, unless the format has types. What polars raises is told as a data error.

        Args:
            paths: at least one file.
            header: False where `--columns` numbers the columns, which files without a header do;
                they are then named `1`, `2`, ...

        Raises:
            DataError: a file is empty or is no file of this format.
        """

    def id(self, name: str, frame: pl.LazyFrame) -> pl.Expr:
        """Turn column `name` of `frame` into ids: text as it was before it was written."""
        if frame.collect_schema()[name] != pl.String:
            return pl.col(name)
        return written_id(name, frame, words=True)

    @classmethod
    @override
    def recognises(cls, path: Path) -> bool:
        return not path.is_dir() and _suffix(path) in cls.suffixes

    @classmethod
    def files(cls, path: Path) -> list[Path]:
        """List the files that a file, folder or glob names, in the order of their names.

        Of a folder these are the ones with a suffix of this format, or all where none has one.

        Raises:
            DataError: nothing is there.
        """
        found = visible_files(path)
        if not found:
            raise DataError(
                f"{path} holds no file" if path.is_dir() else f"{path} does not exist",
                hint=suggestion(str(path), SOURCES.names)
                or "give a file, a folder, a glob in quotes, or a name of recxfer prepare --list",
            )
        known = [file for file in found if cls.recognises(file)] if path.is_dir() else []
        return known or found

    def table(self, paths: Sequence[Path], *, header: bool = True) -> pl.LazyFrame:
        """Scan files as one frame, once their columns are known to be the same.

        Raises:
            DataError: a file cannot be read, or has other columns than the first.
        """
        if header and not self.fields_vary and len(paths) > 1:
            first, *others = (self._column_names(path) for path in paths)
            for path, found in zip(paths[1:], others, strict=True):
                if found != first:
                    raise DataError(
                        f"{path} has columns {', '.join(found)}; "
                        f"{paths[0].name} has {', '.join(first)}",
                        hint="name the files with the events alone, by a path or a glob",
                    )
        return self._scan(paths, header=header)

    @override
    def read(self, request: Request) -> RawSource:
        """Scan the files; raw columns stay beside the canonical ones, for `--where`."""
        assert request.path is not None, "a format comes with a path"
        paths, columns = self.files(request.path), request.columns
        where = naming(paths)
        frame = self.table(paths, header=not by_position(columns))
        with stream_errors(where):
            names = frame.collect_schema().names()
            found = find_columns(names, EVENT_ROLES, (USER_ROLE, ITEM_ROLE), columns, where)
            # As numbers where they look so: `rating >= 4`.
            numbers = {name: pl.col(name).cast(pl.Float64) for name in _numbers(frame)}
            ids = {role: self.id(found[role], frame) for role in (USER_ID, ITEM_ID)}
        canonical = {role: pl.col(name) for role, name in found.items()} | ids
        return RawSource(
            name=request.path.name,
            interactions=frame.with_columns(**numbers | canonical),
            files=tuple(source_file(file) for file in paths),
            raw_names=found,
        )

    def _scan(self, paths: Sequence[Path], *, header: bool) -> pl.LazyFrame:
        with stream_errors(str(paths[0])):
            return self.scan(paths, header=header)

    def _column_names(self, path: Path) -> list[str]:
        frame = self._scan([path], header=True)
        with stream_errors(str(path)):
            return frame.collect_schema().names()


def naming(paths: Sequence[Path]) -> str:
    """Name files in a message: `a.csv and 3 more`."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{more}"


def visible_files(path: Path) -> list[Path]:
    """List the files at a path or glob, or anywhere in a folder but for hidden ones, by name."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        return [file for file in files if not _hidden(file.relative_to(path))]
    if path.exists():
        return [path]
    matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    return [file for file in matches if file.is_file()]


def _suffix(path: Path) -> str | None:
    suffixes = [suffix for suffix in path.suffixes if suffix not in _COMPRESSIONS]
    return suffixes[-1].lower() if suffixes else None


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _numbers(frame: pl.LazyFrame) -> list[str]:
    """List text columns whose first values are all plain numbers."""
    texts = [name for name, dtype in frame.collect_schema().items() if dtype == pl.String]
    sample = frame.select(texts).head(1000).collect()
    return [
        column.name
        for column in sample
        if column.null_count() < len(column) and column.str.contains(_PLAIN_NUMBER).all()
    ]
