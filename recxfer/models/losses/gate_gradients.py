"""Gradients for decisions that are 0 or 1: straight through, and by reward.

The log-odds z of a decision stand for the two logits of the paper's two-way choice: z = g_0 - g_1,
whose softmax is (sigmoid(z), sigmoid(-z)) and whose Gumbel noise is logistic.

Shape letters: B rows, N decisions of a row.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def straight_through(logit_BN: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Draw decisions with probability sigmoid(z): 0 or 1, with the gradient of a softer draw.

    Gumbel-softmax, straight through (Jang et al. 2017, section 2.2): forward [z + e > 0], backward
    d sigmoid((z + e) / temperature) / dz, with logistic noise e.

    Args:
        logit_BN: log-odds z.
        temperature: above 0; the lower, the steeper and the less biased, but the noisier.
        generator: draws the noise.
    """
    noisy_BN = logit_BN + _logistic(logit_BN, generator)
    soft_BN = torch.sigmoid(noisy_BN / temperature)
    return (noisy_BN > 0).to(soft_BN.dtype) + (soft_BN - soft_BN.detach())


def draw(logit_BN: Tensor, generator: torch.Generator) -> Tensor:
    """Draw decisions with probability sigmoid(z): 0 or 1, without a gradient."""
    return (logit_BN.detach() + _logistic(logit_BN, generator) > 0).to(logit_BN.dtype)


def policy_gradient_loss(logit_BN: Tensor, action_BN: Tensor, advantage_B: Tensor) -> Tensor:
    """Compute -mean_b A_b log pi(a_b): its gradient is that of REINFORCE (Williams 1992) on A.

    Args:
        logit_BN: log-odds that the actions were drawn with.
        action_BN: 0 or 1.
        advantage_B: reward of an action minus a baseline that does not depend on it.
    """
    minus_log_BN = F.binary_cross_entropy_with_logits(logit_BN, action_BN, reduction="none")
    return (advantage_B.detach() * minus_log_BN.sum(1)).mean()


def reward(
    hit_B: Tensor, action_BN: Tensor, cost: float, paid: Literal["copies", "pretrained"]
) -> Tensor:
    """Compute an action's reward: 1 - cost (1 - m)^2 where the target was found, else -cost.

    Args:
        hit_B: bool, whether the target was found.
        action_BN: 0 or 1.
        cost: gamma.
        paid: what m is the share of, among the blocks of a row: copies, as in the release, which
            pays for more of them; or pretrained blocks, as BlockDrop and SkipRec pay for less.
    """
    share_B = action_BN.mean(1)
    missing_B = 1 - share_B if paid == "copies" else share_B
    return torch.where(hit_B, 1 - cost * missing_B.square(), torch.full_like(missing_B, -cost))


def _logistic(like_BN: Tensor, generator: torch.Generator) -> Tensor:
    """Standard logistic noise: the difference of two Gumbel variables."""
    # Drawn on the CPU, so that every device sees the same; never 0 or 1, so that it is finite.
    uniform_BN = torch.rand(like_BN.shape, dtype=torch.float64, generator=generator)
    uniform_BN = uniform_BN.clamp_(1e-12, 1 - 1e-12)
    noise_BN = uniform_BN.log() - (-uniform_BN).log1p()
    return noise_BN.to(like_BN.device, like_BN.dtype)
