"""Small image encoders, from scratch.

Shape letters: U pictures, H height, W width, C channels, P patches, F features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from recxfer.models.backbones.sasrec import SASRecConfig, TransformerBlock
from recxfer.models.content.config import GROUPS, ContentConfig
from recxfer.models.content.contract import ImageEncoder
from recxfer.models.content.text import initialise_linear
from recxfer.models.layers.dropout import Dropout


def as_input(pixel_UHWC: Tensor, side: int, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (U, H, W, 3) to float32 (U, 3, side, side), normalised by channel.

    Args:
        pixel_UHWC: pixels.
        side: what they are scaled to, where they have another size.
        mean: (3), of pixels from 0 to 1.
        std: (3), likewise.
    """
    # Not channels-last, as pixels come: on a CPU torch's group normalisation is many times slower
    # there, and (torch 2.13) its way back crashes where the layers below are frozen.
    image_UCHW = pixel_UHWC.permute(0, 3, 1, 2).contiguous().to(mean.dtype)
    if image_UCHW.shape[2:] != (side, side):
        image_UCHW = F.interpolate(
            image_UCHW, (side, side), mode="bilinear", antialias=True, align_corners=False
        )
    return image_UCHW.mul(1 / 255).sub(mean[:, None, None]).div(std[:, None, None])


class ResidualStage(nn.Module):
    """Two convolutions of width 3, each behind a group normalisation, over a shortcut.

    Group and not batch normalisation (Wu and He 2018): the vector of an item then depends neither
    on the other items of a mini-batch nor on whether the model trains.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(GROUPS, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        plain = stride == 1 and channels_in == channels
        self.shortcut = None if plain else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    @override
    def forward(self, image_UCHW: Tensor) -> Tensor:
        """Map (U, C, H, W) to (U, C', H', W')."""
        activated_UCHW = F.relu(self.norm1(image_UCHW))
        kept_UCHW = image_UCHW if self.shortcut is None else self.shortcut(activated_UCHW)
        hidden_UCHW = F.relu(self.norm2(self.conv1(activated_UCHW)))
        mapped_UCHW: Tensor = kept_UCHW + self.conv2(hidden_UCHW)
        return mapped_UCHW


class _Scaled(ImageEncoder):
    """Pictures at the side of the settings, pixels from -1 to 1."""

    middle: Tensor

    def __init__(self, config: ContentConfig) -> None:
        super().__init__()
        self.side = config.image_side
        self.register_buffer("middle", torch.full((3,), 0.5), persistent=False)

    def _input(self, pixel_UHWC: Tensor) -> Tensor:
        return as_input(pixel_UHWC, self.side, self.middle, self.middle)


class SmallCnn(_Scaled):
    """A residual network in the manner of ResNet-18 with one pre-activation block per stage."""

    def __init__(self, config: ContentConfig) -> None:
        super().__init__(config)
        self.features = config.image_width
        channels = [config.image_width >> n for n in reversed(range(config.image_depth))]
        self.stem = nn.Conv2d(3, channels[0], 3, stride=2, padding=1, bias=False)
        self.stages = nn.ModuleList(
            ResidualStage(before, after, stride=1 if number == 0 else 2)
            for number, (before, after) in enumerate(
                zip([channels[0], *channels], channels, strict=False)
            )
        )
        self.norm = nn.GroupNorm(GROUPS, channels[-1])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    @override
    def layers(self) -> Sequence[nn.Module]:
        """The stages."""
        return list(self.stages)

    @override
    def forward(self, pixel_UHWC: Tensor) -> Tensor:
        image_UCHW = self.stem(self._input(pixel_UHWC))
        for stage in self.stages:
            image_UCHW = stage(image_UCHW)
        feature_UF: Tensor = F.relu(self.norm(image_UCHW)).mean((2, 3))
        return feature_UF


class SmallViT(_Scaled):
    """Square patches as tokens, learned positions, pre-norm Transformer layers, the mean."""

    def __init__(self, config: ContentConfig) -> None:
        super().__init__(config)
        width = self.features = config.image_width
        self.patch = config.patch
        patches = (config.image_side // config.patch) ** 2
        self.patches = nn.Linear(3 * config.patch**2, width)
        self.position_PF = nn.Parameter(torch.empty(patches, width))
        self.dropout = Dropout(config.encoder_dropout)
        block = SASRecConfig(
            width=width, num_heads=config.image_heads, dropout=config.encoder_dropout
        )
        self.blocks = nn.ModuleList(
            TransformerBlock(block, causal=False) for _ in range(config.image_depth)
        )
        self.norm = nn.LayerNorm(width)
        initialise_linear(self)
        nn.init.normal_(self.position_PF, std=0.02)

    @property
    @override
    def layers(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    @override
    def forward(self, pixel_UHWC: Tensor) -> Tensor:
        patch_UXP = F.unfold(self._input(pixel_UHWC), self.patch, stride=self.patch)
        hidden_UPF = self.dropout(self.patches(patch_UXP.transpose(1, 2)) + self.position_PF)
        real_UP = torch.ones(hidden_UPF.shape[:2], dtype=torch.bool, device=hidden_UPF.device)
        for block in self.blocks:
            hidden_UPF = block(hidden_UPF, real_UP)
        feature_UF: Tensor = self.norm(hidden_UPF).mean(1)
        return feature_UF
