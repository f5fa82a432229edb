"""A small text encoder, from scratch: hashed words, a pre-norm Transformer, one pooling.

Shape letters: U texts, T tokens, F width.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from recxfer.models.backbones.contract import real_positions
from recxfer.models.backbones.sasrec import SASRecConfig, TransformerBlock
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.contract import TextEncoder
from recxfer.models.content.tokens import HashTokeniser
from recxfer.models.items.id_table import draw_vectors
from recxfer.models.layers.dropout import Dropout
from recxfer.models.readout import mean_positions


class AdditivePooling(nn.Module):
    """A weighted mean of tokens, by what a small network thinks of each (TransRec release).

    Unlike the release it never looks at padding. Its last vector is zero at first: the mean.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.query = nn.Parameter(torch.zeros(width))
        nn.init.normal_(self.hidden.weight, std=0.02)
        nn.init.zeros_(self.hidden.bias)

    @override
    def forward(self, hidden_UTF: Tensor, length_U: Tensor) -> Tensor:
        """Vectors (U, F) of texts with a token each."""
        logit_UT = torch.tanh(self.hidden(hidden_UTF)) @ self.query
        real_UT = real_positions(length_U, hidden_UTF.shape[1])
        weight_UT = logit_UT.masked_fill(~real_UT, -math.inf).softmax(-1)
        # Padding may hold anything; nought times it has to be nought.
        hidden_UTF = hidden_UTF.masked_fill(~real_UT[..., None], 0)
        pooled_UF: Tensor = torch.bmm(weight_UT.to(hidden_UTF.dtype)[:, None], hidden_UTF)
        return pooled_UF.squeeze(1)


class SmallText(TextEncoder):
    """Token vectors with learned positions, Transformer layers, a norm and a pooling."""

    def __init__(self, config: ContentConfig) -> None:
        super().__init__()
        width = self.features = config.text_width
        self._tokenise = HashTokeniser(config.text_buckets)
        self.token_table = nn.Embedding(config.text_buckets, width, padding_idx=0)
        self.position_table = nn.Embedding(config.max_tokens, width)
        self.dropout = Dropout(config.encoder_dropout)
        block = SASRecConfig(
            width=width, num_heads=config.text_heads, dropout=config.encoder_dropout
        )
        self.blocks = nn.ModuleList(
            TransformerBlock(block, causal=False) for _ in range(config.text_depth)
        )
        self.norm = nn.LayerNorm(width)
        self.pooling = AdditivePooling(width) if config.text_pooling == "attention" else None
        initialise_linear(self.blocks)
        draw_vectors(self.token_table.weight)
        nn.init.zeros_(self.token_table.weight[0])
        nn.init.normal_(self.position_table.weight, std=0.02)

    @property
    @override
    def layers(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    @override
    def tokenise(self, texts: Sequence[str], longest: int) -> list[list[int]]:
        """Hash the words of each text."""
        return self._tokenise(texts, longest)

    @override
    def forward(self, token_UT: Tensor, length_U: Tensor) -> Tensor:
        # Positions end at `max_tokens`; all that stands further behind is padding.
        token_UT = token_UT[:, : self.position_table.num_embeddings]
        T = token_UT.shape[1]
        real_UT = real_positions(length_U, T)
        hidden_UTF = self.dropout(self.token_table(token_UT) + self.position_table.weight[:T])
        for block in self.blocks:
            hidden_UTF = block(hidden_UTF, real_UT)
        hidden_UTF = self.norm(hidden_UTF)
        if self.pooling is None:
            return mean_positions(hidden_UTF, length_U)
        pooled_UF: Tensor = self.pooling(hidden_UTF, length_U)
        return pooled_UF


def initialise_linear(module: nn.Module) -> None:
    """Normal with std 0.02 and no bias, as in the backbones."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
