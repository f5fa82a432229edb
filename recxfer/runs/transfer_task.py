"""Resolve what a transfer begins with: its base, its task, and the data of that task."""

from dataclasses import dataclass
from pathlib import Path

from recxfer.data.dataset import Dataset
from recxfer.data.examples import share_of_users
from recxfer.data.rows import Rows
from recxfer.foundation.errors import UsageError
from recxfer.foundation.reporting import Reporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, Base, Needs
from recxfer.methods.task import Task
from recxfer.models.backbones.contract import Backbone, BackboneConfig
from recxfer.runs.compatibility import (
    check_base,
    check_kept_tasks,
    check_needs,
    check_rows,
    checked_length,
    refuse_repeated,
    resolve_task,
    warn_exposed,
)
from recxfer.runs.header import DatasetFacts, LearnedTask
from recxfer.runs.open import OpenedBase
from recxfer.runs.record import read_record, resolve_path
from recxfer.runs.run import check_vocabulary, task_rows

NO_BASE = Path("none")
"""What BASE is given as where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferTask:
    """A task, the base that it is learned from, and its data."""

    name: str
    """Of the method."""

    needs: Needs
    """Of the method."""

    opened: OpenedBase | None
    """None: there is no base."""

    task: Task
    target: Dataset
    source: Dataset | None
    """`cross-domain`: the dataset whose histories are read."""

    max_length: int
    """Longest history that is read, in events."""

    of_pretraining: bool = False
    """Whether this is the task that the base was pretrained for, which becomes task 1."""

    @property
    def base(self) -> Base:
        """The base as the method adapts it."""
        if self.opened is not None:
            return self.opened.base
        return Base(encoder=None, num_items=self.read.num_items)

    @property
    def read(self) -> Dataset:
        """The dataset whose histories are read."""
        return self.source or self.target

    @property
    def number(self) -> int:
        """Number of the task in a run that keeps those of the base, counted from 1."""
        if self.of_pretraining or self.opened is None:
            return 1
        return len(self.opened.base.tasks) + 1

    @property
    def learned(self) -> LearnedTask:
        """The task as a header has it, before any training."""
        return LearnedTask(
            task=self.task,
            datasets=(DatasetFacts.of(self.target),),
            source=None if self.source is None else DatasetFacts.of(self.source),
            max_length=self.max_length,
        )

    def check(self) -> None:
        """Refuse a base or a task that the method cannot learn from.

        Raises:
            UsageError: the method knows other bases, tasks or items.
            CheckpointError: the base keeps tasks that the method cannot go on with.
        """
        if self.opened is not None:
            check_base(self.name, self.needs, self.opened.base, self.opened.path)
            if not self.of_pretraining:
                check_needs(self.name, self.needs, self.opened.base, self.task)
        elif self.needs.base != "none":
            raise UsageError(
                f"method {self.name} begins with a base, and BASE is {NO_BASE}",
                hint="give the run that `recxfer pretrain` wrote",
            )

    def check_adapted(self, adapted: Adapted) -> None:
        """Refuse a base whose tasks a method would keep, where it has none, or has this one.

        Raises:
            UsageError: saying which.
        """
        if not adapted.keeps_tasks or self.opened is None:
            return
        check_kept_tasks(self.name, self.opened.base, self.opened.path)
        if not self.of_pretraining:
            refuse_repeated(self.opened.path, self.opened.header.tasks, self.task, self.target)

    def warn(self, adapted: Adapted, reporter: Reporter) -> None:
        """Warn of events that one task of a run holds out, and another trains on."""
        if adapted.keeps_tasks and self.opened is not None:
            warn_exposed(self.opened.path, self.target, reporter)

    def examples(self, train_share: float, rng: Rng, reporter: Reporter) -> tuple[Rows, Rows]:
        """Read training and validation rows.

        Args:
            train_share: share of the training users to learn from.
            rng: draws them.
            reporter: warned of what can be learned from, but may surprise.

        Raises:
            DataError: there are none, or there is nothing to tell apart.
        """
        inputs = Backbone.inputs if self.opened is None else self.opened.base.backbone.inputs
        datasets, length = (self.source, self.target), self.max_length
        rows = task_rows(self.task, *datasets, "train", length, inputs)
        rows = share_of_users(rows, train_share, rng)
        held_out = task_rows(self.task, *datasets, "valid", length, inputs)
        check_rows(self.target.path, self.task, rows, held_out, reporter)
        return rows, held_out


def resolve_transfer(
    name: str,
    needs: Needs,
    opened: OpenedBase | None,
    dataset: Path,
    *,
    task: str,
    source: Path | None,
    max_length: int | None,
) -> TransferTask:
    """Resolve a task against a base.

    Args:
        name: of the method.
        needs: of the method.
        opened: the base; None where there is none.
        dataset: of the task.
        task: as `--task` gives it.
        source: as `--source` gives it; by default the dataset of the base.
        max_length: longest history, in events; by default the base's.

    Raises:
        UsageError: the task is unknown, its label is missing, or `source` is not for it.
        CheckpointError: histories would hold items indexed otherwise than in the base.
        ConfigError: the backbone cannot read that much.
    """
    target = Dataset(dataset)
    resolved, histories = resolve_task(task, opened, target, source)
    of_its_own = needs.first_task and opened is not None and _is_of(opened, task, target)
    return TransferTask(
        name=name,
        needs=needs,
        opened=opened,
        task=resolved,
        target=target,
        source=histories,
        max_length=longest_history(max_length, opened),
        of_pretraining=of_its_own,
    )


def of_pretraining(name: str, needs: Needs, opened: OpenedBase) -> TransferTask:
    """Resolve the task that a base was pretrained for, on its own dataset."""
    own = resolve_path(opened.path, read_record(opened.path).tasks[0].datasets[0])
    return resolve_transfer(
        name, needs, opened, own, task="next-item", source=None, max_length=None
    )


def _is_of(opened: OpenedBase, task: str, target: Dataset) -> bool:
    """Return whether a task is that of a base that was only pretrained."""
    learned = opened.header.tasks[0]
    same = task == "next-item" and target.info.fingerprint == learned.dataset.fingerprint
    if not same or not opened.is_pretrained:
        return False
    check_vocabulary(target, learned.dataset, opened.path)
    return True


def longest_history(asked: int | None, opened: OpenedBase | None) -> int:
    """Return how many events a history may hold: what was asked for, else what was pretrained on.

    Raises:
        ConfigError: the backbone cannot read that much.
    """
    if opened is None:
        return asked or BackboneConfig().max_length
    return checked_length(asked, opened.base.backbone)
