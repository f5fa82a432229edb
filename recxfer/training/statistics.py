"""Intervals and paired tests by resampling cases.

Cases are resampled with replacement, the same resamples for every run: an interval is the central
95 % of a metric over the resamples (percentile bootstrap, Efron 1979), and a difference between two
runs is judged on the cases both have ranked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recxfer.training.metrics import Array, Metric

RESAMPLES = 2000
"""Resamples per interval: its ends then move by about 2 % of its width."""

CHUNK_WEIGHTS = 1 << 23
"""Weights that exist at the same time, at most (64 MB)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric and its 95 % interval; None where resampling cases says nothing about it."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference, its 95 % interval and a two-sided p-value."""

    value: float
    low: float
    high: float
    p: float
    """Twice the smaller share of resamples on either side of zero; 1 where the runs agree."""


def estimate(metrics: Mapping[str, Metric], num_cases: int, seed: int) -> dict[str, Figure]:
    """Each metric with its interval.

    Args:
        metrics: by name, over the same cases.
        num_cases: how many there are.
        seed: of the resamples.
    """
    ones_1R = np.ones((1, num_cases))
    spread = _resampled(metrics, num_cases, seed)
    return {
        name: Figure(float(metric(ones_1R)[0]), *_central(spread[name]))
        for name, metric in metrics.items()
    }


def compare(
    metrics: Mapping[str, Metric], reference: Mapping[str, Metric], num_cases: int, seed: int
) -> dict[str, Difference]:
    """Each metric of one run minus that of the reference, on the same cases."""
    ones_1R = np.ones((1, num_cases))
    ours = _resampled(metrics, num_cases, seed)
    theirs = _resampled(reference, num_cases, seed)
    differences = {}
    for name in metrics:
        spread_S = ours[name] - theirs[name]
        value = float((metrics[name](ones_1R) - reference[name](ones_1R))[0])
        low, high = _central(spread_S)
        differences[name] = Difference(value, low, high, two_sided_p(spread_S))
    return differences


def two_sided_p(spread_S: Array) -> float:
    """How easily resampling turns a difference around; never below what S resamples can show."""
    spread_S = spread_S[~np.isnan(spread_S)]
    tail = min((spread_S <= 0).sum(), (spread_S >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (spread_S.size + 1)))


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
    parts: dict[str, list[Array]] = {name: [] for name in metrics}
    for weight_SR in resamples(num_cases, seed):
        for name, metric in metrics.items():
            parts[name].append(metric(weight_SR))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _central(spread_S: Array) -> tuple[float, float]:
    low, high = np.nanpercentile(spread_S, [2.5, 97.5])
    return float(low), float(high)
