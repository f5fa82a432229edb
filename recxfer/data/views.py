"""Views of histories: the same person, seen a little differently.

Each operator is a pure function of a whole batch (padded on the right) and a random stream. None
empties a history, and none touches padding. CL4SRec (Xie et al. 2022, section 3.3) has crop, mask
and reorder; CoSeRec (Liu et al. 2021, section 3.2) has substitute and insert.

Shape letters: B rows of a batch, L longest history of the batch, V items, K neighbours of an item.
"""

import torch
from torch import Tensor

from recxfer.foundation.names import PAD

View = tuple[Tensor, Tensor]
"""Histories (B, L), int64, and their lengths (B), int64."""


def crop(item_BL: Tensor, length_B: Tensor, keep: float, generator: torch.Generator) -> View:
    """A contiguous part of each history: `keep` of its events, rounded down, one at least."""
    # In double, 0.29 of 100 events is a hair below 29 events.
    kept_B = (length_B.double() * keep + 1e-9).long().clamp_(min=1).minimum(length_B)
    start_B = _uniform(length_B - kept_B + 1, generator)
    place_BL = start_B[:, None] + _places(item_BL)
    cropped_BL = item_BL.gather(1, place_BL.clamp_(max=item_BL.shape[1] - 1))
    return trim(cropped_BL, kept_B)


def mask(
    item_BL: Tensor, length_B: Tensor, share: float, mask_item: int, generator: torch.Generator
) -> View:
    """Hide a `share` of the events, rounded up, behind the mask item; one event always shows."""
    chosen_BL = _choose(item_BL, length_B, _count(length_B, share, length_B - 1), generator)
    return item_BL.masked_fill(chosen_BL, mask_item), length_B


def reorder(item_BL: Tensor, length_B: Tensor, share: float, generator: torch.Generator) -> View:
    """Shuffle a contiguous span: a `share` of the events, rounded up, two at least."""
    span_B1 = _count(length_B, share, length_B, least=2)[:, None]
    start_B1 = _uniform(length_B - span_B1[:, 0] + 1, generator)[:, None]
    place_BL = _places(item_BL).expand(item_BL.shape)
    inside_BL = (place_BL >= start_B1) & (place_BL < start_B1 + span_B1)
    draw_BL = torch.rand(item_BL.shape, generator=generator).to(item_BL.device)
    # Sorted by these keys, what is outside the span keeps its place and what is inside changes it.
    key_BL = torch.where(inside_BL, start_B1 + draw_BL * span_B1, place_BL)
    return item_BL.gather(1, key_BL.argsort(dim=1, stable=True)), length_B


def substitute(
    item_BL: Tensor, length_B: Tensor, share: float, similar_VK: Tensor, generator: torch.Generator
) -> View:
    """Replace a `share` of the events, rounded up, by similar items; one event always stays."""
    chosen_BL = _choose(item_BL, length_B, _count(length_B, share, length_B - 1), generator)
    return torch.where(chosen_BL, _similar(item_BL, similar_VK, generator), item_BL), length_B


def insert(
    item_BL: Tensor, length_B: Tensor, share: float, similar_VK: Tensor, generator: torch.Generator
) -> View:
    """Put a similar item behind a `share` of the events, rounded up: nothing is lost."""
    chosen_BL = _choose(item_BL, length_B, _count(length_B, share, length_B), generator)
    before_BL = chosen_BL.long().cumsum(1) - chosen_BL.long()
    place_BL = _places(item_BL) + before_BL
    longest = item_BL.shape[1] + (int(chosen_BL.sum(1).max()) if chosen_BL.numel() else 0)
    longer_BL = item_BL.new_full((item_BL.shape[0], longest), PAD)
    longer_BL.scatter_(1, place_BL, item_BL)
    row_X, column_X = chosen_BL.nonzero(as_tuple=True)
    drawn_BL = _similar(item_BL, similar_VK, generator)
    longer_BL[row_X, place_BL[row_X, column_X] + 1] = drawn_BL[row_X, column_X]
    return trim(longer_BL, length_B + chosen_BL.sum(1))


def keep_recent(item_BL: Tensor, length_B: Tensor, longest: int) -> View:
    """The `longest` most recent events of each history."""
    if item_BL.shape[1] <= longest:
        return item_BL, length_B
    start_B1 = (length_B - longest).clamp(min=0)[:, None]
    place_BL = start_B1 + torch.arange(longest, device=item_BL.device)
    return trim(
        item_BL.gather(1, place_BL.clamp_(max=item_BL.shape[1] - 1)), length_B - start_B1[:, 0]
    )


def halves(item_BL: Tensor, length_B: Tensor) -> tuple[View, View]:
    """Every other event of each history, and the rest: two views without a common event."""
    first = trim(item_BL[:, 0::2], (length_B + 1) // 2)
    if item_BL.shape[1] == 1:
        return first, (torch.full_like(item_BL, PAD), torch.zeros_like(length_B))
    return first, trim(item_BL[:, 1::2], length_B // 2)


def trim(item_BL: Tensor, length_B: Tensor) -> View:
    """The same histories with nothing but padding behind them, and no column that all pad."""
    longest = max(int(length_B.max()), 1) if length_B.numel() else 1
    item_BL = item_BL[:, :longest]
    return torch.where(_places(item_BL) < length_B[:, None], item_BL, PAD), length_B


def _places(item_BL: Tensor) -> Tensor:
    return torch.arange(item_BL.shape[1], device=item_BL.device)


def _count(length_B: Tensor, share: float, most_B: Tensor, least: int = 1) -> Tensor:
    """A share of each length, rounded up; none where the share is zero."""
    if share == 0:
        return torch.zeros_like(length_B)
    # In double, 0.1 of 10 events is a hair above one event: the hair must not count as another.
    count_B = (length_B.double() * share - 1e-9).ceil().long()
    return count_B.clamp_(min=least).minimum(most_B.clamp(min=0))


def _uniform(bound_B: Tensor, generator: torch.Generator) -> Tensor:
    """An integer from 0 below each bound."""
    draw_B = torch.rand(bound_B.shape, dtype=torch.float64, generator=generator)
    return (draw_B.to(bound_B.device) * bound_B).long()


def _choose(
    item_BL: Tensor, length_B: Tensor, count_B: Tensor, generator: torch.Generator
) -> Tensor:
    """So many real positions of each row, all equally likely (B, L)."""
    draw_BL = torch.rand(item_BL.shape, generator=generator).to(item_BL.device)
    draw_BL.masked_fill_(_places(item_BL) >= length_B[:, None], 2.0)
    rank_BL = torch.empty_like(item_BL)
    order_BL = draw_BL.argsort(dim=1)
    rank_BL.scatter_(1, order_BL, _places(item_BL).expand(item_BL.shape))
    return rank_BL < count_B[:, None]


def _similar(item_BL: Tensor, similar_VK: Tensor, generator: torch.Generator) -> Tensor:
    """A neighbour of each item; the item itself where it has none (padding, masks, loners)."""
    num_neighbours_V = (similar_VK != PAD).sum(1)
    known_BL = torch.where(item_BL < similar_VK.shape[0], item_BL, PAD)
    draw_BL = torch.rand(item_BL.shape, dtype=torch.float64, generator=generator)
    bound_BL = num_neighbours_V[known_BL]
    column_BL = (draw_BL.to(item_BL.device) * bound_BL).long()
    drawn_BL = similar_VK[known_BL, column_BL].long()
    return torch.where(bound_BL > 0, drawn_BL, item_BL)
