"""Several seeds in one call, and taken as one when they are evaluated."""

import json
import shutil

import numpy as np
import pytest

from recxfer.commands.studies import parse_seeds
from recxfer.foundation.errors import UsageError
from recxfer.foundation.names import CHECKPOINT
from recxfer.runs.seeds import differ_in_seed_alone, grouped, runs_in
from recxfer.testing.commands import answered, recxfer

SMALL = ["--epochs", 2, "--batch-size", 16]


@pytest.fixture(scope="module")
def study(films, tmp_path_factory):
    """A base of three seeds, transferred seed by seed, and beside it one of another rate."""
    folder = tmp_path_factory.mktemp("seeds")
    small = [*SMALL, "--set", "width=8", "--set", "max_length=12"]
    recxfer("pretrain", films, folder / "base", "--seeds", "0-2", *small)
    taste = [films, "--task", "profile:taste", "--method", "finetune"]
    for name, lr in (("slow", 0.0001), ("fast", 0.02)):
        words = [*taste[:1], folder / name, *taste[1:], "--seeds", "0,1,2", *SMALL, "--lr", lr]
        recxfer("transfer", folder / "base", *words)
    return folder


def test_each_seed_is_the_run_that_its_own_call_makes(study, films, tmp_path):
    assert [run.name for run in runs_in(study / "base")] == ["seed-0", "seed-1", "seed-2"]
    small = [*SMALL, "--set", "width=8", "--set", "max_length=12"]
    recxfer("pretrain", films, tmp_path / "one", "--seed", 1, *small)
    ours = (study / "base" / "seed-1" / CHECKPOINT).read_bytes()
    assert (tmp_path / "one" / CHECKPOINT).read_bytes() == ours


def test_a_transfer_of_a_seed_begins_with_the_base_of_that_seed(study):
    for seed in range(3):
        run = study / "fast" / f"seed-{seed}"
        record = json.loads((run / "run.json").read_text())
        assert (run / record["base"]).resolve() == (study / "base" / f"seed-{seed}").resolve()


def test_evaluate_takes_a_folder_of_seeds_as_one_run(study):
    result = answered("evaluate", study / "slow", study / "fast")
    slow, fast = result["runs"]
    assert (slow["run"], fast["run"]) == (str(study / "slow"), str(study / "fast"))
    assert fast["over_seeds"]["seeds"] == [0, 1, 2]
    alone = [
        answered("evaluate", study / "fast" / f"seed-{seed}")["runs"][0]["metrics"]["AUC"]["value"]
        for seed in range(3)
    ]
    assert fast["metrics"]["AUC"]["value"] == pytest.approx(np.mean(alone), abs=1e-12)
    assert fast["over_seeds"]["sd"]["AUC"] == pytest.approx(np.std(alone, ddof=1), abs=1e-12)
    (difference,) = [d for d in result["differences"] if d["metric"] == "AUC"]
    gap = fast["metrics"]["AUC"]["value"] - slow["metrics"]["AUC"]["value"]
    assert difference["value"] == pytest.approx(gap, abs=1e-12)
    assert difference["low"] <= gap <= difference["high"]


def test_runs_given_one_by_one_are_one_where_their_seed_alone_differs(study):
    fast = [study / "fast" / f"seed-{seed}" for seed in range(3)]
    (run,) = answered("evaluate", *fast)["runs"]
    assert run["run"] == str(fast[0])
    (folder,) = answered("evaluate", study / "fast")["runs"]
    assert run["metrics"] == folder["metrics"]
    slow = study / "slow" / "seed-1"
    assert [group.runs for group in grouped([fast[0], slow, fast[2]])] == [
        (fast[0], fast[2]),
        (slow,),
    ]
    assert not differ_in_seed_alone(fast[0], slow), "the rates differ, too"
    assert not differ_in_seed_alone(fast[0], fast[0]), "one seed is no other seed"


def test_a_single_run_is_told_as_before(study):
    (run,) = answered("evaluate", study / "fast" / "seed-0")["runs"]
    assert "over_seeds" not in run


def test_bases_that_differ_in_more_than_their_seed_part_their_runs(study, films, tmp_path):
    other = tmp_path / "other"
    words = ["--set", "width=8", "--set", "max_length=12", "--set", "dropout=0.5", "--seed", 1]
    recxfer("pretrain", films, other, *SMALL, *words)
    run = tmp_path / "run"
    task = ["--task", "profile:taste", "--method", "finetune", *SMALL, "--lr", 0.02, "--seed", 1]
    recxfer("transfer", other, films, run, *task)
    # The settings of a base are not in the header of its transfers: the bases are looked at.
    assert len(grouped([study / "fast" / "seed-0", run])) == 2


def test_slices_tables_and_reports_show_seeds_as_one(study, tmp_path):
    page = tmp_path / "page.html"
    done = recxfer("evaluate", study / "fast", "--by", "label", "--report", page)
    assert "3 seeds" in done.output
    assert "between seeds" in done.output
    assert str(study / "fast") in page.read_text()


def test_what_is_missing_alone_is_made_again(study, films, tmp_path):
    shutil.copytree(study / "base", tmp_path / "base")
    shutil.rmtree(tmp_path / "base" / "seed-1")
    kept = (tmp_path / "base" / "seed-0" / CHECKPOINT).stat().st_mtime_ns
    small = [*SMALL, "--set", "width=8", "--set", "max_length=12"]
    made = answered("pretrain", films, tmp_path / "base", "--seeds", "0-2", "--resume", *small)
    assert made["seeds"] == [0, 1, 2]
    assert (tmp_path / "base" / "seed-0" / CHECKPOINT).stat().st_mtime_ns == kept
    again = (tmp_path / "base" / "seed-1" / CHECKPOINT).read_bytes()
    assert again == (study / "base" / "seed-1" / CHECKPOINT).read_bytes()
    values = [run["validation"]["NDCG@10"] for run in made["runs"]]
    assert made["validation"]["NDCG@10"]["mean"] == pytest.approx(np.mean(values))


def test_a_run_or_another_folder_is_not_written_into(study, films, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for folder, message in (
        (study / "base" / "seed-0", "is a run"),
        (tmp_path / "mine", "notes.txt"),
    ):
        done = recxfer("pretrain", films, folder, "--seeds", "0,1", "--overwrite", code=2)
        assert message in done.output
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_where_one_run_is_wanted_a_folder_of_seeds_says_so(study, films, tmp_path):
    done = recxfer("export", study / "base", tmp_path / "users.parquet", code=4)
    assert "several seeds" in done.output
    assert "seed-0" in done.output


def test_a_seed_that_the_base_lacks_is_named(study, films, tmp_path):
    words = ["--method", "finetune", "--task", "profile:taste", "--seeds", "0,7"]
    done = recxfer("transfer", study / "base", films, tmp_path / "run", *words, *SMALL, code=2)
    assert "none of seed 7" in done.output


@pytest.mark.parametrize(("text", "seeds"), [("0", (0,)), ("3,1", (3, 1)), ("0-2,9", (0, 1, 2, 9))])
def test_seeds_are_numbers_and_ranges(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,", "2-1", "1,1", "0-2,1", "-1", "0-99999"])
def test_what_is_no_list_of_seeds_is_refused(text):
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)


def test_seed_and_seeds_together_are_refused(films, tmp_path):
    done = recxfer("pretrain", films, tmp_path / "x", "--seed", 3, "--seeds", "0,1", code=2)
    assert "--seed 3 and --seeds 0,1" in done.output
