"""Ranking against brute force (invariant I9), with ties, seen items and sampled candidates."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recxfer.data.rows import Rows, Seen
from recxfer.evaluation import ranking
from recxfer.evaluation.candidates import draw_candidates
from recxfer.evaluation.ranking import best_of, rank, recommend
from recxfer.foundation.errors import DataError
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import VectorLearner
from recxfer.models.scoring import Output

CPU = torch.device("cpu")


class Planted(VectorLearner):
    """A learner whose scores are planted: one row of scores per user."""

    def __init__(self, score_RV, bias_V=None):
        self.score_RV, self.bias_V = score_RV, bias_V

    def loss(self, model, batch, rng):
        raise AssertionError("nothing trains")

    def represent(self, model, batch):
        return self.score_RV[batch.row_B]

    def output(self, model):
        return Output(torch.eye(self.score_RV.shape[1]), self.bias_V)


def planted(seed, num_rows, num_items, levels):
    generator = torch.Generator().manual_seed(seed)
    score_RV = torch.randint(levels, (num_rows, num_items), generator=generator).float()
    target_R = torch.randint(num_items, (num_rows,), generator=generator)
    met = torch.randint(0, num_items, (num_rows + 1,), generator=generator)
    seen_E = torch.randint(1, num_items + 1, (int(met.sum()) + 1,), generator=generator).int()
    end_R = met[:num_rows].cumsum(0)
    rows = Rows(
        columns={"item": seen_E},
        start_R=torch.zeros(num_rows, dtype=torch.int64),
        length_R=torch.randint(0, 2, (num_rows,), generator=generator),
        user_R=torch.arange(num_rows),
        target_R=target_R,
        seen=Seen(seen_E, end_R - met[:num_rows], end_R),
    )
    return score_RV, rows


def brute_force(score_RV, rows, *, keep_seen):
    ranks, counts = [], []
    for row in range(len(rows)):
        target = int(rows.target_R[row])
        met = rows.seen.item_E[rows.seen.start_R[row] : rows.seen.end_R[row]]
        hidden = set() if keep_seen else {int(item) - 1 for item in met} - {target}
        rivals = [v for v in range(score_RV.shape[1]) if v != target and v not in hidden]
        ranks.append(1 + sum(bool(score_RV[row, v] >= score_RV[row, target]) for v in rivals))
        counts.append(1 + len(rivals))
    return ranks, counts


@given(
    seed=st.integers(0, 10_000),
    num_rows=st.integers(1, 9),
    num_items=st.integers(1, 12),
    levels=st.integers(1, 5),
    keep_seen=st.booleans(),
)
def test_ranks_equal_brute_force(seed, num_rows, num_items, levels, keep_seen):
    score_RV, rows = planted(seed, num_rows, num_items, levels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "CHUNK_SCORES", 2 * num_items)
        found = rank(Planted(score_RV), None, rows, device=CPU, keep_seen=keep_seen)
    ranks, counts = brute_force(score_RV, rows, keep_seen=keep_seen)
    assert found.rank_R.tolist() == ranks
    assert found.num_candidates_R.tolist() == counts


def test_a_model_that_knows_nothing_ranks_everything_last():
    score_RV, rows = planted(0, 6, 10, 1)
    found = rank(Planted(torch.zeros_like(score_RV)), None, rows, device=CPU)
    assert torch.equal(found.rank_R, found.num_candidates_R)


def test_scores_that_are_no_numbers_count_against_the_target():
    score_RV, rows = planted(0, 6, 10, 5)
    score_RV[torch.arange(6), rows.target_R] = torch.nan
    found = rank(Planted(score_RV), None, rows, device=CPU)
    assert torch.equal(found.rank_R, found.num_candidates_R)
    score_RV, rows = planted(0, 6, 10, 1)
    score_RV[torch.arange(6), rows.target_R] = 2
    bias_V = torch.zeros(10)
    bias_V[7] = torch.nan
    found = rank(Planted(score_RV, bias_V), None, rows, device=CPU, keep_seen=True)
    assert found.rank_R.tolist() == [10 if target == 7 else 2 for target in rows.target_R]


def test_parameters_and_half_precision_around_do_not_matter():
    score_RV, rows = planted(2, 6, 10, 5)

    class Trainable(Planted):
        def output(self, model):
            return Output(torch.nn.Parameter(torch.eye(10)), torch.nn.Parameter(torch.zeros(10)))

    with torch.autocast("cpu", torch.bfloat16):
        found = rank(Trainable(score_RV + 1 / 3), None, rows, device=CPU, top=3)
    assert found.rank_R.tolist() == brute_force(score_RV, rows, keep_seen=False)[0]
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_biases_count():
    _, rows = planted(1, 4, 6, 3)
    bias_V = torch.tensor([0.0, 1, 2, 3, 4, 5])
    learner = Planted(torch.zeros(4, 6), bias_V)
    found = rank(learner, None, rows, device=CPU, keep_seen=True)
    assert found.rank_R.tolist() == (6 - rows.target_R).tolist()


def test_candidates_are_distinct_new_and_never_the_target():
    _, rows = planted(3, 40, 30, 3)
    seen = Seen(rows.seen.item_E, rows.seen.start_R, rows.seen.start_R + 5)
    seen = Seen(seen.item_E, seen.start_R, torch.minimum(seen.end_R, rows.seen.end_R))
    drawn = draw_candidates(rows, 30, 20, Rng(0), seen)
    for row, candidates in enumerate(drawn.tolist()):
        met = {int(i) - 1 for i in seen.item_E[seen.start_R[row] : seen.end_R[row]]}
        assert len(set(candidates)) == 20
        assert not set(candidates) & (met | {int(rows.target_R[row])})
    assert torch.equal(drawn, draw_candidates(rows, 30, 20, Rng(0), seen))
    assert not torch.equal(drawn, draw_candidates(rows, 30, 20, Rng(1), seen))


@given(seed=st.integers(0, 1000), count=st.integers(1, 5), with_bias=st.booleans())
def test_ranks_among_candidates_equal_brute_force(seed, count, with_bias):
    score_RV, rows = planted(seed, 6, 12, 4)
    bias_V = torch.arange(12.0) % 3 if with_bias else torch.zeros(12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "CHUNK_SCORES", 2 * 12 * (count + 1))
        found = rank(
            Planted(score_RV, bias_V), None, rows,
            device=CPU, candidates=count, keep_seen=True, rng=Rng(seed),
        )  # fmt: skip
    drawn = draw_candidates(rows, 12, count, Rng(seed), None)
    score_RV = score_RV + bias_V
    for row, rivals in enumerate(drawn.tolist()):
        best = score_RV[row, rows.target_R[row]]
        assert found.rank_R[row] == 1 + sum(bool(score_RV[row, v] >= best) for v in rivals)
    assert (found.num_candidates_R == count + 1).all()


def test_candidates_are_uniform():
    num_rows = 4000
    rows = Rows(
        columns={"item": torch.ones(1, dtype=torch.int32)},
        start_R=torch.zeros(num_rows, dtype=torch.int64),
        length_R=torch.zeros(num_rows, dtype=torch.int64),
        user_R=torch.arange(num_rows),
        target_R=torch.zeros(num_rows, dtype=torch.int64),
    )
    drawn = draw_candidates(rows, 11, 4, Rng(0), None)
    share = torch.bincount(drawn.flatten(), minlength=11) / num_rows
    assert share[0] == 0
    torch.testing.assert_close(share[1:], torch.full((10,), 0.4), atol=0.03, rtol=0)


def test_too_many_candidates_are_an_error():
    score_RV, rows = planted(2, 5, 8, 3)
    with pytest.raises(DataError, match="items left"):
        rank(Planted(score_RV), None, rows, device=CPU, candidates=8)


@given(seed=st.integers(0, 1000), k=st.integers(1, 6))
def test_top_lists_are_sorted_and_new(seed, k):
    score_RV, rows = planted(seed, 5, 8, 50)
    lists = recommend(Planted(score_RV), None, rows, k, device=CPU)
    for row in range(5):
        met = rows.seen.item_E[rows.seen.start_R[row] : rows.seen.end_R[row]]
        free = score_RV[row].clone()
        free[met.long() - 1] = -torch.inf
        expected = free.sort(descending=True).values[:k]
        assert torch.equal(lists.score_RK[row], expected)
        assert torch.equal(free[lists.item_RK[row] - 1], expected)


@given(
    seed=st.integers(0, 1000),
    num_items=st.integers(1, 700),
    k=st.integers(1, 3),
    levels=st.sampled_from([1, 3, 10**6]),
)
def test_the_best_by_blocks_are_the_best(seed, num_items, k, levels):
    generator = torch.Generator().manual_seed(seed)
    score_CV = torch.randint(levels, (4, num_items), generator=generator).float()
    score_CV[0] = -torch.inf
    k = min(k, num_items)
    score_CK, index_CK = best_of(score_CV, k)
    assert torch.equal(score_CK, score_CV.topk(k).values)
    assert torch.equal(score_CK, score_CV.gather(1, index_CK))
    assert all(len(set(row)) == k for row in index_CK.tolist())


def test_lists_kept_beside_ranks_hold_the_targets_that_made_it():
    score_RV, rows = planted(5, 9, 12, 10**6)
    found = rank(Planted(score_RV), None, rows, device=CPU, top=4)
    hit_R = (found.item_RK == rows.target_R[:, None] + 1).any(1)
    assert torch.equal(hit_R, found.rank_R <= 4)
