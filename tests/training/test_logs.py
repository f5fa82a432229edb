"""What training tells to logs, and that nobody who listens changes it."""

import json

import polars as pl
import pytest

from recxfer.commands import pretrain
from recxfer.foundation.config import Settings
from recxfer.foundation.errors import DivergedError
from recxfer.foundation.names import CHECKPOINT, HISTORY
from recxfer.foundation.reporting import SilentReporter
from recxfer.foundation.reporting.jsonl import JsonlLog
from recxfer.foundation.reporting.many import Many
from recxfer.testing.commands import recxfer
from recxfer.training import loop

SMALL = ["--set", "width=8", "--set", "max_length=20", "--batch-size", "8", "--threads", "1"]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def learn(films, run, *settings, **options):
    given = ["width=8", "max_length=20", "optim.batch_size=8", *settings]
    return pretrain.resolve(films, run, settings=Settings.read(None, given), **options)


@pytest.fixture(scope="module")
def alone(films, tmp_path_factory):
    """A run that nobody listened to."""
    run = tmp_path_factory.mktemp("alone") / "run"
    recxfer("pretrain", films, run, "--epochs", 3, *SMALL)
    return run


def test_every_epoch_and_every_look_at_the_loss_is_told(films, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECK_STEPS", 5)
    run, log = tmp_path / "run", tmp_path / "log.jsonl"
    recxfer("pretrain", films, run, "--epochs", 3, *SMALL, "--log-to", f"jsonl:{log}")
    told = lines(log)
    steps = [line["step"] for line in told]
    assert steps == sorted(steps)
    epochs = [line for line in told if "NDCG@10" in line]
    history = pl.read_parquet(run / HISTORY).to_dicts()
    assert [{k: v for k, v in line.items() if k != "step"} for line in epochs] == history
    looks = [line for line in told if "step_loss" in line]
    assert len(looks) == 3 * -(-epochs[0]["step"] // 5)
    assert {line["epoch"] for line in looks} == {1, 2, 3}
    assert all(line["lr"] >= 0 and line["phase"] == "pretrain" for line in looks)


def test_who_listens_changes_no_byte(films, alone, tmp_path):
    run = tmp_path / "run"
    logs = [part for n in (1, 2) for part in ("--log-to", f"jsonl:{tmp_path / f'{n}.jsonl'}")]
    recxfer("pretrain", films, run, "--epochs", 3, *SMALL, *logs)
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    for name in (CHECKPOINT, HISTORY):
        assert (run / name).read_bytes() == (alone / name).read_bytes()


def test_a_listener_that_fails_neither_ends_nor_changes_training(
    films, alone, tmp_path, monkeypatch
):
    def fail(self, step, values):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JsonlLog, "record", fail)
    run = tmp_path / "run"
    log = ("--log-to", f"jsonl:{tmp_path / 'log'}")
    done = recxfer("pretrain", films, run, "--epochs", 3, *SMALL, *log, "--json")
    (warning,) = json.loads(done.stdout)["warnings"]
    assert "log is left out from here on" in warning
    assert (run / CHECKPOINT).read_bytes() == (alone / CHECKPOINT).read_bytes()


def test_a_stopped_run_goes_on_in_its_log(films, tmp_path, stopped):
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    listening = {
        path: Many(SilentReporter(), {"log": JsonlLog(str(path))}) for path in (whole, parts)
    }
    pretrain.run(learn(films, tmp_path / "whole", epochs=3), listening[whole])
    with stopped(40):
        pretrain.run(learn(films, tmp_path / "run", epochs=3), listening[parts])
    before = lines(parts)
    assert 0 < len(before) < len(lines(whole))
    config = learn(films, tmp_path / "run", epochs=3, resume=True)
    pretrain.run(config, Many(SilentReporter(), {"log": JsonlLog(str(parts))}))
    epochs = [[line for line in lines(path) if "loss" in line] for path in (whole, parts)]
    assert epochs[0] == epochs[1]


def test_a_loss_that_is_not_finite_is_told_before_training_ends(films, tmp_path):
    log = tmp_path / "log.jsonl"
    config = learn(films, tmp_path / "run", "optim.clip=0", epochs=3, lr=1e30)
    with pytest.raises(DivergedError):
        pretrain.run(config, Many(SilentReporter(), {"log": JsonlLog(str(log))}))
    assert lines(log)[-1]["step_loss"] is None


def test_an_epoch_whose_validation_ends_training_is_told(films, tmp_path, monkeypatch):
    def collapse(*arguments):
        raise DivergedError("collapsed")

    monkeypatch.setattr(loop, "_validate", collapse)
    log = tmp_path / "log.jsonl"
    with pytest.raises(DivergedError, match="collapsed"):
        pretrain.run(
            learn(films, tmp_path / "run", epochs=3),
            Many(SilentReporter(), {"log": JsonlLog(str(log))}),
        )
    assert lines(log)[-1].keys() == {"step", "phase", "epoch", "lr", "loss"}


def test_phases_of_a_transfer_follow_one_another(alone, films, tmp_path):
    log = tmp_path / "log.jsonl"
    words = ("--method", "conure", "--task", "profile:taste", "--epochs", 2)
    recxfer("transfer", alone, films, tmp_path / "run", *words, "--log-to", f"jsonl:{log}")
    told = lines(log)
    assert {line["phase"] for line in told} == {"train", "retrain"}
    assert any("log_likelihood" in line for line in told)
