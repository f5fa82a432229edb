"""Full ranking in blocks: the rank of the held-out item among all items, and top-k lists.

Shape letters: R rows, C rows of a chunk, V items, N sampled candidates, X of them with the
target, K length of a list.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recxfer.data.batches import evaluation_batches
from recxfer.data.rows import Batch, Rows, Seen
from recxfer.evaluation.candidates import count_seen, draw_candidates, flat_seen
from recxfer.foundation.reporting import Reporter, SilentReporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import AnyLearner, VectorLearner

CHUNK_SCORES = 1 << 20
"""Scores that exist at the same time on a CPU, at most (4 MB, near its caches); one row of a huge
catalogue may be more."""

ACCELERATOR_CHUNK_SCORES = 1 << 26
"""The same elsewhere (256 MB), where few large kernels are faster than many small ones."""

TOP_BLOCK = 64
"""Neighbouring scores that share one maximum in the search for the best."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The rank of each target."""

    rank_R: Tensor
    """int64, 1 is best: 1 + the other candidates that score at least as high. A tie counts against
    the target, so that a model that scores all items alike ranks every target last."""

    num_candidates_R: Tensor
    """int64 candidates each target was ranked among, itself included."""

    item_RK: Tensor | None = None
    """int64 best items of each row, best first, where they were asked for (full ranking only).
    Numbered as in the dataset's tables, from 1."""


@dataclass(frozen=True, slots=True)
class Lists:
    """The best items of each row, best first."""

    item_RK: Tensor
    """int64, numbered as in the dataset's tables, from 1."""

    score_RK: Tensor
    """float32 scores; -inf where a row has fewer than K items left."""


