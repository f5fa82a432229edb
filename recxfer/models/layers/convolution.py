"""Dilated convolutions over a history, cheap to pass gradients through once they are frozen."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from recxfer.models.layers.precision import product_dtype

KERNEL = 3


class DilatedConv(nn.Module):
    """A convolution of width 3 over time, causal (left) or centred, zero at padding.

    The weight is kept as (D, D, 1, 3) and applied as a two-dimensional convolution over a
    channels-last view, which is what (B, L, D) is: no transposed copy is made.
    """

    def __init__(self, width: int, dilation: int, *, causal: bool) -> None:
        super().__init__()
        self.dilation = dilation
        self.causal = causal
        self.weight = nn.Parameter(torch.empty(width, width, 1, KERNEL))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.trunc_normal_(self.weight, std=0.02, a=-0.04, b=0.04)

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """Convolve along L; positions outside the history count as zero."""
        reach = (KERNEL - 1) * self.dilation
        left = reach if self.causal else reach // 2
        dtype = product_dtype(hidden_BLD)
        if not self.causal:
            # To the right of a history lies padding, whose hidden state is not zero.
            hidden_BLD = hidden_BLD.to(dtype) * real_BL[..., None].to(dtype)
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        if weight.requires_grad:
            padded_BLD = F.pad(hidden_BLD.to(dtype), (0, 0, left, reach - left))
            return _convolve(padded_BLD, weight, bias, self.dilation)
        mapped_BLD: Tensor = _FrozenConv.apply(  # type: ignore[no-untyped-call]
            hidden_BLD, weight, bias, self.dilation, left
        )
        return mapped_BLD


class _FrozenConv(torch.autograd.Function):
    """A convolution that keeps nothing but its kernel: only that is needed to go back through it.

    Torch keeps the padded input for a gradient of the kernel, asked for or not.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any, hidden_BLD: Tensor, weight: Tensor, bias: Tensor, dilation: int, left: int
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.dilation, ctx.left = dilation, left
        right = (KERNEL - 1) * dilation - left
        padded_BLD = _padded(hidden_BLD, weight.dtype, left, right)
        return _convolve(padded_BLD, weight, bias, dilation)

    @staticmethod
    @override
    def backward(ctx: Any, d_mapped_BLD: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        learn_hidden, _, learn_bias, *_ = ctx.needs_input_grad
        d_hidden_BLD = None
        if learn_hidden:
            # The way back is a convolution too: kernel reversed and transposed, padding mirrored.
            right = (KERNEL - 1) * ctx.dilation - ctx.left
            padded_BLD = _padded(d_mapped_BLD, weight.dtype, right, ctx.left)
            d_hidden_BLD = _convolve(padded_BLD, weight.transpose(0, 1).flip(3), None, ctx.dilation)
        d_bias = d_mapped_BLD.sum((0, 1)) if learn_bias else None
        return d_hidden_BLD, None, d_bias, None, None


def _padded(hidden_BLD: Tensor, dtype: torch.dtype, left: int, right: int) -> Tensor:
    """Zeros around L; the cast, which the product needs anyway, is done by the same copy."""
    B, L, D = hidden_BLD.shape
    padded_BLD = hidden_BLD.new_empty(B, left + L + right, D, dtype=dtype)
    padded_BLD[:, :left] = 0
    padded_BLD[:, left : left + L] = hidden_BLD
    padded_BLD[:, left + L :] = 0
    return padded_BLD


def _convolve(padded_BLD: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """Convolve along L, which becomes shorter by what the kernel reaches over."""
    image_BD1L = padded_BLD.transpose(1, 2).unsqueeze(2)
    mapped_BD1L = F.conv2d(image_BD1L, weight, bias, dilation=(1, dilation))
    return mapped_BD1L.squeeze(2).transpose(1, 2)
