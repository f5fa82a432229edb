"""Gradients of decisions, held to answers that are known: by hand, by enumeration, by integral."""

import itertools

import numpy as np
import pytest
import torch

from recxfer.models.losses.gate_gradients import (
    draw,
    policy_gradient_loss,
    reward,
    straight_through,
)

LOGITS = torch.tensor([[-1.5, 0.2, 2.0], [0.0, -0.4, 0.9]], dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def every_action(num_decisions):
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=num_decisions))).double()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
def test_straight_through_is_hard_forward_and_the_sigmoid_backward(temperature):
    logit = LOGITS.clone().requires_grad_()
    gate = straight_through(logit, temperature, generator(3))
    assert set(gate.detach().unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(gate.detach(), draw(LOGITS, generator(3)))
    weight = torch.arange(1, 7).double().view(2, 3)
    (gate * weight).sum().backward()
    # The same noise, drawn anew: d sigmoid((z + e) / T) / dz = s (1 - s) / T.
    uniform = torch.rand(2, 3, dtype=torch.float64, generator=generator(3))
    soft = torch.sigmoid((LOGITS + uniform.logit()) / temperature)
    assert torch.allclose(logit.grad, weight * soft * (1 - soft) / temperature)


def test_decisions_are_drawn_with_the_probability_of_their_logits():
    many = LOGITS[:1].expand(200_000, 3)
    share = draw(many, generator()).mean(0)
    assert torch.allclose(share, torch.sigmoid(LOGITS[0]), atol=4e-3)


def test_at_temperature_one_the_mean_gradient_is_that_of_the_expected_gate_on_a_line():
    """Of f(a) = c a the true gradient is c p (1 - p); ours is an integral over the noise."""
    z = 0.7
    many = torch.full((200_000, 1), z, dtype=torch.float64, requires_grad=True)
    straight_through(many, 1.0, generator()).sum().backward()
    # E s(z + e)(1 - s(z + e)) over logistic e, by quadrature.
    e = np.linspace(-40, 40, 200_001)
    s = 1 / (1 + np.exp(-(z + e)))
    density = np.exp(-np.abs(e)) / (1 + np.exp(-np.abs(e))) ** 2
    known = float((s * (1 - s) * density).sum() * (e[1] - e[0]))
    assert float(many.grad.mean()) == pytest.approx(known, rel=5e-3)


def test_the_policy_gradient_is_the_exact_gradient_of_the_expected_reward():
    """Over all 2^3 decisions of a row: sum pi(a) grad loss(a) = -grad sum pi(a) R(a)."""
    z = LOGITS[0]
    action = every_action(3)
    earned = torch.tensor([0.3, -1.0, 2.0, 0.0, 0.7, -0.2, 1.1, 0.4]).double()

    def probability(logit):
        p = torch.sigmoid(logit)
        return torch.where(action > 0.5, p, 1 - p).prod(1)

    known = z.clone().requires_grad_()
    (probability(known) * earned).sum().backward()
    for baseline in (0.0, 0.6):
        logit = z.clone().requires_grad_()
        weight = probability(z)
        loss = sum(
            weight[k]
            * policy_gradient_loss(logit[None], action[k : k + 1], earned[k : k + 1] - baseline)
            for k in range(len(action))
        )
        loss.backward()
        assert torch.allclose(logit.grad, -known.grad)


def test_following_the_policy_gradient_finds_the_best_decision():
    """One block helps, one harms, one does nothing but cost: drawn, not enumerated."""
    logit = torch.zeros(1, 3, requires_grad=True)
    optimiser = torch.optim.Adam([logit], lr=0.1)
    noise = generator()
    for _ in range(300):
        many = logit.expand(64, 3)
        action = draw(many, noise)
        likely = (logit > 0).float().expand(64, 3)
        worth = torch.tensor([1.0, -1.0, -0.3])
        loss = policy_gradient_loss(many, action, ((action - likely) * worth).sum(1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (torch.sigmoid(logit[0]) > 0.5).tolist() == [True, False, False]
    assert torch.sigmoid(logit[0, 0]) > 0.9
    assert torch.sigmoid(logit[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("paid", "hit", "taken", "known"),
    [
        ("copies", True, 4, 1.0),
        ("copies", True, 1, 1 - 0.5 * 0.75**2),
        ("copies", False, 4, -0.5),
        ("pretrained", True, 0, 1.0),
        ("pretrained", True, 3, 1 - 0.5 * 0.75**2),
        ("pretrained", False, 0, -0.5),
    ],
)
def test_the_reward_is_that_of_the_release_or_pays_for_fewer(paid, hit, taken, known):
    action = torch.tensor([[1.0] * taken + [0.0] * (4 - taken)])
    assert float(reward(torch.tensor([hit]), action, 0.5, paid)) == pytest.approx(known)
