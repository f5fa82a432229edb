"""Checkpoints that hold several tasks: what all of them share, once, and what each has of its own.

Tensors are named `backbone.X` where tasks share them and `tasks.N.X` where task N, counted from 1,
has its own: `tasks.2.head.weight`, `tasks.3.tokens.0`, and `tasks.2.backbone.item_table.weight`
where it reads other items. Where weights belong to tasks, `owners.X` says which entry is whose, as
bit planes; task N then uses the entries of tasks 1 to N.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from recxfer.foundation.errors import UsageError
from recxfer.methods.contract import Learner
from recxfer.methods.supervised import TaskLearner
from recxfer.methods.task import Task
from recxfer.models.adapters.ownership import kernels, of_tasks, pack, unpack, whole_state
from recxfer.models.backbones.contract import NUM_SPECIAL, Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.user_model import Readout, UserModel
from recxfer.runs.checkpoint import build_method, build_objective

BACKBONE = "backbone."
OWNERS = "owners."
TABLE = "item_table.weight"

Facts = dict[str, Any]
"""What a header says of one task: task, dataset, source, max_length, method (None for the task of
pretraining), readout, and the rate at which weights were pruned for it."""


def holds_tasks(header: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of the kind that this module is about."""
    return "tasks" in header


def tasks_of(header: Mapping[str, Any], readout: Readout = "last") -> list[Facts]:
    """The tasks that a run can do, in the order in which they were learned.

    Args:
        header: of a pretrained run, of one that holds tasks, or of one for a single task.
        readout: of the last.
    """
    if holds_tasks(header):
        return list(header["tasks"])
    pretrained = header["kind"] == "backbone"
    config = header["backbone"]["config"]
    return [
        {
            # What it reads is what tasks after it share.
            "task": {**header["task"], "same_vocabulary": True},
            "dataset": header["dataset"],
            "source": header.get("source"),
            "max_length": config["max_length"] if pretrained else header["max_length"],
            "method": None if pretrained else header["method"],
            "readout": readout,
            "rate": None,
        }
    ]


def histories_of(header: Mapping[str, Any]) -> dict[str, str]:
    """Facts of the dataset whose items the shared table holds."""
    facts: dict[str, str] = header.get("histories") or header.get("source") or header["dataset"]
    return facts


def pretrained_of(header: Mapping[str, Any], sha256: str) -> str:
    """The checkpoint of the pretrained run that all began with, by its sha256.

    Args:
        header: of a base.
        sha256: of its checkpoint.
    """
    if header["kind"] == "backbone":
        return sha256
    first: str = header.get("pretrained") or header["parent"]["sha256"]
    return first


def free_share(header: Mapping[str, Any]) -> float | None:
    """The share of each kernel that no task owns; None where weights have no owners."""
    rates = [facts["rate"] for facts in header.get("tasks", []) if facts["rate"] is not None]
    return math.prod(rates) if rates else None


def find_task(header: Mapping[str, Any], asked: str) -> int:
    """The number of a task that is asked for by number or name.

    Raises:
        UsageError: the run has no such task, or several of that name.
    """
    tasks = tasks_of(header)
    names = [Task.from_json(facts["task"]).name for facts in tasks]
    if asked.isdecimal() and 1 <= int(asked) <= len(tasks):
        return int(asked)
    found = [number for number, name in enumerate(names, 1) if name == asked]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(f"{number} ({name})" for number, name in enumerate(names, 1))
    raise UsageError(
        f"--task {asked}: {'several tasks have that name' if found else 'there is no such task'}; "
        f"the run holds {shown}",
        hint="give the number",
    )


def held_parts(header: Mapping[str, Any], parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint under the names of this module, owners left out."""
    if holds_tasks(header):
        return {name: part for name, part in parts.items() if not name.startswith(OWNERS)}
    return {
        name if name.startswith(BACKBONE) else f"tasks.1.{name}": part
        for name, part in parts.items()
    }


def owners_of(parts: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The owner of each entry of each kernel, by the kernel's name; None where there are none."""
    return {
        name.removeprefix(OWNERS): unpack(part, parts[name.replace(OWNERS, BACKBONE)].shape)
        for name, part in parts.items()
        if name.startswith(OWNERS)
    } or None


def task_state(
    parts: Mapping[str, Tensor], owners: Mapping[str, Tensor] | None, number: int
) -> dict[str, Tensor]:
    """The tensors of one task's model: an ordinary user model without owners."""
    state = {name: part for name, part in parts.items() if name.startswith(BACKBONE)}
    for name, owner in (owners or {}).items():
        state[BACKBONE + name] = of_tasks(state[BACKBONE + name], owner, number)
    return state | own_state(parts, number)


def own_state(parts: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """What a task does not share, under the names of its model."""
    prefix = f"tasks.{number}."
    return {
        name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)
    }


def build_task(
    header: Mapping[str, Any], facts: Facts, backbone: Backbone, own: Mapping[str, Tensor]
) -> tuple[UserModel, Learner]:
    """The model of a task, and who scores with it; what it shares has still to be loaded.

    Args:
        header: of the run.
        facts: of the task.
        backbone: to build on; it is not changed.
        own: what the task does not share; loaded already where it is no part of the backbone.
    """
    task = Task.from_json(facts["task"])
    if BACKBONE + TABLE in own:
        table = own[BACKBONE + TABLE]
        backbone = backbone.with_table(nn.Embedding.from_pretrained(table.clone(), padding_idx=0))
        assert backbone.num_items == table.shape[0] - NUM_SPECIAL
    head = None
    if "head.weight" in own:
        head = LinearHead(backbone.width, task.num_outputs, bias="head.bias" in own)
    model = UserModel(backbone, head, facts["readout"], classifies=not task.ranks_items)
    model.load_state_dict(
        {n: p for n, p in own.items() if not n.startswith(BACKBONE)}, strict=False
    )
    if facts["method"] is None:
        learner = build_objective(header["objective"]).item_learner
        assert learner is not None, "a run holds the task of pretraining only where there is one"
        return model, learner
    return model, TaskLearner(build_method(facts["method"]).config)


def pack_tasks(
    model: UserModel, before: Mapping[str, Tensor], task: Task, number: int
) -> dict[str, Tensor]:
    """The tensors of a run that holds the tasks of its base and one more.

    Args:
        model: of the task that was trained last.
        before: the base's tensors, as `held_parts` names them.
        task: that was trained last.
        number: its number; 1 where it is the base's own.
    """
    parts = {name: part for name, part in before.items() if not name.startswith(BACKBONE)}
    mine = set(model.own_names) | (set() if task.same_vocabulary else {TABLE})
    for name, tensor in whole_state(model.backbone).items():
        if name in mine:
            parts[f"tasks.{number}.{BACKBONE}{name}"] = tensor
            parts[BACKBONE + name] = before[BACKBONE + name]
        else:
            parts[BACKBONE + name] = tensor
    for name, tensor in model.state_dict().items():
        if name.startswith("earlier."):
            place, _, rest = name.removeprefix("earlier.").partition(".")
            parts[f"tasks.{int(place) + 1}.{rest}"] = tensor
        elif not name.startswith(BACKBONE):
            parts[f"tasks.{number}.{name}"] = tensor
    for kernel in kernels(model.backbone):
        parts[OWNERS + kernel.name] = pack(kernel.owned.owner, number)
    return parts
