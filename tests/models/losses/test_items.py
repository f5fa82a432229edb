"""Losses against their plain definitions, values and gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from recxfer.models.losses import items
from recxfer.models.losses.item_loss import ItemLoss, ItemLossConfig, NegativeSampler
from recxfer.models.losses.items import binary_loss, bpr_loss, sampled_softmax_loss, softmax_loss
from recxfer.models.scoring import Output


@given(P=st.integers(1, 40), V=st.integers(1, 30), bias=st.booleans(), seed=st.integers(0, 999))
def test_chunked_softmax_equals_cross_entropy(P, V, bias, seed):
    torch.manual_seed(seed)
    hidden = torch.randn(P, 5, requires_grad=True)
    weight = torch.randn(V, 5, requires_grad=True)
    bias_V = torch.randn(V, requires_grad=True) if bias else None
    target = torch.randint(V, (P,))
    inputs = [t for t in (hidden, weight, bias_V) if t is not None]
    plain = F.cross_entropy(F.linear(hidden, weight, bias_V), target)
    expected = torch.autograd.grad(3 * plain, inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "CHUNK", 7)
        chunked = softmax_loss(hidden, weight, target, bias_V)
        found = torch.autograd.grad(3 * chunked, inputs)
    torch.testing.assert_close(chunked, plain, atol=1e-5, rtol=1e-4)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_chunked_softmax_leaves_frozen_outputs_alone():
    hidden = torch.randn(6, 4, requires_grad=True)
    weight = torch.randn(9, 4)
    softmax_loss(hidden, weight, torch.randint(9, (6,))).backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_chunked_softmax_in_bf16_stays_close():
    torch.manual_seed(0)
    hidden = torch.randn(300, 16, requires_grad=True)
    weight = torch.randn(50, 16) * 0.3
    target = torch.randint(50, (300,))
    exact = softmax_loss(hidden, weight, target)
    (exact_grad,) = torch.autograd.grad(exact, hidden)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = softmax_loss(hidden, weight, target)
    (rounded_grad,) = torch.autograd.grad(rounded, hidden)
    torch.testing.assert_close(rounded, exact, atol=5e-3, rtol=2e-3)
    assert F.cosine_similarity(rounded_grad.flatten(), exact_grad.flatten(), dim=0) > 0.999


def test_sampling_every_item_once_gives_the_full_softmax():
    torch.manual_seed(0)
    hidden, weight = torch.randn(8, 4), torch.randn(6, 4)
    target = torch.randint(6, (8,))
    everything = torch.arange(6)
    uniform = torch.full((6,), 1 / 6).log()
    sampled = sampled_softmax_loss(hidden, weight[target], weight, target, everything, uniform)
    torch.testing.assert_close(sampled, F.cross_entropy(hidden @ weight.T, target))


def test_log_q_correction_cancels_the_sampling_on_average():
    torch.manual_seed(0)
    hidden, weight = torch.randn(1, 4), torch.randn(40, 4)
    target = torch.tensor([3])
    sampler = NegativeSampler(torch.arange(40) ** 2 + 1)
    generator = torch.Generator().manual_seed(0)
    # exp(score - log q) averaged over draws estimates the sum over all items.
    drawn = sampler.draw(200_000, generator)
    estimate = torch.logsumexp((hidden @ weight[drawn].T)[0] - sampler.log_q_V[drawn], 0)
    estimate = estimate - torch.tensor(200_000.0).log()
    torch.testing.assert_close(
        estimate, torch.logsumexp((hidden @ weight.T)[0], 0), atol=0.03, rtol=0
    )
    assert target.numel() == 1


def test_binary_loss_is_its_definition():
    torch.manual_seed(0)
    hidden, positive, negative = torch.randn(3, 7, 4).unbind(0)
    up, down = (hidden * positive).sum(-1), (hidden * negative).sum(-1)
    expected = -(up.sigmoid().log() + (1 - down.sigmoid()).log()).mean()
    torch.testing.assert_close(binary_loss(hidden, positive, negative), expected)


def test_negatives_follow_their_frequencies():
    sampler = NegativeSampler.of_counts(ItemLossConfig(popularity=0.5), torch.tensor([0, 8, 26]))
    drawn = sampler.draw(60_000, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=3) / 60_000
    # sqrt(count + 1) is 1, 3 and about 5.2.
    expected = torch.tensor([1.0, 3.0, 27**0.5])
    torch.testing.assert_close(share, expected / expected.sum(), atol=0.01, rtol=0)
    torch.testing.assert_close(sampler.log_q_V.exp(), expected / expected.sum())


def test_bpr_loss_is_its_definition():
    torch.manual_seed(0)
    hidden, positive, negative = torch.randn(3, 7, 4).unbind(0)
    gap = (hidden * positive).sum(-1) - (hidden * negative).sum(-1)
    torch.testing.assert_close(bpr_loss(hidden, positive, negative), -gap.sigmoid().log().mean())


def test_rank_sampling_follows_lambdafm():
    """Invariant I10: frequencies match p(rank), whatever the counts themselves are."""
    count_V = torch.tensor([7, 500, 0, 8, 7])  # ranks 2, 0, 4, 1, 3: equal counts in index order
    sampler = NegativeSampler.of_counts(ItemLossConfig(sampler="rank", rho=0.4), count_V)
    expected = torch.exp(-torch.tensor([2.0, 0.0, 4.0, 1.0, 3.0]) / (0.4 * 5))
    drawn = sampler.draw(80_000, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=5) / 80_000
    torch.testing.assert_close(share, expected / expected.sum(), atol=0.01, rtol=0)


@pytest.mark.parametrize("sampler", ["frequency", "rank"])
def test_a_negative_is_never_its_own_target(sampler):
    """Invariant I10, and the others keep their odds."""
    count_V = torch.tensor([3, 90, 40, 0, 11])
    config = ItemLossConfig(sampler=sampler)
    negatives = NegativeSampler.of_counts(config, count_V)
    generator = torch.Generator().manual_seed(0)
    for target in range(5):
        drawn_PN = negatives.draw_others(torch.full((300,), target), 200, generator)
        assert not (drawn_PN == target).any()
        odds = negatives.probability_V.clone()
        odds[target] = 0
        share = torch.bincount(drawn_PN.flatten(), minlength=5) / drawn_PN.numel()
        torch.testing.assert_close(share, (odds / odds.sum()).float(), atol=0.01, rtol=0)


def test_dynamic_sampling_takes_the_highest_score():
    """With a thousand draws of three others, the best of them is always among the drawn."""
    weight = torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    config = ItemLossConfig(loss="bpr", draws=1000, popularity=0)
    item_loss = ItemLoss(config, torch.ones(4))
    hidden, target = torch.tensor([[1.0], [-1.0]]), torch.tensor([3, 0])
    value = item_loss(hidden, Output(weight), target, torch.Generator().manual_seed(0))
    hardest = weight[torch.tensor([0, 1])]
    torch.testing.assert_close(value, bpr_loss(hidden, weight[target], hardest))


@pytest.mark.parametrize("loss", ["softmax", "sampled-softmax", "bce", "bpr"])
def test_every_item_loss_pulls_the_target_up(loss):
    torch.manual_seed(0)
    weight = torch.randn(12, 4)
    hidden = torch.randn(5, 4, requires_grad=True)
    target = torch.randint(12, (5,))
    item_loss = ItemLoss(ItemLossConfig(loss=loss, negatives=6), torch.ones(12))
    value = item_loss(hidden, Output(weight), target, torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(value, hidden)
    before = (hidden * weight[target]).sum()
    after = ((hidden - gradient) * weight[target]).sum()
    assert after > before
