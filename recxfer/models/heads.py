"""Output layers: over items, tied to the item table or not, and over classes."""

import torch
from torch import nn

from recxfer.models.backbones.contract import Backbone
from recxfer.models.scoring import Output


class LinearHead(nn.Module):
    """Its own output vectors and, unless told otherwise, biases.

    Initialised as in the NextItNet release: normal with std 0.01. Zero biases, so that a head
    starts without preferences.
    """

    def __init__(self, width: int, num_outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_outputs, width))
        self.bias = nn.Parameter(torch.zeros(num_outputs)) if bias else None
        nn.init.normal_(self.weight, std=0.01)

    @classmethod
    def copy_of(cls, output: Output) -> "LinearHead":
        """Copy an output layer so that it can train."""
        num_outputs, width = output.weight_VD.shape
        head = cls(width, num_outputs, bias=output.bias_V is not None)
        with torch.no_grad():
            head.weight.copy_(output.weight_VD)
            if head.bias is not None and output.bias_V is not None:
                head.bias.copy_(output.bias_V)
        return head

    def output(self) -> Output:
        """Return the layer as ranking and losses use it."""
        return Output(self.weight, self.bias)


class NextItemModel(nn.Module):
    """A backbone that scores the items of its own vocabulary at every position.

    With `tied` the item table is input and output at once, as in SASRec; otherwise the output
    layer is its own, as in NextItNet.
    """

    def __init__(self, backbone: Backbone, *, tied: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = None if tied else LinearHead(backbone.width, backbone.num_items)

    def output(self) -> Output:
        """Return the layer over items 1..num_items."""
        return Output(self.backbone.item_weight_VD) if self.head is None else self.head.output()
