"""Run commands of result pages where they were not run yet, and compare methods over seeds."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from docs.results.stamps import UNKNOWN, commit_now
from recxfer.data.dataset import Dataset
from recxfer.data.examples import profile_rows
from recxfer.data.rows import Batch, Rows
from recxfer.evaluation.cases import Cases, Protocol, cases_of
from recxfer.evaluation.metrics.choice import measured, measures
from recxfer.evaluation.metrics.contract import Array, Functional, Predictions
from recxfer.evaluation.slices.contract import Slice
from recxfer.evaluation.slices.cutting import slices_of
from recxfer.evaluation.statistics import compare, estimate, mean_over_seeds
from recxfer.foundation.device import choose_device
from recxfer.foundation.reporting import SilentReporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import VectorLearner
from recxfer.runs.open import open_run
from recxfer.runs.run import Run

OF_RANKS = ("HR", "NDCG", "MRR")
OF_CLASSES = ("accuracy", "balanced_accuracy", "macro_f1", "AUC")

WHOLE = 10**6
"""More events than any history holds."""

COMMIT = "commit"
"""Key of a command's record that says which code ran it."""

Row: TypeAlias = dict[str, Any]
"""One row of results: figures, and whatever tells them apart, by column."""

Words: TypeAlias = Sequence[object]
"""Of a command; each is written as text."""

Place: TypeAlias = Path | tuple[Path, int | Path | None]
"""A run; with a number one of its tasks, with a path another dataset than its own."""


