"""Losses over items that never hold scores of all positions against all items at once.

Shape letters: P positions (real ones only), V outputs, D width, S shared negatives.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from recxfer.models.layers.precision import product_dtype

CHUNK = 512
"""Positions whose scores exist at the same time, at most."""

CHUNK_SCORES = 1 << 24
"""Scores that exist at the same time, at most: larger catalogues take smaller chunks."""


def softmax_loss(
    hidden_PD: Tensor, weight_VD: Tensor, target_P: Tensor, bias_V: Tensor | None = None
) -> Tensor:
    """Compute the mean cross-entropy over all outputs, in chunks of positions.

    The loss and its gradients are made in one pass, chunk by chunk: memory is one chunk of scores
    instead of all of them, and the scores are computed once instead of twice. Products run in the
    autocast dtype where autocast is on; sums over positions are float32.

    Args:
        hidden_PD: user vectors of the positions.
        weight_VD: output vectors.
        target_P: int64 output index of each position.
        bias_V: output biases.
    """
    dtype = product_dtype(hidden_PD)
    loss: Tensor = _ChunkedSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden_PD, weight_VD, target_P, bias_V, dtype
    )
    return loss


class _ChunkedSoftmax(torch.autograd.Function):
    """Cross-entropy whose backward only scales what its forward has already computed."""

    @staticmethod
    @override
    def forward(
        ctx: Any,
        hidden_PD: Tensor,
        weight_VD: Tensor,
        target_P: Tensor,
        bias_V: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        P = hidden_PD.shape[0]
        V = weight_VD.shape[0]
        chunk = max(1, min(CHUNK, CHUNK_SCORES // V))
        learn_hidden, learn_weight, _, learn_bias, _ = ctx.needs_input_grad
        product_VD = weight_VD.to(dtype)
        d_hidden_PD = torch.empty_like(hidden_PD) if learn_hidden else None
        d_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if learn_weight else None
        d_bias_V = torch.zeros(V, device=weight_VD.device) if learn_bias else None
        loss = torch.zeros((), device=hidden_PD.device)
        for start in range(0, P, chunk):
            part = slice(start, start + chunk)
            hidden_CD = hidden_PD[part].to(dtype)
            target_C1 = target_P[part, None]
            score_CV = hidden_CD @ product_VD.T
            if bias_V is not None:
                score_CV = score_CV + bias_V.to(dtype)
            log_p_CV = F.log_softmax(score_CV, dim=1)
            loss -= log_p_CV.gather(1, target_C1).sum(dtype=torch.float32)
            # From here on the buffer holds d loss / d scores = softmax - one-hot.
            d_score_CV = log_p_CV.exp_()
            minus_one_C1 = d_score_CV.new_full(target_C1.shape, -1.0)
            d_score_CV.scatter_add_(1, target_C1, minus_one_C1)
            if d_hidden_PD is not None:
                d_hidden_PD[part] = d_score_CV @ product_VD
            if d_weight_VD is not None:
                d_weight_VD += d_score_CV.T @ hidden_CD
            if d_bias_V is not None:
                d_bias_V += d_score_CV.sum(0, dtype=torch.float32)
        ctx.save_for_backward(d_hidden_PD, d_weight_VD, d_bias_V)
        ctx.count = max(P, 1)
        mean: Tensor = loss / ctx.count
        return mean

    @staticmethod
    @override
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        scale = d_loss / ctx.count
        d_hidden_PD, d_weight_VD, d_bias_V = (
            None if gradient is None else gradient.mul_(scale) for gradient in ctx.saved_tensors
        )
        return d_hidden_PD, d_weight_VD, None, d_bias_V, None


def sampled_softmax_loss(
    hidden_PD: Tensor,
    target_PD: Tensor,
    negative_SD: Tensor,
    target_P: Tensor,
    negative_S: Tensor,
    log_q_V: Tensor,
) -> Tensor:
    """Compute the mean cross-entropy of each target among negatives that all positions share.

    Scores are corrected by the log of the sampling probability (Jean et al. 2015, section 3.2), and
    a negative that is the position's own target is left out.

    Args:
        hidden_PD: user vectors of the positions.
        target_PD: output vectors of the targets.
        negative_SD: output vectors of the negatives.
        target_P: int64 output index of each target.
        negative_S: int64 output index of each negative.
        log_q_V: log probability with which each output is drawn.
    """
    dtype = product_dtype(hidden_PD)
    positive_P = (hidden_PD.float() * target_PD.float()).sum(-1) - log_q_V[target_P]
    negative_PS = (hidden_PD.to(dtype) @ negative_SD.to(dtype).T).float() - log_q_V[negative_S]
    negative_PS = negative_PS.masked_fill(target_P[:, None] == negative_S, -torch.inf)
    score_P = torch.cat([positive_P[:, None], negative_PS], dim=1)
    return F.cross_entropy(score_P, torch.zeros_like(target_P))


def binary_loss(hidden_PD: Tensor, target_PD: Tensor, negative_PD: Tensor) -> Tensor:
    """Compute the binary cross-entropy of each target against one negative (SASRec, equation 6).

    Args:
        hidden_PD: user vectors of the positions.
        target_PD: output vectors of the targets.
        negative_PD: output vectors of one negative per position.
    """
    hidden_PD = hidden_PD.float()
    positive_P = (hidden_PD * target_PD).sum(-1)
    negative_P = (hidden_PD * negative_PD).sum(-1)
    return F.softplus(-positive_P).mean() + F.softplus(negative_P).mean()


def bpr_loss(hidden_PD: Tensor, target_PD: Tensor, negative_PD: Tensor) -> Tensor:
    """Compute -log sigmoid(target's score - negative's) (BPR, Rendle et al. 2009, section 4.1).

    Args:
        hidden_PD: user vectors of the positions.
        target_PD: output vectors of the targets.
        negative_PD: output vectors of one negative per position.
    """
    return F.softplus((hidden_PD.float() * (negative_PD - target_PD)).sum(-1)).mean()
