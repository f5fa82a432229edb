"""What a transfer says of itself: the facts of its header, of `run.json`, and what is counted."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recxfer.commands.transfer_config import TransferConfig
from recxfer.data.dataset import Dataset
from recxfer.methods.contract import Method, Phase
from recxfer.models.adapters.ownership import kernels
from recxfer.models.adapters.policy import PolicyNetwork
from recxfer.models.backbones.contract import Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.user_model import UserModel
from recxfer.runs.header import (
    BackboneFacts,
    ComponentFacts,
    Header,
    LearnedTask,
    Parent,
    TrainingSettings,
    code_facts,
)
from recxfer.runs.multitask import default_readout
from recxfer.runs.record import Counts, DataPaths, RunRecord, read_record, relative_path


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
    base: Header,
    base_sha256: str,
    learned: LearnedTask,
) -> Header:
    """State the facts that a run and its resumption have in common.

    Args:
        config: what was asked for.
        method: built.
        base: the base's header.
        base_sha256: of the base's checkpoint.
        learned: the one task of the run, without its method.
    """
    facts = ComponentFacts.of(config.method, method.config)
    return Header(
        kind="delta",
        objective=base.objective,
        backbone=base.backbone,
        method=facts,
        tasks=(learned.model_copy(update={"method": facts}),),
        parent=Parent(kind="tasks" if base.keeps_tasks else "backbone", sha256=base_sha256),
        seed=config.seed,
        settings=TrainingSettings.of(config.optim, config.data, config.precision, config.device),
        code=code_facts(),
    )


def keeping_tasks(header: Header, base: Header, base_sha256: str, backbone: Backbone) -> Header:
    """State the same of a run that goes on keeping the tasks of its base.

    Args:
        header: of a run for one task.
        base: the base's header.
        base_sha256: of the base's checkpoint.
        backbone: the base's, as it is shared.
    """
    pretrained = base.pretrained or (base_sha256 if base.parent is None else base.parent.sha256)
    return header.model_copy(
        update={
            "kind": "tasks",
            "backbone": BackboneFacts.of(backbone),
            "histories": base.read_items,
            "pretrained": pretrained,
        }
    )


def with_earlier(header: Header, base: Header, model: UserModel, number: int) -> Header:
    """Put the tasks of the base before the run's own, which has become task `number`."""
    rates = {float(kernel.owned.rate) for kernel in kernels(model.backbone)}
    own = header.last.model_copy(
        update={"readout": model.readout, "rate": round(rates.pop(), 6) if rates else None}
    )
    earlier = [
        learned.model_copy(
            update={
                "task": replace(learned.task, same_vocabulary=True),
                "readout": default_readout(learned),
            }
        )
        if not base.keeps_tasks
        else learned
        for learned in base.tasks[: number - 1]
    ]
    return header.model_copy(update={"tasks": (*earlier, own)})


def transfer_record(
    config: TransferConfig,
    settings: TrainingSettings,
    source: Dataset | None,
    device: torch.device,
    seconds: float,
    counts: Counts,
) -> RunRecord:
    """State what `run.json` holds."""
    own = DataPaths(
        datasets=(relative_path(config.dataset, config.run),),
        source=None if source is None else relative_path(source.path, config.run),
    )
    return RunRecord(
        command="transfer",
        method=config.method,
        task=config.task,
        base=relative_path(config.base, config.run),
        tasks=(own,),
        settings=settings,
        counts=counts,
        device=str(device),
        seconds=round(seconds, 1),
    )


def record_with_earlier(record: RunRecord, base: Path, run: Path, number: int) -> RunRecord:
    """Say where the data of the base's tasks lie, too, seen from the run."""
    of_base = read_record(base)
    earlier = [paths.moved(base, run) for paths in of_base.tasks[: number - 1]]
    histories = relative_path(base / of_base.read_items, run)
    return record.model_copy(update={"tasks": (*earlier, *record.tasks), "histories": histories})
