"""Make a run once for each of several seeds: `--seeds` of pretrain and transfer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from recxfer.commands.training_config import TrainingConfig
from recxfer.foundation.errors import UsageError
from recxfer.foundation.names import RUN_JSON, SEED_FOLDER
from recxfer.foundation.reporting import Reporter

MOST_SEEDS = 1000
"""Seeds of one call, at most: more is a slip of the hand."""


class Trained(Protocol):
    """Result of pretrain or transfer."""

    @property
    def path(self) -> Path:
        """The run."""
        ...

    @property
    def validation(self) -> dict[str, float]:
        """Metrics of the epoch that was kept."""
        ...

    def as_json(self) -> dict[str, object]:
        """Return the keys of `--json`."""
        ...


ConfigT = TypeVar("ConfigT", bound=TrainingConfig)
ResultT = TypeVar("ResultT", bound=Trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedsResult(Generic[ResultT]):
    """The runs of several seeds."""

    path: Path
    """The folder that holds them."""

    seeds: tuple[int, ...]
    results: tuple[ResultT, ...]
    """In the order of the seeds."""

    @property
    def validation(self) -> dict[str, tuple[float, float]]:
        """Mean over seeds, and standard deviation between them, of each validation metric."""
        found = {}
        for name in self.results[0].validation:
            values = np.array([result.validation[name] for result in self.results])
            found[name] = (float(values.mean()), _deviation(values.tolist()))
        return found

    def as_json(self) -> dict[str, object]:
        """Return the keys of `--json`."""
        return {
            "seeds": list(self.seeds),
            "validation": {
                name: {"mean": mean, "sd": deviation}
                for name, (mean, deviation) in self.validation.items()
            },
            "runs": [{"path": str(r.path), **r.as_json()} for r in self.results],
        }


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read `0,1,2`, `0-4` or both together as seeds.

    Raises:
        UsageError: a part is no seed, or a seed stands there twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise UsageError(
                f"--seeds {text}: {part!r} is no seed", hint="write them as 0,1,2 or as 0-2"
            )
        first, last = int(low), int(high) if dash else int(low)
        if last < first or last - first >= MOST_SEEDS:
            raise UsageError(
                f"--seeds {text}: {part!r} is no range of 1 to {MOST_SEEDS:,} seeds",
                hint="write the smaller one first",
            )
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {text}: a seed stands there twice", hint="name each seed once")
    return tuple(seeds)


def run_seeds(
    config: ConfigT,
    seeds: Sequence[int],
    run: Callable[[ConfigT, Reporter], ResultT],
    reporter: Reporter,
) -> SeedsResult[ResultT]:
    """Make a run once for each seed, as `seed-N` in the folder that the config names.

    What is finished stays when a later seed fails; with `resume` only what is missing is made.

    Args:
        config: of every run but for its seed; its run is the folder.
        seeds: distinct.
        run: the command.
        reporter: progress of each run.

    Raises:
        UsageError: the folder is a run, or holds something else.
    """
    folder = config.run
    _refuse_other(folder)
    results = []
    for place, seed in enumerate(seeds, 1):
        reporter.note(f"seed {seed} ({place} of {len(seeds)})")
        results.append(run(config.with_seed(seed), reporter))
    return SeedsResult(path=folder, seeds=tuple(seeds), results=tuple(results))


def _refuse_other(folder: Path) -> None:
    if (folder / RUN_JSON).exists():
        raise UsageError(
            f"{folder} is a run, and --seeds makes a folder of runs",
            hint="choose another folder, or make a single run with --seed",
        )
    if folder.is_file():
        raise UsageError(f"{folder} is a file", hint="choose a folder that does not exist yet")
    if folder.is_dir():
        others = [p.name for p in folder.iterdir() if not p.name.startswith((SEED_FOLDER, "."))]
        if others:
            raise UsageError(
                f"{folder} holds {sorted(others)[0]}, and not runs of several seeds alone",
                hint="choose a folder that does not exist yet",
            )


def _deviation(values: Sequence[float]) -> float:
    """Compute the standard deviation of a sample; 0 of one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
