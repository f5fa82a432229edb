"""User model: a backbone, a read-out and a head, which most transfer methods train."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from recxfer.data.history import History
from recxfer.foundation.errors import ConfigError
from recxfer.models.backbones.contract import Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.readout import append_token, last_positions, mean_positions, prepend_token
from recxfer.models.scoring import Output

Readout = Literal["token", "first-token", "last", "mean"]
"""How a history becomes one vector. `token` adds trainable task tokens and sums what stands there:
behind the history of a causal backbone, at both ends of another (PeterRec, section 3.2).
`first-token` adds one in front alone, for a backbone that is not causal. `last` takes the last
event's hidden state; `mean` averages all of them."""


Encode = Callable[[Tensor, Tensor], Tensor]
"""Embedded rows (B, L, D) and their lengths (B) to hidden states (B, L, D)."""


class UserModel(nn.Module):
    """User vectors from histories, and an output layer over items or classes."""

    def __init__(
        self, backbone: Backbone, head: LinearHead | None, readout: Readout, *, classifies: bool
    ) -> None:
        """Put the parts together.

        Args:
            backbone: the encoder.
            head: the output layer; None ties it to the backbone's item table.
            readout: how to read a vector.
            classifies: whether outputs are classes, not items.

        Raises:
            ConfigError: a first token would see nothing of the history.
        """
        super().__init__()
        if readout == "first-token" and backbone.causal:
            raise ConfigError(
                "readout=first-token on a causal backbone: a token in front sees no event",
                hint="choose readout=token, or a base pretrained with --objective cloze",
            )
        self.backbone = backbone
        self.head = head
        self.readout = readout
        self.classifies = classifies
        self.token_ends = _token_ends(readout, causal=backbone.causal)
        self.tokens = nn.ParameterList(
            nn.Parameter(torch.randn(backbone.width) * 0.02) for _ in self.token_ends
        )
        self.earlier = nn.ModuleList()
        """`TaskLayers` of earlier tasks, in order, where these go on training."""

        self.own_names: frozenset[str] = frozenset()
        """Tensors of the backbone, by name, that are this task's own and not shared with others."""

    def user_vectors(self, history: History, encode: Encode | None = None) -> Tensor:
        """Encode each history as one vector (B, D).

        Args:
            history: one per row.
            encode: runs the blocks; by default the backbone does.
        """
        embedded_BLD, length_B = self.backbone.embed(history), history.length_B
        for end, token_D in zip(self.token_ends, self.tokens, strict=True):
            add = append_token if end == "behind" else prepend_token
            embedded_BLD, length_B = add(embedded_BLD, length_B, token_D)
        hidden_BLD = (encode or self.backbone.encode)(embedded_BLD, length_B)
        if self.readout == "mean":
            return mean_positions(hidden_BLD, length_B)
        if self.readout == "first-token":
            return hidden_BLD[:, 0]
        last_BD = last_positions(hidden_BLD, length_B)
        return last_BD + hidden_BLD[:, 0] if "before" in self.token_ends else last_BD

    def output(self) -> Output:
        """Return the output layer."""
        return Output(self.backbone.item_weight_VD) if self.head is None else self.head.output()


class TaskLayers(nn.Module):
    """Layers of a task's own, beside the backbone that it shares."""

    def __init__(self, model: UserModel) -> None:
        super().__init__()
        self.head = model.head
        self.tokens = model.tokens


def _token_ends(readout: Readout, *, causal: bool) -> tuple[Literal["behind", "before"], ...]:
    """Say at which ends task tokens are put, in the order in which they are added."""
    if readout == "token":
        return ("behind",) if causal else ("behind", "before")
    return ("before",) if readout == "first-token" else ()
