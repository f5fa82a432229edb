"""`pretrain --objective clue` as it is typed, what can be done with the run, and what cannot."""

import json

import pytest
from typer.testing import CliRunner

from recxfer.cli.app import app


def recxfer(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments), "--json"])


def settings(*given):
    return [part for setting in given for part in ("--set", setting)]


def pretrain(films, run, *given, **flags):
    options = {"epochs": 4, "batch_size": 16, "lr": 0.01, "threads": 1, **flags}
    flags = [word for k, v in options.items() for word in (f"--{k.replace('_', '-')}", v)]
    small = settings("width=16", "max_length=20", *given)
    return recxfer("pretrain", films, run, "--objective", "clue", *flags, *small)


@pytest.mark.parametrize("backbone", ["sasrec", "nextitnet"])
@pytest.mark.parametrize("views", ["dropout", "[crop,mask,reorder]", "substitute,insert"])
def test_from_views_to_figures(backbone, views, films, tmp_path):
    base, run, users = tmp_path / "base", tmp_path / "run", tmp_path / "users.parquet"
    made = pretrain(films, base, f"views={views}", "readout=mean", "chunk=6", backbone=backbone)
    assert made.exit_code == 0, made.output
    facts = json.loads(made.stdout)
    assert facts["objective"] == "clue"
    assert next(iter(facts["validation"])) == "recognition"
    assert {"std", "effective_rank", "projected_std", "projected_rank"} <= facts[
        "validation"
    ].keys()
    assert facts["sequences_per_second"] > 0
    probe = recxfer(
        "transfer", base, films, run, "--method", "probe", "--task", "profile:taste", "--epochs", 2
    )
    assert probe.exit_code == 0, probe.output
    shown = json.loads(recxfer("evaluate", run).stdout)
    assert "AUC" in shown["runs"][0]["metrics"]
    assert json.loads(recxfer("export", base, users).stdout)["rows"] == 120


def test_what_needs_an_item_output_says_what_to_do(films, tmp_path):
    base = tmp_path / "base"
    assert pretrain(films, base, epochs=1).exit_code == 0
    for command in (
        ["evaluate", base],
        ["export", base, tmp_path / "out.parquet", "--what", "items"],
        ["export", base, tmp_path / "out.parquet", "--what", "recommendations"],
    ):
        result = recxfer(*command)
        assert (result.exit_code, result.stdout) == (2, "")
        told = json.loads(result.stderr.splitlines()[-1])
        assert "no item output" in told["error"]
        assert "--set next_item=1" in told["hint"]
    assert not (tmp_path / "out.parquet").exists()


def test_a_joint_run_ranks_items(films, tmp_path):
    base = tmp_path / "base"
    made = pretrain(films, base, "next_item=1", "views=crop", epochs=20)
    assert json.loads(made.stdout)["validation"].keys() >= {"NDCG@10", "recognition"}
    shown = json.loads(recxfer("evaluate", base).stdout)
    # The next film is the successor of the last one: a tenth would be found by chance.
    assert shown["runs"][0]["metrics"]["HR@5"]["value"] > 0.5


def test_a_collapse_has_the_exit_code_of_a_diverged_run(films, tmp_path):
    given = ["views=crop", "dropout=0.0", "stop_gradient=false", "predictor=false"]
    result = pretrain(films, tmp_path / "run", *given, epochs=12)
    assert (result.exit_code, result.stdout) == (5, "")
    assert "collapsed" in json.loads(result.stderr.splitlines()[-1])["error"]
    allowed = pretrain(films, tmp_path / "run", *given, "allow_collapse=true", epochs=12, seed=1)
    assert allowed.exit_code == 2, "the unfinished run is still there"
    allowed = pretrain(films, tmp_path / "allowed", *given, "allow_collapse=true", epochs=12)
    assert allowed.exit_code == 0
    assert any("collapsed" in text for text in json.loads(allowed.stdout)["warnings"])


@pytest.mark.parametrize(
    ("given", "flags", "message"),
    [
        (["temperature=0"], {}, "objective.temperature (--set): Input should be greater than 0"),
        (["views=turn"], {}, "objective.views (--set): Input should be 'dropout', 'crop'"),
        (["views=[]"], {}, "objective.views (--set)"),
        (["dropout=0.0"], {}, "both views would be the same"),
        (["loss=byol", "stop_gradient=false"], {}, "stop_gradient is for loss=simsiam"),
        ([], {"batch_size": 1}, "clue compares the people of a batch: it needs 2 at least"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_a_usage_error(given, flags, message, films, tmp_path):
    result = pretrain(films, tmp_path / "run", *given, **flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in json.loads(result.stderr.splitlines()[-1])["error"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f"u{user},i{item},{item}" for user in range(40) for item in range(5)], "are the same"),
        ([f"u{user},i{user},1" for user in range(40)], "no user with two training events"),
        # Three events each, of which leave-last trains on one; two people have more.
        (
            [f"u{u},i{u % 9 + i},{i}" for u in range(40) for i in range(3 + 2 * (u < 2))],
            "they cannot be compared",
        ),
    ],
)
def test_data_without_people_to_tell_apart_is_a_data_error(lines, message, tmp_path):
    (tmp_path / "log.csv").write_text("\n".join(["user,item,time", *lines]) + "\n")
    assert recxfer("prepare", tmp_path / "log.csv", tmp_path / "data").exit_code == 0
    result = pretrain(tmp_path / "data", tmp_path / "run")
    assert (result.exit_code, result.stdout) == (3, "")
    assert message in json.loads(result.stderr.splitlines()[-1])["error"]
