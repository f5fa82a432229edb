"""Opening runs: a base to transfer from, a finished run to score with.

Runs of one base that are opened together share its tensors: the second task costs its delta.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError, UsageError
from recxfer.foundation.files import read_json, sha256_of
from recxfer.foundation.names import RUN_JSON
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import Base, Held, Learner
from recxfer.methods.supervised import chosen_readout, parameters_of, tensors_of
from recxfer.methods.task import Task
from recxfer.models.backbones.contract import NUM_SPECIAL, Backbone
from recxfer.models.user_model import Readout, UserModel
from recxfer.runs import multitask
from recxfer.runs.checkpoint import (
    assemble_pretrained,
    build_backbone,
    build_method,
    build_objective,
    checkpoint_of,
    load_exactly,
    read_checked_header,
)
from recxfer.runs.run import Run, recorded_tasks, resolve_path, task_rows


class Bases:
    """Bases in memory: each is read, hashed and held once, whatever number of runs stands on it."""

    def __init__(self) -> None:
        self._opened: dict[Path, tuple[Base, str]] = {}

    def open(self, path: Path, rng: Rng, device: torch.device) -> tuple[Base, str]:
        """A base to build on, and its checkpoint's sha256.

        The modules are the caller's own; their tensors are those of everyone who asks for the base.
        """
        place = path.resolve()
        if place not in self._opened:
            base, _, sha256 = open_base(path, rng)
            for module in base.pretrained:
                module.to(device)
            same = (other for other, known in self._opened.values() if known == sha256)
            self._opened[place] = next(same, base), sha256
        base, sha256 = self._opened[place]
        return _on_the_same_tensors(base), sha256


def _on_the_same_tensors(base: Base) -> Base:
    """New modules and parameters, so that surgery on them leaves the base alone."""
    memo = {
        id(old): nn.Parameter(old.detach(), requires_grad=old.requires_grad)
        for old in parameters_of(base.pretrained)
    }
    backbone, head = copy.deepcopy((base.backbone, base.head), memo)
    return replace(base, backbone=backbone, head=head)


def open_base(path: Path, rng: Rng) -> tuple[Base, dict[str, Any], str]:
    """Open a pretrained run, or one that holds tasks, for transfer.

    Args:
        path: the run directory.
        rng: unused weights are drawn from its stream `unused`.

    Returns:
        The base, its checkpoint's header, and its checkpoint's sha256.

    Raises:
        CheckpointError: it is a run that no other can begin with, or is damaged.
    """
    checkpoint = checkpoint_of(path)
    header = read_checked_header(checkpoint)
    if header["kind"] == "delta" or not _continues(header):
        raise CheckpointError(
            f"{path} was transferred by {header['method']['name']!r}, a base must be pretrained",
            hint="give the run that `recxfer pretrain` wrote",
        )
    rng.seed_all("unused")
    parts, _ = tensors.load(checkpoint)
    before = multitask.held_parts(header, parts)
    backbone = build_backbone(header["backbone"])
    table = before.get(multitask.BACKBONE + multitask.TABLE)  # there is none where content is read
    if table is not None and table.shape[0] != backbone.item_table.num_embeddings:
        backbone.new_vocabulary(table.shape[0] - NUM_SPECIAL)  # a single task that reads others
    shared = {name: part for name, part in before.items() if name.startswith(multitask.BACKBONE)}
    load_exactly(nn.ModuleDict({"backbone": backbone}), shared, checkpoint)
    held = _held(path, header, before, backbone)
    pretrained = held and multitask.tasks_of(header)[0]["method"] is None
    base = Base(
        backbone,
        held[0].model.head if pretrained else None,
        header["objective"]["name"],
        transferred=header["kind"] != "backbone",
        held=held,
        owners=multitask.owners_of(parts),
    )
    return base, header, sha256_of(checkpoint)


def open_run(
    path: Path,
    device: torch.device,
    bases: Bases | None = None,
    *,
    moved_base: Path | None = None,
    moved_dataset: Path | None = None,
    number: int | None = None,
) -> Run:
    """Open a finished run, pretrained or transferred, ready to score.

    Args:
        path: the run directory.
        device: where the model goes.
        bases: where runs that are opened together share the tensors of their bases. Whoever
            shares must not train what is shared.
        moved_base: where the base lies now, if not where `run.json` says.
        moved_dataset: where the dataset lies now, likewise.
        number: which task, of a run that holds several; None is the last.

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
    if multitask.holds_tasks(header):
        number = number or len(header["tasks"])
        header, record = of_task(header, number), of_task(record, number)
        model, learner, parts = _open_task(header, parts, number)
    elif header["kind"] == "backbone":
        model, learner = assemble_pretrained(header), build_objective(header["objective"])
    else:
        if header["kind"] == "delta":
            base_path = moved_base or resolve_path(path, record["base"], option="--base")
            base = _base_of(path, header, base_path, device, bases or Bases())
        else:
            base = _merged_base(header)
        learner = method = build_method(header["method"])
        pretrained = tensors_of(base.pretrained)
        task = Task.from_json(header["task"])
        model = method.assemble(base, task, Rng(header["seed"]))
        own = model.state_dict(keep_vars=True)
        for name in own.keys() & parts.keys():
            own[name].data = torch.empty_like(own[name])  # not the base's, which others may read
        if header["kind"] == "delta":
            trained = {id(p) for phase in method.phases(model, task) for p in phase.trainable}
            of_base = {id(p) for p in pretrained} - trained
            parts = {**{name: own[name] for name in own if id(own[name]) in of_base}, **parts}
    load_exactly(model, parts, checkpoint)
    model.to(device).eval()
    return Run(path, header, record, model, learner, device, moved_dataset, number)


