"""Define what every sequence encoder and its blocks offer to objectives and methods.

Shape letters: B batch, L length, D width, N blocks.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from recxfer.data.history import History
from recxfer.foundation.config import Config
from recxfer.foundation.names import MASK, UNKNOWN
from recxfer.models.items.contract import ItemEncoder, ItemLookup
from recxfer.models.items.id_table import IdTable

TOKEN_ROOM = 2
"""Positions beyond the longest history, for the task tokens that methods add."""


class BackboneConfig(Config):
    """Settings of every backbone."""

    width: int = Field(default=128, ge=1)
    """Width of the hidden state."""

    max_length: int = Field(default=200, ge=2)
    """Longest history, in events; older ones are cut off."""


class Block(nn.Module, ABC):
    """Map hidden states to hidden states; declare the parts that methods may change.

    A concrete block sets the four attributes below, on the class or in `__init__`. Methods change a
    block through them and nothing else: they wrap a sublayer, train a norm or a bias, or put a
    parametrisation on a kernel. Every parameter of a block is one of three: a kernel, a bias, or
    the scale of a norm (contract test). Names are dotted, from the block, as it was built:
    `attention.out.weight`.

    A sublayer maps (hidden_BLD, real_BL) to (B, L, D). Its output may lie in memory in any order of
    dimensions, and belongs to whoever called: it may be overwritten, so a sublayer whose own
    gradient needs its output returns a copy.
    """

    sublayers: Sequence[str]
    """Attributes that hold the sublayers, in the order in which a hidden state meets them; one or
    more."""

    norms: Sequence[str]
    """Attributes that hold the normalisations, in the same order; may be empty."""

    kernels: Sequence[str]
    """Parameters of two or more dimensions, whose first is that of outputs, in the same order. The
    layer that holds one reads it as its attribute at every call (`nn.GRU` does not)."""

    biases: Sequence[str]
    """Parameters of one dimension that are added, those of the norms included."""

    @abstractmethod
    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """Return the next hidden states (B, L, D); `real_BL` is false at padding."""

    def sublayer_modules(self) -> list[nn.Module]:
        """Return the sublayers, in order."""
        return [self.get_submodule(name) for name in self.sublayers]

    def norm_modules(self) -> list[nn.Module]:
        """Return the normalisations, in order."""
        return [self.get_submodule(name) for name in self.norms]


@dataclass(frozen=True, slots=True)
class Weight:
    """Point to a parameter of a block: the layer that holds it, and as which attribute."""

    name: str
    """Its name in the backbone, like `blocks.0.sublayer1.weight`."""

    layer: nn.Module
    attribute: str

    @property
    def tensor(self) -> Tensor:
        """The weight as the layer uses it."""
        tensor: Tensor = getattr(self.layer, self.attribute)
        return tensor


class Backbone(nn.Module, ABC):
    """Item encoder, residual blocks and a last normalisation."""

    name: ClassVar[str]
    """Its name in the BACKBONES table."""

    config_type: ClassVar[type[BackboneConfig]]
    """The config class of `[backbone]`."""

    item_table: ItemEncoder
    """Vectors of items: a table of them, or an encoder of their content."""

    blocks: nn.ModuleList
    """The blocks, lowest first."""

    inputs: ClassVar[frozenset[str]] = frozenset({"item"})
    """Columns of `History` that it reads, `item` among them; `time` needs datasets with times."""

    causal_only: ClassVar[bool] = False
    """Whether it can only look to the left, so that no objective which looks both ways takes it."""

    outer_biases: ClassVar[Sequence[str]] = ()
    """Parameters outside the blocks that are added, by their names in the backbone."""

    def __init__(self, config: BackboneConfig, num_items: int, *, causal: bool) -> None:
        """Make an empty item table; a subclass makes the blocks and draws all weights.

        Args:
            config: of the type that `config_type` names.
            num_items: items of the vocabulary.
            causal: whether a position may read only itself and earlier ones.
        """
        if self.causal_only and not causal:
            raise ValueError(f"{self.name} is causal only: see Backbone.causal_only")
        super().__init__()
        self.config = config
        self.num_items = num_items
        self.causal = causal
        self.item_table = IdTable.empty(num_items, config.width)

    def draw_items(self) -> None:
        """Draw the vectors of all items, when it is their turn."""
        assert isinstance(self.item_table, IdTable), "a new backbone has a table of items"
        self.item_table.draw()

    @classmethod
    def longest_history(cls, config: BackboneConfig) -> int | None:
        """Return the most events it can read at all; None, the default, where there is no limit."""
        return None

    @property
    def longest(self) -> int | None:
        """`longest_history` of its own config."""
        return self.longest_history(self.config)

    @property
    def width(self) -> int:
        """D."""
        return self.config.width

    @property
    def residual_blocks(self) -> list[Block]:
        """The blocks, lowest first, with their type."""
        return list(self.blocks)  # type: ignore[arg-type]  # a ModuleList forgets what it holds

    def kernels(self) -> list[Weight]:
        """Return the kernels of all blocks, lowest first."""
        return [
            Weight(f"blocks.{number}.{name}", *_holder(block, name))
            for number, block in enumerate(self.residual_blocks)
            for name in block.kernels
        ]

    def biases(self) -> list[nn.Parameter]:
        """Return all biases that are declared, in the order in which they are registered."""
        declared = set(self.outer_biases)
        for number, block in enumerate(self.residual_blocks):
            declared |= {f"blocks.{number}.{name}" for name in block.biases}
        return [parameter for name, parameter in self.named_parameters() if name in declared]

    @property
    def mask_item(self) -> int:
        """Item index that hides an item (cloze, masking views)."""
        return MASK

    @property
    def unknown_item(self) -> int:
        """Item index of items the vocabulary lacks."""
        return UNKNOWN

    @property
    def item_weight_VD(self) -> Tensor:
        """The vectors of real items, item 1 first."""
        return self.item_table.weight_VD

    def embed(self, history: History, items: ItemLookup | None = None) -> Tensor:
        """Look up the vectors of events, without position (B, L, D); by default those of items.

        Args:
            history: with the columns that `inputs` names.
            items: where to look up items, if not in the backbone's own item encoder.
        """
        return (items or self.item_table)(history.item_BL)

    def enter(self, embedded_BLD: Tensor) -> Tensor:
        """Return what the lowest block reads of embedded rows (B, L, D).

        Here positions are added, and dropout drawn; by default nothing is done.
        """
        return embedded_BLD

    @property
    def above(self) -> nn.Module:
        """The module above the last block, which adapts whenever that does; by default none."""
        return nn.Identity()

    def encode(self, embedded_BLD: Tensor, length_B: Tensor) -> Tensor:
        """Run all blocks over embedded rows (B, L, D); only positions < length are meaningful."""
        real_BL = real_positions(length_B, embedded_BLD.shape[1])
        hidden_BLD = self.enter(embedded_BLD)
        for block in self.residual_blocks:
            hidden_BLD = block(hidden_BLD, real_BL)
        encoded_BLD: Tensor = self.above(hidden_BLD)
        return encoded_BLD

    @override
    def forward(self, history: History, items: ItemLookup | None = None) -> Tensor:
        """Return hidden states of histories (B, L, D); `items` as in `embed`."""
        return self.encode(self.embed(history, items), history.length_B)

    def new_vocabulary(self, num_items: int) -> None:
        """Replace the item encoder by a fresh table, for a domain with other items."""
        device = self.item_table.special_vectors().device
        self.num_items = num_items
        self.item_table = IdTable.empty(num_items, self.width).to(device)
        self.draw_items()

    def grow(self, count: int) -> None:
        """Append items to the vocabulary: see `ItemEncoder.grow`."""
        self.item_table.grow(count)
        self.num_items += count

    def with_table(self, table: ItemEncoder) -> "Backbone":
        """Return the backbone with another item encoder; all else is shared, not copied."""
        other = copy(self)
        other._modules = dict(self._modules)
        other.item_table = table
        other.num_items = table.num_items
        return other


def _holder(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Split a parameter's name into the layer that holds it and its attribute there."""
    path, _, attribute = name.rpartition(".")
    return module.get_submodule(path), attribute


def real_positions(length_B: Tensor, longest: int) -> Tensor:
    """True at real positions, false at padding (B, L)."""
    return torch.arange(longest, device=length_B.device) < length_B[:, None]
