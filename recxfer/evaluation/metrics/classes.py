"""Metrics of class scores.

Classes without a case are left out of means over classes; of macro F1 only those that are never
predicted either.

Shape letters: R cases, C classes, G groups of cases with equal scores, S resamples.
"""

from collections.abc import Sequence
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from typing_extensions import override

from recxfer.evaluation.metrics.contract import Array, Functional, Mean, Metric, Need, Predictions


@final
class Accuracy(Metric):
    """Share of the cases whose class is predicted."""

    needs: ClassVar[frozenset[Need]] = frozenset({"scores"})

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Count 1 for each case that is told right."""
        return Mean((_predicted(cases) == cases.target_R).astype(np.float64))


@final
class BalancedAccuracy(Metric):
    """Mean over classes of the share of their cases that is predicted."""

    needs: ClassVar[frozenset[Need]] = frozenset({"scores"})

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Average the accuracy of each class."""
        right_R = (_predicted(cases) == cases.target_R).astype(np.float64)
        of_class_RC = _one_hot(cases.target_R, _scores(cases).shape[1])

        def functional(weight_SR: Array) -> Array:
            return _nan_mean(
                _ratios(weight_SR @ (of_class_RC * right_R[:, None]), weight_SR @ of_class_RC)
            )

        return functional


@final
class MacroF1(Metric):
    """Mean over classes of the harmonic mean of precision and recall."""

    needs: ClassVar[frozenset[Need]] = frozenset({"scores"})

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Average the F1 of each class."""
        num_classes = _scores(cases).shape[1]
        predicted_RC = _one_hot(_predicted(cases), num_classes)
        target_RC = _one_hot(cases.target_R, num_classes)

        def functional(weight_SR: Array) -> Array:
            hit_SC = weight_SR @ (predicted_RC * target_RC)
            total_SC = weight_SR @ predicted_RC + weight_SR @ target_RC
            return _nan_mean(_ratios(2 * hit_SC, total_SC))

        return functional


@final
class AUC(Metric):
    """Area under the ROC curve.

    Of two classes, that of the second one's score against the first one's; of more, the mean over
    classes of one against the rest.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"scores"})

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Average the area of each class, or take that of the second of two."""
        score_RC, target_R = _scores(cases), cases.target_R
        num_classes = score_RC.shape[1]
        margins = (
            [(score_RC[:, 1] - score_RC[:, 0], target_R == 1)]
            if num_classes == 2
            else [(_log_odds(score_RC, c), target_R == c) for c in range(num_classes)]
        )
        areas = [area_under_curve(score_R, positive_R) for score_R, positive_R in margins]
        return lambda weight_SR: _nan_mean([area(weight_SR) for area in areas])


@final
class LogLikelihood(Metric):
    """Mean natural logarithm of the softmax probability of the true class."""

    needs: ClassVar[frozenset[Need]] = frozenset({"scores"})

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Take the log probability of each case's class."""
        loss_R = F.cross_entropy(*self._tensors(cases), reduction="none")
        return Mean(-loss_R.double().numpy())

    @override
    def value(self, cases: Predictions, k: int) -> float:
        """Average in float32, as the histories of all runs have it."""
        return -float(F.cross_entropy(*self._tensors(cases)))

    def _tensors(self, cases: Predictions) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(_scores(cases)).float(), torch.tensor(cases.target_R)


def area_under_curve(score_R: Array, positive_R: NDArray[np.bool_]) -> Functional:
    """Compute the chance that a positive case scores above a negative one; ties count half."""
    order_R = np.argsort(score_R, kind="stable")
    sorted_R = score_R[order_R]
    up_R = positive_R[order_R].astype(np.float64)
    starts_G = np.flatnonzero(np.r_[True, sorted_R[1:] != sorted_R[:-1]])

    def functional(weight_SR: Array) -> Array:
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

    return functional


def _scores(cases: Predictions) -> Array:
    assert cases.score_RC is not None
    return cases.score_RC


def _predicted(cases: Predictions) -> NDArray[np.int64]:
    return np.asarray(_scores(cases).argmax(1))


def _one_hot(class_R: NDArray[np.int64], num_classes: int) -> Array:
    return np.eye(num_classes)[class_R]


def _log_odds(score_RC: Array, column: int) -> Array:
    """Compute log odds of one class against the rest: they rise with its softmax probability."""
    rest = np.delete(score_RC, column, axis=1)
    peak_R = rest.max(1)
    return np.asarray(score_RC[:, column] - peak_R - np.log(np.exp(rest - peak_R[:, None]).sum(1)))


def _ratios(above_SC: Array, below_SC: Array) -> list[Array]:
    ratio_SC = np.divide(above_SC, below_SC, out=np.full_like(above_SC, np.nan), where=below_SC > 0)
    return list(ratio_SC.T)


def _nan_mean(columns: Sequence[Array]) -> Array:
    """Average what is defined in each resample."""
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
