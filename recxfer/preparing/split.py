"""Split users or events into train, valid and test, once for all methods.

Parts are codes: 0 train, 1 valid, 2 test.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recxfer.data.schema import SplitRule
from recxfer.foundation.errors import DataError
from recxfer.foundation.files import sha256_of_text
from recxfer.foundation.names import SPLITS, TEST, TIMESTAMP, TRAIN, USER, VALID

_TRAIN, _VALID, _TEST = range(len(SPLITS))


def split_users(
    user_ids: Sequence[str],
    *,
    seed: int,
    valid_share: float,
    test_share: float,
    given: Mapping[str, int],
) -> NDArray[np.int8]:
    """Draw the part of each user.

    People are ordered by the hash of seed and id, so that their parts depend on neither the order
    of the rows nor that of the ids; the first are test, the next valid. With three people or more
    no part is empty.

    Args:
        user_ids: raw ids, in index order.
        seed: another seed, another split.
        valid_share: share of the people in the validation part.
        test_share: share of the people in the test part.
        given: parts known from a linked dataset; these people keep them, the shares hold for the
            others.
    """
    part = np.array([given.get(user, -1) for user in user_ids], dtype=np.int8)
    free: list[int] = np.flatnonzero(part < 0).tolist()
    order = sorted(free, key=lambda index: sha256_of_text(f"{seed}/{user_ids[index]}"))
    fewest = 1 if len(user_ids) >= 3 and not given else 0
    num_test = max(int(len(order) * test_share), fewest if test_share else 0)
    num_valid = max(int(len(order) * valid_share), fewest if valid_share else 0)
    part[order] = _TRAIN
    part[order[:num_test]] = _TEST
    part[order[num_test : num_test + num_valid]] = _VALID
    return part


def cut_times(
    times: NDArray[np.int64], *, valid_share: float, test_share: float
) -> tuple[int, int]:
    """Find the first times of the valid and of the test part; events of one time stay together.

    Args:
        times: time of every event, in any order; sorted in place.
        valid_share: share of the events that is valid, or a little more where times tie.
        test_share: likewise for test.

    Raises:
        DataError: the times are too few to give each part an event.
    """
    times.sort()
    last = times.size - 1
    first_test = times[min(int(times.size * (1 - test_share)), last)]
    first_valid = times[min(int(times.size * (1 - test_share - valid_share)), last)]
    if first_valid == first_test:
        earlier = times[times < first_test]
        first_valid = earlier.max(initial=times[0])
    if not times[0] < first_valid < first_test:
        raise DataError(
            "too few different times for a temporal split: train, valid and test need one each",
            hint="choose --split leave-last or users",
        )
    return int(first_valid), int(first_test)


def split_events(rule: SplitRule, part_of_user: NDArray[np.int8]) -> pl.Expr:
    """Build the part of each event: an Enum expression over whole users in time order.

    `leave-last`: the last event of a user is test, the one before valid; users with fewer than
    three events are all train, since an evaluated history must not be empty.

    Args:
        rule: the split rule, with its cuts where it is `temporal`.
        part_of_user: part of each user index.
    """
    if rule.rule == "users":
        return pl.lit(part_labels(part_of_user)).gather(pl.col(USER))
    if rule.cut_times is not None:
        first_valid, first_test = rule.cut_times
        time = pl.col(TIMESTAMP)
        test, valid = time >= first_test, time >= first_valid
    else:
        from_end = pl.len().over(USER) - 1 - pl.int_range(pl.len()).over(USER)
        long_enough = pl.len().over(USER) >= 3
        test, valid = long_enough & (from_end == 0), long_enough & (from_end == 1)
    label = (
        pl.when(test).then(pl.lit(TEST)).when(valid).then(pl.lit(VALID)).otherwise(pl.lit(TRAIN))
    )
    return label.cast(pl.Enum(SPLITS))


def part_labels(parts: NDArray[np.int8]) -> pl.Series:
    """Turn part codes into the Enum that the tables hold."""
    return pl.Series(SPLITS, dtype=pl.Enum(SPLITS)).gather(parts)
