"""Cut the rows of each task and part from the flat events of datasets.

Three rules keep the future out of every history. Training rows hold train events only. The
history of a next-item case ends right before its target. The source history of a cross-domain
case ends before the time of its target, where both domains have times.
"""

from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor

from recxfer.data.dataset import Dataset, Events
from recxfer.data.ragged import places
from recxfer.data.rows import Rows, Seen
from recxfer.foundation.errors import DataError
from recxfer.foundation.names import SPLITS, TRAIN
from recxfer.foundation.rng import Rng

Part = Literal["train", "valid", "test"]

ITEMS_ALONE = ("item",)
"""Columns of histories, where nobody asks for more."""


def next_item_training(
    dataset: Dataset,
    max_length: int,
    columns: Collection[str] = ITEMS_ALONE,
    *,
    windows: str = "all",
) -> Rows:
    """Cut histories in which every event but the first is a target.

    A history longer than `max_length` + 1 events is cut into windows from its end, each sharing
    its first event with the end of the one before, so that every event is a target once.

    Args:
        dataset: the domain.
        max_length: longest input of the backbone.
        columns: of `History`, that the backbone reads.
        windows: `all`, or `last` for the most recent window of each user alone.
    """
    events = dataset.events
    start_U, count_U = _train_ranges(events)
    user_R = (count_U >= 2).nonzero().squeeze(1)
    if user_R.numel() == 0:
        raise DataError(
            f"{dataset.path} has no user with two training events: there is nothing to predict",
            hint="use longer histories, or another split",
        )
    start_R, end_R = start_U[user_R], start_U[user_R] + count_U[user_R]
    if windows == "all":
        count_R = ((end_R - start_R - 1) + max_length - 1) // max_length
        user_R = torch.repeat_interleave(user_R, count_R)
        first_R = torch.repeat_interleave(start_R, count_R)
        last_R = torch.repeat_interleave(end_R, count_R)
        back_R = places(count_R)
        end_R = last_R - back_R * max_length
        start_R = torch.maximum(first_R, end_R - max_length - 1)
    else:
        start_R = torch.maximum(start_R, end_R - max_length - 1)
    return Rows(dataset.columns(columns), start_R, length_R=end_R - start_R, user_R=user_R)


def next_item_cases(
    dataset: Dataset, part: Part, max_length: int, columns: Collection[str] = ITEMS_ALONE
) -> Rows:
    """Cut held-out events, each with the history before it and all its user met before.

    Under `leave-last` that is one case per user, under `temporal` one per event of the part, under
    `users` the last event of each held-out user. Events without any history are left out.
    """
    events = dataset.events
    index_R = (events.split_E == SPLITS.index(part)).nonzero().squeeze(1)
    if dataset.info.split.rule == "users":
        index_R = index_R[torch.isin(index_R, events.offset_U1[1:] - 1)]
    user_R = _owners(events, index_R)
    first_R = events.offset_U1[user_R]
    kept_R = index_R > first_R
    index_R, user_R, first_R = index_R[kept_R], user_R[kept_R], first_R[kept_R]
    length_R = (index_R - first_R).clamp(max=max_length)
    return Rows(
        columns=dataset.columns(columns),
        start_R=index_R - length_R,
        length_R=length_R,
        user_R=user_R,
        target_R=events.item_E[index_R].long() - 1,
        seen=Seen(events.item_E, first_R, index_R),
    )


def profile_rows(
    dataset: Dataset,
    label: str,
    part: Part,
    max_length: int,
    columns: Collection[str] = ITEMS_ALONE,
) -> Rows:
    """Cut one row per user of the part whose label is known, empty histories included.

    Histories hold train events only (under the `users` split: all of the user's events), so that
    no held-out event of another task on the same users is ever read.
    """
    label_U, _ = dataset.labels(label)
    in_part_U = dataset.user_split_U == SPLITS.index(part)
    user_R = (in_part_U & (label_U >= 0)).nonzero().squeeze(1)
    if user_R.numel() == 0:
        raise DataError(
            f"{dataset.path} has no {part} user with a known {label}",
            hint="check the label column, or prepare a larger dataset",
        )
    start_R, length_R = _known_histories(dataset, user_R, max_length)
    return Rows(
        columns=dataset.columns(columns),
        start_R=start_R,
        length_R=length_R,
        user_R=user_R,
        target_R=label_U[user_R],
    )


def hold_out_users(dataset: Dataset, rows: Rows, max_length: int) -> tuple[Rows, Rows]:
    """Divide users: training rows without those of the valid part, and histories of these.

    Histories are those of profile tasks. Users with one event are left out of the second part:
    their histories cannot be halved.

    Args:
        dataset: the domain.
        rows: training rows on it.
        max_length: longest history.
    """
    apart_U = dataset.user_split_U == SPLITS.index("valid")
    user_R = apart_U.nonzero().squeeze(1)
    start_R, length_R = _known_histories(dataset, user_R, max_length)
    held_out = Rows(rows.columns, start_R, length_R, user_R)
    return (
        rows.take((~apart_U[rows.user_R]).nonzero().squeeze(1)),
        held_out.take((length_R >= 2).nonzero().squeeze(1)),
    )


