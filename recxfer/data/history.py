"""Histories of a batch: the events of each row, in padded columns.

Shape letters: B rows, L longest history, C some of the rows, W places of a longer or shorter view.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from recxfer.foundation.names import PAD


@dataclass(frozen=True, slots=True)
class History:
    """Histories of a batch, oldest event first, all columns 0 behind the last.

    Fields named `*_BL` are columns: one value for each event. One that the backbone does not read
    is None. Operations go over all columns alike, and leave the history as it is.
    """

    item_BL: Tensor
    """int64 items."""

    length_B: Tensor
    """int64 events of each history; 0 is possible (a user without history)."""

    time_BL: Tensor | None = None
    """int64 timestamps, in the unit of the dataset."""

    @property
    def columns(self) -> dict[str, Tensor]:
        """Columns that are present, by the names of their fields."""
        named = ((field, getattr(self, field)) for field in COLUMNS.values())
        return {field: column_BL for field, column_BL in named if column_BL is not None}

    @property
    def real_BL(self) -> Tensor:
        """True at events, false at padding."""
        return _before(self.length_B, self.item_BL.shape[1])

    def with_items(self, item_BL: Tensor) -> "History":
        """Put other items in the place of the items."""
        return replace(self, item_BL=item_BL)

    def to(self, device: torch.device) -> "History":
        """Copy to another device."""
        return self._each(lambda column_BL: column_BL.to(device), self.length_B.to(device))

    def gather(self, place_BW: Tensor, length_B: Tensor) -> "History":
        """Take the events at some places of each history.

        Args:
            place_BW: int64 places, 0 to L - 1, of each row, or (W) of all rows.
            length_B: how many of the first places are events; behind them is padding.
        """
        place_BW = place_BW.expand(length_B.numel(), -1)
        real_BW = _before(length_B, place_BW.shape[1])
        return self._each(
            lambda column_BL: column_BL.gather(1, place_BW).where(real_BW, PAD), length_B
        )

    def first(self, length_B: Tensor) -> "History":
        """Keep so many of the first events of each history, and padding up to L."""
        real_BL = _before(length_B, self.item_BL.shape[1])
        return self._each(lambda column_BL: column_BL.where(real_BL, PAD), length_B)

    def without_last(self) -> "History":
        """Drop the last event of each history (B, L - 1)."""
        shorter = self.first((self.length_B - 1).clamp_(min=0))
        return shorter._each(lambda column_BL: column_BL[:, :-1], shorter.length_B)

    def append(self, item: int) -> "History":
        """Put an item behind each history, at the time of its last event (B, L + 1)."""
        last_B1 = (self.length_B - 1).clamp_(min=0)[:, None]
        step_W = torch.arange(self.item_BL.shape[1] + 1, device=last_B1.device)
        longer = self.gather(step_W.minimum(last_B1), self.length_B + 1)
        return longer.with_items(longer.item_BL.scatter(1, self.length_B[:, None], item))

    def trim(self) -> "History":
        """Drop places that are padding in all rows; one place stays."""
        longest = longest_of(self.length_B)
        return self._each(lambda column_BL: column_BL[:, :longest], self.length_B)

    def take(self, row_C: Tensor) -> "History":
        """Take the rows of these numbers, in this order."""
        return self._each(lambda column_BL: column_BL[row_C], self.length_B[row_C])

    def split(self, size: int) -> list["History"]:
        """Cut into parts of `size` rows, the last perhaps of fewer."""
        lengths = self.length_B.split(size)
        columns = {name: column_BL.split(size) for name, column_BL in self.columns.items()}
        return [
            History(length_B=length_C, **{name: parts[i] for name, parts in columns.items()})
            for i, length_C in enumerate(lengths)
        ]

    def _each(self, change: Callable[[Tensor], Tensor], length_B: Tensor) -> "History":
        columns = {name: change(column_BL) for name, column_BL in self.columns.items()}
        return History(length_B=length_B, **columns)


COLUMNS = {
    field.name.removesuffix("_BL"): field.name
    for field in fields(History)
    if field.name.endswith("_BL")
}
"""Fields of `History` by the names of the columns: `item`, which is always there, `time`."""


def joined(parts: Sequence[History]) -> History:
    """Concatenate histories with the same columns, padded to the longest.

    Args:
        parts: one or more.
    """
    longest = max(part.item_BL.shape[1] for part in parts)
    padded = [
        {
            name: F.pad(column_CL, (0, longest - column_CL.shape[1]), value=PAD)
            for name, column_CL in part.columns.items()
        }
        for part in parts
    ]
    columns = {name: torch.cat([part[name] for part in padded]) for name in padded[0]}
    return History(length_B=torch.cat([part.length_B for part in parts]), **columns)


def longest_of(length_B: Tensor) -> int:
    """Return the most events of a history, but 1 where all are empty: L of a batch."""
    return max(int(length_B.max()), 1) if length_B.numel() else 1


def _before(length_B: Tensor, width: int) -> Tensor:
    return torch.arange(width, device=length_B.device) < length_B[:, None]
