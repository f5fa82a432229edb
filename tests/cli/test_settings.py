"""`--settings`: all that can be set, for what was chosen, and nothing done."""

import pytest

from recxfer.methods import METHODS, OBJECTIVES
from recxfer.models import BACKBONES
from recxfer.testing.commands import answered, recxfer


def settings(*arguments):
    found = answered(*arguments, "--settings")
    assert found["command"] == arguments[0]
    return {f"{s['section']}.{s['key']}": s for s in found["settings"]}


@pytest.mark.parametrize(
    "chosen",
    [
        *(["transfer", "--method", name] for name in METHODS.names),
        *(["pretrain", "--objective", name] for name in OBJECTIVES.names),
        *(["pretrain", "--backbone", name] for name in BACKBONES.names),
        ["prepare"],
        ["prepare", "synthetic"],
    ],
    ids=" ".join,
)
def test_every_setting_of_every_choice_is_explained(chosen):
    for name, setting in settings(*chosen).items():
        assert setting["meaning"].endswith("."), name
        assert setting["allowed"], name
        assert not setting["given"], name
        assert setting["value"] == setting["default"], name


def test_a_range_a_default_and_what_was_given_are_shown():
    found = settings("transfer", "--method", "lora", "--set", "rank=4", "--lr", "0.5")
    assert list(found)[-2:] == ["data.train_share", "data.max_length"]
    assert found["method.rank"] == {
        "section": "method",
        "key": "rank",
        "type": "int",
        "choices": [],
        "allowed": "int, at least 1",
        "default": None,
        "value": 4,
        "given": True,
        "meaning": "Rank of each update; by default a sixteenth of the backbone's width, and at "
        "least 1.",
    }
    assert (found["optim.lr"]["default"], found["optim.lr"]["value"]) == (0.001, 0.5)
    assert found["method.loss"]["choices"] == ["softmax", "sampled-softmax", "bce", "bpr"]


def test_a_file_of_settings_chooses_and_gives(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[objective]\nname = "clue"\nviews = ["crop", "mask"]\n')
    views = settings("pretrain", "--config", str(file))["objective.views"]
    assert (views["default"], views["value"]) == (["dropout"], ["crop", "mask"])
    assert views["type"] == "list of str"


def test_people_get_a_table():
    result = recxfer("transfer", "--method", "replay", "--settings", "--set", "memory=all")
    assert result.stderr == ""
    (line,) = [line for line in result.stdout.splitlines() if "method.memory" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[:4] == ["method.memory", "int, at least 1 or `all`", "1000", "all"]
    assert cells[4].startswith("Training rows of each earlier task that are remembered")


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_a_command_without_settings_says_so(command):
    assert settings(command) == {}
    assert "has no settings" in recxfer(command, "--settings").stdout


def test_arguments_can_be_given_as_well_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_arguments = settings("transfer", "absent", "data", "run", "--method", "probe")
    assert with_arguments == settings("transfer", "--method", "probe")
    assert settings("evaluate", "absent", "absent2") == {}
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_cannot_be_is_refused_here_too():
    result = recxfer("pretrain", "--settings", "--set", "optim.epocs=3", code=2)
    assert result.stdout == ""
    assert "optim.epocs (--set): unknown key" in result.stderr


def test_arguments_are_asked_for_where_the_flag_is_another_options_value():
    for arguments in (["evaluate", "--report", "--settings"], ["evaluate", "--", "--settings"]):
        result = recxfer(*arguments, code=None)
        assert "settings" not in result.stdout
        assert result.exit_code != 0
    asked = recxfer("evaluate", "--report", "--settings", code=2)
    assert "Missing argument 'RUN...'" in asked.stderr
