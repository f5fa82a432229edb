"""Vectors of frozen encoders: computed once, kept in the dataset, never half-written."""

import pytest
import torch

from recxfer.data.features import cached_features
from recxfer.foundation.reporting import SilentReporter


@pytest.fixture
def ask(tmp_path):
    """Ask for features; `ask.computed` counts how often they were computed."""

    def ask(key="key", vector_VD=None):
        def compute():
            ask.computed += 1
            return torch.arange(12.0).reshape(4, 3) / 7 if vector_VD is None else vector_VD

        return cached_features(tmp_path / "toy", key, compute, ask.reporter)

    ask.computed, ask.reporter = 0, SilentReporter()
    (tmp_path / "toy").mkdir()
    return ask


def test_what_was_computed_is_read_the_next_time(ask, tmp_path):
    first, second = ask(), ask()
    assert ask.computed == 1
    assert torch.equal(first, second)
    assert second.dtype == torch.float32
    second[0] = 0  # in memory of its own
    assert torch.equal(ask(), first)
    assert [file.name for file in (tmp_path / "toy/features").iterdir()] == ["key.parquet"]


def test_another_key_is_computed_on_its_own(ask):
    ask()
    assert torch.equal(ask("other", torch.ones(2, 5)), torch.ones(2, 5))
    assert torch.equal(ask(), torch.arange(12.0).reshape(4, 3) / 7)
    assert ask.computed == 2


def test_gradients_and_half_precision_stay_outside(ask):
    vector_VD = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
    assert ask("half", vector_VD).dtype == torch.float32
    assert not ask("half").requires_grad


def test_a_damaged_file_is_replaced(ask, tmp_path):
    ask()
    file = tmp_path / "toy/features/key.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    ask()
    assert ask.computed == 2
    assert file.read_bytes() == whole


def test_a_failed_computation_leaves_nothing(tmp_path):
    def compute():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cached_features(tmp_path, "key", compute, SilentReporter())
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_features_are_computed_all_the_same(ask, tmp_path):
    (tmp_path / "toy/features").write_text("in the way")  # root may write anywhere else
    assert ask().shape == (4, 3)
    (warning,) = ask.reporter.warnings
    assert warning.startswith("features of items are not kept for next time")
