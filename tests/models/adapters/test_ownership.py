"""Ownership of weights: exact counts, disjoint parts, nothing moves that is owned."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recxfer.data.history import History
from recxfer.models import BACKBONES
from recxfer.models.adapters.ownership import (
    Owned,
    kernels,
    of_tasks,
    own_kernels,
    pack,
    unpack,
    whole_state,
)


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**31))
def test_owner_maps_survive_packing(num_tasks, size, seed):
    draw = torch.Generator().manual_seed(seed)
    owner = torch.randint(0, num_tasks + 1, (size, 3), generator=draw).to(torch.uint8)
    packed = pack(owner, num_tasks)
    assert packed.shape == (num_tasks.bit_length(), -(-3 * size // 8))
    assert torch.equal(unpack(packed, owner.shape), owner)


def build(name):
    backbone_type = BACKBONES.resolve(name)
    torch.manual_seed(0)
    config = backbone_type.config_type(width=8, max_length=10, dropout=0.0)
    return backbone_type(config, 20, causal=True).double()


@pytest.mark.parametrize("name", ["nextitnet", "sasrec"])
def test_a_fresh_split_changes_nothing(name):
    backbone, other = build(name), build(name)
    own_kernels(backbone, None, 1)
    history = History(torch.randint(1, 21, (3, 7)), torch.tensor([7, 5, 1]))
    assert torch.equal(backbone(history), other(history))
    assert whole_state(backbone).keys() == other.state_dict().keys()
    assert all(torch.equal(t, other.state_dict()[n]) for n, t in whole_state(backbone).items())
    matrices = {n for n, p in other.named_parameters() if p.dim() >= 2 and "table" not in n}
    assert {kernel.name for kernel in kernels(backbone)} == matrices


@pytest.mark.parametrize("name", ["nextitnet", "sasrec"])
def test_parts_are_disjoint_and_their_shares_exact(name):
    """I4: densities sum to 1 - 0.7^t, to half an entry."""
    state, owners = build(name).state_dict(), None
    for number in range(1, 8):
        backbone = build(name)
        backbone.load_state_dict(state)
        own_kernels(backbone, owners, number)
        for kernel in kernels(backbone):
            before = kernel.owned.owner.clone()
            target = round(kernel.weight.numel() * 0.7**number)
            kernel.owned.prune(kernel.weight, target, 0.7)
            after = kernel.owned.owner
            assert torch.equal(after[before > 0], before[before > 0])
            assert set(after[before == 0].unique().tolist()) <= {0, number}
            assert abs((after > 0).double().mean() - (1 - 0.7**number)) <= 0.5 / after.numel()
        owners = {kernel.name: kernel.owned.owner.clone() for kernel in kernels(backbone)}
        state = whole_state(backbone)


@pytest.mark.parametrize("optimiser", ["adam", "momentum"])
def test_only_what_learns_moves(optimiser):
    """I5, with everything that could move a weight: decay, momentum, huge gradients."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(6, 5))
    owner = torch.zeros(6, 5, dtype=torch.uint8)
    owner[:2] = 1
    owned = Owned(weight, owner, 2)
    start = weight.detach().clone()

    def train():
        if optimiser == "adam":
            step = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
        else:
            step = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.5)
        for _ in range(5):
            step.zero_grad()
            (owned(weight) * torch.randn(6, 5)).square().sum().backward()
            step.step()

    train()
    trained = owned.complete(weight)
    assert torch.equal(trained[:2], start[:2])
    assert (trained[2:] != start[2:]).all()
    owned.prune(weight, 12, 0.6)
    assert int((owned.owner == 2).sum()) == 30 - 10 - 12
    kept, free = owned.owner == 2, owned.owner == 0
    assert trained[free].abs().max() <= trained[kept].abs().min()
    assert (owned(weight)[free] == 0).all()
    train()
    again = owned.complete(weight)
    assert torch.equal(again[:2], start[:2])
    assert torch.equal(again[free], trained[free])
    assert (again[kept] != trained[kept]).all()
    assert torch.equal(of_tasks(again, owned.owner, 1)[:2], start[:2])
    assert (of_tasks(again, owned.owner, 1)[2:] == 0).all()
    assert torch.equal(of_tasks(again, owned.owner, 2), owned(weight))


def test_pruning_can_be_undone_and_breaks_ties_exactly():
    weight = torch.nn.Parameter(torch.ones(4, 4))
    owned = Owned(weight, torch.zeros(4, 4, dtype=torch.uint8), 1)
    owned.prune(weight, 11, 0.7)
    assert owned.num_free == 11
    assert owned.owner.flatten()[:5].tolist() == [1] * 5
    owned.undo()
    assert owned.num_free == 16
    assert torch.equal(owned(weight), weight)
