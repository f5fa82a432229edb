"""What every command that trains is told, whatever it trains."""

from dataclasses import dataclass
from pathlib import Path


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
