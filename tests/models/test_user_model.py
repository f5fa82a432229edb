"""Readouts: where task tokens stand, and what a vector is read from."""

import pytest
import torch

from recxfer.data.history import History
from recxfer.foundation.errors import ConfigError
from recxfer.models import BACKBONES
from recxfer.models.backbones.nextitnet import NextItNetConfig
from recxfer.models.backbones.sasrec import SASRecConfig
from recxfer.models.user_model import UserModel

BOTH = [
    ("sasrec", SASRecConfig(width=8, max_length=6, dropout=0.0)),
    ("nextitnet", NextItNetConfig(width=8, max_length=6, dilations=(1, 2), dropout=0.0)),
]
HISTORY = History(torch.tensor([[3, 1, 4, 1], [5, 9, 0, 0]]), torch.tensor([4, 2]))


def user_model(name, config, readout, *, causal):
    torch.manual_seed(0)
    backbone = BACKBONES.resolve(name)(config, 20, causal=causal)
    return UserModel(backbone, None, readout, classifies=False).eval()


@pytest.mark.parametrize(("name", "config"), BOTH)
@pytest.mark.parametrize(
    ("causal", "readout", "tokens"),
    [
        (True, "token", 1),
        (False, "token", 2),
        (False, "first-token", 1),
        (True, "last", 0),
        (False, "mean", 0),
    ],
)
def test_tokens_follow_the_readout(name, config, causal, readout, tokens):
    model = user_model(name, config, readout, causal=causal)
    assert len(model.tokens) == tokens
    vector_BD = model.user_vectors(HISTORY)
    # Padding changes nothing: a row alone reads the same as in a batch of longer rows.
    alone_BD = model.user_vectors(HISTORY.take(torch.tensor([1])).trim())
    torch.testing.assert_close(vector_BD[1:], alone_BD)
    # Every event of the history is seen (the convolutions reach this far).
    for place in range(2):
        changed_BL = HISTORY.item_BL.clone()
        changed_BL[1, place] = 17
        other_BD = model.user_vectors(HISTORY.with_items(changed_BL))
        assert not torch.equal(vector_BD[1], other_BD[1])
        assert torch.equal(vector_BD[0], other_BD[0])


@pytest.mark.parametrize(("name", "config"), BOTH)
def test_the_tokens_of_both_ends_learn(name, config):
    model = user_model(name, config, "token", causal=False)
    model.user_vectors(HISTORY).sum().backward()
    assert all(token.grad is not None and token.grad.any() for token in model.tokens)


@pytest.mark.parametrize(("name", "config"), BOTH)
def test_a_first_token_of_a_causal_backbone_is_refused(name, config):
    with pytest.raises(ConfigError, match="sees no event") as refused:
        user_model(name, config, "first-token", causal=True)
    assert "readout=token" in refused.value.hint
