"""Slices by a property of the user or of their history."""

from typing import ClassVar, final

import numpy as np
import torch
from typing_extensions import override

from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.evaluation.slices.contract import Slice, Slicer, SlicerNeed, by_bins, not_empty
from recxfer.runs.run import Run


@final
class HistoryLength(Slicer):
    """Cases by the number of events of the history that are read."""

    @override
    def slices(self, run: Run, rows: Rows, target: Dataset) -> list[Slice]:
        """Count the events of each history."""
        return by_bins(rows.length_R.numpy(), (0, 5, 20, 50, 100))


@final
class TargetEvents(Slicer):
    """Cases by the number of training events that their person has in the target."""

    needs: ClassVar[frozenset[SlicerNeed]] = frozenset({"items"})

    @override
    def slices(self, run: Run, rows: Rows, target: Dataset) -> list[Slice]:
        """Count the training events of each user."""
        events = target.events
        train_U = torch.bincount(events.user_E[events.split_E == 0], minlength=events.num_users)
        return by_bins(train_U[rows.user_R].numpy(), (0, 1, 4))


@final
class Label(Slicer):
    """Cases by their class."""

    needs: ClassVar[frozenset[SlicerNeed]] = frozenset({"classes"})

    @override
    def slices(self, run: Run, rows: Rows, target: Dataset) -> list[Slice]:
        """Part the cases by their class, in the order of the classes."""
        assert rows.target_R is not None
        class_R = rows.target_R.numpy()
        return not_empty(
            (name, np.flatnonzero(class_R == c)) for c, name in enumerate(run.task.classes)
        )
