"""`transfer` as it is typed: PeterRec's variants and how they are counted, losses, bad input."""

import shutil

import polars as pl
import pytest

from recxfer.testing.commands import answered, recxfer, refused, sets

WIDTH, CLASSES, BOOKS = 16, 2, 30
BLOCKS = {"sasrec": 2, "nextitnet": 4}


def adapt(base, dataset, run, *options):
    return answered(
        "transfer", base, dataset, run, "--epochs", 1, "--threads", 1, "--method", "peterrec",
        *options,
    )  # fmt: skip


@pytest.mark.parametrize("backbone", BLOCKS)
@pytest.mark.parametrize(
    ("insertion", "per_block", "bottleneck", "train_norms"),
    [
        ("serial", 2, None, False),
        ("serial", 1, 3, True),
        ("parallel", 2, 5, True),
        ("parallel", 1, None, False),
    ],
)
def test_the_variants_are_counted_as_the_formula_says(
    backbone, insertion, per_block, bottleneck, train_norms, bases, films, tmp_path
):
    """Invariant I3: two thin matrices and their biases a patch, two vectors a norm."""
    made = adapt(
        bases[backbone, "next-item"], films, tmp_path / "run", "--task", "profile:taste",
        *sets(
            f"insertion={insertion}",
            f"per_block={per_block}",
            f"train_norms={str(train_norms).lower()}",
            *([] if bottleneck is None else [f"bottleneck={bottleneck}"]),
        ),
    )  # fmt: skip
    narrow = bottleneck or WIDTH // 8
    body = BLOCKS[backbone] * (
        per_block * (2 * WIDTH * narrow + narrow + WIDTH) + train_norms * 2 * WIDTH
    )
    assert made["counted"].startswith(f"{body:,} of the backbone's")
    assert made["trained_parameters"] == body + (WIDTH + 1) * CLASSES


@pytest.mark.parametrize(
    ("method", "backbone", "body"),
    [
        # Adapters of width 2 behind 8 convolutions, or 4 sublayers, and all norms.
        ("houlsby", "nextitnet", 8 * (2 * 16 * 2 + 2 + 16) + 8 * 32),
        ("houlsby", "sasrec", 4 * (2 * 16 * 2 + 2 + 16) + 5 * 32),
        # Rank 1: inputs and outputs of each matrix.
        ("lora", "nextitnet", 8 * (3 * 16 + 16)),
        ("lora", "sasrec", 2 * ((16 + 48) + (16 + 16) + (16 + 64) + (64 + 16))),
        # Biases of layers and of norms.
        ("bitfit", "nextitnet", 8 * 16 + 8 * 16),
        ("bitfit", "sasrec", 2 * (48 + 16 + 64 + 16) + 5 * 16),
    ],
)
def test_the_companions_are_counted_by_hand(method, backbone, body, bases, films, tmp_path):
    made = adapt(
        bases[backbone, "next-item"], films, tmp_path / "run",
        "--method", method, "--task", "profile:taste",
    )  # fmt: skip
    assert made["trained_parameters"] == body + (WIDTH + 1) * CLASSES


@pytest.mark.parametrize("backbone", BLOCKS)
@pytest.mark.parametrize(
    ("objective", "readout", "tokens"),
    [
        ("next-item", "token", 1),
        ("next-item", "mean", 0),
        ("cloze", "token", 2),
        ("cloze", "first-token", 1),
        ("cloze", "mean", 0),
    ],
)
def test_every_readout_on_what_it_is_for(
    backbone, objective, readout, tokens, bases, books, tmp_path
):
    made = adapt(
        bases[backbone, objective], books, tmp_path / "run", "--task", "cross-domain",
        *sets(f"readout={readout}"),
    )  # fmt: skip
    patches = 2 * BLOCKS[backbone] * (2 * WIDTH * 2 + 2 + WIDTH)
    assert made["trained_parameters"] == patches + tokens * WIDTH + WIDTH * BOOKS
    shown = answered("evaluate", tmp_path / "run")
    assert shown["runs"][0]["candidates"] == "all"


@pytest.mark.parametrize(
    "given",
    [
        ["loss=softmax"],
        ["loss=sampled-softmax", "negatives=8"],
        ["loss=bce", "popularity=0"],
        ["loss=bpr"],
        ["loss=bpr", "sampler=rank", "rho=0.2"],
        ["loss=bpr", "draws=4"],
    ],
    ids=", ".join,
)
def test_every_loss_over_target_items_learns(given, bases, books, tmp_path):
    made = adapt(
        bases["sasrec", "next-item"], books, tmp_path / "run", "--task", "cross-domain",
        "--lr", 0.01, "--batch-size", 16, "--epochs", 10, *sets(*given),
    )  # fmt: skip
    # Half of the 30 books have the reader's parity; without any idea of it this is 10 of 30.
    assert made["validation"]["HR@10"] > 0.5


