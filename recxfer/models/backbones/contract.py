"""The contract of a sequence encoder, whatever its blocks are.

Shape letters: B batch, L length, D width, N blocks.
"""

from abc import ABC, abstractmethod
from copy import copy
from typing import ClassVar, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from recxfer.foundation.config import Config
from recxfer.foundation.names import PAD

NUM_SPECIAL = 3
"""Rows of the item table that are no items: padding (first), mask and unknown (last)."""

TOKEN_ROOM = 2
"""Positions beyond the longest history, for the task tokens that methods add."""


class BackboneConfig(Config):
    """What every backbone has."""

    width: int = Field(default=128, ge=1)
    """Width of the hidden state."""

    max_length: int = Field(default=200, ge=2)
    """Longest history, in events; older ones are cut off."""


class Block(nn.Module, ABC):
    """A residual block made of two sublayers, each with a normalisation of its own.

    Methods change a block through these four attributes and nothing else: they wrap a sublayer,
    or train a norm. A sublayer maps (hidden_BLD, real_BL) to (B, L, D).
    """

    sublayer1: nn.Module
    sublayer2: nn.Module
    norm1: nn.Module
    norm2: nn.Module

    @abstractmethod
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """One step of the residual stream; `real_BL` is false at padding."""


class ItemVectors(Protocol):
    """What can stand where a backbone has its item table: a module that has rows for items."""

    num_embeddings: int
    """Rows, NUM_SPECIAL more than items."""

    def __call__(self, item_BL: Tensor) -> Tensor:
        """Item indices to vectors (B, L, D)."""


class Backbone(nn.Module, ABC):
    """Item table, residual blocks and a last normalisation."""

    name: ClassVar[str]
    """Its name in the BACKBONES table."""

    config_type: ClassVar[type[BackboneConfig]]
    """The config class of `[backbone]`."""

    item_table: nn.Embedding
    """(num_items + NUM_SPECIAL, D): padding, items 1..num_items, mask, unknown."""

    blocks: nn.ModuleList
    """The residual blocks, lowest first."""

    def __init__(self, config: BackboneConfig, num_items: int, *, causal: bool) -> None:
        super().__init__()
        self.config = config
        self.num_items = num_items
        self.causal = causal
        self.item_table = nn.Embedding(num_items + NUM_SPECIAL, config.width, padding_idx=PAD)

    @property
    @abstractmethod
    def longest(self) -> int | None:
        """Longest history it can read at all; None where there is no such limit."""

    @property
    def width(self) -> int:
        """D."""
        return self.config.width

    @property
    def residual_blocks(self) -> list[Block]:
        """The blocks, lowest first, with their type."""
        return list(self.blocks)  # type: ignore[arg-type]  # a ModuleList forgets what it holds

    @property
    def mask_item(self) -> int:
        """Item index that hides an item (cloze, masking views)."""
        return self.num_items + 1

    @property
    def unknown_item(self) -> int:
        """Item index of items the vocabulary lacks."""
        return self.num_items + 2

    @property
    def item_weight_VD(self) -> Tensor:
        """The rows of real items, item 1 first: a view of the table."""
        return self.item_table.weight.narrow(0, 1, self.num_items)

    @abstractmethod
    def embed(self, item_BL: Tensor) -> Tensor:
        """Item indices to the vectors that the blocks read, without position (B, L, D)."""

    @abstractmethod
    def enter(self, embedded_BLD: Tensor) -> Tensor:
        """What the lowest block reads of embedded rows (B, L, D): with positions, after dropout."""

    @property
    @abstractmethod
    def above(self) -> nn.Module:
        """What stands above the last block; its weights adapt whenever the last block does."""

    def encode(self, embedded_BLD: Tensor, length_B: Tensor) -> Tensor:
        """Run all blocks over embedded rows (B, L, D); only positions < length are meaningful."""
        real_BL = real_positions(length_B, embedded_BLD.shape[1])
        hidden_BLD = self.enter(embedded_BLD)
        for block in self.residual_blocks:
            hidden_BLD = block(hidden_BLD, real_BL)
        encoded_BLD: Tensor = self.above(hidden_BLD)
        return encoded_BLD

    def forward(self, item_BL: Tensor, length_B: Tensor) -> Tensor:
        """Hidden states of histories (B, L, D)."""
        return self.encode(self.embed(item_BL), length_B)

    def new_vocabulary(self, num_items: int) -> None:
        """Replace the item table by a fresh one, for a domain with other items."""
        old = self.item_table
        self.num_items = num_items
        self.item_table = nn.Embedding(num_items + NUM_SPECIAL, self.width, padding_idx=PAD).to(
            old.weight.device
        )
        initialise_embedding(self.item_table)

    def with_table(self, table: ItemVectors) -> "Backbone":
        """The same backbone reading items from another table; all else is shared, not copied."""
        other = copy(self)
        other._modules = dict(self._modules)
        other.item_table = table  # type: ignore[assignment]  # stands where it stands
        other.num_items = table.num_embeddings - NUM_SPECIAL
        return other


def real_positions(length_B: Tensor, longest: int) -> Tensor:
    """True at real positions, false at padding (B, L)."""
    return torch.arange(longest, device=length_B.device) < length_B[:, None]


def initialise_embedding(table: nn.Embedding) -> None:
    """Truncated normal, std 0.02; the padding row stays zero (NextItNet release)."""
    nn.init.trunc_normal_(table.weight, std=0.02, a=-0.04, b=0.04)
    with torch.no_grad():
        table.weight[PAD].zero_()
