"""Build the encoder that settings name, or that a checkpoint describes."""

from pathlib import Path

from recxfer.foundation.files import Json
from recxfer.models.content import pretrained
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.contract import ImageEncoder, TextEncoder
from recxfer.models.content.image import SmallCnn, SmallViT
from recxfer.models.content.text import SmallText


def make_text_encoder(config: ContentConfig, described: Json | None = None) -> TextEncoder:
    """Build the text encoder that settings name, or that a checkpoint describes, unloaded."""
    if described is not None and described["kind"] == "huggingface":
        return pretrained.HuggingFaceText.rebuilt(described)
    if described is not None and described["kind"] == "static":
        return pretrained.StaticText.rebuilt(described)
    if described is not None or config.text == "small":
        return SmallText(config)
    if config.text == "minilm":
        return pretrained.minilm()
    if config.text == "wordllama":
        return pretrained.StaticText.wordllama()
    return pretrained.HuggingFaceText.opened(Path(config.text))


def make_image_encoder(config: ContentConfig, described: Json | None = None) -> ImageEncoder:
    """Build the image encoder that settings name, or that a checkpoint describes, unloaded."""
    if described is not None and described["kind"] == "huggingface":
        return pretrained.HuggingFaceImage.rebuilt(described)
    if config.image == "vit":
        return SmallViT(config)
    if described is not None or config.image == "cnn":
        return SmallCnn(config)
    return pretrained.HuggingFaceImage.opened(Path(config.image))
