"""Write `interactions.parquet` from coded buckets: final indices, times and parts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recxfer.data.schema import SplitRule
from recxfer.data.tables import write_parts
from recxfer.foundation.names import EVENT, ITEM, SPLIT, SPLITS, TIMESTAMP, USER, WEIGHT
from recxfer.preparing.filters import Survivors
from recxfer.preparing.intake import Intake
from recxfer.preparing.linked_split import Followed
from recxfer.preparing.split import part_labels, split_events

_INT64_MAX: Final = 2**63 - 1
_COLUMNS: Final = (USER, ITEM, TIMESTAMP, EVENT, WEIGHT, SPLIT)


@dataclass(frozen=True, slots=True)
class Index:
    """Codes to dense indices: users in the order of their ids, items in that of `item_code`."""

    user: NDArray[np.int32]
    """User index of each user code; -1 where the user is gone."""

    item: NDArray[np.int32]
    """Item index, from 1, of each item code; 0 where no event of the item stays."""

    user_code: NDArray[np.int64]
    """Code of each user index."""

    item_code: NDArray[np.int64]
    """Code of item 1, 2, ..."""


def build_index(left: Survivors, vocabulary: NDArray[np.int64] | None = None) -> Index:
    """Number what stays: items by falling frequency, of equal frequency in the order of ids.

    Args:
        left: who stays.
        vocabulary: item codes in the order of another dataset; all of them are numbered, so that
            both index items alike, whether they occur or not.
    """
    user_code = np.flatnonzero(left.user_count)
    by_count = np.argsort(-left.item_count, kind="stable")
    item_code = by_count[: np.count_nonzero(left.item_count)] if vocabulary is None else vocabulary
    user = np.full(left.user_count.size, -1, dtype=np.int32)
    item = np.zeros(left.item_count.size, dtype=np.int32)
    user[user_code] = np.arange(user_code.size)
    item[item_code] = np.arange(1, item_code.size + 1)
    item[left.item_count == 0] = 0  # of a vocabulary: excluded items keep their number, not events
    return Index(user, item, user_code, item_code)


@dataclass(slots=True)
class Tally:
    """Counts that are made while events are written."""

    by_split: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    ties: int = 0
    """Events at the same time as the event before, of the same user."""

    first_time: int = _INT64_MAX
    """Of all events."""

    last_time: int = -_INT64_MAX
    """Likewise."""

    def add(self, events: pl.DataFrame) -> None:
        """Count a part that holds whole users."""
        for part, count in events[SPLIT].value_counts().iter_rows():
            self.by_split[part] += count
        same = (pl.col(USER) == pl.col(USER).shift()) & (
            pl.col(TIMESTAMP) == pl.col(TIMESTAMP).shift()
        )
        self.ties += events.select(same.sum()).item()
        times = events[TIMESTAMP]
        self.first_time = min(self.first_time, int(times.to_numpy().min()))
        self.last_time = max(self.last_time, int(times.to_numpy().max()))


def event_times(intake: Intake, index: Index) -> NDArray[np.int64]:
    """Read the times of all events that stay, in seconds, 8 bytes each."""
    return np.concatenate(
        [events[TIMESTAMP].to_numpy() for events in _indexed_buckets(intake, index)]
    )


def write_events(
    path: Path,
    intake: Intake,
    index: Index,
    rule: SplitRule,
    part_of_user: NDArray[np.int8],
    followed: Followed | None = None,
) -> Tally:
    """Write all events that stay, sorted by (user, time, file order).

    Where the source has no times, `timestamp` counts the events of a user from 0.

    Args:
        path: the table.
        intake: the source's events.
        index: who stays.
        rule: how events are split.
        part_of_user: part of each user index.
        followed: the split that `rule` follows, where it follows one.
    """
    tally = Tally()

    def parts() -> Iterator[pl.DataFrame]:
        for events in _indexed_buckets(intake, index):
            if followed is None:
                part = split_events(rule, part_of_user)
            else:
                part = pl.lit(part_labels(followed.parts(events).to_numpy()))
            finished = events.with_columns(part.alias(SPLIT))
            finished = finished.select(name for name in _COLUMNS if name in finished.columns)
            tally.add(finished)
            yield finished

    write_parts(path, parts())
    return tally


def _indexed_buckets(intake: Intake, index: Index) -> Iterator[pl.DataFrame]:
    for bucket in intake.buckets:
        events = pl.read_parquet(bucket)
        time = (
            pl.col(TIMESTAMP) // intake.per_second
            if TIMESTAMP in intake.columns
            else pl.int_range(pl.len(), dtype=pl.Int64).over(USER)
        )
        indexed = events.with_columns(
            pl.Series(USER, index.user[events[USER].to_numpy()]),
            pl.Series(ITEM, index.item[events[ITEM].to_numpy()]),
        ).filter((pl.col(USER) >= 0) & (pl.col(ITEM) > 0))
        if not indexed.is_empty():
            yield indexed.with_columns(time.alias(TIMESTAMP))
