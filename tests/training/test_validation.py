"""What validation measures, and which epoch it chooses."""

import polars as pl
import pytest
import torch
from torch.nn import functional as F

from recxfer.evaluation.metrics.ranks import HitRate
from recxfer.evaluation.ranking import class_scores, rank
from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError, ConfigError, DataError
from recxfer.foundation.names import CHECKPOINT, HISTORY
from recxfer.foundation.rng import Rng
from recxfer.runs.open import open_run
from recxfer.testing.commands import pretrained, recxfer, transferred
from recxfer.training.optim import OptimConfig
from recxfer.training.validation import Validation

CPU = torch.device("cpu")
SMALL = ["width=8", "max_length=20", "dropout=0.1"]


def learn(films, run, *settings, epochs=5, **options):
    return pretrained(films, run, *SMALL, *settings, epochs=epochs, lr=0.02, **options)


def adapt(base, films, run, *settings, method="probe", task="profile:taste"):
    return transferred(base, films, run, method, task, *settings, epochs=2, batch_size=None)


@pytest.fixture(scope="module")
def base(films, tmp_path_factory):
    return learn(films, tmp_path_factory.mktemp("base") / "run").path


def test_ranking_figures_are_the_float64_formulas_to_the_last_bit(base):
    run = open_run(base, CPU)
    rows = run.rows("valid")
    found = Validation.of(run.learner, rows, Rng(0), CPU, ranks_items=True)(run.model)
    rank_R = rank(run.learner, run.model, rows, device=CPU).rank_R
    hit_R = (rank_R <= 10).double()
    gain_R = hit_R / torch.log2(rank_R.double() + 1)
    assert found == {"HR@10": float(hit_R.mean()), "NDCG@10": float(gain_R.mean())}


def test_class_figures_are_those_of_torch_to_the_last_bit(base, films, tmp_path):
    run = open_run(adapt(base, films, tmp_path / "run").path, CPU)
    rows = run.rows("valid")
    found = Validation.of(run.learner, rows, Rng(0), CPU, ranks_items=False)(run.model)
    score_RC = class_scores(run.learner, run.model, rows, CPU)
    right_R = score_RC.argmax(1) == rows.target_R
    assert found == {
        "accuracy": float(right_R.double().mean()),
        "log_likelihood": -float(F.cross_entropy(score_RC, rows.target_R)),
    }


def test_the_best_epoch_is_that_of_the_metric_asked_for(films, tmp_path):
    result = learn(films, tmp_path / "run", "optim.metric=MRR@3")
    history = pl.read_parquet(tmp_path / "run" / HISTORY)
    assert result.best_epoch == history["epoch"][history["MRR@3"].arg_max()]
    assert list(result.validation) == ["HR@10", "NDCG@10", "MRR@3"]


def test_where_lower_is_better_the_lowest_value_is_the_best(films, tmp_path, monkeypatch):
    monkeypatch.setattr(HitRate, "higher_is_better", False)
    result = learn(films, tmp_path / "run", "optim.metric=HR@1")
    history = pl.read_parquet(tmp_path / "run" / HISTORY)
    assert history["HR@1"].n_unique() > 1
    assert result.best_epoch == history["epoch"][history["HR@1"].arg_min()]


def test_a_header_has_the_metric_only_where_it_was_chosen(base, films, tmp_path):
    """Runs made before there was a choice are the same runs, and can be resumed."""
    assert "metric" not in tensors.read_header(base / CHECKPOINT)["settings"]["optim"]
    learn(films, base, resume=True)
    chosen = learn(films, tmp_path / "run", "optim.metric=MRR@10", epochs=1).path
    assert tensors.read_header(chosen / CHECKPOINT)["settings"]["optim"]["metric"] == "MRR@10"
    with pytest.raises(CheckpointError, match=r"optim.metric was MRR@10, now unset"):
        learn(films, chosen, epochs=1, resume=True)


def test_an_unknown_metric_is_a_config_error_through_the_command_line(films, tmp_path):
    words = ["pretrain", films, tmp_path / "run", "--set", "optim.metric=NDGC@10"]
    done = recxfer(*words, code=2)
    text = " ".join(done.stderr.split())
    assert "optim.metric (--set): unknown metric 'NDGC'; there are HR, NDCG" in text
    assert not (tmp_path / "run").exists()


def test_a_metric_of_lists_has_to_say_their_length():
    with pytest.raises(ValueError, match=r"MRR: among how many places\? \(write MRR@10, say\)"):
        OptimConfig(metric="MRR")


@pytest.mark.parametrize("metric", ["accuracy", "coverage@10", "recognition"])
def test_a_metric_that_ranking_cannot_give_is_refused_before_training(films, tmp_path, metric):
    with pytest.raises(ConfigError, match=f"optim.metric is {metric}, which cannot") as caught:
        learn(films, tmp_path / "run", f"optim.metric={metric}")
    assert caught.value.hint == "there are HR, NDCG, MRR"


def test_a_metric_that_classes_cannot_give_is_refused_before_training(base, films, tmp_path):
    with pytest.raises(ConfigError, match=r"optim\.metric is NDCG@10, which cannot") as caught:
        adapt(base, films, tmp_path / "run", "optim.metric=NDCG@10")
    assert caught.value.hint.startswith("there are accuracy, balanced_accuracy")


def test_a_metric_that_the_classes_leave_undefined_is_refused(base, films, tmp_path):
    run = open_run(adapt(base, films, tmp_path / "run", "optim.metric=AUC").path, CPU)
    rows = run.rows("valid")
    alike = rows.take((rows.target_R == 1).nonzero().squeeze(1))
    with pytest.raises(DataError, match="leave AUC undefined"):
        Validation.of(run.learner, alike, Rng(0), CPU, ranks_items=False, metric="AUC")


@pytest.mark.parametrize(
    ("settings", "metric"),
    [
        ([], "recognition"),
        (["next_item=1"], "NDCG@10"),
        (["next_item=1", "optim.metric=recognition"], "recognition"),
        (["next_item=1", "optim.metric=HR@5"], "HR@5"),
    ],
)
def test_an_objective_of_people_is_chosen_by_recognition_or_by_its_ranking(
    films, tmp_path, settings, metric
):
    run = tmp_path / "run"
    settings = ["allow_collapse=true", "batch_size=32", *settings]
    result = pretrained(
        films, run, "width=8", *settings, objective="clue", epochs=4, batch_size=None, lr=None
    )
    best = result.best_epoch
    history = pl.read_parquet(run / HISTORY)
    assert best == history["epoch"][history[metric].arg_max()]


def test_the_task_of_the_base_is_held_to_its_default_where_it_is_learned_first(
    base, films, tmp_path
):
    made = adapt(base, films, tmp_path / "run", "optim.metric=accuracy", method="conure")
    first, second = tensors.read_header(made.path / CHECKPOINT)["tasks"]
    assert list(first["training"]["validation"]) == ["HR@10", "NDCG@10"]
    history = pl.read_parquet(made.path / HISTORY).filter(pl.col("phase") == "retrain")
    best = history["epoch"][history["accuracy"].arg_max()]
    assert second["training"]["best_epoch"] == made.best_epoch == best
