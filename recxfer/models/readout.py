"""Read one user vector out of the hidden states of a history."""

import torch
from torch import Tensor

from recxfer.models.backbones.contract import real_positions


def last_positions(hidden_BLD: Tensor, length_B: Tensor) -> Tensor:
    """Read the hidden state at the last real position (B, D); position 0 of an empty history."""
    row_B = torch.arange(hidden_BLD.shape[0], device=hidden_BLD.device)
    return hidden_BLD[row_B, (length_B - 1).clamp(min=0)]


def mean_positions(hidden_BLD: Tensor, length_B: Tensor) -> Tensor:
    """Average over real positions (B, D); zero where a history is empty."""
    real_BL = real_positions(length_B, hidden_BLD.shape[1]).to(hidden_BLD.dtype)
    # A batched product sums without a masked copy of every hidden state.
    with torch.autocast(hidden_BLD.device.type, enabled=False):
        total_BD = torch.einsum("bl,bld->bd", real_BL, hidden_BLD)
    return total_BD / length_B.clamp(min=1)[:, None]


def append_token(embedded_BLD: Tensor, length_B: Tensor, token_D: Tensor) -> tuple[Tensor, Tensor]:
    """Put a task token right behind each history.

    Returns:
        The embedded rows, one longer (B, L + 1, D), and the new lengths.
    """
    B, _, D = embedded_BLD.shape
    longer_BLD = torch.cat([embedded_BLD, embedded_BLD.new_zeros(B, 1, D)], dim=1)
    at_B1D = length_B[:, None, None].expand(B, 1, D)
    token_B1D = token_D.to(longer_BLD.dtype).expand(B, 1, D)
    return longer_BLD.scatter(1, at_B1D, token_B1D), length_B + 1


def prepend_token(embedded_BLD: Tensor, length_B: Tensor, token_D: Tensor) -> tuple[Tensor, Tensor]:
    """Put a task token in front of each history; returns as `append_token`."""
    B, _, D = embedded_BLD.shape
    token_B1D = token_D.to(embedded_BLD.dtype).expand(B, 1, D)
    return torch.cat([token_B1D, embedded_BLD], dim=1), length_B + 1
