"""`conure`: nothing is forgotten, to the bit; counts are exact; one file holds all tasks."""

import pytest
import torch

from recxfer.evaluation.ranking import class_scores, recommend
from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError, ConfigError, UsageError
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.reporting import SilentReporter
from recxfer.methods.conure import Conure
from recxfer.runs.header import read_header
from recxfer.runs.open import open_run
from recxfer.testing.commands import transferred

CPU = torch.device("cpu")


def learn(base, dataset, run, task, *, method="conure", epochs=2, settings=(), **options):
    words = (method, task, "optim.weight_decay=0.1", *settings)
    return transferred(base, dataset, run, *words, epochs=epochs, **options)


def scores(run, number):
    """Every score of every case of a task, as the model gives them."""
    opened = open_run(run, CPU, number=number)
    rows = opened.rows("test")
    if not opened.task.ranks_items:
        return class_scores(opened.learner, opened.model, rows, CPU)
    top = recommend(
        opened.learner, opened.model, opened.rows("all"), 10, device=CPU, reporter=SilentReporter()
    )
    return torch.cat([top.score_RK, top.item_RK.float()], dim=1)


@pytest.fixture(scope="module", params=["nextitnet", "sasrec"])
def sequence(request, bases, films, books, tmp_path_factory):
    """Runs with one, two, ... tasks."""
    folder = tmp_path_factory.mktemp("conure")
    runs = [bases[request.param, "next-item"]]
    for number, (dataset, task) in enumerate(
        [
            (films, "next-item"),
            (films, "profile:taste"),
            (books, "cross-domain"),
            (books, "next-item"),
            (films, "profile:group"),
        ],
        1,
    ):
        run = folder / f"c{number}"
        learn(runs[-1], dataset, run, task)
        runs.append(run)
    return runs[1:]


def test_a_later_task_changes_no_score_of_an_earlier_one(sequence):
    for number in range(1, len(sequence)):
        known = scores(sequence[number - 1], number)
        for later in sequence[number:]:
            assert torch.equal(scores(later, number), known)


