"""Forgetting and transfer between tasks that are learned one after another.

Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning (NIPS 2017), section 2, and
Chaudhry et al., Riemannian Walk for Incremental Learning (ECCV 2018), section 4. Their forward
transfer scores a task before it is learned; with an output layer per task there is nothing to score
then, so ours compares a task, when it is learned, with a run that was for it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Matrix = Sequence[Sequence[float | None]]
"""Quality of each task (columns, in the order of learning) after each run (rows, likewise); None
where a run does not hold a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continual:
    """Means over tasks; None where there is nothing to take a mean of."""

    final_average: float
    """Quality after the last run."""

    forgetting: float | None
    """The best that any earlier run reached, minus what is left; over tasks learned before."""

    backward_transfer: float | None
    """What is left, minus what there was when the task was learned; over the same tasks."""

    forward_transfer: float | None
    """What there was when the task was learned, minus what a run for it alone reaches."""


def continual_metrics(matrix: Matrix, alone: Sequence[float | None]) -> Continual:
    """Reduce a matrix to four means.

    Args:
        matrix: the last row holds every task.
        alone: quality of each task in a run that is for it alone; None where there is no such run.
    """
    *before, last = matrix
    forgotten, backward, forward, final = [], [], [], []
    for task, left in enumerate(last):
        assert left is not None, "the last run holds every task"
        final.append(left)
        reached = [row[task] for row in before]
        known = [value for value in reached if value is not None]
        if known:
            forgotten.append(max(known) - left)
            backward.append(left - known[0])
        reference = alone[task]
        if reference is not None:
            forward.append((known[0] if known else left) - reference)
    return Continual(
        final_average=sum(final) / len(final),
        forgetting=_mean(forgotten),
        backward_transfer=_mean(backward),
        forward_transfer=_mean(forward),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
