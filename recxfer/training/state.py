"""State of a training: everything needed to stop, and to resume to the same bytes."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError
from recxfer.foundation.files import Json
from recxfer.runs.header import identity_of
from recxfer.runs.identity import differing
from recxfer.runs.run import EpochFigures


@dataclass(slots=True)
class FitState:
    """Progress of a run. Random streams need no state: they are functions of the position."""

    phase: int = 0
    epoch: int = 0
    step: int = 0
    """Batches of the current epoch that are done."""

    steps: int = 0
    """Optimiser steps of the run: where figures stand in a log."""

    loss_sum: float = 0.0
    """Sum of the batch losses of the current epoch."""

    best_epoch: int = 0
    best_value: float | None = None
    """Quality of that epoch: the metric that chooses, negative where lower is better."""

    history: list[EpochFigures] = field(default_factory=list)
    """One record per epoch of every phase."""

    best: dict[str, Tensor] = field(default_factory=dict)
    """Trainable tensors and buffers of the best epoch of the current phase."""

    sequences: int = 0
    """Rows trained on by this process, for the rate."""

    seconds: float = 0.0
    """Time spent in training steps by this process."""

    @property
    def best_figures(self) -> dict[str, float]:
        """The validation metrics of the epoch that was kept."""
        left_out = {"phase", "epoch", "lr", "loss"}
        for record in reversed(self.history):
            if record["epoch"] == self.best_epoch and len(record) > len(left_out):
                return {k: float(v) for k, v in record.items() if k not in left_out}
        return {}


_SCALARS = ("phase", "epoch", "step", "steps", "loss_sum", "best_epoch", "best_value", "history")


def save_state(
    path: Path,
    depends_on: Json,
    state: FitState,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write all of it as one safetensors file, atomically.

    Args:
        path: the resume file.
        depends_on: everything the run depends on; a resume must match it.
        state: the position.
        model: as it is now.
        optimiser: as it is now.
    """
    parts: dict[str, Tensor] = {f"model.{n}": t for n, t in model.state_dict().items()}
    parts |= {f"best.{n}": t for n, t in state.best.items()}
    for index, values in optimiser.state_dict()["state"].items():
        parts |= {f"optimiser.{index}.{key}": value for key, value in values.items()}
    tensors.save(
        path, parts, {"depends_on": depends_on, **{n: getattr(state, n) for n in _SCALARS}}
    )


@dataclass(frozen=True, slots=True)
class SavedState:
    """A resume file, read."""

    state: FitState
    model: dict[str, Tensor]
    optimiser: dict[int, dict[str, Tensor]]

    def restore_optimiser(self, optimiser: torch.optim.Optimizer) -> None:
        """Give a freshly built optimiser its moments back."""
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": self.optimiser, "param_groups": groups})


def load_state(path: Path, depends_on: Json) -> SavedState:
    """Read a resume file.

    Raises:
        CheckpointError: it belongs to a run with other settings, data or base; it names them.
    """
    parts, header = tensors.load(path)
    refuse_other(path, identity_of(header.get("depends_on", {}), path), depends_on)
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimiser": {}}
    for name, value in parts.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = value
    optimiser: dict[int, dict[str, Tensor]] = {}
    for name, value in groups["optimiser"].items():
        index, _, key = name.partition(".")
        optimiser.setdefault(int(index), {})[key] = value
    state = FitState(
        **{name: header[name] for name in _SCALARS if name in header}, best=groups["best"]
    )
    return SavedState(state, groups["model"], optimiser)


def refuse_other(path: Path, before: Json, now: Json) -> None:
    """Refuse to go on with a run of other settings.

    Raises:
        CheckpointError: naming each setting that differs.
    """
    names = differing(before, now)
    if names:
        raise CheckpointError(
            f"{path} belongs to a run with other settings, data or base: {'; '.join(names)}",
            hint="repeat the settings of the earlier command, or start anew with --overwrite",
        )
