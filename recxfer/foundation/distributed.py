"""Train one run in several processes that torchrun started.

Every process holds the whole model, takes a shard of the rows of each step, and averages
gradients with the others. The first one validates, saves and writes; what it measures is
broadcast, so that all decide alike.

Shape letters: B rows of a batch, N rows of this process, A rows of all processes, X anything.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from typing_extensions import override

AnswerT = TypeVar("AnswerT")


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if is_distributed() else 1


def is_first() -> bool:
    """Return whether this is the process that validates and writes."""
    return rank() == 0


def is_distributed() -> bool:
    """Return whether a process group of several processes is up."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextmanager
def process_group() -> Iterator[None]:
    """Join the process group while the block runs; do nothing where torchrun started no others."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group()
    try:
        yield
    finally:
        dist.destroy_process_group()


def barrier() -> None:
    """Wait for all processes."""
    if is_distributed():
        dist.barrier()


def shard(row_B: Tensor) -> Tensor:
    """Return this process's rows of a batch: every world_size-th, at least one (N)."""
    if not is_distributed():
        return row_B
    if row_B.numel() < world_size():  # without rows a process would have no gradients to average
        row_B = row_B.repeat(-(-world_size() // row_B.numel()))[: world_size()]
    return row_B[rank() :: world_size()]


def broadcast_from_first(measure: Callable[[], AnswerT]) -> AnswerT:
    """Measure in the first process, and return the answer, or raise the error, in all.

    Args:
        measure: asked in the first process alone.
    """
    if not is_distributed():
        return measure()
    shared: list[Any] = [None, None]
    if is_first():
        try:
            shared[0] = measure()
        except Exception as error:
            shared[1] = error
    dist.broadcast_object_list(shared, src=0)
    if shared[1] is not None:
        raise shared[1]
    answer: AnswerT = shared[0]
    return answer


def all_reduce(
    parameters: Sequence[nn.Parameter], loss: Tensor, *, stop: bool
) -> tuple[Tensor, bool]:
    """Average gradients and losses, and stop where any process was asked to, in one message.

    Args:
        parameters: whose gradients are averaged, in place; the same in every process, and the
            same ones of them have a gradient.
        loss: of this process, a scalar without gradient.
        stop: whether this process was asked to stop.
    """
    if not is_distributed():
        return loss, stop
    gradients = [p.grad for p in parameters if p.grad is not None]
    flag = loss.new_tensor([float(stop)])
    sent = torch.cat([*(g.flatten().float() for g in gradients), loss.float()[None], flag])
    dist.all_reduce(sent)
    mean = sent / world_size()
    parts = mean[:-2].split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return mean[-2], bool(mean[-1] > 0)


def with_zero_gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the same loss, with a gradient for every parameter that trains, if only zero.

    `all_reduce` needs the same gradients in every process. A loss that does not reach a parameter
    in every batch goes through this.

    Args:
        loss: of this process.
        parameters: of the whole model; those that are frozen are left alone.
    """
    if not is_distributed():
        return loss
    return loss + 0 * torch.stack([p.sum() for p in parameters if p.requires_grad]).sum()


def gather(own_NX: Tensor) -> Tensor:
    """Gather the rows of all processes, in the order of their ranks (A, X); alone, the same rows.

    All processes must call it, in the same order, and go backward through it likewise. The gradient
    is that of the sum of the losses of all processes. Where each computes the same loss of all
    rows, the mean of the processes' parameter gradients is therefore exactly the gradient of that
    loss in one process.

    Args:
        own_NX: any number of rows, as many as this process has.
    """
    if not is_distributed():
        return own_NX
    gathered: Tensor = _Gather.apply(own_NX)  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    """Gather unequal numbers of rows, padded to the largest."""

    @staticmethod
    @override
    def forward(ctx: Any, own_NX: Tensor) -> Tensor:
        world, mine = dist.get_world_size(), dist.get_rank()
        size = torch.tensor([own_NX.shape[0]], device=own_NX.device)
        sizes = [torch.empty_like(size) for _ in range(world)]
        dist.all_gather(sizes, size)
        counts = [int(one) for one in sizes]
        padded = own_NX.new_zeros(max(counts), *own_NX.shape[1:])
        padded[: counts[mine]] = own_NX
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        ctx.start, ctx.count = sum(counts[:mine]), counts[mine]
        return torch.cat([part[:number] for part, number in zip(parts, counts, strict=True)])

    @staticmethod
    @override
    def backward(ctx: Any, d_gathered_AX: Tensor) -> Tensor:
        d_gathered_AX = d_gathered_AX.contiguous()
        dist.all_reduce(d_gathered_AX)
        return d_gathered_AX.narrow(0, ctx.start, ctx.count)
