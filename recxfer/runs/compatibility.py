"""Whether a base, a method, a task and a dataset fit together; every misfit is one clear error."""

from collections.abc import Sequence
from pathlib import Path

from recxfer.data.dataset import Dataset
from recxfer.data.rows import Rows
from recxfer.foundation.console import Reporter
from recxfer.foundation.errors import CheckpointError, ConfigError, DataError, UsageError
from recxfer.methods.contract import Base, Needs
from recxfer.methods.task import Task, parse_task
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import reads_content
from recxfer.preparing.linked_split import exposed
from recxfer.runs.header import Header, LearnedTask
from recxfer.runs.record import read_record, resolve_path
from recxfer.runs.run import check_vocabulary


def resolve_task(
    text: str, base: Path, base_header: Header, target: Dataset, source: Path | None
) -> tuple[Task, Dataset | None]:
    """The task with its sizes, and the dataset that `cross-domain` histories come from.

    Args:
        text: as `--task` gives it.
        base: the pretrained run.
        base_header: its checkpoint's header.
        target: the dataset of the task.
        source: as `--source` gives it; by default the dataset of the base.

    Raises:
        UsageError: the task is unknown, its label is missing, or `source` is not for it.
        CheckpointError: histories would hold items indexed otherwise than in the base.
    """
    kind, column = parse_task(text)
    if kind == "cross-domain":
        histories = Dataset(source or base / read_record(base).read_items)
        check_vocabulary(histories, base_header.read_items, base)
        return Task(kind, target.num_items), histories
    if source is not None:
        raise UsageError(
            f"--source is for the task cross-domain, not for {text}",
            hint="drop --source, or pass --task cross-domain",
        )
    if kind == "profile":
        assert column is not None
        _, classes = target.labels(column)
        check_vocabulary(target, base_header.read_items, base)
        return Task(kind, len(classes), column, classes), None
    same = target.info.vocabulary == base_header.read_items.vocabulary
    return Task(kind, target.num_items, same_vocabulary=same), None


def check_base(name: str, needs: Needs, base: Base, path: Path, *, holds: bool) -> None:
    """Refuse a base that holds tasks where a method cannot go on with them, or the other way,
    and one that knows items otherwise than the method does.

    Args:
        name: of the method.
        needs: what it must be given.
        base: the base.
        path: where it lies.
        holds: whether the run goes on holding the tasks of the base.

    Raises:
        CheckpointError: saying what the method begins with.
        UsageError: it knows items otherwise than the method, or there is no task to hold: nothing
            was learned about single items.
    """
    by_content = reads_content(base.backbone)
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
    if holds and not base.held:
        raise UsageError(
            f"{name} goes on holding the task that a base was pretrained for, and {path}, "
            f"pretrained by {base.objective} alone, has learned nothing about single items",
            hint=f"pretrain {base.objective} together with next items (--set next_item=1), or "
            "choose a method that learns one task alone, such as peterrec",
        )
    found = "shared" if base.owners is None else "owned"
    if not base.transferred or needs.earlier == found:
        return
    if needs.earlier == "refused":
        raise CheckpointError(
            f"{path} holds {len(base.held)} tasks, and {name} begins with a base that was only "
            "pretrained",
            hint="give the run that `recxfer pretrain` wrote",
        )
    owned = "weights that each belong to one task" if found == "owned" else "weights that all share"
    raise CheckpointError(
        f"{path} holds tasks with {owned}: {name} cannot go on from there",
        hint="give the run that `recxfer pretrain` wrote, or go on with the method that made it",
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
    """Refuse a task, an objective or a backbone that a method does not know.

    Raises:
        UsageError: saying what the method knows.
    """
    for found, accepted, what in (
        (task.kind, needs.tasks, "tasks"),
        (base.objective, needs.objectives, "bases pretrained by"),
        (base.backbone.name, needs.backbones, "backbones"),
    ):
        if accepted and found not in accepted:
            raise UsageError(
                f"method {name} knows {what} {', '.join(sorted(accepted))}, not {found}",
                hint="choose another method, or see `recxfer transfer --list`",
            )
    # A backbone that sees both sides would be shown the very event it is to predict; methods for
    # content read it before that event.
    if task.kind == "next-item" and not base.backbone.causal and needs.items != "content":
        raise UsageError(
            f"the base was pretrained by {base.objective}: it sees both sides of a position, "
            "and the task next-item needs one that looks only to the left",
            hint="pretrain with --objective next-item, or choose another task",
        )


def longest_history(asked: int | None, backbone: Backbone) -> int:
    """How many events a history may hold: what was asked for, else what was pretrained on.

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
    """Count the people of whom nothing is known, but who are not left out.

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
