"""The parts of a siamese encoder: projection, predictor, and a slow copy as the target.

Shape letters: B rows of a batch, D width of the encoder, P width of the projection.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from recxfer.data.history import History
from recxfer.models.backbones.contract import Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.scoring import Output

Encode = Callable[[History], Tensor]
"""Histories to vectors (B, D)."""


class Projection(nn.Sequential):
    """Three linear layers, each with batch normalisation, ReLU behind the first two.

    CLUE has three layers with BatchNorm; where ReLU stands, and that the last normalisation has no
    scale of its own, is as in SimSiam (Chen and He 2021, section 3).
    """

    def __init__(self, width: int, projected: int) -> None:
        super().__init__(
            nn.Linear(width, projected, bias=False),
            nn.BatchNorm1d(projected),
            nn.ReLU(),
            nn.Linear(projected, projected, bias=False),
            nn.BatchNorm1d(projected),
            nn.ReLU(),
            nn.Linear(projected, projected, bias=False),
            nn.BatchNorm1d(projected, affine=False),
        )
        self.width = projected

    def among(self, vector_BD: Tensor) -> Tensor:
        """Project with the statistics of these very vectors, as training does, and keep none.

        Statistics gathered over the first steps are still those of no training at all.
        """
        for layer in self:
            if isinstance(layer, nn.BatchNorm1d):
                vector_BD = F.batch_norm(
                    vector_BD, None, None, layer.weight, layer.bias, training=True, eps=layer.eps
                )
            else:
                vector_BD = layer(vector_BD)
        return vector_BD


class Predictor(nn.Sequential):
    """Two linear layers with a bottleneck of a quarter (SimSiam, section 3)."""

    def __init__(self, projected: int) -> None:
        narrow = max(1, projected // 4)
        super().__init__(
            nn.Linear(projected, narrow, bias=False),
            nn.BatchNorm1d(narrow),
            nn.ReLU(),
            nn.Linear(narrow, projected),
        )


class SiameseModel(nn.Module):
    """A backbone and what contrasts its vectors; all but the backbone may be absent.

    Scores of items, where there are any, are those of the item table: `head` is always None.
    """

    def __init__(
        self,
        backbone: Backbone,
        projection: Projection | None,
        predictor: Predictor | None,
        target: "Target | None",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = projection
        self.predictor = predictor
        self.target = target
        self.head: LinearHead | None = None

    def output(self) -> Output:
        """Return the item table as an output layer: items 1..num_items."""
        return Output(self.backbone.item_weight_VD)


class Target(nn.Module):
    """A slow copy of backbone and projection, moved towards them and never by a gradient.

    BYOL (Grill et al. 2020, section 3.1). Its weights are buffers, so that no optimiser finds them.
    """

    def __init__(self, backbone: Backbone, projection: Projection) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        self.projection = copy.deepcopy(projection)
        for module in self.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, parameter.detach())

    @torch.no_grad()
    def follow(self, backbone: Backbone, projection: Projection, momentum: float) -> None:
        """Go a step of 1 - `momentum` towards what trains."""
        own = dict(self.named_buffers())
        for prefix, module in (("backbone.", backbone), ("projection.", projection)):
            for name, parameter in module.named_parameters():
                own[prefix + name].lerp_(parameter, 1 - momentum)


def encode_in_chunks(encode: Encode, history: History, chunk: int | None) -> Tensor:
    """Encode a whole batch, with the activations of `chunk` rows in memory at a time.

    What a loss then sees, and every gradient, is that of the whole batch: a chunk is encoded
    without keeping anything, and encoded again, with the same dropout, when the gradients of its
    vectors are known (gradient caching, Gao et al. 2021, section 3.2).

    Args:
        encode: the encoder.
        history: of the whole batch.
        chunk: rows encoded at a time; None keeps everything.
    """
    if chunk is None or chunk >= history.length_B.numel():
        return encode(history)
    return torch.cat([computed_again(encode, part.trim()) for part in history.split(chunk)])


def computed_again(compute: Callable[[History], Tensor], history: History) -> Tensor:
    """Compute without keeping activations; the way back computes the same once more."""
    # Random state is restored on the devices of the tensors among the arguments.
    computed: Tensor = checkpoint(lambda _: compute(history), history.length_B, use_reentrant=False)
    return computed
