"""RecBole atomic files: tab separated, no quoting, UTF-8, a header of `name:type`."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final, final

import polars as pl
from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.preparing.sources.contract import RawSource, Request
from recxfer.preparing.sources.delimited import Dialect, scan_delimited
from recxfer.preparing.sources.format import Format, visible_files
from recxfer.preparing.sources.side_tables import with_side_tables

_DIALECT: Final = Dialect("\t", quoted=False)
_EVENTS, _ITEMS, _USERS = ".inter", ".item", ".user"


@final
class Atomic(Format[Config]):
    """Read RecBole's `NAME.inter`, with the `NAME.item` and `NAME.user` beside it."""

    suffixes: ClassVar[tuple[str, ...]] = (_EVENTS, _ITEMS, _USERS)

    @override
    def scan(self, paths: Sequence[Path], *, header: bool) -> pl.LazyFrame:
        """Scan atomic files; columns are named without their types."""
        frame = scan_delimited(paths, _DIALECT, header=header)
        names = frame.collect_schema().names()
        return frame.rename({name: name.partition(":")[0] for name in names})

    @classmethod
    @override
    def recognises(cls, path: Path) -> bool:
        """Recognise files by suffix, and a folder with events in it, whatever else it holds."""
        return bool(_events(path)) if path.is_dir() else super().recognises(path)

    @classmethod
    @override
    def files(cls, path: Path) -> list[Path]:
        """List the files; of a folder, those with events."""
        return (_events(path) if path.is_dir() else []) or super().files(path)

    @override
    def read(self, request: Request) -> RawSource:
        source = super().read(request)
        assert request.path is not None, "a format comes with a path"
        paths = self.files(request.path)
        if len(paths) > 1:
            return source
        items, users = (_beside(paths[0], suffix) for suffix in (_ITEMS, _USERS))
        return with_side_tables(source, items, users, columns={}, must_describe=False)


def _events(folder: Path) -> list[Path]:
    return [file for file in visible_files(folder) if file.suffix == _EVENTS]


def _beside(events: Path, suffix: str) -> Path | None:
    file = events.with_suffix(suffix)
    return file if file.exists() else None
