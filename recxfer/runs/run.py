"""Run directories as pretrain and transfer write them, and a run that is open.

A run holds one checkpoint. A pretrained run's checkpoint is whole. A transferred run's holds what
the method added or changed (`delta`), or everything where nothing of the base is left (`merged`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl
import torch
from torch import Tensor, nn

from recxfer.data import examples
from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError, UsageError
from recxfer.foundation.files import replaced_directory, write_json
from recxfer.foundation.names import (
    CHECKPOINT,
    HISTORY,
    ITEM,
    ITEM_ID,
    RUN_JSON,
    VOCABULARY,
)
from recxfer.foundation.reporting import Reporter, SilentReporter
from recxfer.methods.contract import AnyLearner, VectorLearner
from recxfer.methods.task import Task
from recxfer.models.content.attach import reads_content
from recxfer.models.user_model import UserModel
from recxfer.runs.header import BackboneFacts, DatasetFacts, Header, LearnedTask
from recxfer.runs.item_content import read_items_of
from recxfer.runs.record import DataPaths, RunRecord, resolve_path

EpochFigures = dict[str, float | int | str]
"""One line of the training history."""


def write_run(
    path: Path,
    *,
    parts: Mapping[str, Tensor],
    header: Header,
    record: RunRecord,
    history: Sequence[EpochFigures],
    vocabulary: pl.Series,
    overwrite: bool,
) -> int:
    """Write a finished run in one step.

    Args:
        path: the run directory.
        parts: the checkpoint's tensors.
        header: of the checkpoint.
        record: `run.json`.
        history: one record per epoch.
        vocabulary: item ids in index order.
        overwrite: whether an existing run may be replaced.

    Returns:
        The checkpoint's size in bytes.
    """
    with replaced_directory(path, marker=RUN_JSON, overwrite=overwrite) as directory:
        tensors.save(directory / CHECKPOINT, parts, header.to_json())
        index = pl.arange(1, len(vocabulary) + 1, dtype=pl.Int32, eager=True)
        pl.DataFrame({ITEM: index, ITEM_ID: vocabulary}).write_parquet(directory / VOCABULARY)
        if history:
            frame = pl.DataFrame(list(history), infer_schema_length=None)
            # Records that went through a resume file come back with their keys sorted.
            frame.select(sorted(frame.columns)).write_parquet(directory / HISTORY)
        write_json(directory / RUN_JSON, record.to_json())
        return (directory / CHECKPOINT).stat().st_size


@dataclass
class Run:
    """A run that is open: a model that scores, and its data."""

    path: Path
    header: Header
    record: RunRecord
    model: nn.Module
    learner: AnyLearner
    device: torch.device
    moved_dataset: Path | None = None
    """Where the dataset of the task lies now, if not where `run.json` says."""

    number: int | None = None
    """Which task of the run this is, counted from 1; None where a run is for one task alone."""

    @property
    def learned(self) -> LearnedTask:
        """The task that the model is for, as the header has it."""
        return self.header.tasks[(self.number or 1) - 1]

    @property
    def data_paths(self) -> DataPaths:
        """Paths of the data of the task, as in `run.json`."""
        return self.record.tasks[(self.number or 1) - 1]

    @property
    def method(self) -> str:
        """The transfer method, or the objective of a pretrained run."""
        component = self.header.method or self.header.objective
        assert component is not None
        return component.name

    @property
    def task(self) -> Task:
        """Task that the model scores."""
        return self.learned.task

    @property
    def max_length(self) -> int:
        """Longest history it reads."""
        return self.learned.max_length

    def vectors(self, wanted: str) -> VectorLearner[nn.Module]:
        """Return the learner of a run that has user vectors and an output layer.

        Args:
            wanted: what needs them, for the error.

        Raises:
            UsageError: the run scores pairs otherwise.
        """
        if not isinstance(self.learner, VectorLearner):
            raise UsageError(
                f"{wanted} needs user vectors, and {self.path}, made by {self.method}, scores "
                "people and items without any",
                hint="export its recommendations, or choose another run",
            )
        return self.learner

    @cached_property
    def dataset(self) -> Path:
        """The dataset of the task."""
        return self.moved_dataset or resolve_path(
            self.path, self.data_paths.datasets[0], option="--dataset"
        )

    @cached_property
    def target(self) -> Dataset:
        """The dataset of the task, opened; refused where its indices are not this run's."""
        return self.open_target(self.dataset)

    @cached_property
    def source(self) -> Dataset | None:
        """`cross-domain`: the dataset whose histories are read."""
        if self.data_paths.source is None:
            return None
        assert self.learned.source is not None
        source = Dataset(resolve_path(self.path, self.data_paths.source))
        check_vocabulary(source, self.learned.source, self.path)
        return source

    @cached_property
    def reads_content(self) -> bool:
        """Whether items are read by content, so that those of any dataset can be scored."""
        return reads_content(self.model)

    def open_target(self, path: Path) -> Dataset:
        """Open a dataset for this run's task.

        Raises:
            CheckpointError: its items are indexed otherwise than in the run, which knows no others.
        """
        target = Dataset(path)
        if not self.reads_content:
            check_vocabulary(target, self.learned.dataset, self.path)
        return target

    def read_items_of(self, target: Dataset, reporter: Reporter | None = None) -> None:
        """Attach the items of a dataset to a model that reads them by content.

        Before anything is scored: until then such a model has no items.

        Raises:
            DataError: no item of it has what the model reads.
        """
        read_items_of(self.model, target, reporter or SilentReporter())

    def rows(self, part: Literal["valid", "test", "all"], dataset: Path | None = None) -> Rows:
        """Cut the rows to evaluate on, or with `all` one row per user with their whole history.

        Args:
            part: part of the task's split.
            dataset: another dataset than the run's own; with the same items, unless the run knows
                items by their content.
        """
        target = self.target if dataset is None else self.open_target(dataset)
        inputs = self.header.inputs
        return task_rows(self.task, self.source, target, part, self.max_length, inputs)

    @property
    def user_ids(self) -> pl.Series:
        """Raw ids of the users whose histories are read, in index order."""
        return (self.source or self.target).user_ids

    def merged_tensors(self) -> tuple[dict[str, Tensor], Header]:
        """Fold base and delta into one self-contained checkpoint: tensors and header."""
        changes: dict[str, object] = {"kind": "merged" if self.header.method else "backbone"}
        if self.number is not None:  # one task, and nothing of the others
            assert isinstance(self.model, UserModel)
            changes |= {
                "kind": "merged",
                "backbone": BackboneFacts.of(self.model.backbone),
                "task_number": self.number,
                "tasks": (self.learned,),
            }
        return dict(self.model.state_dict()), self.header.model_copy(update=changes)


