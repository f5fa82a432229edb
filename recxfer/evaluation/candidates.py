"""Candidates that a target is ranked among: all items but those its user met, or a sample of them.

Shape letters: R rows, C rows of a chunk, X events that rows of a chunk have seen, N candidates.
"""

import torch
from torch import Tensor

from recxfer.data.ragged import flat_indices, owners
from recxfer.data.rows import Rows, Seen
from recxfer.foundation.errors import DataError
from recxfer.foundation.rng import Rng

SAMPLING_ROWS = 8192
"""Rows whose candidates come from one random stream; a fixed grid, so that batching is free."""


def flat_seen(row_C: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
    """List the seen items of rows as pairs: the row's place in the chunk, and the item."""
    start_C, end_C = seen.start_R[row_C], seen.end_R[row_C]
    count_C = end_C - start_C
    return owners(count_C), seen.item_E[flat_indices(start_C, count_C)].long()


def count_seen(rows: Rows, seen: Seen | None) -> Tensor:
    """Count the distinct items seen by each row, without the target."""
    assert rows.target_R is not None
    count_R = torch.zeros(len(rows), dtype=torch.int64)
    if seen is None:
        return count_R
    num_items = int(seen.item_E.max()) + 1 if seen.item_E.numel() else 1
    for row_C in torch.arange(len(rows)).split(SAMPLING_ROWS):
        position_X, item_X = flat_seen(row_C, seen)
        other_X = item_X - 1 != rows.target_R[row_C][position_X]
        key_X = (position_X * num_items + item_X)[other_X].unique()
        count_R[row_C] = torch.bincount(key_X // num_items, minlength=row_C.numel())
    return count_R


def draw_candidates(rows: Rows, num_items: int, count: int, rng: Rng, seen: Seen | None) -> Tensor:
    """Draw distinct negatives for each row (R, N), int32.

    A function of the seed, the rows and what is left out: the same for every method.
    """
    assert rows.target_R is not None
    parts = []
    for start in range(0, len(rows), SAMPLING_ROWS):
        row_C = torch.arange(start, min(start + SAMPLING_ROWS, len(rows)))
        generator = rng.generator("candidates", start)
        banned_X = row_C.sub(start).mul(num_items).add(rows.target_R[row_C])
        if seen is not None:
            position_X, item_X = flat_seen(row_C, seen)
            banned_X = torch.cat([banned_X, position_X * num_items + item_X - 1]).unique()
        banned_C = torch.bincount(banned_X // num_items, minlength=row_C.numel())
        if int((num_items - banned_C).min()) < count:
            raise DataError(
                f"a user has only {int((num_items - banned_C).min())} items left that are neither "
                f"seen nor the target, {count} candidates were asked for",
                hint="ask for fewer --candidates, or rank among all",
            )
        parts.append(_draw_distinct(row_C.numel(), num_items, count, banned_X, generator))
    return torch.cat(parts) if parts else torch.empty(0, count, dtype=torch.int32)


def _draw_distinct(
    num_rows: int, num_items: int, count: int, banned_X: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw, then draw again wherever a row repeats itself or holds something banned."""
    first_C1 = torch.arange(num_rows)[:, None] * num_items
    drawn_CN = torch.randint(num_items, (num_rows, count), generator=generator)
    while True:
        drawn_CN = drawn_CN.sort(dim=1).values
        bad_CN = torch.isin(drawn_CN + first_C1, banned_X)
        bad_CN[:, 1:] |= drawn_CN[:, 1:] == drawn_CN[:, :-1]
        num_bad = int(bad_CN.sum())
        if num_bad == 0:
            return drawn_CN.int()
        drawn_CN[bad_CN] = torch.randint(num_items, (num_bad,), generator=generator)
