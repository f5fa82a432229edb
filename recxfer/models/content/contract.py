"""Contract of encoders of texts and images, and which of their layers train.

Shape letters: U items, T tokens, F width of the features.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from recxfer.foundation.errors import ConfigError
from recxfer.foundation.files import Json, canonical_json
from recxfer.models.content.config import Layers

_FIXED_IN_EVALUATION = (nn.BatchNorm1d, nn.BatchNorm2d)


class Encoder(nn.Module, ABC):
    """Encode texts or images of items as features (U, F).

    A feature depends on its own item alone: not on the others of a mini-batch, nor on padding.
    Hence batch normalisation is always in evaluation mode, also where its layer trains: statistics
    of a mini-batch of items differ from step to step, and from those that scoring would use.

    Submodules are registered in the order in which the input passes them; what comes before
    `layers` stands below them, what comes after stands above.
    """

    features: int
    """F."""

    def __init__(self) -> None:
        super().__init__()
        self._frozen: list[nn.Module] = []
        self.is_frozen = False

    @property
    @abstractmethod
    def layers(self) -> Sequence[nn.Module]:
        """The layers, lowest first; none for features that cannot train."""

    @property
    def described(self) -> Json:
        """Facts to build it again, beside the settings and the weights; JSON."""
        return {"kind": "own"}

    def train_layers(self, count: Layers) -> None:
        """Let the highest `count` layers train and freeze the rest; see `Layers`.

        Raises:
            ConfigError: there are fewer layers.
        """
        depth = len(self.layers)
        if count != "all" and count > depth:
            raise ConfigError(
                f"{count} layers are to train, and {type(self).__name__} has {depth}",
                hint="say all to train every weight, embeddings too",
            )
        lowest = 0 if count == "all" else depth + 2 if count == 0 else depth - count + 1
        self._frozen = [module for module, stage in self._stages() if stage < lowest]
        frozen = {id(module) for module in self._frozen}
        for module in self.modules():
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(id(module) not in frozen)
        self.is_frozen = not any(parameter.requires_grad for parameter in self.parameters())
        self.train(self.training)

    def _stages(self) -> Iterator[tuple[nn.Module, int]]:
        """Yield every module with its height: 0 below the layers, 1 the lowest, depth + 1 above."""
        depth = len(self.layers)
        layer_of = {
            id(module): height
            for height, layer in enumerate(self.layers, 1)
            for module in layer.modules()
        }
        height = 0
        for module in self.modules():
            within = layer_of.get(id(module))
            if within is None and height > 0:
                height = depth + 1
            elif within is not None:
                height = within
            yield module, height

    @override
    def train(self, mode: bool = True) -> "Encoder":
        """Set the mode, but keep what is frozen in evaluation mode: no dropout there."""
        super().train(mode)
        for module in self._frozen:
            module.training = False
        for module in self.modules():
            if isinstance(module, _FIXED_IN_EVALUATION):
                module.training = False
        return self

    @torch.no_grad()
    def digest(self) -> str:
        """Hash its description and all its weights, for the names of cached features."""
        found = hashlib.sha256(canonical_json(self.described).encode())
        for name, tensor in sorted(self.state_dict().items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return found.hexdigest()


class TextEncoder(Encoder):
    """Tokens to features: `forward(token_UT, length_U)`."""

    @abstractmethod
    def tokenise(self, texts: Sequence[str], longest: int) -> list[list[int]]:
        """Tokenise each text, at most `longest` tokens; none where nothing can be read."""

    @abstractmethod
    @override
    def forward(self, token_UT: Tensor, length_U: Tensor) -> Tensor:
        """Compute features (U, F) of texts that have a token each.

        Args:
            token_UT: token numbers; what stands behind the end of a text is ignored.
            length_U: tokens of each text, at least 1.
        """


class ImageEncoder(Encoder):
    """Pixels to features: `forward(pixel_UHWC)`."""

    @abstractmethod
    @override
    def forward(self, pixel_UHWC: Tensor) -> Tensor:
        """Compute features (U, F) of square RGB pictures, uint8 (U, side, side, 3)."""


def stamp(module: nn.Module) -> tuple[tuple[int, int], ...]:
    """Changes when a weight or a buffer of the module does: torch counts writes in place.

    Those of fused optimisers it does not count: what trains must not be kept by this alone.
    """
    state = [*module.parameters(), *module.buffers()]
    return tuple((tensor.data_ptr(), tensor._version) for tensor in state)
