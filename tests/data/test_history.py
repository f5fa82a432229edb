"""Histories: every operation goes over all columns alike, and leaves padding behind."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recxfer.data import examples
from recxfer.data.dataset import Dataset
from recxfer.data.history import COLUMNS, History, joined
from recxfer.data.rows import Rows
from recxfer.data.view_choice import ViewConfig, Views
from recxfer.foundation.errors import DataError

LISTS = st.lists(st.lists(st.integers(1, 9), max_size=7), min_size=1, max_size=6)


def history_of(rows):
    """Items, and times that say which event it is: 100 times the row, and the place from 1."""
    timed = [[100 * n + place + 1 for place in range(len(row))] for n, row in enumerate(rows)]
    longest = max(1, *map(len, rows)) if len(rows) > 1 else max(1, len(rows[0]))
    item_BL, time_BL = (
        torch.tensor([row + [0] * (longest - len(row)) for row in some]) for some in (rows, timed)
    )
    return History(item_BL, torch.tensor([len(row) for row in rows]), time_BL)


def events_of(history):
    """Pairs of item and time, by row; what is behind them must be padding."""
    found = []
    for item_L, time_L, length in zip(
        history.item_BL, history.time_BL, history.length_B.tolist(), strict=True
    ):
        assert not item_L[length:].any()
        assert not time_L[length:].any()
        found.append(list(zip(item_L[:length].tolist(), time_L[:length].tolist(), strict=True)))
    return found


def test_columns_are_the_fields_named_for_them():
    """One more field named so is one more column, everywhere."""
    assert COLUMNS == {"item": "item_BL", "time": "time_BL"}
    assert {*COLUMNS.values(), "length_B"} == {field.name for field in fields(History)}
    alone = History(torch.tensor([[3, 0]]), torch.tensor([1]))
    assert alone.columns.keys() == {"item_BL"}
    assert alone.append(5).trim().to(torch.device("cpu")).time_BL is None


@given(LISTS, st.integers(0, 99))
def test_rows_are_taken_split_and_joined_with_all_that_is_known(rows, seed):
    history = history_of(rows)
    expected = events_of(history)
    row_C = torch.randint(len(rows), (5,), generator=torch.Generator().manual_seed(seed))
    assert events_of(history.take(row_C)) == [expected[row] for row in row_C.tolist()]
    for size in (1, 2, len(rows)):
        parts = history.split(size)
        assert [len(part.length_B) for part in parts[:-1]] == [size] * (len(parts) - 1)
        assert [row for part in parts for row in events_of(part)] == expected
        whole = joined([part.trim() for part in parts])
        assert events_of(whole) == expected
        assert whole.item_BL.shape == history.item_BL.shape


@given(LISTS)
def test_events_are_dropped_kept_and_put_behind(rows):
    history = history_of(rows)
    expected = events_of(history)
    assert events_of(history.first(history.length_B // 2)) == [
        row[: len(row) // 2] for row in expected
    ]
    shorter = history.without_last()
    assert events_of(shorter) == [row[:-1] for row in expected]
    assert shorter.item_BL.shape[1] == history.item_BL.shape[1] - 1
    # The time of an event that is put behind is that of the last one, or none.
    assert events_of(history.append(11)) == [
        [*row, (11, row[-1][1] if row else 0)] for row in expected
    ]
    assert events_of(history) == expected, "nothing is written to"


@given(LISTS)
def test_places_are_gathered(rows):
    history = history_of(rows)
    place_BL = (history.length_B[:, None] - 1 - torch.arange(history.item_BL.shape[1])).clamp(min=0)
    assert events_of(history.gather(place_BL, history.length_B)) == [
        row[::-1] for row in events_of(history)
    ]
    first = history.gather(torch.tensor([0]), history.length_B.clamp(max=1))
    assert events_of(first) == [row[:1] for row in events_of(history)]


def test_trim_keeps_one_place():
    assert history_of([[]]).trim().item_BL.shape == (1, 1)
    assert history_of([[1, 2], [3]]).take(torch.tensor([1])).trim().item_BL.tolist() == [[3]]


def numbered(lengths):
    """Rows whose events have distinct items, and the time 10 times the item."""
    length_R = torch.tensor(lengths)
    item_E = torch.arange(1, int(length_R.sum()) + 1)
    columns = {"item": item_E.int(), "time": 10 * item_E}
    return Rows(columns, length_R.cumsum(0) - length_R, length_R, torch.arange(len(lengths)))


def test_a_batch_has_the_columns_of_its_rows():
    rows = numbered([2, 0, 3]).take(torch.tensor([2, 1, 0]))
    history = rows.batch(torch.tensor([0, 2, 1])).to(torch.device("cpu")).history
    assert history.item_BL.tolist() == [[3, 4, 5], [1, 2, 0], [0, 0, 0]]
    assert history.time_BL.tolist() == [[30, 40, 50], [10, 20, 0], [0, 0, 0]]
    assert history.time_BL.dtype == torch.int64


@pytest.mark.parametrize("mix", ["choose", "compose"])
@pytest.mark.parametrize("names", ["crop", "dropout,crop,reorder", "mask,substitute,crop,reorder"])
def test_times_go_through_drawn_views(names, mix):
    rows = numbered([2, 9, 5, 1, 7, 12] * 5)
    made = Views(ViewConfig(views=names, mix=mix), rows, int(rows.item_E.max()), longest=8)
    before = rows.batch(torch.arange(len(rows))).history
    view = made.draw(before, torch.Generator().manual_seed(0))
    known_BL = view.item_BL > 0
    assert torch.equal(view.time_BL != 0, view.real_BL)
    if "substitute" not in names:
        assert torch.equal(view.time_BL[known_BL], 10 * view.item_BL[known_BL])
    for had_L, has_L in zip(before.time_BL.tolist(), view.time_BL.tolist(), strict=True):
        assert set(has_L) <= {*had_L, 0}
    assert view.item_BL.shape[1] <= 8


def test_each_kind_of_rows_carries_times_and_no_others_unasked(films, books):
    source, target = Dataset(films), Dataset(books)
    asked = {"item", "time"}
    events = source.events
    for rows in (
        examples.next_item_training(source, 5, asked),
        examples.next_item_cases(source, "test", 5, asked),
        examples.profile_rows(source, "taste", "train", 5, asked),
        *examples.hold_out_users(source, examples.next_item_training(source, 5, asked), 5),
        examples.cross_domain_rows(source, target, "train", 5, asked),
        examples.every_user(source, 5, target, asked),
    ):
        history = rows.batch(torch.arange(len(rows))).history
        index_BL = rows.start_R[:, None] + torch.arange(history.item_BL.shape[1])
        real_BL = history.real_BL
        assert torch.equal(history.time_BL[real_BL], events.time_E[index_BL[real_BL]])
        assert torch.equal(history.item_BL[real_BL], events.item_E[index_BL[real_BL]].long())
        assert not history.time_BL[~real_BL].any()
    unasked = examples.next_item_training(source, 5)
    assert unasked.columns.keys() == {"item"}
    assert unasked.batch(torch.tensor([0])).history.time_BL is None


def test_times_that_a_dataset_has_not_are_refused(films, monkeypatch):
    dataset = Dataset(films)
    dataset.info = dataset.info.model_copy(update={"has_timestamps": False})
    assert dataset.columns({"item"}).keys() == {"item"}
    with pytest.raises(DataError, match="has no timestamps, but the backbone reads"):
        examples.next_item_training(dataset, 5, {"item", "time"})
