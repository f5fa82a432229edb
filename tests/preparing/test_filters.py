"""Exclusions and the k-core, against the plain definition."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from recxfer.preparing.filters import (
    EXCLUDED_ITEM,
    EXCLUDED_USER,
    FEW_ITEM_EVENTS,
    FEW_USER_EVENTS,
    OUTSIDE_VOCABULARY,
    survivors,
)


def write_buckets(directory, pairs):
    """Two buckets, divided by user."""
    frame = pl.DataFrame(pairs, schema={"user": pl.Int32, "item": pl.Int32}, orient="row")
    paths = []
    for name, part in (("a", pl.col("user") < 3), ("b", pl.col("user") >= 3)):
        frame.filter(part).write_parquet(directory / name)
        paths.append(directory / name)
    return paths


def run(directory, pairs, *, unknown=(), no_user=(), no_item=(), users=1, items=1):
    size = 8
    return survivors(
        write_buckets(directory, pairs),
        in_vocabulary=~np.isin(np.arange(size), unknown),
        keep_user=~np.isin(np.arange(size), no_user),
        keep_item=~np.isin(np.arange(size), no_item),
        min_user_events=users,
        min_item_events=items,
    )


def test_nothing_falls_without_filters(tmp_path):
    left = run(tmp_path, [(0, 0), (0, 1), (5, 1)])
    assert left.events == 3
    assert left.dropped == {}
    assert left.user_count.tolist() == [2, 0, 0, 0, 0, 1, 0, 0]


def test_an_excluded_user_counts_before_an_excluded_item(tmp_path):
    left = run(tmp_path, [(0, 0), (0, 1), (1, 0), (1, 1)], no_user=[0], no_item=[0])
    assert left.dropped == {EXCLUDED_USER: 2, EXCLUDED_ITEM: 1}
    assert left.events == 1


def test_items_outside_the_vocabulary_fall_first(tmp_path):
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 2)]
    left = run(tmp_path, pairs, unknown=[2], no_user=[0], no_item=[0], users=2)
    # Users 1 and 2 are left with one event each: what fell before does not count for them.
    assert left.dropped == {
        OUTSIDE_VOCABULARY: 3,
        EXCLUDED_USER: 2,
        EXCLUDED_ITEM: 1,
        FEW_USER_EVENTS: 2,
    }
    assert left.events == 0


def test_the_core_is_iterated(tmp_path):
    # Item 2 falls, then user 1 with it, then item 1: one round would have kept them.
    pairs = [(0, 0), (0, 3), (4, 0), (4, 3), (1, 1), (1, 2), (5, 1), (5, 3), (5, 0)]
    left = run(tmp_path, pairs, users=2, items=2)
    assert np.flatnonzero(left.user_count).tolist() == [0, 4, 5]
    assert np.flatnonzero(left.item_count).tolist() == [0, 3]
    assert left.dropped == {FEW_ITEM_EVENTS: 2, FEW_USER_EVENTS: 1}


def core(pairs, users, items):
    """The definition: drop rows one at a time while any user or item is below its minimum."""
    pairs = list(pairs)
    while True:
        for pair in pairs:
            of_user = sum(other[0] == pair[0] for other in pairs)
            of_item = sum(other[1] == pair[1] for other in pairs)
            if of_user < users or of_item < items:
                pairs.remove(pair)
                break
        else:
            return pairs


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=40),
    users=st.integers(1, 4),
    items=st.integers(1, 4),
)
def test_the_core_is_the_largest_that_meets_both_minima(tmp_path_factory, pairs, users, items):
    left = run(tmp_path_factory.mktemp("core"), pairs, users=users, items=items)
    expected = core(pairs, users, items)
    assert left.user_count.tolist() == [sum(p[0] == u for p in expected) for u in range(8)]
    assert left.item_count.tolist() == [sum(p[1] == i for p in expected) for i in range(8)]
    assert left.events + sum(left.dropped.values()) == len(pairs)
