"""Find items that occur together: a short list of neighbours for each, in bounded memory."""

import torch
from torch import Tensor

from recxfer.data.ragged import flat_indices, owners, places
from recxfer.data.rows import Rows
from recxfer.foundation.names import PAD

NEIGHBOURS = 20
"""Similar items that are kept of each item."""

REACH = 5
"""Events of one history that are so far apart at most occur together."""

MAX_PAIRS = 1 << 23
"""Pairs of events that are counted, at most (about 350 MB while they are); of more data, as many
histories as make that many are drawn."""


def similar_items(rows: Rows, num_items: int, generator: torch.Generator) -> Tensor:
    """Find the items that most often occur near each item, for its frequency.

    Similarity is the cosine of co-occurrence, n_ij / sqrt(n_i n_j) (Sarwar et al. 2001), with pairs
    counted up to REACH events apart.

    Args:
        rows: training histories.
        num_items: items 1..num_items.
        generator: draws histories where there are more pairs than are counted.

    Returns:
        Neighbours of each item, most similar first, PAD where there are fewer: int32
        (num_items + 1, NEIGHBOURS), row 0 for padding.
    """
    row_R = _sample(rows.length_R, generator)
    length_R = rows.length_R[row_R]
    at_X = owners(length_R)
    item_X = rows.item_E[flat_indices(rows.start_R[row_R], length_R)].long()
    span = num_items + 1
    keys = []
    for step in range(1, REACH + 1):
        one_P, other_P = item_X[:-step], item_X[step:]
        together_P = (at_X[:-step] == at_X[step:]) & (one_P != other_P)
        one_P, other_P = one_P[together_P], other_P[together_P]
        keys.append(torch.minimum(one_P, other_P) * span + torch.maximum(one_P, other_P))
    key_P, count_P = torch.cat(keys).unique(return_counts=True)
    del keys
    low_P, high_P = key_P // span, key_P % span
    frequency_V = torch.bincount(item_X, minlength=span).double()
    cosine_P = (count_P / (frequency_V[low_P] * frequency_V[high_P]).sqrt()).float()
    return _nearest(
        torch.cat([low_P, high_P]), torch.cat([high_P, low_P]), cosine_P.repeat(2), span
    )


def _sample(length_R: Tensor, generator: torch.Generator) -> Tensor:
    """Draw row numbers, where all rows would make more than MAX_PAIRS pairs."""
    if int(length_R.sum()) * REACH <= MAX_PAIRS:
        return torch.arange(length_R.numel())
    order_R = torch.randperm(length_R.numel(), generator=generator)
    fits_R = length_R[order_R].cumsum(0) * REACH <= MAX_PAIRS
    return order_R[fits_R]


def _nearest(item_P: Tensor, other_P: Tensor, score_P: Tensor, span: int) -> Tensor:
    """Collect the highest scores of each item in a table."""
    order_P = score_P.argsort(descending=True, stable=True)
    order_P = order_P[item_P[order_P].argsort(stable=True)]
    item_P, other_P = item_P[order_P], other_P[order_P]
    place_P = places(torch.bincount(item_P, minlength=span))
    kept_P = place_P < NEIGHBOURS
    table_VK = torch.full((span, NEIGHBOURS), PAD, dtype=torch.int32)
    table_VK[item_P[kept_P], place_P[kept_P]] = other_P[kept_P].int()
    return table_VK
