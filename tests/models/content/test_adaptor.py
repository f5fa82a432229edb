"""Adaptors: the paper's equations on numbers made by hand, and whitenings that whiten."""

import math

import pytest
import torch
from torch import nn

from recxfer.models.content.adaptor import WhiteningExperts, whitening
from recxfer.models.content.attach import readable_features, replace_projections


def experts_of(*, features=2, width=2, experts=2, dropout=0.0):
    torch.manual_seed(0)
    return WhiteningExperts(features, width, experts, dropout)


def covariance(x_NF):
    centred_NF = x_NF.double() - x_NF.double().mean(0)
    return centred_NF.T @ centred_NF / len(x_NF)


def test_the_equations_of_the_paper_on_a_small_case():
    adaptor = experts_of().eval()
    with torch.no_grad():
        adaptor.shift_EF.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        adaptor.weight_EFD.copy_(torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]))
        adaptor.gate_FE.copy_(torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]))
    # x = (1, 1): the first expert reads (0, 1), the second (1, -1); the gate says 3/4 and 1/4.
    found = adaptor(torch.tensor([[1.0, 1.0]]))
    wanted = [0.75 * 3 + 0.25 * (5 - 7), 0.75 * 4 + 0.25 * (6 - 8)]
    assert found.tolist() == [pytest.approx(wanted)]


def test_gates_are_noisy_in_training_alone():
    adaptor = experts_of(experts=3)
    feature_MF = torch.tensor([[1.0, 2.0], [-1.0, 0.5]]).repeat(4000, 1)
    with torch.no_grad():
        adaptor.gate_FE.copy_(torch.tensor([[0.5, 0.0, -0.5], [0.0, 0.2, 0.0]]))
        adaptor.noise_FE.copy_(torch.tensor([[1.0, 0.0, -3.0], [0.0, 1.0, 0.0]]))
    clean_ME = (feature_MF @ adaptor.gate_FE).softmax(-1)
    noisy_ME = adaptor.gates(feature_MF)
    assert torch.equal(adaptor.eval().gates(feature_MF), clean_ME)
    torch.testing.assert_close(noisy_ME.sum(-1), torch.ones(8000))
    # Log-odds of two experts differ from the clean ones by noises of known variances.
    for which, x in enumerate(((1.0, 2.0), (-1.0, 0.5))):
        shift_ME = (noisy_ME.log() - clean_ME.log()).detach()[which::2]
        found = float((shift_ME[:, 0] - shift_ME[:, 1]).std())
        stds = [math.log1p(math.exp(z)) + 0.01 for z in (x[0], x[1])]
        assert found == pytest.approx(math.hypot(*stds), rel=0.05)


def test_a_fitted_expert_whitens_and_no_two_do_so_alike():
    torch.manual_seed(1)
    feature_NF = torch.randn(200, 6) @ torch.randn(6, 6) + torch.arange(6.0) * 10
    adaptor = experts_of(features=6, width=4, experts=3)
    adaptor.fit(feature_NF)
    whites = []
    for shift_F, weight_FD in zip(adaptor.shift_EF, adaptor.weight_EFD, strict=True):
        white_ND = (feature_NF - shift_F) @ weight_FD
        torch.testing.assert_close(white_ND.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
        torch.testing.assert_close(covariance(white_ND), torch.eye(4).double(), atol=1e-3, rtol=0)
        whites.append(white_ND)
    assert (whites[0] - whites[1]).abs().max() > 0.5
    assert adaptor.weight_EFD.requires_grad


def test_features_of_few_directions_are_whitened_in_these():
    torch.manual_seed(1)
    flat_NF = torch.randn(50, 2) @ torch.randn(2, 5) + 3
    mean_F, white_FK = whitening(flat_NF, 4)
    assert white_FK.shape == (5, 2)
    torch.testing.assert_close(
        covariance((flat_NF - mean_F) @ white_FK), torch.eye(2).double(), atol=1e-4, rtol=0
    )
    adaptor = experts_of(features=5, width=4)
    adaptor.fit(flat_NF)
    variances = torch.linalg.eigvalsh(covariance(flat_NF @ adaptor.weight_EFD[0].detach()))
    torch.testing.assert_close(variances, torch.tensor([0.0, 0, 1, 1]).double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("rows", [1, 7])
def test_features_that_do_not_vary_leave_an_adaptor_as_it_is(rows):
    adaptor = experts_of()
    before = adaptor.weight_EFD.clone()
    adaptor.fit(torch.tensor([[0.1, 1e6]]).repeat(rows, 1))
    assert torch.equal(adaptor.weight_EFD, before)
    assert not adaptor.shift_EF.any()


def test_each_encoder_has_a_layer_of_its_own_in_place_of_its_projection(make_table, content):
    table = make_table(content, text_layers=0, image_layers=0)
    replace_projections(table, nn.Linear)
    text, image = table.sides["text"], table.sides["image"]
    item_U = torch.tensor([2, 3, 1])  # a text, a picture, both
    with torch.no_grad():
        found_UD = table.vectors(item_U)
        of_text, of_image = (side.projection(side.features()[item_U - 1]) for side in (text, image))
    wanted_UD = torch.stack([of_text[0], of_image[1], (of_text[2] + of_image[2]) / 2])
    torch.testing.assert_close(found_UD, wanted_UD)
    assert len(table.projection_parameters()) == 5, "two weights, two biases, the special vectors"


def test_only_what_an_encoder_can_read_is_taken_for_fitting(make_table, content):
    table = make_table(content, text_layers=0, image_layers=0)
    feature_VF = table.features("text")
    found_RF = readable_features(table, "text", torch.tensor([4, 3, 2, 9]))
    assert torch.equal(found_RF, feature_VF[[1, 8]]), "items 3 and 4 have no text"
