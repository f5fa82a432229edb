"""Optimiser, its groups and the learning-rate schedule."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from recxfer.foundation.config import Config


class OptimConfig(Config):
    """How a phase is optimised."""

    epochs: int = Field(default=20, ge=1)
    """Passes over the training rows."""

    batch_size: int = Field(default=32, ge=1, le=1_000_000)
    """Rows of a step on average; steps hold about equally many events."""

    lr: float = Field(default=2e-3, gt=0, allow_inf_nan=False)
    """Peak learning rate of Adam."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of matrices; item tables, norms and biases have none."""

    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine`: falls to zero over all epochs. `constant`: stays at the peak."""

    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the training in which the rate rises from zero."""

    clip: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; 0 does not clip."""

    patience: int = Field(default=0, ge=0)
    """Stop after this many validations without a better value; 0 trains all epochs."""

    validate_every: int = Field(default=1, ge=1)
    """Epochs between validations; the last epoch is always validated."""


def build_optimiser(
    model: nn.Module, trainable: Sequence[nn.Parameter], config: OptimConfig
) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters, in a group with and one without decay."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decayed = [p for p in trainable if p.ndim >= 2 and id(p) not in tables]
    chosen = {id(p) for p in decayed}
    rest = [p for p in trainable if id(p) not in chosen]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, fused=True)


def learning_rate(config: OptimConfig, progress: float) -> float:
    """The rate at a share of the training (0 to 1)."""
    if config.warmup and progress < config.warmup:
        return config.lr * progress / config.warmup
    if config.schedule == "constant":
        return config.lr
    falling = (progress - config.warmup) / (1 - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(falling, 1.0)))
