"""A backbone, a way to read one user vector, and a head: what most transfer methods train."""

from typing import Literal

import torch
from torch import Tensor, nn

from recxfer.models.backbone import Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.output import Output
from recxfer.models.reading import append_token, last_positions, mean_positions, prepend_token

Readout = Literal["token", "last", "mean"]
"""How a history becomes one vector: `token` adds trainable task tokens, behind the history of a
causal backbone and at both ends of another (PeterRec, section 3.2); `last` takes the last event's
hidden state; `mean` averages all of them."""


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
        """
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.readout = readout
        self.classifies = classifies
        ends = 0 if readout != "token" else 1 if backbone.causal else 2
        self.tokens = nn.ParameterList(
            nn.Parameter(torch.randn(backbone.width) * 0.02) for _ in range(ends)
        )

    def user_vectors(self, item_BL: Tensor, length_B: Tensor) -> Tensor:
        """One vector per history (B, D)."""
        embedded_BLD = self.backbone.embed(item_BL)
        for position, token_D in enumerate(self.tokens):
            add = append_token if position == 0 else prepend_token
            embedded_BLD, length_B = add(embedded_BLD, length_B, token_D)
        hidden_BLD = self.backbone.encode(embedded_BLD, length_B)
        if self.readout == "mean":
            return mean_positions(hidden_BLD, length_B)
        last_BD = last_positions(hidden_BLD, length_B)
        return last_BD + hidden_BLD[:, 0] if len(self.tokens) == 2 else last_BD

    def output(self) -> Output:
        """The output layer."""
        return Output(self.backbone.item_weight_VD) if self.head is None else self.head.output()
