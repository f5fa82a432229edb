"""PeterRec's model patches: small bottlenecks grafted onto a backbone's sublayers.

Yuan et al., Parameter-Efficient Transfer from Sequential Behaviors for User Modeling and
Recommendation (SIGIR 2020), section 3.3 and figure 3.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from recxfer.foundation.errors import ConfigError
from recxfer.models.backbones.contract import Backbone
from recxfer.models.layers.precision import product_dtype

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

    @override
    def forward(self, x_BLD: Tensor) -> Tensor:
        """Position by position (a 1x1 convolution)."""
        mapped_BLD: Tensor = self.up(F.gelu(self.down(x_BLD)))
        return mapped_BLD

    def behind(self, x_BLD: Tensor) -> Tensor:
        """Compute x + forward(x), over x where its memory allows: nothing else may read it."""
        patched_BLD: Tensor = _PatchBehind.apply(  # type: ignore[no-untyped-call]
            x_BLD.to(product_dtype(x_BLD)),
            self.down.weight,
            self.down.bias,
            self.up.weight,
            self.up.bias,
        )
        return patched_BLD


class _PatchBehind(torch.autograd.Function):
    """z = x + Up GELU(Down x), with the gradient of Down from z instead of x.

    What follows keeps z anyway (a norm does), so the patch costs no activation of width D. With
    hidden = GELU(Down x) and a column of ones behind it, whose weight in Up is Up's bias:

        d Down = d_before.T x = d_before.T z - (d_before.T [hidden 1]) [Up bias].T

    where the product on the right is as small as the patch. Products run in the dtype of x; weights
    come and their gradients go in their own, so that autograd sees no casts.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any, x_BLD: Tensor, down_KD: Tensor, down_K: Tensor, up_DK: Tensor, up_D: Tensor
    ) -> Tensor:
        # Detached, x may be written to though it is a view (of a convolution's output), and its
        # version counter still gives away whoever kept it.
        # Whose rows do not lie one behind the other is copied.
        x_ND = x_BLD.detach().reshape(-1, x_BLD.shape[-1])
        dtype, z_BLD = x_ND.dtype, x_ND.view(x_BLD.shape)
        down_KD = down_KD.to(dtype)
        up_K1D = torch.cat([up_DK.T, up_D[None]]).to(dtype)
        before_NK = torch.addmm(down_K.to(dtype), x_ND, down_KD.T)
        hidden_NK1 = F.pad(F.gelu(before_NK), (0, 1), value=1.0)
        x_ND.addmm_(hidden_NK1, up_K1D)
        ctx.save_for_backward(z_BLD, before_NK, hidden_NK1, down_KD, up_K1D)
        return z_BLD

    @staticmethod
    @override
    def backward(ctx: Any, d_z_BLD: Tensor) -> tuple[Tensor | None, ...]:
        z_BLD, before_NK, hidden_NK1, down_KD, up_K1D = ctx.saved_tensors
        z_ND, d_z_ND = z_BLD.flatten(0, 1), d_z_BLD.flatten(0, 1)
        d_before_NK = torch.ops.aten.gelu_backward(d_z_ND @ up_K1D[:-1].T, before_NK)
        d_x_BLD = None
        if ctx.needs_input_grad[0]:
            d_x_BLD = torch.addmm(d_z_ND, d_before_NK, down_KD).view_as(d_z_BLD)
        d_up_K1D = _sum_of_outer(hidden_NK1, d_z_ND)
        small_KK1 = _sum_of_outer(d_before_NK, hidden_NK1)
        d_down_KD = _sum_of_outer(d_before_NK, z_ND) - small_KK1 @ up_K1D.to(small_KK1.dtype)
        return d_x_BLD, d_down_KD, small_KK1[:, -1], d_up_K1D[:-1].T, d_up_K1D[-1]


def _sum_of_outer(a_NK: Tensor, b_ND: Tensor) -> Tensor:
    """Compute a.T b for a tall and thin `a`.

    In parts that threads share: as one product of so few rows it would run on one of them.
    """
    parts = max(1, min(8, a_NK.shape[0] // 64))
    if a_NK.shape[0] % parts:
        return a_NK.T @ b_ND
    a_PNK, b_PND = a_NK.unflatten(0, (parts, -1)), b_ND.unflatten(0, (parts, -1))
    part_PKD = a_PNK.transpose(1, 2) @ b_PND
    total_KD: Tensor = part_PKD.sum(0, dtype=torch.promote_types(part_PKD.dtype, torch.float32))
    return total_KD


class PatchedSublayer(nn.Module):
    """A pretrained sublayer S with a patch MP, in the place of S.

    `serial`: S(x) + MP(S(x)), so the patch has an identity skip of its own. `parallel`:
    S(x) + MP(x), without another skip (the release keeps one: its step 0 is another network).
    """

    def __init__(self, sublayer: nn.Module, patch: Bottleneck, insertion: Insertion) -> None:
        super().__init__()
        self.sublayer = sublayer
        self.patch = patch
        self.insertion = insertion

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """Map hidden states and add the patch; same shape."""
        mapped_BLD: Tensor = self.sublayer(hidden_BLD, real_BL)
        if self.insertion == "serial":
            return self.patch.behind(mapped_BLD)
        beside_BLD: Tensor = self.patch(hidden_BLD)
        return mapped_BLD + beside_BLD


def graft(
    backbone: Backbone, bottleneck: int | None, insertion: Insertion, per_block: int | None
) -> Sequence[Bottleneck]:
    """Graft patches onto every block, in place.

    Args:
        backbone: what to patch.
        bottleneck: width of a patch; None is an eighth of the backbone's width, at least 1.
        insertion: behind a sublayer or beside it.
        per_block: how many sublayers of a block, counted from its end; a block may have fewer.
            None: all.

    Returns:
        The patches, lowest first.

    Raises:
        ConfigError: a patch would be wider than what it stands on.
    """
    bottleneck = bottleneck or max(1, backbone.width // 8)
    if bottleneck > backbone.width:
        raise ConfigError(
            f"bottleneck is {bottleneck:,}, but the base is {backbone.width:,} wide",
            hint=f"set it to {backbone.width:,} or less; an eighth of that is usual",
        )
    patches = []
    for block in backbone.residual_blocks:
        for name in block.sublayers[-(per_block or len(block.sublayers)) :]:
            patch = Bottleneck(backbone.width, bottleneck)
            setattr(block, name, PatchedSublayer(getattr(block, name), patch, insertion))
            patches.append(patch)
    return patches


def grafted(backbone: Backbone) -> list[Bottleneck]:
    """List the patches of a backbone, lowest first."""
    return [module.patch for module in backbone.modules() if isinstance(module, PatchedSublayer)]
