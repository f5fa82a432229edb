"""Choose the users and items that stay: vocabulary, exclusions, iterated k-core, in two flat
arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recxfer.foundation.names import ITEM, USER

OUTSIDE_VOCABULARY: Final = "item outside the vocabulary"
EXCLUDED_USER: Final = "excluded user"
EXCLUDED_ITEM: Final = "excluded item"
FEW_USER_EVENTS: Final = "user with too few events"
FEW_ITEM_EVENTS: Final = "item with too few events"


@dataclass(frozen=True, slots=True)
class Survivors:
    """The users and items that stay, and how often each occurs."""

    user_count: NDArray[np.int64]
    """Events of each user code; 0 where the user is gone."""

    item_count: NDArray[np.int64]
    """Events of each item code; 0 where the item is gone."""

    dropped: dict[str, int]
    """Events left out, by reason."""

    @property
    def events(self) -> int:
        """Events kept."""
        return int(self.user_count.sum())


def survivors(
    buckets: Sequence[Path],
    *,
    in_vocabulary: NDArray[np.bool_],
    keep_user: NDArray[np.bool_],
    keep_item: NDArray[np.bool_],
    min_user_events: int,
    min_item_events: int,
) -> Survivors:
    """Remove unknown items, then the excluded, then what has too few events until none is left.

    An event of an excluded user counts for that, not for its item; likewise in each round of the
    k-core, where users and items fall together and counts are taken anew.

    Args:
        buckets: Parquet files with `user` and `item` codes.
        in_vocabulary: False for item codes that cannot be indexed.
        keep_user: False for excluded user codes.
        keep_item: False for excluded item codes.
        min_user_events: fewest events of a user that stays.
        min_item_events: fewest events of an item that stays.
    """
    reasons = (EXCLUDED_USER, EXCLUDED_ITEM)
    dropped = dict.fromkeys((OUTSIDE_VOCABULARY, *reasons, FEW_USER_EVENTS, FEW_ITEM_EVENTS), 0)
    user_count, item_count = _count(buckets, keep_user | True, keep_item | True)
    if not in_vocabulary.all():
        dropped[OUTSIDE_VOCABULARY] = int(item_count[~in_vocabulary].sum())
        user_count, item_count = _count(buckets, keep_user | True, in_vocabulary)
        keep_item = keep_item & in_vocabulary
    while True:
        before, of_users = user_count.sum(), user_count[~keep_user].sum()
        if of_users + item_count[~keep_item].sum() > 0:
            user_count, item_count = _count(buckets, keep_user, keep_item)
            dropped[reasons[0]] += int(of_users)
            dropped[reasons[1]] += int(before - of_users - user_count.sum())
        elif reasons == (FEW_USER_EVENTS, FEW_ITEM_EVENTS):
            break
        reasons = (FEW_USER_EVENTS, FEW_ITEM_EVENTS)
        keep_user, keep_item = user_count >= min_user_events, item_count >= min_item_events
    return Survivors(user_count, item_count, {name: n for name, n in dropped.items() if n})


def _count(
    buckets: Sequence[Path], keep_user: NDArray[np.bool_], keep_item: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count events of each user and of each item, where both are kept."""
    user_count = np.zeros(keep_user.size, dtype=np.int64)
    item_count = np.zeros(keep_item.size, dtype=np.int64)
    for bucket in buckets:
        events = pl.read_parquet(bucket, columns=[USER, ITEM])
        user, item = events[USER].to_numpy(), events[ITEM].to_numpy()
        kept = keep_user[user] & keep_item[item]
        user_count += np.bincount(user[kept], minlength=keep_user.size)
        item_count += np.bincount(item[kept], minlength=keep_item.size)
    return user_count, item_count
