"""Define what every item encoder offers to backbones, losses and methods.

Shape letters: B batch, L length, V items, S special items, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from typing_extensions import override

ItemLookup = Callable[[Tensor], Tensor]
"""Item indices of any shape to vectors (..., D)."""

NUM_SPECIAL = 2
"""S: mask and unknown."""


class ItemEncoder(nn.Module, ABC):
    """Turn item indices into vectors.

    Indices are those of `recxfer.foundation.names`: 0 is padding, 1..V are items. What hides an
    item (MASK) and what stands for items that are not known (UNKNOWN) count from the end, below
    zero: neither moves when items come in. Padding is the zero vector.
    """

    @property
    @abstractmethod
    def num_items(self) -> int:
        """V."""

    @property
    @abstractmethod
    def weight_VD(self) -> Tensor:
        """Vectors of all items, item 1 first, as scoring takes them."""

    @abstractmethod
    def special_vectors(self) -> Tensor:
        """Return the vectors of mask and unknown, in this order (S, D)."""

    @abstractmethod
    @override
    def forward(self, item_BL: Tensor) -> Tensor:
        """Return the vectors (..., D) of item indices of any shape."""

    @abstractmethod
    def item_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that have a row for each item; they do not decay."""

    @abstractmethod
    def grow(self, count: int) -> None:
        """Append items that nothing is known of yet; all other vectors keep their bits.

        Parameters with a row for each item are new ones afterwards: build an optimiser after that.
        """
