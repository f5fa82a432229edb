"""`evaluate`: finished runs in, figures with intervals and paired differences out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Unpack

import numpy as np

from recxfer.evaluation.cases import (
    Protocol,
    cases_of,
)
from recxfer.evaluation.decisions import DecisionFigures, decision_figures
from recxfer.evaluation.figures import RunDifference, RunFigures, SliceFigures
from recxfer.evaluation.measured import Measured
from recxfer.evaluation.metrics import DEFAULT_METRICS
from recxfer.evaluation.metrics.choice import Measure, measures, offered, refuse_unfit
from recxfer.evaluation.metrics.contract import Functional, Mean, Whole
from recxfer.evaluation.report import write_report
from recxfer.evaluation.sequence import Entry, Key, TaskSequence, by_task, entries, sequence_of
from recxfer.evaluation.slices import SLICERS
from recxfer.evaluation.slices.cutting import slicers_that_need, slices_of
from recxfer.evaluation.statistics import (
    RESAMPLES,
    Difference,
    compare,
    estimate,
    holm,
)
from recxfer.foundation.config import Config, Settings
from recxfer.foundation.device import (
    Execution,
    choose_device,
    choose_precision,
    keep_freed_memory,
    set_threads,
)
from recxfer.foundation.errors import UsageError
from recxfer.foundation.files import refuse_existing
from recxfer.foundation.registry import suggestion
from recxfer.foundation.reporting import Reporter
from recxfer.runs.compatibility import warn_of_empty
from recxfer.runs.open import Bases, open_run, refuse_unneeded_base
from recxfer.runs.seeds import grouped
from recxfer.runs.sizes import size_of

DEFAULT_AT = "5,10,20"
"""Lengths of the ranked lists where `--at` does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """Config of an evaluation: runs, metrics, slices and protocol."""

    runs: tuple[Path, ...]
    base: Path | None = None
    """Where the base of the runs lies now, if it has moved."""

    dataset: Path | None = None
    on: Literal["valid", "test"] = "test"
    at: tuple[int, ...] = (5, 10, 20)
    metrics: tuple[str, ...] = DEFAULT_METRICS
    """Names in METRICS, with or without @k."""

    candidates: int | None = None
    keep_seen: bool = False
    for_items: tuple[str, ...] = ()
    """Flags that were given and mean something only where items are ranked."""

    by: str | None = None
    tasks: tuple[str, ...] = ()
    """Numbers or names of the tasks to measure, of runs that hold several; empty: all."""

    report: Path | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    overwrite: bool = False

    @property
    def measures(self) -> list[Measure]:
        """Metrics at all lengths."""
        return measures(self.metrics, self.at)

    @property
    def top(self) -> int:
        """Length of the longest list that a metric reads."""
        lists = (m.k for m in self.measures if "lists" in m.metric.needs)
        return max([*self.at, *lists])

    @property
    def sections(self) -> dict[str, Config]:
        """Empty: `evaluate` has options and no settings."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateResult:
    """Figures of an evaluation."""

    path: Path
    """The report, or else the first run, whose directory keeps the cases."""

    on: Literal["valid", "test"]
    seed: int
    by: str | None
    runs: Sequence[RunFigures]
    differences: Sequence[RunDifference]
    slices: Sequence[SliceFigures]
    sequence: TaskSequence | None
    """What became of each task, where runs hold several."""

    decisions: Sequence[DecisionFigures]
    """How many blocks were fine-tuned for each case, of runs that decide that."""

    def as_json(self) -> dict[str, object]:
        """Return the keys of `--json`."""
        shown: dict[str, object] = {
            "on": self.on,
            "seed": self.seed,
            "resamples": RESAMPLES,
            "runs": [run.as_json() for run in self.runs],
        }
        if self.differences:
            shown["differences"] = [
                {
                    "run": d.run,
                    "against": d.against,
                    "task": d.task,
                    "dataset": d.dataset,
                    "metric": d.metric,
                    **asdict(d.difference),
                    "p_holm": d.p_holm,
                }
                for d in self.differences
            ]
        if self.by is not None:
            shown["by"] = self.by
            shown["slices"] = [asdict(part) for part in self.slices]
        if self.sequence is not None:
            shown["sequence"] = self.sequence.as_json()
        if self.decisions:
            shown["decisions"] = [asdict(part) for part in self.decisions]
        return shown


class EvaluateOptions(Execution, total=False):
    """Options that `resolve` takes as they are."""

    report: Path | None
    seed: int


def resolve(
    runs: Sequence[Path],
    *,
    settings: Settings,
    base: Path | None = None,
    dataset: Path | None = None,
    on: str = "test",
    at: str | None = None,
    metrics: str | None = None,
    candidates: str = "all",
    keep_seen: bool = False,
    by: str | None = None,
    tasks: Sequence[str] = (),
    **common: Unpack[EvaluateOptions],
) -> EvaluateConfig:
    """Decode flags as one config; `evaluate` has no settings beyond them.

    Raises:
        UsageError: a flag's value is not one of those it knows, or a run is given twice.
    """
    settings.decode({})
    _refuse_repeated(runs)
    if on not in {"valid", "test"}:
        raise UsageError(f"--on {on}: there are test and valid")
    if by is not None and by not in SLICERS:
        raise UsageError(
            f"--by {by}: there are {', '.join(SLICERS.names)}", hint=suggestion(by, SLICERS.names)
        )
    names = DEFAULT_METRICS if metrics is None else tuple(metrics.split(","))
    lengths = _lengths(DEFAULT_AT if at is None else at)
    asked = measures(names, lengths)
    if at is not None and not any(m.metric.cut and m.name not in names for m in asked):
        raise UsageError(
            f"--at {at}: none of the metrics {metrics} takes its length from it",
            hint="leave it out, or name a metric of ranked lists without @k",
        )
    given = {"--at": at is not None, "--candidates": candidates != "all", "--keep-seen": keep_seen}
    return EvaluateConfig(
        runs=tuple(runs),
        base=base,
        dataset=dataset,
        on="valid" if on == "valid" else "test",
        at=lengths,
        metrics=names,
        candidates=None if candidates == "all" else _count(candidates),
        keep_seen=keep_seen,
        for_items=tuple(name for name, was_given in given.items() if was_given),
        by=by,
        tasks=tuple(tasks),
        **common,
    )


def run(config: EvaluateConfig, reporter: Reporter) -> EvaluateResult:
    """Measure every run, and compare it with the first one of its task."""
    if config.report is not None:
        read = [*config.runs, *filter(None, (config.base, config.dataset))]
        refuse_existing(config.report, overwrite=config.overwrite, inputs=read)
    refuse_unneeded_base(config.runs, config.base)
    set_threads(config.threads)
    keep_freed_memory()
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    protocol = Protocol(
        on=config.on,
        candidates=config.candidates,
        keep_seen=config.keep_seen,
        top=config.top,
        seed=config.seed,
        precision=config.precision,
    )
    groups = {group.runs[0]: group for group in grouped(config.runs)}
    found = entries(list(groups), config.tasks)
    _refuse_unused(found, config)
    _refuse_unfit(found, config)
    opener = partial(open_run, device=device, bases=Bases(), moved_base=config.base)
    measured: dict[tuple[Path, Key], RunFigures] = {}
    differences: list[RunDifference] = []
    slices: list[SliceFigures] = []
    decided: list[DecisionFigures] = []
    for key, of_task in by_task(found).items():
        first: Measured | None = None
        compared: dict[Path, dict[str, Difference]] = {}
        for entry in of_task:
            group = groups[entry.path]
            runs = [opener(path, number=entry.number) for path in group.runs]
            seeds = [cases_of(run, protocol, config.dataset, precision, reporter) for run in runs]
            now = Measured(group.name, runs, [cases for cases, _ in seeds], seeds[0][1])
            measured[entry.path, key] = _figures(now, config)
            if config.by is not None:
                slices += _slices(now, config, config.by)
            for opened, (cases, rows) in zip(runs, seeds, strict=True):
                decided += decision_figures(opened, cases, rows, config.dataset, config.by)
            if first is None:
                first = now
                warn_of_empty(f"{config.on} cases of {now.task.name}", now.rows, reporter)
            else:
                compared[group.name] = _compared(now, first, config)
        differences += _differences(measured[of_task[0].path, key], compared)
    result = EvaluateResult(
        path=config.report or config.runs[0],
        on=config.on,
        seed=config.seed,
        by=config.by,
        runs=list(measured.values()),
        differences=differences,
        slices=slices,
        sequence=sequence_of(found, measured),
        decisions=decided,
    )
    if config.report is not None:
        write_report(config.report, result.as_json())
    return result


def _refuse_repeated(runs: Sequence[Path]) -> None:
    """Refuse a run that is named twice: compared with itself its p-values say nothing."""
    seen: set[Path] = set()
    for path in runs:
        if path.resolve() in seen:
            raise UsageError(f"{path} is given twice", hint="give each run once")
        seen.add(path.resolve())


def _refuse_unused(found: Sequence[Entry], config: EvaluateConfig) -> None:
    if config.for_items and not any(entry.task.ranks_items for entry in found):
        raise UsageError(
            f"{', '.join(config.for_items)}: {found[0].path} is for {found[0].task.name}, "
            "where no items are ranked",
            hint="leave it out",
        )


def _refuse_unfit(found: Sequence[Entry], config: EvaluateConfig) -> None:
    if config.metrics == DEFAULT_METRICS:
        return
    lists = config.candidates is None
    offers = {
        f"{entry.path} for {entry.task.name}": offered(
            ranks_items=entry.task.ranks_items, lists=lists
        )
        for entry in found
    }
    refuse_unfit(config.measures, offers)


def _figures(now: Measured, config: EvaluateConfig) -> RunFigures:
    opened, cases = now.first, now.cases
    sampled = config.candidates is not None and cases.ranks_items
    seen: Literal["excluded", "kept"] = "kept" if config.keep_seen else "excluded"
    return RunFigures(
        run=str(now.name),
        method=opened.method,
        number=opened.number,
        task=opened.task.name,
        dataset=str(config.dataset or opened.learned.dataset.name),
        cases=cases.frame.height,
        people=np.unique(cases.users()).size,
        candidates=f"1+{config.candidates} sampled" if sampled else "all",
        seen=seen if cases.ranks_items else None,
        size=size_of(opened),
        metrics=estimate(now.metrics(config.measures), cases.users(), config.seed),
        over_seeds=now.over_seeds(config.measures),
    )


def _compared(now: Measured, known: Measured, config: EvaluateConfig) -> dict[str, Difference]:
    if not now.cases.identity.equals(known.cases.identity):
        raise UsageError(
            f"{now.name} ({now.cases.frame.height:,} cases) and {known.name} "
            f"({known.cases.frame.height:,} cases), both for {now.task.name}, were not held to the "
            "same cases",
            hint="compare runs of one task on one dataset; evaluate others on their own",
        )
    ours, theirs = (_resampled(one.metrics(config.measures)) for one in (now, known))
    return compare(ours, theirs, now.cases.users(), config.seed)


def _resampled(metrics: Mapping[str, Functional]) -> dict[str, Functional]:
    """Choose the metrics that have intervals."""
    return {name: metric for name, metric in metrics.items() if not isinstance(metric, Whole)}


def _differences(
    first: RunFigures, compared: Mapping[Path, Mapping[str, Difference]]
) -> list[RunDifference]:
    """Compare runs by metric; p-values are adjusted over the runs, for each metric on its own."""
    metrics = next(iter(compared.values()), {})
    adjusted = {
        metric: holm([found[metric].p for found in compared.values()]) for metric in metrics
    }
    return [
        RunDifference(
            run=str(path),
            against=first.run,
            task=first.task,
            dataset=first.dataset,
            metric=metric,
            difference=found[metric],
            p_holm=adjusted[metric][place],
        )
        for place, (path, found) in enumerate(compared.items())
        for metric in metrics
    ]


def _slices(now: Measured, config: EvaluateConfig, by: str) -> list[SliceFigures]:
    found = []
    for name, chosen in slices_of(now.first, now.rows, config.dataset, by):
        metrics = _sliced(now.metrics(config.measures, chosen), by)
        found.append(
            SliceFigures(
                run=str(now.name),
                task=now.task.name,
                slice=name,
                cases=chosen.size,
                metrics=estimate(metrics, now.cases.users(chosen), config.seed),
            )
        )
    return found


def _sliced(metrics: Mapping[str, Functional], by: str) -> Mapping[str, Functional]:
    """Choose what can be measured within a slice: of one class alone, only means over its cases."""
    if by in slicers_that_need("classes"):
        return {name: metric for name, metric in metrics.items() if isinstance(metric, Mean)}
    return _resampled(metrics)


def _lengths(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part) for part in text.split(",")}))


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise UsageError(f"{text!r}: expected a whole number of at least 1")
    return count
