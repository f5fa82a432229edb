"""Read and write `run.json`: settings, timings, and where the data and the base of a run lie.

Paths are relative to the run, so that both can move together.
"""

import os
from pathlib import Path
from typing import Literal

from recxfer.foundation.errors import CheckpointError, DataError
from recxfer.foundation.files import Json, read_json
from recxfer.foundation.names import RUN_JSON
from recxfer.runs.header import Facts, TrainingSettings


class Counts(Facts):
    """Numbers of parameters of a transferred run."""

    parameters: int
    """Of the whole model."""

    trained: int
    """That any phase trains; of a kernel that is shared out, the free entries."""

    trained_of_body: int
    """Likewise, without item table, tokens and head."""

    body: int
    """Of the base's backbone without its item table."""


class DataPaths(Facts):
    """Paths of the data of one task, relative to the run."""

    datasets: tuple[str, ...]
    """The first is the dataset whose items or users the task scores."""

    source: str | None = None
    """`cross-domain`: the dataset whose histories are read."""

    def moved(self, base: Path, run: Path) -> "DataPaths":
        """Turn paths relative to one run into paths relative to another."""
        return DataPaths(
            datasets=tuple(relative_path(base / path, run) for path in self.datasets),
            source=None if self.source is None else relative_path(base / self.source, run),
        )


class RunRecord(Facts):
    """Contents of `run.json`."""

    command: Literal["pretrain", "transfer"]
    method: str | None = None
    task: str | None = None
    base: str | None = None
    """The run that a transfer began with."""

    tasks: tuple[DataPaths, ...]
    """Of each task of the run, in the order in which they were learned."""

    histories: str | None = None
    """The dataset whose items the shared table holds, of a run that keeps several tasks."""

    settings: TrainingSettings
    counts: Counts | None = None
    device: str
    precision: str | None = None
    seconds: float
    sequences_per_second: float | None = None

    @property
    def read_items(self) -> str:
        """Path of the dataset whose items histories hold."""
        return self.histories or self.tasks[0].source or self.tasks[0].datasets[0]


def read_record(run: Path) -> RunRecord:
    """Read `run.json` of a run, of any format so far.

    Raises:
        CheckpointError: it is damaged; it names the first field that is.
    """
    path = run / RUN_JSON
    value = read_json(path)
    try:
        value = _migrated(value)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is damaged: it does not say where the data of the run lie",
            hint="make the run again, or restore a copy",
        ) from error
    return RunRecord.read(value, path)


def _migrated(value: Json) -> Json:
    """Bring a record to the newest format: before 3, paths were beside the run's settings."""
    if "dataset" not in value:
        return dict(value)
    own = {key: value.get(key) for key in ("dataset", "source")}
    tasks = [
        {"datasets": [task["dataset"]], "source": task.get("source")}
        for task in value.get("tasks") or [own]
    ]
    return {**{key: value[key] for key in value.keys() - own.keys()}, "tasks": tasks}


def relative_path(path: Path, run: Path) -> str:
    """Say where another directory lies, relative to the run, so that both can move."""
    return os.path.relpath(path.resolve(), run.resolve())


def resolve_path(run: Path, relative: str, *, option: str | None = None) -> Path:
    """Find another directory that `run.json` names relative to the run.

    Args:
        run: the run directory.
        relative: as `run.json` has it.
        option: the flag that says otherwise, for the hint.

    Raises:
        DataError: it is not there.
    """
    found = Path(os.path.normpath(run / relative))
    if not found.exists():
        raise DataError(
            f"{run / RUN_JSON} refers to {found}, which is not there",
            hint=(f"say with {option} where it lies now, " if option else "move it back, ")
            + "or correct the path in run.json",
        )
    return found
