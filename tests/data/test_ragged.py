"""Slices of a flat array, against plain loops."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from recxfer.data.ragged import firsts, flat_indices, owners, places

slices = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=12)


def tensors(pairs):
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)


@given(slices)
def test_entries_are_those_of_a_plain_loop(pairs):
    start_R, length_R = tensors(pairs)
    found = [flat_indices(start_R, length_R), owners(length_R), places(length_R)]
    looped = [
        (start + place, owner, place)
        for owner, (start, length) in enumerate(pairs)
        for place in range(length)
    ]
    assert list(zip(*(entries.tolist() for entries in found), strict=True)) == looped
    assert all(entries.dtype == torch.int64 for entries in found)


@given(slices)
def test_entries_are_counted_before_each_slice(pairs):
    _, length_R = tensors(pairs)
    assert firsts(length_R).tolist() == [
        sum(length for _, length in pairs[:number]) for number in range(len(pairs))
    ]


@given(slices)
def test_owners_and_places_lead_back_to_the_slices(pairs):
    start_R, length_R = tensors(pairs)
    owner_X, place_X = owners(length_R), places(length_R)
    assert torch.equal(owner_X.bincount(minlength=len(pairs)), length_R)
    assert torch.equal(start_R[owner_X] + place_X, flat_indices(start_R, length_R))
