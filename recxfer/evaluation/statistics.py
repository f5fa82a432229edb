"""Intervals and paired tests by resampling users.

An interval is the central 95 % of a metric over resamples of the users, drawn with replacement
(percentile bootstrap, Efron 1979); whoever is drawn brings all of their cases, since the cases of
one user resemble each other (cluster bootstrap, Field and Welsh 2007). A difference between two
runs is judged on the cases both have ranked, each resample holding the same users for both.

Shape letters: R cases, P users, S resamples, G groups of users that a metric sees alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recxfer.evaluation.metrics.contract import Array, Functional, Mean, Whole

RESAMPLES = 2000
"""Resamples per interval: its ends then move by about 2 % of its width."""

CHUNK_WEIGHTS = 1 << 17
"""Weights that exist at the same time, at most (1 MB, within a core's cache: 3 times as fast as
64 MB); one resample of many cases may be more."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric and its 95 % interval.

    The value is None where the cases leave it undefined (AUC of one class alone), the ends where
    resampling users says nothing about it (coverage; one user; all cases alike).
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


def estimate(
    metrics: Mapping[str, Functional], person_R: NDArray[np.int64], seed: int
) -> dict[str, Figure]:
    """Compute each metric with its interval.

    Args:
        metrics: by name, over the same cases.
        person_R: whose case each one is.
        seed: of the resamples. A metric's interval does not depend on the others asked for.
    """
    spread = _resampled(metrics, person_R, seed)
    return {
        name: Figure(_value(metric, person_R.size), *_informative(spread[name]))
        for name, metric in metrics.items()
    }


def compare(
    metrics: Mapping[str, Functional],
    reference: Mapping[str, Functional],
    person_R: NDArray[np.int64],
    seed: int,
) -> dict[str, Difference]:
    """Compute each metric of one run minus that of the reference, on the same cases."""
    differences = {name: _minus(metric, reference[name]) for name, metric in metrics.items()}
    spread = _resampled(differences, person_R, seed)
    return {
        name: Difference(
            _value(difference, person_R.size), *_central(spread[name]), two_sided_p(spread[name])
        )
        for name, difference in differences.items()
    }


def mean_over_seeds(metrics: Sequence[Mapping[str, Functional]]) -> dict[str, Functional]:
    """Average the metrics of runs that differ in their seed alone.

    A resample of the cases is the same for all runs: intervals and paired differences of the mean
    are over users, seeds being held.

    Args:
        metrics: those of each run by name, over the same cases in the same order.
    """
    return {name: _mean_of([of_run[name] for of_run in metrics]) for name in metrics[0]}


def two_sided_p(spread_S: Array) -> float:
    """Compute a two-sided p-value; never below what S resamples can show."""
    spread_S = spread_S[~np.isnan(spread_S)]
    tail = min((spread_S <= 0).sum(), (spread_S >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (spread_S.size + 1)))


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p-values for being several: a family has one below 0.05 by chance in 5 % of cases.

    Holm's step-down method (1979): the smallest counts for all, the next for one less, and so on.
    """
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = largest
    return adjusted


def resamples(num_users: int, num_cases: int, seed: int) -> Iterator[Array]:
    """Draw weights (S, P) of RESAMPLES resamples in chunks: how often each user was drawn."""
    generator = np.random.Generator(np.random.PCG64(seed))
    size = max(1, CHUNK_WEIGHTS // max(num_cases, 1))
    for start in range(0, RESAMPLES, size):
        count = min(size, RESAMPLES - start)
        drawn_SP: NDArray[np.int64] = generator.integers(num_users, size=(count, num_users))
        drawn_SP += np.arange(count)[:, None] * num_users
        flat = np.bincount(drawn_SP.ravel(), minlength=count * num_users)
        yield flat.reshape(count, num_users).astype(np.float64)


def _mean_of(metrics: Sequence[Functional]) -> Functional:
    def mean(weights: Array) -> Array:
        averaged: Array = np.mean([metric(weights) for metric in metrics], axis=0)
        return averaged

    return mean


def _minus(ours: Functional, theirs: Functional) -> Functional:
    if isinstance(ours, Mean) and isinstance(theirs, Mean):
        return Mean(ours.value_R - theirs.value_R)
    return lambda weight_SR: ours(weight_SR) - theirs(weight_SR)


def _resampled(
    metrics: Mapping[str, Functional], person_R: NDArray[np.int64], seed: int
) -> dict[str, Array]:
    """Compute each metric on every resample (S,)."""
    person_R = np.unique(person_R, return_inverse=True)[1]
    num_users = int(person_R.max()) + 1
    spread: dict[str, Array] = {}
    left: dict[str, Functional] = {}
    for name, metric in metrics.items():
        if isinstance(metric, Whole):
            spread[name] = np.full(RESAMPLES, metric.value)
            continue
        grouped_S = _by_groups(metric, person_R, seed) if isinstance(metric, Mean) else None
        if grouped_S is None:
            left[name] = metric
        else:
            spread[name] = grouped_S
    parts: dict[str, list[Array]] = {name: [] for name in left}
    for weight_SP in resamples(num_users, person_R.size, seed) if left else ():
        weight_SR = np.take(weight_SP, person_R, axis=1)
        for name, metric in left.items():
            parts[name].append(metric(weight_SR))
    return spread | {name: np.concatenate(values) for name, values in parts.items()}


def _by_groups(mean: Mean, person_R: NDArray[np.int64], seed: int) -> Array | None:
    """Resample groups of equal users: the same distribution, without a draw for every user.

    Ranks beyond the longest list all count nothing, so that a million users are a few groups.
    None where there are too many groups to save anything.
    """
    total_P, count_P = np.bincount(person_R, mean.value_R), np.bincount(person_R)
    pairs, users_G = np.unique(np.stack([total_P, count_P], 1), axis=0, return_counts=True)
    if users_G.size * 4 > count_P.size:
        return None
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn_SG = generator.multinomial(count_P.size, users_G / count_P.size, size=RESAMPLES)
    return np.asarray(drawn_SG @ pairs[:, 0] / (drawn_SG @ pairs[:, 1]))


def _value(metric: Functional, num_cases: int) -> float | None:
    value = float(metric(np.ones((1, num_cases)))[0])
    return None if np.isnan(value) else value


def _informative(spread_S: Array) -> tuple[float | None, float | None]:
    """Compute the central 95 %; None where all resamples agree, for they are then too few."""
    low, high = _central(spread_S)
    return (None, None) if low == high else (low, high)


def _central(spread_S: Array) -> tuple[float | None, float | None]:
    """Compute the ends of the central 95 % of the resamples in which a metric is defined."""
    defined_S = spread_S[~np.isnan(spread_S)]
    if defined_S.size == 0:
        return None, None
    low, high = np.percentile(defined_S, [2.5, 97.5])
    return float(low), float(high)
