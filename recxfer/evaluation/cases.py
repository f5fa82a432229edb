"""Compute scores and ranks of every held-out case of a run, once, and keep them as Parquet."""

from collections.abc import Sequence
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
from recxfer.evaluation.metrics.choice import Measure, measured, offered
from recxfer.evaluation.metrics.contract import Functional, Need, Predictions
from recxfer.evaluation.popularity import item_popularity
from recxfer.evaluation.ranking import class_scores, rank
from recxfer.foundation.device import autocast
from recxfer.foundation.errors import DataError
from recxfer.foundation.files import canonical_json, replaced_file, sha256_of, sha256_of_text
from recxfer.foundation.names import CHECKPOINT, USER
from recxfer.foundation.reporting import Reporter
from recxfer.foundation.rng import Rng
from recxfer.runs.run import Run

FORMAT = 2
"""Version of the kept results; those of another version are computed again."""

TARGET = "target"
RANK = "rank"
TOP = "top"
SCORES = "scores"
DECISIONS = "decisions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The candidates a case is ranked among; part of the name under which results are kept."""

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
    """Every case of a run, in row order, with its ranks or scores."""

    frame: pl.DataFrame
    """user, target and, for item tasks, rank and perhaps top; for classes, scores; decisions where
    the run takes any. Items are numbered as in the dataset's tables, from 1, classes from 0."""

    target: Dataset
    """Whose held-out cases they are."""

    @property
    def ranks_items(self) -> bool:
        """Whether the cases are rankings, not classifications."""
        return RANK in self.frame.columns

    @property
    def decisions(self) -> NDArray[np.float64] | None:
        """Share of each block's trainable copy that each case reads (R, N); None for methods that
        do not decide.
        """
        if DECISIONS not in self.frame.columns:
            return None
        return self.frame[DECISIONS].to_numpy().astype(np.float64)

    def users(self, chosen: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return the user of each case, of all or of the chosen ones."""
        user_R = self.frame[USER].to_numpy()
        return user_R if chosen is None else user_R[chosen]

    @property
    def identity(self) -> pl.DataFrame:
        """User and target of each case: runs with equal identities can be compared in pairs."""
        return self.frame.select(USER, TARGET)

    @property
    def offers(self) -> frozenset[Need]:
        """Names of what the cases hold that a metric may need."""
        return offered(ranks_items=self.ranks_items, lists=TOP in self.frame.columns)

    def metrics(
        self, measures: Sequence[Measure], chosen: NDArray[np.int64] | None = None
    ) -> dict[str, Functional]:
        """Return the metrics that fit, by name, over all cases or over the chosen ones."""
        fitting = [measure for measure in measures if measure.metric.needs <= self.offers]
        needs = frozenset[Need]().union(*(measure.metric.needs for measure in fitting))
        return measured(fitting, self._predictions(needs, chosen))

    def _predictions(self, needs: frozenset[Need], chosen: NDArray[np.int64] | None) -> Predictions:
        frame = self.frame if chosen is None else self.frame[chosen]
        return Predictions(
            target_R=frame[TARGET].to_numpy(),
            rank_R=frame[RANK].to_numpy() if "ranks" in needs else None,
            item_RK=frame[TOP].to_numpy() if "lists" in needs else None,
            score_RC=frame[SCORES].to_numpy().astype(np.float64) if "scores" in needs else None,
            popularity_V1=item_popularity(self.target).numpy() if "popularity" in needs else None,
            num_items=self.target.num_items,
        )


def cases_of(
    run: Run, protocol: Protocol, dataset: Path | None, precision: torch.dtype, reporter: Reporter
) -> tuple[Cases, Rows]:
    """Read the cases of a run under a protocol, or compute and keep them.

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
    return Cases(frame, target), rows


def diagnostics_of(run: Run, rows: Rows) -> dict[str, Tensor]:
    """Collect what a learner says of each row beside its scores: float32 on the CPU (R, ...)."""
    found: dict[str, Tensor] = {}
    with torch.inference_mode():
        for row_B in evaluation_batches(rows):
            told = run.learner.diagnostics(run.model, rows.batch(row_B).to(run.device))
            if not told:
                return {}
            for name, value in told.items():
                if name not in found:
                    found[name] = torch.empty(len(rows), *value.shape[1:])
                found[name][row_B] = value.float().cpu()
    return found


def _compute(run: Run, rows: Rows, protocol: Protocol, reporter: Reporter) -> pl.DataFrame:
    assert rows.target_R is not None
    first = 1 if run.task.ranks_items else 0
    columns = {USER: rows.user_R.numpy(), TARGET: (rows.target_R + first).numpy()}
    columns |= {name: value.numpy() for name, value in diagnostics_of(run, rows).items()}
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
    if ranking.item_RK is None:
        return frame
    return frame.with_columns(pl.Series(TOP, ranking.item_RK.int().numpy()))


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
