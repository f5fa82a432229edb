"""What a person sees while something runs."""

import io

import pytest
from rich.console import Console

from recxfer.foundation import console
from recxfer.foundation.console import RichReporter, SilentReporter


def reporter(*, terminal):
    text = io.StringIO()
    return text, RichReporter(Console(file=text, force_terminal=terminal, width=120))


def test_silence_keeps_the_warnings(capsys):
    silent = SilentReporter()
    silent.note("nothing")
    silent.warn("look here")
    with silent.track("work", 3, "rows") as tracker:
        tracker.advance(loss=1.0)
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
    with shown.track("pretrain", 2, "epochs") as outer:
        with shown.track("epoch 1", 50, "rows") as inner:
            inner.advance(20)
            inner.advance(30, loss=0.123456, phase="head")
        outer.advance(1, hr=0.5)
    drawn = text.getvalue()
    for part in ("pretrain", "1/2", "epoch 1", "50/50", "rows/s", "loss 0.1235", "head", "hr 0.5"):
        assert part in drawn


def test_a_display_ends_with_its_block_even_on_an_error():
    text, shown = reporter(terminal=True)
    with pytest.raises(ZeroDivisionError), shown.track("first", 1, "rows"):
        raise ZeroDivisionError
    with shown.track("second", None, "rows") as tracker:
        tracker.advance()
    assert "second" in text.getvalue()


def test_a_file_gets_a_line_now_and_then(monkeypatch):
    text, shown = reporter(terminal=False)
    with shown.track("epoch 1", 2000, "rows") as tracker:
        tracker.advance(500, loss=2.0)
        assert text.getvalue() == ""
        monkeypatch.setattr(console, "LOG_SECONDS", 0.0)
        tracker.advance(600)
    with shown.track("reading", None, "files") as tracker:
        tracker.advance(1, file="a.csv")
    assert text.getvalue() == "epoch 1: 1,100/2,000 rows  loss 2\nreading: 1 files  file a.csv\n"
