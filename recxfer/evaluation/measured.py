"""Cases of a run, or of several runs that differ in their seed alone, ready to be measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recxfer.data.rows import Rows
from recxfer.evaluation.cases import Cases
from recxfer.evaluation.figures import SeedFigures
from recxfer.evaluation.metrics.choice import Measure
from recxfer.evaluation.metrics.contract import Functional
from recxfer.evaluation.statistics import mean_over_seeds
from recxfer.foundation.errors import UsageError
from recxfer.methods.task import Task
from recxfer.runs.run import Run


@dataclass(frozen=True, slots=True)
class Measured:
    """The cases of a run on a task, or those of several runs that differ in their seed alone."""

    name: Path
    """As it is shown."""

    runs: Sequence[Run]
    of_seeds: Sequence[Cases]
    """Of each run, the same cases in the same order."""

    rows: Rows

    def __post_init__(self) -> None:
        first = self.of_seeds[0].identity
        for run, cases in zip(self.runs, self.of_seeds, strict=True):
            if not cases.identity.equals(first):
                raise UsageError(
                    f"{run.path} and {self.runs[0].path}, of one group of seeds, were not held to "
                    "the same cases",
                    hint="give the dataset that all of them are to be measured on by --dataset",
                )

    @property
    def first(self) -> Run:
        """The run, or that of the first seed."""
        return self.runs[0]

    @property
    def task(self) -> Task:
        """The task."""
        return self.first.task

    @property
    def cases(self) -> Cases:
        """The cases of the first seed."""
        return self.of_seeds[0]

    def metrics(
        self, asked: Sequence[Measure], chosen: NDArray[np.int64] | None = None
    ) -> Mapping[str, Functional]:
        """Return the metrics of all or of the chosen cases; of several seeds, their means."""
        found = [cases.metrics(asked, chosen) for cases in self.of_seeds]
        return found[0] if len(found) == 1 else mean_over_seeds(found)

    def over_seeds(self, asked: Sequence[Measure]) -> SeedFigures | None:
        """Compute the spread of metrics between seeds; None for a single one."""
        if len(self.runs) == 1:
            return None
        user_R = self.cases.users()
        weight_1R = np.ones((1, user_R.size))
        values = [
            {name: float(metric(weight_1R)[0]) for name, metric in cases.metrics(asked).items()}
            for cases in self.of_seeds
        ]
        return SeedFigures(
            seeds=[run.header.seed for run in self.runs],
            sd={name: float(np.std([v[name] for v in values], ddof=1)) for name in values[0]},
        )
