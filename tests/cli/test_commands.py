"""The commands as a whole: five, with few options, quick help, and examples that parse."""

import contextlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from recxfer import __version__
from recxfer.cli.app import app
from recxfer.evaluation.metrics import METRICS
from recxfer.evaluation.slices import SLICERS
from recxfer.methods import METHODS, OBJECTIVES
from recxfer.models import BACKBONES
from recxfer.preparing.sources import SOURCES
from recxfer.testing.commands import recxfer, refused

EVERYWHERE = {
    "--config", "--set", "--settings", "--seed", "--device", "--precision", "--threads",
    "--json", "--quiet", "-q", "--overwrite", "--debug", "--help",
}  # fmt: skip

# One more option is a decision, not an accident: what is rarely set goes into `--set`.
OPTIONS = {
    "prepare": {
        "--columns", "--items", "--users", "--images", "--where", "--min-user-events",
        "--min-item-events", "--split", "--link", "--exclude-users", "--exclude-items",
        "--vocabulary", "--list",
    },
    "pretrain": {
        "--objective", "--backbone", "--epochs", "--batch-size", "--lr", "--seeds", "--log-to",
        "--resume",
    },
    "transfer": {
        "--method", "--task", "--source", "--epochs", "--batch-size", "--lr", "--seeds",
        "--log-to", "--resume", "--list",
    },
    "evaluate": {
        "--base", "--dataset", "--on", "--at", "--metrics", "--candidates", "--keep-seen", "--by",
        "--report", "--task",
    },
    "export": {"--what", "--format", "--top", "--task", "--base", "--dataset"},
}  # fmt: skip

ARGUMENTS = {
    "prepare": ["SOURCE", "DATASET"],
    "pretrain": ["DATASET", "RUN"],
    "transfer": ["BASE", "DATASET", "RUN"],
    "evaluate": ["RUN..."],
    "export": ["RUN", "OUT"],
}

LISTED = [("prepare", SOURCES), ("transfer", METHODS)]

HEAVY = ["torch", "polars", "pyarrow", "numpy", "pandas", "scipy", "safetensors"]

SHOW_LOADED = f"""
import json, sys
from recxfer.__main__ import main
try:
    main()
except SystemExit as end:
    print(json.dumps([end.code, sorted(set({HEAVY}) & set(sys.modules))]), file=sys.stderr)
"""

commands = typer.main.get_command(app).commands


def examples():
    """Every command of every epilog, as (name, arguments)."""
    texts = [app.info.epilog, *(command.epilog for command in commands.values())]
    for text in texts:
        for line in re.sub(r"\\+\n\s*", " ", text).splitlines():
            for stage in line.split("|"):
                if stage.strip().startswith("recxfer "):
                    _, name, *arguments = shlex.split(stage)
                    yield name, arguments


def test_there_are_five_commands():
    assert list(commands) == ["prepare", "pretrain", "transfer", "evaluate", "export"]


@pytest.mark.parametrize("name", OPTIONS)
def test_the_options_are_these_and_no_more(name):
    parameters = commands[name].params
    options = {form for p in parameters if p.param_type_name == "option" for form in p.opts}
    assert options | {"--help"} == OPTIONS[name] | EVERYWHERE
    assert [p.metavar for p in parameters if p.param_type_name == "argument"] == ARGUMENTS[name]


@pytest.mark.parametrize("name", OPTIONS)
def test_everything_is_explained(name):
    command = commands[name]
    assert command.help
    assert "[bold]Examples[/bold]" in command.epilog
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert parameter.help.endswith((".", "...")), parameter.name


@pytest.mark.parametrize("name, arguments", list(examples()))
def test_examples_parse(name, arguments):
    with contextlib.suppress(typer.Exit):  # --list
        commands[name].make_context(name, list(arguments))


class Made:
    """A result that nobody worked for."""

    path = Path("made")

    def as_json(self):
        return {}


