"""Open runs: a base to transfer from, or a finished run to score with.

Runs of one base that are opened together share its tensors: the second task costs its delta.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError, UsageError
from recxfer.foundation.files import sha256_of
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import AnyLearner, Base, KeptTask, adapt, trained_names
from recxfer.models.backbones.contract import Backbone
from recxfer.models.items.id_table import IdTable
from recxfer.models.user_model import UserModel
from recxfer.runs import multitask
from recxfer.runs.checkpoint import (
    build_backbone,
    build_method,
    build_objective,
    build_pretrained,
    load_exactly,
)
from recxfer.runs.header import (
    BackboneFacts,
    ComponentFacts,
    Header,
    LearnedTask,
    Parent,
    checkpoint_of,
    read_header,
)
from recxfer.runs.record import DataPaths, read_record, resolve_path
from recxfer.runs.run import Run, task_rows


class Bases:
    """Bases in memory: each is read and hashed once, however many runs build on it."""

    def __init__(self) -> None:
        self._opened: dict[Path, tuple[Base, str]] = {}

    def open(self, path: Path, rng: Rng, device: torch.device) -> tuple[Base, str]:
        """Open a base to build on, with its checkpoint's sha256.

        The modules are the caller's own; their tensors are those of everyone who asks for the base.
        """
        place = path.resolve()
        if place not in self._opened:
            opened = open_base(path, rng)
            for module in opened.base.pretrained:
                module.to(device)
            same = (other for other, known in self._opened.values() if known == opened.sha256)
            self._opened[place] = next(same, opened.base), opened.sha256
        base, sha256 = self._opened[place]
        return _on_the_same_tensors(base), sha256


def _on_the_same_tensors(base: Base) -> Base:
    """Copy modules and parameters but not tensors, so that changes leave the base alone."""
    memo = {
        id(old): nn.Parameter(old.detach(), requires_grad=old.requires_grad)
        for module in base.pretrained
        for old in module.parameters()
    }
    encoder, head = copy.deepcopy((base.encoder, base.head), memo)
    return replace(base, encoder=encoder, head=head)


@dataclass(frozen=True, slots=True)
class OpenedBase:
    """A run that was opened to begin a transfer with."""

    path: Path
    base: Base
    header: Header
    sha256: str
    """Of its checkpoint."""

    backbone: BackboneFacts
    """Of the backbone as it was opened; a method may change the one in `base`."""

    @property
    def is_pretrained(self) -> bool:
        """Whether it was only pretrained."""
        return self.header.kind == "backbone"

    @property
    def as_parent(self) -> Parent:
        """The run as the header of one made from it names it."""
        return Parent(kind="tasks" if self.header.keeps_tasks else "backbone", sha256=self.sha256)

    @property
    def pretrained(self) -> str:
        """The sha256 of the checkpoint that pretraining made."""
        if self.header.parent is None:
            return self.sha256
        return self.header.pretrained or self.header.parent.sha256


def open_base(path: Path, rng: Rng) -> OpenedBase:
    """Open a pretrained run, or one that keeps tasks, for transfer.

    Args:
        path: the run directory.
        rng: unused weights are drawn from its stream `unused`.

    Raises:
        CheckpointError: it is a run that no other can begin with, or is damaged.
    """
    checkpoint = checkpoint_of(path)
    header = read_header(path)
    method = header.method
    if method is not None and not _continues(header, method):
        raise CheckpointError(
            f"{path} was transferred by {method.name!r}, a base must be pretrained",
            hint="give the run that `recxfer pretrain` wrote",
        )
    rng.seed_all("unused")
    parts, _ = tensors.load(checkpoint)
    before = multitask.kept_parts(header, parts)
    if header.objective is None or header.backbone is None:
        raise CheckpointError(
            f"{path} has no backbone to begin a transfer with",
            hint="give the run that `recxfer pretrain` wrote",
        )
    backbone = build_backbone(header.backbone)
    table = before.get(multitask.BACKBONE + multitask.TABLE)  # there is none where content is read
    if table is not None and IdTable.items_in(table) != backbone.num_items:
        backbone.new_vocabulary(IdTable.items_in(table))  # a single task that reads others
    shared = {name: part for name, part in before.items() if name.startswith(multitask.BACKBONE)}
    load_exactly(nn.ModuleDict({"backbone": backbone}), shared, checkpoint)
    kept = _kept_tasks(path, header, before, backbone)
    pretrained = kept and header.tasks[0].method is None
    base = Base(
        encoder=backbone,
        num_items=backbone.num_items,
        head=kept[0].model.head if pretrained else None,
        objective=header.objective.name,
        transferred=header.kind != "backbone",
        tasks=kept,
        owners=multitask.owners_of(parts),
    )
    return OpenedBase(path, base, header, sha256_of(checkpoint), BackboneFacts.of(backbone))


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
    header, record = read_header(path), read_record(path)
    parts, _ = tensors.load(checkpoint)
    learner: AnyLearner
    model: nn.Module
    if header.keeps_tasks:
        number = number or len(header.tasks)
        model, learner, parts = _open_task(header, parts, number)
    elif header.method is None:
        pretraining = build_pretrained(header)
        model, learner = pretraining.model, pretraining.learner
    else:
        if header.kind == "delta":
            base_path = moved_base or resolve_path(path, record.base or "", option="--base")
            base = _base_of(path, header, base_path, device, bases or Bases())
        else:
            base = _merged_base(header)
        method = build_method(header.method)
        adapted = adapt(method, base, header.last.task, Rng(header.seed))
        model, learner = adapted.model, adapted.learner
        own = model.state_dict(keep_vars=True)
        for name in own.keys() & parts.keys():
            own[name].data = torch.empty_like(own[name])  # not the base's, which others may read
        if header.kind == "delta":
            of_base = adapted.inherited - trained_names(adapted.phases)
            parts = {**{name: own[name] for name in of_base}, **parts}
    load_exactly(model, parts, checkpoint)
    model.to(device).eval()
    return Run(path, header, record, model, learner, device, moved_dataset, number)


def _open_task(
    header: Header, parts: Mapping[str, Tensor], number: int
) -> tuple[UserModel, AnyLearner, dict[str, Tensor]]:
    """Build the model and learner of a task, and find the tensors to load into it."""
    before = multitask.kept_parts(header, parts)
    own = multitask.own_state(before, number)
    assert header.backbone is not None
    backbone = build_backbone(header.backbone)
    model, learner = multitask.build_task(header, header.tasks[number - 1], backbone, own)
    return model, learner, multitask.task_state(before, multitask.owners_of(parts), number)


def _continues(header: Header, method: ComponentFacts) -> bool:
    """Return whether a transferred run can be a base: it keeps tasks, or all its weights are
    shared.
    """
    if header.kind == "delta":
        return False
    return header.keeps_tasks or METHODS.resolve(method.name).needs.continues == "shared"


def _kept_tasks(
    path: Path, header: Header, before: Mapping[str, Tensor], backbone: Backbone
) -> list[KeptTask]:
    """Open the tasks that a base can do, on its own backbone."""
    where = read_record(path).tasks
    assert header.objective is not None
    kept = []
    for number, learned in enumerate(header.tasks, 1):
        if learned.method is None and not build_objective(header.objective).item_learner():
            continue
        # What it reads is what tasks after it share.
        task = learned.task if header.keeps_tasks else replace(learned.task, same_vocabulary=True)
        learned = learned.model_copy(update={"task": task})
        own = multitask.own_state(before, number)
        model, learner = multitask.build_task(header, learned, backbone, own)
        rows = partial(_training_rows, path, learned, where[number - 1], backbone.inputs)
        kept.append(KeptTask(task, learner, model, rows, learned.rate))
    return kept


def _training_rows(
    path: Path, learned: LearnedTask, where: DataPaths, inputs: Collection[str]
) -> Rows:
    target = Dataset(resolve_path(path, where.datasets[0]))
    source = None if where.source is None else Dataset(resolve_path(path, where.source))
    return task_rows(learned.task, source, target, "train", learned.max_length, inputs)


def _merged_base(header: Header) -> Base:
    """Describe a base whose weights are all in the run's own checkpoint."""
    if header.objective is None:
        assert header.num_items is not None
        return Base(encoder=None, num_items=header.num_items)
    Rng(header.seed).seed_all("unused")
    model = build_pretrained(header).model
    return Base(
        encoder=model.backbone,
        num_items=model.backbone.num_items,
        head=model.head,
        objective=header.objective.name,
    )


def _base_of(
    path: Path, header: Header, base_path: Path, device: torch.device, bases: Bases
) -> Base:
    if not base_path.exists():
        raise CheckpointError(
            f"{path} needs its base {base_path}, which is not there",
            hint="say with --base where it lies now",
        )
    base, sha256 = bases.open(base_path, Rng(header.seed), device)
    assert header.parent is not None
    if sha256 != header.parent.sha256:
        raise CheckpointError(
            f"{base_path} is not the base that {path} was made from: its checkpoint has sha256 "
            f"{sha256[:12]}, the run expects {header.parent.sha256[:12]}",
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
    if all(read_header(run).kind != "delta" for run in runs):
        raise UsageError(
            f"--base {base}: {runs[0]} is whole and needs no base", hint="leave it out"
        )
