"""Raw files that a user has: one, a folder of them or a glob, in any of the formats known here."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import polars as pl
from polars import selectors as cs

from recxfer.data.schema import SourceFile
from recxfer.foundation.errors import DataError
from recxfer.foundation.files import sha256_of
from recxfer.foundation.names import IMAGE, ITEM_ID, USER_ID
from recxfer.foundation.registry import suggestion
from recxfer.preparing.ids import id_text, written_id
from recxfer.preparing.sources import SOURCES
from recxfer.preparing.sources.atomic import companion, scan_atomic
from recxfer.preparing.sources.columns import (
    EVENT_ROLES,
    ITEM_ROLE,
    ITEM_ROLES,
    USER_ROLE,
    Role,
    by_position,
    find_columns,
    usual_columns,
)
from recxfer.preparing.sources.contract import RawSource
from recxfer.preparing.sources.delimited import scan_delimited, scan_json_lines, sniff
from recxfer.preparing.sources.movielens import read_movielens_at
from recxfer.preparing.streams import stream_errors

_Format = Literal["delimited", "parquet", "json lines", "atomic"]

_FORMATS: Final[Mapping[str, _Format]] = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".txt": "delimited",
    ".dat": "delimited",
    ".data": "delimited",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".json": "json lines",
    ".inter": "atomic",
    ".item": "atomic",
    ".user": "atomic",
}
_COMPRESSIONS: Final = (".gz", ".zst")
_KEY_ROWS: Final = 10_000
_KEY_SHARE: Final = 0.5
_PLAIN_NUMBER: Final = r"^-?(0|[1-9]\d*)(\.\d+)?$"


@dataclass(frozen=True, slots=True)
class _Files:
    """Files of one format and one set of columns, in reading order."""

    paths: Sequence[Path]
    format: _Format

    @property
    def name(self) -> str:
        """The files, for messages."""
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"{self.paths[0]}{more}"

    def scan(self, *, header: bool = True) -> pl.LazyFrame:
        """The files as one frame; all columns are text but for Parquet.

        Args:
            header: False where delimited files have none; columns are then named `1`, `2`, ...

        Raises:
            DataError: a file cannot be read, or has other columns than the first.
        """
        if header and self.format != "json lines":
            first, *others = (self._column_names(path) for path in self.paths)
            for path, found in zip(self.paths[1:], others, strict=True):
                if found != first:
                    raise DataError(
                        f"{path} has columns {', '.join(found)}; "
                        f"{self.paths[0].name} has {', '.join(first)}",
                        hint="name the files with the events alone, by a path or a glob",
                    )
        return self._scan(self.paths, header=header)

    def id(self, name: str, frame: pl.LazyFrame) -> pl.Expr:
        """An id column of these files, which are `frame`, as `id_text` takes it."""
        if frame.collect_schema()[name] != pl.String or self.format == "parquet":
            return pl.col(name)
        # JSON has a null of its own: there, these words are ids.
        return written_id(name, frame, words=self.format != "json lines")

    def _scan(self, paths: Sequence[Path], *, header: bool) -> pl.LazyFrame:
        with stream_errors(str(paths[0])):
            if self.format == "parquet":
                return pl.scan_parquet(list(paths), hive_partitioning=False)
            if self.format == "json lines":
                return scan_json_lines(paths)
            if self.format == "atomic":
                return scan_atomic(paths)
            return scan_delimited(paths, sniff(paths[0]), header=header)

    def _column_names(self, path: Path) -> list[str]:
        frame = self._scan([path], header=True)
        with stream_errors(str(path)):
            return frame.collect_schema().names()


def read_path(path: str, columns: Mapping[str, str]) -> RawSource:
    """Interactions from a file, a folder or a glob.

    A folder or zip of MovieLens is recognised by its file names; a RecBole `.inter` file brings
    the `.item` and `.user` files beside it.

    Args:
        path: what the user gave as SOURCE.
        columns: `--columns`, by role key.

    Raises:
        DataError: nothing is there, the files do not fit together, or a column is missing.
    """
    if Path(path).exists() and not columns and (movielens := read_movielens_at(Path(path))):
        return movielens
    files = _find(path)
    frame = files.scan(header=not by_position(columns))
    with stream_errors(files.name):
        names = frame.collect_schema().names()
        found = find_columns(names, EVENT_ROLES, (USER_ROLE, ITEM_ROLE), columns, files.name)
        numbers = {name: pl.col(name).cast(pl.Float64) for name in _numbers(frame)}
        ids = {role: files.id(found[role], frame) for role in (USER_ID, ITEM_ID)}
    canonical = {role: pl.col(name) for role, name in found.items()} | ids
    source = RawSource(
        name=Path(path).name,
        # Raw columns stay beside the canonical ones, as numbers where they look so: for --where.
        interactions=frame.with_columns(**numbers | canonical),
        files=tuple(_record(file) for file in files.paths),
        raw_names=found,
    )
    if files.format == "atomic" and len(files.paths) == 1:
        source = with_side_tables(
            source,
            companion(files.paths[0], ".item"),
            companion(files.paths[0], ".user"),
            columns={},
            must_describe=False,
        )
    return source


def with_side_tables(
    source: RawSource,
    items: Path | None,
    users: Path | None,
    *,
    columns: Mapping[str, str],
    must_describe: bool = True,
) -> RawSource:
    """The source with an item table, a user table or both in the place of its own.

    Args:
        source: the interactions.
        items: item id with a text, an image or both.
        users: user id with label columns.
        columns: `--columns`, by role key.
        must_describe: whether an item table without text and image is an error.

    Raises:
        DataError: the ids are missing, or what else is needed.
    """
    if items is not None:
        frame = _items(items, columns, source)
        if frame is None and must_describe:
            raise DataError(
                f"{items} has no column that looks like a text or an image of the item",
                hint="name it: --columns text=NAME or image=NAME",
            )
        source = replace(source, items=frame, files=(*source.files, _record(items)))
    if users is not None:
        source = replace(
            source, users=_users(users, columns, source), files=(*source.files, _record(users))
        )
    return source


def _users(path: Path, columns: Mapping[str, str], log: RawSource) -> pl.LazyFrame:
    """`user_id` and all other columns."""
    frame, names, key, id = _side_table(path, USER_ROLE, columns, log)
    others = [name for name in names if name not in {key, USER_ID}]
    return frame.select(id.alias(USER_ID), *others)


def _items(path: Path, columns: Mapping[str, str], log: RawSource) -> pl.LazyFrame | None:
    """`item_id` with `text`, `image` or both; None where the table has neither."""
    frame, names, _, id = _side_table(path, ITEM_ROLE, columns, log)
    found = find_columns(names, ITEM_ROLES, (), columns, str(path))
    if not found:
        return None
    described = (pl.col(name).alias(canonical) for canonical, name in found.items())
    frame = frame.select(id.alias(ITEM_ID), *described)
    if IMAGE in found:
        # A path in the table is relative to the table, as in a web page.
        folder = str(path.parent.resolve())
        image = pl.col(IMAGE)
        absolute = pl.when(image.str.starts_with("/")).then(image)
        frame = frame.with_columns(
            absolute.otherwise(pl.format(folder + "/{}", image)).alias(IMAGE)
        )
    return frame


def _side_table(
    path: Path, role: Role, columns: Mapping[str, str], log: RawSource
) -> tuple[pl.LazyFrame, list[str], str, pl.Expr]:
    """A side table, its columns, the one with the ids, and these as ids."""
    files = _find(str(path))
    frame = files.scan()
    with stream_errors(str(path)):
        names = frame.collect_schema().names()
        key = _key(files, frame, role, columns, log)
        return frame, names, key, files.id(key, frame)


def _record(path: Path) -> SourceFile:
    with stream_errors(str(path)):
        return SourceFile(name=path.name, sha256=sha256_of(path))


def _key(
    files: _Files, frame: pl.LazyFrame, role: Role, columns: Mapping[str, str], log: RawSource
) -> str:
    """The id column of a side table, which may have another name than in the log.

    The name that `--columns` gives for the log, where the table has it; else a usual name; else
    the first column that holds ids of the log.

    Raises:
        DataError: there is none, or several have a usual name and none holds ids of the log.
    """
    names = frame.collect_schema().names()
    told = columns.get(role.key)
    if told in names:
        return str(told)
    usual = usual_columns(role, names)
    if len(usual) == 1:
        return usual[0]
    head = frame.select(usual or names).drop(cs.nested() | cs.binary()).head(_KEY_ROWS)
    ids = head.select(files.id(name, head) for name in head.collect_schema())
    key = _column_of_ids(ids, role.column, log.interactions)
    if key is None:
        found = "several columns that look" if usual else "no column that looks"
        raise DataError(
            f"{files.name} has {found} like the {role.key}: {', '.join(usual or names)}; "
            f"none of them holds the ids of {log.name}",
            hint=f"rename the column of its ids to {role.column}",
        )
    return key


def _column_of_ids(table: pl.LazyFrame, id: str, log: pl.LazyFrame) -> str | None:
    """The first column whose values are ids of the log for at least half.

    A column that repeats its values describes, whatever they are: ages may look like ids.
    """
    schema = table.collect_schema()
    if not schema:
        return None
    texts = table.select(id_text(name, schema) for name in schema).collect()
    values = pl.concat([column.alias(id) for column in texts]).drop_nulls().unique()
    ids = log.select(id_text(id, log.collect_schema())).unique()
    known = ids.join(values.to_frame().lazy(), on=id).collect(engine="streaming")[id]
    for column in texts:
        distinct = column.drop_nulls().unique()
        found = int(distinct.is_in(known.implode()).sum())
        if found and found >= _KEY_SHARE * len(distinct) and len(distinct) >= len(column) / 2:
            return column.name
    return None


def _numbers(frame: pl.LazyFrame) -> list[str]:
    """Text columns whose first values are all plain numbers."""
    texts = [name for name, dtype in frame.collect_schema().items() if dtype == pl.String]
    sample = frame.select(texts).head(1000).collect()
    return [
        column.name
        for column in sample
        if column.null_count() < len(column) and column.str.contains(_PLAIN_NUMBER).all()
    ]


def _find(path: str) -> _Files:
    """The files that a path or glob stands for, in the order of their names."""
    folder = Path(path)
    if folder.suffix == ".zip" and folder.exists():
        raise DataError(
            f"{path} is a zip; only MovieLens is read from one", hint="unpack it, and give a file"
        )
    if folder.is_dir():
        paths = [file for file in sorted(folder.rglob("*")) if _format(file) and file.is_file()]
        paths = [file for file in paths if not _hidden(file.relative_to(folder))]
        if inter := [file for file in paths if file.suffix == ".inter"]:
            paths = inter
        nothing = f"{path} holds no csv, tsv, parquet, jsonl or .inter file"
    elif folder.exists():
        paths, nothing = [folder], ""
    else:
        paths = [Path(name) for name in sorted(glob.glob(path, recursive=True))]  # noqa: PTH207
        paths = [file for file in paths if file.is_file()]
        nothing = f"{path} does not exist, and is no source by name"
    if not paths:
        raise DataError(
            nothing,
            hint=suggestion(path, SOURCES.names)
            or f"give a file, a folder, a glob in quotes, or {', '.join(SOURCES.names)}",
        )
    formats = {_format(file) or "delimited" for file in paths}
    if len(formats) > 1:
        raise DataError(
            f"{path} mixes formats: {', '.join(sorted(formats))}", hint="name one of them by a glob"
        )
    return _Files(paths, formats.pop())


def _format(path: Path) -> _Format | None:
    suffixes = [suffix for suffix in path.suffixes if suffix not in _COMPRESSIONS]
    return _FORMATS.get(suffixes[-1].lower()) if suffixes else None


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)
