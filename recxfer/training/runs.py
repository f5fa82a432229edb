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
from recxfer.foundation.errors import CheckpointError, DataError
from recxfer.foundation.files import read_json, replaced_directory, sha256_of, write_json
from recxfer.foundation.names import (
    CHECKPOINT,
    HISTORY,
    ITEM,
    ITEM_ID,
    RUN_JSON,
    VOCABULARY,
)
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS, OBJECTIVES
from recxfer.methods.contract import Base, Learner, Objective
from recxfer.methods.task import Task
from recxfer.models import BACKBONES
from recxfer.models.backbone import Backbone
from recxfer.models.heads import NextItemModel
from recxfer.training.state import Record

FORMAT = 1
"""Version of the checkpoint format that this code writes, and the newest that it reads."""


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
    }


def dataset_facts(dataset: Dataset) -> dict[str, str]:
    """What a checkpoint remembers of a dataset."""
    info = dataset.info
    return {"name": info.name, "fingerprint": info.fingerprint, "vocabulary": info.vocabulary}


def build_backbone(facts: Mapping[str, Any]) -> Backbone:
    """A backbone from its facts; the weights are whatever torch's generator gives."""
    backbone_type = BACKBONES.resolve(facts["name"])
    config = backbone_type.config_type.model_validate(facts["config"])
    backbone: Backbone = backbone_type(config, facts["num_items"], causal=facts["causal"])
    return backbone


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
    with replaced_directory(path, overwrite=overwrite) as directory:
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
        return _resolve(self.path, self.record["dataset"])

    @cached_property
    def target(self) -> Dataset:
        """The dataset of the task, opened; refused where its indices are not this run's."""
        return self.open_target(self.dataset)

    @cached_property
    def source(self) -> Dataset | None:
        """`cross-domain`: the dataset whose histories are read."""
        if self.record.get("source") is None:
            return None
        source = Dataset(_resolve(self.path, self.record["source"]))
        check_vocabulary(source, self.header["source"], self.path)
        return source

    def open_target(self, path: Path) -> Dataset:
        """Open a dataset for this run's task.

        Raises:
            CheckpointError: its items are indexed otherwise than in the run.
        """
        target = Dataset(path)
        check_vocabulary(target, self.header["dataset"], self.path)
        return target

    def rows(self, part: Literal["valid", "test", "all"], dataset: Path | None = None) -> Rows:
        """The rows to evaluate on, or with `all` one row per user with their whole history.

        Args:
            part: part of the task's split.
            dataset: another dataset with the same items than the run's own.
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
        return dict(self.model.state_dict()), {**self.header, "kind": kind}


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


def check_vocabulary(dataset: Dataset, facts: Mapping[str, str], run: Path) -> None:
    """Refuse a dataset whose item indices mean other items than in the run."""
    if dataset.info.vocabulary != facts["vocabulary"]:
        raise CheckpointError(
            f"{dataset.path} indexes its items otherwise than {facts['name']!r}, "
            f"which {run} was made from",
            hint="use the dataset the run was made from, or make the run again",
        )


def open_base(path: Path, rng: Rng) -> tuple[Base, dict[str, Any], str]:
    """Open a pretrained run for transfer.

    Args:
        path: the run directory.
        rng: unused weights are drawn from its stream `unused`.

    Returns:
        The base, its checkpoint's header, and its checkpoint's sha256.

    Raises:
        CheckpointError: it is no pretrained run, or is damaged.
    """
    checkpoint = checkpoint_of(path)
    header = read_checked_header(checkpoint)
    if header["kind"] != "backbone":
        raise CheckpointError(
            f"{path} was transferred by {header['method']['name']!r}, a base must be pretrained",
            hint="give the run that `recxfer pretrain` wrote",
        )
    rng.seed_all("unused")
    model = assemble_pretrained(header)
    parts, _ = tensors.load(checkpoint)
    load_exactly(model, parts, checkpoint)
    base = Base(model.backbone, getattr(model, "head", None), header["objective"]["name"])
    return base, header, sha256_of(checkpoint)


def open_run(path: Path, device: torch.device) -> Run:
    """Open a finished run, pretrained or transferred, ready to score.

    Raises:
        CheckpointError: it is missing, unfinished or damaged, or its base is not the one it was
            made from.
    """
    checkpoint = checkpoint_of(path)
    header = read_checked_header(checkpoint)
    record = read_json(path / RUN_JSON)
    parts, _ = tensors.load(checkpoint)
    learner: Learner
    model: nn.Module
    if header["kind"] == "backbone":
        model, learner = assemble_pretrained(header), _objective(header)
    else:
        base = _base_of(path, header, record)
        method_type = METHODS.resolve(header["method"]["name"])
        config = method_type.config_type.model_validate(header["method"]["config"])
        learner = method = method_type(config)
        model = method.assemble(base, Task.from_json(header["task"]), Rng(header["seed"]))
        own = model.state_dict()
        parts = {name: parts.get(name, own[name]) for name in {**own, **parts}}
    load_exactly(model, parts, checkpoint)
    model.to(device).eval()
    return Run(path, header, record, model, learner, device)


def assemble_pretrained(header: Mapping[str, Any]) -> NextItemModel:
    """The model of a pretrained run, without its weights."""
    model: NextItemModel = _objective(header).assemble(
        build_backbone(header["backbone"]), Rng(header["seed"])
    )
    return model


def checkpoint_of(path: Path) -> Path:
    """The checkpoint inside a run directory."""
    if not (path / RUN_JSON).exists():
        raise CheckpointError(
            f"{path} is not a finished run: it has no {RUN_JSON}",
            hint="give a directory that `recxfer pretrain` or `recxfer transfer` wrote",
        )
    return path / CHECKPOINT


def read_checked_header(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's header, refused where its format is newer than this code."""
    header = tensors.read_header(checkpoint)
    if header.get("format", 0) > FORMAT:
        raise CheckpointError(
            f"{checkpoint} has format {header['format']}, this recxfer reads up to {FORMAT}",
            hint="update recxfer",
        )
    return header


