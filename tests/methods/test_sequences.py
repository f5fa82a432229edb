"""Task after task with weights that all share: what `finetune` forgets, `ewc` and `replay` keep."""

import pytest
import torch

from recxfer.evaluation.ranking import class_scores, rank
from recxfer.foundation import tensors
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.reporting import SilentReporter
from recxfer.runs.open import open_run
from recxfer.testing.commands import evaluated, prepared, transferred

CPU = torch.device("cpu")


def learn(base, dataset, run, task, method, *settings, epochs=8):
    return transferred(base, dataset, run, method, task, *settings, epochs=epochs).path


def quality(run, number):
    """Share of next items ranked first, or of people told right."""
    opened = open_run(run, CPU, number=number)
    rows = opened.rows("test")
    if opened.task.ranks_items:
        ranking = rank(opened.learner, opened.model, rows, device=CPU)
        return float((ranking.rank_R <= 1).double().mean())
    found = class_scores(opened.learner, opened.model, rows, CPU).argmax(1)
    return float((found == rows.target_R).double().mean())


@pytest.mark.parametrize("backbone", ["nextitnet", "sasrec"])
def test_finetune_forgets_what_the_others_keep(backbone, bases, films, tmp_path):
    base = bases[backbone, "next-item"]
    kept = {}
    for method, setting in (
        ("finetune", "keep_pretraining=true"),
        ("ewc", "strength=1e4"),
        ("replay", "memory=100"),
        ("replay", "memory=all"),
    ):
        name = f"{method}-{setting}"
        first = learn(base, films, tmp_path / f"{name}-2", "profile:group", method, setting)
        last = learn(first, films, tmp_path / f"{name}-3", "profile:taste", method, setting)
        header = tensors.read_header(last / CHECKPOINT)
        assert [facts["task"]["column"] for facts in header["tasks"]] == [None, "group", "taste"]
        assert quality(last, 3) >= (0.7 if method == "ewc" else 0.9)
        kept[name] = quality(last, 1)
    assert kept["finetune-keep_pretraining=true"] < 0.5
    assert kept["ewc-strength=1e4"] > 0.8
    assert kept["replay-memory=100"] > 0.9
    assert kept["replay-memory=all"] > 0.9


@pytest.mark.parametrize("method", ["finetune", "ewc", "replay"])
def test_tasks_that_read_other_items_are_held_too(method, bases, films, books, tmp_path):
    run = bases["nextitnet", "next-item"]
    for number, (dataset, task) in enumerate(
        [(books, "next-item"), (books, "cross-domain"), (films, "profile:taste")], 2
    ):
        settings = ["keep_pretraining=true"] if method == "finetune" else []
        run = learn(run, dataset, tmp_path / f"c{number}", task, method, *settings, epochs=2)
    for number, num_outputs in ((1, 24), (2, 30), (3, 30), (4, 2)):
        opened = open_run(run, CPU, number=number)
        assert opened.task.num_outputs == num_outputs
        assert opened.learner.output(opened.model).weight_VD.shape[0] == num_outputs
        assert 0 <= quality(run, number) <= 1


def test_a_run_for_one_task_can_be_gone_on_from(bases, films, tmp_path):
    """`finetune` as ever, and then once more: the first task is held from then on."""
    first = learn(
        bases["sasrec", "next-item"], films, tmp_path / "one", "profile:taste", "finetune"
    )
    assert tensors.read_header(first / CHECKPOINT)["kind"] != "tasks"
    last = learn(first, films, tmp_path / "two", "profile:group", "finetune", epochs=1)
    tasks = tensors.read_header(last / CHECKPOINT)["tasks"]
    assert [facts["task"]["column"] for facts in tasks] == ["taste", "group"]
    sequence = evaluated(first, last).sequence
    assert [row[1] is None for row in sequence.matrix] == [True, False]
    before, after = (row[0] for row in sequence.matrix)
    assert sequence.metrics.forgetting == before - after
    assert sequence.metrics.forward_transfer is None


def test_tasks_that_are_not_kept_apart_are_pointed_out(films, bases, world, tmp_path):
    """The last even film of a person is often an ordinary training event among all films."""
    said = {}
    for split in ("leave-last", "linked"):
        prepared(
            world / "films.csv",
            tmp_path / split,
            where="item IN ('f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7', 'f8', 'f9')",
            links=[films],
            vocabulary=films,
            split=split,
        )
        reporter = SilentReporter()
        transferred(
            bases["sasrec", "next-item"],
            tmp_path / split,
            tmp_path / f"run-{split}",
            "replay",
            epochs=1,
            reporter=reporter,
        )
        said[split] = [text for text in reporter.warnings if "held out in one" in text]
    assert "--split linked" in said["leave-last"][0]
    assert said["linked"] == []
