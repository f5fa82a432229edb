"""`torchrun ... recxfer pretrain`: several processes, one run."""

import json
import subprocess
import sys

import polars as pl
import pytest

from recxfer.foundation import tensors
from recxfer.foundation.names import CHECKPOINT, HISTORY
from recxfer.testing.commands import answered, prepared, sets

SMALL = [
    "--epochs", "2", "--batch-size", "64", "--precision", "fp32", "--threads", "1",
]  # fmt: skip
SETTINGS = {
    # Views that are the same leave nothing to chance, which each process has its own of.
    "clue": ["loss=nt-xent", "views=mask", "mask_share=0", "readout=mean"],
    "next-item": [],
}


def torchrun(*words):
    """Run a command line in two processes."""
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    return subprocess.run(
        [*start, "-m", "recxfer", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def together(*words):
    """Run a command line that succeeds in two processes; return the object of its `--json`."""
    done = torchrun(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "data"
    return prepared("synthetic", path, "users=300").path


@pytest.mark.parametrize("objective", SETTINGS)
def test_two_processes_make_the_run_of_one(objective, toy, tmp_path):
    settings = ["dropout=0.0", "width=16", "max_length=20", *SETTINGS[objective]]
    words = ["--objective", objective, *SMALL, *sets(*settings)]
    told, found, losses = {}, {}, {}
    for processes, call in ((1, answered), (2, together)):
        run = tmp_path / str(processes)
        told[processes] = call("pretrain", toy, run, *words)
        found[processes] = tensors.load(run / CHECKPOINT)[0]["backbone.item_table.weight"][1:]
        losses[processes] = pl.read_parquet(run / HISTORY)["loss"].to_list()
        assert not (tmp_path / f"{processes}.partial").exists()
    assert tensors.read_header(tmp_path / "2" / CHECKPOINT)["processes"] == 2
    # Half of the negatives would cost log 2 in the loss of clue. Adam makes much of the rounding
    # of small gradients: tables agree as far as that allows.
    assert losses[2] == pytest.approx(losses[1], rel=1e-3)
    assert (found[2] - found[1]).norm() < 0.1 * found[1].norm()
    metric = next(iter(told[1]["validation"]))
    assert told[2]["validation"][metric] == pytest.approx(told[1]["validation"][metric], abs=0.02)


def test_resume_and_errors_are_everybodys(toy, tmp_path):
    words = ["pretrain", toy, tmp_path / "run", *SMALL, "--set", "width=16"]
    log = tmp_path / "log.jsonl"
    together(*words, "--log-to", f"jsonl:{log}")
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["epoch"] for line in told if "NDCG@10" in line] == [1, 2]  # the first tells alone
    assert together(*words, "--resume")["epochs"] == 2
    taken = torchrun(*words)
    assert taken.returncode != 0
    assert "exists" in taken.stderr


def test_what_works_in_one_process_refuses_several(toy, tmp_path):
    done = torchrun("evaluate", tmp_path)
    assert done.returncode != 0
    assert "torchrun started several processes of `recxfer evaluate`" in done.stderr


def test_processes_need_not_have_the_same_modalities(tmp_path):
    """Each has one short history a step: some shares of a batch bring no image, others no text."""
    data = tmp_path / "data"
    world = ["users=24", "items=21", "events_per_user=4", "images=true", "image_side=16"]
    small = [
        "width=8", "max_length=6", "modality=mixture", "text_width=8", "text_depth=1",
        "text_buckets=50", "image_width=8", "image_depth=1", "image_side=16",
    ]  # fmt: skip
    prepared("synthetic", data, *world)
    together(
        "pretrain", data, tmp_path / "run", "--objective", "transrec", *SMALL, "--batch-size", 2,
        *sets(*small),
    )  # fmt: skip
    assert tensors.read_header(tmp_path / "run" / CHECKPOINT)["processes"] == 2