def load_exactly(model: nn.Module, parts: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Load all tensors of a model; one that is missing, left over or misshapen is an error."""
    try:
        model.load_state_dict(dict(parts))
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint} does not fit its own header: {str(error).splitlines()[-1].strip()}",
            hint="the file is damaged; make the run again",
        ) from error


def relative_path(path: Path, run: Path) -> str:
    """How `run.json` names another directory: relative to the run, so that both can move."""
    return os.path.relpath(path.resolve(), run.resolve())


def _base_of(path: Path, header: Mapping[str, Any], record: Mapping[str, Any]) -> Base:
    rng = Rng(header["seed"])
    if header["kind"] == "merged":
        rng.seed_all("unused")
        pretrained = _objective(header).assemble(build_backbone(header["backbone"]), rng)
        return Base(pretrained.backbone, pretrained.head, header["objective"]["name"])
    base_path = _resolve(path, record["base"])
    if not base_path.exists():
        raise CheckpointError(
            f"{path} needs its base {base_path}, which is not there",
            hint="move the base back, or set `base` in run.json to where it lies now",
        )
    base, _, sha256 = open_base(base_path, rng)
    if sha256 != header["parent"]["sha256"]:
        raise CheckpointError(
            f"{base_path} is not the base that {path} was made from: its checkpoint has sha256 "
            f"{sha256[:12]}, the run expects {header['parent']['sha256'][:12]}",
            hint="restore the base, or run the transfer again",
        )
    return base


def _objective(header: Mapping[str, Any]) -> Objective[Any, Any]:
    objective = OBJECTIVES.resolve(header["objective"]["name"])
    built: Objective[Any, Any] = objective(
        objective.config_type.model_validate(header["objective"]["config"])
    )
    return built


def _resolve(run: Path, relative: str) -> Path:
    found = Path(os.path.normpath(run / relative))
    if not found.exists() and not Path(relative).is_absolute():
        raise DataError(
            f"{run / RUN_JSON} refers to {found}, which is not there",
            hint="move it back, or correct the path in run.json",
        )
    return found
