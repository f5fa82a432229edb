"""Settings of a pretraining, and the result that it returns."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from recxfer.commands.training_config import TrainingConfig, UserSelection
from recxfer.foundation.config import Config
from recxfer.models.backbones.contract import BackboneConfig
from recxfer.training.optim import OptimConfig


class PretrainData(UserSelection):
    """Settings of the data that pretraining reads."""

    windows: Literal["all", "last"] = "all"
    """`all`: a long history is cut into windows and all are learned from. `last`: only the most
    recent window of each user, as SASRec does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Config of a pretraining: data, objective, backbone, optimiser and place."""

    dataset: Path
    objective: str = "next-item"
    objective_config: Config | None = None
    backbone: str = "sasrec"
    backbone_config: BackboneConfig | None = None
    optim: OptimConfig = field(default_factory=OptimConfig)
    data: PretrainData = field(default_factory=PretrainData)

    @property
    def sections(self) -> dict[str, Config]:
        """The decoded settings by section."""
        return {
            **({} if self.objective_config is None else {"objective": self.objective_config}),
            **({} if self.backbone_config is None else {"backbone": self.backbone_config}),
            "optim": self.optim,
            "data": self.data,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainResult:
    """Facts of a pretrained run."""

    path: Path
    objective: str
    backbone: str
    parameters: int
    epochs: int
    """Epochs trained."""

    best_epoch: int
    """The epoch whose weights were kept."""

    validation: dict[str, float]
    """Metrics of that epoch."""

    sequences_per_second: float
    """Whole user histories learned from, per second of training steps (validation not counted)."""

    def as_json(self) -> dict[str, object]:
        """Return the keys of `--json`."""
        return {
            "objective": self.objective,
            "backbone": self.backbone,
            "parameters": self.parameters,
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "validation": self.validation,
            "sequences_per_second": round(self.sequences_per_second, 1),
        }
