"""Check that base, method, task and dataset fit together; every misfit is one clear error."""

from collections.abc import Sequence
from pathlib import Path

from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.foundation.errors import CheckpointError, ConfigError, DataError, UsageError
from recxfer.foundation.reporting import Reporter
from recxfer.methods.contract import Base, Needs
from recxfer.methods.task import Task, parse_task
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import reads_content
from recxfer.preparing.linked_split import exposed
from recxfer.runs.header import LearnedTask
from recxfer.runs.open import OpenedBase
from recxfer.runs.record import read_record, resolve_path
from recxfer.runs.run import check_vocabulary


def resolve_task(
    text: str, opened: OpenedBase | None, target: Dataset, source: Path | None
) -> tuple[Task, Dataset | None]:
    """Resolve a task to its sizes, and to the dataset that `cross-domain` histories come from.

    Args:
        text: as `--task` gives it.
        opened: the base; None where there is none.
        target: the dataset of the task.
        source: as `--source` gives it; by default the dataset of the base.

    Raises:
        UsageError: the task is unknown, its label is missing, or `source` is not for it.
        CheckpointError: histories would hold items indexed otherwise than in the base.
    """
    kind, column = parse_task(text)
    if kind == "cross-domain":
        return Task(kind, target.num_items), _histories(opened, source)
    if source is not None:
        raise UsageError(
            f"--source is for the task cross-domain, not for {text}",
            hint="drop --source, or pass --task cross-domain",
        )
    if kind == "profile":
        assert column is not None
        _, classes = target.labels(column)
        if opened is not None:
            check_vocabulary(target, opened.header.read_items, opened.path)
        return Task(kind, len(classes), column, classes), None
    known = target.info.vocabulary if opened is None else opened.header.read_items.vocabulary
    return Task(kind, target.num_items, same_vocabulary=target.info.vocabulary == known), None


def _histories(opened: OpenedBase | None, source: Path | None) -> Dataset:
    if opened is None:
        if source is None:
            raise UsageError(
                "cross-domain histories come from the dataset of a base, and there is none",
                hint="say with --source where they are read",
            )
        return Dataset(source)
    histories = Dataset(source or opened.path / read_record(opened.path).read_items)
    check_vocabulary(histories, opened.header.read_items, opened.path)
    return histories


def check_base(name: str, needs: Needs, base: Base, path: Path) -> None:
    """Refuse a base that knows items otherwise than a method does, or keeps tasks otherwise.

    Args:
        name: of the method.
        needs: what it must be given.
        base: the base.
        path: where it lies.

    Raises:
        CheckpointError: saying what the method begins with.
        UsageError: it knows items otherwise than the method.
    """
    by_content = base.encoder is not None and reads_content(base.encoder)
    if by_content and needs.items == "ids":
        raise UsageError(
            f"method {name} gives each item a place in a table, and the base, pretrained by "
            f"{base.objective}, has none: it knows items by their text and images",
            hint="choose the method transrec, or a base of another objective",
        )
    if needs.items == "content" and not by_content:
        raise UsageError(
            f"method {name} needs a base that knows items by their text and images, and this one, "
            f"pretrained by {base.objective}, knows them by their place in a table",
            hint="pretrain with --objective transrec, or choose another method",
        )
    found = "shared" if base.owners is None else "owned"
    if not base.transferred or needs.continues == found:
        return
    if needs.continues == "refused":
        raise CheckpointError(
            f"{path} holds {len(base.tasks)} tasks, and {name} begins with a base that was only "
            "pretrained",
            hint="give the run that `recxfer pretrain` wrote",
        )
    owned = "weights that each belong to one task" if found == "owned" else "weights that all share"
    raise CheckpointError(
        f"{path} holds tasks with {owned}: {name} cannot go on from there",
        hint="give the run that `recxfer pretrain` wrote, or go on with the method that made it",
    )


def check_kept_tasks(name: str, base: Base, path: Path) -> None:
    """Refuse a base without tasks where a method goes on keeping them.

    Raises:
        UsageError: nothing was learned about single items.
    """
    if not base.tasks:
        raise UsageError(
            f"{name} goes on holding the task that a base was pretrained for, and {path}, "
            f"pretrained by {base.objective} alone, has learned nothing about single items",
            hint=f"pretrain {base.objective} together with next items (--set next_item=1), or "
            "choose a method that learns one task alone, such as peterrec",
        )


