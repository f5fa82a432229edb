"""What is true of one backbone alone; what all have to do is in `tests/contracts`."""

import pytest
import torch

from recxfer.data.history import History
from recxfer.models.backbones.nextitnet import NextItNet, NextItNetConfig
from recxfer.models.backbones.sasrec import SASRecConfig, SelfAttention


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
    torch.manual_seed(0)
    config = NextItNetConfig(width=4, max_length=64, dilations=(1, 4), dropout=0.0)
    backbone = NextItNet(config, 30, causal=True)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    field = backbone.receptive_field
    assert field == 1 + 2 * (1 + 2 + 4 + 8)
    history = History(torch.randint(1, 31, (1, 60)), torch.tensor([60]))
    for back, seen in ((field - 1, True), (field, False)):
        changed_BL = history.item_BL.clone()
        changed_BL[0, 59 - back] = changed_BL[0, 59 - back] % 30 + 1
        changed = history.with_items(changed_BL)
        moved = (backbone(history) - backbone(changed))[0, 59].abs().max()
        assert bool(moved > 0) is seen


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="does not divide"):
        SASRecConfig(width=10, num_heads=4)
