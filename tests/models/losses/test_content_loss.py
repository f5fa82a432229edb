"""Losses over the items of a batch against brute force, and who may be a negative of whom."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recxfer.data.rows import Rows
from recxfer.models.losses import content_loss
from recxfer.models.losses.content_loss import (
    NEVER,
    Met,
    in_batch_loss,
    log_presence,
    next_clicks_loss,
)

V = 9
people = st.lists(st.sets(st.integers(1, V)), min_size=1, max_size=4)


def met_of(owned):
    """Everybody meets their items in ascending order, and then once more."""
    item_E = torch.tensor([item for items in owned for item in sorted(items) * 2]).int()
    length_R = torch.tensor([2 * len(items) for items in owned])
    user_R = torch.arange(len(owned))
    return Met(Rows({"item": item_E}, length_R.cumsum(0) - length_R, length_R, user_R), V)


@given(people, st.sets(st.integers(1, V), min_size=1))
def test_what_was_met_is_what_was_met(owned, items):
    item_U = torch.tensor(sorted(items))
    since_BU = met_of(owned).since(torch.arange(len(owned)), item_U)
    start = 0
    for mine, since_U in zip(owned, since_BU.tolist(), strict=True):
        for item, since in zip(sorted(items), since_U, strict=True):
            assert since == (start + sorted(mine).index(item) if item in mine else NEVER)
        start += 2 * len(mine)


@given(people, st.integers(0, 1000))
def test_others_are_never_what_was_met(owned, seed):
    generator = torch.Generator().manual_seed(seed)
    user_B = torch.arange(len(owned)).flip(0)
    drawn_BN = met_of(owned).draw_others(user_B, 40, generator)
    for user, row in zip(user_B.tolist(), drawn_BN.tolist(), strict=True):
        allowed = set(range(1, V + 1)) - owned[user] or set(range(1, V + 1))
        assert set(row) <= allowed


def test_others_are_drawn_uniformly():
    generator = torch.Generator().manual_seed(0)
    drawn_BN = met_of([{1, 4, 9}, set()]).draw_others(torch.tensor([0, 1]), 60_000, generator)
    for row, allowed in zip(drawn_BN, ([2, 3, 5, 6, 7, 8], range(1, V + 1)), strict=True):
        share = torch.bincount(row, minlength=V + 1)[1:] / row.numel()
        for item in range(1, V + 1):
            wanted = 1 / len(allowed) if item in allowed else 0
            assert float(share[item - 1]) == pytest.approx(wanted, abs=0.01)


def test_rows_of_one_person_count_together():
    rows = Rows(
        columns={"item": torch.tensor([1, 2, 3, 4, 5, 6], dtype=torch.int32)},
        start_R=torch.tensor([0, 1, 4]),
        length_R=torch.tensor([2, 2, 1]),
        user_R=torch.tensor([0, 0, 2]),
    )
    since_BU = Met(rows, V).since(torch.tensor([0, 1, 2]), torch.arange(1, 7))
    no = NEVER
    assert since_BU.tolist() == [[0, 1, 2, no, no, no], [no] * 6, [no, no, no, no, 4, no]]


def test_the_chance_of_presence_is_that_of_one_draw_at_least():
    count_U = torch.tensor([1, 5, 100])
    found = log_presence(count_U, 100, 20).exp()
    wanted = [1 - (1 - count / 100) ** 20 for count in count_U.tolist()]
    torch.testing.assert_close(found, torch.tensor(wanted))


def brute_force(hidden_PD, vector_UD, target_P, row_P, at_P, since_BU, log_q_U):
    losses = []
    places = zip(target_P.tolist(), row_P.tolist(), at_P.tolist(), strict=True)
    for hidden_D, (target, row, at) in zip(hidden_PD, places, strict=True):
        scores = {
            u: float((hidden_D @ vector_UD[u]).detach()) - float(log_q_U[u])
            for u in range(len(vector_UD))
            if u == target or since_BU[row, u] > at
        }
        total = sum(math.exp(score) for score in scores.values())
        losses.append(math.log(total) - scores[target])
    return sum(losses) / len(losses)


def example():
    generator = torch.Generator().manual_seed(1)
    hidden_PD = torch.randn(6, 4, generator=generator).requires_grad_()
    vector_UD = torch.randn(5, 4, generator=generator).requires_grad_()
    target_P, row_P = torch.tensor([0, 1, 4, 2, 3, 3]), torch.tensor([0, 0, 0, 1, 1, 2])
    at_P = torch.tensor([0, 1, 2, 7, 8, 20])
    since_BU = torch.full((3, 5), NEVER)
    since_BU[0, [0, 1, 4]] = torch.tensor([1, 2, 3])
    since_BU[1, [2, 3]] = torch.tensor([5, 8])
    since_BU[2, :] = 3
    log_q_U = torch.tensor([-0.5, -1.0, -0.1, -2.0, -3.0])
    return hidden_PD, vector_UD, target_P, row_P, at_P, since_BU, log_q_U


def test_the_loss_in_the_batch_is_that_of_brute_force():
    parts = example()
    found = in_batch_loss(*parts).detach()
    assert float(found) == pytest.approx(brute_force(*parts), rel=1e-5)
    # Who met everything has no negative, and nothing to learn.
    alone = (parts[0][5:], parts[1], *(part[5:] for part in parts[2:5]), *parts[5:])
    assert float(in_batch_loss(*alone).detach()) == 0


def test_chunks_change_neither_the_loss_nor_its_gradients(monkeypatch):
    whole = example()
    in_batch_loss(*whole).backward()
    monkeypatch.setattr(content_loss, "CHUNK_SCORES", 10)
    cut = example()
    loss = in_batch_loss(*cut)
    loss.backward()
    torch.testing.assert_close(loss, in_batch_loss(*whole))
    for one, other in zip(whole[:2], cut[:2], strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_the_loss_of_next_clicks_is_that_of_brute_force():
    generator = torch.Generator().manual_seed(2)
    user_BD = torch.randn(2, 4, generator=generator)
    click_BKD = torch.randn(2, 3, 4, generator=generator)
    negative_BND = torch.randn(2, 5, 4, generator=generator)
    real_BK = torch.tensor([[True, True, True], [True, False, False]])
    clicks = [
        math.log1p(math.exp(-float(user_BD[b] @ click_BKD[b, k]))) for b, k in real_BK.nonzero()
    ]
    others = [
        math.log1p(math.exp(float(user_BD[b] @ negative_BND[b, n])))
        for b in range(2)
        for n in range(5)
    ]
    wanted = sum(clicks) / 4 + sum(others) / 10
    found = next_clicks_loss(user_BD, click_BKD, real_BK, negative_BND)
    assert float(found) == pytest.approx(wanted, rel=1e-5)
