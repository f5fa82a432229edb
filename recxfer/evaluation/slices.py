"""Slices of held-out cases by a property of their history, their target or their person."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.foundation.errors import UsageError
from recxfer.runs.run import Run

_NEVER = 2**63 - 1
_DAY = 86_400


Slice = tuple[str, NDArray[np.int64]]
"""A name and the numbers of its cases."""


def slices_of(run: Run, rows: Rows, dataset: Path | None, by: str) -> list[Slice]:
    """Cases by a property: name of each slice and its case numbers, empty slices left out."""
    target = run.target if dataset is None else run.open_target(dataset)
    return SLICERS[by](run, rows, target)


def _by_bins(value_R: NDArray[np.int64], edges: tuple[int, ...]) -> list[Slice]:
    """Slices `0`, `1-5`, ..., `51+` from the largest value of each bin."""
    place_R = np.searchsorted(np.asarray(edges), value_R, side="left")
    lows = (0, *(edge + 1 for edge in edges))
    names = [
        str(low) if low == high else f"{low}-{high}" for low, high in zip(lows, edges, strict=False)
    ]
    names.append(f"{lows[-1]}+")
    found = ((name, np.flatnonzero(place_R == place)) for place, name in enumerate(names))
    return [(name, cases) for name, cases in found if cases.size]


def _history_length(run: Run, rows: Rows, target: Dataset) -> list[Slice]:
    return _by_bins(rows.length_R.numpy(), (0, 5, 20, 50, 100))


def _target_events(run: Run, rows: Rows, target: Dataset) -> list[Slice]:
    events = target.events
    train_U = torch.bincount(events.user_E[events.split_E == 0], minlength=events.num_users)
    return _by_bins(train_U[rows.user_R].numpy(), (0, 1, 4))


def _item_frequency(run: Run, rows: Rows, target: Dataset) -> list[Slice]:
    assert rows.target_R is not None
    events = target.events
    train = events.item_E[events.split_E == 0].long()
    count_V = torch.bincount(train, minlength=target.num_items + 1)[1:]
    return _by_bins(count_V[rows.target_R].numpy(), (0, 5, 20, 100))


def _item_age(run: Run, rows: Rows, target: Dataset) -> list[Slice]:
    """Cases by how long before them training first met their target item, in whole days."""
    assert rows.target_R is not None
    assert rows.seen is not None
    if not target.info.has_timestamps:
        raise UsageError(
            f"--by item-age needs times, and {target.path} has none",
            hint="--by item-frequency tells items that training never met from the others",
        )
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
        (f"{name} days", known.numpy()[cases]) for name, cases in _by_bins(days, (0, 7, 30, 365))
    ]
    return [(name, cases) for name, cases in found if cases.size]


def _label(run: Run, rows: Rows, target: Dataset) -> list[Slice]:
    assert rows.target_R is not None
    class_R = rows.target_R.numpy()
    found = ((name, np.flatnonzero(class_R == c)) for c, name in enumerate(run.task.classes))
    return [(name, cases) for name, cases in found if cases.size]


Slicer = Callable[[Run, Rows, Dataset], list[Slice]]
SLICERS: dict[str, Slicer] = {
    "history-length": _history_length,
    "target-events": _target_events,
    "item-frequency": _item_frequency,
    "item-age": _item_age,
    "label": _label,
}
"""What `--by` knows. Events and frequencies are those of the training part."""

ITEM_SLICERS = frozenset({"target-events", "item-frequency", "item-age"})
"""Slicers that only make sense where items are ranked."""

CLASS_SLICERS = frozenset({"label"})
"""Slicers that only make sense where people are told apart."""
