"""PeterRec's model patches: small bottlenecks grafted onto a backbone's sublayers.

Yuan et al., Parameter-Efficient Transfer from Sequential Behaviors for User Modeling and
Recommendation (SIGIR 2020), section 3.3 and figure 3.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recxfer.models.backbone import Backbone
from recxfer.models.precision import product_dtype

Insertion = Literal["serial", "parallel"]


class Bottleneck(nn.Module):
    """Up(GELU(Down(x))), zero before the first step because Up starts at zero."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.trunc_normal_(self.down.weight, std=0.02, a=-0.04, b=0.04)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Position by position (a 1x1 convolution)."""
        mapped_BLD: Tensor = self.up(F.gelu(self.down(x_BLD)))
        return mapped_BLD

    def behind(self, x_BLD: Tensor) -> Tensor:
        """x + forward(x), keeping its result, but not x, for the way back."""
        dtype = product_dtype(x_BLD)
        x_ND = x_BLD.to(dtype).flatten(0, 1)
        weights = (self.down.weight, self.down.bias, self.up.weight, self.up.bias)
        patched_ND: Tensor = _PatchBehind.apply(  # type: ignore[no-untyped-call]
            x_ND, *(weight.to(dtype) for weight in weights)
        )
        return patched_ND.view_as(x_BLD)


class _PatchBehind(torch.autograd.Function):
    """z = x + Up GELU(Down x), with the gradient of Down from z instead of x.

    What follows keeps z anyway (a norm does), so the patch costs no activation of width D. With
    hidden = GELU(Down x) and a column of ones behind it, whose weight in Up is Up's bias:

        d Down = d_before.T x = d_before.T z - (d_before.T [hidden 1]) [Up bias].T

    where the product on the right is as small as the patch.
    """

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, down_KD: Tensor, down_K: Tensor, up_DK: Tensor, up_D: Tensor
    ) -> Tensor:
        before_NK = torch.addmm(down_K, x_ND, down_KD.T)
        up_DK1 = torch.cat([up_DK, up_D[:, None]], dim=1)
        z_ND = torch.addmm(x_ND, _with_ones(F.gelu(before_NK)), up_DK1.T)
        ctx.save_for_backward(z_ND, before_NK, down_KD, up_DK1)
        return z_ND

    @staticmethod
    def backward(ctx: Any, d_z_ND: Tensor) -> tuple[Tensor | None, ...]:
        z_ND, before_NK, down_KD, up_DK1 = ctx.saved_tensors
        hidden_NK1 = _with_ones(F.gelu(before_NK))
        d_before_NK = torch.ops.aten.gelu_backward(d_z_ND @ up_DK1[:, :-1], before_NK)
        d_up_DK1 = d_z_ND.T @ hidden_NK1
        small_KK1 = d_before_NK.T @ hidden_NK1
        d_down_KD = d_before_NK.T @ z_ND - small_KK1 @ up_DK1.T
        d_x_ND = torch.addmm(d_z_ND, d_before_NK, down_KD) if ctx.needs_input_grad[0] else None
        return d_x_ND, d_down_KD, small_KK1[:, -1], d_up_DK1[:, :-1], d_up_DK1[:, -1]


def _with_ones(hidden_NK: Tensor) -> Tensor:
    return F.pad(hidden_NK, (0, 1), value=1.0)


class PatchedSublayer(nn.Module):
    """A pretrained sublayer S with a patch MP, standing where S stood.

    `serial`: S(x) + MP(S(x)), so the patch has an identity skip of its own. `parallel`:
    S(x) + MP(x), without another skip (the release keeps one: its step 0 is another network).
    """

    def __init__(self, sublayer: nn.Module, patch: Bottleneck, insertion: Insertion) -> None:
        super().__init__()
        self.sublayer = sublayer
        self.patch = patch
        self.insertion = insertion

    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """See `Block` on sublayers."""
        mapped_BLD: Tensor = self.sublayer(hidden_BLD, real_BL)
        if self.insertion == "serial":
            return self.patch.behind(mapped_BLD)
        beside_BLD: Tensor = self.patch(hidden_BLD)
        return mapped_BLD + beside_BLD


def graft(
    backbone: Backbone, bottleneck: int | None, insertion: Insertion, per_block: int
) -> Sequence[Bottleneck]:
    """Graft patches onto every block, in place.

    Args:
        backbone: what to patch.
        bottleneck: width of a patch; None is an eighth of the backbone's width, at least 1.
        insertion: behind a sublayer or beside it.
        per_block: 2 for both sublayers, 1 for the second alone.

    Returns:
        The patches, lowest first.
    """
    bottleneck = bottleneck or max(1, backbone.width // 8)
    patches = []
    for block in backbone.residual_blocks:
        for name in ("sublayer1", "sublayer2")[-per_block:]:
            patch = Bottleneck(backbone.width, bottleneck)
            setattr(block, name, PatchedSublayer(getattr(block, name), patch, insertion))
            patches.append(patch)
    return patches


def grafted(backbone: Backbone) -> list[Bottleneck]:
    """The patches that a backbone bears, lowest first."""
    return [module.patch for module in backbone.modules() if isinstance(module, PatchedSublayer)]
