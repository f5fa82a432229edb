"""Output layer of every model: scores are linear in the user vector."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Output:
    """An output layer: score_BV = user_BD @ weight_VD.T + bias_V.

    Row v stands for item v + 1 of the target domain, or for class v. Keeping scores in this form
    lets ranking, top-k and export work in blocks of any size, for every method alike.
    """

    weight_VD: Tensor
    bias_V: Tensor | None = None

    def scores(self, user_BD: Tensor) -> Tensor:
        """Score all outputs, float32 (B, V)."""
        with torch.autocast(user_BD.device.type, enabled=False):
            score_BV = user_BD.float() @ self.weight_VD.float().T
            return score_BV if self.bias_V is None else score_BV + self.bias_V

    def to(self, device: torch.device) -> "Output":
        """Copy to another device."""
        bias_V = None if self.bias_V is None else self.bias_V.to(device)
        return Output(self.weight_VD.to(device), bias_V)
