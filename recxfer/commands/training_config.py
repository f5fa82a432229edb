"""Options shared by pretrain and transfer: output, seed, device, precision, threads."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import Field

from recxfer.foundation.config import Config
from recxfer.foundation.device import Execution
from recxfer.runs.seeds import seed_folder


class TrainingOptions(Execution, total=False):
    """Options that `resolve` of pretrain and transfer takes as they are."""

    seed: int
    resume: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Options shared by pretrain and transfer."""

    run: Path
    """The run directory to make."""

    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    """CPU threads; None: torch's choice."""

    overwrite: bool = False
    resume: bool = False

    def with_seed(self, seed: int) -> Self:
        """Return the same config for one of several seeds, its run inside the folder of all."""
        return replace(self, seed=seed, run=seed_folder(self.run, seed))


class UserSelection(Config):
    """Settings of which users are learned from."""

    train_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the training users to learn from, at least one: for learning curves. With one seed
    a smaller share is part of a larger one."""
