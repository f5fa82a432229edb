"""Write a transferred run: its header, its record and its checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    TrainingResult,
    TrainingSettings,
    code_facts,
)
from recxfer.runs.multitask import default_readout, kept_parts, pack_tasks
from recxfer.runs.open import OpenedBase
from recxfer.runs.record import Counts, DataPaths, RunRecord, read_record, relative_path
from recxfer.runs.run import EpochFigures, write_run
from recxfer.runs.transfer_task import TransferTask


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferredRun:
    """A run that a transfer makes: its place, and what it is made from."""

    path: Path
    """The run directory."""

    base: Path
    """As BASE was given."""

    task: TransferTask
    method: ComponentFacts
    seed: int
    settings: TrainingSettings

    def header(self, *, keeps_tasks: bool) -> Header:
        """State the facts that the run and its resumption have in common.

        Args:
            keeps_tasks: whether it goes on keeping the tasks of the base.
        """
        task, opened = self.task, self.task.opened
        base = None if opened is None else opened.header
        own = {"method": None if task.of_pretraining else self.method}
        header = Header(
            kind="tasks" if keeps_tasks else "delta",
            objective=None if base is None else base.objective,
            backbone=None if base is None else base.backbone,
            method=self.method,
            tasks=(task.learned.model_copy(update=own),),
            parent=None if opened is None else opened.as_parent,
            num_items=task.base.num_items if base is None else None,
            seed=self.seed,
            settings=self.settings,
            code=code_facts((METHODS, self.method.name)),
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

    def record(self, counts: Counts, device: str, seconds: float) -> RunRecord:
        """State what `run.json` holds, of this task alone."""
        task = self.task
        own = DataPaths(
            datasets=(relative_path(task.target.path, self.path),),
            source=None if task.source is None else relative_path(task.source.path, self.path),
        )
        return RunRecord(
            command="transfer",
            method=self.method.name,
            task=task.task.name,
            base=None if task.opened is None else relative_path(self.base, self.path),
            tasks=(own,),
            settings=self.settings,
            counts=counts,
            device=device,
            seconds=round(seconds, 1),
        )

    def write(
        self,
        adapted: Adapted,
        training: TrainingResult,
        record: RunRecord,
        history: Sequence[EpochFigures],
        *,
        overwrite: bool,
    ) -> None:
        """Write the run when its training is done.

        Args:
            adapted: the model, trained.
            training: what came of it.
            record: as `record` states it.
            history: figures of each epoch.
            overwrite: whether an existing run may be replaced.
        """
        opened, task = self.task.opened, self.task
        header = self.header(keeps_tasks=adapted.keeps_tasks).trained(training)
        if adapted.keeps_tasks and opened is not None:
            assert isinstance(adapted.model, UserModel)
            parts = _all_tasks(opened, adapted.model, task)
            header = _with_earlier(header, opened.header, adapted.model, task.number)
            record = _record_with_earlier(record, opened.path, self.path, task.number)
        else:
            parts = _delta(adapted)
            whole = len(parts) == len(adapted.model.state_dict())
            header = header.model_copy(update={"kind": "merged" if whole else "delta"})
        write_run(
            self.path,
            parts=parts,
            header=header,
            record=record,
            history=history,
            vocabulary=task.target.item_ids,
            overwrite=overwrite,
        )


def _delta(adapted: Adapted) -> dict[str, Tensor]:
    """Collect tensors that the base does not hold, or that training has moved."""
    of_base = adapted.inherited - trained_names(adapted.phases)
    state = adapted.model.state_dict()
    return {name: tensor for name, tensor in state.items() if name not in of_base}


def _all_tasks(opened: OpenedBase, model: UserModel, task: TransferTask) -> Mapping[str, Tensor]:
    parts, _ = tensors.load(opened.path / CHECKPOINT)
    return pack_tasks(model, kept_parts(opened.header, parts), task.task, task.number)


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
