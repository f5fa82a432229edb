"""Who decides: networks that read no padding, and chance that is the same every time."""

import pytest
import torch

from recxfer.data.history import History
from recxfer.models.adapters.policy import PolicyNetwork, drawn_decisions


@pytest.mark.parametrize("reader", ["conv", "gru"])
def test_padding_and_company_change_nothing(reader):
    torch.manual_seed(0)
    policy = PolicyNetwork(8, 3, reader, None)
    embedded, length = torch.randn(4, 6, 8), torch.tensor([6, 3, 1, 0])
    logits = policy(embedded, length)
    assert logits.shape == (4, 3)
    noisy = torch.where((torch.arange(6) < length[:, None])[..., None], embedded, 9.0)
    assert torch.allclose(policy(noisy, length), logits, atol=1e-6)
    alone = policy(embedded[1:2, :3], length[1:2])
    assert torch.allclose(alone, logits[1:2], atol=1e-6)
    assert torch.allclose(logits[3], policy.linear.bias)
    logits.sum().backward()
    assert all(p.grad is not None for p in policy.parameters())


@pytest.mark.parametrize("reader", ["conv", "gru"])
def test_probabilities_can_approach_0_and_1(reader):
    """The release squashes logits first, and stays between 0.27 and 0.73."""
    torch.manual_seed(0)
    policy = PolicyNetwork(8, 2, reader, None)
    embedded, length = torch.randn(2, 5, 8), torch.tensor([5, 5])
    aim = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    optimiser = torch.optim.Adam(policy.parameters(), lr=0.02)
    for _ in range(400):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(policy(embedded, length), aim)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = policy(embedded, length).sigmoid()
    assert torch.allclose(found, aim, atol=0.02)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_chance_has_its_rate_and_depends_on_the_history_alone(rate):
    generator = torch.Generator().manual_seed(0)
    item = torch.randint(1, 500, (20_000, 6), generator=generator)
    length = torch.randint(1, 7, (20_000,), generator=generator)

    def drawn(item, seed):
        return drawn_decisions(History(item, length), 4, rate, seed)

    found = drawn(item, 7)
    assert torch.allclose(found.double().mean(0), torch.full((4,), rate).double(), atol=0.012)
    together = (found[:, 0] & found[:, 3]).double().mean()
    assert float(together) == pytest.approx(rate**2, abs=0.012)
    padded = torch.where(torch.arange(6) < length[:, None], item, 0)
    wider = torch.cat([padded, torch.zeros(20_000, 2, dtype=torch.int64)], dim=1)
    assert torch.equal(drawn(wider, 7), found)
    assert rate in (0, 1) or not torch.equal(drawn(item, 8), found)
    swapped = item[:, [1, 0, 2, 3, 4, 5]]
    assert rate in (0, 1) or not torch.equal(drawn(swapped, 7), found)
