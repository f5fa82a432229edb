"""Dropout whose mask is cheap to draw on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Inverted dropout.

    On a CPU torch draws one random float per element, which costs more than the layer it follows.
    Here eight elements share one 64-bit draw, a byte each, so that the rate is rounded to 1/256
    and the scale corrected for the rounding: many times faster, the same expectation.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self._dropped = round(rate * 256)

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share `rate` of the elements in training; the identity otherwise."""
        if not self.training or self._dropped == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        # The full range of int64: random_() alone leaves the sign bit, part of a byte, at zero.
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        byte = draws.view(torch.uint8)[: x.numel()].view(x.shape)
        # Bytes of 0 and 1: with bools the comparison and what follows are not vectorised.
        kept = torch.ge(byte, self._dropped, out=torch.empty_like(byte))
        return (x * kept).mul_(256 / (256 - self._dropped))

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"rate={self.rate}"
