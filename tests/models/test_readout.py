"""User vectors are read from real positions only."""

import torch

from recxfer.models.readout import append_token, last_positions, mean_positions, prepend_token


def test_reading_ignores_padding():
    hidden_BLD = torch.arange(24.0).view(2, 4, 3)
    length_B = torch.tensor([2, 4])
    assert torch.equal(last_positions(hidden_BLD, length_B), hidden_BLD[[0, 1], [1, 3]])
    expected = torch.stack([hidden_BLD[0, :2].mean(0), hidden_BLD[1].mean(0)])
    torch.testing.assert_close(mean_positions(hidden_BLD, length_B), expected)


def test_an_empty_history_reads_as_zero_mean():
    assert torch.equal(mean_positions(torch.ones(1, 3, 2), torch.tensor([0])), torch.zeros(1, 2))


def test_tokens_stand_right_beside_the_history():
    embedded_BLD = torch.arange(1.0, 7.0).view(2, 3, 1)
    token_D = torch.tensor([-1.0])
    longer, length = append_token(embedded_BLD, torch.tensor([1, 3]), token_D)
    assert longer[..., 0].tolist() == [[1, -1, 3, 0], [4, 5, 6, -1]]
    assert length.tolist() == [2, 4]
    longer, length = prepend_token(embedded_BLD, torch.tensor([1, 3]), token_D)
    assert longer[..., 0].tolist() == [[-1, 1, 2, 3], [-1, 4, 5, 6]]
    assert length.tolist() == [2, 4]
