"""Intervals and paired tests by resampling cases.

An interval is the central 95 % of a metric over resamples of the cases, drawn with replacement
(percentile bootstrap, Efron 1979). A difference between two runs is judged on the cases both have
ranked, each resample holding the same cases for both.

Shape letters: R cases, S resamples, G groups of cases that all metrics see alike, M metrics.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recxfer.training.metrics import Array, Mean, Metric

RESAMPLES = 2000
"""Resamples per interval: its ends then move by about 2 % of its width."""

CHUNK_WEIGHTS = 1 << 17
"""Weights that exist at the same time, at most (1 MB, within a core's cache: 3 times as fast as
64 MB); one resample of many cases may be more."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric and its 95 % interval.

    The value is None where the cases leave it undefined (AUC of one class alone), the ends where
    resampling cases says nothing about it (coverage).
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference, its 95 % interval and a two-sided p-value; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    p: float
    """Twice the smaller share of resamples on either side of zero; 1 where the runs agree."""


def estimate(metrics: Mapping[str, Metric], num_cases: int, seed: int) -> dict[str, Figure]:
    """Each metric with its interval.

    Args:
        metrics: by name, over the same cases.
        num_cases: how many there are.
        seed: of the resamples.
    """
    spread = _resampled(metrics, num_cases, seed)
    return {
        name: Figure(_value(metric, num_cases), *_central(spread[name]))
        for name, metric in metrics.items()
    }


def compare(
    metrics: Mapping[str, Metric], reference: Mapping[str, Metric], num_cases: int, seed: int
) -> dict[str, Difference]:
    """Each metric of one run minus that of the reference, on the same cases."""
    ours = {f"ours {name}": metric for name, metric in metrics.items()}
    theirs = {f"theirs {name}": metric for name, metric in reference.items()}
    spread = _resampled({**ours, **theirs}, num_cases, seed)
    differences = {}
    for name in metrics:
        spread_S = spread[f"ours {name}"] - spread[f"theirs {name}"]
        values = _value(metrics[name], num_cases), _value(reference[name], num_cases)
        value = None if values[0] is None or values[1] is None else values[0] - values[1]
        differences[name] = Difference(value, *_central(spread_S), two_sided_p(spread_S))
    return differences


def two_sided_p(spread_S: Array) -> float:
    """How easily resampling turns a difference around; never below what S resamples can show."""
    spread_S = spread_S[~np.isnan(spread_S)]
    tail = min((spread_S <= 0).sum(), (spread_S >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (spread_S.size + 1)))


def holm(ps: Sequence[float]) -> list[float]:
    """P-values adjusted for being several: one below 0.05 by mere chance comes in 5 % of families.

    Holm's step-down method (1979): the smallest counts for all, the next for one less, and so on.
    """
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = largest
    return adjusted


def resamples(num_cases: int, seed: int) -> Iterator[Array]:
    """Weights (S, R) of RESAMPLES resamples in chunks: how often each case was drawn."""
    generator = np.random.Generator(np.random.PCG64(seed))
    size = max(1, CHUNK_WEIGHTS // max(num_cases, 1))
    for start in range(0, RESAMPLES, size):
        count = min(size, RESAMPLES - start)
        drawn_SR: NDArray[np.int64] = generator.integers(num_cases, size=(count, num_cases))
        drawn_SR += np.arange(count)[:, None] * num_cases
        flat = np.bincount(drawn_SR.ravel(), minlength=count * num_cases)
        yield flat.reshape(count, num_cases).astype(np.float64)


def _resampled(metrics: Mapping[str, Metric], num_cases: int, seed: int) -> dict[str, Array]:
    """Each metric on every resample (S,)."""
    means = {name: metric for name, metric in metrics.items() if isinstance(metric, Mean)}
    if len(means) == len(metrics):
        return _resampled_means(means, num_cases, seed)
    parts: dict[str, list[Array]] = {name: [] for name in metrics}
    for weight_SR in resamples(num_cases, seed):
        for name, metric in metrics.items():
            parts[name].append(metric(weight_SR))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _resampled_means(means: Mapping[str, Mean], num_cases: int, seed: int) -> dict[str, Array]:
    """Resample groups of equal cases: the same distribution, without a draw for every case.

    Ranks beyond the longest list all count nothing, so that a million cases are a few groups.
    """
    value_RM = np.stack([mean.value_R for mean in means.values()], axis=1)
    value_GM, count_G = np.unique(value_RM, axis=0, return_counts=True)
    total_SM: Array
    if count_G.size * 4 <= num_cases:
        generator = np.random.Generator(np.random.PCG64(seed))
        share_G = count_G / num_cases
        total_SM = generator.multinomial(num_cases, share_G, size=RESAMPLES) @ value_GM
    else:
        total_SM = np.concatenate(
            [weight_SR @ value_RM for weight_SR in resamples(num_cases, seed)]
        )
    return dict(zip(means, (total_SM / num_cases).T, strict=True))


def _value(metric: Metric, num_cases: int) -> float | None:
    value = float(metric(np.ones((1, num_cases)))[0])
    return None if np.isnan(value) else value


def _central(spread_S: Array) -> tuple[float | None, float | None]:
    """The ends of the central 95 % of the resamples in which a metric is defined."""
    defined_S = spread_S[~np.isnan(spread_S)]
    if defined_S.size == 0:
        return None, None
    low, high = np.percentile(defined_S, [2.5, 97.5])
    return float(low), float(high)
