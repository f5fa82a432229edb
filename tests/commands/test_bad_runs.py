"""Bases, deltas and tasks that do not fit: one clear message, the right class, nothing written."""

import json
import shutil

import polars as pl
import pytest
import torch

from recxfer.commands.export import FORMATS
from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError, ConfigError, DataError, UsageError
from recxfer.foundation.names import CHECKPOINT, RUN_JSON
from recxfer.foundation.reporting import SilentReporter
from recxfer.runs.open import open_run
from recxfer.testing.commands import evaluated, exported, prepared, pretrained, transferred

CPU = torch.device("cpu")


def adapt(base, dataset, run, method="probe", task="profile:taste", settings=(), **options):
    options = {"epochs": 1, "batch_size": None, "lr": None, **options}
    return transferred(base, dataset, run, method, task, *settings, **options)


@pytest.fixture
def base(bases):
    return bases["sasrec", "next-item"]


@pytest.fixture
def copied(base, films, tmp_path):
    """A base and a delta on it, of which a test may break what it likes."""
    shutil.copytree(base.parent / "films", tmp_path / "films")
    shutil.copytree(base, tmp_path / "base")
    adapt(tmp_path / "base", tmp_path / "films", tmp_path / "delta")
    return tmp_path


def test_a_delta_refuses_another_parent(copied, bases):
    shutil.rmtree(copied / "base")
    shutil.copytree(bases["sasrec", "cloze"], copied / "base")
    with pytest.raises(CheckpointError, match="is not the base that") as caught:
        open_run(copied / "delta", CPU)
    assert caught.value.exit_code == 4


def test_a_delta_says_which_base_is_missing(copied):
    shutil.rmtree(copied / "base")
    with pytest.raises(DataError, match="base") as caught:
        open_run(copied / "delta", CPU)
    assert "--base" in caught.value.hint


def test_a_first_token_on_a_causal_base_is_refused(base, films, tmp_path):
    with pytest.raises(ConfigError, match="first-token") as caught:
        adapt(base, films, tmp_path / "run", "peterrec", settings=["readout=first-token"])
    assert "cloze" in caught.value.hint
    assert not (tmp_path / "run").exists()


@pytest.fixture
def moved(copied):
    """The same after both the base and the dataset went elsewhere."""
    (copied / "base").rename(copied / "base2")
    (copied / "films").rename(copied / "films2")
    return copied


@pytest.mark.parametrize("what", ["users", "recommendations", "model"])
def test_export_is_told_where_things_went(moved, what):
    def write(**options):
        out = moved / f"{what}.safetensors"
        return exported(moved / "delta", out, what=what, format=FORMATS[what][0], **options)

    data = {} if what == "model" else {"dataset": moved / "films2"}
    assert write(base=moved / "base2", **data).path.exists()
    (moved / f"{what}.safetensors").unlink()
    with pytest.raises(DataError, match="base") as caught:
        write(**data)
    assert "--base" in caught.value.hint
    if data:
        with pytest.raises(DataError, match="films") as caught:
            write(base=moved / "base2")
        assert "--dataset" in caught.value.hint
    else:
        with pytest.raises(UsageError, match="without data"):
            write(dataset=moved / "films2")


def test_evaluate_is_told_where_things_went(moved, bases):
    result = evaluated(moved / "delta", base=moved / "base2", dataset=moved / "films2")
    assert result.runs[0].cases > 0
    with pytest.raises(CheckpointError, match="is not the base that"):
        evaluated(moved / "delta", base=bases["nextitnet", "next-item"], dataset=moved / "films2")
    with pytest.raises(CheckpointError, match="is not a finished run"):
        evaluated(moved / "delta", base=moved / "films2", dataset=moved / "films2")
    with pytest.raises(UsageError, match="needs no base"):
        evaluated(moved / "base2", base=moved / "base2", dataset=moved / "films2")


