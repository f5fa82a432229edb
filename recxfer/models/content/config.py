"""Settings of the encoders that make item vectors from text and images."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from recxfer.data.content import ItemContent
from recxfer.foundation.config import Config
from recxfer.foundation.errors import DataError

Modality = Literal["auto", "text", "image", "mixture", "both"]
"""What an item brings. `text` and `image`: that alone. `both`: all that it has; of two vectors the
mean. `mixture`: an item that has both brings one of them, by a hash of its text, so that it is the
same one in every run and every dataset. `auto`: `both` where items have texts and pictures,
otherwise what they have."""

Layers = int | Literal["all"]
"""How many of an encoder's layers train, counted from the highest. `all`: every weight, embeddings
too. 0: none, so that its features are computed once and kept. Otherwise these layers and what
stands above them (last norm, pooling); everything below is frozen, in evaluation mode."""

GROUPS = 8
"""Groups of the normalisations of `cnn`; its channels are a multiple."""


class ContentConfig(Config):
    """Settings of item vectors from content. Projections to the model's width always train."""

    modality: Modality = "auto"
    """What an item brings: `text`, `image`, `both` (all it has, the mean of two vectors) or
    `mixture` (one of the two, by a hash of its text, the same in every run). `auto`: `both` where
    items have texts and images, else what they have."""

    text: str = "small"
    """Text encoder: `small` (a Transformer from scratch over hashed words), `minilm` or `wordllama`
    (the mean of token vectors), which are packages, or the path of a local Hugging Face
    directory."""

    image: str = "cnn"
    """Image encoder: `cnn` or `vit`, from scratch, or the path of a local Hugging Face
    directory."""

    text_layers: Layers = "all"
    """Highest layers of the text encoder that train; 0 freezes it, and its features are computed
    once and kept under `features/` of the dataset. `wordllama` has no layers: `all` trains its
    token vectors, 0 leaves them."""

    image_layers: Layers = "all"
    """Highest layers of the image encoder that train; 0 freezes it, as with `text_layers`."""

    max_tokens: int = Field(default=32, ge=1)
    """Tokens of a text that are read, from its beginning."""

    encode_batch: int = Field(default=512, ge=1)
    """Items encoded at a time."""

    gradient_checkpointing: bool = False
    """Keep no activations of the encoders but encode each mini-batch of items again on the way
    back: less memory, about a third more time."""

    encoder_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout inside the encoders made from scratch; a pretrained one has its own."""

    text_width: int = Field(default=64, ge=1)
    """Width of the `small` text encoder."""

    text_depth: int = Field(default=1, ge=1)
    """Layers of the `small` text encoder."""

    text_heads: int = Field(default=4, ge=1)
    """Attention heads of the `small` text encoder."""

    text_buckets: int = Field(default=30_000, ge=2)
    """Rows of the `small` text encoder's token table, which all words share by a hash."""

    text_pooling: Literal["attention", "mean"] = "attention"
    """How tokens of the `small` text encoder become one vector: `attention`, which starts as the
    mean, or `mean`."""

    image_side: int = Field(default=64, ge=8)
    """Pixels of a side that `cnn` and `vit` read; pictures stored at another size are scaled."""

    image_width: int = Field(default=128, ge=1)
    """Channels of the last stage of `cnn`, which double from stage to stage; width of `vit`."""

    image_depth: int = Field(default=4, ge=1)
    """Stages of `cnn`, layers of `vit`."""

    image_heads: int = Field(default=4, ge=1)
    """Attention heads of `vit`."""

    patch: int = Field(default=8, ge=1)
    """Pixels of a side of a patch of `vit`."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> "ContentConfig":
        for name in ("text_layers", "image_layers"):
            value = getattr(self, name)
            if value != "all" and value < 0:
                raise ValueError(f"{name} {value} is negative; 0 freezes the encoder")
        if self.text_width % self.text_heads:
            raise ValueError(
                f"text_heads {self.text_heads} does not divide text_width {self.text_width}"
            )
        if self.image == "vit" and self.image_width % self.image_heads:
            raise ValueError(
                f"image_heads {self.image_heads} does not divide image_width {self.image_width}"
            )
        if self.image == "vit" and self.image_side % self.patch:
            raise ValueError(f"patch {self.patch} does not divide image_side {self.image_side}")
        narrowest = GROUPS << (self.image_depth - 1)
        if self.image == "cnn" and self.image_width % narrowest:
            raise ValueError(
                f"image_width {self.image_width} of a cnn with image_depth {self.image_depth} "
                f"must be a multiple of {narrowest}"
            )
        return self

    @property
    def reads_text(self) -> bool:
        """Whether there is a text encoder; undecided `auto` counts as both."""
        return self.modality != "image"

    @property
    def reads_images(self) -> bool:
        """Whether there is an image encoder; undecided `auto` counts as both."""
        return self.modality != "text"

    def resolved(self, content: ItemContent) -> "ContentConfig":
        """Decide `auto` by what the items have.

        Raises:
            DataError: no item has what is to be read.
        """
        texts, images = bool(content.has_text_V1.any()), bool(content.has_image_V1.any())
        if self.modality != "auto":
            require_content(self, content)
            return self
        if not texts and not images:
            raise DataError(
                "no item of this dataset has a text or a picture", hint=_HOW_CONTENT_COMES_IN
            )
        found = "both" if texts and images else "text" if texts else "image"
        return self.model_copy(update={"modality": found})

    def portable(self) -> "ContentConfig":
        """Cut paths to their last part: no path of this host is kept."""
        return self.model_copy(
            update={name: Path(getattr(self, name)).name for name in ("text", "image")}
        )


_HOW_CONTENT_COMES_IN = "prepare it with --items (a column of texts) or --images"


def require_content(config: ContentConfig, content: ItemContent) -> None:
    """Raise a data error unless some item has what `config` reads."""
    texts = config.reads_text and bool(content.has_text_V1.any())
    images = config.reads_images and bool(content.has_image_V1.any())
    if not texts and not images:
        what = {"text": "text", "image": "picture"}.get(config.modality, "text or picture")
        raise DataError(
            f"no item of this dataset has a {what}, which is what this model reads",
            hint=_HOW_CONTENT_COMES_IN,
        )
