"""Choosing and composing views, and how they are named on a command line."""

import pytest
import torch
from pydantic import ValidationError

from recxfer.data.batches import training_batches
from recxfer.data.rows import Rows
from recxfer.data.similarity import NEIGHBOURS, similar_items
from recxfer.data.view_choice import ViewConfig, Views
from recxfer.foundation.names import MASK

HISTORIES = [[1, 2, 3, 4], [1, 2, 5, 6], [5, 6, 1, 2], [7, 8, 7, 8], [9, 9, 9, 9]]


def rows_of(histories):
    length_R = torch.tensor([len(history) for history in histories])
    return Rows(
        columns={"item": torch.tensor([item for history in histories for item in history]).int()},
        start_R=length_R.cumsum(0) - length_R,
        length_R=length_R,
        user_R=torch.arange(len(histories)),
    )


def drawn(seed=0, longest=20, **settings):
    rows = rows_of(HISTORIES)
    made = Views(ViewConfig(**settings), rows, 9, longest)
    batch = rows.batch(torch.arange(len(rows)).repeat(40))
    generator = torch.Generator().manual_seed(seed)
    view = made.draw(batch.history, generator)
    return batch.history.item_BL, view.item_BL, view.length_B


@pytest.mark.parametrize("text", ["crop,mask", "[crop,mask]", '["crop", "mask"]', ["crop", "mask"]])
def test_views_are_named_as_a_shell_types_them(text):
    assert ViewConfig(views=text).views == ("crop", "mask")
    assert ViewConfig(views="crop").views == ("crop",)


@pytest.mark.parametrize("given", ["", "[]", "croop", ["crop", "croop"], 3])
def test_what_is_no_view_is_refused(given):
    with pytest.raises(ValidationError):
        ViewConfig(views=given)


def test_dropout_leaves_histories_as_they_are():
    before, after, length_B = drawn()
    assert torch.equal(before, after)
    assert (length_B == 4).all()


def test_each_history_is_drawn_one_of_the_views():
    _, item_BL, length_B = drawn(views="crop,mask,insert")
    cropped, inserted = length_B < 4, length_B > 4
    masked = (item_BL == MASK).any(1)
    assert (cropped.long() + inserted.long() + masked.long() == 1).all()
    for part in (cropped, inserted, masked):
        assert 0.2 < part.double().mean() < 0.47


@pytest.mark.parametrize("mean_length", [8, 30, 100])
def test_the_length_of_two_crops_gives_nobody_away(mean_length):
    """Both are as long as each other, and as those of most others in a training batch.

    A guess among the rows of one's own length finds one row of those; by chance it is one of all.
    """
    generator = torch.Generator().manual_seed(0)
    length_R = torch.empty(6000).exponential_(1 / mean_length, generator=generator)
    length_R = length_R.long().clamp_(2, 51)
    found, rows = 0.0, 0
    for row_B in training_batches(length_R, 256, generator):
        cropped_B = (length_R[row_B].double() * 0.6 + 1e-9).long().clamp(min=1)
        _, own_B, count_L = cropped_B.unique(return_inverse=True, return_counts=True)
        found += float((1 / count_L[own_B].double()).sum())
        rows += row_B.numel()
    assert found / rows < 0.02, "of 250, the length leaves 50 or more to choose from"


def test_composed_views_are_all_applied():
    _, item_BL, length_B = drawn(views="mask,crop", mix="compose", crop_keep=0.75)
    assert (length_B == 3).all()
    assert ((item_BL == MASK).sum(1) >= 1).all()


def test_a_view_is_never_longer_than_the_encoder_reads():
    before, item_BL, length_B = drawn(views="insert", insert_share=1.0, longest=5)
    assert (length_B == 5).all()
    assert torch.equal(item_BL[:, -2], before[:, -1]), "the oldest events fall off"


def test_views_follow_the_stream():
    one, same, other = (drawn(seed, views="crop,reorder")[1] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_neighbours_are_what_stands_together():
    table_VK = similar_items(rows_of(HISTORIES), 9, torch.Generator())
    assert table_VK.shape == (10, NEIGHBOURS)
    assert table_VK.dtype == torch.int32
    neighbours = [[item for item in row if item] for row in table_VK.tolist()]
    # 1 and 2 are in three histories together, with 5 and 6 in two, with 3 and 4 in one.
    assert neighbours[1][0] == 2
    assert neighbours[5][0] == 6
    assert neighbours[7] == [8]
    assert neighbours[0] == neighbours[9] == [], "padding and loners have none"
    for item, near in enumerate(neighbours):
        assert item not in near
        assert all(item in neighbours[other] for other in near)


def test_neighbours_are_cosines():
    rows = rows_of([[1, 2], [1, 2], [1, 3], [1, 4], [3, 1]])
    table_VK = similar_items(rows, 4, torch.Generator())
    # n_12 / sqrt(n_1 n_2) = 2 / sqrt(5 * 2), the same for 3, then 1 / sqrt(5 * 1) for 4.
    assert sorted(table_VK[1, :2].tolist()) == [2, 3]
    assert table_VK[1, 2] == 4


def test_of_too_many_pairs_a_sample_of_histories_is_counted(monkeypatch):
    from recxfer.data import similarity

    monkeypatch.setattr(similarity, "MAX_PAIRS", 45)
    table_VK = similar_items(rows_of(HISTORIES), 9, torch.Generator().manual_seed(0))
    full_VK = similar_items(rows_of(HISTORIES[:2]), 9, torch.Generator())
    assert 0 < (table_VK != 0).sum() <= (full_VK != 0).sum()