def test_a_re_indexed_dataset_is_refused(copied, world):
    """The same people and films, but one film fewer: indices after it mean other films."""
    prepared(
        world / "films.csv",
        copied / "fewer",
        users=world / "people.csv",
        where="item != 'f3'",
    )
    run = open_run(copied / "delta", CPU)
    with pytest.raises(CheckpointError, match="indexes its items otherwise"):
        run.rows("test", copied / "fewer")
    with pytest.raises(CheckpointError, match="indexes its items otherwise") as caught:
        adapt(copied / "base", copied / "fewer", copied / "out")
    assert "prepare it again with --vocabulary and the path of 'films'" in caught.value.hint


def test_a_transferred_run_is_no_base(copied):
    with pytest.raises(CheckpointError, match="a base must be pretrained"):
        adapt(copied / "delta", copied / "films", copied / "out")
    assert not (copied / "out").exists()


@pytest.mark.parametrize("kept", [4, 200, -100])
def test_a_truncated_checkpoint_is_damaged(copied, kept):
    path = copied / "base" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"safetensors|damaged"):
        open_run(copied / "base", CPU)


def test_a_foreign_safetensors_file_is_named(copied):
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, copied / "base" / CHECKPOINT)
    with pytest.raises(CheckpointError, match="not written by recxfer"):
        open_run(copied / "base", CPU)


def test_a_newer_format_is_refused(copied):
    path = copied / "base" / CHECKPOINT
    parts, header = tensors.load(path)
    tensors.save(path, parts, {**header, "format": 99})
    with pytest.raises(CheckpointError, match="format 99"):
        open_run(copied / "base", CPU)


@pytest.mark.parametrize("run", ["base", "delta"])
def test_a_tensor_that_is_missing_is_told(copied, run):
    path = copied / run / CHECKPOINT
    parts, header = tensors.load(path)
    parts.pop(sorted(parts)[0])
    tensors.save(path, parts, header)
    with pytest.raises(CheckpointError, match="does not fit its own header"):
        open_run(copied / run, CPU)


