"""Contract of metrics: their needs, their direction, and their value under case weights.

A metric of some cases is a function of the weight of each case. With unit weights that is the
metric itself, with the counts of a bootstrap resample it is the metric of the resample.

Shape letters: R cases, C classes, K length of the recommended lists, V items, S resamples.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
Functional = Callable[[Array], Array]
"""Weights (S, R) to values (S,); NaN where a metric is undefined, as AUC without negatives."""

Need = Literal["ranks", "lists", "scores", "popularity"]
"""What a metric may ask for, by the fields of `Predictions`."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The weighted mean of a value per case."""

    value_R: Array

    def __call__(self, weight_SR: Array) -> Array:
        """Average under each row of weights."""
        return np.asarray(weight_SR @ self.value_R / weight_SR.sum(1))


@dataclass(frozen=True, slots=True)
class Whole:
    """A figure of all cases together, which resampling users says nothing about.

    A resample holds fewer different users, and so fewer different lists: coverage, say, would be
    lower on every one of them. Such a figure has no interval and no paired difference, and is not
    compared between slices, since it grows with the number of cases.
    """

    value: float

    def __call__(self, weight_SR: Array) -> Array:
        """Return the same figure for every row of weights."""
        return np.full(weight_SR.shape[0], self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Predictions for some cases; a field that no chosen metric needs may be None."""

    target_R: NDArray[np.int64]
    """The true item, counted from 1, or the true class, counted from 0."""

    rank_R: NDArray[np.int64] | None = None
    """`ranks`: of the target among all candidates, from 1; ties count against it."""

    item_RK: NDArray[np.int64] | None = None
    """`lists`: the best items of each case, best first, counted from 1."""

    score_RC: Array | None = None
    """`scores`: of each class."""

    popularity_V1: NDArray[np.int64] | None = None
    """`popularity`: training events of each item, by its number; place 0 is padding."""

    num_items: int = 0


class Metric(ABC):
    """A figure of merit.

    Subclasses are final and say what they need; see `docs/guides/add-a-metric.md`.
    """

    needs: ClassVar[frozenset[Need]]
    """Which fields of `Predictions` it reads, beside the target."""

    higher_is_better: ClassVar[bool] = True

    cut: ClassVar[bool] = False
    """Whether it looks at the first k places alone and is called `NAME@k`."""

    @abstractmethod
    def of(self, cases: Predictions, k: int) -> Functional:
        """Build the metric of some cases, as a function of their weights.

        Args:
            cases: what was predicted, with all that the metric needs.
            k: places that count; 0 where `cut` is false.
        """

    def value(self, cases: Predictions, k: int) -> float:
        """Compute the metric with every case counted once, as training records it.

        A mean is summed in torch's order: histories and headers have it to the last bit.
        """
        functional = self.of(cases, k)
        if isinstance(functional, Mean):
            return float(torch.tensor(functional.value_R).mean())
        return float(functional(np.ones((1, cases.target_R.size)))[0])
