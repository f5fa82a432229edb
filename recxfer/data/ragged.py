"""Slices of a flat array, given as (start, length), to flat indices and back.

Shape letters: R slices, X entries of all slices, one slice after the other.
"""

import torch
from torch import Tensor


def firsts(length_R: Tensor) -> Tensor:
    """Return the number of entries before each slice (R), int64."""
    return length_R.cumsum(0) - length_R


def owners(length_R: Tensor) -> Tensor:
    """Return the slice that each entry is of (X), int64."""
    slices_R = torch.arange(length_R.numel(), device=length_R.device)
    return torch.repeat_interleave(slices_R, length_R)


def flat_indices(start_R: Tensor, length_R: Tensor) -> Tensor:
    """Return the index of each entry in the flat array (X), int64."""
    shift_X = torch.repeat_interleave(start_R - firsts(length_R), length_R)
    return shift_X + torch.arange(shift_X.numel(), device=shift_X.device)


def places(length_R: Tensor) -> Tensor:
    """Return the place of each entry in its slice (X), int64: 0, 1, ... length - 1."""
    return flat_indices(torch.zeros_like(length_R), length_R)
