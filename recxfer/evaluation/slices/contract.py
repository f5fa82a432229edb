"""Contract of slicers: their needs, and how they divide cases.

Shape letters: R cases.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.runs.run import Run

Slice = tuple[str, NDArray[np.int64]]
"""A name and the numbers of its cases."""

SlicerNeed = Literal["items", "classes", "times"]
"""A task that ranks items, a task that tells classes apart, a dataset with times."""


class Slicer(ABC):
    """A property that cases are divided by. Subclasses are final."""

    needs: ClassVar[frozenset[SlicerNeed]] = frozenset()
    """What a task and its dataset must have for the property to exist."""

    @abstractmethod
    def slices(self, run: Run, rows: Rows, target: Dataset) -> list[Slice]:
        """Divide cases by the property; empty slices are left out.

        Args:
            run: whose cases these are.
            rows: the cases.
            target: the dataset they are from.
        """


def by_bins(value_R: NDArray[np.int64], edges: tuple[int, ...]) -> list[Slice]:
    """Divide into slices `0`, `1-5`, ..., `51+` from the largest value of each bin."""
    place_R = np.searchsorted(np.asarray(edges), value_R, side="left")
    lows = (0, *(edge + 1 for edge in edges))
    names = [
        str(low) if low == high else f"{low}-{high}" for low, high in zip(lows, edges, strict=False)
    ]
    names.append(f"{lows[-1]}+")
    return not_empty((name, np.flatnonzero(place_R == place)) for place, name in enumerate(names))


def not_empty(slices: Iterable[Slice]) -> list[Slice]:
    """Keep the slices that have a case."""
    return [(name, cases) for name, cases in slices if cases.size]
