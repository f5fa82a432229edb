"""Cut an epoch into batches: a permutation, sorted by length within reason, cut by events."""

import torch
from torch import Tensor

from recxfer.data.rows import Rows

LENGTH_JITTER = 0.1
"""Relative noise on lengths before sorting, so that batches differ from epoch to epoch."""

EVALUATION_CELLS = 1 << 15
"""Positions of an evaluation batch, padding included."""


def training_batches(length_R: Tensor, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Draw the row numbers of each batch of one epoch.

    Rows of similar length share a batch, and batches hold about equally many events, not rows:
    padding is small, memory is level, and every event weighs about the same in the gradient.

    Args:
        length_R: events of each row.
        batch_size: rows of a batch on average.
        generator: decides the order.
    """
    R = length_R.numel()
    shuffled_R = torch.randperm(R, generator=generator)
    jitter_R = 1 + LENGTH_JITTER * torch.rand(R, generator=generator)
    order_R = shuffled_R[(length_R[shuffled_R] * jitter_R).argsort(stable=True)]
    num_batches = -(-R // batch_size)
    weight_R = length_R[order_R].clamp(min=1).double().cumsum(0)
    batch_R = ((weight_R - 1e-9) / (weight_R[-1] / num_batches)).long().clamp_(max=num_batches - 1)
    sizes = torch.bincount(batch_R, minlength=num_batches)
    batches = list(order_R.split([size for size in sizes.tolist() if size]))
    shuffled = torch.randperm(len(batches), generator=generator).tolist()
    return [batches[position] for position in shuffled]


def evaluation_batches(rows: Rows, cells: int = EVALUATION_CELLS) -> list[Tensor]:
    """Cut rows of like length into batches of at most `cells` positions, or of one row."""
    order_R = rows.length_R.argsort(stable=True)
    lengths = rows.length_R[order_R].tolist()
    cuts, size = [], 0
    for length in lengths:
        if size and (size + 1) * max(length, 1) > cells:
            cuts.append(size)
            size = 0
        size += 1
    return list(order_R.split([*cuts, size])) if size else []
