"""Task after task through the command line: learn, look at what a run holds, meet the errors."""

import pytest
import torch

from recxfer.foundation import tensors
from recxfer.models.heads import LinearHead
from recxfer.models.user_model import UserModel
from recxfer.runs.checkpoint import build_backbone
from recxfer.runs.header import Header
from recxfer.runs.open import open_run
from recxfer.testing.commands import answered, recxfer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runs(bases, films, tmp_path_factory):
    """Two runs: with the base's own task and taste, and with group besides."""
    folder = tmp_path_factory.mktemp("sequence")
    base = bases["nextitnet", "next-item"]
    for begin, run, task in (
        (base, "c2", "profile:taste"),
        (folder / "c2", "c3", "profile:group"),
    ):
        made = answered(
            "transfer", begin, films, folder / run, "--method", "conure", "--task", task,
            "--epochs", 3, "--lr", 0.01,
        )  # fmt: skip
        assert (made["path"], made["method"], made["task"]) == (
            str(folder / run), "conure", task,
        )  # fmt: skip
        assert 0 < made["trained_share"] < 1
    return folder / "c2", folder / "c3"


def test_a_task_is_added_once(runs, films, tmp_path):
    words = ["transfer", runs[0], films, tmp_path / "run", "--method"]
    again = recxfer(*words, "conure", "--task", "profile:taste", code=2)
    assert "as task 2" in again.stderr
    recxfer(*words, "lora", "--task", "profile:group", code=4)
    assert list(tmp_path.iterdir()) == []


def test_evaluate_measures_all_tasks_or_some(runs):
    _, last = runs
    every = answered("evaluate", last)
    assert [(run["number"], run["task"]) for run in every["runs"]] == [
        (1, "next-item"), (2, "profile:taste"), (3, "profile:group"),
    ]  # fmt: skip
    for asked, numbers in ((["2"], [2]), (["profile:group", "1"], [1, 3])):
        options = [part for name in asked for part in ("--task", name)]
        some = answered("evaluate", last, *options)
        assert some["runs"] == [run for run in every["runs"] if run["number"] in numbers]
    refused = recxfer("evaluate", last, "--task", "profile:age", code=2)
    assert "3 (profile:group)" in refused.stderr
    recxfer("evaluate", last, "--task", "4", code=2)


def test_a_sequence_of_runs_has_a_matrix_and_forgets_nothing(runs, bases, films, tmp_path):
    alone = tmp_path / "alone"
    recxfer(
        "transfer", bases["nextitnet", "next-item"], films, alone, "--method", "scratch",
        "--task", "profile:group", "--epochs", 1,
    )  # fmt: skip
    page = tmp_path / "page.html"
    result = answered("evaluate", *runs, alone, "--report", page)
    sequence = result["sequence"]
    assert sequence["runs"] == [str(run) for run in runs]
    assert [task["task"] for task in sequence["tasks"]] == [
        "next-item", "profile:taste", "profile:group",
    ]  # fmt: skip
    assert [task["metric"] for task in sequence["tasks"]] == ["NDCG@10", "accuracy", "accuracy"]
    first, last = sequence["matrix"]
    assert first[:2] == last[:2]
    assert first[2] is None
    assert (sequence["forgetting"], sequence["backward_transfer"]) == (0, 0)
    value = {
        (run["run"], run["number"]): run["metrics"]["accuracy"]["value"]
        for run in result["runs"]
        if run["task"] == "profile:group"
    }
    assert sequence["forward_transfer"] == pytest.approx(
        value[str(runs[1]), 3] - value[str(alone), None]
    )
    assert sequence["final_average"] == pytest.approx(sum(last) / 3)
    assert {(d["run"], d["task"]) for d in result["differences"]} == {
        (str(runs[1]), "next-item"), (str(runs[1]), "profile:taste"), (str(alone), "profile:group"),
    }  # fmt: skip
    text = page.read_text()
    assert "<svg" in text
    assert "Task after task" in text
    table = recxfer("evaluate", *runs)
    assert "Task after task" in table.stderr + table.stdout


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_exported_task_is_a_dense_model_of_its_own(runs, number, tmp_path):
    out = tmp_path / "model.safetensors"
    recxfer("export", runs[1], out, "--what", "model", "--task", number)
    parts, header = tensors.load(out)
    header = Header.model_validate(header)
    task = header.last.task
    held = open_run(runs[1], CPU, number=number)
    assert task.name == held.task.name
    assert len(header.tasks) == 1
    model = UserModel(
        build_backbone(header.backbone),
        LinearHead(16, task.num_outputs) if "head.weight" in parts else None,
        held.model.readout,
        classifies=not task.ranks_items,
    ).eval()
    model.load_state_dict(parts)
    rows = held.rows("all")
    batch = rows.batch(torch.arange(len(rows)))
    with torch.inference_mode():
        theirs = model.output().scores(model.user_vectors(batch.history))
        ours = held.learner.output(held.model).scores(held.learner.represent(held.model, batch))
    assert torch.equal(theirs, ours)
    # Where nothing is owned yet, kernels hold zeros and nothing else.
    kernel = parts["backbone.blocks.0.sublayer1.weight"]
    assert abs(float((kernel != 0).double().mean()) - (1 - 0.7**number)) < 1e-3


def test_vectors_of_one_task_are_exported(runs, tmp_path):
    for number, width in ((1, "films.parquet"), (2, "taste.parquet")):
        recxfer("export", runs[1], tmp_path / width, "--what", "users", "--task", number)
    out = tmp_path / "x.parquet"
    recxfer("export", runs[1], out, "--what", "users", "--task", "no", code=2)