def test_one_checkpoint_holds_weights_once(sequence, bases):
    parts, header = tensors.load(sequence[-1] / CHECKPOINT)
    assert [facts["task"]["kind"] for facts in header["tasks"]] == [
        "next-item", "profile", "cross-domain", "next-item", "profile",
    ]  # fmt: skip
    assert [facts["rate"] for facts in header["tasks"]] == [0.7] * 5
    base, _ = tensors.load(bases[header["backbone"]["name"], "next-item"] / CHECKPOINT)
    shared = {name for name in parts if name.startswith("backbone.")}
    assert shared == {name for name in base if name.startswith("backbone.")}
    for name in parts:
        if name.startswith("owners."):
            owned = parts[name.replace("owners.", "backbone.")]
            assert parts[name].nbytes == 3 * -(-owned.numel() // 8)
    own = {name for name in parts if name.startswith("tasks.")}
    assert "tasks.4.backbone.item_table.weight" in own
    assert not any(name.startswith("tasks.1.") for name in own)


def test_what_a_task_uses_keeps_its_bytes(sequence):
    """Shared tensors that no task owns an entry of are fixed after task 1."""
    first, _ = tensors.load(sequence[0] / CHECKPOINT)
    last, _ = tensors.load(sequence[-1] / CHECKPOINT)
    for name, tensor in first.items():
        if name.startswith("backbone.") and name.replace("backbone.", "owners.") not in first:
            assert torch.equal(tensor, last[name]), name


def test_a_fresh_base_first_protects_its_own_task(bases, films, tmp_path):
    """In one call or in two: the same bytes."""
    base = bases["nextitnet", "next-item"]
    learn(base, films, tmp_path / "one", "next-item")
    learn(tmp_path / "one", films, tmp_path / "two", "profile:taste")
    result = learn(base, films, tmp_path / "at-once", "profile:taste")
    assert (tmp_path / "at-once" / CHECKPOINT).read_bytes() == (
        tmp_path / "two" / CHECKPOINT
    ).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["at-once", "one", "two"]
    again = learn(base, films, tmp_path / "at-once", "profile:taste", resume=True)
    assert again == result
    assert result.free_share == pytest.approx(0.49)
    with pytest.raises(CheckpointError, match="seed was 0, now 3"):
        learn(base, films, tmp_path / "at-once", "profile:taste", resume=True, seed=3)
    with pytest.raises(CheckpointError, match="base"):
        other = bases["nextitnet", "cloze"]
        learn(other, films, tmp_path / "at-once", "profile:taste", resume=True)


def test_what_cannot_be_learned_is_refused_before_task_1_is_pruned(bases, films, tmp_path):
    for base, settings, task, told in (
        ("cloze", [], "profile:wealth", "no label column"),
        ("next-item", ["data.max_length=500"], "profile:taste", "reads 20 at most"),
    ):
        with pytest.raises(UsageError, match=told):
            learn(bases["sasrec", base], films, tmp_path / "run", task, settings=settings)
        assert list(tmp_path.iterdir()) == []


def test_retraining_regains_what_pruning_costs(bases, films, tmp_path):
    base = bases["nextitnet", "next-item"]
    rate = "prune=0.96"
    pruned = learn(base, films, tmp_path / "pruned", "next-item", settings=[rate, "retrain=0"])
    retrained = learn(base, films, tmp_path / "again", "next-item", settings=[rate], epochs=15)
    whole = read_header(base).last.training.validation["NDCG@10"]
    assert pruned.validation["NDCG@10"] < 0.9 * whole
    assert retrained.validation["NDCG@10"] > 0.97 * whole


def test_norms_per_task_leave_those_of_others_alone(bases, films, tmp_path):
    learn(bases["sasrec", "next-item"], films, tmp_path / "one", "next-item")
    known = scores(tmp_path / "one", 1)
    learn(tmp_path / "one", films, tmp_path / "two", "profile:taste", settings=["norms=per-task"])
    parts, _ = tensors.load(tmp_path / "two" / CHECKPOINT)
    own = {name for name in parts if name.startswith("tasks.2.backbone.")}
    assert own == {
        f"tasks.2.backbone.{norm}.{kind}"
        for norm in ("norm", *(f"blocks.{block}.norm{n}" for block in (0, 1) for n in (1, 2)))
        for kind in ("weight", "bias")
    }
    assert all(
        not torch.equal(parts[name], parts[name.removeprefix("tasks.2.")])
        for name in own
        if name.endswith("bias")
    )
    assert torch.equal(scores(tmp_path / "two", 1), known)


def test_the_largest_rate_within_the_tolerance_is_found(bases, films, tmp_path):
    base = bases["nextitnet", "next-item"]
    rates = []
    for tolerance in (0.0, 0.2, 1000.0):
        run = tmp_path / f"run-{tolerance}"
        settings = ["prune=auto", f"tolerance={tolerance}", "retrain=0"]
        result = learn(base, films, run, "next-item", settings=settings)
        whole = read_header(base).last.training.validation["NDCG@10"]
        assert result.validation["NDCG@10"] >= (1 - tolerance) * whole - 1e-9
        rates.append(tensors.read_header(run / CHECKPOINT)["tasks"][0]["rate"])
    assert rates == sorted(rates)
    assert rates[2] == 0.95


def test_faults_are_told_apart_and_leave_nothing(bases, films, books, tmp_path):
    base = bases["sasrec", "next-item"]
    learn(base, films, tmp_path / "one", "profile:taste", epochs=1)
    learn(base, films, tmp_path / "full", "profile:taste", settings=["prune=0.05"], epochs=1)
    learn(base, films, tmp_path / "tuned", "profile:taste", method="finetune", epochs=1)
    learn(base, films, tmp_path / "patched", "profile:taste", method="peterrec", epochs=1)
    there = sorted(tmp_path.iterdir())
    for begin, dataset, task, method, error, told in (
        ("one", films, "profile:taste", "conure", UsageError, "already, as task 2"),
        ("one", films, "next-item", "conure", UsageError, "already, as task 1"),
        ("full", films, "profile:group", "conure", CheckpointError, "are left free"),
        ("one", films, "profile:group", "finetune", CheckpointError, "belong to one task"),
        ("one", films, "profile:group", "lora", CheckpointError, "only pretrained"),
        ("tuned", films, "profile:group", "conure", CheckpointError, "that all share"),
        ("patched", films, "profile:group", "conure", CheckpointError, "must be pretrained"),
        ("gone", films, "profile:group", "conure", CheckpointError, "not a finished run"),
        ("one", books, "profile:taste", "conure", UsageError, "no label column"),
    ):
        with pytest.raises(error, match=told):
            learn(tmp_path / begin, dataset, tmp_path / "more", task, method=method)
        assert sorted(tmp_path.iterdir()) == there


@pytest.mark.parametrize(
    ("steps", "rate"),
    [(3, "0.7"), (12, "0.7"), (20, "0.7"), (26, "0.7"), (3, "auto"), (26, "auto")],
)
def test_stopped_anywhere_it_ends_in_the_same_bytes(bases, films, tmp_path, stopped, steps, rate):
    base, settings = bases["nextitnet", "next-item"], [f"prune={rate}"]

    def adapt(name, **options):
        learn(base, films, tmp_path / name, "profile:taste", settings=settings, **options)
        return (tmp_path / name / CHECKPOINT).read_bytes()

    whole = adapt("whole")
    with stopped(steps):
        adapt("stopped")
    assert not (tmp_path / "stopped").exists()
    assert adapt("stopped", resume=True) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "whole"]


@pytest.mark.parametrize("phase", ["retrain", "train"])
def test_killed_between_two_phases_it_ends_in_the_same_bytes(
    bases, films, tmp_path, resumes_as_if_never_killed, dies_after, phase
):
    """A real SIGKILL, as soon as the phase before this one has pruned."""
    learn(bases["nextitnet", "next-item"], films, tmp_path / "one", "next-item")
    resumes_as_if_never_killed(
        dies_after(Conure, phase), tmp_path / "one", films, tmp_path / "two", "--method", "conure",
        "--task", "profile:taste", "--epochs", "3", "--lr", "0.01", "--threads", "1",
    )  # fmt: skip


def test_a_backbone_of_another_shape_than_the_header_says_is_refused(bases, films, tmp_path):
    learn(bases["sasrec", "next-item"], films, tmp_path / "one", "next-item", epochs=1)
    parts, header = tensors.load(tmp_path / "one" / CHECKPOINT)
    header["backbone"]["config"]["width"] = 32
    tensors.save(tmp_path / "one" / CHECKPOINT, parts, header)
    with pytest.raises(CheckpointError, match="does not fit its own header") as caught:
        learn(tmp_path / "one", films, tmp_path / "two", "profile:taste")
    assert caught.value.exit_code == 4
    assert not (tmp_path / "two").exists()
    with pytest.raises(ConfigError, match="width"):
        learn(tmp_path / "one", films, tmp_path / "two", "profile:taste", settings=["width=32"])
