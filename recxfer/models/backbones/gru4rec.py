"""GRU4Rec: gated recurrent units over the history, one layer upon the other.

Hidasi, Karatzoglou, Baltrunas and Tikk, Session-based Recommendations with Recurrent Neural
Networks (ICLR 2016, arXiv 1511.06939), section 3, on vectors of items in place of one-hot ones.
The losses are those of the objectives.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from recxfer.models.backbones.contract import Backbone, BackboneConfig, Block
from recxfer.models.layers.dropout import Dropout

GATES = 3
"""Reset, update and candidate, in this order one below the other in each weight."""


class GRU4RecConfig(BackboneConfig):
    """Settings of the `gru4rec` backbone."""

    num_layers: int = Field(default=1, ge=1)
    """Recurrent layers; the paper found one to be best."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout on the embedded history and on the output of each layer."""


class GRU(nn.Module):
    """Run a gated recurrent unit along a history, from a state of zeros.

    `nn.GRU` would not see a parametrisation of its weights: it keeps a list of them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_weight = nn.Parameter(torch.empty(GATES * width, width))
        self.state_weight = nn.Parameter(torch.empty(GATES * width, width))
        self.input_bias = nn.Parameter(torch.zeros(GATES * width))
        self.state_bias = nn.Parameter(torch.zeros(GATES * width))
        for weight in (self.input_weight, self.state_weight):
            for of_gate in weight.detach().chunk(GATES):
                nn.init.xavier_uniform_(of_gate)

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """Return the state after each position (B, L, D), float32; padding stands behind all."""
        weights = (self.input_weight, self.state_weight, self.input_bias, self.state_bias)
        # Errors of rounding add up along a history.
        with torch.autocast(hidden_BLD.device.type, enabled=False):
            start_1BD = hidden_BLD.new_zeros(1, hidden_BLD.shape[0], hidden_BLD.shape[2])
            state_BLD, _ = torch.gru(
                hidden_BLD.to(self.input_bias.dtype),
                start_1BD.to(self.input_bias.dtype),
                weights,
                has_biases=True,
                num_layers=1,
                dropout=0.0,
                train=self.training,
                bidirectional=False,
                batch_first=True,
            )
        # A copy, because the way back needs the states and whoever called may write over them.
        return state_BLD.clone(memory_format=torch.contiguous_format)


class GRUBlock(Block):
    """A recurrent layer and dropout, without norm and without a connection around them."""

    sublayers = ("gru",)
    norms = ()
    kernels = ("gru.input_weight", "gru.state_weight")
    biases = ("gru.input_bias", "gru.state_bias")

    def __init__(self, config: GRU4RecConfig) -> None:
        super().__init__()
        self.gru = GRU(config.width)
        self.dropout = Dropout(config.dropout)

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        state_BLD: Tensor = self.dropout(self.gru(hidden_BLD, real_BL))
        return state_BLD


class GRU4Rec(Backbone):
    """Recurrent layers, which only look to the left, over histories of any length."""

    name: ClassVar[str] = "gru4rec"
    config_type: ClassVar[type[BackboneConfig]] = GRU4RecConfig
    config: GRU4RecConfig
    causal_only: ClassVar[bool] = True

    def __init__(self, config: GRU4RecConfig, num_items: int, *, causal: bool) -> None:
        super().__init__(config, num_items, causal=causal)
        self.draw_items()
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(GRUBlock(config) for _ in range(config.num_layers))

    @override
    def enter(self, embedded_BLD: Tensor) -> Tensor:
        """Return the rows as they are: recurrent layers need no positions."""
        hidden_BLD: Tensor = self.dropout(embedded_BLD)
        return hidden_BLD
