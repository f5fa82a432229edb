"""Full ranking in blocks: where the held-out item stands among all items, and top-k lists.

Shape letters: R rows, C rows of a chunk, V items, N sampled candidates, K length of a list.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recxfer.data.batches import evaluation_batches
from recxfer.data.rows import Rows, Seen
from recxfer.foundation.console import Reporter, SilentReporter
from recxfer.foundation.errors import DataError
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Learner

CHUNK_SCORES = 1 << 22
"""Scores that exist at the same time, at most (16 MB); one row of a huge catalogue may be more."""

SAMPLING_ROWS = 8192
"""Rows whose candidates come from one random stream; a fixed grid, so that batching is free."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Where each target stands."""

    rank_R: Tensor
    """int64, 1 is best: 1 + the other candidates that score at least as high. A tie counts against
    the target, so that a model that scores all items alike ranks every target last."""

    num_candidates_R: Tensor
    """int64 candidates each target was ranked among, itself included."""

    top_RK: Tensor | None = None
    """int64 best outputs of each row, best first, where they were asked for (full ranking only)."""


@dataclass(frozen=True, slots=True)
class Lists:
    """The best outputs of each row, best first."""

    output_RK: Tensor
    """int64 output indices (item - 1)."""

    score_RK: Tensor
    """float32 scores; -inf where a row has fewer than K items left."""


def rank(
    learner: Learner,
    model: nn.Module,
    rows: Rows,
    *,
    device: torch.device,
    keep_seen: bool = False,
    candidates: int | None = None,
    top: int = 0,
    rng: Rng | None = None,
    reporter: Reporter | None = None,
) -> Ranking:
    """Rank each row's target among all items, or among sampled candidates.

    Scores are float32. Items that the user met before are no candidates, unless they are kept; the
    target always is one.

    Args:
        learner: gives user vectors and the output layer.
        model: on the device, in evaluation mode.
        rows: with targets and what was seen.
        device: where the model is.
        keep_seen: whether items met before stay candidates.
        candidates: rank among this many negatives instead of all items: distinct, drawn uniformly,
            never the target nor (unless kept) seen, and the same for every method.
        top: also keep this many best outputs of each row.
        rng: names the stream of the candidates.
        reporter: shown the progress.

    Raises:
        DataError: a user has met so much that fewer than `candidates` items are left.
    """
    assert rows.target_R is not None, "ranking needs targets"
    seen = None if keep_seen else rows.seen
    num_items = learner.output(model).weight_VD.shape[0]
    rank_R = torch.empty(len(rows), dtype=torch.int64)
    top_RK = torch.empty(len(rows), min(top, num_items), dtype=torch.int64) if top else None
    sampled_RN = None
    if candidates is not None:
        sampled_RN = draw_candidates(rows, num_items, candidates, rng or Rng(0), seen)
        num_candidates_R = torch.full_like(rank_R, candidates + 1)
    else:
        num_candidates_R = num_items - _count_seen(rows, seen)
    for row_C, score_CV in _scored(learner, model, rows, device, "ranking", reporter):
        target_C1 = rows.target_R[row_C, None].to(score_CV.device)
        best_C1 = score_CV.gather(1, target_C1)
        if sampled_RN is not None:
            rival_CN = score_CV.gather(1, sampled_RN[row_C].to(score_CV.device))
            rank_R[row_C] = 1 + (rival_CN >= best_C1).sum(1).cpu()
            continue
        if seen is not None:
            _hide_seen(score_CV, row_C, seen)
            score_CV.scatter_(1, target_C1, best_C1)
        rank_R[row_C] = (score_CV >= best_C1).sum(1).cpu()
        if top_RK is not None:
            top_RK[row_C] = score_CV.topk(top_RK.shape[1], dim=1).indices.cpu()
    return Ranking(rank_R, num_candidates_R, top_RK if sampled_RN is None else None)


def recommend(
    learner: Learner,
    model: nn.Module,
    rows: Rows,
    k: int,
    *,
    device: torch.device,
    keep_seen: bool = False,
    reporter: Reporter | None = None,
) -> Lists:
    """The `k` best outputs of each row, those met before left out unless kept."""
    num_outputs = learner.output(model).weight_VD.shape[0]
    k = min(k, num_outputs)
    output_RK = torch.empty(len(rows), k, dtype=torch.int64)
    score_RK = torch.empty(len(rows), k)
    for row_C, score_CV in _scored(learner, model, rows, device, "recommending", reporter):
        if rows.seen is not None and not keep_seen:
            _hide_seen(score_CV, row_C, rows.seen)
        best = score_CV.topk(k, dim=1)
        output_RK[row_C], score_RK[row_C] = best.indices.cpu(), best.values.cpu()
    return Lists(output_RK, score_RK)


