"""Low-rank updates of weight matrices.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (ICLR 2022, arXiv 2106.09685),
section 4.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from typing_extensions import override

from recxfer.foundation.errors import ConfigError
from recxfer.models.backbones.contract import Backbone


class LowRank(nn.Module):
    """Weight + (alpha / rank) Up Down, the weight itself before the first step (Up is zero).

    A convolution's kernel counts as the matrix of its outputs by all its inputs.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        num_outputs, num_inputs = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, num_inputs) * num_inputs**-0.5)
        self.up = nn.Parameter(torch.zeros(num_outputs, rank))
        self.scale = alpha / rank

    @override
    def forward(self, weight: Tensor) -> Tensor:
        """Compute the weight as the layer uses it; same shape."""
        # Products of two thin factors: in float32 they cost nothing, and updates stay exact.
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.scale * (self.up @ self.down).view_as(weight)


def add_low_rank(backbone: Backbone, rank: int, alpha: float) -> Sequence[LowRank]:
    """Put a low-rank update on every kernel of every block, in place.

    Returns:
        The updates, lowest first.

    Raises:
        ConfigError: the rank is more than a weight matrix can have.
    """
    if rank > backbone.width:
        raise ConfigError(
            f"rank is {rank:,}, but the weights of the base have {backbone.width:,} at most",
            hint=f"set it to {backbone.width:,} or less; a sixteenth of that is the default",
        )
    updates = []
    for weight in backbone.kernels():
        update = LowRank(weight.tensor, rank, alpha)
        parametrize.register_parametrization(weight.layer, weight.attribute, update)
        updates.append(update)
    return updates
