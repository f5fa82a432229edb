"""`--backbone gru4rec` as it is typed: it learns, adapters work on it, and what it refuses."""

import polars as pl
import pytest

from recxfer.testing.commands import answered, refused

METHODS = ["peterrec", "lora", "bitfit", "houlsby", "conure", "finetune", "uaf"]
WIDTH, LAYERS = 16, 2


def learn(films, run, *options):
    return answered(
        "pretrain", films, run, "--backbone", "gru4rec", "--epochs", 15, "--batch-size", 16,
        "--lr", 0.01, "--threads", 1, "--set", f"width={WIDTH}", "--set", "max_length=20",
        "--set", f"num_layers={LAYERS}", "--set", "dropout=0", *options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(films, tmp_path_factory):
    run = tmp_path_factory.mktemp("gru4rec") / "base"
    learn(films, run)
    return run


def adapt(base, dataset, run, method, task):
    return answered(
        "transfer", base, dataset, run, "--method", method, "--task", task, "--epochs", 15,
        "--batch-size", 16, "--lr", 0.01, "--threads", 1,
    )  # fmt: skip


def metric(made, name):
    """A figure of each run that was evaluated."""
    return [run["metrics"][name]["value"] for run in made["runs"]]


def test_it_learns_what_follows_what_where_popularity_does_not(base, films, tmp_path):
    adapt(base, films, tmp_path / "popular", "popular", "next-item")
    learned, popular = metric(answered("evaluate", base, tmp_path / "popular"), "NDCG@10")
    # The next film follows from the last one; films are about equally popular.
    assert learned > 0.95
    assert popular < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_a_method_goes_from_the_base_to_figures_and_exports(method, base, films, books, tmp_path):
    run = tmp_path / "run"
    made = adapt(base, books, run, method, "cross-domain")
    assert made["trained_parameters"] > 0
    figures = answered("evaluate", run, "--task", "cross-domain")
    # Half of the books have the reader's parity: HR@15 of chance is a half.
    assert metric(figures, "HR@20")[0] > 0.75
    for what, suffix in (("users", "parquet"), ("items", "parquet"), ("model", "safetensors")):
        answered("export", run, tmp_path / f"{what}.{suffix}", "--what", what)
    assert pl.read_parquet(tmp_path / "items.parquet").height == 30


def test_an_objective_that_looks_both_ways_is_refused_before_anything_is_read(tmp_path):
    code, error, hint = refused(
        "pretrain", tmp_path / "none", tmp_path / "run", "--backbone", "gru4rec",
        "--objective", "cloze",
    )  # fmt: skip
    assert (code, "gru4rec can only look to the left" in error) == (2, True), error
    assert "sasrec, nextitnet" in hint
    assert not (tmp_path / "run").exists()


def test_histories_longer_than_those_of_pretraining_are_read(base, films, tmp_path):
    made = answered(
        "transfer", base, films, tmp_path / "run", "--method", "probe", "--task", "profile:taste",
        "--epochs", 1, "--set", "data.max_length=100",
    )  # fmt: skip
    assert made["trained_parameters"] == 2 * (WIDTH + 1)
