"""Table of ids: an item encoder that holds a vector for each item.

Shape letters: B batch, L length, V items, V3 items with padding (first), mask and unknown (last),
D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from recxfer.foundation.names import PAD
from recxfer.models.items.contract import NUM_SPECIAL, ItemEncoder

STD = 0.02
"""Of fresh vectors (NextItNet release); they are cut off at twice as much."""


class IdTable(ItemEncoder):
    """Look vectors up by item index.

    One table, so that a batch is one gather and items are scored by a view; an index is a row, and
    those below zero count from its end.
    """

    def __init__(self, weight_V3D: Tensor, *, trains: bool = True) -> None:
        """Hold vectors.

        Args:
            weight_V3D: of padding, which is zero, of the items, of mask and unknown.
            trains: whether they require a gradient.
        """
        super().__init__()
        self.weight = nn.Parameter(weight_V3D, requires_grad=trains)

    @classmethod
    def empty(cls, num_items: int, width: int) -> "IdTable":
        """Make a table to be filled by `draw`.

        Its numbers come from the generator, as those of `nn.Embedding` do: a seed gives the weights
        that it has always given.
        """
        return cls(torch.empty(num_items + 1 + NUM_SPECIAL, width).normal_())

    @staticmethod
    def items_in(weight_V3D: Tensor) -> int:
        """Count the items of a table's weight."""
        return weight_V3D.shape[0] - 1 - NUM_SPECIAL

    @torch.no_grad()
    def draw(self) -> None:
        """Draw all vectors anew; padding is zero."""
        draw_vectors(self.weight)
        self.weight[PAD].zero_()

    @property
    @override
    def num_items(self) -> int:
        return self.items_in(self.weight)

    @property
    @override
    def weight_VD(self) -> Tensor:
        """Vectors of all items: a view of the table."""
        return self.weight.narrow(0, 1, self.num_items)

    @override
    def special_vectors(self) -> Tensor:
        """Return a view of the table."""
        return self.weight[-NUM_SPECIAL:]

    @override
    def forward(self, item_BL: Tensor) -> Tensor:
        return F.embedding(item_BL % self.weight.shape[0], self.weight, padding_idx=PAD)

    @override
    def item_parameters(self) -> list[nn.Parameter]:
        return [self.weight]

    @torch.no_grad()
    @override
    def grow(self, count: int) -> None:
        """Append items, with vectors drawn from torch's generator."""
        fresh = torch.empty(count, self.weight.shape[1])
        draw_vectors(fresh)
        known, special = self.weight[:-NUM_SPECIAL], self.special_vectors()
        grown = torch.cat([known, fresh.to(self.weight), special])
        self.weight = nn.Parameter(grown, requires_grad=self.weight.requires_grad)


def draw_vectors(vector_XD: Tensor) -> None:
    """Draw fresh vectors in place, by a normal distribution that is cut off."""
    nn.init.trunc_normal_(vector_XD, std=STD, a=-2 * STD, b=2 * STD)
