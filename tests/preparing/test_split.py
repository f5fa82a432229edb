"""The split rules, alone."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recxfer.data.schema import SplitRule
from recxfer.foundation.errors import DataError
from recxfer.preparing.split import cut_times, split_events, split_users

SHARES = {"valid_share": 0.1, "test_share": 0.1}
LEAVE_LAST = SplitRule(rule="leave-last", **SHARES)


def parts(users, rule=LEAVE_LAST, times=None, part_of_user=()):
    times = range(len(users)) if times is None else times
    frame = pl.DataFrame(
        {"user": pl.Series(users, dtype=pl.Int32), "timestamp": pl.Series(times, dtype=pl.Int64)}
    )
    code = split_events(rule, np.array(part_of_user, dtype=np.int8))
    return frame.select(code).to_series().cast(pl.String).to_list()


def test_leave_last_gives_one_test_and_one_valid_event():
    assert parts([0, 0, 0, 0, 1, 1, 1]) == [
        "train",
        "train",
        "valid",
        "test",
        "train",
        "valid",
        "test",
    ]


def test_leave_last_leaves_short_users_in_train():
    assert parts([0, 0, 1, 2, 2, 2]) == ["train", "train", "train", "train", "valid", "test"]


def test_temporal_cuts_all_users_at_one_time():
    rule = SplitRule(rule="temporal", cut_times=(10, 20), **SHARES)
    assert parts([0, 0, 0, 1, 1], rule, times=[9, 10, 20, 19, 21]) == [
        "train",
        "valid",
        "test",
        "valid",
        "test",
    ]


def test_users_keeps_a_person_together():
    rule = SplitRule(rule="users", **SHARES)
    assert parts([0, 0, 1, 2, 2], rule, part_of_user=[2, 0, 1]) == [
        "test",
        "test",
        "train",
        "valid",
        "valid",
    ]


@given(
    times=st.lists(st.integers(0, 1000), min_size=1, max_size=300),
    share=st.sampled_from([0.1, 0.2, 0.3]),
)
def test_cuts_keep_the_shares_but_for_ties(times, share):
    array = np.array(times, dtype=np.int64)
    try:
        first_valid, first_test = cut_times(array, valid_share=share, test_share=share)
    except DataError:
        return
    of_test = (array >= first_test).sum()
    tied = (array == first_test).sum()
    assert share * len(times) <= of_test <= share * len(times) + tied + 1
    assert (array < first_valid).any()
    assert ((array >= first_valid) & (array < first_test)).any()


def test_one_time_cannot_be_cut():
    with pytest.raises(DataError, match="too few different times"):
        cut_times(np.zeros(50, dtype=np.int64), **SHARES)


def users(count):
    return [f"u{number}" for number in range(count)]


def test_people_are_divided_by_share():
    part = split_users(users(1000), seed=0, **SHARES, given={})
    assert np.bincount(part).tolist() == [800, 100, 100]


@given(st.permutations(users(30)))
def test_a_persons_part_does_not_depend_on_the_order(order):
    expected = dict(zip(users(30), split_users(users(30), seed=3, **SHARES, given={}), strict=True))
    found = dict(zip(order, split_users(order, seed=3, **SHARES, given={}), strict=True))
    assert found == expected


def test_another_seed_another_split():
    one, other = (split_users(users(100), seed=seed, **SHARES, given={}) for seed in (0, 1))
    assert (one != other).any()


def test_three_people_fill_three_parts():
    assert sorted(split_users(users(3), seed=0, **SHARES, given={})) == [0, 1, 2]


def test_people_of_a_linked_dataset_keep_their_part():
    given_parts = {"u0": 2, "u1": 1, "stranger": 2}
    part = split_users(users(42), seed=0, **SHARES, given=given_parts)
    assert part[:2].tolist() == [2, 1]
    assert np.bincount(part[2:]).tolist() == [32, 4, 4]
