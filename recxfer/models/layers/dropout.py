"""Dropout whose mask is cheap to draw, to apply and to keep on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override


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

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Zero a share `rate` of the elements in training; the identity otherwise."""
        if x.device.type != "cpu":
            return F.dropout(x, self.rate, self.training)
        mask = self.draw(x)
        if mask is None:
            return x
        dropped: Tensor = _Drop.apply(x, mask, self.scale)  # type: ignore[no-untyped-call]
        return dropped

    @property
    def scale(self) -> float:
        """Factor of the elements that stay."""
        return 256 / (256 - self._dropped)

    def draw(self, x: Tensor) -> Tensor | None:
        """Draw a mask for `masked`, shaped like `x`; None where nothing is to be dropped."""
        if not self.training or self._dropped == 0:
            return None
        # The full range of int64: random_() alone leaves the sign bit, part of a byte, at zero.
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        byte = draws.view(torch.uint8)[: x.numel()].view(x.shape)
        # Into bytes: a comparison that gives bools is not vectorised.
        return torch.ge(byte, self._dropped, out=torch.empty_like(byte)).view(torch.int8).neg_()

    @override
    def extra_repr(self) -> str:
        """Describe it for `print(model)`."""
        return f"rate={self.rate}"


def bits(x: Tensor) -> Tensor:
    """View floats as integers of their width."""
    return x.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.itemsize])


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """Keep `x` where the int8 mask has all bits set, zero where it has none.

    On bits rather than by a product, which first makes a float of every byte of the mask.
    """
    return (bits(x) & mask).view(x.dtype)


class _Drop(torch.autograd.Function):
    """x masked and scaled; keeps the mask alone, a byte per element."""

    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return masked(x, mask).mul_(scale)

    @staticmethod
    @override
    def backward(ctx: Any, d_dropped: Tensor) -> tuple[Tensor | None, ...]:
        (mask,) = ctx.saved_tensors
        return masked(d_dropped, mask).mul_(ctx.scale), None, None
