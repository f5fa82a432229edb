"""Encoders by the names that settings use."""

from collections.abc import Mapping
from typing import Any

from recxfer.models.content.config import ContentConfig
from recxfer.models.content.encoder import ImageEncoder, TextEncoder
from recxfer.models.content.image import SmallCnn, SmallViT
from recxfer.models.content.text import SmallText


def make_text_encoder(
    config: ContentConfig, described: Mapping[str, Any] | None = None
) -> TextEncoder:
    """The text encoder that settings name, or the one that a checkpoint describes, unloaded."""
    return SmallText(config)


def make_image_encoder(
    config: ContentConfig, described: Mapping[str, Any] | None = None
) -> ImageEncoder:
    """The image encoder that settings name, or the one that a checkpoint describes, unloaded."""
    return SmallViT(config) if config.image == "vit" else SmallCnn(config)
