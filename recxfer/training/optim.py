"""Optimiser, its parameter groups and the learning-rate schedule."""

import math
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import nn

from recxfer.evaluation.metrics.choice import measures
from recxfer.foundation.config import Config
from recxfer.foundation.errors import UsageError
from recxfer.methods.contract import Phase
from recxfer.models.items.contract import ItemEncoder
from recxfer.training.validation import RECOGNITION


class OptimConfig(Config):
    """Settings of the optimiser."""

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

    # Headers leave it out where it is not set: runs made before there was a choice stay the same.
    metric: str | None = Field(default=None, exclude_if=lambda metric: metric is None)
    """What chooses the best epoch: a metric of `evaluate`, such as `MRR@10`, or `recognition` for
    an objective that looks at held-out users. By default `NDCG@10` where items are ranked,
    `log_likelihood` for classes, else `recognition`."""

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str | None) -> str | None:
        if metric is not None and metric != RECOGNITION:
            try:
                measures([metric], ())
            except UsageError as error:
                text = f"{error.message} ({error.hint})" if error.hint else error.message
                raise ValueError(text) from error
        return metric


def build_optimiser(model: nn.Module, phase: Phase, config: OptimConfig) -> torch.optim.Optimizer:
    """Build AdamW over what a phase trains, grouped by weight decay and by rate.

    Args:
        model: holds the parameters that the phase names.
        phase: says what trains, and at which multiple of the learning rate.
        config: the rate, and the decay of matrices.
    """
    tables = set()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            tables.add(id(module.weight))
        elif isinstance(module, ItemEncoder):
            tables |= {id(parameter) for parameter in module.item_parameters()}
    named = dict(model.named_parameters())
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for decays in (True, False):
        for name in phase.trainable:
            parameter = named[name]
            if decays == (parameter.ndim >= 2 and id(parameter) not in tables):
                key = (decays, phase.rates.get(name, 1.0))
                groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": config.weight_decay if decays else 0.0,
                "lr": config.lr * rate,
                "rate": rate,
            }
            for (decays, rate), parameters in groups.items()
        ],
        lr=config.lr,
        fused=True,
    )


def learning_rate(config: OptimConfig, progress: float) -> float:
    """Compute the rate at a share of the training (0 to 1)."""
    if config.warmup and progress < config.warmup:
        return config.lr * progress / config.warmup
    if config.schedule == "constant":
        return config.lr
    falling = (progress - config.warmup) / (1 - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(falling, 1.0)))
