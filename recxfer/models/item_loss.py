"""Which loss over items, with which negatives: one choice that objectives and methods share."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from recxfer.data.rows import Rows
from recxfer.foundation.config import Config
from recxfer.models.losses import binary_loss, sampled_softmax_loss, softmax_loss
from recxfer.models.output import Output


class ItemLossConfig(Config):
    """How positions learn to score items."""

    loss: Literal["softmax", "sampled-softmax", "bce"] = "softmax"
    """`softmax`: over all items. `sampled-softmax`: among shared negatives, log-q corrected.
    `bce`: binary, one negative per position."""

    negatives: int = Field(default=256, ge=1)
    """`sampled-softmax`: negatives that all positions of a batch share."""

    popularity: float = Field(default=0.75, ge=0, le=1)
    """Negatives are drawn by training frequency to this power; 0 is uniform."""


class NegativeSampler:
    """Draws outputs by (frequency + 1) ** popularity."""

    def __init__(self, count_V: Tensor, popularity: float) -> None:
        weight_V = (count_V.double() + 1).pow(popularity)
        self._edge_V = (weight_V / weight_V.sum()).cumsum(0)
        self.log_q_V = (weight_V / weight_V.sum()).log().float()

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` independent outputs, int64."""
        draw_S = torch.rand(count, dtype=torch.float64, generator=generator)
        return torch.searchsorted(self._edge_V, draw_S).clamp_(max=self._edge_V.numel() - 1)


class ItemLoss:
    """A loss over items, ready to be called on positions."""

    def __init__(self, config: ItemLossConfig, count_V: Tensor) -> None:
        self.config = config
        self._sampler = NegativeSampler(count_V, config.popularity)

    @classmethod
    def of_rows(cls, config: ItemLossConfig, rows: Rows, num_outputs: int) -> "ItemLoss":
        """A loss whose negatives follow the frequencies of training rows."""
        return cls(config, count_outputs(rows, num_outputs))

    def __call__(
        self, hidden_PD: Tensor, output: Output, target_P: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The mean loss of positions; `output` may lie on any device, targets beside it."""
        if self.config.loss == "softmax":
            return softmax_loss(hidden_PD, output.weight_VD, target_P, output.bias_V)
        shared = self.config.loss == "sampled-softmax"
        count = self.config.negatives if shared else target_P.numel()
        negative_S = self._sampler.draw(count, generator).to(target_P.device)
        target_PD = output.weight_VD[target_P]
        negative_SD = output.weight_VD[negative_S]
        if shared:
            log_q_V = self._sampler.log_q_V.to(target_P.device)
            return sampled_softmax_loss(
                hidden_PD, target_PD, negative_SD, target_P, negative_S, log_q_V
            )
        return binary_loss(hidden_PD, target_PD, negative_SD)


def count_outputs(rows: Rows, num_outputs: int) -> Tensor:
    """How often each output occurs in training rows: as target, or else in a history (int64, V)."""
    if rows.target_R is not None:
        return torch.bincount(rows.target_R, minlength=num_outputs)
    # Histories may overlap, and the flat events also hold held-out ones: count covered events once.
    change_E1 = torch.zeros(rows.item_E.numel() + 1, dtype=torch.int64)
    change_E1.index_add_(0, rows.start_R, torch.ones_like(rows.start_R))
    change_E1.index_add_(0, rows.start_R + rows.length_R, -torch.ones_like(rows.start_R))
    covered_E = change_E1.cumsum(0)[:-1] > 0
    return torch.bincount(rows.item_E[covered_E].long(), minlength=num_outputs + 1)[1:]