def draw_candidates(rows: Rows, num_items: int, count: int, rng: Rng, seen: Seen | None) -> Tensor:
    """Distinct negatives for each row, a function of the seed and the row number alone (R, N)."""
    assert rows.target_R is not None
    parts = []
    for start in range(0, len(rows), SAMPLING_ROWS):
        row_C = torch.arange(start, min(start + SAMPLING_ROWS, len(rows)))
        generator = rng.generator("candidates", start)
        banned_X = row_C.sub(start).mul(num_items).add(rows.target_R[row_C])
        if seen is not None:
            position_X, item_X = _flat_seen(row_C, seen)
            banned_X = torch.cat([banned_X, position_X * num_items + item_X - 1]).unique()
        banned_C = torch.bincount(banned_X // num_items, minlength=row_C.numel())
        if int((num_items - banned_C).min()) < count:
            raise DataError(
                f"a user has only {int((num_items - banned_C).min())} items left that are neither "
                f"seen nor the target, {count} candidates were asked for",
                hint="ask for fewer --candidates, or rank among all",
            )
        parts.append(_draw_distinct(row_C.numel(), num_items, count, banned_X, generator))
    return torch.cat(parts) if parts else torch.empty(0, count, dtype=torch.int64)


def _draw_distinct(
    num_rows: int, num_items: int, count: int, banned_X: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw, then draw again wherever a row repeats itself or holds something banned."""
    first_C1 = torch.arange(num_rows)[:, None] * num_items
    drawn_CN = torch.randint(num_items, (num_rows, count), generator=generator)
    while True:
        drawn_CN = drawn_CN.sort(dim=1).values
        bad_CN = torch.isin(drawn_CN + first_C1, banned_X)
        bad_CN[:, 1:] |= drawn_CN[:, 1:] == drawn_CN[:, :-1]
        num_bad = int(bad_CN.sum())
        if num_bad == 0:
            return drawn_CN
        drawn_CN[bad_CN] = torch.randint(num_items, (num_bad,), generator=generator)


def _scored(
    learner: Learner,
    model: nn.Module,
    rows: Rows,
    device: torch.device,
    description: str,
    reporter: Reporter | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Row numbers and their scores (C, V), a chunk at a time; scores may be overwritten."""
    output = learner.output(model)
    weight_DV = output.weight_VD.float().T
    size = max(1, CHUNK_SCORES // max(weight_DV.shape[1], 1))
    with (
        torch.inference_mode(),
        (reporter or SilentReporter()).track(description, len(rows), "rows") as tracker,
    ):
        for row_B in evaluation_batches(rows):
            user_BD = learner.represent(model, rows.batch(row_B).to(device))
            with torch.autocast(device.type, enabled=False):
                for row_C, user_CD in zip(row_B.split(size), user_BD.split(size), strict=True):
                    score_CV = user_CD.float() @ weight_DV
                    if output.bias_V is not None:
                        score_CV += output.bias_V
                    yield row_C, score_CV
            tracker.advance(row_B.numel())


def _hide_seen(score_CV: Tensor, row_C: Tensor, seen: Seen) -> None:
    position_X, item_X = _flat_seen(row_C, seen)
    score_CV[position_X.to(score_CV.device), item_X.sub(1).to(score_CV.device)] = -math.inf


def _flat_seen(row_C: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
    """For every event that any of the rows has seen: the row's place in the chunk, and the item."""
    start_C, end_C = seen.start_R[row_C], seen.end_R[row_C]
    count_C = end_C - start_C
    position_X = torch.repeat_interleave(torch.arange(row_C.numel()), count_C)
    before_C = count_C.cumsum(0) - count_C
    event_X = torch.arange(position_X.numel()) + (start_C - before_C)[position_X]
    return position_X, seen.item_E[event_X].long()


def _count_seen(rows: Rows, seen: Seen | None) -> Tensor:
    """Distinct items seen by each row, the target not counted."""
    assert rows.target_R is not None
    count_R = torch.zeros(len(rows), dtype=torch.int64)
    if seen is None:
        return count_R
    num_items = int(seen.item_E.max()) + 1 if seen.item_E.numel() else 1
    for row_C in torch.arange(len(rows)).split(SAMPLING_ROWS):
        position_X, item_X = _flat_seen(row_C, seen)
        other_X = item_X - 1 != rows.target_R[row_C][position_X]
        key_X = (position_X * num_items + item_X)[other_X].unique()
        count_R[row_C] = torch.bincount(key_X // num_items, minlength=row_C.numel())
    return count_R
