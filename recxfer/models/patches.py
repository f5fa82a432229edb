"""PeterRec's model patches: small bottlenecks grafted onto a backbone's sublayers.

Yuan et al., Parameter-Efficient Transfer from Sequential Behaviors for User Modeling and
Recommendation (SIGIR 2020), section 3.3 and figure 3.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from recxfer.models.backbone import Backbone

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
        patched_BLD: Tensor = self.patch(mapped_BLD if self.insertion == "serial" else hidden_BLD)
        return mapped_BLD + patched_BLD


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
