"""Every failure is one message on stderr and its exit code; results alone are on stdout."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import torch
import typer
from typer.testing import CliRunner

from recxfer import __version__
from recxfer.cli import app as recxfer
from recxfer.cli import options
from recxfer.cli.boundary import Boundary
from recxfer.cli.execution import execute, path_or_stdin
from recxfer.foundation.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    UsageError,
)


def application(work, *, resumable=False):
    """An application of two commands; `do` does `work`."""
    app = typer.Typer(cls=Boundary, rich_markup_mode="rich")

    @app.command()
    def do(
        number: Annotated[int, typer.Option("--number")] = 0,
        json: options.Json = False,
        quiet: options.Quiet = False,
        debug: options.Debug = False,
    ):
        execute("do", work, as_json=json, quiet=quiet, resumable=resumable)

    @app.command()
    def other():
        pass

    return app


def invoke(work, *arguments, resumable=False):
    return CliRunner().invoke(application(work, resumable=resumable), ["do", *arguments])


def failing(error):
    def work(reporter):
        raise error

    return work


@dataclass
class Made:
    """A result."""

    path: Path = Path("runs/made")
    facts: dict = field(default_factory=lambda: {"rows": 3})

    def as_json(self):
        return self.facts


def making(reporter):
    reporter.note("almost there")
    reporter.warn("three rows are few")
    return Made()


FAILURES = [
    (UsageError("no such method", hint="try another"), 2),
    (ConfigError("optim.lr: negative"), 2),
    (DataError("log.csv: no column user", hint="pass --columns"), 3),
    (CheckpointError("run is damaged"), 4),
    (DivergedError("the loss is not finite"), 5),
]


@pytest.mark.parametrize("error, code", FAILURES, ids=lambda value: type(value).__name__)
def test_our_errors_are_told_in_lines(error, code):
    result = invoke(failing(error))
    expected = f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else "")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", expected)


@pytest.mark.parametrize("error, code", FAILURES, ids=lambda value: type(value).__name__)
def test_our_errors_are_told_in_json(error, code):
    result = invoke(failing(error), "--json")
    assert (result.exit_code, result.stdout) == (code, "")
    told = json.loads(result.stderr)
    assert told == {"error": error.message, "hint": error.hint, "exit_code": code}


def test_long_messages_and_markup_are_told_as_they_are():
    message = "[red]" + "a very long message " * 20 + "[/nothing]"
    assert invoke(failing(DataError(message))).stderr == f"error: {message}\n"


def test_debug_adds_the_traceback_and_keeps_the_code():
    result = invoke(failing(DataError("no rows")), "--debug")
    assert result.exit_code == 3
    assert result.stderr.startswith("Traceback (most recent call last)")
    assert result.stderr.endswith("error: no rows\n")
    told = json.loads(invoke(failing(DataError("no rows")), "--debug", "--json").stderr)
    assert "DataError: no rows" in told["traceback"]


def test_anything_unexpected_is_a_bug_with_a_traceback():
    result = invoke(failing(ZeroDivisionError("by zero")))
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last)")
    assert "error: ZeroDivisionError: by zero\nhint: this is a bug" in result.stderr
    told = json.loads(invoke(failing(ZeroDivisionError("by zero")), "--json").stderr)
    assert told["exit_code"] == 1
    assert "ZeroDivisionError" in told["traceback"]


def test_what_a_file_system_says_of_a_path_is_no_bug():
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/root/out")
    result = invoke(failing(denied))
    assert (result.exit_code, result.stderr) == (3, "error: /root/out: Permission denied\n")
    nameless = invoke(failing(OSError(errno.EACCES, "no name")))
    assert nameless.exit_code == 1


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("log.csv/made", "a file is where a folder is needed"),
        ("log.csv/below/made", "a file is where a folder is needed"),
        ("/proc/made", "nothing can be made there"),
    ],
)
def test_an_output_that_can_lie_nowhere_is_no_bug(tmp_path, place, reason):
    log = tmp_path / "log.csv"
    log.write_text("user,item,time\n" + "".join(f"u{n},i,{n}\n" for n in range(9)))
    result = CliRunner().invoke(recxfer.app, ["prepare", str(log), str(tmp_path / place)])
    assert (result.exit_code, result.stdout) == (3, "")
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def _allocate_too_much(reporter):
    torch.empty(1 << 50)


def _overflow(reporter):
    torch.empty(1 << 62, 1 << 10)


@pytest.mark.parametrize(
    "work", [_allocate_too_much, _overflow, failing(MemoryError())], ids=["cpu", "size", "python"]
)
def test_too_little_memory_is_no_bug(work):
    result = invoke(work)
    assert (result.exit_code, result.stdout) == (6, "")
    assert result.stderr.startswith("error: out of memory: ")
    assert "hint: lower the sizes in --set" in result.stderr
    assert "Traceback" not in result.stderr


def test_more_threads_than_can_run_are_refused(tmp_path):
    arguments = ["prepare", "synthetic", str(tmp_path / "toy"), "--threads", "100000"]
    result = CliRunner().invoke(recxfer.app, arguments)
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "Invalid value for '--threads'" in result.stderr


def test_ctrl_c_is_130_and_says_how_to_go_on():
    result = invoke(failing(KeyboardInterrupt()), resumable=True)
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted\nhint: repeat the command with --resume to go on\n"
    result = invoke(failing(KeyboardInterrupt()))
    assert (result.exit_code, result.stderr) == (130, "error: interrupted\n")


@pytest.mark.parametrize(
    "arguments, message, hint",
    [
        (["do", "--number", "x"], "Invalid value for '--number'", "see `recxfer do --help`"),
        (["do", "--nummer", "1"], "No such option: --nummer", "see `recxfer do --help`"),
        (["do", "surplus"], "unexpected extra argument", "see `recxfer do --help`"),
        (["dot"], "No such command 'dot'. Did you mean 'do'?", "see `recxfer --help`"),
    ],
)
def test_the_parser_follows_the_same_rules(arguments, message, hint):
    app = application(making)
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.endswith(f"hint: {hint}\n")
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stderr)
    assert message in told["error"]
    assert (told["hint"], told["exit_code"]) == (hint, 2)


@pytest.fixture
def drawn(monkeypatch):
    """The tables that were drawn: command, result and stream of each."""
    calls = []
    monkeypatch.setattr("recxfer.cli.execution._draw", lambda *call: calls.append(call))
    return calls


def test_stdout_is_the_path_and_stderr_the_talk(drawn):
    result = invoke(making)
    assert result.exit_code == 0
    assert result.stdout == "runs/made\n"
    assert result.stderr == "almost there\nwarning: three rows are few\n"


def test_quiet_leaves_the_path_alone(drawn):
    for form in ("--quiet", "-q"):
        result = invoke(making, form)
        assert (result.stdout, result.stderr) == ("runs/made\n", "")
    assert drawn == []


def test_json_is_one_object_and_holds_the_warnings(drawn):
    result = invoke(making, "--json")
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    told = json.loads(result.stdout)
    assert told.pop("seconds") >= 0
    assert told.pop("peak_memory_mb") > 1
    assert told == {
        "command": "do",
        "path": "runs/made",
        "version": __version__,
        "warnings": ["three rows are few"],
        "rows": 3,
    }
    assert drawn == []


def test_a_terminal_sees_a_table_and_the_path(drawn, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    execute("do", making, as_json=False, quiet=True)
    assert drawn == [("do", Made(), sys.stdout)]
    assert capsys.readouterr().out == "runs/made\n"


def test_without_a_terminal_the_table_is_on_stderr(drawn, capsys):
    execute("do", making, as_json=False, quiet=False)
    assert drawn == [("do", Made(), sys.stderr)]
    assert capsys.readouterr().out == "runs/made\n"


def test_a_dash_reads_one_path_from_stdin(monkeypatch):
    read, write = os.pipe()
    os.write(write, b"data/one\ndata/two\n")
    os.close(write)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert path_or_stdin("-") == Path("data/one")
        assert path_or_stdin("given") == Path("given")
        assert path_or_stdin("-") == Path("data/two")
        with pytest.raises(UsageError, match="nothing came"):
            path_or_stdin("-")


@pytest.mark.parametrize("arguments", [["pretrain", "-", "RUN"], ["evaluate", "-"]])
def test_an_empty_pipe_is_a_usage_error(tmp_path, arguments):
    arguments = [str(tmp_path / "run") if word == "RUN" else word for word in arguments]
    result = CliRunner().invoke(recxfer.app, arguments, input="")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nothing came" in result.stderr


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "recxfer", *arguments], stdin=subprocess.DEVNULL, **options
    )


def test_a_reader_that_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    process = start("transfer", "--list", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_leaves_nothing_behind(tmp_path, number, code):
    """The temporary folder beside the output is there from the start, and goes."""
    process = start(
        "prepare", "synthetic", str(tmp_path / "toy"), "--set", "users=300000", "--json",
        stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.3)  # the work has begun, and goes on for seconds
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert json.loads(stderr)["exit_code"] == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("no_color", [True, False])
def test_no_color_is_kept_to(tmp_path, no_color):
    ours, theirs = os.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_color else {})
    process = start("prepare", "absent", str(tmp_path / "out"), stderr=theirs, env=environment)
    assert process.wait() == 3
    os.close(theirs)
    told = os.read(ours, 10_000)
    os.close(ours)
    assert b"absent does not exist" in told
    assert (b"\x1b[" in told) is not no_color