@pytest.mark.parametrize("name, arguments", list(examples()))
def test_settings_and_flags_of_examples_are_known(monkeypatch, name, arguments):
    """All but the work itself is done, so that a key that is no longer there is found."""
    monkeypatch.setattr(f"recxfer.commands.{name}.run", lambda config, reporter: Made())
    recxfer(name, *arguments, "--quiet", piped="data/toy\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *([name, "--list"] for name, _ in LISTED),
        *([name, "--help"] for name in OPTIONS),
    ],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(arguments):
    done = subprocess.run(
        [sys.executable, "-c", SHOW_LOADED, *arguments],
        capture_output=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert json.loads(done.stderr) == [0, []]
    assert done.stdout


@pytest.mark.parametrize(
    "name, option, table",
    [
        ("transfer", "method", METHODS),
        ("pretrain", "objective", OBJECTIVES),
        ("pretrain", "backbone", BACKBONES),
        ("evaluate", "metrics", METRICS),
        ("evaluate", "by", SLICERS),
    ],
)
def test_choices_are_those_of_the_tables(name, option, table):
    (parameter,) = [p for p in commands[name].params if p.name == option]
    assert ", ".join(table.own_names) in parameter.help
    found = parameter.shell_complete(typer.Context(commands[name]), table.names[0][:3])
    assert table.names[0] in [item.value for item in found]


def test_help_of_prepare_names_every_source():
    source, _ = [p for p in commands["prepare"].params if p.param_type_name == "argument"]
    assert ", ".join(SOURCES.own_names) in source.help


@pytest.mark.parametrize("command, table", LISTED)
def test_list_shows_every_line_of_the_table(command, table):
    result = recxfer(command, "--list")
    rows = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    assert rows == [[entry.name, entry.summary] for entry in table]


@pytest.mark.parametrize("command, table", LISTED)
def test_list_as_json(command, table):
    for arguments in (["--list", "--json"], ["--json", "--list"]):
        result = recxfer(command, *arguments)
        entries = [{"name": entry.name, "summary": entry.summary} for entry in table]
        assert json.loads(result.stdout) == entries


def test_version():
    assert recxfer("--version").stdout == f"recxfer {__version__}\n"


def test_no_arguments_show_help():
    assert "From logs to vectors" in recxfer(code=2).output


@pytest.mark.parametrize(
    "arguments, message, hint",
    [
        (
            ["transfer", "base", "data", "run", "--method", "petrrec"],
            "unknown method 'petrrec'; there are peterrec",
            "did you mean 'peterrec'?",
        ),
        (["transfer", "base", "data", "run"], "no method was chosen", "peterrec"),
        (
            ["transfer", "base", "data", "run", "--method", "probe", "--task", "profil:age"],
            "profil:age",
            "",
        ),
        (
            ["pretrain", "data", "run", "--backbone", "sasrek"],
            "unknown backbone 'sasrek'; there are sasrec, nextitnet",
            "did you mean 'sasrec'?",
        ),
        (
            ["pretrain", "data", "run", "--set", "optim.epocs=3"],
            "optim.epocs (--set): unknown key",
            "",
        ),
        (
            ["pretrain", "data", "run", "--backbone", "nextitnet", "--set", "dilations=[0]"],
            "backbone.dilations (--set): Input should be greater than or equal to 1",
            "",
        ),
        (
            ["pretrain", "data", "run", "--batch-size", "10000000"],
            "optim.batch_size (--batch-size): Input should be less than or equal to 1000000",
            "",
        ),
        (["pretrain", "data", "run", "--lr", "inf"], "optim.lr (--lr): Input should be", ""),
        (
            ["prepare", "synthetic", "toy", "--seed", "9223372036854775808"],
            "Invalid value for '--seed'",
            "",
        ),
        (
            ["pretrain", "data", "run", "--backbone", "nextitnet", "--set", "num_heads=4"],
            "num_heads (--set): nextitnet does not have it; sasrec does",
            "",
        ),
        (
            ["pretrain", "data", "run", "--set", "backbone.dilations=[1]"],
            "backbone.dilations (--set): sasrec does not have it; nextitnet does",
            "",
        ),
        (
            ["transfer", "base", "data", "run", "--method", "probe", "--set", "bottleneck=4"],
            "bottleneck (--set): probe does not have it; peterrec, houlsby do",
            "",
        ),
        (
            ["pretrain", "data", "run", "--set", "num_heads=3"],
            "error: backbone: num_heads 3 does not divide width 128\n",
            "",
        ),
        (["pretrain", "data", "run", "--lr", "-1"], "optim.lr (--lr): Input should be", ""),
        (["pretrain", "data", "run", "--config", "no.toml"], "there is no such file", ""),
        (["export", "run", "out.parquet", "--what", "user"], "there are users", "'users'"),
        (["export", "run", "out.pdf"], "cannot be written as 'pdf'", "--format"),
        (["export", "run", "out.parquet", "--set", "top=3"], "--set", ""),
        (["evaluate", "run", "--on", "train"], "there are test and valid", ""),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(arguments, message, hint):
    result = recxfer(*arguments, code=2)
    assert result.stdout == ""
    error, _, hinted = result.stderr.partition("hint: ")
    assert message in error
    assert "Value error" not in error
    assert hint in hinted


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["pretrain", "absent", "OUT"], 3),
        (["transfer", "absent", "absent", "OUT", "--method", "probe"], 4),
        (["evaluate", "absent"], 4),
        (["export", "absent", "OUT.parquet"], 4),
        (["prepare", "absent.csv", "OUT"], 3),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_not_there_is_named_and_nothing_is_left(tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    found, error, _ = refused(*arguments)
    assert (found, "absent" in error) == (code, True), error
    assert list(tmp_path.iterdir()) == []