def recxfer(*words: object, out: Path | None = None) -> dict[str, Any]:
    """Run a command unless its output is there; return what `--json` printed.

    Args:
        words: of the command.
        out: what it makes, if that is not the last of its paths.
    """
    out = out or Path(str(words[2] if words[0] != "transfer" else words[3]))
    record = _record(out)
    if not record.exists():
        command = [sys.executable, "-m", "recxfer", *map(str, words), "--json", "--overwrite"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        record.write_text(json.dumps(json.loads(done.stdout) | {COMMIT: commit_now()}))
        print(out, "done", file=sys.stderr, flush=True)
    return _read(record)


def record_of(run: Path) -> dict[str, Any]:
    """What `--json` printed of a finished run."""
    return _read(_record(run))


def _read(record: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(record.read_text())
    return facts


def _record(run: Path) -> Path:
    return run.with_name(run.name + ".json")


class Bench:
    """The work directory: what is made in it, and who makes it, some of it side by side."""

    def __init__(self, work: Path, jobs: int, *, quick: bool) -> None:
        self.work, self.quick = work, quick
        self.few: list[object] = ["--epochs", 1] if quick else []
        self.pool = ThreadPoolExecutor(jobs)
        self.bases: set[Path] = set()
        self.waiting: list[Future[list[dict[str, Any]]]] = []
        self.commits: set[str] = set()
        """Of the code that ran what was asked for, now or in an earlier call."""

    def pretrained(self, data: str, path: Path, *words: object) -> Path:
        """A base, made when it is first asked for; returns its path."""
        if path not in self.bases:
            self.bases.add(path)
            asked = ["pretrain", self.work / data, path, *words, "--threads", 1, *self.few]
            self.ask(asked)
            self.waiting.pop().result()
        self.commits.add(record_of(path).get(COMMIT, UNKNOWN))
        return path

    def ask(self, *commands: Words) -> None:
        """Ask for commands, each a sequence of words, to be run one after another."""
        self.waiting.append(self.pool.submit(lambda: [recxfer(*words) for words in commands]))

    def wait(self) -> list[dict[str, Any]]:
        """Until everything asked for is done; what each command printed."""
        found = [told for future in self.waiting for told in future.result()]
        self.waiting.clear()
        self.commits |= {told.get(COMMIT, UNKNOWN) for told in found}
        return found


def ranking_metrics(rank_R: NDArray[np.int64], at: tuple[int, ...]) -> dict[str, Functional]:
    """Metrics of ranks, counted from 1."""
    told = Predictions(target_R=np.ones_like(rank_R), rank_R=rank_R)
    return measured(measures(OF_RANKS, at), told)


def class_metrics(score_RC: Array, target_R: NDArray[np.int64]) -> dict[str, Functional]:
    """Metrics of scores of classes."""
    return measured(measures(OF_CLASSES, ()), Predictions(target_R=target_R, score_RC=score_RC))


class Untrained(VectorLearner[Any]):
    """A way to rank that no phase trains: base of what a page compares methods with."""

    @override
    def loss(self, model: Any, batch: Batch, rng: Rng) -> Tensor:
        """Return a constant."""
        return torch.zeros(())


def item_sets(
    dataset: Dataset, column: str, part: Literal["train", "valid", "test"]
) -> tuple[Tensor, Tensor]:
    """Each user's set of items as a row of zeros and ones, and the labels."""
    rows = profile_rows(dataset, column, part, WHOLE)
    batch = rows.batch(torch.arange(len(rows)))
    sets = torch.zeros(len(rows), dataset.num_items + 1)
    sets.scatter_(1, batch.history.item_BL, 1.0)
    assert batch.target_B is not None
    return sets[:, 1:], batch.target_B


def logistic_regression(dataset: Dataset, column: str) -> dict[str, Functional]:
    """Test scores of L2-regularised logistic regression; the penalty is chosen on validation."""
    (train, label), (valid, truth), (test, target) = (
        item_sets(dataset, column, "train"),
        item_sets(dataset, column, "valid"),
        item_sets(dataset, column, "test"),
    )
    classes = len(dataset.labels(column)[1])
    best, chosen = -np.inf, np.empty((0, classes))
    for penalty in (1e-3, 3e-3, 1e-2, 3e-2):
        weight = _fitted(train, label, classes, penalty)
        value = -float(F.cross_entropy(_linear(weight, valid), truth))
        if value > best:
            best, chosen = value, _linear(weight, test).double().numpy()
    return class_metrics(chosen, target.numpy())


def _fitted(sets: Tensor, label: Tensor, classes: int, penalty: float) -> Tensor:
    """Weights of a regression, the first column being its biases."""
    weight = torch.zeros(classes, sets.shape[1] + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(_linear(weight, sets), label)
        loss = loss + penalty * weight[:, 1:].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach()


def _linear(weight: Tensor, sets: Tensor) -> Tensor:
    return sets @ weight[:, 1:].T + weight[:, 0]


def cases_of_run(
    run: Path, protocol: Protocol, number: int | None = None, dataset: Path | None = None
) -> tuple[Run, Cases, Rows]:
    """Cases of a run, or of one of its tasks, and their rows; kept in the run's directory.

    Args:
        run: the directory.
        protocol: what is ranked.
        number: which task, of several.
        dataset: another one than the run's own.
    """
    device = choose_device("auto")
    opened = open_run(run, device, number=number, moved_dataset=dataset)
    cases, rows = cases_of(opened, protocol, dataset, torch.float32, SilentReporter())
    return opened, cases, rows


def comparison(
    runs: Mapping[str, Sequence[Place]],
    *references: str,
    protocol: Protocol | None = None,
    at: tuple[int, ...] = (5, 10),
    by: str | None = None,
    others: Mapping[str, Mapping[str, Functional]] | None = None,
    **facts: object,
) -> list[Row]:
    """Figures of methods averaged over their seeds, each beside references on the same people.

    Args:
        runs: directories of each method's runs, one per seed; (directory, number) for one task of
            a run that holds several; (directory, path of a dataset) for another than its own.
        references: the methods that the others are compared with.
        protocol: what is ranked; by default the test part, all items.
        at: cut-offs.
        by: a slicer; the slice `all` is always there.
        others: metrics of methods that are no runs, over all cases.
        facts: columns of their own for all rows.

    Returns:
        One dict per reference, slice, method and metric.
    """
    places = {method: [_meant(run) for run in of_seeds] for method, of_seeds in runs.items()}
    opened = {
        method: [
            cases_of_run(run, protocol or Protocol(), number, dataset)
            for run, number, dataset in of_seeds
        ]
        for method, of_seeds in places.items()
    }
    one, cases, rows = next(iter(opened.values()))[0]
    people = cases.users()
    slices: list[Slice | tuple[str, None]] = [("all", None)]
    slices += slices_of(one, rows, None, by) if by else []
    asked = measures([*OF_RANKS, *OF_CLASSES], at)
    found: dict[str, list[Row]] = {reference: [] for reference in references}
    for name, chosen in slices:
        by_method: dict[str, Mapping[str, Functional]] = {
            method: mean_over_seeds([cases.metrics(asked, chosen) for _, cases, _ in of_seeds])
            for method, of_seeds in opened.items()
        }
        if chosen is None:
            by_method |= others or {}
        who = people if chosen is None else people[chosen]
        for method, metrics in by_method.items():
            paths = [run for run, *_ in places.get(method, [])]
            figures = estimate(metrics, who, seed=0)
            for reference in references:
                against = compare(metrics, by_method[reference], who, seed=0)
                found[reference] += [
                    {
                        **facts,
                        "by": by or "",
                        "slice": name,
                        "method": method,
                        "metric": metric,
                        "value": figure.value,
                        "low": figure.low,
                        "high": figure.high,
                        "reference": reference,
                        "difference": against[metric].value,
                        "difference_low": against[metric].low,
                        "difference_high": against[metric].high,
                        "p": against[metric].p,
                        "seeds": len(paths) or 1,
                        "cases": who.size,
                        "people": np.unique(who).size,
                        **cost_of(paths),
                    }
                    for metric, figure in figures.items()
                ]
    return [row for of_reference in found.values() for row in of_reference]


def _meant(run: Place) -> tuple[Path, int | None, Path | None]:
    """A run, which of its tasks is meant and which dataset; None: its own, or the last."""
    if not isinstance(run, tuple):
        return run, None, None
    path, more = run
    return (path, None, more) if isinstance(more, Path) else (path, more, None)


def cost_of(runs: Sequence[Path]) -> dict[str, float]:
    """What training took, averaged over seeds; nothing for what is no run."""
    records = [record_of(run) for run in runs]
    if not records:
        return {}
    return {
        name: float(np.mean([record[name] for record in records]))
        for name in ("trained_share", "delta_bytes", "seconds", "peak_memory_mb", "epochs")
        if name in records[0]
    }
