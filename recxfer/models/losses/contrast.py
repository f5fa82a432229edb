"""Losses that compare two views of each user; vectors are float32 throughout.

Shape letters: B users, P width of the projection.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

CHUNK = 256
"""Vectors whose similarities to all others exist at the same time, at most."""


def cosine_loss(predicted_BP: Tensor, target_BP: Tensor) -> Tensor:
    """Compute the mean negative cosine of each prediction and its target (SimSiam, equation 1)."""
    return -F.cosine_similarity(predicted_BP, target_BP, dim=1).mean()


def nt_xent_loss(one_BP: Tensor, other_BP: Tensor, person_B: Tensor, temperature: float) -> Tensor:
    """Find the other view among all views of the batch (SimCLR, Chen et al. 2020, equation 1).

    Other rows of the same user are no negatives.

    Args:
        one_BP: first view of each row.
        other_BP: second view.
        person_B: int64, whose history each row is.
        temperature: what cosines are divided by.
    """
    view_XP = F.normalize(torch.cat([one_BP, other_BP]), dim=1)
    loss: Tensor = _ChunkedNTXent.apply(  # type: ignore[no-untyped-call]
        view_XP, person_B.repeat(2), temperature
    )
    return loss


class _ChunkedNTXent(torch.autograd.Function):
    """The loss and its gradient in one pass over chunks of views, as in `softmax_loss`."""

    @staticmethod
    @override
    def forward(ctx: Any, view_XP: Tensor, person_X: Tensor, temperature: float) -> Tensor:
        count = view_XP.shape[0]
        partner_X = torch.arange(count, device=view_XP.device).roll(count // 2)
        d_view_XP = torch.zeros_like(view_XP)
        loss = view_XP.new_zeros(())
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            view_CP, partner_C1 = view_XP[part], partner_X[part, None]
            score_CX = (view_CP @ view_XP.T).div_(temperature)
            # A view is no negative of itself, nor are other rows of the same user.
            hidden_CX = (person_X[part, None] == person_X).scatter_(1, partner_C1, False)
            log_p_CX = F.log_softmax(score_CX.masked_fill_(hidden_CX, -torch.inf), dim=1)
            loss -= log_p_CX.gather(1, partner_C1).sum()
            # From here on the buffer holds d loss / d scores = softmax - one-hot.
            d_score_CX = log_p_CX.exp_()
            minus_one_C1 = d_score_CX.new_full(partner_C1.shape, -1.0)
            d_score_CX.scatter_add_(1, partner_C1, minus_one_C1)
            d_view_XP[part] += d_score_CX @ view_XP
            d_view_XP += d_score_CX.T @ view_CP
        ctx.save_for_backward(d_view_XP.div_(temperature * count))
        return loss / count

    @staticmethod
    @override
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor, None, None]:
        (d_view_XP,) = ctx.saved_tensors
        return d_view_XP * d_loss, None, None


def barlow_twins_loss(one_BP: Tensor, other_BP: Tensor, off_diagonal: float) -> Tensor:
    """Make the channels of both views correlate one to one (Zbontar et al. 2021, equation 1).

    Args:
        one_BP: first view of each row.
        other_BP: second view.
        off_diagonal: weight of correlations between different channels.
    """
    one_BP, other_BP = (_standardised(view) for view in (one_BP, other_BP))
    correlation_PP = one_BP.T @ other_BP / one_BP.shape[0]
    on_P = correlation_PP.diagonal()
    off = correlation_PP.square().sum() - on_P.square().sum()
    return (1 - on_P).square().sum() + off_diagonal * off


def _standardised(view_BP: Tensor) -> Tensor:
    return F.batch_norm(view_BP, None, None, training=True)
