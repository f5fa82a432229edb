"""`pretrain --objective clue` as it is typed, what can be done with the run, and what cannot."""

import pytest

from recxfer.testing.commands import answered, recxfer, refused, sets


def words_of(films, run, *given, **flags):
    """The words of a small `pretrain`."""
    options = {"epochs": 4, "batch_size": 16, "lr": 0.01, "threads": 1, **flags}
    flags = [word for k, v in options.items() for word in (f"--{k.replace('_', '-')}", v)]
    small = sets("width=16", "max_length=20", *given)
    return ["pretrain", films, run, "--objective", "clue", *flags, *small]


@pytest.mark.parametrize("backbone", ["sasrec", "nextitnet"])
@pytest.mark.parametrize("views", ["dropout", "[crop,mask,reorder]", "substitute,insert"])
def test_from_views_to_figures(backbone, views, films, tmp_path):
    base, run, users = tmp_path / "base", tmp_path / "run", tmp_path / "users.parquet"
    given = f"views={views}", "readout=mean", "chunk=6"
    facts = answered(*words_of(films, base, *given, backbone=backbone))
    assert facts["objective"] == "clue"
    assert next(iter(facts["validation"])) == "recognition"
    assert {"std", "effective_rank", "projected_std", "projected_rank"} <= facts[
        "validation"
    ].keys()
    assert facts["sequences_per_second"] > 0
    recxfer(
        "transfer", base, films, run, "--method", "probe", "--task", "profile:taste", "--epochs", 2
    )
    shown = answered("evaluate", run)
    assert "AUC" in shown["runs"][0]["metrics"]
    assert answered("export", base, users)["rows"] == 120


def test_what_needs_an_item_output_says_what_to_do(films, tmp_path):
    base = tmp_path / "base"
    recxfer(*words_of(films, base, epochs=1))
    for command in (
        ["evaluate", base],
        ["export", base, tmp_path / "out.parquet", "--what", "items"],
        ["export", base, tmp_path / "out.parquet", "--what", "recommendations"],
    ):
        code, error, hint = refused(*command)
        assert (code, "no item output" in error, "--set next_item=1" in hint) == (2, True, True)
    assert not (tmp_path / "out.parquet").exists()


def test_a_joint_run_ranks_items(films, tmp_path):
    base = tmp_path / "base"
    made = answered(*words_of(films, base, "next_item=1", "views=crop", epochs=20))
    assert made["validation"].keys() >= {"NDCG@10", "recognition"}
    shown = answered("evaluate", base)
    # The next film is the successor of the last one: a tenth would be found by chance.
    assert shown["runs"][0]["metrics"]["HR@5"]["value"] > 0.5


def test_a_collapse_has_the_exit_code_of_a_diverged_run(films, tmp_path):
    given = ["views=crop", "dropout=0.0", "stop_gradient=false", "predictor=false"]
    code, error, _ = refused(*words_of(films, tmp_path / "run", *given, epochs=12))
    assert (code, "collapsed" in error) == (5, True), error
    given.append("allow_collapse=true")
    code, _, _ = refused(*words_of(films, tmp_path / "run", *given, epochs=12, seed=1))
    assert code == 2, "the unfinished run is still there"
    allowed = answered(*words_of(films, tmp_path / "allowed", *given, epochs=12))
    assert any("collapsed" in text for text in allowed["warnings"])


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
    code, error, _ = refused(*words_of(films, tmp_path / "run", *given, **flags))
    assert (code, message in error) == (2, True), error
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
    recxfer("prepare", tmp_path / "log.csv", tmp_path / "data")
    code, error, _ = refused(*words_of(tmp_path / "data", tmp_path / "run"))
    assert (code, message in error) == (3, True), error
