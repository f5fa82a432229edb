"""Link people that two datasets share, found by equal raw ids."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recxfer.data.schema import DatasetInfo, Link, read_info
from recxfer.data.tables import write_table
from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.names import (
    ITEM_ID,
    ITEMS,
    LINKS,
    OTHER_USER,
    SPLIT,
    SPLITS,
    USER,
    USER_ID,
    USERS,
)
from recxfer.preparing.streams import stream_errors


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another prepared dataset, as far as its users are concerned."""

    path: Path
    info: DatasetInfo
    users: pl.DataFrame
    """`other_user | user_id | split`."""


def read_neighbours(paths: Sequence[Path]) -> list[Neighbour]:
    """Open the datasets to link to.

    Raises:
        UsageError: two of them have one name.
        DataError: one is no dataset, or damaged.
    """
    neighbours: list[Neighbour] = []
    for path in paths:
        info = read_info(path)
        if info.name in {neighbour.info.name for neighbour in neighbours}:
            raise UsageError(
                f"two linked datasets are named {info.name!r}",
                hint="prepare one under another name",
            )
        users = _read(path, USERS, [USER, USER_ID, SPLIT])
        neighbours.append(Neighbour(path, info, users.rename({USER: OTHER_USER})))
    return neighbours


def read_ids(path: Path, table: str) -> pl.Series:
    """Read the raw user or item ids of a dataset.

    Args:
        path: the dataset.
        table: `users` or `items`.
    """
    read_info(path)
    column = {USERS: USER_ID, ITEMS: ITEM_ID}[table]
    return _read(path, table, [column])[column]


def given_parts(neighbours: Sequence[Neighbour]) -> dict[str, int]:
    """Take the part of each person from the linked datasets; the one named first decides."""
    parts: dict[str, int] = {}
    for neighbour in reversed(neighbours):
        codes = neighbour.users[SPLIT].cast(pl.String).cast(pl.Enum(SPLITS)).to_physical()
        parts.update(zip(neighbour.users[USER_ID], codes, strict=True))
    return parts


def write_link(neighbour: Neighbour, users: pl.DataFrame, directory: Path, output: Path) -> Link:
    """Write `links/<name>.parquet` and return its record.

    Args:
        neighbour: the other dataset.
        users: `user | user_id` of the dataset that is being made.
        directory: where that is being made.
        output: where it will be; the record's path is relative to it.

    Raises:
        DataError: the two share nobody.
    """
    name = neighbour.info.name
    shared = users.join(neighbour.users, on=USER_ID).sort(USER).select(USER, OTHER_USER)
    if shared.is_empty():
        raise DataError(
            f"no user id occurs both in {output} and in {neighbour.path}",
            hint=f"ids look like {users[USER_ID][0]!r} and {neighbour.users[USER_ID][0]!r}; "
            "both sides need the same ids",
        )
    write_table(directory / LINKS / f"{name}.parquet", shared)
    return Link(
        name=name,
        path=os.path.relpath(neighbour.path.resolve(), output.resolve()),
        fingerprint=neighbour.info.fingerprint,
        users=shared.height,
    )


def _read(path: Path, table: str, columns: list[str]) -> pl.DataFrame:
    file = path / f"{table}.parquet"
    with stream_errors(str(file)):
        return pl.read_parquet(file, columns=columns)