@torch.no_grad()
def rank(
    learner: AnyLearner,
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
        learner: scores items.
        model: on the device, in evaluation mode.
        rows: with targets and what was seen.
        device: where the model is.
        keep_seen: whether items met before stay candidates.
        candidates: rank among this many negatives instead of all items: distinct, drawn uniformly,
            never the target nor (unless kept) seen, and the same for every method.
        top: also keep this many best items of each row.
        rng: names the stream of the candidates.
        reporter: shown the progress.

    Raises:
        DataError: a user has met so much that fewer than `candidates` items are left.
    """
    assert rows.target_R is not None, "ranking needs targets"
    seen = None if keep_seen else rows.seen
    num_items = learner.num_outputs(model)
    if candidates is not None:
        sampled_RN = draw_candidates(rows, num_items, candidates, rng or Rng(0), seen)
        index_RX = torch.cat([rows.target_R[:, None], sampled_RN.long()], dim=1)
        scored = _scored_among(learner, model, rows, index_RX, device, reporter)
        return _rank_sampled(index_RX.shape[1], len(rows), scored)
    num_candidates_R = num_items - count_seen(rows, seen)
    rank_R = torch.empty(len(rows), dtype=torch.int64)
    item_RK = torch.empty(len(rows), min(top, num_items), dtype=torch.int64) if top else None
    for row_C, score_CV in _scored(learner, model, rows, device, "ranking", reporter):
        target_C1 = rows.target_R[row_C, None].to(score_CV.device)
        best_C1 = score_CV.gather(1, target_C1)
        if seen is not None:
            _hide_seen(score_CV, row_C, seen)
            score_CV.scatter_(1, target_C1, best_C1)
        if item_RK is not None:
            item_RK[row_C] = best_of(score_CV, item_RK.shape[1])[1].cpu() + 1
        rank_R[row_C] = num_items - _count_below(score_CV, best_C1).cpu()
    # Without a number for the target (NaN) nothing is below it, not even what is hidden.
    return Ranking(torch.minimum(rank_R, num_candidates_R), num_candidates_R, item_RK)


@torch.no_grad()
def recommend(
    learner: AnyLearner,
    model: nn.Module,
    rows: Rows,
    k: int,
    *,
    device: torch.device,
    keep_seen: bool = False,
    reporter: Reporter | None = None,
) -> Lists:
    """Find the `k` best items of each row, those met before left out unless kept."""
    k = min(k, learner.num_outputs(model))
    item_RK = torch.empty(len(rows), k, dtype=torch.int64)
    score_RK = torch.empty(len(rows), k)
    for row_C, score_CV in _scored(learner, model, rows, device, "recommending", reporter):
        if rows.seen is not None and not keep_seen:
            _hide_seen(score_CV, row_C, rows.seen)
        score_CK, output_CK = best_of(score_CV, k)
        item_RK[row_C], score_RK[row_C] = output_CK.cpu() + 1, score_CK.cpu()
    return Lists(item_RK, score_RK)


def best_of(score_CV: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the `k` largest scores of each row, largest first, and their indices.

    The k largest lie in the k blocks with the largest maxima, so that one cheap pass for the
    maxima saves a search through all scores: 2-3 times as fast as `topk` on a CPU.
    """
    num_blocks = score_CV.shape[1] // TOP_BLOCK
    if k * 4 >= num_blocks:
        scores_CK, index_CK = score_CV.topk(k, dim=1)
        return scores_CK, index_CK
    whole = num_blocks * TOP_BLOCK
    score_CNT = score_CV[:, :whole].unflatten(1, (num_blocks, TOP_BLOCK))
    block_CK1 = score_CNT.amax(2).topk(k, dim=1).indices[:, :, None]
    place_T = torch.arange(TOP_BLOCK, device=score_CV.device)
    rest_X = torch.arange(whole, score_CV.shape[1], device=score_CV.device)
    index_CX = torch.cat(
        [(block_CK1 * TOP_BLOCK + place_T).flatten(1), rest_X.expand(score_CV.shape[0], -1)], dim=1
    )
    score_CK, place_CK = score_CV.gather(1, index_CX).topk(k, dim=1)
    return score_CK, index_CX.gather(1, place_CK)


def _batches(
    rows: Rows, device: torch.device, description: str, reporter: Reporter | None
) -> Iterator[tuple[Tensor, Batch]]:
    """Yield row numbers and batches, on the device, in inference mode, with a progress bar."""
    with (reporter or SilentReporter()).progress(description, len(rows), "rows") as progress:
        for row_B in evaluation_batches(rows):
            yield row_B, rows.batch(row_B).to(device)
            progress.advance(row_B.numel())


def _scored(
    learner: AnyLearner,
    model: nn.Module,
    rows: Rows,
    device: torch.device,
    description: str,
    reporter: Reporter | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield row numbers and the scores of all outputs (C, V), a chunk at a time.

    The scores of all chunks may share one buffer: use them before the next chunk, in place if you
    like.
    """
    batches = _batches(rows, device, description, reporter)
    if isinstance(learner, VectorLearner):
        yield from _products(learner, model, batches)
        return
    for row_B, batch in batches:
        with torch.inference_mode():
            yield row_B, learner.scores(model, batch).float()


def _products(
    learner: VectorLearner[Any], model: nn.Module, batches: Iterator[tuple[Tensor, Batch]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Compute scores as products of vectors, in one buffer for all chunks."""
    output = learner.output(model)
    weight_DV = output.weight_VD.float().T
    device, num_outputs = weight_DV.device, weight_DV.shape[1]
    limit = CHUNK_SCORES if device.type == "cpu" else ACCELERATOR_CHUNK_SCORES
    size = max(1, limit // max(num_outputs, 1))
    buffer_CV = torch.empty(size, num_outputs, device=device)
    for row_B, batch in batches:
        with torch.inference_mode():
            user_BD = learner.represent(model, batch).float()
        for row_C, user_CD in zip(row_B.split(size), user_BD.split(size), strict=True):
            score_CV = buffer_CV[: row_C.numel()]
            with torch.autocast(device.type, enabled=False):
                torch.mm(user_CD, weight_DV, out=score_CV)
            if output.bias_V is not None:
                score_CV += output.bias_V
            yield row_C, score_CV


def _count_below(score_CV: Tensor, best_C1: Tensor) -> Tensor:
    """Count the scores of each row that are below; overwrites the scores.

    A comparison that is written as floats and summed as floats stays in vector registers all the
    way, 5 times as fast as through booleans. Counts are exact up to 2**24 items.
    """
    if score_CV.shape[1] >= 1 << 24:
        return (score_CV < best_C1).sum(1)
    return score_CV.lt_(best_C1).sum(1).long()


def _rank_sampled(
    num_candidates: int, num_rows: int, scored: Iterator[tuple[Tensor, Tensor]]
) -> Ranking:
    """Rank the first of the candidates of each row among all of them.

    Args:
        num_candidates: of each row, the target included.
        num_rows: rows.
        scored: row numbers and scores of their candidates (C, X), the target's first.
    """
    rank_R = torch.empty(num_rows, dtype=torch.int64)
    for row_C, score_CX in scored:
        below_C = (score_CX[:, 1:] < score_CX[:, :1]).sum(1)
        rank_R[row_C] = num_candidates - below_C.cpu()
    return Ranking(rank_R, torch.full_like(rank_R, num_candidates))


def _scored_among(
    learner: AnyLearner,
    model: nn.Module,
    rows: Rows,
    index_RX: Tensor,
    device: torch.device,
    reporter: Reporter | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield row numbers and the scores of some outputs of each row (C, X), a chunk at a time."""
    batches = _batches(rows, device, "ranking", reporter)
    if not isinstance(learner, VectorLearner):
        for row_B, batch in batches:
            with torch.inference_mode():
                yield row_B, learner.scores(model, batch, index_RX[row_B].to(device)).float()
        return
    output = learner.output(model)
    weight_VD = output.weight_VD.float()
    size = max(1, CHUNK_SCORES // (index_RX.shape[1] * weight_VD.shape[1]))
    for row_B, batch in batches:
        with torch.inference_mode():
            user_BD = learner.represent(model, batch).float()
        for row_C, user_CD in zip(row_B.split(size), user_BD.split(size), strict=True):
            index_CX = index_RX[row_C].to(weight_VD.device)
            # Not a matrix product: every sum runs in the same order, so that ties stay ties.
            score_CX = (weight_VD[index_CX] * user_CD[:, None, :]).sum(2)
            if output.bias_V is not None:
                score_CX += output.bias_V[index_CX]
            yield row_C, score_CX


def _hide_seen(score_CV: Tensor, row_C: Tensor, seen: Seen) -> None:
    position_X, item_X = flat_seen(row_C, seen)
    score_CV[position_X.to(score_CV.device), item_X.sub(1).to(score_CV.device)] = -math.inf


def class_scores(learner: AnyLearner, model: nn.Module, rows: Rows, device: torch.device) -> Tensor:
    """Score every class for every row, float32 on the CPU (R, C)."""
    score_RC = torch.empty(len(rows), learner.num_outputs(model))
    with torch.inference_mode():
        for row_B in evaluation_batches(rows):
            score_RC[row_B] = learner.scores(model, rows.batch(row_B).to(device)).cpu()
    return score_RC
