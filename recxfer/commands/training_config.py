"""What every command that trains is told, whatever it trains."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from recxfer.foundation.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Where a run goes, and how it is made."""

    run: Path
    """The run directory to make."""

    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    """CPU threads; None: torch's choice."""

    overwrite: bool = False
    resume: bool = False


class LearnedPeople(Config):
    """Who of a dataset is learned from."""

    train_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the training people to learn from, at least one: for learning curves. With one seed
    a smaller share is part of a larger one."""
