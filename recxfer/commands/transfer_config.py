"""What a transfer is told, and what it answers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from recxfer.commands.training_config import LearnedPeople, TrainingConfig
from recxfer.foundation.config import Config
from recxfer.training.optim import OptimConfig


class TransferOptim(OptimConfig):
    """How a transfer is optimised: shorter and more carefully than pretraining."""

    epochs: int = Field(default=30, ge=1)
    """Passes over the training rows."""

    lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    """Peak learning rate of Adam."""

    patience: int = Field(default=6, ge=0)
    """Stop after this many validations without a better value; 0 trains all epochs."""


class TransferData(LearnedPeople):
    """What a transfer reads of a dataset."""

    max_length: int | None = Field(default=None, ge=1)
    """Longest history, in events; by default the base's. Convolutions can read more than they were
    pretrained on, which helps where the evidence lies in the whole history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferConfig(TrainingConfig):
    """Everything that decides a transferred run."""

    base: Path
    dataset: Path
    method: str
    method_config: Config | None = None
    task: str = "next-item"
    source: Path | None = None
    """`cross-domain`: where histories are read; by default the dataset of the base."""

    optim: OptimConfig = field(default_factory=TransferOptim)
    data: TransferData = field(default_factory=TransferData)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """What a transfer made."""

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

    def as_json(self) -> dict[str, Any]:
        """The keys of `--json`."""
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
