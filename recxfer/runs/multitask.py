"""Checkpoints of several tasks: what all of them share, once, and what each has of its own.

Tensors are named `backbone.X` where tasks share them and `tasks.N.X` where task N, counted from 1,
has its own: `tasks.2.head.weight`, `tasks.3.tokens.0`, and `tasks.2.backbone.item_table.weight`
where it reads other items. Where weights belong to tasks, `owners.X` says which entry is whose, as
bit planes; task N then uses the entries of tasks 1 to N.
"""

import math
from collections.abc import Mapping

from torch import Tensor

from recxfer.foundation.errors import UsageError
from recxfer.methods.contract import AnyLearner
from recxfer.methods.supervised import SupervisedConfig, TaskLearner, chosen_readout
from recxfer.methods.task import Task
from recxfer.models.adapters.ownership import kernels, of_tasks, pack, unpack, whole_state
from recxfer.models.backbones.contract import Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.items.id_table import IdTable
from recxfer.models.user_model import Readout, UserModel
from recxfer.runs.checkpoint import build_method, build_objective
from recxfer.runs.header import Header, LearnedTask

BACKBONE = "backbone."
OWNERS = "owners."
TABLE = "item_table.weight"


def free_share(header: Header) -> float | None:
    """Compute the share of each kernel that no task owns; None where weights have no owners."""
    rates = [learned.rate for learned in header.tasks if learned.rate is not None]
    return math.prod(rates) if rates else None


def find_task(header: Header, asked: str) -> int:
    """Find the number of a task that is asked for by number or name.

    Raises:
        UsageError: the run has no such task, or several of that name.
    """
    names = [learned.task.name for learned in header.tasks]
    if asked.isdecimal() and 1 <= int(asked) <= len(names):
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


def kept_parts(header: Header, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors of a checkpoint as this module does, owners left out."""
    if header.keeps_tasks:
        return {name: part for name, part in parts.items() if not name.startswith(OWNERS)}
    return {
        name if name.startswith(BACKBONE) else f"tasks.1.{name}": part
        for name, part in parts.items()
    }


def owners_of(parts: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the owner of each entry of each kernel, by its name; None where nothing is owned."""
    return {
        name.removeprefix(OWNERS): unpack(part, parts[name.replace(OWNERS, BACKBONE)].shape)
        for name, part in parts.items()
        if name.startswith(OWNERS)
    } or None


def task_state(
    parts: Mapping[str, Tensor], owners: Mapping[str, Tensor] | None, number: int
) -> dict[str, Tensor]:
    """Collect the tensors of one task's model: an ordinary user model without owners."""
    state = {name: part for name, part in parts.items() if name.startswith(BACKBONE)}
    for name, owner in (owners or {}).items():
        state[BACKBONE + name] = of_tasks(state[BACKBONE + name], owner, number)
    return state | own_state(parts, number)


def own_state(parts: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """Collect what a task does not share, under the names of its model."""
    prefix = f"tasks.{number}."
    return {
        name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)
    }


def default_readout(learned: LearnedTask) -> Readout:
    """Say how a run for a single task reads vectors."""
    if learned.method is None:
        return "last"
    config = build_method(learned.method).config
    assert isinstance(config, SupervisedConfig)
    return chosen_readout(config.readout, learned.task)


def build_task(
    header: Header, learned: LearnedTask, backbone: Backbone, own: Mapping[str, Tensor]
) -> tuple[UserModel, AnyLearner]:
    """Build the model and the learner of a task; what it shares has still to be loaded.

    Args:
        header: of the run.
        learned: the task.
        backbone: to build on; it is not changed.
        own: what the task does not share; loaded already where it is no part of the backbone.
    """
    task = learned.task
    if BACKBONE + TABLE in own:
        table = IdTable(own[BACKBONE + TABLE].clone(), trains=False)
        backbone = backbone.with_table(table)
    head = None
    if "head.weight" in own:
        head = LinearHead(backbone.width, task.num_outputs, bias="head.bias" in own)
    model = UserModel(
        backbone, head, learned.readout or default_readout(learned), classifies=not task.ranks_items
    )
    model.load_state_dict(
        {n: p for n, p in own.items() if not n.startswith(BACKBONE)}, strict=False
    )
    if learned.method is None:
        assert header.objective is not None
        learner = build_objective(header.objective).item_learner()
        assert learner is not None, "a run holds the task of pretraining only where there is one"
        return model, learner
    return model, TaskLearner(build_method(learned.method).config)


def pack_tasks(
    model: UserModel, before: Mapping[str, Tensor], task: Task, number: int
) -> dict[str, Tensor]:
    """Collect the tensors of a run that keeps the tasks of its base and one more.

    Args:
        model: of the task that was trained last.
        before: the base's tensors, as `kept_parts` names them.
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
