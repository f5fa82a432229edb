"""Measures of collapse: how spread user vectors are, their rank, and recognition.

Shape letters: N users, D width.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 1024
"""People whose similarities to all others exist at the same time, at most."""


def channel_std(vector_ND: Tensor) -> float:
    """Compute the mean std of the channels of unit vectors, times sqrt(D) (SimSiam, section 4.1).

    1 where directions are spread evenly, 0 where all users have the same vector.
    """
    unit_ND = F.normalize(vector_ND.double(), dim=1)
    return float(unit_ND.std(0, correction=0).mean()) * math.sqrt(vector_ND.shape[1])


def effective_rank(vector_ND: Tensor) -> float:
    """Compute exp of the entropy of the singular values of unit vectors (Roy and Vetterli 2007).

    Vectors are not centred, so that users who all have the same vector have rank 1, not the rank
    of their noise.
    """
    unit_ND = F.normalize(vector_ND.double(), dim=1)
    singular_D = torch.linalg.eigvalsh(unit_ND.T @ unit_ND).clamp(min=0).sqrt()
    share_D = singular_D / singular_D.sum().clamp(min=1e-12)
    return math.exp(float(torch.special.entr(share_D).sum()))


def recognition(one_ND: Tensor, other_ND: Tensor) -> float:
    """Compute the mean reciprocal rank of each user's second vector, by cosine with their first.

    Among the second vectors of all users; a tie counts against the person, so that vectors that
    are all the same recognise nobody (1 / N).
    """
    one_ND, other_ND = F.normalize(one_ND, dim=1), F.normalize(other_ND, dim=1)
    total, start = 0.0, 0
    for one_CD in one_ND.split(BLOCK):
        score_CN = one_CD @ other_ND.T
        own_C1 = score_CN.diagonal(start)[:, None]
        rank_C = score_CN.shape[1] - (score_CN < own_C1).sum(1)
        total += float((1 / rank_C.double()).sum())
        start += one_CD.shape[0]
    return total / max(one_ND.shape[0], 1)