def test_an_unfinished_run_is_no_run(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(CheckpointError, match="not a finished run"):
        open_run(tmp_path / "run", CPU)


def test_a_dataset_that_has_moved_is_named(copied):
    record = json.loads((copied / "delta" / RUN_JSON).read_text())
    (copied / "delta" / RUN_JSON).write_text(
        json.dumps({**record, "tasks": [{"datasets": ["../gone"]}]})
    )
    with pytest.raises(DataError, match="gone"):
        _ = open_run(copied / "delta", CPU).target


def test_an_unknown_label_gets_a_suggestion(base, films, tmp_path):
    with pytest.raises(UsageError, match="no label column") as caught:
        adapt(base, films, tmp_path / "out", task="profile:tast")
    assert "taste" in caught.value.hint


@pytest.mark.parametrize("task", ["profile", "profile:", "next", "cross-domain:x"])
def test_an_unknown_task_is_refused_before_anything_is_read(tmp_path, task):
    with pytest.raises(UsageError, match="unknown task"):
        adapt(tmp_path / "no", tmp_path / "no", tmp_path / "out", task=task)


def test_cross_domain_needs_a_link(base, films, tmp_path):
    with pytest.raises(UsageError, match="needs two datasets that are linked"):
        adapt(base, films, tmp_path / "out", task="cross-domain")


def test_next_item_refuses_a_base_that_sees_the_future(bases, films, tmp_path):
    with pytest.raises(UsageError, match="looks only to the left"):
        adapt(bases["sasrec", "cloze"], films, tmp_path / "out", "finetune", "next-item")


def test_a_base_with_positions_reads_no_further(base, bases, films, tmp_path):
    with pytest.raises(ConfigError, match="reads 20 at most"):
        adapt(base, films, tmp_path / "out", settings=["max_length=21"])
    longer = adapt(
        bases["nextitnet", "next-item"], films, tmp_path / "out", settings=["max_length=21"]
    )
    assert open_run(longer.path, CPU).max_length == 21


@pytest.fixture
def odd_labels(world, films, tmp_path):
    """The films again, with labels that only people outside the training part tell apart."""
    users = pl.read_parquet(films / "users.parquet")
    valid = users.filter(pl.col("split") == "valid")["user_id"].to_list()
    lines = ["user,alone,rare"]
    for place, user in enumerate(users["user_id"].to_list()):
        alone, rare = "many", "ab"[place % 2]
        if user in valid[:2]:
            alone, rare = "few", "c"
        lines.append(f"{user},{alone},{rare}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    labels = tmp_path / "labels.csv"
    return prepared(world / "films.csv", tmp_path / "films", users=labels).path


def test_a_label_that_is_constant_in_training_is_refused(base, odd_labels, tmp_path):
    with pytest.raises(DataError, match="has the alone 'many'"):
        adapt(base, odd_labels, tmp_path / "out", task="profile:alone")
    assert not (tmp_path / "out").exists()


def test_a_class_that_training_never_saw_is_counted(base, odd_labels, tmp_path):
    reporter = SilentReporter()
    adapt(base, odd_labels, tmp_path / "out", task="profile:rare", reporter=reporter)
    (warning,) = reporter.warnings
    assert warning.startswith("2 of ")
    assert "(c)" in warning


def test_people_without_a_source_history_are_counted(base, world, films, tmp_path):
    """Books read before the first film, and people who saw none: all have an empty history."""
    lines = (world / "books.csv").read_text().splitlines()
    early = [line.rpartition(",")[0] + ",5" for line in lines[1:] if line.startswith("u3,")]
    strangers = [f"stranger{n},b{n},2000" for n in range(10)]
    (tmp_path / "books.csv").write_text("\n".join([*lines, *early, *strangers]) + "\n")
    options = {"links": [films], "split": "users"}
    dataset = prepared(tmp_path / "books.csv", tmp_path / "books", **options).path
    reporter = SilentReporter()
    run = adapt(base, dataset, tmp_path / "out", task="cross-domain", reporter=reporter).path
    assert any("training examples have no history" in text for text in reporter.warnings)
    told = SilentReporter()
    evaluated(run, reporter=told)
    (warning,) = told.warnings
    assert "test cases of cross-domain have no history" in warning
    opened = open_run(run, CPU)
    rows = opened.rows("test")
    vectors = opened.learner.represent(opened.model, rows.batch(torch.arange(len(rows))))
    assert vectors.isfinite().all()


def test_source_is_for_cross_domain_only(base, films, tmp_path):
    with pytest.raises(UsageError, match="--source"):
        adapt(base, films, tmp_path / "out", source=films)


def test_more_layers_than_there_are(base, films, tmp_path):
    with pytest.raises(ConfigError, match="has 2 blocks"):
        adapt(base, films, tmp_path / "out", method="last-layers", settings=["layers=9"])


def test_an_existing_run_is_kept(base, films, copied):
    before = (copied / "delta" / CHECKPOINT).read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        adapt(copied / "base", copied / "films", copied / "delta")
    assert (copied / "delta" / CHECKPOINT).read_bytes() == before
    adapt(copied / "base", copied / "films", copied / "delta", overwrite=True, seed=9)
    assert (copied / "delta" / CHECKPOINT).read_bytes() != before


def test_a_transfer_never_replaces_its_own_base(copied):
    before = (copied / "base" / CHECKPOINT).read_bytes()
    with pytest.raises(UsageError, match="this command reads"):
        adapt(copied / "base", copied / "films", copied / "base", overwrite=True)
    with pytest.raises(UsageError, match="this command reads"):
        adapt(copied / "base", copied / "films", copied / "films", overwrite=True)
    assert (copied / "base" / CHECKPOINT).read_bytes() == before


def test_a_domain_of_single_events_cannot_be_learned(tmp_path):
    log = "user,item,time\n" + "".join(f"u{p},f{p % 3},{p}\n" for p in range(12))
    (tmp_path / "log.csv").write_text(log)
    prepared(tmp_path / "log.csv", tmp_path / "data")
    with pytest.raises(DataError, match="nothing to predict"):
        pretrained(tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()
