"""Metrics as functions of case weights: a value, and its value on every resample, in one form.

A metric is given the weight of each case and returns a number; with unit weights that is the
metric itself, with the counts of a bootstrap resample it is the metric of the resample.

Shape letters: R cases, C classes, S resamples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Metric = Callable[[Array], Array]
"""Weights (S, R) to values (S,); NaN where a metric is undefined, as AUC without negatives."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The weighted mean of a value per case."""

    value_R: Array

    def __call__(self, weight_SR: Array) -> Array:
        """The mean under each row of weights."""
        return np.asarray(weight_SR @ self.value_R / weight_SR.sum(1))


def ranking_metrics(rank_R: NDArray[np.int64], at: Sequence[int]) -> dict[str, Metric]:
    """HR@k (recall, since there is one target), NDCG@k and MRR@k from ranks that start at 1."""
    rank_R = np.asarray(rank_R, dtype=np.float64)
    metrics: dict[str, Metric] = {}
    for name, gain_R in (
        ("HR", np.ones_like(rank_R)),
        ("NDCG", 1 / np.log2(rank_R + 1)),
        ("MRR", 1 / rank_R),
    ):
        metrics |= {f"{name}@{k}": Mean(np.where(rank_R <= k, gain_R, 0.0)) for k in at}
    return metrics


def class_metrics(score_RC: Array, target_R: NDArray[np.int64]) -> dict[str, Metric]:
    """Accuracy, balanced accuracy, macro F1 and AUC of class scores.

    The predicted class is the one that scores highest. The AUC of two classes is that of the second
    one's score against the first one's; of more, the mean over classes of one against the rest.
    Classes without a case are left out of means over classes; of macro F1 only those that are never
    predicted either.
    """
    num_classes = score_RC.shape[1]
    predicted_R = score_RC.argmax(1)
    right_R = (predicted_R == target_R).astype(np.float64)
    margins = (
        [(score_RC[:, 1] - score_RC[:, 0], target_R == 1)]
        if num_classes == 2
        else [(_log_odds(score_RC, c), target_R == c) for c in range(num_classes)]
    )
    areas = [area_under_curve(score_R, positive_R) for score_R, positive_R in margins]
    return {
        "accuracy": Mean(right_R),
        "balanced_accuracy": _balanced_accuracy(right_R, target_R, num_classes),
        "macro_f1": _macro_f1(predicted_R, target_R, num_classes),
        "AUC": lambda weight_SR: _nan_mean([area(weight_SR) for area in areas]),
    }


def area_under_curve(score_R: Array, positive_R: NDArray[np.bool_]) -> Metric:
    """The chance that a positive case scores above a negative one, ties counting one half."""
    order_R = np.argsort(score_R, kind="stable")
    sorted_R = score_R[order_R]
    up_R = positive_R[order_R].astype(np.float64)
    starts_G = np.flatnonzero(np.r_[True, sorted_R[1:] != sorted_R[:-1]])

    def metric(weight_SR: Array) -> Array:
        all_SG = np.take(weight_SR, order_R, axis=1)
        up_SG = all_SG * up_R
        if starts_G.size < order_R.size:
            all_SG = np.add.reduceat(all_SG, starts_G, axis=1)
            up_SG = np.add.reduceat(up_SG, starts_G, axis=1)
        down_SG = np.subtract(all_SG, up_SG, out=all_SG)
        beaten_SG = down_SG.cumsum(1)
        down_SG /= 2
        beaten_SG -= down_SG
        won_S = np.einsum("sg,sg->s", up_SG, beaten_SG)
        total_S = up_SG.sum(1)
        pairs_S = total_S * (weight_SR.sum(1) - total_S)
        area_S: Array = np.full_like(won_S, np.nan)
        np.divide(won_S, pairs_S, out=area_S, where=pairs_S > 0)
        return area_S

    return metric


def coverage(top_RK: NDArray[np.int64], num_items: int, at: Sequence[int]) -> Mapping[str, float]:
    """coverage@k: share of all items that stand in at least one list of length k."""
    return {f"coverage@{k}": np.unique(top_RK[:, :k]).size / num_items for k in at}


def _balanced_accuracy(right_R: Array, target_R: NDArray[np.int64], num_classes: int) -> Metric:
    of_class_RC = _one_hot(target_R, num_classes)

    def metric(weight_SR: Array) -> Array:
        return _nan_mean(
            _ratios(weight_SR @ (of_class_RC * right_R[:, None]), weight_SR @ of_class_RC)
        )

    return metric


def _macro_f1(
    predicted_R: NDArray[np.int64], target_R: NDArray[np.int64], num_classes: int
) -> Metric:
    predicted_RC, target_RC = _one_hot(predicted_R, num_classes), _one_hot(target_R, num_classes)

    def metric(weight_SR: Array) -> Array:
        hit_SC = weight_SR @ (predicted_RC * target_RC)
        total_SC = weight_SR @ predicted_RC + weight_SR @ target_RC
        return _nan_mean(_ratios(2 * hit_SC, total_SC))

    return metric


def _one_hot(class_R: NDArray[np.int64], num_classes: int) -> Array:
    return np.eye(num_classes)[class_R]


def _log_odds(score_RC: Array, column: int) -> Array:
    """Log odds of one class against the rest: they rise with its softmax probability."""
    rest = np.delete(score_RC, column, axis=1)
    peak_R = rest.max(1)
    return np.asarray(score_RC[:, column] - peak_R - np.log(np.exp(rest - peak_R[:, None]).sum(1)))


def _ratios(above_SC: Array, below_SC: Array) -> list[Array]:
    ratio_SC = np.divide(above_SC, below_SC, out=np.full_like(above_SC, np.nan), where=below_SC > 0)
    return list(ratio_SC.T)


def _nan_mean(columns: Sequence[Array]) -> Array:
    """The mean of what is defined in each resample."""
    value_SC = np.stack(columns, axis=1)
    defined_SC = ~np.isnan(value_SC)
    total_S = np.where(defined_SC, value_SC, 0.0).sum(1)
    return np.asarray(
        np.divide(
            total_S,
            defined_SC.sum(1),
            out=np.full_like(total_S, np.nan),
            where=defined_SC.any(1),
        )
    )
