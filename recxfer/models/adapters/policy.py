"""Policy network of UAF, and a seeded random policy to compare it with.

Shape letters: B rows, L length, D width, N decisions.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from recxfer.data.history import History
from recxfer.models.backbones.contract import real_positions
from recxfer.models.backbones.nextitnet import ConvBlock, NextItNetConfig
from recxfer.models.items.contract import ItemEncoder
from recxfer.models.readout import last_positions, mean_positions

Reader = Literal["conv", "gru"]
"""`conv`: two residual blocks of dilations 1 and 4, then the mean over events. `gru`: the last
state of a recurrent network."""

DILATIONS = (1, 4)


class PolicyNetwork(nn.Module):
    """Log-odds of N decisions from a history (UAF, release): a reader and a linear layer."""

    def __init__(
        self, width: int, num_decisions: int, reader: Reader, item_table: ItemEncoder | None
    ) -> None:
        """Build the network; at first all decisions are near even.

        Args:
            width: D.
            num_decisions: N.
            reader: what reads the history.
            item_table: to read items from, if it is not the one that the backbone reads from.
        """
        super().__init__()
        self.item_table = item_table
        self.blocks = nn.ModuleList()
        self.gru = None
        if reader == "gru":
            self.gru = nn.GRU(width, width, batch_first=True)
        else:
            config = NextItNetConfig(width=width, dropout=0.0)
            self.blocks.extend(ConvBlock(config, dilation, causal=True) for dilation in DILATIONS)
        self.linear = nn.Linear(width, num_decisions)
        nn.init.trunc_normal_(self.linear.weight, std=0.02, a=-0.04, b=0.04)
        nn.init.zeros_(self.linear.bias)

    @override
    def forward(self, embedded_BLD: Tensor, length_B: Tensor) -> Tensor:
        """Compute log-odds (B, N), float32; those of an empty history are the biases.

        Args:
            embedded_BLD: the history's items; no position and no task token is among them.
            length_B: real items of each row.
        """
        if self.gru is not None:
            with torch.autocast(embedded_BLD.device.type, enabled=False):
                state_BLD, _ = self.gru(embedded_BLD.float())
            read_BD = last_positions(state_BLD, length_B) * (length_B > 0)[:, None]
        else:
            hidden_BLD, real_BL = embedded_BLD, real_positions(length_B, embedded_BLD.shape[1])
            for block in self.blocks:
                hidden_BLD = block(hidden_BLD, real_BL)
            read_BD = mean_positions(hidden_BLD, length_B)
        with torch.autocast(read_BD.device.type, enabled=False):
            logit_BN: Tensor = self.linear(read_BD.float())
        return logit_BN


def drawn_decisions(history: History, num_decisions: int, rate: float, seed: int) -> Tensor:
    """Draw decisions (B, N), true with probability `rate`, always the same for one history.

    A hash of the history in place of a generator, so that what a user gets does not depend on
    who else is in the batch.
    """
    item_BL, real_BL = history.item_BL, history.real_BL
    place_L = torch.arange(item_BL.shape[1], device=item_BL.device)
    hash_B = (_mixed(item_BL + _mixed(place_L + seed)) * real_BL).sum(1)
    decision_N = torch.arange(1, num_decisions + 1, device=item_BL.device)
    hash_BN = _mixed(hash_B[:, None] + _mixed(decision_N * 0x632BE59BD9B4E019))
    return _shifted(hash_BN, 40).double() / 2**24 < rate


def _mixed(x: Tensor) -> Tensor:
    """Mix int64 by SplitMix64's finaliser (Steele et al. 2014), whose products wrap around."""
    x = (x ^ _shifted(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ _shifted(x, 27)) * -0x6B2FB644ECCEEE15
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; torch fills with the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
