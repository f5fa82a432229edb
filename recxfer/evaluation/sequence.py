"""Tasks of runs: which run holds which, and the sequences in which tasks were learned."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from recxfer.evaluation.continual import Continual, continual_metrics
from recxfer.evaluation.figures import RunFigures
from recxfer.foundation.errors import UsageError
from recxfer.foundation.files import sha256_of
from recxfer.methods.task import Task
from recxfer.runs.header import Header, checkpoint_of, read_header
from recxfer.runs.multitask import find_task

Key = tuple[str, str]
"""A task's name and, where some run holds several tasks, the fingerprint of its dataset."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One task of one run."""

    path: Path
    number: int | None
    """Which task of the run; None where the run is for one task alone."""

    task: Task
    key: Key
    begins: bool
    """Whether a run for one task is where a sequence begins: it was pretrained, or another of the
    runs goes on from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSequence:
    """Runs that were made one from another, and the metrics of each task after each run."""

    runs: Sequence[str]
    tasks: Sequence[Mapping[str, str]]
    """task, dataset and the metric that stands in the matrix."""

    matrix: Sequence[Sequence[float | None]]
    metrics: Continual

    def as_json(self) -> dict[str, object]:
        """Return the value of `sequence` in `--json`."""
        return {
            "runs": self.runs,
            "tasks": self.tasks,
            "matrix": self.matrix,
            **asdict(self.metrics),
        }


def entries(runs: Sequence[Path], asked: Sequence[str]) -> list[Entry]:
    """List the tasks that some runs hold, all or those that were asked for.

    Args:
        runs: run directories.
        asked: numbers or names; empty asks for all. A run may lack some of them, but not all runs.

    Raises:
        UsageError: no run holds what was asked for.
    """
    headers = {path: read_header(path) for path in runs}
    several = any(header.keeps_tasks for header in headers.values())
    bases = {h.parent.sha256 for h in headers.values() if h.keeps_tasks and h.parent is not None}
    found = []
    missing: dict[str, UsageError] = {}
    met = set()
    for path, header in headers.items():
        numbers = [] if asked else list(range(1, len(header.tasks) + 1))
        for name in asked:
            try:
                numbers.append(find_task(header, name))
                met.add(name)
            except UsageError as error:
                missing[name] = error
        for number in sorted(set(numbers)):
            learned = header.tasks[number - 1]
            task = learned.task
            key = (task.name, learned.dataset.fingerprint if several else "")
            place = number if header.keeps_tasks else None
            found.append(Entry(path, place, task, key, _begins(path, header, bases)))
    for name, refusal in missing.items():
        if name not in met:
            raise refusal
    return found


def _begins(path: Path, header: Header, bases: Collection[str]) -> bool:
    if header.keeps_tasks or not bases:
        return False
    return header.kind == "backbone" or sha256_of(checkpoint_of(path)) in bases


def by_task(found: Sequence[Entry]) -> dict[Key, list[Entry]]:
    """Group entries by task, in the order in which they were given."""
    groups: dict[Key, list[Entry]] = {}
    for entry in found:
        groups.setdefault(entry.key, []).append(entry)
    return groups


def sequence_of(
    found: Sequence[Entry], figures: Mapping[tuple[Path, Key], RunFigures]
) -> TaskSequence | None:
    """Build the matrix of tasks by runs; None where the runs were not made one from another.

    Runs for one task alone are no part of it: they say what a task reaches on its own.

    Args:
        found: what was measured.
        figures: what it gave.
    """
    chain: list[tuple[Path, list[Key]]] = []
    alone: dict[Key, Path] = {}
    for path in dict.fromkeys(entry.path for entry in found):
        own = [entry for entry in found if entry.path == path]
        keys = [entry.key for entry in own]
        before = chain[-1][1] if chain else []
        if own[0].number is None and (chain or not own[0].begins):
            alone.setdefault(keys[0], path)
        elif keys[: len(before)] == before:
            chain.append((path, keys))
        else:
            return None
    if not chain or len(chain[-1][1]) < 2:
        return None
    tasks = chain[-1][1]
    names = {key: _headline(figures[chain[-1][0], key]) for key in tasks}

    def value(path: Path, key: Key) -> float | None:
        figure = figures.get((path, key))
        return None if figure is None else figure.metrics[names[key]].value

    matrix = [[value(path, key) for key in tasks] for path, _ in chain]
    if any(value is None for value in matrix[-1]):
        return None
    singles = [value(alone[key], key) if key in alone else None for key in tasks]
    return TaskSequence(
        runs=[str(path) for path, _ in chain],
        tasks=[
            {
                "task": key[0],
                "dataset": figures[chain[-1][0], key].dataset,
                "metric": names[key],
            }
            for key in tasks
        ],
        matrix=matrix,
        metrics=continual_metrics(matrix, singles),
    )


def _headline(figures: RunFigures) -> str:
    """Choose the metric of a task for the matrix: a usual one, else the first."""
    ndcg = [name for name in figures.metrics if name.startswith("NDCG@")]
    usual = [name for name in ("accuracy", "NDCG@10") if name in figures.metrics]
    return next(iter([*usual, *ndcg[-1:], *figures.metrics]))
