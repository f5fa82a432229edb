"""Invariants of every backbone: causality, padding, empty histories, two ways to attend."""

import pytest
import torch

from recxfer.models import BACKBONES
from recxfer.models.backbones.nextitnet import NextItNetConfig
from recxfer.models.backbones.sasrec import SASRecConfig, SelfAttention

CONFIGS = [
    ("sasrec", SASRecConfig(width=16, max_length=12, dropout=0.0)),
    ("nextitnet", NextItNetConfig(width=16, max_length=12, dilations=(1, 2), dropout=0.0)),
    ("nextitnet", NextItNetConfig(width=16, max_length=12, dilations=(1,), norm="pre")),
]


def build(name, config, *, causal):
    torch.manual_seed(0)
    backbone = BACKBONES.resolve(name)(config, 30, causal=causal).eval()
    # The published initialisation is so small that a leak could hide below rounding.
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return backbone


@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_causal_hidden_states_do_not_see_the_future(name, config):
    backbone = build(name, config, causal=True)
    item_BL = torch.randint(1, 31, (3, 10))
    changed_BL = item_BL.clone()
    changed_BL[:, 6] = item_BL[:, 6] % 30 + 1
    length_B = torch.full((3,), 10)
    before, after = backbone(item_BL, length_B), backbone(changed_BL, length_B)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax(-1).gt(1e-4).any()


@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_others_do_see_the_future(name, config):
    backbone = build(name, config, causal=False)
    item_BL = torch.randint(1, 31, (3, 10))
    changed_BL = item_BL.clone()
    changed_BL[:, 6] = item_BL[:, 6] % 30 + 1
    length_B = torch.full((3,), 10)
    before, after = backbone(item_BL, length_B), backbone(changed_BL, length_B)
    assert (before[:, 5] - after[:, 5]).abs().max() > 1e-4


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_padding_changes_nothing(name, config, causal):
    backbone = build(name, config, causal=causal)
    item_BL = torch.randint(1, 31, (1, 5))
    alone = backbone(item_BL, torch.tensor([5]))
    # Whatever stands behind the end of a history is padding, even an item.
    padded_BL = torch.cat([item_BL, torch.tensor([[0, 0, 7, 0]])], dim=1)
    among = backbone(padded_BL, torch.tensor([5]))
    torch.testing.assert_close(alone, among[:, :5], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_an_empty_history_stays_finite(name, config, causal):
    backbone = build(name, config, causal=causal)
    hidden = backbone(torch.zeros(2, 4, dtype=torch.int64), torch.tensor([0, 0]))
    assert hidden.isfinite().all()


@pytest.mark.parametrize("causal", [True, False])
def test_explicit_attention_equals_the_fused_kernel(causal):
    torch.manual_seed(1)
    attention = SelfAttention(16, 2, causal=causal)
    hidden_BLD = torch.randn(4, 9, 16)
    real_BL = torch.arange(9) < torch.tensor([9, 5, 1, 0])[:, None]
    fused = attention(hidden_BLD, real_BL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        explicit = attention(hidden_BLD, real_BL)
    assert explicit.dtype == torch.bfloat16
    torch.testing.assert_close(explicit[real_BL].float(), fused[real_BL], atol=0.02, rtol=0.05)


def test_receptive_field_is_what_the_convolutions_reach():
    config = NextItNetConfig(width=4, max_length=64, dilations=(1, 4), dropout=0.0)
    backbone = build("nextitnet", config, causal=True)
    field = backbone.receptive_field
    assert field == 1 + 2 * (1 + 2 + 4 + 8)
    item_BL = torch.randint(1, 31, (1, 60))
    for back, seen in ((field - 1, True), (field, False)):
        changed_BL = item_BL.clone()
        changed_BL[0, 59 - back] = changed_BL[0, 59 - back] % 30 + 1
        length_B = torch.tensor([60])
        moved = (backbone(item_BL, length_B) - backbone(changed_BL, length_B))[0, 59].abs().max()
        assert bool(moved > 0) is seen


def test_the_item_table_has_distinct_special_rows():
    backbone = build("sasrec", SASRecConfig(width=4, max_length=4), causal=True)
    specials = {0, backbone.mask_item, backbone.unknown_item}
    assert len(specials) == 3
    assert not specials & set(range(1, backbone.num_items + 1))
    assert max(specials) == backbone.item_table.num_embeddings - 1
    assert backbone.item_weight_VD.data_ptr() == backbone.item_table.weight[1].data_ptr()


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="does not divide"):
        SASRecConfig(width=10, num_heads=4)
