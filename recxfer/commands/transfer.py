"""`transfer`: a pretrained run and a target dataset in, an adapted run out."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from recxfer.commands.fitting import check_needs, check_rows, longest_history, resolve_task
from recxfer.commands.pretrain import best_record
from recxfer.data.dataset import Dataset
from recxfer.data.examples import share_of_people
from recxfer.foundation.config import Component, Config, Settings
from recxfer.foundation.console import Reporter
from recxfer.foundation.device import (
    choose_device,
    choose_precision,
    keep_freed_memory,
    set_threads,
)
from recxfer.foundation.errors import UsageError
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import Base, Method, Phase, facts
from recxfer.methods.task import Task, parse_task
from recxfer.models.backbone import Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.user_model import UserModel
from recxfer.training import runs
from recxfer.training.loop import cache_vectors
from recxfer.training.opening import open_base
from recxfer.training.optim import OptimConfig
from recxfer.training.session import Session, claim_output, finished_before, release_output
from recxfer.training.validation import Validation


class TransferOptim(OptimConfig):
    """How a transfer is optimised: shorter and more carefully than pretraining."""

    epochs: int = Field(default=30, ge=1)
    """Passes over the training rows."""

    lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    """Peak learning rate of Adam."""

    patience: int = Field(default=6, ge=0)
    """Stop after this many validations without a better value; 0 trains all epochs."""


class TransferData(Config):
    """What a transfer reads of a dataset."""

    max_length: int | None = Field(default=None, ge=1)
    """Longest history, in events; by default the base's. Convolutions can read more than they were
    pretrained on, which helps where the evidence lies in the whole history."""

    train_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the training people to learn from, at least one: for learning curves. With one seed
    a smaller share is part of a larger one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferConfig:
    """Everything that decides a transferred run."""

    base: Path
    dataset: Path
    run: Path
    method: str
    method_config: Config | None = None
    task: str = "next-item"
    source: Path | None = None
    """`cross-domain`: where histories are read; by default the dataset of the base."""

    optim: OptimConfig = field(default_factory=TransferOptim)
    data: TransferData = field(default_factory=TransferData)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    overwrite: bool = False
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """What a transfer made."""

    path: Path
    method: str
    task: str
    parameters: int
    """Of the whole model."""

    trained_parameters: int
    """That any phase trained, head included."""

    trained_share: float
    """Trained over all parameters of the base's backbone, item table, task tokens and head
    left out of both."""

    counted: str
    """What `trained_share` counts, in words."""

    epochs: int
    best_epoch: int
    validation: dict[str, float]
    delta_bytes: int
    """Size of the checkpoint."""

    def as_json(self) -> dict[str, Any]:
        """The keys of `--json`."""
        return {
            "method": self.method,
            "task": self.task,
            "parameters": self.parameters,
            "trained_parameters": self.trained_parameters,
            "trained_share": round(self.trained_share, 6),
            "counted": self.counted,
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "validation": self.validation,
            "delta_bytes": self.delta_bytes,
        }


def resolve(
    base: Path,
    dataset: Path,
    run: Path,
    *,
    settings: Settings,
    method: str | None,
    task: str = "next-item",
    source: Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    **common: Any,
) -> TransferConfig:
    """Settings and flags as one config.

    Args:
        base: a pretrained run.
        dataset: the target.
        run: the run to write.
        settings: file and `--set`.
        method: name in METHODS.
        task: `next-item`, `cross-domain` or `profile:COLUMN`.
        source: where `cross-domain` histories are read, if not the base's own dataset.
        epochs: passes over the data.
        batch_size: rows of a step.
        lr: peak learning rate.
        common: seed, device, precision, threads, overwrite, resume.

    Raises:
        ConfigError: with all problems at once.
        UsageError: the method or task is unknown.
    """
    method = settings.name("method", method, "")
    if not method:
        raise UsageError(
            "no method was chosen", hint=f"pass --method with one of {', '.join(METHODS.names)}"
        )
    parse_task(task)
    decoded = settings.decode(
        {
            "method": METHODS.resolve(method).config_type,
            "optim": TransferOptim,
            "data": TransferData,
        },
        {"optim": {"epochs": epochs, "batch_size": batch_size, "lr": lr}},
        {"method": Component(method, METHODS)},
    )
    return TransferConfig(
        base=base,
        dataset=dataset,
        run=run,
        method=method,
        method_config=decoded["method"],
        task=task,
        source=source,
        optim=decoded["optim"],  # type: ignore[arg-type]  # decoded as asked
        data=decoded["data"],  # type: ignore[arg-type]  # decoded as asked
        **common,
    )


def run(config: TransferConfig, reporter: Reporter) -> TransferResult:
    """Adapt a base to a task by a method and write the result as a run."""
    claim_output(
        config.run,
        overwrite=config.overwrite,
        resume=config.resume,
        inputs=[config.base, config.dataset, *([config.source] if config.source else [])],
    )
    set_threads(config.threads)
    keep_freed_memory()
    device = choose_device(config.device)
    method_type = METHODS.resolve(config.method)
    method: Method[Any, Any] = method_type(config.method_config or method_type.config_type())
    rng = Rng(config.seed)
    base, base_header, base_sha256 = open_base(config.base, rng)
    target = Dataset(config.dataset)
    task, source = resolve_task(config.task, config.base, base_header, target, config.source)
    check_needs(config.method, method.needs, base, task)
    body = _count_body(base.backbone, base.backbone.parameters())
    pretrained = {id(p) for p in [*base.backbone.parameters(), *_head_parameters(base)]}

    model: nn.Module = method.assemble(base, task, rng).to(device)
    max_length = longest_history(config.data.max_length, base.backbone)
    header = {
        **_header(config, method, base_header, base_sha256, task, source, target),
        "max_length": max_length,
    }
    finished = finished_before(
        config.run, header, overwrite=config.overwrite, resume=config.resume, reporter=reporter
    )
    if finished is not None:
        return _result(
            config,
            model,
            method.phases(model, task),
            body,
            epochs=finished.epochs,
            size=(config.run / CHECKPOINT).stat().st_size,
            **finished.training,
        )
    rows = runs.task_rows(task, source, target, "train", max_length)
    rows = share_of_people(rows, config.data.train_share, rng)
    held_out = runs.task_rows(task, source, target, "valid", max_length)
    check_rows(config.dataset, task, rows, held_out, reporter)
    method.count(model, rows)
    rows = cache_vectors(model, rows, method.frozen_vectors, device)
    held_out = cache_vectors(model, held_out, method.frozen_vectors, device)
    phases = method.phases(model, task)
    session = Session(
        run=config.run,
        model=model,
        learner=method,
        phases=phases,
        close=method.close,
        rows=rows,
        validation=Validation.of(method, held_out, rng, device, ranks_items=task.ranks_items),
        optim=config.optim,
        rng=rng,
        device=device,
        precision=choose_precision(config.precision, device),
        reporter=reporter,
        depends_on=header,
    )
    started = time.perf_counter()
    state = session.train(resume=config.resume)
    trained = {id(p) for phase in phases for p in phase.trainable}
    delta = _delta(model, pretrained, trained)
    validated = best_record(state) if state.history else session.validation(model)
    size = runs.write_run(
        config.run,
        parts=delta,
        header={
            **header,
            "kind": "merged" if len(delta) == len(model.state_dict()) else "delta",
            "training": {"best_epoch": state.best_epoch, "validation": validated},
        },
        record=_record(config, header, source, device, time.perf_counter() - started),
        history=state.history,
        vocabulary=target.item_ids,
        overwrite=config.overwrite,
    )
    release_output(config.run)
    return _result(
        config,
        model,
        phases,
        body,
        epochs=len(state.history),
        size=size,
        best_epoch=state.best_epoch,
        validation=validated,
    )


def _result(
    config: TransferConfig,
    model: nn.Module,
    phases: Iterable[Phase],
    body: int,
    *,
    epochs: int,
    size: int,
    best_epoch: int,
    validation: dict[str, float],
) -> TransferResult:
    trained = {id(p): p for phase in phases for p in phase.trainable}
    in_body = _count_body(model, trained.values())
    return TransferResult(
        path=config.run,
        method=config.method,
        task=config.task,
        parameters=sum(p.numel() for p in model.parameters()),
        trained_parameters=sum(p.numel() for p in trained.values()),
        trained_share=in_body / body,
        counted=f"{in_body:,} of the backbone's {body:,} parameters; "
        "item table, tokens and head left out",
        epochs=epochs,
        best_epoch=best_epoch,
        validation=validation,
        delta_bytes=size,
    )


def _head_parameters(base: Base) -> list[nn.Parameter]:
    return [] if base.head is None else list(base.head.parameters())


def _delta(model: nn.Module, pretrained: set[int], trained: set[int]) -> dict[str, Tensor]:
    """Tensors that the base does not hold, or that training has moved."""
    return {
        name: tensor.detach()
        for name, tensor in model.state_dict(keep_vars=True).items()
        if id(tensor) in trained or id(tensor) not in pretrained
    }


def _count_body(model: nn.Module, parameters: Iterable[nn.Parameter]) -> int:
    """Numbers in parameters that belong neither to the item table nor to a task: head, tokens."""
    outer = set()
    for module in model.modules():
        if isinstance(module, LinearHead):
            outer |= {id(parameter) for parameter in module.parameters()}
        if isinstance(module, UserModel):
            outer |= {id(token) for token in module.tokens}
        if isinstance(module, Backbone):
            outer.add(id(module.item_table.weight))
    return sum(p.numel() for p in parameters if id(p) not in outer)


def _header(
    config: TransferConfig,
    method: Method[Any, Any],
    base_header: Mapping[str, Any],
    base_sha256: str,
    task: Task,
    source: Dataset | None,
    target: Dataset,
) -> dict[str, Any]:
    return {
        "format": runs.FORMAT,
        "objective": base_header["objective"],
        "backbone": base_header["backbone"],
        "method": {"name": config.method, "config": facts(method.config)},
        "task": task.to_json(),
        "dataset": runs.dataset_facts(target),
        "source": None if source is None else runs.dataset_facts(source),
        "parent": {"kind": "backbone", "sha256": base_sha256},
        "seed": config.seed,
        "settings": {
            "optim": facts(config.optim),
            "data": facts(config.data),
            "precision": config.precision,
            "device": config.device,
            "threads": torch.get_num_threads(),
        },
        "code": runs.code_facts(),
    }


def _record(
    config: TransferConfig,
    header: Mapping[str, Any],
    source: Dataset | None,
    device: torch.device,
    seconds: float,
) -> dict[str, Any]:
    return {
        "command": "transfer",
        "method": config.method,
        "task": config.task,
        "base": runs.relative_path(config.base, config.run),
        "dataset": runs.relative_path(config.dataset, config.run),
        "source": None if source is None else runs.relative_path(source.path, config.run),
        "settings": header["settings"],
        "device": str(device),
        "seconds": round(seconds, 1),
    }
