"""Divide the cases of a run by a slicer of the table, after checking that it fits."""

from pathlib import Path

from recxfer.data.rows import Rows
from recxfer.evaluation.slices import SLICERS
from recxfer.evaluation.slices.contract import Slice, SlicerNeed
from recxfer.foundation.errors import UsageError
from recxfer.runs.run import Run


def slicers_that_need(need: SlicerNeed) -> list[str]:
    """List the names of the slicers that need this, in table order."""
    return [entry.name for entry in SLICERS if need in SLICERS.resolve(entry.name).needs]


def slices_of(run: Run, rows: Rows, dataset: Path | None, by: str) -> list[Slice]:
    """Divide cases by a property: name of each slice and its case numbers, empty slices left out.

    Raises:
        UsageError: the property does not exist for this task or dataset.
    """
    target = run.target if dataset is None else run.open_target(dataset)
    slicer = SLICERS.resolve(by)()
    if ("classes" if run.task.ranks_items else "items") in slicer.needs:
        raise UsageError(
            f"--by {by} does not fit the task {run.task.name} of {run.path}",
            hint=f"{', '.join(slicers_that_need('items'))} are for item tasks, "
            f"{', '.join(slicers_that_need('classes'))} for profiles",
        )
    if "times" in slicer.needs and not target.info.has_timestamps:
        timeless = [name for name in SLICERS.names if name not in slicers_that_need("times")]
        raise UsageError(
            f"--by {by} needs times, and {target.path} has none",
            hint=f"do without: --by {', --by '.join(timeless)}",
        )
    return list(slicer.slices(run, rows, target))
