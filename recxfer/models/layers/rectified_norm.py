"""Layer norm, ReLU and dropout in one, keeping less for the way back than one after the other."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from recxfer.models.layers.dropout import Dropout, bits, masked


def rectified_norm(x: Tensor, norm: nn.LayerNorm, dropout: Dropout | None = None) -> Tensor:
    """dropout(relu(norm(x))), all in the dtype of `x` on a CPU."""
    if x.device.type != "cpu":
        rectified = F.relu(norm(x))
        return rectified if dropout is None else dropout(rectified)
    mask = None if dropout is None else dropout.draw(x)
    scale = 1.0 if dropout is None or mask is None else dropout.scale
    result: Tensor = _RectifiedNorm.apply(  # type: ignore[no-untyped-call]
        x, norm.weight, norm.bias, norm.eps, mask, scale
    )
    return result


class _RectifiedNorm(torch.autograd.Function):
    """Beside x, keeps a byte per element: whether ReLU and dropout let it through.

    Torch keeps the output of ReLU (two or four bytes) and the mask of dropout. The scale of dropout
    goes into the norm's weight and bias, since relu(c y) = c relu(y): it costs no pass.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any,
        x: Tensor,
        weight_D: Tensor,
        bias_D: Tensor,
        eps: float,
        mask: Tensor | None,
        scale: float,
    ) -> Tensor:
        weight_D, bias_D = weight_D * scale, bias_D * scale
        normed, mean, rstd = torch.native_layer_norm(x, weight_D.shape, weight_D, bias_D, eps)
        result = normed.relu_() if mask is None else masked(normed.relu_(), mask)
        if any(ctx.needs_input_grad):
            # On bits, and into bytes: a comparison of floats, or into bools, is many times slower.
            passed = torch.empty_like(result, dtype=torch.uint8)
            passed = torch.ne(bits(result), 0, out=passed).view(torch.int8).neg_()
            ctx.save_for_backward(x, mean, rstd, weight_D, bias_D, passed)
            ctx.scale = scale
        return result

    @staticmethod
    @override
    def backward(ctx: Any, d_result: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, weight_D, bias_D, passed = ctx.saved_tensors
        d_x, d_weight_D, d_bias_D = torch.ops.aten.native_layer_norm_backward(
            masked(d_result, passed),
            x,
            weight_D.shape,
            mean,
            rstd,
            weight_D,
            bias_D,
            ctx.needs_input_grad[:3],
        )
        for d_scaled_D in (d_weight_D, d_bias_D):
            if d_scaled_D is not None:
                d_scaled_D.mul_(ctx.scale)
        return d_x, d_weight_D, d_bias_D, None, None, None