def refuse_repeated(path: Path, held: Sequence[LearnedTask], task: Task, target: Dataset) -> None:
    """Refuse a task that a base holds already.

    Raises:
        UsageError: saying which one it is.
    """
    for number, learned in enumerate(held, 1):
        same_data = learned.dataset.fingerprint == target.info.fingerprint
        if same_data and learned.task.name == task.name:
            raise UsageError(
                f"{path} holds the task {task.name} on {target.path} already, as task {number}",
                hint="a task is added once; choose another task or dataset",
            )


def warn_exposed(base: Path, target: Dataset, reporter: Reporter) -> None:
    """Say where a held-out event of one task is a training event of another."""
    tasks = read_record(base).tasks
    paths = [path for task in tasks for path in (*task.datasets, task.source) if path is not None]
    for relative in dict.fromkeys(paths):
        other = Dataset(resolve_path(base, relative))
        count = exposed(target, other)
        if count:
            reporter.warn(
                f"{count:,} events are held out in one of {target.path} and {other.path} and "
                "trained on in the other: what is measured on them is too good; prepare "
                f"{target.path} with --link {other.path} --split linked"
            )


def check_needs(name: str, needs: Needs, base: Base, task: Task) -> None:
    """Refuse a task that a method does not know.

    Raises:
        UsageError: saying what the method knows.
    """
    if task.kind not in needs.tasks:
        raise UsageError(
            f"method {name} knows tasks {', '.join(sorted(needs.tasks))}, not {task.kind}",
            hint="choose another method, or see `recxfer transfer --list`",
        )
    # A backbone that sees both sides would be shown the very event it is to predict; methods for
    # content read it before that event.
    sees_both_sides = base.encoder is not None and not base.encoder.causal
    if task.kind == "next-item" and sees_both_sides and needs.items != "content":
        raise UsageError(
            f"the base was pretrained by {base.objective}: it sees both sides of a position, "
            "and the task next-item needs one that looks only to the left",
            hint="pretrain with --objective next-item, or choose another task",
        )


def checked_length(asked: int | None, backbone: Backbone) -> int:
    """Return how many events a history may hold: what was asked for, else what was pretrained on.

    Raises:
        ConfigError: the backbone cannot read that much.
    """
    limit = backbone.longest
    if asked is not None and limit is not None and asked > limit:
        raise ConfigError(
            f"data.max_length is {asked}, but the {backbone.name} base reads {limit} at most",
            hint=f"set it to {limit} or less, or pretrain with a larger max_length",
        )
    return asked or backbone.config.max_length


def check_rows(dataset: Path, task: Task, rows: Rows, held_out: Rows, reporter: Reporter) -> None:
    """Refuse to train without examples, or to choose an epoch without any to choose by.

    What can be trained on, but may surprise, is a warning with its count.

    Raises:
        DataError: saying which part is empty, or that there is nothing to tell apart.
    """
    parts = (("training", rows), ("validation", held_out))
    for part, found in parts:
        if len(found) == 0:
            raise DataError(
                f"{dataset} has no {part} example for the task {task.name}",
                hint="check the split and the link, or prepare a larger dataset",
            )
        warn_of_empty(f"{part} examples", found, reporter)
    if task.kind == "profile":
        _check_classes(dataset, task, rows, held_out, reporter)


def warn_of_empty(what: str, rows: Rows, reporter: Reporter) -> None:
    """Count the users of whom nothing is known, but who are not left out.

    Args:
        what: the rows are.
        rows: of any task.
        reporter: told where there are any.
    """
    empty = int((rows.length_R == 0).sum())
    if empty:
        reporter.warn(
            f"{empty:,} of {len(rows):,} {what} have no history: they are read as empty ones"
        )


def _check_classes(
    dataset: Path, task: Task, rows: Rows, held_out: Rows, reporter: Reporter
) -> None:
    assert rows.target_R is not None
    assert held_out.target_R is not None
    known = set(rows.target_R.tolist())
    if len(known) == 1:
        raise DataError(
            f"every training user of {dataset} has the {task.column} "
            f"{task.classes[known.pop()]!r}: there is nothing to learn",
            hint="choose another label, or split the users otherwise",
        )
    unknown_R = [label not in known for label in held_out.target_R.tolist()]
    if any(unknown_R):
        names = sorted(
            {task.classes[label] for label in held_out.target_R.tolist()}
            - {task.classes[label] for label in known}
        )
        reporter.warn(
            f"{sum(unknown_R):,} of {len(held_out):,} validation users have a {task.column} that "
            f"no training user has ({', '.join(names)}): they cannot be told right"
        )
