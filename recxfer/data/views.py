"""Views of histories: the same user, seen a little differently.

Each operator is a pure function of a whole batch and a random stream. It chooses places, and all
that is known of an event goes with it. None empties a history, and none touches padding. CL4SRec
(Xie et al. 2022, section 3.3) has crop, mask and reorder; CoSeRec (Liu et al. 2021, section 3.2)
has substitute and insert.

Shape letters: B rows of a batch, L longest history of the batch, W longest view, V items, K
neighbours of an item.
"""

import torch
from torch import Tensor

from recxfer.data.history import History, longest_of
from recxfer.foundation.names import PAD


def crop(history: History, keep: float, generator: torch.Generator) -> History:
    """Cut a contiguous part of each history: `keep` of its events, rounded down, one at least."""
    length_B = history.length_B
    # In double, 0.29 of 100 events is a hair below 29 events.
    kept_B = (length_B.double() * keep + 1e-9).long().clamp_(min=1).minimum(length_B)
    start_B = _uniform(length_B - kept_B + 1, generator)
    return _stretch(history, start_B, kept_B)


def mask(history: History, share: float, mask_item: int, generator: torch.Generator) -> History:
    """Hide a `share` of the events, rounded up, behind the mask item; one event always shows."""
    chosen_BL = _choose(history, _count(history.length_B, share, history.length_B - 1), generator)
    return history.with_items(history.item_BL.masked_fill(chosen_BL, mask_item))


def reorder(history: History, share: float, generator: torch.Generator) -> History:
    """Shuffle a contiguous span: a `share` of the events, rounded up, two at least."""
    item_BL, length_B = history.item_BL, history.length_B
    span_B1 = _count(length_B, share, length_B, least=2)[:, None]
    start_B1 = _uniform(length_B - span_B1[:, 0] + 1, generator)[:, None]
    place_BL = _places(item_BL).expand(item_BL.shape)
    inside_BL = (place_BL >= start_B1) & (place_BL < start_B1 + span_B1)
    draw_BL = torch.rand(item_BL.shape, generator=generator).to(item_BL.device)
    # Sorted by these keys, what is outside the span keeps its place and what is inside changes it.
    key_BL = torch.where(inside_BL, start_B1 + draw_BL * span_B1, place_BL)
    return history.gather(key_BL.argsort(dim=1, stable=True), length_B)


def substitute(
    history: History, share: float, similar_VK: Tensor, generator: torch.Generator
) -> History:
    """Replace a `share` of the events, rounded up, by similar items; one event always stays."""
    item_BL = history.item_BL
    chosen_BL = _choose(history, _count(history.length_B, share, history.length_B - 1), generator)
    drawn_BL = _similar(item_BL, similar_VK, generator)
    return history.with_items(torch.where(chosen_BL, drawn_BL, item_BL))


def insert(
    history: History, share: float, similar_VK: Tensor, generator: torch.Generator
) -> History:
    """Put a similar item behind a `share` of the events, rounded up: nothing is lost.

    It has all but the item of the event that it is put behind.
    """
    item_BL, length_B = history.item_BL, history.length_B
    chosen_BL = _choose(history, _count(length_B, share, length_B), generator)
    drawn_BL = _similar(item_BL, similar_VK, generator)
    before_BL = chosen_BL.long().cumsum(1) - chosen_BL.long()
    place_BL = _places(item_BL) + before_BL
    longer_B = length_B + chosen_BL.sum(1)
    step_W = torch.arange(longest_of(longer_B), device=item_BL.device).expand(length_B.numel(), -1)
    # The last event that stands at a place or before it: before it, where an item is inserted.
    from_BW = torch.searchsorted(place_BL, step_W.contiguous(), right=True) - 1
    longer = history.gather(from_BW, longer_B)
    inserted_BW = (place_BL.gather(1, from_BW) != step_W) & longer.real_BL
    return longer.with_items(torch.where(inserted_BW, drawn_BL.gather(1, from_BW), longer.item_BL))


def keep_recent(history: History, longest: int) -> History:
    """Keep the `longest` most recent events of each history."""
    if history.item_BL.shape[1] <= longest:
        return history
    start_B = (history.length_B - longest).clamp(min=0)
    return _stretch(history, start_B, history.length_B - start_B)


def halves(history: History) -> tuple[History, History]:
    """Divide each history into every other event and the rest: two views without a common event."""
    zero_B = torch.zeros_like(history.length_B)
    return (
        _stretch(history, zero_B, (history.length_B + 1) // 2, step=2),
        _stretch(history, zero_B + 1, history.length_B // 2, step=2),
    )


def _stretch(history: History, start_B: Tensor, length_B: Tensor, step: int = 1) -> History:
    """Take so many events of each history from a place on: each, or one in `step`."""
    step_W = torch.arange(longest_of(length_B), device=length_B.device) * step
    place_BW = start_B[:, None] + step_W
    return history.gather(place_BW.clamp_(max=history.item_BL.shape[1] - 1), length_B)


def _places(item_BL: Tensor) -> Tensor:
    return torch.arange(item_BL.shape[1], device=item_BL.device)


def _count(length_B: Tensor, share: float, most_B: Tensor, least: int = 1) -> Tensor:
    """Compute a share of each length, rounded up; none where the share is zero."""
    if share == 0:
        return torch.zeros_like(length_B)
    # In double, 0.1 of 10 events is a hair above one event: the hair must not count as another.
    count_B = (length_B.double() * share - 1e-9).ceil().long()
    return count_B.clamp_(min=least).minimum(most_B.clamp(min=0))


def _uniform(bound_B: Tensor, generator: torch.Generator) -> Tensor:
    """Draw an integer from 0 below each bound."""
    draw_B = torch.rand(bound_B.shape, dtype=torch.float64, generator=generator)
    return (draw_B.to(bound_B.device) * bound_B).long()


def _choose(history: History, count_B: Tensor, generator: torch.Generator) -> Tensor:
    """Choose so many real positions of each row, all equally likely (B, L)."""
    item_BL = history.item_BL
    draw_BL = torch.rand(item_BL.shape, generator=generator).to(item_BL.device)
    draw_BL.masked_fill_(~history.real_BL, 2.0)
    rank_BL = torch.empty_like(item_BL)
    order_BL = draw_BL.argsort(dim=1)
    rank_BL.scatter_(1, order_BL, _places(item_BL).expand(item_BL.shape))
    return rank_BL < count_B[:, None]


def _similar(item_BL: Tensor, similar_VK: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a neighbour of each item; the item itself where it has none (padding, masks, loners)."""
    num_neighbours_V = (similar_VK != PAD).sum(1)
    known_BL = item_BL.clamp(min=PAD)
    draw_BL = torch.rand(item_BL.shape, dtype=torch.float64, generator=generator)
    bound_BL = num_neighbours_V[known_BL]
    column_BL = (draw_BL.to(item_BL.device) * bound_BL).long()
    drawn_BL = similar_VK[known_BL, column_BL].long()
    return torch.where(bound_BL > 0, drawn_BL, item_BL)
