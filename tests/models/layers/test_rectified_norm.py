"""Norm, ReLU and dropout in one: the values and gradients of one after the other."""

import pytest
import torch
from torch import nn

from recxfer.models.layers.dropout import Dropout, masked
from recxfer.models.layers.rectified_norm import rectified_norm


@pytest.fixture
def norm():
    torch.manual_seed(0)
    norm = nn.LayerNorm(6).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("learn", [(True, True), (True, False), (False, True)])
def test_values_and_gradients_are_those_of_the_composition(norm, learn, rate):
    learn_x, learn_norm = learn
    norm.requires_grad_(learn_norm)
    x_BLD = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=learn_x)
    dropout, learned = Dropout(rate), [x for x in (x_BLD, *norm.parameters()) if x.requires_grad]
    found = []
    for fused in (False, True):
        torch.manual_seed(1)
        if fused:
            result_BLD = rectified_norm(x_BLD, norm, dropout)
        else:
            result_BLD = dropout(torch.relu(norm(x_BLD)))
        found.append((result_BLD, *torch.autograd.grad((result_BLD**2).sum(), learned)))
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(plain, fused)


def test_a_nan_reaches_the_loss(norm):
    for nan in (float("nan"), -float("nan")):
        x_BLD = torch.full((1, 2, 6), nan, dtype=torch.float64)
        assert rectified_norm(x_BLD, norm, Dropout(0.3).eval()).isnan().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_mask_of_bits_keeps_or_clears(dtype):
    x = torch.tensor([1.5, -2.0, float("nan"), float("inf")], dtype=dtype)
    assert torch.equal(masked(x[:2], torch.tensor([-1, 0], dtype=torch.int8)), x[:2].relu())
    assert torch.equal(masked(x, torch.zeros(4, dtype=torch.int8)), torch.zeros(4, dtype=dtype))
