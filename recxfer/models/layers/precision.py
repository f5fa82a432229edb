"""Dtype of matrix products."""

import torch
from torch import Tensor


def product_dtype(x: Tensor) -> torch.dtype:
    """Return the autocast dtype where autocast is on, else the dtype of `x`.

    For code that autocast does not reach: autograd functions of our own.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        autocast: torch.dtype = torch.get_autocast_dtype(kind)
        return autocast
    return x.dtype