@pytest.fixture
def place(bases, films, books, world, tmp_path, monkeypatch):
    """Two bases, their dataset, a target, and a log of strangers, in the current directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(films, "films")
    shutil.copytree(books, "books")
    shutil.copytree(bases["sasrec", "next-item"], "base")
    shutil.copytree(bases["nextitnet", "cloze"], "cloze")
    users = (world / "people.csv").read_text().splitlines()
    alike = ["user,alike", *(f"{line.split(',')[0]},same" for line in users[1:])]
    (tmp_path / "alike.csv").write_text("\n".join(alike) + "\n")
    (tmp_path / "log.csv").write_text("user,item,time\n" + "x,a,5\nx,b,6\ny,a,7\nz,c,8\n")
    shutil.copy(world / "films.csv", "films.csv")
    return tmp_path


PATCH = ["--method", "peterrec", "--task"]
TASTE = ["transfer", "base", "films", "OUT", *PATCH, "profile:taste"]
LORA = [{"peterrec": "lora"}.get(word, word) for word in TASTE]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["transfer", "base", "films", "OUT", *PATCH, "profile:tast"], 2, "no label column 'tast'"),
        (["transfer", "base", "films", "OUT", *PATCH, "taste"], 2, "unknown task 'taste'"),
        (["transfer", "base", "films", "OUT", *PATCH, "cross-domain"], 2, "that are linked"),
        (["transfer", "base", "books", "OUT", *PATCH, "profile:taste"], 2, "it has none at all"),
        (["transfer", "cloze", "films", "OUT", *PATCH, "next-item"], 2, "looks only to the left"),
        (
            ["transfer", "base", "books", "OUT", *PATCH, "cross-domain", "--source", "books"],
            4,
            "indexes its items otherwise",
        ),
        ([*TASTE, *sets("readout=first-token")], 2, "a token in front sees no event"),
        ([*TASTE, *sets("bottleneck=0")], 2, "method.bottleneck (--set)"),
        ([*TASTE, *sets("bottleneck=100000")], 2, "bottleneck is 100,000, but the base is"),
        ([*LORA, *sets("rank=100000")], 2, "rank is 100,000, but the weights"),
        ([*TASTE, *sets("per_block=3")], 2, "should be 1 or 2, found 3"),
        ([*TASTE, *sets("insertion=both")], 2, "'serial' or 'parallel', found 'both'"),
        ([*TASTE, *sets("botleneck=4")], 2, "unknown key; did you mean 'bottleneck'?"),
        (["prepare", "log.csv", "OUT", "--link", "films"], 3, "no user id occurs both"),
    ],
)
def test_what_does_not_fit_is_one_error_and_leaves_nothing(place, arguments, code, message):
    before = sorted(place.iterdir())
    found, error, _ = refused(*arguments)
    assert (found, message in error) == (code, True), error
    assert sorted(place.iterdir()) == before


def test_a_label_of_one_class_is_told_twice(place):
    made = answered("prepare", "films.csv", "other", "--users", "alike.csv")
    assert any("'alike' of the user table is no label" in text for text in made["warnings"])
    code, _, hint = refused("transfer", "base", "other", "OUT", *PATCH, "profile:alike")
    assert (code, "2 to 1,000 classes" in hint) == (2, True), hint


def test_a_delta_on_another_parent_is_refused(place):
    adapt("base", "films", "delta", "--task", "profile:taste")
    for command in (["evaluate", "delta"], ["export", "delta", "OUT.parquet", "--what", "users"]):
        code, error, _ = refused(*command, "--base", "cloze")
        assert (code, "is not the base that delta was made from" in error) == (4, True), error
    assert not (place / "OUT.parquet").exists()


def test_who_can_only_be_guessed_is_counted(place):
    """A class that no training user has, and people who are not in the source."""
    users = pl.read_parquet("films/users.parquet")
    rare = ["c" if part == "valid" else "ab"[n % 2] for n, part in enumerate(users["split"])]
    users.select("user_id", rare=pl.Series(rare)).write_csv("rare.csv")
    recxfer("prepare", "films.csv", "films", "--users", "rare.csv", "--overwrite")
    (warning,) = adapt("base", "films", "OUT", "--task", "profile:rare")["warnings"]
    assert "have a rare that no training user has (c)" in warning

    log = ["user,item,time", *(f"u{n},b{n % 5},2000" for n in range(60))]
    log += [f"stranger{n},b{n % 5},2000" for n in range(60)]
    (place / "mixed.csv").write_text("\n".join(log) + "\n")
    recxfer("prepare", "mixed.csv", "mixed", "--link", "films", "--split", "users")
    made = adapt("base", "mixed", "cold", "--task", "cross-domain")
    shown = answered("evaluate", "cold", "--by", "history-length")
    assert any("training examples have no history" in text for text in made["warnings"])
    (warning,) = shown["warnings"]
    empty = next(part["cases"] for part in shown["slices"] if part["slice"] == "0")
    assert warning.startswith(f"{empty} of {shown['runs'][0]['cases']} test cases")
