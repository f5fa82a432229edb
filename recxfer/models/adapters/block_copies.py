"""A pretrained backbone with trainable copies of its blocks, and rows that go through either.

UAF (Chen et al. 2021, arXiv 2106.07864): with theta the pretrained and theta' the trainable weights
of block l, and a_l(u) a gate per user, h_{l+1} = a_l Block(h_l; theta') + (1 - a_l) Block(h_l;
theta). Of hard gates only one of the two is ever needed for the values.

Shape letters: B rows, R some of them, L length, D width, N blocks.
"""

import contextlib
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from recxfer.models.backbones.contract import Backbone, Block, real_positions


class Stage(nn.Module):
    """A block and, if it is the highest, what stands above it: the two adapt together."""

    def __init__(self, block: Block, above: nn.Module | None) -> None:
        super().__init__()
        self.block = block
        self.above = above

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """Go one step up the residual stream, and the last step out of it."""
        hidden_BLD = self.block(hidden_BLD, real_BL)
        return hidden_BLD if self.above is None else self.above(hidden_BLD)


def stages(backbone: Backbone) -> list[Stage]:
    """List the stages of a backbone, lowest first: on its own modules, not on copies."""
    *lower, highest = backbone.residual_blocks
    return [*(Stage(block, None) for block in lower), Stage(highest, backbone.above)]


