"""Content table: vectors of items computed from text and images, in place of an item table.

Shape letters: B batch, L length, U distinct items, V items of the domain, D width.

A training step encodes each distinct item of its batch once, however often it occurs::

    batch_table = table.of(history.item_BL, negative_BK)    # item_U, vector_UD, with gradients
    hidden_BLD = backbone(history, batch_table)
    score = hidden_XD @ batch_table.vector_UD.T             # against the items of the batch
    positive_BLD = batch_table(target_BL)                   # any items of the batch, looked up

Ranking takes `table.weight_VD`, the vectors of all items, which are made once and kept.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from recxfer.data.content import ItemContent
from recxfer.foundation.files import Json
from recxfer.foundation.names import MASK, PAD, UNKNOWN
from recxfer.models.content.choice import make_image_encoder, make_text_encoder
from recxfer.models.content.config import ContentConfig, require_content
from recxfer.models.content.contract import stamp
from recxfer.models.content.modalities import FeatureCache, ImageModality, Modality, TextModality
from recxfer.models.items.contract import NUM_SPECIAL, ItemEncoder


class ContentTable(ItemEncoder):
    """Encode what items are; nothing in it is indexed by item.

    Its state is encoders, projections and `special_SD` (the vectors of mask and unknown). Content
    is attached, not stored: attached to another domain, the same table has that domain's items.
    An item of which nothing can be read has the vector of unknown items.
    """

    def __init__(self, config: ContentConfig, width: int, described: Json | None = None) -> None:
        """Build it, with encoders from scratch or with the weights that `config` names.

        Args:
            config: settings, their modality decided (`ContentConfig.resolved`).
            width: D.
            described: `described` of the table that a state to be loaded is of: encoders are
                rebuilt without the directories that they once came from, for `load_state_dict`.

        Raises:
            ConfigError: an encoder cannot be had, or has fewer layers than are to train.
        """
        super().__init__()
        if config.modality == "auto":
            raise ValueError("the modality is decided by content: see ContentConfig.resolved")
        self.config = config
        self.width = width
        self.sides = nn.ModuleDict()
        known = described or {}
        if config.reads_text:
            text = make_text_encoder(config, known.get("text"))
            text.train_layers(config.text_layers)
            self.sides["text"] = TextModality(text, config, width)
        if config.reads_images:
            image = make_image_encoder(config, known.get("image"))
            image.train_layers(config.image_layers)
            self.sides["image"] = ImageModality(image, config, width)
        self.special_SD = nn.Parameter(torch.empty(2, width))
        nn.init.trunc_normal_(self.special_SD, std=0.02, a=-0.04, b=0.04)
        self._attached: _Attached | None = None
        self._brings: dict[str, Tensor] | None = None
        """bool (V + 3) by modality: whether an item is read that way. None until it is known."""
        self._weight: tuple[Any, Tensor] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    @property
    def described(self) -> Json:
        """Facts to build it again, beside settings and state: JSON, for a checkpoint header."""
        return {side.kind: side.encoder.described for side in self._modalities()}

    def attach(self, content: ItemContent, cache: FeatureCache | None = None) -> None:
        """Take the items of a domain, in place of any other's.

        Texts are tokenised once, when the first vector is asked for: state may be loaded between.

        Args:
            content: what the items are.
            cache: keeps the features of frozen encoders between runs.

        Raises:
            DataError: no item has what the encoders read.
        """
        require_content(self.config, content)
        self._attached = _Attached(content, cache)
        self._weight, self._brings = None, None

    @property
    @override
    def num_items(self) -> int:
        """V, of the attached domain."""
        return self._content().content.num_items

    @property
    @override
    def weight_VD(self) -> Tensor:
        """Vectors of all items, as in `weight`."""
        return self.weight.narrow(0, 1, self.num_items)

    def kept(self, item_BL: Tensor) -> Tensor:
        """Look up vectors (..., D) of item indices of any shape in `weight`, without gradients."""
        weight_V3D = self.weight
        return F.embedding(item_BL % weight_V3D.shape[0], weight_V3D)

    @property
    def weight(self) -> Tensor:
        """Vectors of all indices, float32 (V + 3, D), as scoring sees them.

        Those below zero count from the end. Without dropout, gradients and autocast. Kept until a
        weight changes, training begins or other content is attached; in training mode not at all.
        """
        self._ready()
        device = self.special_SD.device
        state = (stamp(self), device)
        if self._weight is None or self._weight[0] != state:
            training = self.training
            self.eval()
            # What is kept serves all, whatever mode and precision the first to ask was in.
            full = torch.autocast(device.type, enabled=False)
            with torch.inference_mode(False), torch.no_grad(), full:
                item_V1 = torch.arange(self.num_items + 1, device=device)
                item_V3 = torch.cat([item_V1, item_V1.new_tensor([MASK, UNKNOWN])])
                weight_V3D = self.vectors(item_V3)
            self.train(training)
            if training:
                return weight_V3D
            self._weight = (state, weight_V3D)
        return self._weight[1]

    def vectors(self, item_U: Tensor) -> Tensor:
        """Vectors float32 (U, D) of exactly these indices, in any order, each encoded as it stands.

        Any mix of modalities may be asked for, and none: each encoder sees the items that bring
        what it reads, and its vectors return to their places. Of an item that brings both, the
        mean.

        Args:
            item_U: indices; repeated ones are encoded repeatedly.
        """
        brings = self._ready()
        total_UD = self.special_SD.new_zeros(item_U.numel(), self.width)
        count_U = torch.zeros(item_U.numel(), device=item_U.device)
        for side in self._modalities():
            at_M = brings[side.kind][item_U].nonzero().squeeze(1)
            if at_M.numel():
                vector_MD = side(item_U[at_M]).to(total_UD.dtype)
                total_UD = total_UD.index_add(0, at_M, vector_MD)
                count_U[at_M] += 1
        at_M = ((count_U == 0) & (item_U != PAD)).nonzero().squeeze(1)
        special_M = (item_U[at_M] != MASK).long()
        total_UD = total_UD.index_add(0, at_M, self.special_SD[special_M])
        return total_UD / count_U.clamp(min=1)[:, None]

    def of(self, *items: Tensor) -> "BatchTable":
        """Encode the distinct items of a batch, with gradients.

        Args:
            items: indices of any shape: histories, targets, negatives.
        """
        item_X = torch.cat([one.reshape(-1).long() for one in items]).unique()
        item_U = item_X[item_X > PAD]
        return BatchTable(item_U, self.vectors(item_U), self.special_SD)

    @override
    def forward(self, item_BL: Tensor) -> Tensor:
        """Look up vectors, encoding each distinct item once."""
        vector_BLD: Tensor = self.of(item_BL)(item_BL)
        return vector_BLD

    @override
    def train(self, mode: bool = True) -> "ContentTable":
        """As for any module; vectors kept for scoring are dropped when training begins."""
        if mode:
            self._weight = None
        super().train(mode)
        return self

    @override
    def special_vectors(self) -> Tensor:
        return self.special_SD

    @override
    def item_parameters(self) -> list[nn.Parameter]:
        """Return none; `special_SD` decays like the projections."""
        return []

    @override
    def grow(self, count: int) -> None:
        """Append items; they have the vector of unknown ones until their content is attached."""
        attached = self._content()
        self.attach(attached.content.grown(count), attached.cache)

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Weights of the encoders that train, by the settings `text_layers` and `image_layers`."""
        return [
            parameter
            for side in self._modalities()
            for parameter in side.encoder.parameters()
            if parameter.requires_grad
        ]

    def projection_parameters(self) -> list[nn.Parameter]:
        """Return the weights of its own: projections, and the vectors of mask and unknown."""
        projected = [p for side in self._modalities() for p in side.projection.parameters()]
        return [*projected, self.special_SD]

    def features(self, kind: str) -> Tensor:
        """Compute features of one encoder, `text` or `image`, without gradients: float32 (V, F).

        Item 1 first; zero where an item has no such content. Kept, and cached where `attach` was
        given a cache.
        """
        self._ready()
        side = self.sides[kind]
        assert isinstance(side, Modality)
        return side.features()

    def _modalities(self) -> list[Modality]:
        return list(self.sides.values())  # type: ignore[arg-type]  # a ModuleDict forgets types

    def _content(self) -> "_Attached":
        if self._attached is None:
            raise RuntimeError("no content is attached to this table")
        return self._attached

    def _ready(self) -> dict[str, Tensor]:
        """Say which items are read how, on the device of the weights; their inputs are in place."""
        if self._brings is None:
            attached = self._content()
            with torch.inference_mode(False):
                for side in self._modalities():
                    side.attach(attached.content, attached.cache)
            brings = {side.kind: side.readable_V1 for side in self._modalities()}
            if self.config.modality == "mixture":
                brings = _one_each(brings, attached.content)
            specials = torch.zeros(NUM_SPECIAL, dtype=torch.bool)
            self._brings = {kind: torch.cat([one, specials]) for kind, one in brings.items()}
        device = self.special_SD.device
        self._brings = {kind: one.to(device) for kind, one in self._brings.items()}
        return self._brings


