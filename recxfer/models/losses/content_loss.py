"""Losses over items known by content: among the items of a batch, or over the next clicks.

Shape letters: P positions (real ones only), U distinct items of a batch, B rows, K next clicks,
N negatives, D width, E pairs of a user and an item, C positions of a chunk.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from recxfer.data.ragged import firsts, flat_indices, owners
from recxfer.data.rows import Rows

CHUNK_SCORES = 1 << 25
"""Scores that exist at the same time, at most (128 MB); where there are more, they are computed
again for the gradient."""


NEVER = torch.iinfo(torch.int64).max
"""When somebody meets what they did not meet in training."""


class Met:
    """Items that each user met in training, and when first: no negatives for them."""

    def __init__(self, rows: Rows, num_items: int) -> None:
        """Sort the pairs of users and items.

        Args:
            rows: of training; those of one user count together.
            num_items: V.
        """
        self._num_items = num_items
        index_E = flat_indices(rows.start_R, rows.length_R)
        user_E = torch.repeat_interleave(rows.user_R, rows.length_R)
        # Pairs as one sorted number each: person * V + item - 1.
        pair_E = user_E * num_items + rows.item_E[index_E].long() - 1
        self._pair_E, which_E = pair_E.unique(return_inverse=True)
        when_E = torch.full_like(self._pair_E, NEVER).scatter_reduce(0, which_E, index_E, "amin")
        self._on = {when_E.device: (self._pair_E, when_E)}

    def since(self, user_B: Tensor, item_U: Tensor) -> Tensor:
        """Find when each user first met each of these items: event numbers, or NEVER, int64 (B, U).

        Args:
            user_B: users.
            item_U: distinct items, ascending, at least one.
        """
        device = item_U.device
        if device not in self._on:
            pair_E, when_E = self._on[self._pair_E.device]
            self._on[device] = pair_E.to(device), when_E.to(device)
        pair_E, when_E = self._on[device]
        first_B, count_B = self._spans(pair_E, user_B)
        row_X = owners(count_B)
        index_X = flat_indices(first_B, count_B)
        item_X = pair_E[index_X] % self._num_items + 1
        place_X = torch.searchsorted(item_U, item_X).clamp_(max=item_U.numel() - 1)
        here_X = item_U[place_X] == item_X
        since_BU = torch.full((user_B.numel(), item_U.numel()), NEVER, device=device)
        since_BU[row_X[here_X], place_X[here_X]] = when_E[index_X[here_X]]
        return since_BU

    def draw_others(self, user_B: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Items (B, count) that each user has not met, uniformly and with repetition.

        The r-th item that somebody has not met is found without drawing twice: in front of the
        i-th met item (both counted from 0) lie as many items not met as its own number less i.
        Who has met everything gets any item.

        Args:
            user_B: users, on the CPU.
            count: N.
            generator: on the CPU.
        """
        V = self._num_items
        first_B, count_B = self._spans(self._pair_E, user_B)
        free_B1 = (V - count_B)[:, None]
        chance_BN = torch.rand(user_B.numel(), count, dtype=torch.float64, generator=generator)
        nth_BN = (chance_BN * torch.where(free_B1 > 0, free_B1, V)).long()
        row_X = owners(count_B)
        index_X = flat_indices(first_B, count_B)
        free_before_X = self._pair_E[index_X] % V - (index_X - first_B[row_X])
        # One sorted key of (row, free items before) serves all rows at once.
        row_B1 = torch.arange(user_B.numel())[:, None]
        key_X, query_BN = row_X * (V + 1) + free_before_X, row_B1 * (V + 1) + nth_BN
        before_B1 = firsts(count_B)[:, None]
        met_before_BN = torch.searchsorted(key_X, query_BN, right=True) - before_B1
        return 1 + nth_BN + torch.where(free_B1 > 0, met_before_BN, 0)

    def _spans(self, pair_E: Tensor, user_B: Tensor) -> tuple[Tensor, Tensor]:
        """First pair and number of pairs of each user."""
        first_B = torch.searchsorted(pair_E, user_B * self._num_items)
        end_B = torch.searchsorted(pair_E, (user_B + 1) * self._num_items)
        return first_B, end_B - first_B


def log_presence(count_U: Tensor, total: int, events: int) -> Tensor:
    """Compute the log of the chance that a batch of so many events holds an item, float32 (U).

    Args:
        count_U: how often each item occurs in training, at least once.
        total: events of training.
        events: of the batch.
    """
    share_U = count_U.double() / total
    return (-torch.expm1(events * torch.log1p(-share_U))).log().float()


def in_batch_loss(
    hidden_PD: Tensor,
    vector_UD: Tensor,
    target_P: Tensor,
    row_P: Tensor,
    at_P: Tensor,
    since_BU: Tensor,
    log_q_U: Tensor,
) -> Tensor:
    """Compute the mean cross-entropy of each position's next item among the items of the batch.

    Scores are corrected by the log of the chance with which an item is among them (Yi et al. 2019,
    equation 4; there the chance is that of one draw). What would be a false negative is left out.

    Args:
        hidden_PD: user vectors of the positions.
        vector_UD: item vectors.
        target_P: int64 index into U of each position's next item.
        row_P: int64 row of each position.
        at_P: int64 when each position is, in the numbers of `since_BU`.
        since_BU: int64, since when each item is no negative for the positions of a row.
        log_q_U: log of the chance that a batch holds each item; zeros correct nothing.
    """
    num_positions, num_items = hidden_PD.shape[0], vector_UD.shape[0]

    def part(
        hidden_CD: Tensor, vector_UD: Tensor, target_C: Tensor, row_C: Tensor, at_C: Tensor
    ) -> Tensor:
        score_CU = (hidden_CD @ vector_UD.T).float() - log_q_U
        false_CU = (since_BU[row_C] <= at_C[:, None]).scatter_(1, target_C[:, None], False)
        score_CU = score_CU.masked_fill(false_CU, -torch.inf)
        return F.cross_entropy(score_CU, target_C, reduction="sum")

    size = max(1, CHUNK_SCORES // num_items)
    if num_positions <= size:
        return part(hidden_PD, vector_UD, target_P, row_P, at_P) / max(num_positions, 1)
    total = torch.zeros((), device=hidden_PD.device)
    for start in range(0, num_positions, size):
        cut = slice(start, start + size)
        parts = hidden_PD[cut], vector_UD, target_P[cut], row_P[cut], at_P[cut]
        loss: Tensor = checkpoint(part, *parts, use_reentrant=False)
        total = total + loss
    return total / num_positions


def next_clicks_loss(
    user_BD: Tensor, click_BKD: Tensor, real_BK: Tensor, negative_BND: Tensor
) -> Tensor:
    """Compute the binary cross-entropy of each row's next clicks and negatives (TransRec release).

    Args:
        user_BD: user vectors.
        click_BKD: vectors of the next clicks.
        real_BK: false where a row has fewer.
        negative_BND: vectors of negatives.
    """
    user_BD = user_BD.float()
    click_BK = torch.einsum("bd,bkd->bk", user_BD, click_BKD.float())
    negative_BN = torch.einsum("bd,bnd->bn", user_BD, negative_BND.float())
    return F.softplus(-click_BK[real_BK]).mean() + F.softplus(negative_BN).mean()
