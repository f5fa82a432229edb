"""NextItNet: residual blocks of dilated convolutions over the history.

Yuan et al., A Simple Convolutional Generative Network for Next Item Recommendation (WSDM 2019),
section 3; block forms as in the releases of PeterRec (post-norm) and Conure (pre-norm).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from recxfer.models.backbones.contract import Backbone, BackboneConfig, Block
from recxfer.models.layers.convolution import KERNEL, DilatedConv
from recxfer.models.layers.dropout import Dropout
from recxfer.models.layers.rectified_norm import rectified_norm


class NextItNetConfig(BackboneConfig):
    """Settings of the `nextitnet` backbone."""

    dilations: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 4, 1, 4), min_length=1)
    """Dilation of each block's first convolution; the second one's is twice as large."""

    norm: Literal["post", "pre"] = "post"
    """`post`: convolution, norm, ReLU (PeterRec, UAF). `pre`: norm, ReLU, convolution (Conure)."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout on the embedded history and on each block's update; the papers have none."""


class ConvBlock(Block):
    """Two dilated convolutions with layer norms and a residual connection."""

    sublayers = ("sublayer1", "sublayer2")
    norms = ("norm1", "norm2")
    kernels = ("sublayer1.weight", "sublayer2.weight")
    biases = ("sublayer1.bias", "sublayer2.bias", "norm1.bias", "norm2.bias")

    def __init__(self, config: NextItNetConfig, dilation: int, *, causal: bool) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.sublayer1 = DilatedConv(config.width, dilation, causal=causal)
        self.sublayer2 = DilatedConv(config.width, 2 * dilation, causal=causal)
        self.norm1 = nn.LayerNorm(config.width, eps=1e-8)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-8)
        self.dropout = Dropout(config.dropout)

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        if self.pre_norm:
            update_BLD = self.sublayer1(rectified_norm(hidden_BLD, self.norm1), real_BL)
            update_BLD = self.sublayer2(rectified_norm(update_BLD, self.norm2), real_BL)
            update_BLD = self.dropout(update_BLD)
        else:
            update_BLD = rectified_norm(self.sublayer1(hidden_BLD, real_BL), self.norm1)
            update_BLD = self.sublayer2(update_BLD, real_BL)
            update_BLD = rectified_norm(update_BLD, self.norm2, self.dropout)
        result_BLD: Tensor = hidden_BLD + update_BLD
        return result_BLD


class NextItNet(Backbone):
    """Dilated residual convolutions; causal, or centred for cloze pretraining."""

    name: ClassVar[str] = "nextitnet"
    config_type: ClassVar[type[BackboneConfig]] = NextItNetConfig
    config: NextItNetConfig

    def __init__(self, config: NextItNetConfig, num_items: int, *, causal: bool) -> None:
        super().__init__(config, num_items, causal=causal)
        self.draw_items()
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            ConvBlock(config, dilation, causal=causal) for dilation in config.dilations
        )

    @property
    def receptive_field(self) -> int:
        """Positions that the last hidden state can see."""
        return 1 + (KERNEL - 1) * sum(3 * dilation for dilation in self.config.dilations)

    @override
    def enter(self, embedded_BLD: Tensor) -> Tensor:
        hidden_BLD: Tensor = self.dropout(embedded_BLD)
        return hidden_BLD
