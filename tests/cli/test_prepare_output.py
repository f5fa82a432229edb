"""What `recxfer prepare` writes to stdout and stderr."""

import io

import pytest
from rich.console import Console

from recxfer.cli.tables.prepare import render
from recxfer.commands.prepare import PrepareConfig, run
from recxfer.foundation.reporting import SilentReporter
from recxfer.preparing.pipeline import Recipe
from recxfer.testing.commands import answered, recxfer

LOG = "user,item,time\n" + "".join(f"u{u},i{(u + t) % 5},{t}\n" for u in range(9) for t in range(6))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    return path


def test_stdout_is_the_path(log, tmp_path):
    result = recxfer("prepare", log, tmp_path / "toy")
    assert result.stdout == f"{tmp_path / 'toy'}\n"


def test_json_is_one_object(log, tmp_path):
    found = answered("prepare", log, tmp_path / "toy", "--min-user-events", 2)
    assert found["split"] == {"train": 36, "valid": 9, "test": 9}
    assert found.keys() >= {"command", "path", "users", "items", "events", "dropped", "fingerprint"}


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["missing.csv", "OUT"], 3, "missing.csv does not exist"),
        (["movielens-2m", "OUT"], 3, "did you mean 'movielens-1m'?"),
        (["LOG", "OUT", "--columns", "user=buyer"], 3, "no column 'buyer'"),
        (["LOG", "OUT", "--columns", "usr=user"], 2, "did you mean 'user'?"),
        (["LOG", "OUT", "--where", "price > 3"], 2, "column 'price'"),
        (["LOG", "OUT", "--split", "random"], 2, "prepare.split"),
        (["LOG", "OUT", "--min-user-events", "99"], 3, "no events are left"),
        (["LOG", "OUT", "--set", "min_usr_events=2"], 2, "did you mean 'min_user_events'?"),
        (["LOG", "OUT", "--link", "nowhere"], 3, "nowhere is not a dataset"),
        (["LOG", "OUT", "--vocabulary", "nowhere"], 3, "nowhere is not a dataset"),
        (["LOG", "OUT", "--items", "nowhere.csv"], 3, "nowhere.csv does not exist"),
        (["LOG", "OUT", "--images", "nowhere"], 3, "nowhere is not a folder"),
        (["LOG", "TAKEN"], 2, "exists already"),
    ],
)
def test_bad_input_gives_one_message_and_a_code(log, tmp_path, arguments, code, message):
    (tmp_path / "taken").mkdir()
    places = {"LOG": log, "OUT": tmp_path / "out", "TAKEN": tmp_path / "taken"}
    result = recxfer("prepare", *(places.get(word, word) for word in arguments), code=code)
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "taken"]


def shown(result):
    console = Console(width=120, file=io.StringIO())
    console.print(render(result))
    return console.file.getvalue()


def test_the_table_tells_what_is_in_the_dataset(log, tmp_path):
    users = tmp_path / "users.csv"
    users.write_text(
        "user,mood\n" + "".join(f"u{n},{'[red]' if n else 'calm'}\n" for n in range(9))
    )
    result = run(
        PrepareConfig(
            source=str(log),
            output=tmp_path / "toy",
            users=users,
            recipe=Recipe(where="time > 0", split="temporal"),
        ),
        SilentReporter(),
    )
    text = shown(result)
    for part in (
        "toy (from log.csv)",
        "min 5, 25% 5, median 5, 75% 5, 95% 5, max 5",
        "1970-01-01 00:00:01 to 1970-01-01 00:00:05 UTC",
        "0.0% of neighbouring events share a time",
        "temporal (valid from 1970-01-01 00:00:04, test from 1970-01-01 00:00:05 UTC)",
        "2 classes: [red] 88.9%, calm 11.1%",
        "dropped: not matching where",
        "9 rows",
    ):
        assert part in text


def test_the_table_tells_how_many_items_of_a_vocabulary_occur(log, tmp_path):
    run(PrepareConfig(source=str(log), output=tmp_path / "toy"), SilentReporter())
    few = tmp_path / "few.csv"
    few.write_text("user,item\na,i1\nb,i2\nb,new\n")
    config = PrepareConfig(source=str(few), output=tmp_path / "few", vocabulary=tmp_path / "toy")
    text = " ".join(shown(run(config, SilentReporter())).replace("│", " ").split())
    assert "items 5 with events 2 events 2 " in text
    assert "dropped: item outside the vocabulary 1 rows" in text
