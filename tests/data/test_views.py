"""Views: what each operator keeps, on batches of any histories, and the same for the same seed."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recxfer.data import views
from recxfer.data.history import History
from recxfer.foundation.names import MASK

ITEMS = 9
# Item 9 has no neighbour; the others have the next one, and every third a second one.
SIMILAR = torch.zeros(ITEMS + 1, 3, dtype=torch.int32)
for item in range(1, ITEMS):
    SIMILAR[item, 0] = item + 1
    SIMILAR[item, 1] = 1 if item % 3 == 0 else 0

OPERATORS = {
    "crop": lambda history, share, g: views.crop(history, max(share, 0.01), g),
    "mask": lambda history, share, g: views.mask(history, share, MASK, g),
    "reorder": views.reorder,
    "substitute": lambda history, share, g: views.substitute(history, share, SIMILAR, g),
    "insert": lambda history, share, g: views.insert(history, share, SIMILAR, g),
}

histories = st.lists(st.lists(st.integers(1, ITEMS), max_size=12), min_size=1, max_size=8)
shares = st.floats(0, 1, exclude_max=True)
seeds = st.integers(0, 999)


def batch(rows):
    length_B = torch.tensor([len(row) for row in rows])
    item_BL = torch.zeros(len(rows), max(int(length_B.max()), 1), dtype=torch.int64)
    for index, row in enumerate(rows):
        item_BL[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
    real_BL = torch.arange(item_BL.shape[1]) < length_B[:, None]
    # A time that says which event it is: the row, and the place counted from 1.
    time_BL = 100 * torch.arange(len(rows))[:, None] + torch.arange(item_BL.shape[1]) + 1
    return History(item_BL, length_B, time_BL * real_BL)


def rows_of(view, column="item_BL"):
    lengths = view.length_B.tolist()
    return [r[:length] for r, length in zip(getattr(view, column).tolist(), lengths, strict=True)]


def view_of(name, rows, share, seed=0):
    history, before = batch(rows), batch(rows)
    view = OPERATORS[name](history, share, torch.Generator().manual_seed(seed))
    for column in ("item_BL", "time_BL", "length_B"):
        assert torch.equal(getattr(history, column), getattr(before, column))
        assert getattr(view, column).dtype == torch.int64
    real_BL = torch.arange(view.item_BL.shape[1]) < view.length_B[:, None]
    assert torch.equal(view.item_BL != 0, real_BL), "padding is to the right, and only there"
    assert torch.equal(view.time_BL != 0, real_BL)
    return view


def see(name, rows, share, seed=0):
    return rows_of(view_of(name, rows, share, seed))


def places_of(view):
    """Which event of its history each event of a view is, by its time."""
    times = rows_of(view, "time_BL")
    return [[time - 100 * row - 1 for time in found] for row, found in enumerate(times)]


def rounded_up(share, length):
    return -int(-(share * length - 1e-9) // 1)


@given(histories, shares, seeds)
def test_crop_is_a_contiguous_part(rows, share, seed):
    for before, after in zip(rows, see("crop", rows, share, seed), strict=True):
        size = len(after)
        assert size == min(max(int(max(share, 0.01) * len(before) + 1e-9), 1), len(before))
        assert any(after == before[at : at + size] for at in range(len(before) - size + 1))


@given(histories, shares, seeds)
def test_mask_hides_a_share_and_never_all(rows, share, seed):
    for before, after in zip(rows, see("mask", rows, share, seed), strict=True):
        assert len(after) == len(before)
        hidden = sum(item == MASK for item in after)
        assert all(new in (old, MASK) for old, new in zip(before, after, strict=True))
        wanted = max(rounded_up(share, len(before)), 1) if share else 0
        assert hidden == min(wanted, max(len(before) - 1, 0))


@given(histories, shares, seeds)
def test_reorder_shuffles_one_span_and_leaves_the_rest(rows, share, seed):
    for before, after in zip(rows, see("reorder", rows, share, seed), strict=True):
        assert Counter(after) == Counter(before)
        moved = [at for at, pair in enumerate(zip(before, after, strict=True)) if len({*pair}) > 1]
        span = max(rounded_up(share, len(before)), 2) if share else 0
        assert not moved or moved[-1] - moved[0] < span


@given(histories, shares, seeds)
def test_substitute_draws_neighbours_and_keeps_an_event(rows, share, seed):
    for before, after in zip(rows, see("substitute", rows, share, seed), strict=True):
        assert len(after) == len(before)
        for old, new in zip(before, after, strict=True):
            assert new == old or new in SIMILAR[old].tolist()
        if before:
            assert any(old == new for old, new in zip(before, after, strict=True))


@given(histories, shares, seeds)
def test_insert_loses_nothing_and_puts_neighbours_behind(rows, share, seed):
    for before, after in zip(rows, see("insert", rows, share, seed), strict=True):
        wanted = max(rounded_up(share, len(before)), 1) if share else 0
        assert len(after) == len(before) + min(wanted, len(before))
        assert not Counter(before) - Counter(after)
        left = iter(after)
        assert all(item in left for item in before), "the order of what was there is kept"


@given(histories, shares, seeds)
def test_insert_stands_behind_what_it_resembles(rows, share, seed):
    history = batch([[item] for row in rows for item in row] or [[1]])
    view = views.insert(history, 1.0, SIMILAR, torch.Generator().manual_seed(seed))
    for (old,), (first, second) in zip(rows_of(history), rows_of(view), strict=True):
        assert first == old
        assert second in (SIMILAR[old].tolist() if SIMILAR[old].any() else [old])


@pytest.mark.parametrize("name", OPERATORS)
@given(rows=histories, share=shares, seed=seeds)
def test_no_view_of_something_is_empty_and_seeds_decide(name, rows, share, seed):
    after = see(name, rows, share, seed)
    assert after == see(name, rows, share, seed)
    assert [bool(row) for row in after] == [bool(row) for row in rows]


@pytest.mark.parametrize("name", OPERATORS)
def test_other_seeds_give_other_views(name):
    rows = [[1, 2, 3, 4, 5, 6, 7, 8]] * 4
    assert len({str(see(name, rows, 0.5, seed)) for seed in range(5)}) > 1
    assert len({str(row) for row in see(name, rows * 10, 0.5)}) > 1, "each row draws its own"


@pytest.mark.parametrize(
    ("name", "share", "one", "two"),
    [
        ("crop", 0.6, [[3]], [[3], [4]]),
        ("crop", 1.0, [[3]], [[3, 4]]),
        ("mask", 0.3, [[3]], [[MASK, 4], [3, MASK]]),
        ("mask", 0.0, [[3]], [[3, 4]]),
        ("reorder", 0.3, [[3]], [[3, 4], [4, 3]]),
        ("substitute", 0.2, [[3]], [[4, 4], [1, 4], [3, 5]]),
        ("insert", 0.2, [[3, 4], [3, 1]], [[3, 4, 4], [3, 1, 4], [3, 4, 5]]),
    ],
)
def test_histories_of_one_and_two_items(name, share, one, two):
    found = [see(name, [[3], [3, 4]], share, seed) for seed in range(40)]
    assert sorted({tuple(row) for row, _ in found}) == sorted(map(tuple, one))
    assert sorted({tuple(row) for _, row in found}) == sorted(map(tuple, two))


@given(histories, st.integers(1, 14))
def test_keep_recent_cuts_the_oldest(rows, longest):
    view = views.keep_recent(batch(rows), longest)
    assert rows_of(view) == [row[-longest:] for row in rows]
    assert places_of(view) == [list(range(len(row)))[-longest:] for row in rows]


@given(histories)
def test_halves_share_no_event(rows):
    one, other = views.halves(batch(rows))
    assert rows_of(one) == [row[0::2] for row in rows]
    assert rows_of(other) == [row[1::2] for row in rows]
    assert places_of(one) == [list(range(0, len(row), 2)) for row in rows]
    assert places_of(other) == [list(range(1, len(row), 2)) for row in rows]


@pytest.mark.parametrize("name", ["mask", "substitute"])
@given(rows=histories, share=shares, seed=seeds)
def test_what_changes_items_leaves_their_times(name, rows, share, seed):
    assert places_of(view_of(name, rows, share, seed)) == [list(range(len(row))) for row in rows]


@pytest.mark.parametrize("name", ["crop", "reorder"])
@given(rows=histories, share=shares, seed=seeds)
def test_the_time_of_an_event_goes_with_it(name, rows, share, seed):
    view = view_of(name, rows, share, seed)
    for row, places, items in zip(rows, places_of(view), rows_of(view), strict=True):
        assert items == [row[place] for place in places]
        assert len(set(places)) == len(places), "each event once"


@pytest.mark.parametrize("name", ["substitute", "insert"])
def test_what_is_hidden_has_no_neighbours(name):
    """Of composed views, one may draw behind another that has hidden items."""
    full = torch.ones_like(SIMILAR)
    full[0] = 0
    hidden = History(torch.full((20, 6), MASK), torch.full((20,), 6), torch.ones(20, 6).long())
    view = getattr(views, name)(hidden, 0.5, full, torch.Generator().manual_seed(0))
    assert (view.item_BL == MASK).all()


@given(histories, shares, seeds)
def test_an_inserted_event_has_the_time_of_the_one_it_is_put_behind(rows, share, seed):
    view = view_of("insert", rows, share, seed)
    for row, places, items in zip(rows, places_of(view), rows_of(view), strict=True):
        assert places == sorted(places)
        assert set(places) == set(range(len(row)))
        first = {place: items[places.index(place)] for place in places}
        assert [first[place] for place in range(len(row))] == row
        assert max(Counter(places).values(), default=1) <= 2
