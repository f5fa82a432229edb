"""What a person sees while something runs, and what is written to logs."""

import io
import json
import math
import sys

import pytest
from rich.console import Console

from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.reporting import SilentReporter, terminal
from recxfer.foundation.reporting.jsonl import JsonlLog
from recxfer.foundation.reporting.log import open_log
from recxfer.foundation.reporting.many import Many
from recxfer.foundation.reporting.terminal import RichReporter


def reporter(*, terminal):
    text = io.StringIO()
    return text, RichReporter(Console(file=text, force_terminal=terminal, width=120))


def test_silence_keeps_the_warnings(capsys):
    silent = SilentReporter()
    silent.note("nothing")
    silent.warn("look here")
    with silent.progress("work", 3, "rows") as progress:
        progress.advance(loss=1.0)
    assert silent.warnings == ["look here"]
    assert capsys.readouterr() == ("", "")


def test_notes_and_warnings_are_single_lines_without_markup():
    text, shown = reporter(terminal=False)
    shown.note("[bold]as it is[/bold]")
    shown.warn("w" * 200)
    assert text.getvalue() == f"[bold]as it is[/bold]\nwarning: {'w' * 200}\n"
    assert shown.warnings == ["w" * 200]


def test_a_terminal_sees_nested_bars_with_rate_and_fields():
    text, shown = reporter(terminal=True)
    with shown.progress("pretrain", 2, "epochs") as outer:
        with shown.progress("epoch 1", 50, "rows") as inner:
            inner.advance(20)
            inner.advance(30, loss=0.123456, phase="head")
        outer.advance(1, hr=0.5)
    drawn = text.getvalue()
    for part in ("pretrain", "1/2", "epoch 1", "50/50", "rows/s", "loss 0.1235", "head", "hr 0.5"):
        assert part in drawn


def test_a_display_ends_with_its_block_even_on_an_error():
    text, shown = reporter(terminal=True)
    with pytest.raises(ZeroDivisionError), shown.progress("first", 1, "rows"):
        raise ZeroDivisionError
    with shown.progress("second", None, "rows") as progress:
        progress.advance()
    assert "second" in text.getvalue()


def test_a_file_gets_a_line_now_and_then(monkeypatch):
    text, shown = reporter(terminal=False)
    with shown.progress("epoch 1", 2000, "rows") as progress:
        progress.advance(500, loss=2.0)
        assert text.getvalue() == ""
        monkeypatch.setattr(terminal, "LOG_SECONDS", 0.0)
        progress.advance(600)
    with shown.progress("reading", None, "files") as progress:
        progress.advance(1, file="a.csv")
    assert text.getvalue() == "epoch 1: 1,100/2,000 rows  loss 2\nreading: 1 files  file a.csv\n"


class Listener(SilentReporter):
    """Remembers what it was told, and fails when asked to."""

    def __init__(self):
        super().__init__()
        self.told = []
        self.broken = False

    def record(self, step, values):
        if self.broken:
            raise OSError(28, "No space left on device")
        self.told.append((step, values))


def test_several_reporters_are_told_the_same():
    screen, one, other = SilentReporter(), Listener(), Listener()
    many = Many(screen, {"one": one, "other": other})
    many.warn("look here")
    many.record(7, {"loss": 0.5})
    assert screen.warnings == one.warnings == other.warnings == ["look here"]
    assert one.told == other.told == [(7, {"loss": 0.5})]


def test_a_listener_that_fails_is_left_out_with_one_warning():
    screen, one, other = SilentReporter(), Listener(), Listener()
    many = Many(screen, {"--log-to one": one, "--log-to other": other})
    one.broken = True
    many.record(1, {"loss": 1.0})
    many.record(2, {"loss": 0.5})
    assert screen.warnings == [
        "--log-to one is left out from here on: [Errno 28] No space left on device"
    ]
    assert [step for step, _ in other.told] == [1, 2]


def test_only_the_screen_counts_work():
    text, screen = reporter(terminal=True)
    with Many(screen, {"one": Listener()}).progress("epoch 1", 2, "rows") as progress:
        progress.advance(2)
    assert "epoch 1" in text.getvalue()


def test_lines_of_json_go_behind_what_is_there(tmp_path):
    path = tmp_path / "folder" / "log.jsonl"
    JsonlLog(str(path)).record(5, {"phase": "pretrain", "loss": 0.5})
    JsonlLog(str(path)).record(9, {"loss": math.nan, "lr": 1})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 5, "phase": "pretrain", "loss": 0.5},
        {"step": 9, "loss": None, "lr": 1},
    ]


def test_a_log_that_cannot_be_written_to_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written to: "):
        open_log(f"jsonl:{tmp_path / 'file' / 'log'}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("json:a", "--log-to json:a: there are jsonl, tensorboard"),
        ("rich:a", "--log-to rich:a: there are jsonl, tensorboard"),
        ("jsonl", "--log-to jsonl: to which place"),
        ("jsonl:", "--log-to jsonl:: to which place"),
    ],
)
def test_logs_that_do_not_exist_are_usage_errors(text, message):
    with pytest.raises(UsageError, match=message):
        open_log(text)


def test_without_its_package_tensorboard_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match="needs the package") as caught:
        open_log(f"tensorboard:{tmp_path}")
    assert "recxfer[tensorboard]" in caught.value.hint


def test_tensorboard_reads_the_figures_back(tmp_path):
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs recxfer[tensorboard]",
    )
    log = open_log(f"tensorboard:{tmp_path}")
    log.record(3, {"phase": "pretrain", "loss": 1.5})
    log.record(6, {"phase": "pretrain", "loss": 0.5})
    read = events.EventAccumulator(str(tmp_path))
    read.Reload()
    assert read.Tags()["scalars"] == ["loss"]
    assert [(one.step, one.value) for one in read.Scalars("loss")] == [(3, 1.5), (6, 0.5)]
