"""Write a transferred run: what its header, its record and its checkpoint hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from recxfer.foundation import tensors
from recxfer.foundation.names import CHECKPOINT
from recxfer.methods import METHODS
from recxfer.methods.contract import Adapted, trained_names
from recxfer.models.adapters.ownership import kernels
from recxfer.models.user_model import UserModel
from recxfer.runs.header import (
    ComponentFacts,
    Header,
    Parent,
    TrainingResult,
    TrainingSettings,
    code_facts,
)
from recxfer.runs.multitask import default_readout, held_parts, pack_tasks
from recxfer.runs.open import OpenedBase
from recxfer.runs.record import DataPaths, RunRecord, read_record, relative_path
from recxfer.runs.run import EpochFigures, write_run
from recxfer.runs.transfer_task import TransferTask


def transfer_header(
    task: TransferTask,
    method: ComponentFacts,
    *,
    keeps_tasks: bool,
    seed: int,
    settings: TrainingSettings,
) -> Header:
    """State the facts that a run and its resumption have in common.

    Args:
        task: what is learned, and from which base. Of a run that keeps tasks, its method has not
            changed the base yet.
        method: with its settings.
        keeps_tasks: whether the run goes on keeping the tasks of the base.
        seed: of all that is drawn.
        settings: of the training.
    """
    opened = task.opened
    base = None if opened is None else opened.header
    own = task.learned.model_copy(update={"method": None if task.of_pretraining else method})
    header = Header(
        kind="tasks" if keeps_tasks else "delta",
        objective=None if base is None else base.objective,
        backbone=None if base is None else base.backbone,
        method=method,
        tasks=(own,),
        parent=None if opened is None else _parent(opened),
        num_items=task.base.num_items if base is None else None,
        seed=seed,
        settings=settings,
        code=code_facts((METHODS, method.name)),
    )
    if not keeps_tasks or opened is None:
        return header
    return header.model_copy(
        update={
            "backbone": opened.backbone,
            "histories": opened.header.read_items,
            "pretrained": opened.pretrained,
        }
    )


def _parent(opened: OpenedBase) -> Parent:
    kind = "tasks" if opened.header.keeps_tasks else "backbone"
    return Parent.model_validate({"kind": kind, "sha256": opened.sha256})


def data_paths(task: TransferTask, run: Path) -> DataPaths:
    """Say where the data of a task lie, relative to its run."""
    source = None if task.source is None else relative_path(task.source.path, run)
    return DataPaths(datasets=(relative_path(task.target.path, run),), source=source)


def write_transferred(
    run: Path,
    task: TransferTask,
    adapted: Adapted,
    *,
    header: Header,
    record: RunRecord,
    training: TrainingResult,
    history: Sequence[EpochFigures],
    overwrite: bool,
) -> int:
    """Write a run whose training is done.

    Args:
        run: the run directory.
        task: what was learned.
        adapted: the model, trained.
        header: as `transfer_header` states it.
        record: of this task alone.
        training: what came of it.
        history: figures of each epoch.
        overwrite: whether an existing run may be replaced.

    Returns:
        The checkpoint's size in bytes.
    """
    header = header.trained(training)
    if adapted.keeps_tasks and task.opened is not None:
        assert isinstance(adapted.model, UserModel)
        parts = _all_tasks(task.opened, adapted.model, task)
        header = _with_earlier(header, task.opened.header, adapted.model, task.number)
        record = _record_with_earlier(record, task.opened.path, run, task.number)
    else:
        parts = _delta(adapted)
        whole = len(parts) == len(adapted.model.state_dict())
        header = header.model_copy(update={"kind": "merged" if whole else "delta"})
    return write_run(
        run,
        parts=parts,
        header=header,
        record=record,
        history=history,
        vocabulary=task.target.item_ids,
        overwrite=overwrite,
    )


def _delta(adapted: Adapted) -> dict[str, Tensor]:
    """Tensors that the base does not hold, or that training has moved."""
    of_base = adapted.inherited - trained_names(adapted.phases)
    state = adapted.model.state_dict()
    return {name: tensor for name, tensor in state.items() if name not in of_base}


def _all_tasks(opened: OpenedBase, model: UserModel, task: TransferTask) -> Mapping[str, Tensor]:
    parts, _ = tensors.load(opened.path / CHECKPOINT)
    return pack_tasks(model, held_parts(opened.header, parts), task.task, task.number)


def _with_earlier(header: Header, base: Header, model: UserModel, number: int) -> Header:
    """Put the tasks of the base before the run's own, which has become task `number`."""
    rates = {float(kernel.owned.rate) for kernel in kernels(model.backbone)}
    rate = round(rates.pop(), 6) if rates else None
    own = header.last.model_copy(update={"readout": model.readout, "rate": rate})
    earlier = list(base.tasks[: number - 1])
    if not base.keeps_tasks:
        earlier = [
            learned.model_copy(
                update={
                    "task": replace(learned.task, same_vocabulary=True),
                    "readout": default_readout(learned),
                }
            )
            for learned in earlier
        ]
    return header.model_copy(update={"tasks": (*earlier, own)})


def _record_with_earlier(record: RunRecord, base: Path, run: Path, number: int) -> RunRecord:
    """Say where the data of the base's tasks lie, too, seen from the run."""
    of_base = read_record(base)
    earlier = [paths.moved(base, run) for paths in of_base.tasks[: number - 1]]
    histories = relative_path(base / of_base.read_items, run)
    return record.model_copy(update={"tasks": (*earlier, *record.tasks), "histories": histories})