def cross_domain_rows(
    source: Dataset,
    target: Dataset,
    part: Part,
    max_length: int,
    columns: Collection[str] = ITEMS_ALONE,
) -> Rows:
    """Join each target event of the part with its user's source history before it.

    Every (history, target item) pair is a row (PeterRec, section 3.1). Users that the source does
    not know have an empty history.
    """
    events = target.events
    source_U = target.link_to(source)
    index_R = (events.split_E == SPLITS.index(part)).nonzero().squeeze(1)
    user_R = _owners(events, index_R)
    person_R = source_U[user_R]
    timed = source.info.has_timestamps and target.info.has_timestamps
    before_R = events.time_E[index_R] if timed else None
    start_R, end_R = _histories_before(source.events, person_R.clamp(min=0), before_R)
    length_R = torch.where(person_R >= 0, end_R - start_R, 0).clamp(max=max_length)
    return Rows(
        columns=source.columns(columns),
        start_R=end_R - length_R,
        length_R=length_R,
        user_R=user_R,
        target_R=events.item_E[index_R].long() - 1,
        seen=Seen(events.item_E, events.offset_U1[user_R], index_R),
    )


def share_of_users(rows: Rows, share: float, rng: Rng) -> Rows:
    """Keep the rows of some users, drawn so that a smaller share is part of a larger one.

    Args:
        rows: of any task.
        share: of the users who have rows, above 0 to 1; at least one user stays.
        rng: draws the order in which users join.
    """
    if share == 1:
        return rows
    people = rows.user_R.unique()
    order = torch.randperm(people.numel(), generator=rng.generator("train_share"))
    chosen = people[order[: max(1, round(share * people.numel()))]]
    return rows.take(torch.isin(rows.user_R, chosen).nonzero().squeeze(1))


def every_user(
    dataset: Dataset,
    max_length: int,
    target: Dataset | None = None,
    columns: Collection[str] = ITEMS_ALONE,
) -> Rows:
    """Cut each user's whole history, for exports; what was met in the target may be left out.

    Args:
        dataset: where histories are read.
        max_length: longest history.
        target: where items are recommended from, if that is another, linked dataset.
        columns: of `History`, that the backbone reads.
    """
    events = dataset.events
    first_U, last_U = events.offset_U1[:-1], events.offset_U1[1:]
    length_U = (last_U - first_U).clamp(max=max_length)
    seen = Seen(events.item_E, first_U, last_U)
    if target is not None:
        seen = _met_in(target, dataset)
    return Rows(
        columns=dataset.columns(columns),
        start_R=last_U - length_U,
        length_R=length_U,
        user_R=torch.arange(events.num_users),
        seen=seen,
    )


def _met_in(target: Dataset, source: Dataset) -> Seen:
    """Collect what each source user met in the target; nothing for users it does not know."""
    source_T = target.link_to(source)
    known_T = (source_T >= 0).nonzero().squeeze(1)
    start_U = torch.zeros(source.num_users, dtype=torch.int64)
    end_U = torch.zeros(source.num_users, dtype=torch.int64)
    start_U[source_T[known_T]] = target.events.offset_U1[known_T]
    end_U[source_T[known_T]] = target.events.offset_U1[known_T + 1]
    return Seen(target.events.item_E, start_U, end_U)


def _train_ranges(events: Events) -> tuple[Tensor, Tensor]:
    """Find the first event and number of train events of each user: train events come first."""
    train_E = (events.split_E == SPLITS.index(TRAIN)).long()
    until_E1 = torch.cat([train_E.new_zeros(1), train_E.cumsum(0)])
    return events.offset_U1[:-1], until_E1[events.offset_U1[1:]] - until_E1[events.offset_U1[:-1]]


def _known_histories(dataset: Dataset, user_R: Tensor, max_length: int) -> tuple[Tensor, Tensor]:
    events = dataset.events
    start_U, count_U = _train_ranges(events)
    if dataset.info.split.rule == "users":
        count_U = events.offset_U1.diff()
    end_R = (start_U + count_U)[user_R]
    length_R = count_U[user_R].clamp(max=max_length)
    return end_R - length_R, length_R


def _histories_before(
    events: Events, person_R: Tensor, before_R: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Find, for each user, the first event and one past the last event earlier than `before_R`."""
    first_R, last_R = events.offset_U1[person_R], events.offset_U1[person_R + 1]
    if before_R is None:
        return first_R, last_R
    # One sorted key of (user, time) turns the search for each case into a single searchsorted.
    times = torch.cat([events.time_E, before_R]).unique()
    span = times.numel() + 1
    key_E = events.user_E * span + torch.searchsorted(times, events.time_E)
    query_R = person_R * span + torch.searchsorted(times, before_R)
    return first_R, torch.searchsorted(key_E, query_R)


def _owners(events: Events, index_R: Tensor) -> Tensor:
    return torch.searchsorted(events.offset_U1, index_R, right=True) - 1
