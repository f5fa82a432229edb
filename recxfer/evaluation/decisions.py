"""Count the blocks that a run fine-tunes for each case, where the method decides case by case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recxfer.data.rows import Rows
from recxfer.evaluation.cases import Cases
from recxfer.evaluation.slices.cutting import slicers_that_need, slices_of
from recxfer.runs.run import Run

ALL = "all"
"""The slice that holds every case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFigures:
    """Decisions of a run, averaged over some of its cases."""

    run: str
    task: str
    dataset: str
    by: str
    """What the cases are cut by; `all` where they are not."""

    slice: str
    cases: int
    mean: float
    """Mean of the number of fine-tuned blocks; of soft gates, of their sum."""

    counts: Sequence[float]
    """Share of the cases with 0, 1, ... N fine-tuned blocks; a soft gate counts from 0.5 up."""

    blocks: Sequence[float]
    """Share of the cases that each block is fine-tuned for, lowest first; of soft gates, means."""


def decision_figures(
    opened: Run, cases: Cases, rows: Rows, dataset: Path | None, by: str | None
) -> list[DecisionFigures]:
    """Average the decisions of all cases, and by history length, label and what else was asked for.

    Empty where the run decides nothing case by case.
    """
    gate_RN = cases.decisions
    if gate_RN is None:
        return []
    found = [_figures(opened, dataset, ALL, ALL, gate_RN)]
    classes = [] if opened.task.ranks_items else slicers_that_need("classes")
    wanted = ["history-length", *classes, by]
    for property_ in dict.fromkeys(name for name in wanted if name is not None):
        found += [
            _figures(opened, dataset, property_, name, gate_RN[chosen])
            for name, chosen in slices_of(opened, rows, dataset, property_)
        ]
    return found


def _figures(
    opened: Run, dataset: Path | None, by: str, name: str, gate_RN: NDArray[np.float64]
) -> DecisionFigures:
    num_cases, num_blocks = gate_RN.shape
    count_R = (gate_RN >= 0.5).sum(1)
    return DecisionFigures(
        run=str(opened.path),
        task=opened.task.name,
        dataset=str(dataset or opened.learned.dataset.name),
        by=by,
        slice=name,
        cases=num_cases,
        mean=float(gate_RN.sum(1).mean()),
        counts=(np.bincount(count_R, minlength=num_blocks + 1) / num_cases).tolist(),
        blocks=gate_RN.mean(0).tolist(),
    )
