"""Batches: every row once, level in events, tight, and a function of the stream alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from recxfer.data.batches import evaluation_batches, training_batches
from recxfer.data.rows import Rows


def lengths(seed, count):
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(count).exponential_(1 / 20, generator=generator).long()


def rows_of(length_R):
    return Rows(
        columns={"item": torch.ones(int(length_R.max()) + 1, dtype=torch.int32)},
        start_R=torch.zeros_like(length_R),
        length_R=length_R,
        user_R=torch.arange(length_R.numel()),
    )


@given(st.integers(0, 999), st.integers(1, 300), st.integers(1, 40))
def test_every_row_is_in_one_training_batch(seed, count, batch_size):
    batches = training_batches(lengths(seed, count), batch_size, torch.Generator().manual_seed(0))
    assert torch.cat(batches).sort().values.tolist() == list(range(count))
    assert len(batches) <= -(-count // batch_size)


@given(st.integers(0, 999), st.integers(1, 300), st.integers(1, 500))
def test_every_row_is_in_one_evaluation_batch_of_bounded_size(seed, count, cells):
    rows = rows_of(lengths(seed, count))
    batches = evaluation_batches(rows, cells)
    assert torch.cat(batches).sort().values.tolist() == list(range(count))
    for row_B in batches:
        assert row_B.numel() == 1 or row_B.numel() * int(rows.length_R[row_B].max()) <= cells


def test_batches_hold_about_equally_many_events_and_little_padding():
    length_R = lengths(0, 4000).clamp(min=2)
    batches = training_batches(length_R, 64, torch.Generator().manual_seed(0))
    events = torch.tensor([float(length_R[b].sum()) for b in batches])
    assert events.std() / events.mean() < 0.05
    cells = sum(b.numel() * int(length_R[b].max()) for b in batches)
    assert cells < 1.35 * float(length_R.sum())


def test_order_follows_the_stream():
    length_R = lengths(0, 200)
    one, two, other = (
        training_batches(length_R, 16, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(torch.cat(one), torch.cat(other))


def test_a_batch_is_padded_on_the_right():
    rows = Rows(
        columns={"item": torch.tensor([4, 5, 6, 7], dtype=torch.int32)},
        start_R=torch.tensor([0, 1, 4]),
        length_R=torch.tensor([1, 3, 0]),
        user_R=torch.arange(3),
        target_R=torch.tensor([9, 8, 7]),
    )
    batch = rows.batch(torch.tensor([1, 0, 2]))
    assert batch.history.item_BL.tolist() == [[5, 6, 7], [4, 0, 0], [0, 0, 0]]
    assert batch.history.length_B.tolist() == [3, 1, 0]
    assert batch.target_B.tolist() == [8, 9, 7]
