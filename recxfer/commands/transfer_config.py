"""Settings of a transfer, and the result that it returns."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, Unpack

from pydantic import Field
from typing_extensions import override

from recxfer.commands.training_config import TrainingConfig, TrainingOptions, UserSelection
from recxfer.foundation.config import Component, Config, Settings
from recxfer.foundation.errors import UsageError
from recxfer.foundation.names import CHECKPOINT
from recxfer.methods import METHODS
from recxfer.methods.contract import AnyMethod
from recxfer.methods.task import parse_task
from recxfer.runs.header import read_header
from recxfer.runs.multitask import free_share
from recxfer.runs.record import Counts
from recxfer.runs.seeds import run_of_seed
from recxfer.training.optim import OptimConfig


class TransferOptim(OptimConfig):
    """Settings of the optimiser in a transfer: fewer epochs and a lower rate than pretraining."""

    epochs: int = Field(default=30, ge=1)
    """Passes over the training rows."""

    lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    """Peak learning rate of Adam."""

    patience: int = Field(default=6, ge=0)
    """Stop after this many validations without a better value; 0 trains all epochs."""


class TransferData(UserSelection):
    """Settings of the data that a transfer reads."""

    max_length: int | None = Field(default=None, ge=1)
    """Longest history, in events; by default the base's. Convolutions can read more than they were
    pretrained on, which helps where the evidence lies in the whole history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferConfig(TrainingConfig):
    """Config of a transfer: base, target, task, method, optimiser and place."""

    base: Path
    dataset: Path
    method: str
    method_config: Config | None = None
    task: str = "next-item"
    source: Path | None = None
    """`cross-domain`: where histories are read; by default the dataset of the base."""

    optim: OptimConfig = field(default_factory=TransferOptim)
    data: TransferData = field(default_factory=TransferData)

    @property
    def sections(self) -> dict[str, Config]:
        """The decoded settings by section."""
        return {
            **({} if self.method_config is None else {"method": self.method_config}),
            "optim": self.optim,
            "data": self.data,
        }

    @override
    def with_seed(self, seed: int) -> Self:
        """Return the same for one of several seeds; of a base over seeds, the run of that one."""
        config = super(TransferConfig, self).with_seed(seed)
        return replace(config, base=run_of_seed(self.base, seed))

    def build_method(self) -> AnyMethod:
        """Build the method from its settings, or from their defaults."""
        method_type = METHODS.resolve(self.method)
        return method_type(self.method_config or method_type.config_type())


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """Facts of a transferred run."""

    path: Path
    method: str
    task: str
    parameters: int
    """Of the whole model."""

    trained_parameters: int
    """That any phase trained, head included."""

    trained_share: float
    """Trained over all parameters of the base's backbone, item table, task tokens and head
    left out of both."""

    counted: str
    """What `trained_share` counts, in words."""

    epochs: int
    best_epoch: int
    validation: dict[str, float]
    delta_bytes: int
    """Size of the checkpoint."""

    free_share: float | None
    """Share of the kernels' weights that no task owns; None where weights have no owners."""

    @classmethod
    def of(cls, config: TransferConfig, counts: Counts, epochs: int) -> "TransferResult":
        """Collect the facts of a run that has been written.

        Args:
            config: what was asked for.
            counts: of its model.
            epochs: that were trained.
        """
        header = read_header(config.run)
        training = header.last.training
        assert training is not None, "a run that is written was trained"
        return cls(
            path=config.run,
            method=config.method,
            task=config.task,
            parameters=counts.parameters,
            trained_parameters=counts.trained,
            trained_share=counts.trained_of_body / counts.body if counts.body else 0.0,
            counted=f"{counts.trained_of_body:,} of the backbone's {counts.body:,} parameters; "
            "item table, tokens and head left out",
            epochs=epochs,
            best_epoch=training.best_epoch,
            validation=training.validation,
            delta_bytes=(config.run / CHECKPOINT).stat().st_size,
            free_share=free_share(header),
        )

    def as_json(self) -> dict[str, object]:
        """Return the keys of `--json`."""
        return {
            "method": self.method,
            "task": self.task,
            "parameters": self.parameters,
            "trained_parameters": self.trained_parameters,
            "trained_share": round(self.trained_share, 6),
            "counted": self.counted,
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "validation": self.validation,
            "delta_bytes": self.delta_bytes,
            **({} if self.free_share is None else {"free_share": self.free_share}),
        }


def resolve(
    base: Path,
    dataset: Path,
    run: Path,
    *,
    settings: Settings,
    method: str | None,
    task: str = "next-item",
    source: Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    **common: Unpack[TrainingOptions],
) -> TransferConfig:
    """Decode settings and flags as one config.

    Args:
        base: a pretrained run.
        dataset: the target.
        run: the run to write.
        settings: file and `--set`.
        method: name in METHODS.
        task: `next-item`, `cross-domain` or `profile:COLUMN`.
        source: where `cross-domain` histories are read, if not the base's own dataset.
        epochs: passes over the data.
        batch_size: rows of a step.
        lr: peak learning rate.
        common: seed, device, precision, threads, overwrite, resume.

    Raises:
        ConfigError: with all problems at once.
        UsageError: the method or task is unknown.
    """
    method = settings.name("method", method, "")
    if not method:
        raise UsageError(
            "no method was chosen", hint=f"pass --method with one of {', '.join(METHODS.names)}"
        )
    parse_task(task)
    decoded = settings.decode(
        {
            "method": METHODS.resolve(method).config_type,
            "optim": TransferOptim,
            "data": TransferData,
        },
        {"optim": {"epochs": epochs, "batch_size": batch_size, "lr": lr}},
        {"method": Component(method, METHODS)},
    )
    return TransferConfig(
        base=base,
        dataset=dataset,
        run=run,
        method=method,
        method_config=decoded["method"],
        task=task,
        source=source,
        optim=decoded["optim"],  # type: ignore[arg-type]  # decoded as asked
        data=decoded["data"],  # type: ignore[arg-type]  # decoded as asked
        **common,
    )
