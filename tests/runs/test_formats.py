"""What was written by earlier formats opens for ever: `tests/formats` holds some of each."""

import json
import shutil
from pathlib import Path

import pytest

from recxfer.foundation import tensors
from recxfer.foundation.names import CHECKPOINT
from recxfer.testing.commands import answered

KEPT = Path(__file__).parents[1] / "formats"
RUNS = {"1/base": (1, "backbone"), "1/delta": (1, "delta"), "2/tasks": (2, "merged")}
"""Each with the format and the kind that its header has."""


@pytest.fixture
def kept(tmp_path):
    """A copy, because `evaluate` writes into runs."""
    return Path(shutil.copytree(KEPT, tmp_path / "formats"))


@pytest.mark.parametrize("run", RUNS)
def test_a_run_is_of_the_format_that_it_stands_for(run):
    header = tensors.read_header(KEPT / run / CHECKPOINT)
    assert (header["format"], header["kind"]) == RUNS[run]


@pytest.mark.parametrize("run", RUNS)
def test_a_run_has_the_figures_that_it_had(run, kept):
    known = json.loads((kept / "figures.json").read_text())[run]
    found = {task["task"]: task["metrics"] for task in answered("evaluate", kept / run)["runs"]}
    assert found.keys() == known.keys()
    for task, metrics in known.items():
        for name, value in metrics.items():
            assert found[task][name]["value"] == pytest.approx(value, abs=1e-6), (task, name)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_is_exported(run, kept, tmp_path):
    assert answered("export", kept / run, tmp_path / "users.parquet")["rows"] == 40
    out = tmp_path / "model.safetensors"
    answered("export", kept / run, out, "--what", "model")
    _, header = tensors.load(out)
    assert header["kind"] in ("backbone", "merged")


@pytest.mark.parametrize(
    ("base", "method", "task"),
    [
        ("1/base", "lora", "profile:taste"),
        ("1/base", "conure", "profile:taste"),
        ("2/tasks", "conure", "next-item"),
    ],
)
def test_a_run_is_transferred_on(base, method, task, kept, tmp_path):
    if task == "next-item":  # which the base holds already, on these people
        answered(
            "prepare", _other_log(tmp_path), tmp_path / "other", "--vocabulary", kept / "1/films"
        )
        dataset = tmp_path / "other"
    else:
        dataset = kept / "1/films"
    run = tmp_path / "run"
    answered(
        "transfer", kept / base, dataset, run, "--method", method, "--task", task, "--epochs", 1
    )
    tasks = answered("evaluate", run)["runs"]
    assert tasks[-1]["task"] == task
    before = answered("evaluate", kept / base)["runs"]
    if base == "2/tasks":  # conure forgets nothing, of whatever format
        assert [one["metrics"] for one in tasks[: len(before)]] == [
            one["metrics"] for one in before
        ]


def test_a_dataset_is_pretrained_on(kept, tmp_path):
    made = answered(
        "pretrain", kept / "1/films", tmp_path / "run", "--epochs", 1, "--set", "width=4"
    )
    assert made["parameters"] > 0


def _other_log(folder):
    """The log of other people, who watch the same films."""
    lines = ["user,item,time"]
    for person in range(12):
        lines += [f"v{person},f{(person + step) % 8},{step}" for step in range(5)]
    path = folder / "other.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
