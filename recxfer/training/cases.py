"""What a run did with each held-out case: computed once, kept as Parquet beside the run."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from recxfer.data.batches import evaluation_batches
from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.data.tables import write_table
from recxfer.foundation.console import Reporter
from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.files import canonical_json, replaced_file, sha256_of, sha256_of_text
from recxfer.foundation.names import CHECKPOINT, USER
from recxfer.foundation.rng import Rng
from recxfer.training.loop import autocast
from recxfer.training.metrics import Metric, class_metrics, coverage, ranking_metrics
from recxfer.training.ranking import rank
from recxfer.training.runs import Run
from recxfer.training.validation import class_scores

FORMAT = 2
"""Version of the kept results; those of another version are computed again."""

TARGET = "target"
RANK = "rank"
TOP = "top"
SCORES = "scores"
DECISIONS = "decisions"

_NEVER = 2**63 - 1
_DAY = 86_400


Slice = tuple[str, NDArray[np.int64]]
"""A name and the numbers of its cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a case is ranked among; part of the name under which results are kept."""

    on: Literal["valid", "test"] = "test"
    candidates: int | None = None
    """Sampled negatives, or None for all items."""

    keep_seen: bool = False
    top: int = 20
    """Length of the lists that coverage looks at."""

    seed: int = 0
    """Of the sampled candidates; without them it decides nothing."""

    precision: str = "fp32"


@dataclass(frozen=True, slots=True)
class Cases:
    """Every case of a run, in row order, with what the run made of it."""

    frame: pl.DataFrame
    """user, target and, for item tasks, rank and perhaps top; for classes, scores; decisions where
    the run takes any. Items are numbered as in the dataset's tables, from 1, classes from 0."""

    num_outputs: int

    @property
    def ranks_items(self) -> bool:
        """Whether the cases are rankings, not classifications."""
        return RANK in self.frame.columns

    @property
    def decisions(self) -> NDArray[np.float64] | None:
        """How much of each block's trainable copy each case read (R, N); None where that is no
        question."""
        if DECISIONS not in self.frame.columns:
            return None
        return self.frame[DECISIONS].to_numpy().astype(np.float64)

    def people(self, chosen: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Whose case each one is, of all cases or of the chosen ones."""
        user_R = self.frame[USER].to_numpy()
        return user_R if chosen is None else user_R[chosen]

    @property
    def identity(self) -> pl.DataFrame:
        """Who and what is predicted: runs with equal identities can be compared in pairs."""
        return self.frame.select(USER, TARGET)

    def metrics(
        self, at: tuple[int, ...], chosen: NDArray[np.int64] | None = None
    ) -> dict[str, Metric]:
        """Metrics over all cases, or over the chosen ones."""
        frame = self.frame if chosen is None else self.frame[chosen]
        if self.ranks_items:
            return ranking_metrics(frame[RANK].to_numpy(), at)
        return class_metrics(frame[SCORES].to_numpy().astype(np.float64), frame[TARGET].to_numpy())

    def coverage(self, at: tuple[int, ...]) -> dict[str, float]:
        """coverage@k where lists were kept."""
        if TOP not in self.frame.columns:
            return {}
        return dict(coverage(self.frame[TOP].to_numpy(), self.num_outputs, at))


def cases_of(
    run: Run, protocol: Protocol, dataset: Path | None, precision: torch.dtype, reporter: Reporter
) -> tuple[Cases, Rows]:
    """The cases of a run under a protocol: read if they were kept, else computed and kept.

    Raises:
        DataError: the part has no case.
    """
    target = run.target if dataset is None else run.open_target(dataset)
    rows = run.rows(protocol.on, dataset)
    if len(rows) == 0:
        raise DataError(
            f"{target.path} has no {protocol.on} case for the task {run.task.name}",
            hint="prepare the dataset with a split that has one",
        )
    path = run.path / f"cases-{_key(run, target, protocol)}.parquet"
    frame = _read(path)
    if frame is None:
        run.read_items_of(target, reporter)
        with autocast(run.device, precision):
            frame = _compute(run, rows, protocol, reporter)
        _keep(path, frame, reporter)
    num_outputs = target.num_items if run.task.ranks_items else run.task.num_outputs
    return Cases(frame, num_outputs), rows


def decisions_of(run: Run, rows: Rows) -> Tensor | None:
    """How much of each block's trainable copy each row reads, float32 on the CPU (R, N).

    None where the run decides nothing row by row.
    """
    found: list[tuple[Tensor, Tensor]] = []
    with torch.inference_mode():
        for row_B in evaluation_batches(rows):
            gate_BN = run.learner.decisions(run.model, rows.batch(row_B).to(run.device))
            if gate_BN is None:
                return None
            found.append((row_B, gate_BN.float().cpu()))
    decision_RN = torch.empty(len(rows), found[0][1].shape[1])
    for row_B, gate_BN in found:
        decision_RN[row_B] = gate_BN
    return decision_RN


def slices_of(run: Run, rows: Rows, dataset: Path | None, by: str) -> list[Slice]:
    """Cases by a property: name of each slice and its case numbers, empty slices left out."""
    target = run.target if dataset is None else run.open_target(dataset)
    return SLICERS[by](run, rows, target)


def _compute(run: Run, rows: Rows, protocol: Protocol, reporter: Reporter) -> pl.DataFrame:
    assert rows.target_R is not None
    first = 1 if run.task.ranks_items else 0
    columns = {USER: rows.user_R.numpy(), TARGET: (rows.target_R + first).numpy()}
    decision_RN = decisions_of(run, rows)
    if decision_RN is not None:
        columns[DECISIONS] = decision_RN.numpy()
    if not run.task.ranks_items:
        score_RC = class_scores(run.learner, run.model, rows, run.device)
        return pl.DataFrame({**columns, SCORES: score_RC.numpy()})
    ranking = rank(
        run.learner,
        run.model,
        rows,
        device=run.device,
        keep_seen=protocol.keep_seen,
        candidates=protocol.candidates,
        top=protocol.top,
        rng=Rng(protocol.seed),
        reporter=reporter,
    )
    frame = pl.DataFrame({**columns, RANK: ranking.rank_R.numpy()})
    if ranking.top_RK is None:
        return frame
    return frame.with_columns(pl.Series(TOP, (ranking.top_RK + first).int().numpy()))


def _key(run: Run, target: Dataset, protocol: Protocol) -> str:
    if protocol.candidates is None:
        protocol = replace(protocol, seed=0)
    facts = {
        "format": FORMAT,
        "checkpoint": sha256_of(run.path / CHECKPOINT),
        "dataset": target.info.fingerprint,
        "protocol": asdict(protocol),
    }
    if run.number is not None:
        facts["number"] = run.number
    return f"{protocol.on}-{sha256_of_text(canonical_json(facts))[:16]}"


def _read(path: Path) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        return None


def _keep(path: Path, frame: pl.DataFrame, reporter: Reporter) -> None:
    try:
        with replaced_file(path) as temporary:
            write_table(temporary, frame)
    except (DataError, OSError) as error:
        reporter.warn(f"results are not kept for next time: {error}")


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
