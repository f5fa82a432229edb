"""One modality of a content table: an encoder, its projection, and the items it can read.

Shape letters: V items of the domain, M items at hand, T tokens, F features, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from recxfer.data.content import ItemContent
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.contract import Encoder, ImageEncoder, TextEncoder, stamp
from recxfer.models.content.tokens import token_table

FeatureCache = Callable[[str, Callable[[], Tensor]], Tensor]
"""(key, compute) to features float32 (V, F): kept ones where there are any, else those that
`compute` makes. The key names the encoder with its weights, and the content."""


class Projection(nn.Module):
    """Features to the model's width: a norm, so that all encoders start alike, then linear.

    At first vectors have length 1. Six times shorter, as those of a fresh item table, they cost
    NDCG@10 where users are few, and mostly elsewhere: docs/results/transrec. The release has the
    linear layer alone.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.linear = nn.Linear(features, width)
        nn.init.normal_(self.linear.weight, std=(features * width) ** -0.5)
        nn.init.zeros_(self.linear.bias)

    @override
    def forward(self, feature_MF: Tensor) -> Tensor:
        """Map (M, F) to (M, D)."""
        vector_MD: Tensor = self.linear(self.norm(feature_MF))
        return vector_MD


class Modality(nn.Module, ABC):
    """The common part of texts and pictures. The inputs of items are no part of the state."""

    kind: str
    """text or image."""

    def __init__(self, encoder: Encoder, config: ContentConfig, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection: nn.Module = Projection(encoder.features, width)
        self.encode_batch = config.encode_batch
        self.checkpointing = config.gradient_checkpointing
        self._cache: FeatureCache | None = None
        self._kept: tuple[Any, Tensor] | None = None
        """Features (V, F) of a frozen encoder, and the state they were made in."""

    def attach(self, content: ItemContent, cache: FeatureCache | None) -> None:
        """Take the inputs of a domain's items, in place of those of another."""
        self._kept, self._cache, self._fingerprint = None, cache, content.fingerprint
        self.readable_V1 = self._take(content)
        """bool (V + 1), on the CPU: whether there is anything to read of an item."""

    @abstractmethod
    def _take(self, content: ItemContent) -> Tensor:
        """Keep what the encoder reads; returns which items it can read."""

    @abstractmethod
    def _inputs(self, item_M: Tensor) -> tuple[Tensor, ...]:
        """Collect the encoder's inputs of these items."""

    @abstractmethod
    def _order(self, item_M: Tensor) -> Tensor | None:
        """Order items so that mini-batches are cheaper; None where no order does."""

    @abstractmethod
    def _reading(self) -> str:
        """Name what decides features beside weights and content, for their key."""

    @property
    def _device(self) -> torch.device:
        return next(self.projection.parameters()).device

    @override
    def forward(self, item_M: Tensor) -> Tensor:
        """Vectors (M, D) of items that can be read."""
        feature_MF = self._of_frozen(item_M) if self.encoder.is_frozen else self._encode(item_M)
        vector_MD: Tensor = self.projection(feature_MF)
        return vector_MD

    def features(self) -> Tensor:
        """Features of all items, float32 (V, F), item 1 first; zero where one cannot be read.

        They carry no gradient. Made once and kept while weights and content stay the same; not kept
        while the encoder trains. Always in float32, whatever autocast says: what is cached must not
        depend on the precision.
        """
        device = self._device
        state = (stamp(self.encoder), device)
        if self._kept is None or self._kept[0] != state:
            made = self._make_features
            if self._cache is not None:
                key = f"{self._reading()}-{self.encoder.digest()[:16]}-{self._fingerprint[:16]}"
                feature_VF = self._cache(key, made)
            else:
                feature_VF = made()
            with torch.inference_mode(False):
                feature_VF = feature_VF.to(device, copy=True)
            if self.training and not self.encoder.is_frozen:
                return feature_VF
            self._kept = (state, feature_VF)
        return self._kept[1]

    @override
    def train(self, mode: bool = True) -> "Modality":
        """As for any module; kept features of an encoder that is to train are dropped."""
        if mode and not self.encoder.is_frozen:
            self._kept = None
        super().train(mode)
        return self

    @torch.inference_mode(False)
    @torch.no_grad()
    def _make_features(self) -> Tensor:
        device = self._device
        item_M = self.readable_V1.nonzero().squeeze(1).to(device)
        feature_VF = torch.zeros(self.readable_V1.numel() - 1, self.encoder.features, device=device)
        training = self.encoder.training
        self.encoder.eval()
        with torch.autocast(device.type, enabled=False):
            if item_M.numel():
                feature_VF[item_M - 1] = self._encode(item_M).float()
        self.encoder.train(training)
        return feature_VF.cpu()

    def _of_frozen(self, item_M: Tensor) -> Tensor:
        return self.features()[item_M - 1]

    def _encode(self, item_M: Tensor) -> Tensor:
        """Features (M, F), `encode_batch` items at a time."""
        if item_M.numel() <= self.encode_batch:
            return self._encode_at_once(item_M)
        order_M = self._order(item_M)
        ordered_M = item_M if order_M is None else item_M[order_M]
        chunks = ordered_M.split(self.encode_batch)
        feature_MF = torch.cat([self._encode_at_once(chunk) for chunk in chunks])
        return feature_MF if order_M is None else feature_MF[order_M.argsort()]

    def _encode_at_once(self, item_M: Tensor) -> Tensor:
        inputs = self._inputs(item_M)
        if self.checkpointing and torch.is_grad_enabled():
            again: Tensor = checkpoint(self.encoder, *inputs, use_reentrant=False)
            return again
        feature_MF: Tensor = self.encoder(*inputs)
        return feature_MF


class TextModality(Modality):
    """Items as texts; their tokens are kept on the device of the weights."""

    kind = "text"
    encoder: TextEncoder

    def __init__(self, encoder: TextEncoder, config: ContentConfig, width: int) -> None:
        super().__init__(encoder, config, width)
        self.max_tokens = config.max_tokens
        self.token_VT: Tensor
        self.length_V: Tensor
        self.register_buffer("token_VT", torch.zeros(0, 1, dtype=torch.int32), persistent=False)
        self.register_buffer("length_V", torch.zeros(0, dtype=torch.int64), persistent=False)

    @override
    def _take(self, content: ItemContent) -> Tensor:
        token_VT, length_V = token_table(content.text_V, self.encoder.tokenise, self.max_tokens)
        device = self._device
        self.token_VT, self.length_V = token_VT.to(device), length_V.to(device)
        readable_V1 = content.has_text_V1
        readable_V1[1:] &= length_V > 0
        return readable_V1

    @override
    def _inputs(self, item_M: Tensor) -> tuple[Tensor, ...]:
        length_M = self.length_V[item_M - 1]
        return self.token_VT[item_M - 1, : int(length_M.max())], length_M

    @override
    def _order(self, item_M: Tensor) -> Tensor | None:
        # Texts of like length together: less padding.
        return self.length_V[item_M - 1].argsort(stable=True)

    @override
    def _reading(self) -> str:
        return f"text{self.max_tokens}"


class ImageModality(Modality):
    """Items as pictures; pixels stay on the disk until a batch needs them."""

    kind = "image"
    encoder: ImageEncoder

    def __init__(self, encoder: ImageEncoder, config: ContentConfig, width: int) -> None:
        super().__init__(encoder, config, width)
        self._pictures: _Pictures | None = None

    @override
    def _take(self, content: ItemContent) -> Tensor:
        self._pictures = _Pictures(content.pixels, content.image_row_V1)
        return content.has_image_V1

    @override
    def _inputs(self, item_M: Tensor) -> tuple[Tensor, ...]:
        assert self._pictures is not None
        return (self._pictures.read(item_M.cpu()).to(item_M.device),)

    @override
    def _order(self, item_M: Tensor) -> Tensor | None:
        return None

    @override
    def _reading(self) -> str:
        return "image"


class _Pictures:
    """The pixels of a domain, read from where they lie for the items at hand only."""

    def __init__(self, pixels: np.ndarray | None, row_V1: Tensor) -> None:
        self._pixels = pixels
        self._row_V1 = row_V1

    def __deepcopy__(self, memo: object) -> "_Pictures":
        """Share the pixels with a copy: nobody writes to them, and a memmap would be read."""
        return self

    def read(self, item_M: Tensor) -> Tensor:
        """uint8 (M, side, side, 3)."""
        assert self._pixels is not None
        return torch.from_numpy(np.ascontiguousarray(self._pixels[self._row_V1[item_M].numpy()]))
