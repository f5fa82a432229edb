"""Choose a loss over items and its negatives: settings that objectives and methods share."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from recxfer.data.rows import Rows
from recxfer.foundation.config import Config
from recxfer.models.losses.items import binary_loss, bpr_loss, sampled_softmax_loss, softmax_loss
from recxfer.models.scoring import Output


class ItemLossConfig(Config):
    """Settings of the loss over items."""

    loss: Literal["softmax", "sampled-softmax", "bce", "bpr"] = "softmax"
    """`softmax`: over all items. `sampled-softmax`: among shared negatives, log-q corrected.
    `bce`: binary, one negative per position. `bpr`: the target above one negative per position."""

    negatives: int = Field(default=256, ge=1)
    """`sampled-softmax`: negatives that all positions of a batch share."""

    sampler: Literal["frequency", "rank"] = "frequency"
    """How negatives are drawn: by training frequency to the power of `popularity`, or by rank in
    the order of falling frequency (LambdaFM's static sampler, as in PeterRec's release)."""

    popularity: float = Field(default=0.75, ge=0, le=1)
    """`frequency` sampler: the power; 0 is uniform."""

    rho: float = Field(default=0.3, ge=0.01)
    """`rank` sampler: rank r of V items is drawn in proportion to exp(-r / (rho V))."""

    draws: int = Field(default=1, ge=1)
    """`bce`, `bpr`: of so many draws per position, the one that scores highest is the negative
    (dynamic negative sampling, Zhang et al. 2013)."""


class NegativeSampler:
    """Draw outputs with fixed probabilities."""

    def __init__(self, weight_V: Tensor) -> None:
        probability_V = weight_V.double() / weight_V.sum()
        self._edge_V = probability_V.cumsum(0)
        self.probability_V = probability_V
        self.log_q_V = probability_V.log().float()

    @classmethod
    def of_counts(cls, config: ItemLossConfig, count_V: Tensor) -> "NegativeSampler":
        """Build the sampler that a config names, for outputs of the given training frequency."""
        if config.sampler == "frequency":
            return cls((count_V.double() + 1).pow(config.popularity))
        order_V = count_V.argsort(descending=True, stable=True)
        rank_V = torch.empty_like(order_V)
        rank_V[order_V] = torch.arange(order_V.numel())
        # Yuan et al., LambdaFM (CIKM 2016), equation 14.
        return cls(torch.exp(-rank_V.double() / (config.rho * rank_V.numel())))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` independent outputs, int64."""
        return self._at(torch.rand(count, dtype=torch.float64, generator=generator))

    def draw_others(self, target_P: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` outputs (P, count) for each target, never the target itself.

        A draw falls on the line of all probabilities with the target's own stretch cut out: exact,
        and without drawing twice. A lone output has no other, and stands for its own negative.
        """
        own_P1 = self.probability_V[target_P, None]
        before_P1 = self._edge_V[target_P, None] - own_P1
        size = (target_P.numel(), count)
        at_PN = torch.rand(size, dtype=torch.float64, generator=generator) * (1 - own_P1)
        drawn_PN = self._at(torch.where(at_PN < before_P1, at_PN, at_PN + own_P1))
        # Rounding at the edges of the cut may still land on the target: step to its neighbour.
        beside_P1 = torch.where(target_P > 0, target_P - 1, (target_P + 1) % self._edge_V.numel())
        return torch.where(drawn_PN == target_P[:, None], beside_P1[:, None], drawn_PN)

    def _at(self, position: Tensor) -> Tensor:
        found = torch.searchsorted(self._edge_V, position, right=True)
        return found.clamp_(max=self._edge_V.numel() - 1)


class ItemLoss:
    """A loss over items, ready to be called on positions."""

    def __init__(self, config: ItemLossConfig, count_V: Tensor) -> None:
        self.config = config
        self._sampler = NegativeSampler.of_counts(config, count_V)

    @classmethod
    def of_rows(cls, config: ItemLossConfig, rows: Rows, num_outputs: int) -> "ItemLoss":
        """Build a loss whose negatives follow the frequencies of training rows."""
        return cls(config, count_outputs(rows, num_outputs))

    def __call__(
        self, hidden_PD: Tensor, output: Output, target_P: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Compute the mean loss of positions; `output` may lie on any device, targets beside it."""
        if self.config.loss == "softmax":
            return softmax_loss(hidden_PD, output.weight_VD, target_P, output.bias_V)
        target_PD = output.weight_VD[target_P]
        if self.config.loss == "sampled-softmax":
            negative_S = self._sampler.draw(self.config.negatives, generator).to(target_P.device)
            return sampled_softmax_loss(
                hidden_PD,
                target_PD,
                output.weight_VD[negative_S],
                target_P,
                negative_S,
                self._sampler.log_q_V.to(target_P.device),
            )
        negative_PD = output.weight_VD[self._negatives(hidden_PD, output, target_P, generator)]
        pairwise = bpr_loss if self.config.loss == "bpr" else binary_loss
        return pairwise(hidden_PD, target_PD, negative_PD)

    def _negatives(
        self, hidden_PD: Tensor, output: Output, target_P: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draw one negative output per position (P)."""
        drawn_PN = self._sampler.draw_others(target_P.cpu(), self.config.draws, generator)
        drawn_PN = drawn_PN.to(target_P.device)
        if self.config.draws == 1:
            return drawn_PN[:, 0]
        with torch.no_grad():
            score_PN = torch.einsum("pd,pnd->pn", hidden_PD.float(), output.weight_VD[drawn_PN])
        return drawn_PN.gather(1, score_PN.argmax(1, keepdim=True))[:, 0]


def count_outputs(rows: Rows, num_outputs: int) -> Tensor:
    """Count each output in training rows: as target, or else in a history (int64, V)."""
    if rows.target_R is not None:
        return torch.bincount(rows.target_R, minlength=num_outputs)
    # Histories may overlap, and the flat events also hold held-out ones: count covered events once.
    change_E1 = torch.zeros(rows.item_E.numel() + 1, dtype=torch.int64)
    change_E1.index_add_(0, rows.start_R, torch.ones_like(rows.start_R))
    change_E1.index_add_(0, rows.start_R + rows.length_R, -torch.ones_like(rows.start_R))
    covered_E = change_E1.cumsum(0)[:-1] > 0
    return torch.bincount(rows.item_E[covered_E].long(), minlength=num_outputs + 1)[1:]
