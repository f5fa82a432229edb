"""A frozen convolution: the values and gradients of an ordinary one, and nothing kept."""

import pytest
import torch

from recxfer.models.layers.convolution import DilatedConv


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dilation", [1, 2, 5])
@pytest.mark.parametrize("learn_bias", [True, False])
def test_frozen_and_trainable_kernels_agree(causal, dilation, learn_bias):
    torch.manual_seed(0)
    conv = DilatedConv(6, dilation, causal=causal).double()
    torch.nn.init.normal_(conv.weight)
    x_BLD = torch.randn(3, 7, 6, dtype=torch.float64, requires_grad=True)
    real_BL = torch.arange(7) < torch.tensor([7, 2, 0])[:, None]
    found = []
    for frozen in (False, True):
        conv.weight.requires_grad_(not frozen)
        conv.bias.requires_grad_(learn_bias)
        mapped_BLD = conv(x_BLD, real_BL)
        learned = [x_BLD, *([conv.bias] if learn_bias else [])]
        gradients = torch.autograd.grad((mapped_BLD**2).sum(), learned)
        found.append((mapped_BLD, *gradients))
    for trainable, frozen in zip(*found, strict=True):
        assert torch.allclose(trainable, frozen)


def test_a_frozen_kernel_keeps_no_activation():
    conv = DilatedConv(6, 2, causal=True).requires_grad_(False)
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        conv(torch.randn(50, 7, 6, requires_grad=True), torch.ones(50, 7, dtype=torch.bool))
    assert sum(kept) == conv.weight.numel()
