"""Examples as slices of one flat array of events, and the batches gathered from them.

A row is a history with, where the task has one, a target. No row is ever materialised on its own:
an epoch is a permutation of row numbers and a batch is one gather.

Shape letters: R rows, E events, B rows of a batch, L longest history of a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from recxfer.data.history import COLUMNS, History, longest_of
from recxfer.foundation.names import PAD


@dataclass(frozen=True, slots=True)
class Seen:
    """For each row, the target items its user met before: a slice of a flat array."""

    item_E: Tensor
    """int32 item index of each event of the target domain, sorted by user and time."""

    start_R: Tensor
    """int64 first seen event of each row."""

    end_R: Tensor
    """int64 one past the last seen event of each row."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of rows: padded histories and targets."""

    history: History
    """What each row's user did, in the columns that the backbone reads."""

    row_B: Tensor
    """int64 row numbers, to join results back."""

    target_B: Tensor | None = None
    """int64 output index: item - 1, or the class; None where each position predicts the next."""

    cached_BD: Tensor | None = None
    """User vectors computed once for the whole training, where the encoder is frozen."""

    def to(self, device: torch.device) -> "Batch":
        """Copy to another device."""
        return Batch(
            history=self.history.to(device),
            row_B=self.row_B.to(device),
            target_B=None if self.target_B is None else self.target_B.to(device),
            cached_BD=None if self.cached_BD is None else self.cached_BD.to(device),
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """The examples of a task's part (train, valid or test)."""

    columns: Mapping[str, Tensor]
    """Flat events that histories are slices of (E), by the names of the columns of `History`."""

    start_R: Tensor
    """int64 first event of each history."""

    length_R: Tensor
    """int64 events of each history, at most the backbone's maximum."""

    user_R: Tensor
    """int64 user of each row, in the dataset the task is for."""

    target_R: Tensor | None = None
    """int64 output index of each row: item - 1, or the class."""

    seen: Seen | None = None
    """What a ranking may leave out; None where outputs are classes, and in training rows."""

    cached_RD: Tensor | None = None
    """User vectors of a frozen encoder, in row order."""

    def __len__(self) -> int:
        return self.start_R.numel()

    @property
    def item_E(self) -> Tensor:
        """int32 item of each event."""
        return self.columns["item"]

    def batch(self, row_B: Tensor) -> Batch:
        """Gather the rows of these numbers.

        Args:
            row_B: int64 row numbers.
        """
        length_B = self.length_R[row_B]
        step_L = torch.arange(longest_of(length_B))
        real_BL = step_L < length_B[:, None]
        index_BL = (self.start_R[row_B, None] + step_L).clamp_(max=max(self.item_E.numel() - 1, 0))
        columns = {
            COLUMNS[name]: torch.where(real_BL, column_E[index_BL], PAD).long()
            for name, column_E in self.columns.items()
        }
        return Batch(
            history=History(length_B=length_B, **columns),
            row_B=row_B,
            target_B=None if self.target_R is None else self.target_R[row_B],
            cached_BD=None if self.cached_RD is None else self.cached_RD[row_B],
        )

    def take(self, row_T: Tensor) -> "Rows":
        """Keep the rows of these numbers, in this order."""
        return Rows(
            columns=self.columns,
            start_R=self.start_R[row_T],
            length_R=self.length_R[row_T],
            user_R=self.user_R[row_T],
            target_R=None if self.target_R is None else self.target_R[row_T],
            seen=None
            if self.seen is None
            else Seen(self.seen.item_E, self.seen.start_R[row_T], self.seen.end_R[row_T]),
            cached_RD=None if self.cached_RD is None else self.cached_RD[row_T],
        )
