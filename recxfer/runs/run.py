"""Run directories: what pretrain and transfer write, and how a run is opened again.

A run holds one checkpoint. A pretrained run's checkpoint is whole. A transferred run's holds what
the method added or changed (`delta`), or everything where nothing of the base is left (`merged`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch
from torch import Tensor, nn

from recxfer import __version__
from recxfer.data import examples
from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.foundation import tensors
from recxfer.foundation.config import Config
from recxfer.foundation.console import Reporter, SilentReporter
from recxfer.foundation.errors import CheckpointError, DataError
from recxfer.foundation.files import replaced_directory, write_json
from recxfer.foundation.names import (
    CHECKPOINT,
    HISTORY,
    ITEM,
    ITEM_ID,
    RUN_JSON,
    VOCABULARY,
)
from recxfer.methods.contract import Learner, facts
from recxfer.methods.task import Task
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import content_table, reads_content, table_facts
from recxfer.models.user_model import UserModel
from recxfer.runs.item_content import read_items_of

FORMAT = 1
"""Version of the checkpoint format that this code writes for a backbone or a single task."""

NEWEST_FORMAT = 2
"""The newest version that it reads: that of runs that hold several tasks."""


Record = dict[str, float | int | str]
"""One line of the training history."""


def code_facts() -> dict[str, str]:
    """The versions that made a checkpoint."""
    return {"recxfer": __version__, "torch": torch.__version__.partition("+")[0]}


def backbone_facts(backbone: Backbone) -> dict[str, Any]:
    """What it takes to build a backbone of this shape again."""
    return {
        "name": backbone.name,
        "config": backbone.config.model_dump(mode="json"),
        "num_items": backbone.num_items,
        "causal": backbone.causal,
        **({"content": table_facts(content_table(backbone))} if reads_content(backbone) else {}),
    }


def dataset_facts(dataset: Dataset) -> dict[str, str]:
    """What a checkpoint remembers of a dataset."""
    info = dataset.info
    return {"name": info.name, "fingerprint": info.fingerprint, "vocabulary": info.vocabulary}


def settings_facts(optim: Config, data: Config, precision: str, device: str) -> dict[str, Any]:
    """How a run was made, as pretraining and transfers alike remember it."""
    return {
        "optim": facts(optim),
        "data": facts(data),
        "precision": precision,
        "device": device,
        "threads": torch.get_num_threads(),
    }


def write_run(
    path: Path,
    *,
    parts: Mapping[str, Tensor],
    header: Mapping[str, Any],
    record: Mapping[str, Any],
    history: Sequence[Record],
    vocabulary: pl.Series,
    overwrite: bool,
) -> int:
    """Write a finished run in one step.

    Args:
        path: the run directory.
        parts: the checkpoint's tensors.
        header: the checkpoint's header: facts that are the same for the same run.
        record: `run.json`: settings, paths and timings.
        history: one record per epoch.
        vocabulary: item ids in index order.
        overwrite: whether an existing run may be replaced.

    Returns:
        The checkpoint's size in bytes.
    """
    with replaced_directory(path, marker=RUN_JSON, overwrite=overwrite) as directory:
        tensors.save(directory / CHECKPOINT, parts, header)
        index = pl.arange(1, len(vocabulary) + 1, dtype=pl.Int32, eager=True)
        pl.DataFrame({ITEM: index, ITEM_ID: vocabulary}).write_parquet(directory / VOCABULARY)
        if history:
            frame = pl.DataFrame(list(history), infer_schema_length=None)
            # Records that went through a resume file come back with their keys sorted.
            frame.select(sorted(frame.columns)).write_parquet(directory / HISTORY)
        write_json(directory / RUN_JSON, dict(record))
        return (directory / CHECKPOINT).stat().st_size


@dataclass
class Run:
    """A run, opened: a model that scores, and the data it is for."""

    path: Path
    header: dict[str, Any]
    record: dict[str, Any]
    model: nn.Module
    learner: Learner
    device: torch.device
    moved_dataset: Path | None = None
    """Where the dataset of the task lies now, if not where `run.json` says."""

    number: int | None = None
    """Which task of the run this is, counted from 1; None where a run is for one task alone.
    `header` and `record` are then those of the task."""

    @property
    def kind(self) -> Literal["pretrain", "transfer"]:
        """Which command wrote it."""
        return "pretrain" if self.header["kind"] == "backbone" else "transfer"

    @property
    def method(self) -> str:
        """The transfer method, or the objective of a pretrained run."""
        name: str = self.header["method" if self.kind == "transfer" else "objective"]["name"]
        return name

    @cached_property
    def task(self) -> Task:
        """What the model scores."""
        return Task.from_json(self.header["task"])

    @property
    def max_length(self) -> int:
        """Longest history it reads."""
        pretrained = self.kind == "pretrain"
        held = self.header["backbone"]["config"] if pretrained else self.header
        length: int = held["max_length"]
        return length

    @cached_property
    def dataset(self) -> Path:
        """The dataset of the task."""
        return self.moved_dataset or resolve_path(
            self.path, self.record["dataset"], option="--dataset"
        )

    @cached_property
    def target(self) -> Dataset:
        """The dataset of the task, opened; refused where its indices are not this run's."""
        return self.open_target(self.dataset)

    @cached_property
    def source(self) -> Dataset | None:
        """`cross-domain`: the dataset whose histories are read."""
        if self.record.get("source") is None:
            return None
        source = Dataset(resolve_path(self.path, self.record["source"]))
        check_vocabulary(source, self.header["source"], self.path)
        return source

    @cached_property
    def reads_content(self) -> bool:
        """Whether items are known by what they are, so that those of any dataset can be scored."""
        return reads_content(self.model)

    def open_target(self, path: Path) -> Dataset:
        """Open a dataset for this run's task.

        Raises:
            CheckpointError: its items are indexed otherwise than in the run, which knows no others.
        """
        target = Dataset(path)
        if not self.reads_content:
            check_vocabulary(target, self.header["dataset"], self.path)
        return target

    def read_items_of(self, target: Dataset, reporter: Reporter | None = None) -> None:
        """Let the model score the items of a dataset, where it knows items by what they are.

        Before anything is scored: until then such a model has no items.

        Raises:
            DataError: no item of it has what the model reads.
        """
        read_items_of(self.model, target, reporter or SilentReporter())

    def rows(self, part: Literal["valid", "test", "all"], dataset: Path | None = None) -> Rows:
        """The rows to evaluate on, or with `all` one row per user with their whole history.

        Args:
            part: part of the task's split.
            dataset: another dataset than the run's own; with the same items, unless the run knows
                items by their content.
        """
        target = self.target if dataset is None else self.open_target(dataset)
        return task_rows(self.task, self.source, target, part, self.max_length)

    @property
    def user_ids(self) -> pl.Series:
        """Raw ids of the users whose histories are read, in index order."""
        return (self.source or self.target).user_ids

    def merged_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Base and delta folded into one self-contained checkpoint: tensors and header."""
        kind = "merged" if self.kind == "transfer" else "backbone"
        header = {**self.header, "kind": kind}
        if self.number is not None:  # one task, and nothing of the others
            assert isinstance(self.model, UserModel)
            header |= {
                "format": FORMAT,
                "backbone": backbone_facts(self.model.backbone),
                "task_number": self.number,
            }
            del header["tasks"]
        return dict(self.model.state_dict()), header


def task_rows(
    task: Task,
    source: Dataset | None,
    target: Dataset,
    part: Literal["train", "valid", "test", "all"],
    max_length: int,
) -> Rows:
    """Rows of a task: training windows or examples, held-out cases, or every user."""
    if part == "all":
        if source is None:
            return examples.every_user(target, max_length)
        return examples.every_user(source, max_length, target)
    if task.kind == "profile":
        assert task.column is not None
        return examples.profile_rows(target, task.column, part, max_length)
    if task.kind == "cross-domain":
        assert source is not None
        return examples.cross_domain_rows(source, target, part, max_length)
    if part == "train":
        return examples.next_item_training(target, max_length)
    return examples.next_item_cases(target, part, max_length)


def check_vocabulary(dataset: Dataset, known: Mapping[str, str], run: Path) -> None:
    """Refuse a dataset whose item indices mean other items than in the run."""
    if dataset.info.vocabulary != known["vocabulary"]:
        raise CheckpointError(
            f"{dataset.path} indexes its items otherwise than {known['name']!r}, "
            f"which {run} was made from",
            hint=f"prepare it again with --vocabulary and the path of {known['name']!r}, "
            "or make the run again",
        )


def relative_path(path: Path, run: Path) -> str:
    """How `run.json` names another directory: relative to the run, so that both can move."""
    return os.path.relpath(path.resolve(), run.resolve())


def recorded_tasks(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """Where the data of each task of a run lie, by `dataset` and, where there is one, `source`.

    Args:
        record: `run.json`, of a run for one task or for several.
    """
    return [
        {key: task[key] for key in ("dataset", "source") if task.get(key) is not None}
        for task in record.get("tasks") or [record]
    ]


def recorded_histories(record: Mapping[str, Any]) -> str:
    """Where the dataset lies whose items the run's shared table holds, relative to the run.

    Args:
        record: `run.json`.
    """
    relative: str = record.get("histories") or record.get("source") or record["dataset"]
    return relative


def resolve_path(run: Path, relative: str, *, option: str | None = None) -> Path:
    """Where another directory lies that `run.json` names relative to the run.

    Args:
        run: the run directory.
        relative: as `run.json` has it.
        option: the flag that says otherwise, for the hint.

    Raises:
        DataError: it is not there.
    """
    found = Path(os.path.normpath(run / relative))
    if not found.exists():
        raise DataError(
            f"{run / RUN_JSON} refers to {found}, which is not there",
            hint=(f"say with {option} where it lies now, " if option else "move it back, ")
            + "or correct the path in run.json",
        )
    return found
