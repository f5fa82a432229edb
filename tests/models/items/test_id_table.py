"""A table of items: what it looks up, what it learns, and how it grows."""

import pytest
import torch
from torch import nn

from recxfer.data.history import History
from recxfer.foundation.names import MASK, PAD, UNKNOWN
from recxfer.models import BACKBONES
from recxfer.models.items.id_table import IdTable

V, D = 9, 4


def make_table():
    torch.manual_seed(3)
    table = IdTable.empty(V, D)
    table.draw()
    return table


def test_a_seed_gives_the_vectors_that_it_gave_when_tables_were_embeddings():
    table = make_table()
    torch.manual_seed(3)
    before = nn.Embedding(V + 3, D, padding_idx=0)
    nn.init.trunc_normal_(before.weight, std=0.02, a=-0.04, b=0.04)
    assert torch.equal(table.weight[1:], before.weight[1:])
    # What is drawn next is the same, too.
    after = torch.rand(3)
    make_table()
    assert torch.equal(torch.rand(3), after)


def test_indices_are_rows_and_specials_count_from_the_end():
    table = make_table()
    item_BL = torch.tensor([[1, V, 3, PAD], [MASK, UNKNOWN, 1, PAD]])
    known = torch.stack(
        [
            torch.stack([table.weight_VD[0], table.weight_VD[-1], table.weight_VD[2]]),
            torch.stack([*table.special_vectors(), table.weight_VD[0]]),
        ]
    )
    for dtype in (torch.int32, torch.int64):
        assert torch.equal(table(item_BL.to(dtype))[:, :3], known)
        assert not table(item_BL.to(dtype))[:, 3].any()
    assert table.weight_VD.data_ptr() == table.weight[1].data_ptr()


def test_what_is_read_learns_and_padding_does_not():
    table = make_table()
    item_BL = torch.tensor([[2, 2, PAD], [MASK, 5, PAD]])
    table(item_BL).sum().backward()
    assert table.weight.grad[PAD].eq(0).all()
    assert table.weight.grad[2].eq(2).all()
    assert table.weight.grad[5].eq(1).all()
    assert table.weight.grad[MASK].eq(1).all()
    assert table.weight.grad[UNKNOWN].eq(0).all()


@pytest.mark.parametrize("times", [1, 3])
def test_growing_keeps_the_bits_of_all_that_was_there(times):
    table = make_table()
    items, specials = table.weight_VD.clone(), table.special_vectors().clone()
    for _ in range(times):
        table.grow(5)
    grown = V + 5 * times
    assert table.num_items == grown
    assert torch.equal(table.weight_VD[:V], items)
    assert torch.equal(table.special_vectors(), specials)
    assert torch.equal(table(torch.tensor([MASK, UNKNOWN])), specials)
    assert not table(torch.tensor([PAD])).any()
    fresh = table.weight_VD[V:]
    assert torch.unique(fresh, dim=0).shape == fresh.shape
    assert fresh.abs().max() <= 0.04
    assert table.item_parameters()[0] is table.weight
    assert table.weight.requires_grad


def test_fresh_vectors_are_drawn_as_those_of_the_start():
    torch.manual_seed(0)
    table = IdTable.empty(10, 64)
    table.draw()
    table.grow(2000)
    fresh = table.weight_VD[10:].detach()
    # A normal distribution of std 0.02, cut off at two of them, has a std of 0.0176.
    assert float(fresh.std()) == pytest.approx(0.0176, abs=0.0002)
    assert float(fresh.mean()) == pytest.approx(0, abs=0.0003)


@pytest.mark.parametrize("name", BACKBONES.names)
def test_a_backbone_that_grew_reads_the_past_as_before_and_the_new_items_too(name):
    torch.manual_seed(0)
    backbone_type = BACKBONES.resolve(name)
    config = backbone_type.config_type(width=8, max_length=10, dropout=0.0)
    backbone = backbone_type(config, V, causal=True).eval()
    history = History(torch.tensor([[1, 2, backbone.mask_item, V]]), torch.tensor([4]))
    before, mask = backbone(history), backbone.mask_item
    backbone.grow(4)
    assert backbone.num_items == V + 4
    assert backbone.mask_item == mask
    assert torch.equal(backbone(history), before)
    assert backbone.item_weight_VD.shape == (V + 4, 8)
    newest_BL = torch.tensor([[1, 2, backbone.mask_item, V + 4]])
    assert not torch.equal(backbone(history.with_items(newest_BL))[:, 3], before[:, 3])
