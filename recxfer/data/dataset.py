"""Open a prepared dataset: flat arrays in user order, labels, ids and links."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from recxfer.data.content import ItemContent, read_content
from recxfer.data.schema import MAX_CLASSES, DatasetInfo, Link, read_info
from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.names import (
    IMAGE_ROW,
    INTERACTIONS,
    ITEM,
    ITEM_ID,
    ITEMS,
    LINKS,
    OTHER_USER,
    SPLIT,
    SPLITS,
    TEXT,
    TIMESTAMP,
    USER,
    USER_ID,
    USERS,
)
from recxfer.foundation.registry import suggestion


@dataclass(frozen=True, slots=True)
class Events:
    """All events of a dataset, sorted by (user, time, file order). A sequence is a slice."""

    item_E: Tensor
    """int32 item index of each event, 1..items."""

    time_E: Tensor
    """int64 timestamp of each event; where the dataset has none, its rank within the user."""

    split_E: Tensor
    """int8 part of each event: 0 train, 1 valid, 2 test."""

    offset_U1: Tensor
    """int64; user u owns events offset[u] up to offset[u + 1]."""

    @property
    def num_users(self) -> int:
        """Users, 0..num_users-1."""
        return self.offset_U1.numel() - 1

    @property
    def user_E(self) -> Tensor:
        """int64 owner of each event."""
        return torch.repeat_interleave(torch.arange(self.num_users), self.offset_U1.diff())


class Dataset:
    """A dataset directory, read lazily: each table is opened when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: DatasetInfo = read_info(path)

    @property
    def num_items(self) -> int:
        """Items, 1..num_items."""
        return self.info.items

    @property
    def num_users(self) -> int:
        """Users, 0..num_users-1."""
        return self.info.users

    def scan(self, table: str) -> pl.LazyFrame:
        """Scan a table lazily: `<table>.parquet`, or the shards of `<table>/`."""
        single = self.path / f"{table}.parquet"
        shards = self.path / table
        if not single.exists() and not shards.is_dir():
            raise DataError(
                f"{self.path} lacks {single.name}", hint="the dataset is damaged; prepare it again"
            )
        return pl.scan_parquet(single if single.exists() else shards / "*.parquet")

    def read(self, table: str, columns: list[str]) -> pl.DataFrame:
        """Read columns of a table; a damaged file is a data error that names the table."""
        try:
            return self.scan(table).select(columns).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(
                f"{self.path / table}.parquet cannot be read: {error}", hint="prepare it again"
            ) from error

    @cached_property
    def events(self) -> Events:
        """The interactions as flat arrays."""
        frame = self.read(INTERACTIONS, [USER, ITEM, TIMESTAMP, SPLIT])
        counts_U = torch.bincount(to_tensor(frame[USER]).long(), minlength=self.num_users)
        return Events(
            item_E=to_tensor(frame[ITEM].cast(pl.Int32)),
            time_E=to_tensor(frame[TIMESTAMP].cast(pl.Int64)),
            split_E=to_tensor(frame[SPLIT].cast(pl.Enum(SPLITS)).to_physical().cast(pl.Int8)),
            offset_U1=torch.cat([torch.zeros(1, dtype=torch.int64), counts_U.cumsum(0)]),
        )

    def columns(self, names: Collection[str]) -> dict[str, Tensor]:
        """Return columns of all events (E), by the names of those of `History`.

        Raises:
            DataError: times are asked for, and there are none.
        """
        if "time" in names and not self.info.has_timestamps:
            raise DataError(
                f"{self.path} has no timestamps, but the backbone reads the times of events",
                hint="choose another backbone, or prepare the dataset from a log with timestamps",
            )
        return {name: getattr(self.events, f"{name}_E") for name in sorted(names)}

    @cached_property
    def user_split_U(self) -> Tensor:
        """int8 part of each user: 0 train, 1 valid, 2 test."""
        column = self.read(USERS, [SPLIT])[SPLIT]
        return to_tensor(column.cast(pl.Enum(SPLITS)).to_physical().cast(pl.Int8))

    def labels(self, column: str) -> tuple[Tensor, tuple[str, ...]]:
        """Read the class index of each user (int64, -1 where unknown) and the class names.

        Raises:
            UsageError: users.parquet has no such label column.
        """
        if column not in self.info.labels:
            known = list(self.info.labels)
            raise UsageError(
                f"{self.path} has no label column {column!r}; "
                + (f"there are {', '.join(known)}" if known else "it has none at all"),
                hint=suggestion(column, known)
                or "labels come in with: recxfer prepare --users FILE "
                f"(columns of 2 to {MAX_CLASSES:,} classes)",
            )
        classes = self.info.labels[column]
        codes = self.read(USERS, [column])[column].cast(pl.Enum(classes)).to_physical()
        return to_tensor(codes.cast(pl.Int64).fill_null(-1)), classes

    @cached_property
    def item_ids(self) -> pl.Series:
        """Raw id of each item, in index order: position 0 is item 1."""
        return self.read(ITEMS, [ITEM_ID])[ITEM_ID]

    @cached_property
    def user_ids(self) -> pl.Series:
        """Raw id of each user, in index order."""
        return self.read(USERS, [USER_ID])[USER_ID]

    @cached_property
    def content(self) -> ItemContent:
        """Texts and images of the items.

        Raises:
            DataError: the dataset has neither, or its images were never decoded.
        """
        known = [name for name in (TEXT, IMAGE_ROW) if name in self.scan(ITEMS).collect_schema()]
        return read_content(self.path, self.info, self.read(ITEMS, [ITEM, *known]))

    def link_to(self, other: "Dataset") -> Tensor:
        """Return, for each user of this dataset, the same person's index in `other`, or -1 (int64).

        Raises:
            UsageError: the two are not linked, or are one.
            DataError: `other` was prepared again since the link was made.
        """
        link = self._find_link(other)
        frame = self.read(f"{LINKS}/{link.name}", [USER, OTHER_USER])
        other_U = torch.full((self.num_users,), -1, dtype=torch.int64)
        other_U[to_tensor(frame[USER]).long()] = to_tensor(frame[OTHER_USER]).long()
        return other_U

    def _find_link(self, other: "Dataset") -> Link:
        here, there = (os.path.normpath(dataset.path) for dataset in (self, other))
        if self.info.fingerprint == other.info.fingerprint:
            raise UsageError(
                f"{here} is the base's own dataset, and the target, too; "
                "cross-domain needs two datasets that are linked",
                hint="name another one as the target, made with: "
                f"recxfer prepare SOURCE TARGET --link {there}",
            )
        for link in self.info.links:
            if link.name == other.info.name:
                if link.fingerprint != other.info.fingerprint:
                    raise DataError(
                        f"{there} has changed since {here} was linked to it",
                        hint=f"prepare {here} again with --link {there}",
                    )
                return link
        raise UsageError(
            f"{here} is not linked to {there}",
            hint=f"prepare it with: recxfer prepare SOURCE {here} --link {there}",
        )


def to_tensor(column: pl.Series) -> Tensor:
    """Copy a polars column without nulls to a tensor of the same dtype."""
    return torch.from_numpy(column.to_numpy(writable=True))
