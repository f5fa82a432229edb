"""Split a dataset as another dataset of the same people is split.

Where two datasets share events (all films, and those that were liked), the last event of a person
in one may be an ordinary training event in the other. A model that learns both would be tested
on what it was trained on.
"""

from dataclasses import dataclass

import polars as pl

from recxfer.data.dataset import Dataset
from recxfer.foundation.errors import UsageError
from recxfer.foundation.names import (
    INTERACTIONS,
    ITEM,
    ITEM_ID,
    SPLIT,
    SPLITS,
    TIMESTAMP,
    TRAIN,
    USER,
    USER_ID,
)

_CODE = "code"
_FIRST = ("first_valid", "first_test")
_EVENT = [USER_ID, ITEM_ID, TIMESTAMP]


@dataclass(frozen=True, slots=True)
class Followed:
    """Split of another dataset, in the indices of the one that is being made."""

    code: pl.DataFrame
    """`user | item | timestamp | code`: the part of each event that both have."""

    first: pl.DataFrame
    """`user | first_valid | first_test`: when each person's held-out parts begin; null: never."""

    def parts(self, events: pl.DataFrame) -> pl.Series:
        """Return the part of each event, in order.

        An event that the other dataset has is in the same part there. Others go by its times.
        """
        time = pl.col(TIMESTAMP)
        found = events.join(
            self.code, on=[USER, ITEM, TIMESTAMP], how="left", maintain_order="left"
        ).join(self.first, on=USER, how="left", maintain_order="left")
        by_time = pl.when(time >= pl.col(_FIRST[1])).then(2).when(time >= pl.col(_FIRST[0])).then(1)
        code = pl.coalesce(pl.col(_CODE), by_time.otherwise(0).cast(pl.Int8))
        # Parts follow one another in every history, also where times tie.
        return found.select(code.cum_max().over(USER)).to_series()


def follow(other: Dataset, users: pl.DataFrame, items: pl.DataFrame) -> Followed:
    """Read the split of another dataset.

    Args:
        other: the dataset to follow.
        users: `user | user_id` of the dataset that is being made.
        items: `item | item_id`, likewise.

    Raises:
        UsageError: the other dataset has no times, or holds out people and not events.
    """
    if not other.info.has_timestamps or other.info.split.rule == "users":
        reason = (
            "holds out people, whose parts are taken over anyway"
            if other.info.split.rule == "users"
            else "has no times"
        )
        raise UsageError(
            f"--split linked: {other.path} {reason}",
            hint="choose --split users" if "people" in reason else "choose another split",
        )
    events = _events(other)
    shared = events.join(users.select(USER, USER_ID), on=USER_ID)
    code = (
        shared.join(items.select(ITEM, ITEM_ID), on=ITEM_ID)
        .group_by(USER, ITEM, TIMESTAMP)
        .agg(pl.col(_CODE).max())
    )
    time = pl.col(TIMESTAMP)
    first = shared.group_by(USER).agg(
        time.filter(pl.col(_CODE) >= part).min().alias(name) for part, name in enumerate(_FIRST, 1)
    )
    return Followed(code, first)


def exposed(one: Dataset, other: Dataset) -> int:
    """Count events that one of two datasets holds out and the other trains on.

    Events are told by the ids of person and item and by time; without times there are none.
    """
    if not (one.info.has_timestamps and other.info.has_timestamps):
        return 0
    if one.info.fingerprint == other.info.fingerprint:
        return 0
    held_out = pl.col(_CODE) > SPLITS.index(TRAIN)
    both = _events(one).join(_events(other), on=_EVENT)
    apart = held_out != (pl.col(f"{_CODE}_right") > SPLITS.index(TRAIN))
    return both.filter(apart).select(_EVENT).unique().height


def _events(dataset: Dataset) -> pl.DataFrame:
    """Collect `user_id | item_id | timestamp | code` of all events."""
    frame = dataset.read(INTERACTIONS, [USER, ITEM, TIMESTAMP, SPLIT])
    return frame.select(
        dataset.user_ids.gather(frame[USER]).alias(USER_ID),
        dataset.item_ids.gather(frame[ITEM] - 1).alias(ITEM_ID),
        TIMESTAMP,
        pl.col(SPLIT).cast(pl.Enum(SPLITS)).to_physical().cast(pl.Int8).alias(_CODE),
    )