def of_task(facts: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A header or `run.json` of several tasks as that of one of them."""
    own = facts["tasks"][number - 1]
    return {**facts, **{key: own[key] for key in own.keys() - {"method"}}}


def _open_task(
    header: Mapping[str, Any], parts: Mapping[str, Tensor], number: int
) -> tuple[UserModel, Learner, dict[str, Tensor]]:
    """The model of a task, who scores with it, and the tensors to load into it."""
    before = multitask.held_parts(header, parts)
    facts, own = header["tasks"][number - 1], multitask.own_state(before, number)
    model, learner = multitask.build_task(header, facts, build_backbone(header["backbone"]), own)
    return model, learner, multitask.task_state(before, multitask.owners_of(parts), number)


def _continues(header: Mapping[str, Any]) -> bool:
    """Whether a run that is no delta can be a base: it was pretrained, or it goes on from one."""
    if header["kind"] == "backbone" or multitask.holds_tasks(header):
        return True
    needs = METHODS.resolve(header["method"]["name"]).needs
    return bool(needs.earlier == "shared")


def _held(
    path: Path, header: Mapping[str, Any], before: Mapping[str, Tensor], backbone: Backbone
) -> list[Held]:
    """The tasks that a base can do, on its own backbone."""
    record = read_json(path / RUN_JSON)
    where = recorded_tasks(record)
    held = []
    for number, facts in enumerate(multitask.tasks_of(header, _readout(header)), 1):
        if facts["method"] is None and not build_objective(header["objective"]).ranks_items:
            continue
        own = multitask.own_state(before, number)
        model, learner = multitask.build_task(header, facts, backbone, own)
        rows = partial(_training_rows, path, facts, where[number - 1])
        held.append(Held(Task.from_json(facts["task"]), learner, model, rows, facts["rate"]))
    return held


def _readout(header: Mapping[str, Any]) -> Readout:
    """How a run for a single task reads vectors."""
    if header["kind"] == "backbone" or multitask.holds_tasks(header):
        return "last"
    return chosen_readout(header["method"]["config"]["readout"], Task.from_json(header["task"]))


def _training_rows(path: Path, facts: Mapping[str, Any], where: Mapping[str, str]) -> Rows:
    opened = {name: Dataset(resolve_path(path, relative)) for name, relative in where.items()}
    task = Task.from_json(facts["task"])
    source = opened.get("source")
    return task_rows(task, source, opened["dataset"], "train", facts["max_length"])


def _merged_base(header: Mapping[str, Any]) -> Base:
    """The shape of a base whose weights are all in the run's own checkpoint."""
    Rng(header["seed"]).seed_all("unused")
    pretrained = assemble_pretrained(header)
    return Base(pretrained.backbone, pretrained.head, header["objective"]["name"])


def _base_of(
    path: Path, header: Mapping[str, Any], base_path: Path, device: torch.device, bases: Bases
) -> Base:
    if not base_path.exists():
        raise CheckpointError(
            f"{path} needs its base {base_path}, which is not there",
            hint="say with --base where it lies now",
        )
    base, sha256 = bases.open(base_path, Rng(header["seed"]), device)
    if sha256 != header["parent"]["sha256"]:
        raise CheckpointError(
            f"{base_path} is not the base that {path} was made from: its checkpoint has sha256 "
            f"{sha256[:12]}, the run expects {header['parent']['sha256'][:12]}",
            hint="restore the base, say with --base where it lies now, or run the transfer again",
        )
    return base


def refuse_unneeded_base(runs: Sequence[Path], base: Path | None) -> None:
    """Refuse a base that no run has a use for.

    Raises:
        UsageError: every run is whole.
    """
    if base is None:
        return
    if all(read_checked_header(checkpoint_of(run))["kind"] != "delta" for run in runs):
        raise UsageError(
            f"--base {base}: {runs[0]} is whole and needs no base", hint="leave it out"
        )
