"""Task after task through the command line: learn, look at what a run holds, meet the errors."""

import json

import pytest
from typer.testing import CliRunner

from recxfer.cli.app import app


def recxfer(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def runs(bases, films, tmp_path_factory):
    """Two runs: with the base's own task and taste, and with group besides."""
    folder = tmp_path_factory.mktemp("sequence")
    base = bases["nextitnet", "next-item"]
    for begin, run, task in (
        (base, "c2", "profile:taste"),
        (folder / "c2", "c3", "profile:group"),
    ):
        done = recxfer(
            "transfer", begin, films, folder / run, "--method", "conure", "--task", task,
            "--epochs", 3, "--lr", 0.01, "--json",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        made = json.loads(done.stdout)
        assert (made["path"], made["method"], made["task"]) == (
            str(folder / run), "conure", task,
        )  # fmt: skip
        assert 0 < made["trained_share"] < 1
    return folder / "c2", folder / "c3"


def test_a_task_is_added_once(runs, films, tmp_path):
    again = recxfer(
        "transfer", runs[0], films, tmp_path / "run", "--method", "conure",
        "--task", "profile:taste",
    )  # fmt: skip
    assert again.exit_code == 2
    assert "as task 2" in again.stderr
    other = recxfer(
        "transfer", runs[0], films, tmp_path / "run", "--method", "lora", "--task", "profile:group"
    )
    assert other.exit_code == 4
    assert list(tmp_path.iterdir()) == []
