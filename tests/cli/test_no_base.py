"""Transfers that begin with nothing, and learners that score without vectors."""

import pytest
import torch
from torch import nn

from recxfer.data.dataset import Dataset
from recxfer.methods.contract import Adapted, Learner
from recxfer.testing.commands import answered, recxfer, refused


def figures(run):
    return answered("evaluate", run)["runs"][0]["metrics"]


@pytest.mark.parametrize("method", ["popular", "user-knn"])
@pytest.mark.parametrize("task", ["next-item", "profile:taste", "cross-domain"])
def test_a_method_that_needs_no_base_takes_none(method, task, films, books, bases, tmp_path):
    """And finds what it finds beside any base."""
    dataset = books if task == "cross-domain" else films
    source = ["--source", films] if task == "cross-domain" else []
    words = [dataset, "--method", method, "--task", task]
    recxfer("transfer", "none", *words[:1], tmp_path / "alone", *words[1:], *source)
    beside = tmp_path / "beside"
    recxfer("transfer", bases["sasrec", "next-item"], *words[:1], beside, *words[1:])
    assert figures(tmp_path / "alone") == figures(beside)
    out = tmp_path / "best.csv"
    recxfer("export", tmp_path / "alone", out, "--what", "recommendations")
    assert out.stat().st_size > 0


@pytest.mark.parametrize("method", ["lora", "scratch", "conure", "transrec"])
def test_a_method_that_begins_with_a_base_refuses_none(method, films, tmp_path):
    code, error, _ = refused("transfer", "none", films, tmp_path / "run", "--method", method)
    assert (code, f"method {method} begins with a base" in error) == (2, True), error
    assert not (tmp_path / "run").exists()


def test_histories_of_another_domain_have_to_be_said_without_a_base(books, tmp_path):
    words = ["none", books, tmp_path / "run", "--method", "popular", "--task", "cross-domain"]
    code, error, hint = refused("transfer", *words)
    assert (code, "--source" in error + hint) == (2, True), error


class Pairs(Learner):
    """Scores the film after the last one highest: a rule, without a vector."""

    def __init__(self, films):
        number_V = [int(film.removeprefix("f")) for film in Dataset(films).item_ids]
        self.number_V = torch.tensor(number_V)

    def loss(self, model, batch, rng):
        raise AssertionError("nothing trains")

    def num_outputs(self, model):
        return len(self.number_V)

    def scores(self, model, batch, candidate_BN=None):
        last_B = (batch.history.length_B - 1).clamp(min=0)
        last_B1 = batch.history.item_BL.gather(1, last_B[:, None])
        # Films are walked upwards by twos, around the end.
        away_BV = (self.number_V - self.number_V[last_B1 - 1] - 2) % len(self.number_V)
        score_BV = -away_BV.float()
        return score_BV if candidate_BN is None else score_BV.gather(1, candidate_BN)


@pytest.fixture
def successor(monkeypatch, films, tmp_path):
    """A run of a method whose learner scores pairs."""
    from recxfer.methods import popular

    def adapt(self, base, task, rng):
        return Adapted(model=nn.Module(), learner=Pairs(films))

    monkeypatch.setattr(popular.Popular, "adapt", adapt)
    run = tmp_path / "pairs"
    recxfer("transfer", "none", films, run, "--method", "popular")
    return run


def test_a_learner_without_vectors_is_ranked_in_full_and_among_samples(successor, tmp_path):
    # Whoever walks on finds the next film first, unless it was met before.
    assert figures(successor)["HR@5"]["value"] > 0.9
    told = answered("evaluate", successor, "--candidates", "5")
    assert told["runs"][0]["metrics"]["HR@5"]["value"] > 0.9
    best = tmp_path / "best.csv"
    recxfer("export", successor, best, "--what", "recommendations")
    assert best.read_text().count("\n") > 100


@pytest.mark.parametrize("what", ["users", "items"])
def test_an_export_that_needs_vectors_refuses_by_name(what, successor, tmp_path):
    words = ["export", successor, tmp_path / f"{what}.parquet", "--what", what]
    code, error, _ = refused(*words)
    assert (code, f"--what {what} needs user vectors" in error) == (2, True), error
    assert "popular" in error
    assert not (tmp_path / f"{what}.parquet").exists()
