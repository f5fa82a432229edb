"""Slices by a property of the target item."""

from typing import ClassVar, final

import numpy as np
import torch
from typing_extensions import override

from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.evaluation.popularity import item_popularity
from recxfer.evaluation.slices.contract import Slice, Slicer, SlicerNeed, by_bins, not_empty
from recxfer.runs.run import Run

_NEVER = 2**63 - 1
_DAY = 86_400


@final
class ItemFrequency(Slicer):
    """Cases by the number of training events of their target item."""

    needs: ClassVar[frozenset[SlicerNeed]] = frozenset({"items"})

    @override
    def slices(self, run: Run, rows: Rows, target: Dataset) -> list[Slice]:
        """Count the training events of each target item."""
        assert rows.target_R is not None
        count_R = item_popularity(target)[rows.target_R + 1]
        return by_bins(count_R.numpy(), (0, 5, 20, 100))


@final
class ItemAge(Slicer):
    """Cases by how long before them training first met their target item, in whole days."""

    needs: ClassVar[frozenset[SlicerNeed]] = frozenset({"items", "times"})

    @override
    def slices(self, run: Run, rows: Rows, target: Dataset) -> list[Slice]:
        """Compare the time of each case with the first training event of its item."""
        assert rows.target_R is not None
        assert rows.seen is not None
        events = target.events
        train_E = events.split_E == 0
        first_V1 = torch.full((target.num_items + 1,), _NEVER, dtype=torch.int64)
        first_V1.scatter_reduce_(0, events.item_E[train_E].long(), events.time_E[train_E], "amin")
        first_R = first_V1[rows.target_R + 1]
        # The target of a case is the event right after the last one that its user met before it.
        time_R = events.time_E[rows.seen.end_R]
        cold_R = first_R == _NEVER
        later_R = ~cold_R & (first_R > time_R)
        known = (~cold_R & ~later_R).nonzero().squeeze(1)
        days = ((time_R - first_R)[known] // _DAY).numpy()
        found = [("never in training", np.flatnonzero(cold_R)), ("later", np.flatnonzero(later_R))]
        found += [
            (f"{name} days", known.numpy()[cases]) for name, cases in by_bins(days, (0, 7, 30, 365))
        ]
        return not_empty(found)
