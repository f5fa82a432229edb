"""Metrics of the target's rank; with one target per case, HR@k is recall@k.

Shape letters: R cases.
"""

from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from recxfer.evaluation.metrics.contract import Array, Functional, Mean, Metric, Need, Predictions


@final
class HitRate(Metric):
    """HR@k: share of the cases whose target is among the first k."""

    needs: ClassVar[frozenset[Need]] = frozenset({"ranks"})
    cut: ClassVar[bool] = True

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Count 1 for each target among the first k."""
        rank_R = _ranks(cases)
        return _within(k, rank_R, np.ones_like(rank_R))


@final
class NDCG(Metric):
    """NDCG@k of one relevant item (Järvelin and Kekäläinen 2002): 1 / log2(rank + 1)."""

    needs: ClassVar[frozenset[Need]] = frozenset({"ranks"})
    cut: ClassVar[bool] = True

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Discount each target among the first k by its rank."""
        rank_R = _ranks(cases)
        return _within(k, rank_R, 1 / np.log2(rank_R + 1))


@final
class MRR(Metric):
    """MRR@k: mean reciprocal rank of the target, 0 beyond the first k."""

    needs: ClassVar[frozenset[Need]] = frozenset({"ranks"})
    cut: ClassVar[bool] = True

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Divide 1 by the rank of each target among the first k."""
        rank_R = _ranks(cases)
        return _within(k, rank_R, 1 / rank_R)


def _ranks(cases: Predictions) -> Array:
    assert cases.rank_R is not None
    return np.asarray(cases.rank_R, dtype=np.float64)


def _within(k: int, rank_R: Array, gain_R: Array) -> Mean:
    return Mean(np.where(rank_R <= k, gain_R, 0.0))
