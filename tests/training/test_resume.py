"""A run that was stopped goes on as if it had not been: same final bytes."""

import signal
import subprocess
import sys
import time

import pytest

from recxfer.foundation.errors import CheckpointError, DivergedError, UsageError
from recxfer.foundation.names import CHECKPOINT, HISTORY, RESUME
from recxfer.foundation.reporting import SilentReporter
from recxfer.testing.commands import pretrained, recxfer, sets, transferred
from recxfer.training import session

SETTINGS = ["width=16", "max_length=20", "dropout=0.2", "optim.batch_size=8"]


def learn(films, run, *settings, **options):
    options = {"epochs": 4, "batch_size": None, **options}
    return pretrained(films, run, *SETTINGS, *settings, **options)


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    return learn(films, run).path


@pytest.mark.parametrize("steps", [1, 7, 15, 29])
def test_stopped_anywhere_the_run_ends_in_the_same_bytes(films, whole, tmp_path, stopped, steps):
    run = tmp_path / "run"
    with stopped(steps - 1):
        learn(films, run)
    assert not run.exists()
    assert (session.partial_directory(run) / RESUME).exists()
    with pytest.raises(UsageError, match="unfinished run"):
        learn(films, run)
    learn(films, run, resume=True)
    assert (run / CHECKPOINT).read_bytes() == (whole / CHECKPOINT).read_bytes()
    assert (run / HISTORY).read_bytes() == (whole / HISTORY).read_bytes()
    assert not session.partial_directory(run).exists()


WORDS = ["--epochs", "4", "--lr", "0.01", "--threads", "1", *sets(*SETTINGS)]


@pytest.mark.parametrize(
    ("kill", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
)
def test_a_killed_process_can_be_resumed(films, whole, tmp_path, kill, code):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "recxfer", "pretrain", str(films), str(run), *WORDS]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    resume = session.partial_directory(run) / RESUME
    deadline = time.monotonic() + 60
    while not resume.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(kill)
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert process.returncode == code
    if kill != signal.SIGKILL:
        assert "--resume" in errors
    assert not run.exists()
    recxfer("pretrain", films, run, *WORDS, "--resume")
    assert (run / CHECKPOINT).read_bytes() == (whole / CHECKPOINT).read_bytes()


@pytest.mark.parametrize("steps", [2, 9])
def test_a_stopped_transfer_ends_in_the_same_bytes(bases, films, tmp_path, stopped, steps):
    base = bases["nextitnet", "next-item"]  # trained before anything is stopped

    def adapt(name, **options):
        run = tmp_path / name
        transferred(base, films, run, "peterrec", "profile:taste", epochs=3, lr=None, **options)
        return (run / CHECKPOINT).read_bytes()

    with stopped(steps - 1):
        adapt("stopped")
    assert adapt("stopped", resume=True) == adapt("whole")


def test_a_resume_with_other_settings_is_refused(films, tmp_path, stopped):
    run = tmp_path / "run"
    with stopped(4):
        learn(films, run)
    with pytest.raises(CheckpointError, match=r"other settings.*: seed was 0, now 5$"):
        learn(films, run, resume=True, seed=5)
    assert (session.partial_directory(run) / RESUME).exists()


class Notes(SilentReporter):
    """Keeps the notes."""

    def note(self, message):
        self.warnings.append(message)


def test_a_finished_run_is_not_made_again(films, whole):
    before = (whole / CHECKPOINT).stat().st_mtime_ns
    notes = Notes()
    result = learn(films, whole, resume=True, reporter=notes)
    assert (result.path, result.epochs) == (whole, 4)
    assert result.validation["NDCG@10"] > 0
    assert notes.warnings == [f"{whole} was finished already"]
    assert (whole / CHECKPOINT).stat().st_mtime_ns == before


def test_a_finished_run_of_other_settings_is_kept_and_they_are_named(films, whole, bases):
    with pytest.raises(CheckpointError) as caught:
        learn(films, whole, "num_heads=4", "clip=2", resume=True, seed=5)
    told = caught.value.message
    assert told.endswith(
        "backbone.num_heads was 2, now 4; seed was 0, now 5; optim.clip was 1.0, now 2.0"
    )
    with pytest.raises(CheckpointError, match=r"backbone\.name was sasrec, now nextitnet$"):
        learn(films, whole, resume=True, backbone="nextitnet")
    with pytest.raises(UsageError, match="exists already"):
        learn(films, whole)


@pytest.mark.parametrize("method", ["probe", "popular", "finetune"])
def test_a_finished_transfer_is_not_made_again(bases, films, tmp_path, method):
    def adapt(base, **options):
        task = "next-item" if method == "popular" else "profile:taste"
        options = {"epochs": 1, "batch_size": None, "lr": None, **options}
        return transferred(base, films, tmp_path / "run", method, task, **options)

    made = adapt(bases["sasrec", "next-item"])
    assert adapt(bases["sasrec", "next-item"], resume=True) == made
    with pytest.raises(CheckpointError, match=r": .*base"):
        adapt(bases["nextitnet", "next-item"], resume=True)


def test_a_diverging_run_says_so_and_writes_nothing(films, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(DivergedError, match="not finite"):
        learn(films, run, "optim.clip=0", "optim.schedule=constant", lr=1e30)
    assert not run.exists()


def test_early_stopping_keeps_the_best_epoch(films, tmp_path):
    result = learn(films, tmp_path / "run", "optim.patience=1", epochs=40)
    assert result.best_epoch <= result.epochs < 40
