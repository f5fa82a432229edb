"""Our dropout: the right rate, an unbiased scale, and nothing in evaluation."""

import torch

from recxfer.models.layers.dropout import Dropout


def test_rate_and_expectation():
    torch.manual_seed(0)
    x = torch.ones(400, 501)
    dropped = Dropout(0.3)(x)
    assert abs(float((dropped == 0).double().mean()) - 0.3) < 0.005
    assert abs(float(dropped.mean()) - 1) < 0.01


def test_evaluation_and_rate_zero_are_the_identity():
    x = torch.randn(5, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_gradient_goes_where_values_go():
    torch.manual_seed(0)
    x = torch.randn(64, 8, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
