"""Novelty of recommended lists.

Castells, Hurley and Vargas, Novelty and Diversity in Recommender Systems (Recommender Systems
Handbook, 2nd edition, 2015): mean self-information of the recommended items.
"""

from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from recxfer.evaluation.metrics.contract import Functional, Mean, Metric, Need, Predictions


@final
class Novelty(Metric):
    """novelty@k: mean over the first k items of -log2 of their share of the training events, bits.

    An item that training never met counts as if it had been met once.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"lists", "popularity"})
    cut: ClassVar[bool] = True

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Average the self-information of each list."""
        assert cases.item_RK is not None
        assert cases.popularity_V1 is not None
        count_V1 = np.maximum(cases.popularity_V1, 1)
        bits_V1 = -np.log2(count_V1 / max(cases.popularity_V1.sum(), 1))
        return Mean(bits_V1[cases.item_RK[:, :k]].mean(1))