class _Attached:
    """Content, shared by copies of a table: nobody writes to it, and pixels stay on the disk."""

    def __init__(self, content: ItemContent, cache: FeatureCache | None) -> None:
        self.content = content
        self.cache = cache

    def __deepcopy__(self, memo: object) -> "_Attached":
        return self


class BatchTable(nn.Module):
    """Look up vectors of the items of one batch, and of padding, mask and unknown."""

    def __init__(self, item_U: Tensor, vector_UD: Tensor, special_SD: Tensor) -> None:
        super().__init__()
        self.item_U = item_U
        """The items, distinct and ascending, no special row among them."""

        U, D = vector_UD.shape
        self._index_K = torch.cat([item_U.new_tensor([MASK, UNKNOWN, PAD]), item_U])
        padding_1D = vector_UD.new_zeros(1, D)
        self._vector_KD = torch.cat([special_SD.to(vector_UD.dtype), padding_1D, vector_UD])
        self.vector_UD = self._vector_KD.narrow(0, 3, U)
        """Their vectors."""

    def index(self, item_BL: Tensor) -> Tensor:
        """Places in `item_U`, of any shape; padding is -1, unknown -2 and mask -3."""
        item_BL = item_BL.long().contiguous()
        place_BL = torch.searchsorted(self._index_K, item_BL)
        found = self._index_K[place_BL.clamp(max=self._index_K.numel() - 1)] == item_BL
        torch._assert_async(found.all(), "an item is asked for that is not in this batch")
        return place_BL - 3

    @override
    def forward(self, item_BL: Tensor) -> Tensor:
        """Vectors (..., D) of indices of any shape.

        Raises:
            RuntimeError: one of them is not among the items of the batch.
        """
        return F.embedding(self.index(item_BL) + 3, self._vector_KD)


def _forget(table: ContentTable, _: object) -> None:
    """Weights came from elsewhere, and perhaps a tokeniser: content has to be taken anew."""
    table._weight, table._brings = None, None


def _one_each(readable: dict[str, Tensor], content: ItemContent) -> dict[str, Tensor]:
    """Of items that bring both, one, by a bit of a hash of the text."""
    both_V1 = readable["text"] & readable["image"]
    as_text_V1 = torch.zeros_like(both_V1)
    for item in both_V1.nonzero().squeeze(1).tolist():
        digest = hashlib.blake2b(content.text_V[item - 1].encode(), digest_size=1).digest()
        as_text_V1[item] = digest[0] & 1
    return {
        "text": readable["text"] & (~both_V1 | as_text_V1),
        "image": readable["image"] & (~both_V1 | ~as_text_V1),
    }
