"""Read tables beside a log: items with texts and images, users with labels."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl
from polars import selectors as cs

from recxfer.foundation.errors import DataError
from recxfer.foundation.names import IMAGE, ITEM_ID, USER_ID
from recxfer.preparing.ids import id_text
from recxfer.preparing.sources.choice import AnyFormat, choose_format
from recxfer.preparing.sources.columns import (
    ITEM_ROLE,
    ITEM_ROLES,
    USER_ROLE,
    Role,
    find_columns,
    usual_columns,
)
from recxfer.preparing.sources.contract import RawSource, source_file
from recxfer.preparing.streams import stream_errors

_KEY_ROWS: Final = 10_000
_KEY_SHARE: Final = 0.5


def with_side_tables(
    source: RawSource,
    items: Path | None,
    users: Path | None,
    *,
    columns: Mapping[str, str],
    must_describe: bool = True,
) -> RawSource:
    """Replace the item table, the user table or both of a source.

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
        source = replace(source, items=frame, files=(*source.files, source_file(items)))
    if users is not None:
        source = replace(
            source, users=_users(users, columns, source), files=(*source.files, source_file(users))
        )
    return source


def _users(path: Path, columns: Mapping[str, str], log: RawSource) -> pl.LazyFrame:
    """Collect `user_id` and all other columns."""
    frame, names, key, id = _side_table(path, USER_ROLE, columns, log)
    others = [name for name in names if name not in {key, USER_ID}]
    return frame.select(id.alias(USER_ID), *others)


def _items(path: Path, columns: Mapping[str, str], log: RawSource) -> pl.LazyFrame | None:
    """Collect `item_id` with `text`, `image` or both; None where the table has neither."""
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
    """Read a side table: its columns, the one with the ids, and these as ids."""
    format = choose_format(path)
    frame = format.table(format.files(path))
    with stream_errors(str(path)):
        names = frame.collect_schema().names()
        key = _key(path, format, frame, role, columns, log)
        return frame, names, key, format.id(key, frame)


def _key(
    path: Path,
    format: AnyFormat,
    frame: pl.LazyFrame,
    role: Role,
    columns: Mapping[str, str],
    log: RawSource,
) -> str:
    """Find the id column of a side table, which may have another name than in the log.

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
    ids = head.select(format.id(name, head) for name in head.collect_schema())
    key = _column_of_ids(ids, role.column, log.interactions)
    if key is None:
        found = "several columns that look" if usual else "no column that looks"
        raise DataError(
            f"{path} has {found} like the {role.key}: {', '.join(usual or names)}; "
            f"none of them holds the ids of {log.name}",
            hint=f"rename the column of its ids to {role.column}",
        )
    return key


def _column_of_ids(table: pl.LazyFrame, id: str, log: pl.LazyFrame) -> str | None:
    """Find the first column whose values are ids of the log for at least half.

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
