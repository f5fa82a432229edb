"""Read and write the header of a checkpoint: what a run was made from, typed.

The header is canonical JSON in the safetensors file; `docs/reference/checkpoint.md` describes it.
Headers of earlier formats are brought to the newest one by pure functions, one per format.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from recxfer import __version__
from recxfer.data.dataset import Dataset
from recxfer.foundation import tensors
from recxfer.foundation.config import Config
from recxfer.foundation.errors import CheckpointError
from recxfer.foundation.files import Json
from recxfer.foundation.names import CHECKPOINT, RUN_JSON, SEED_FOLDER
from recxfer.foundation.registry import Table
from recxfer.methods.task import Task
from recxfer.models import BACKBONES
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import content_table, reads_content, table_facts
from recxfer.models.user_model import Readout

FORMAT = 3
"""The format that this code writes, and the newest that it reads."""

FactsT = TypeVar("FactsT", bound="Facts")


class Facts(BaseModel):
    """Facts that a file of a run holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def read(cls: type[FactsT], value: object, path: Path) -> FactsT:
        """Decode facts from JSON.

        Raises:
            CheckpointError: a field is missing, unknown or of another type; it names the first.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise CheckpointError(
                f"{path} is damaged: {where or 'its header'}: {first['msg']}",
                hint="make the run again, or restore a copy",
            ) from error

    def to_json(self) -> Json:
        """Return the facts as JSON."""
        return self.model_dump(mode="json")


class ComponentFacts(Facts):
    """An objective or a method, with its settings."""

    name: str
    """Its name in its table."""

    config: dict[str, JsonValue]
    """Its settings, defaults included."""

    @classmethod
    def of(cls, name: str, config: Config) -> "ComponentFacts":
        """Name a component and note its settings."""
        return cls(name=name, config=config.model_dump(mode="json"))


class BackboneFacts(Facts):
    """Shape and settings of a backbone, enough to build it again."""

    name: str
    """Its name in the BACKBONES table."""

    config: dict[str, JsonValue]
    num_items: int
    causal: bool
    content: dict[str, JsonValue] | None = None
    """Settings of the item encoders, where items are read from their content."""

    @classmethod
    def of(cls, backbone: Backbone) -> "BackboneFacts":
        """Describe a backbone."""
        content = table_facts(content_table(backbone)) if reads_content(backbone) else None
        return cls(
            name=backbone.name,
            config=backbone.config.model_dump(mode="json"),
            num_items=backbone.num_items,
            causal=backbone.causal,
            content=content,
        )


class DatasetFacts(Facts):
    """Name and fingerprints of a dataset."""

    name: str
    fingerprint: str
    """Of its contents."""

    vocabulary: str
    """Of its item ids in index order."""

    @classmethod
    def of(cls, dataset: Dataset) -> "DatasetFacts":
        """Describe a dataset."""
        info = dataset.info
        return cls(name=info.name, fingerprint=info.fingerprint, vocabulary=info.vocabulary)


class Parent(Facts):
    """The run that a transfer began with."""

    kind: Literal["backbone", "tasks"]
    """Whether it was only pretrained, or held tasks."""

    sha256: str
    """Of its checkpoint."""


class TrainingSettings(Facts):
    """Settings of a training."""

    optim: dict[str, JsonValue]
    data: dict[str, JsonValue]
    precision: str
    device: str
    threads: int

    @classmethod
    def of(cls, optim: Config, data: Config, precision: str, device: str) -> "TrainingSettings":
        """Note the settings that pretraining and transfers share."""
        return cls(
            optim=optim.model_dump(mode="json"),
            data=data.model_dump(mode="json"),
            precision=precision,
            device=device,
            threads=torch.get_num_threads(),
        )


class TrainingResult(Facts):
    """Outcome of a training."""

    best_epoch: int
    """The epoch whose weights were kept, from 0."""

    validation: dict[str, float]
    """Metrics of that epoch."""


class LearnedTask(Facts):
    """One task that a run can do."""

    task: Task
    datasets: tuple[DatasetFacts, ...]
    """What it was learned from; the first is the one whose items or users it scores."""

    source: DatasetFacts | None = None
    """`cross-domain`: where histories were read."""

    max_length: int
    """Longest history that is read, in events."""

    method: ComponentFacts | None = None
    """The transfer method that learned it; None for the task of pretraining."""

    readout: Readout | None = None
    """How user vectors are read, where a run keeps several tasks."""

    rate: float | None = None
    """The share of the then free weights that was pruned for it; None where none was."""

    training: TrainingResult | None = None

    @property
    def dataset(self) -> DatasetFacts:
        """The dataset whose items or users the task scores."""
        return self.datasets[0]


class Header(Facts):
    """Header of a checkpoint: the same for the same run, on any host."""

    format: int = FORMAT
    kind: Literal["backbone", "delta", "merged", "tasks"]
    """`backbone`: pretrained. `delta`: needs its parent. `merged`: one task, whole. `tasks`: the
    tasks of its base and one more, whole."""

    objective: ComponentFacts | None = None
    """What the base was pretrained by; None where there was no base."""

    backbone: BackboneFacts | None = None
    method: ComponentFacts | None = None
    """The transfer method that made the run; None of one that was only pretrained."""

    tasks: tuple[LearnedTask, ...]
    """What the run can do, in the order in which it was learned; one, unless `kind` is `tasks`."""

    parent: Parent | None = None
    pretrained: str | None = None
    """`tasks`: sha256 of the checkpoint that pretraining made."""

    histories: DatasetFacts | None = None
    """`tasks`: the dataset whose items the shared table holds."""

    task_number: int | None = None
    """Of a task that was exported from a run of several: its number there, from 1."""

    num_items: int | None = None
    """Items that histories hold, where there is no backbone to say so."""

    seed: int
    settings: TrainingSettings
    processes: int = 1
    """How many trained it together."""

    code: dict[str, str]
    """Versions of the packages that made it."""

    @property
    def inputs(self) -> frozenset[str]:
        """Columns of histories that the run reads: those of its backbone, or items alone."""
        known = self.backbone
        return (Backbone if known is None else BACKBONES.resolve(known.name)).inputs

    @property
    def keeps_tasks(self) -> bool:
        """Whether the run keeps the tasks of its base beside its own."""
        return self.kind == "tasks"

    @property
    def last(self) -> LearnedTask:
        """The task that was learned last."""
        return self.tasks[-1]

    @property
    def read_items(self) -> DatasetFacts:
        """The dataset whose items histories hold."""
        return self.histories or self.tasks[0].source or self.tasks[0].dataset

    def trained(self, training: TrainingResult) -> "Header":
        """Add the outcome of training the last task."""
        last = self.last.model_copy(update={"training": training})
        return self.model_copy(update={"tasks": (*self.tasks[:-1], last)})

    def identity(self) -> Json:
        """Return the facts that a resumed training must share with the interrupted one."""
        return {
            "objective": _json(self.objective),
            "backbone": _json(self.backbone),
            "method": _json(self.method),
            "task": self.last.to_json()["task"],
            "dataset": self.last.to_json()["datasets"],
            "source": _json(self.last.source),
            "max_length": self.last.max_length,
            "parent": _json(self.parent),
            "pretrained": self.pretrained,
            "seed": self.seed,
            "settings": self.settings.to_json(),
            "processes": self.processes,
            "code": self.code,
        }


def _json(facts: Facts | None) -> Json | None:
    return None if facts is None else facts.to_json()


def code_facts(*components: tuple[Table[object], str]) -> dict[str, str]:
    """Collect the versions of the packages that make a checkpoint.

    Args:
        components: tables and names of what the run is made of; of what comes from a plug-in, its
            distribution is noted, too.
    """
    found = (table.distribution(name) for table, name in components)
    return {
        "recxfer": __version__,
        "torch": torch.__version__.partition("+")[0],
        **dict(distribution for distribution in found if distribution is not None),
    }


def checkpoint_of(path: Path) -> Path:
    """Return the path of the checkpoint in a run directory.

    Raises:
        CheckpointError: the directory is not a finished run.
    """
    if not (path / RUN_JSON).exists():
        several = sorted(path.glob(f"{SEED_FOLDER}*/{RUN_JSON}"))
        raise CheckpointError(
            f"{path} is not a finished run: it has no {RUN_JSON}",
            hint=f"it holds runs of several seeds: give one of them, such as {several[0].parent}"
            if several
            else "give a directory that `recxfer pretrain` or `recxfer transfer` wrote",
        )
    return path / CHECKPOINT


def read_header(run: Path) -> Header:
    """Read the header of a finished run, of any format so far.

    Args:
        run: the run directory.

    Raises:
        CheckpointError: there is no finished run, or its header is damaged or of a newer format.
    """
    checkpoint = checkpoint_of(run)
    return parse_header(tensors.read_header(checkpoint), checkpoint)


def parse_header(value: Json, checkpoint: Path) -> Header:
    """Type a header, of any format so far.

    Args:
        value: as the file holds it.
        checkpoint: the file, for errors.

    Raises:
        CheckpointError: it is damaged, or of a newer format.
    """
    return Header.read(migrated(value, checkpoint), checkpoint)


def identity_of(value: Json, path: Path) -> Json:
    """Read the facts that a saved training depends on, as in `Header.identity`.

    Args:
        value: as the resume file holds it; until checkpoints had format 3, that was their header.
        path: the resume file, for errors.
    """
    if "format" not in value:
        return value
    return parse_header({"kind": "delta", **value}, path).identity()


def migrated(value: Json, checkpoint: Path) -> Json:
    """Bring a header to the newest format.

    Args:
        value: as the file holds it.
        checkpoint: the file, for errors.

    Raises:
        CheckpointError: it is of a newer format, or lacks what its own format has.
    """
    found = value.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise CheckpointError(
            f"{checkpoint} has format {found}, this recxfer reads up to {FORMAT}",
            hint="update recxfer",
        )
    header = dict(value)
    try:
        while header["format"] != FORMAT:
            header = MIGRATIONS[header["format"]](header)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{checkpoint} is damaged: its header lacks {error}",
            hint="make the run again, or restore a copy",
        ) from error
    return header


_OF_TASK = ("task", "dataset", "source", "max_length", "method", "training")
"""Facts of a run's last task that formats 1 and 2 hold beside those of the run."""


def _from_1_or_2(header: Json) -> Json:
    """Format 1 has one task and 2 has several; both hold the last one's facts beside the run's."""
    own = {key: header[key] for key in _OF_TASK if key in header}
    if header["kind"] == "backbone":
        own["max_length"] = header["backbone"]["config"]["max_length"]
    rest = {key: value for key, value in header.items() if key not in _OF_TASK or key == "method"}
    kind = "tasks" if header["format"] == 2 else header["kind"]
    tasks = [_naming_datasets(task) for task in header.get("tasks", [own])]
    return {**rest, "format": 3, "kind": kind, "tasks": tasks}


def _naming_datasets(task: Json) -> Json:
    """Name datasets in a list: a task can have several since format 3."""
    rest = {key: value for key, value in task.items() if key != "dataset"}
    return {**rest, "datasets": [task["dataset"]]}


MIGRATIONS: dict[int, Callable[[Json], Json]] = {1: _from_1_or_2, 2: _from_1_or_2}
"""By the format that each of them reads."""
