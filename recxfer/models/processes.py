"""Several processes that share one batch: rows of all of them, gradients included.

Shape letters: N rows of this process, A rows of all processes, X anything.
"""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from recxfer.foundation.errors import UsageError


def refuse_several() -> None:
    """Refuse to train as one of several processes that would all write the same run.

    Raises:
        UsageError: `torchrun` started more than one.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 and not together():
        raise UsageError(
            f"torchrun started {count} processes, and recxfer trains a run in one: all would do "
            "the same work and write the same files",
            hint="start recxfer without torchrun; for large batches of clue set chunk",
        )


def together() -> bool:
    """Whether a process group of several processes is up."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gather(own_NX: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks (A, X); the same rows if alone.

    All processes must call it, in the same order, and go backward through it likewise. The gradient
    is that of the sum of the losses of all processes. Where each computes the same loss of all
    rows, the mean of the processes' parameter gradients is therefore exactly the gradient of that
    loss in one process.

    Args:
        own_NX: any number of rows, as many as this process has.
    """
    if not together():
        return own_NX
    gathered: Tensor = _Gather.apply(own_NX)  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    """Rows of unequal number travel padded to the largest."""

    @staticmethod
    def forward(ctx: Any, own_NX: Tensor) -> Tensor:
        world, rank = dist.get_world_size(), dist.get_rank()
        size = torch.tensor([own_NX.shape[0]], device=own_NX.device)
        sizes = [torch.empty_like(size) for _ in range(world)]
        dist.all_gather(sizes, size)
        counts = [int(one) for one in sizes]
        padded = own_NX.new_zeros(max(counts), *own_NX.shape[1:])
        padded[: counts[rank]] = own_NX
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        ctx.start, ctx.count = sum(counts[:rank]), counts[rank]
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, d_gathered_AX: Tensor) -> Tensor:
        d_gathered_AX = d_gathered_AX.contiguous()
        dist.all_reduce(d_gathered_AX)
        return d_gathered_AX.narrow(0, ctx.start, ctx.count)
