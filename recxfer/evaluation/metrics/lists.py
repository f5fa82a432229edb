"""Metrics of recommended lists, whatever the target."""

from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from recxfer.evaluation.metrics.contract import Functional, Metric, Need, Predictions, Whole


@final
class Coverage(Metric):
    """coverage@k: share of all items that are in at least one list of length k."""

    needs: ClassVar[frozenset[Need]] = frozenset({"lists"})
    cut: ClassVar[bool] = True

    @override
    def of(self, cases: Predictions, k: int) -> Functional:
        """Count the different items of all lists."""
        assert cases.item_RK is not None
        return Whole(np.unique(cases.item_RK[:, :k]).size / cases.num_items)
