"""What a transfer says of itself: the facts of its header, of `run.json`, and what is counted."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recxfer.commands.transfer_config import TransferConfig
from recxfer.data.dataset import Dataset
from recxfer.foundation.files import read_json
from recxfer.foundation.names import RUN_JSON
from recxfer.methods.contract import Method, Phase, facts
from recxfer.methods.task import Task
from recxfer.models.adapters.ownership import kernels
from recxfer.models.adapters.policy import PolicyNetwork
from recxfer.models.backbones.contract import Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.user_model import UserModel
from recxfer.runs.multitask import holds_tasks
from recxfer.runs.run import (
    FORMAT,
    code_facts,
    dataset_facts,
    recorded_histories,
    recorded_tasks,
    relative_path,
    settings_facts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of parameters."""

    parameters: int
    """Of the whole model."""

    trained: int
    """That any phase trains; of a kernel that is shared out, the free entries."""

    trained_of_body: int
    """Likewise, without item table, tokens and head."""

    body: int
    """Of the base's backbone without its item table."""


def count(model: nn.Module, phases: Iterable[Phase], body: int) -> Counts:
    """Count a model that is about to be trained."""
    trained = {id(p): p for phase in phases for p in phase.trainable}
    return Counts(
        parameters=sum(p.numel() for p in model.parameters()),
        trained=sum(_numel(model, trained.values())),
        trained_of_body=count_body(model, trained.values()),
        body=body,
    )


def count_body(model: nn.Module, parameters: Iterable[nn.Parameter]) -> int:
    """Numbers in parameters that belong neither to the item table nor to a task: head, tokens."""
    outer = set()
    for module in model.modules():
        if isinstance(module, LinearHead):
            outer |= {id(parameter) for parameter in module.parameters()}
        if isinstance(module, UserModel):
            outer |= {id(token) for token in module.tokens}
        if isinstance(module, (Backbone, PolicyNetwork)) and module.item_table is not None:
            outer |= {id(parameter) for parameter in module.item_table.parameters()}
    return sum(_numel(model, [p for p in parameters if id(p) not in outer]))


def _numel(model: nn.Module, parameters: Iterable[nn.Parameter]) -> list[int]:
    free = {
        id(kernel.weight): kernel.owned.num_free
        for module in model.modules()
        if isinstance(module, Backbone)
        for kernel in kernels(module)
    }
    return [free.get(id(p), p.numel()) for p in parameters]


def changed(model: nn.Module, kept: set[int], trained: set[int]) -> dict[str, Tensor]:
    """Tensors that the base does not hold, or that training has moved."""
    return {
        name: tensor.detach()
        for name, tensor in model.state_dict(keep_vars=True).items()
        if id(tensor) in trained or id(tensor) not in kept
    }


def transfer_header(
    config: TransferConfig,
    method: Method[Any, Any],
    base_header: Mapping[str, Any],
    base_sha256: str,
    task: Task,
    source: Dataset | None,
    target: Dataset,
) -> dict[str, Any]:
    """The facts that a run and its resumption have in common."""
    return {
        "format": FORMAT,
        "objective": base_header["objective"],
        "backbone": base_header["backbone"],
        "method": {"name": config.method, "config": facts(method.config)},
        "task": task.to_json(),
        "dataset": dataset_facts(target),
        "source": None if source is None else dataset_facts(source),
        "parent": {
            "kind": "tasks" if holds_tasks(base_header) else "backbone",
            "sha256": base_sha256,
        },
        "seed": config.seed,
        "settings": settings_facts(config.optim, config.data, config.precision, config.device),
        "code": code_facts(),
    }


def transfer_record(
    config: TransferConfig,
    header: Mapping[str, Any],
    source: Dataset | None,
    device: torch.device,
    seconds: float,
    counts: Counts,
) -> dict[str, Any]:
    """`run.json`."""
    return {
        "command": "transfer",
        "method": config.method,
        "task": config.task,
        "base": relative_path(config.base, config.run),
        "dataset": relative_path(config.dataset, config.run),
        "source": None if source is None else relative_path(source.path, config.run),
        "settings": header["settings"],
        "counts": asdict(counts),
        "device": str(device),
        "seconds": round(seconds, 1),
    }


def task_facts(
    model: UserModel, header: Mapping[str, Any], training: Mapping[str, Any], *, of_base: bool
) -> dict[str, Any]:
    """What the header of a run that holds tasks says of the one that was trained last."""
    rates = {float(kernel.owned.rate) for kernel in kernels(model.backbone)}
    return {
        "task": header["task"],
        "dataset": header["dataset"],
        "source": header["source"],
        "max_length": header["max_length"],
        "method": None if of_base else header["method"],
        "readout": model.readout,
        "rate": round(rates.pop(), 6) if rates else None,
        "training": dict(training),
    }


def held_record(
    config: TransferConfig, base_path: Path, record: Mapping[str, Any], number: int
) -> dict[str, Any]:
    """Where the datasets of all tasks of a run lie, for its `run.json`."""
    of_base = read_json(base_path / RUN_JSON)

    def moved(relative: str | None) -> str | None:
        """A path relative to the base as one relative to the run."""
        return None if relative is None else relative_path(base_path / relative, config.run)

    tasks = [
        {key: moved(task.get(key)) for key in ("dataset", "source")}
        for task in recorded_tasks(of_base)[: number - 1]
    ]
    own = {key: record[key] for key in ("dataset", "source")}
    return {"histories": moved(recorded_histories(of_base)), "tasks": [*tasks, own]}