class BlockCopies(nn.Module):
    """Trainable copies of some stages of a backbone, which stays as it is."""

    def __init__(self, backbone: Backbone, blocks: Collection[int]) -> None:
        """Copy the stages.

        Args:
            backbone: pretrained.
            blocks: which ones are copied, counted from 0 at the bottom.
        """
        super().__init__()
        self.copies = nn.ModuleDict(
            {str(n): deepcopy(stage) for n, stage in enumerate(stages(backbone)) if n in blocks}
        )

    def by_path(
        self, backbone: Backbone, embedded_BLD: Tensor, length_B: Tensor, taken_BN: Tensor
    ) -> Tensor:
        """Compute hidden states (B, L, D) of rows that each go their own way, and nothing beside
        it.

        At each block, the rows that take its copy go through that together, and the others through
        the pretrained block. Rows that have met no copy yet stay apart, so that nothing of theirs
        is kept for a way back that leads to no weight.

        Args:
            backbone: pretrained.
            embedded_BLD: as `Backbone.encode` takes them.
            length_B: likewise.
            taken_BN: bool, whether a row takes the copy of a block.
        """
        rows = _Rows.of(backbone, embedded_BLD, length_B)
        # Where something below the blocks trains, or nothing does, all are kept alike.
        apart = torch.is_grad_enabled() and not rows.hidden_RLD.requires_grad
        fresh, met = (rows, None) if apart else (None, rows)
        for number, stage in enumerate(stages(backbone)):
            taking, keeping = _parted(met, taken_BN[:, number])
            leaving, fresh = _parted(fresh, taken_BN[:, number])
            taking = _joined([taking, leaving])
            copied = None if taking is None else taking.through(self._copy(number))
            met = _joined([copied, None if keeping is None else keeping.through(stage)])
            fresh = None if fresh is None else fresh.through(stage)
        return _in_order(_joined([met, fresh]))

    def straight_through(
        self, backbone: Backbone, embedded_BLD: Tensor, length_B: Tensor, gate_BN: Tensor
    ) -> Tensor:
        """Compute the same values, with the gradient of gates that could move a little.

        That is, summed over L and D, d loss / d h_{l+1} times the difference of the two blocks.
        The block that is not taken is therefore run as well, but forward alone: it keeps no
        activations and nothing goes back through it, because its share of h_{l+1} is zero.

        Args:
            backbone: pretrained.
            embedded_BLD: as `Backbone.encode` takes them.
            length_B: likewise.
            gate_BN: 0 or 1, differentiable.
        """
        rows = _Rows.of(backbone, embedded_BLD, length_B)
        for number, stage in enumerate(stages(backbone)):
            copy, gate_B = self._copy(number), gate_BN[:, number]
            taking, keeping = _parted(rows, gate_B > 0.5)
            whole = _joined(
                [
                    None if part is None else part.chosen(own, other, gate_B)
                    for part, own, other in ((taking, copy, stage), (keeping, stage, copy))
                ]
            )
            assert whole is not None
            rows = whole
        return _in_order(rows)

    def blended(
        self, backbone: Backbone, embedded_BLD: Tensor, length_B: Tensor, gate_BN: Tensor
    ) -> Tensor:
        """Compute hidden states (B, L, D) with both blocks weighed by gates from 0 to 1 (B, N)."""
        real_BL = real_positions(length_B, embedded_BLD.shape[1])
        hidden_BLD = backbone.enter(embedded_BLD)
        for number, stage in enumerate(stages(backbone)):
            with _dropout_again(hidden_BLD, self.training):
                pretrained_BLD = stage(hidden_BLD, real_BL)
            copied_BLD = self._copy(number)(hidden_BLD, real_BL)
            gate_B11 = gate_BN[:, number, None, None].to(copied_BLD.dtype)
            # Exact where the gate is 0 or 1, and where the two are the same.
            hidden_BLD = torch.lerp(pretrained_BLD, copied_BLD, gate_B11)
        return hidden_BLD

    def _copy(self, number: int) -> nn.Module:
        return self.copies[str(number)]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Some rows of a batch on their way up."""

    hidden_RLD: Tensor
    real_RL: Tensor
    row_R: Tensor
    """int64, which rows of the batch."""

    @classmethod
    def of(cls, backbone: Backbone, embedded_BLD: Tensor, length_B: Tensor) -> "_Rows":
        row_B = torch.arange(embedded_BLD.shape[0], device=embedded_BLD.device)
        real_BL = real_positions(length_B, embedded_BLD.shape[1])
        return cls(backbone.enter(embedded_BLD), real_BL, row_B)

    def through(self, stage: nn.Module) -> "_Rows":
        return replace(self, hidden_RLD=stage(self.hidden_RLD, self.real_RL))

    def chosen(self, own: nn.Module, other: nn.Module, gate_B: Tensor) -> "_Rows":
        """Through `own`, with a gradient for the gates that knows of `other`."""
        with torch.no_grad(), _dropout_again(self.hidden_RLD, own.training):
            other_RLD = other(self.hidden_RLD, self.real_RL)
        own_RLD = own(self.hidden_RLD, self.real_RL)
        chosen_RLD: Tensor = _Chosen.apply(  # type: ignore[no-untyped-call]
            own_RLD, other_RLD, gate_B[self.row_R]
        )
        return replace(self, hidden_RLD=chosen_RLD)

    def take(self, order_R: Tensor) -> "_Rows":
        """Take the same rows in another order."""
        hidden_RLD: Tensor = _Reordered.apply(  # type: ignore[no-untyped-call]
            self.hidden_RLD, order_R
        )
        return _Rows(hidden_RLD, self.real_RL[order_R], self.row_R[order_R])


def _parted(rows: _Rows | None, taken_B: Tensor) -> tuple[_Rows | None, _Rows | None]:
    """Those that take the copy, and those that do not."""
    if rows is None:
        return None, None
    taken_R = taken_B[rows.row_R]
    count = int(taken_R.sum())
    if count == taken_R.numel():
        return rows, None
    if count == 0:
        return None, rows
    rows = rows.take((~taken_R).byte().argsort(stable=True))
    parts = [
        part.split([count, taken_R.numel() - count])
        for part in (rows.hidden_RLD, rows.real_RL, rows.row_R)
    ]
    taking, keeping = zip(*parts, strict=True)
    return _Rows(*taking), _Rows(*keeping)


def _joined(parts: Sequence[_Rows | None]) -> _Rows | None:
    there = [part for part in parts if part is not None]
    if len(there) < 2:
        return there[0] if there else None
    return _Rows(
        torch.cat([part.hidden_RLD for part in there]),
        torch.cat([part.real_RL for part in there]),
        torch.cat([part.row_R for part in there]),
    )


def _in_order(rows: _Rows | None) -> Tensor:
    """Hidden states of a whole batch in the order of its rows."""
    assert rows is not None, "a batch has rows"
    order_B = rows.row_R.argsort()
    in_order = torch.equal(order_B, torch.arange(order_B.numel(), device=order_B.device))
    return rows.hidden_RLD if in_order else rows.take(order_B).hidden_RLD


@contextlib.contextmanager
def _dropout_again(hidden_RLD: Tensor, training: bool) -> Any:
    """Whatever follows draws the same dropout as what is inside, so that the two can be compared.

    With masks of their own, two blocks of equal weights would differ by noise.
    """
    if not training:
        yield
        return
    device = hidden_RLD.device
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type="cuda" if not devices else device.type):
        yield


class _Chosen(torch.autograd.Function):
    """own, with d gate = sum over L and D of d own (copy - pretrained); nothing for `other`."""

    @staticmethod
    @override
    def forward(ctx: Any, own_RLD: Tensor, other_RLD: Tensor, gate_R: Tensor) -> Tensor:
        # The gate is 1 where `own` is the copy.
        ctx.save_for_backward(own_RLD - other_RLD, gate_R)
        return own_RLD.view_as(own_RLD)

    @staticmethod
    @override
    def backward(ctx: Any, d_own_RLD: Tensor) -> tuple[Tensor | None, ...]:
        beyond_RLD, gate_R = ctx.saved_tensors
        product_R = torch.linalg.vecdot(d_own_RLD.flatten(1), beyond_RLD.flatten(1))
        return d_own_RLD, None, product_R.to(gate_R.dtype) * (2 * gate_R - 1)


class _Reordered(torch.autograd.Function):
    """Rows in another order: a gather on the way back too, where autograd would add into zeros."""

    @staticmethod
    @override
    def forward(ctx: Any, hidden_RLD: Tensor, order_R: Tensor) -> Tensor:
        ctx.save_for_backward(order_R)
        return hidden_RLD.index_select(0, order_R)

    @staticmethod
    @override
    def backward(ctx: Any, d_taken_RLD: Tensor) -> tuple[Tensor, None]:
        (order_R,) = ctx.saved_tensors
        return d_taken_RLD.index_select(0, order_R.argsort()), None
