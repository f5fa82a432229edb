"""The siamese parts: chunks give the gradients of the whole batch, the slow copy takes none."""

import pytest
import torch
from torch import nn

from recxfer.data.history import History
from recxfer.models import BACKBONES
from recxfer.models.backbones.nextitnet import NextItNetConfig
from recxfer.models.backbones.sasrec import SASRecConfig
from recxfer.models.readout import mean_positions
from recxfer.models.siamese import Predictor, Projection, Target, encode_in_chunks

CONFIGS = {
    "sasrec": lambda dropout: SASRecConfig(width=8, max_length=12, dropout=dropout),
    "nextitnet": lambda dropout: NextItNetConfig(
        width=8, max_length=12, dilations=(1, 2), dropout=dropout
    ),
}


def backbone_of(name, dropout):
    torch.manual_seed(0)
    return BACKBONES.resolve(name)(CONFIGS[name](dropout), 20, causal=True).train()


def histories():
    torch.manual_seed(1)
    length_B = torch.tensor([2, 3, 3, 4, 7, 9, 12])
    real_BL = torch.arange(12) < length_B[:, None]
    return History(torch.where(real_BL, torch.randint(1, 21, (7, 12)), 0), length_B)


def gradients(backbone, projection, chunk, encode_chunks=encode_in_chunks):
    history = histories()
    torch.manual_seed(2)
    vector_BD = encode_chunks(
        lambda part: mean_positions(backbone(part), part.length_B), history, chunk
    )
    projected_BP = projection(vector_BD)
    # Every row's loss depends on every other row, through products and through BatchNorm.
    loss = (projected_BP @ projected_BP.T).softmax(1).diagonal().log().mean()
    parameters = [*backbone.parameters(), *projection.parameters()]
    return loss, torch.autograd.grad(loss, parameters, allow_unused=True)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("chunk", [1, 2, 3, 6])
def test_chunks_have_the_gradients_of_the_batch_in_one_piece(name, chunk):
    backbone = backbone_of(name, 0.0).double()
    projection = Projection(8, 6).double()
    whole, expected = gradients(backbone, projection, None)
    loss, found = gradients(backbone, projection, chunk)
    torch.testing.assert_close(loss, whole)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", CONFIGS)
def test_dropout_is_replayed_exactly(name):
    """The same chunks with their activations kept: equal to the bit, so the masks were the same."""
    backbone = backbone_of(name, 0.3)
    projection = Projection(8, 6)

    def keeping(encode, history, chunk):
        parts = zip(history.item_BL.split(chunk), history.length_B.split(chunk), strict=True)
        return torch.cat([encode(History(item[:, : int(n.max())], n)) for item, n in parts])

    whole, expected = gradients(backbone, projection, 3, keeping)
    loss, found = gradients(backbone, projection, 3)
    assert torch.equal(loss, whole)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True) if a is not None)
    other, _ = gradients(backbone, projection, 2)
    assert not torch.equal(other, whole), "dropout was on"


def test_no_activations_are_kept_between_chunks():
    seen = []

    class Watched(nn.Module):
        def forward(self, history):
            seen.append((history.item_BL.shape, torch.is_grad_enabled()))
            return weight[history.item_BL].mean(1)

    weight = torch.randn(21, 4, requires_grad=True)
    vector_BD = encode_in_chunks(Watched(), histories(), 3)
    assert [shape for shape, _ in seen] == [(3, 3), (3, 9), (1, 12)], "each chunk is its own length"
    vector_BD.sum().backward()
    assert len(seen) == 6


def test_the_last_norm_of_a_projection_has_no_scale():
    projection = Projection(5, 7)
    norms = [layer for layer in projection if isinstance(layer, nn.BatchNorm1d)]
    assert [norm.affine for norm in norms] == [True, True, False]
    linears = [layer for layer in projection if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linears] == [7, 7, 7]
    assert Predictor(8)[0].out_features == 2


def test_among_is_what_training_does_and_keeps_no_statistics():
    projection, x = Projection(5, 7), torch.randn(20, 5)
    before = {name: value.clone() for name, value in projection.state_dict().items()}
    found = projection.eval().among(x)
    assert all(torch.equal(v, before[n]) for n, v in projection.state_dict().items())
    torch.testing.assert_close(found, projection.train()(x))


def test_the_slow_copy_has_no_parameters_and_follows():
    backbone, projection = backbone_of("nextitnet", 0.0), Projection(8, 6)
    target = Target(backbone, projection)
    assert not list(target.parameters())
    for parameter in [*backbone.parameters(), *projection.parameters()]:
        parameter.data += 1
    target.follow(backbone, projection, 0.75)
    for name, parameter in backbone.named_parameters():
        copied = dict(target.backbone.named_buffers())[name]
        torch.testing.assert_close(copied, parameter - 0.75)
    history = histories()
    assert not target.backbone(history).requires_grad
    target.follow(backbone, projection, 0.0)
    assert torch.equal(target.backbone(history), backbone(history))
