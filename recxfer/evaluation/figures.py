"""Figures that `evaluate` returns: of a run, of a pair of runs, of a slice."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from recxfer.evaluation.statistics import Difference, Figure
from recxfer.runs.sizes import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFigures:
    """Spread of the metrics of runs that differ in their seed alone."""

    seeds: Sequence[int]
    sd: Mapping[str, float]
    """Standard deviation between seeds, of each metric over all cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """Metrics of one run, or means over runs that differ in their seed alone."""

    run: str
    method: str
    number: int | None
    """Which task of the run, counted from 1; None where a run is for one task alone."""

    task: str
    dataset: str
    cases: int
    people: int
    """Whose cases these are; intervals resample users."""

    candidates: str
    """`all`, or `1+N sampled`: metrics among sampled candidates are no metrics among all."""

    seen: Literal["excluded", "kept"] | None
    """Whether items that a user met before are candidates, which is where published figures differ;
    None for profiles."""

    size: Size
    """What the run adds to the backbone it stands on."""

    metrics: Mapping[str, Figure]
    """Intervals resample users; of several seeds, they are of the mean, seeds being held."""

    over_seeds: SeedFigures | None = None
    """None where there is one seed."""

    def as_json(self) -> dict[str, object]:
        """Return the run's entry in `--json`; `over_seeds` where it has several."""
        facts = asdict(self)
        if self.over_seeds is None:
            del facts["over_seeds"]
        return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDifference:
    """One metric of one run minus that of the first one of its task."""

    run: str
    against: str
    task: str
    dataset: str
    metric: str
    difference: Difference
    p_holm: float
    """The p-value adjusted for the number of runs compared with the first (Holm)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFigures:
    """One run's metrics on some of the cases."""

    run: str
    task: str
    slice: str
    cases: int
    metrics: Mapping[str, Figure]
