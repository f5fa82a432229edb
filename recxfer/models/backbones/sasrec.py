"""SASRec: a pre-norm Transformer over the history.

Kang and McAuley, Self-Attentive Sequential Recommendation (ICDM 2018), section III, with GELU,
a feed-forward layer wider than the model, and a norm before each sublayer.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from recxfer.models.backbones.contract import (
    TOKEN_ROOM,
    Backbone,
    BackboneConfig,
    Block,
)
from recxfer.models.layers.dropout import Dropout


class SASRecConfig(BackboneConfig):
    """Settings of the `sasrec` backbone."""

    num_blocks: int = Field(default=2, ge=1)
    """Transformer blocks."""

    num_heads: int = Field(default=2, ge=1)
    """Attention heads; they share the width evenly."""

    feed_forward: int = Field(default=4, ge=1)
    """Width of the feed-forward layer, in multiples of the model's width."""

    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout on the embedded history and on each sublayer's update."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "SASRecConfig":
        if self.width % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide width {self.width}")
        return self


class SelfAttention(nn.Module):
    """Multi-head self-attention, causal or over all real positions."""

    def __init__(self, width: int, num_heads: int, *, causal: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """Attend along L. Right padding needs no mask when causal: no real position sees it."""
        B, L, D = hidden_BLD.shape
        qkv_3BHLd = self.qkv(hidden_BLD).view(B, L, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query_BHLd, key_BHLd, value_BHLd = qkv_3BHLd.unbind(0)
        if query_BHLd.device.type == "cpu" and query_BHLd.dtype == torch.bfloat16:
            mixed_BHLd = self._by_products(query_BHLd, key_BHLd, value_BHLd, real_BL)
        else:
            mixed_BHLd = F.scaled_dot_product_attention(
                query_BHLd,
                key_BHLd,
                value_BHLd,
                attn_mask=None if self.causal else _visible(real_BL)[:, None, None],
                is_causal=self.causal,
            )
        mixed_BLD: Tensor = self.out(mixed_BHLd.transpose(1, 2).reshape(B, L, D))
        return mixed_BLD

    def _by_products(self, query: Tensor, key: Tensor, value: Tensor, real_BL: Tensor) -> Tensor:
        """Attend by two batched products: on CPUs twice as fast as the fused kernel in bf16."""
        B, H, L, d = query.shape
        if self.causal:
            hidden = torch.full((L, L), -math.inf, dtype=query.dtype).triu_(1).expand(B * H, L, L)
        else:
            shut_BL = torch.zeros(B, L, dtype=query.dtype).masked_fill_(
                ~_visible(real_BL), -math.inf
            )
            hidden = shut_BL[:, None, None].expand(B, H, L, L).reshape(B * H, L, L)
        with torch.autocast("cpu", enabled=False):
            logit_XLL = torch.baddbmm(
                hidden, query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), alpha=d**-0.5
            )
            mixed_XLd = logit_XLL.softmax(-1) @ value.flatten(0, 1)
        return mixed_XLd.view(B, H, L, d)


class FeedForward(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """Position by position; `real_BL` is part of the sublayer signature and not needed."""
        mapped_BLD: Tensor = self.down(F.gelu(self.up(hidden_BLD)))
        return mapped_BLD


class TransformerBlock(Block):
    """Attention, then feed-forward, each behind a norm and with a residual connection."""

    sublayers = ("sublayer1", "sublayer2")
    norms = ("norm1", "norm2")
    kernels = (
        "sublayer1.qkv.weight",
        "sublayer1.out.weight",
        "sublayer2.up.weight",
        "sublayer2.down.weight",
    )
    biases = (
        "norm1.bias",
        "sublayer1.qkv.bias",
        "sublayer1.out.bias",
        "norm2.bias",
        "sublayer2.up.bias",
        "sublayer2.down.bias",
    )

    def __init__(self, config: SASRecConfig, *, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.sublayer1 = SelfAttention(config.width, config.num_heads, causal=causal)
        self.norm2 = nn.LayerNorm(config.width)
        self.sublayer2 = FeedForward(config.width, config.feed_forward * config.width)
        self.dropout = Dropout(config.dropout)

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        hidden_BLD = hidden_BLD + self.dropout(self.sublayer1(self.norm1(hidden_BLD), real_BL))
        hidden_BLD = hidden_BLD + self.dropout(self.sublayer2(self.norm2(hidden_BLD), real_BL))
        return hidden_BLD


class SASRec(Backbone):
    """A Transformer with learned positions, counted from the start of the (cut) history."""

    name: ClassVar[str] = "sasrec"
    config_type: ClassVar[type[BackboneConfig]] = SASRecConfig
    config: SASRecConfig
    outer_biases: ClassVar[Sequence[str]] = ("norm.bias",)

    def __init__(self, config: SASRecConfig, num_items: int, *, causal: bool) -> None:
        super().__init__(config, num_items, causal=causal)
        self.position_table = nn.Embedding(config.max_length + TOKEN_ROOM, config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(config, causal=causal) for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.position_table.weight, std=0.02)
        self.draw_items()

    @classmethod
    @override
    def longest_history(cls, config: BackboneConfig) -> int | None:
        """Return `max_length`: positions beyond those of pretraining have no vectors."""
        return config.max_length

    @override
    def enter(self, embedded_BLD: Tensor) -> Tensor:
        L = embedded_BLD.shape[1]
        hidden_BLD: Tensor = self.dropout(embedded_BLD + self.position_table.weight[:L])
        return hidden_BLD

    @property
    @override
    def above(self) -> nn.Module:
        """The last norm."""
        return self.norm


def _visible(real_BL: Tensor) -> Tensor:
    """Keys that may be attended to; position 0 always, so that an empty row stays finite."""
    visible_BL = real_BL.clone()
    visible_BL[:, 0] = True
    return visible_BL