def task_rows(
    task: Task,
    source: Dataset | None,
    target: Dataset,
    part: Literal["train", "valid", "test", "all"],
    max_length: int,
    inputs: Collection[str],
) -> Rows:
    """Cut the rows of a task: training windows or examples, held-out cases, or every user.

    Args:
        task: what is learned, or scored.
        source: `cross-domain`: the dataset whose histories are read.
        target: the dataset of the task.
        part: of the task's split; `all` for one row per user.
        max_length: longest history.
        inputs: columns of histories that the backbone reads.

    Raises:
        DataError: a column is not there, or no user has what the task needs.
    """
    if part == "all":
        if source is None:
            return examples.every_user(target, max_length, columns=inputs)
        return examples.every_user(source, max_length, target, inputs)
    if task.kind == "profile":
        assert task.column is not None
        return examples.profile_rows(target, task.column, part, max_length, inputs)
    if task.kind == "cross-domain":
        assert source is not None
        return examples.cross_domain_rows(source, target, part, max_length, inputs)
    if part == "train":
        return examples.next_item_training(target, max_length, inputs)
    return examples.next_item_cases(target, part, max_length, inputs)


def check_vocabulary(dataset: Dataset, known: DatasetFacts, run: Path) -> None:
    """Refuse a dataset whose item indices mean other items than in the run."""
    if dataset.info.vocabulary != known.vocabulary:
        raise CheckpointError(
            f"{dataset.path} indexes its items otherwise than {known.name!r}, "
            f"which {run} was made from",
            hint=f"prepare it again with --vocabulary and the path of {known.name!r}, "
            "or make the run again",
        )
