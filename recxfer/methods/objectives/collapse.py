"""Measure collapse of a contrastive encoder on held-out users: recognition, spread and rank."""

from collections.abc import Callable

import torch
from torch import Tensor

from recxfer.data.batches import evaluation_batches
from recxfer.data.rows import Rows
from recxfer.data.views import halves
from recxfer.foundation.errors import DivergedError
from recxfer.models.collapse_metrics import channel_std, effective_rank, recognition
from recxfer.models.siamese import Encode, Projection

MIN_STD = 0.5
"""Below this, more than three quarters of the squared length of a unit vector is what all users
share: the squared length of the mean is 1 - D std^2, and std is given in units of 1 / sqrt(D). On
ML-1M whatever keeps learning stays above 0.85. What collapses stops at 0.2 to 0.5, not at zero:
BatchNorm does not let it fall further."""

MIN_RANK = 1.5
"""Below this, the vectors of all users lie about one line."""


def measure_users(
    encode: Encode,
    projection: Projection,
    users: Rows,
    device: torch.device,
    read: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """Measure recognition, spread and rank of the vectors of held-out users.

    `recognition` compares every other event of a history with the events between them: two views
    without a common event, the same for every setting of views and every loss, so that runs can be
    compared. `std` and `effective_rank` are of the user vectors of whole histories, the figures
    `projected_*` of what the loss compares.

    Args:
        encode: histories to vectors of the encoder, dropout off.
        projection: what the loss compares them through.
        users: their histories, of two events or more.
        device: where the encoder is.
        read: encoder vectors to user vectors.
    """
    whole, one, other = [], [], []
    for row_B in evaluation_batches(users):
        batch = users.batch(row_B).to(device)
        first, second = halves(batch.history)
        whole.append(encode(batch.history).float())
        one.append(encode(first).float())
        other.append(encode(second).float())
    whole_ND = torch.cat(whole)
    with torch.autocast(device.type, enabled=False):
        projected_NP = projection.among(whole_ND)
        user_ND = read(whole_ND)
        return {
            "recognition": recognition(read(torch.cat(one)), read(torch.cat(other))),
            "std": channel_std(user_ND),
            "effective_rank": effective_rank(user_ND),
            "projected_std": channel_std(projected_NP),
            "projected_rank": effective_rank(projected_NP),
        }


def judge(figures: dict[str, float], *, allow: bool) -> str | None:
    """Word a warning where what the loss compares has collapsed.

    Raises:
        DivergedError: it has, and that is not allowed.
    """
    std, rank = figures["projected_std"], figures["projected_rank"]
    if std >= MIN_STD and rank >= MIN_RANK:
        return None
    message = (
        f"the representation has collapsed: on people held out, the std of a channel is {std:.3f} "
        f"of what evenly spread vectors have (at least {MIN_STD}), their effective rank "
        f"{rank:.2f} (at least {MIN_RANK})"
    )
    if allow:
        return message
    raise DivergedError(
        message,
        hint="keep stop_gradient and predictor, lower --lr, or choose --set loss=nt-xent; "
        "--set allow_collapse=true goes on all the same",
    )
