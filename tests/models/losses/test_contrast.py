"""Contrastive losses against their plain definitions, and what spread and rank say."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from recxfer.models import collapse_metrics
from recxfer.models.collapse_metrics import channel_std, effective_rank, recognition
from recxfer.models.losses import contrast
from recxfer.models.losses.contrast import barlow_twins_loss, cosine_loss, nt_xent_loss


def plain_nt_xent(one, other, person, temperature):
    views, people = torch.cat([one, other]), torch.cat([person, person])
    count, losses = len(one), []
    for i, anchor in enumerate(views):
        partner = (i + count) % (2 * count)
        cosines = F.cosine_similarity(anchor[None], views) / temperature
        kept = [j for j in range(2 * count) if j == partner or people[j] != people[i]]
        losses.append(torch.logsumexp(cosines[kept], 0) - cosines[partner])
    return torch.stack(losses).mean()


@given(B=st.integers(1, 9), people=st.integers(1, 9), seed=st.integers(0, 999))
def test_nt_xent_equals_its_definition(B, people, seed):
    torch.manual_seed(seed)
    views = [torch.randn(B, 5, dtype=torch.double, requires_grad=True) for _ in range(2)]
    person = torch.randint(people, (B,))
    expected = plain_nt_xent(*views, person, 0.3)
    gradients = torch.autograd.grad(expected, views)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrast, "CHUNK", 4)
        found = nt_xent_loss(*views, person, 0.3)
        found_gradients = torch.autograd.grad(found, views)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found_gradients, gradients)


def test_cosine_loss_is_between_minus_one_and_one():
    x = torch.randn(6, 4)
    torch.testing.assert_close(cosine_loss(x, 3 * x), torch.tensor(-1.0))
    torch.testing.assert_close(cosine_loss(x, -x), torch.tensor(1.0))


def test_barlow_twins_equals_its_definition():
    torch.manual_seed(0)
    one, other = torch.randn(50, 4), torch.randn(50, 4)
    standard = [(x - x.mean(0)) / x.std(0, correction=0) for x in (one, other)]
    correlation = standard[0].T @ standard[1] / 50
    off = correlation - torch.diag(correlation.diagonal())
    expected = (1 - correlation.diagonal()).square().sum() + 0.1 * off.square().sum()
    found = barlow_twins_loss(one, other, 0.1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    # Uncorrelated channels that agree are what it wants.
    independent = torch.linalg.qr(torch.randn(50, 4))[0]
    independent = independent - independent.mean(0)
    assert barlow_twins_loss(independent, independent, 0.1) < 0.05


def test_spread_and_rank_of_known_vectors():
    torch.manual_seed(0)
    even, same = torch.randn(2000, 16), torch.ones(2000, 16)
    assert channel_std(even) == pytest.approx(1, abs=0.02)
    assert channel_std(same) == pytest.approx(0, abs=1e-6)
    assert effective_rank(even) == pytest.approx(16, abs=0.2)
    assert effective_rank(same) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.eye(4).repeat(5, 1)) == pytest.approx(4)
    line = torch.randn(2000, 1) * torch.ones(16)
    assert channel_std(line) == pytest.approx(1, abs=0.02), "spread alone does not see a line"
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.zeros(5, 4)) == pytest.approx(1)


def test_recognition_is_a_mean_reciprocal_rank(monkeypatch):
    torch.manual_seed(0)
    one, other = torch.randn(37, 8), torch.randn(37, 8)
    monkeypatch.setattr(collapse_metrics, "BLOCK", 10)
    cosine = F.normalize(one) @ F.normalize(other).T
    ranks = [1 + int((cosine[i] > cosine[i, i]).sum()) for i in range(37)]
    assert recognition(one, other) == pytest.approx(sum(1 / r for r in ranks) / 37)
    assert recognition(one, 2 * one) == pytest.approx(1)
    assert recognition(torch.ones(37, 8), torch.ones(37, 8)) == pytest.approx(1 / 37)
    assert recognition(torch.full((5, 3), math.nan), one[:5, :3]) == pytest.approx(1 / 5)
