"""Transfer to other people than the base's: `prepare --vocabulary`, then all that comes after."""

import random

import pytest

from recxfer.testing.commands import answered

PEOPLE, FILMS = 60, 12
"""Of the second population, which has met only the first half of the films of `world`."""


@pytest.fixture(scope="module")
def second(films, tmp_path_factory):
    """A tiny `base` on `films`, and `others` and, linked to it, `clips`, of a second population."""
    folder = tmp_path_factory.mktemp("second")
    draw = random.Random(1)
    log, clips, people = ["user,item,time"], ["user,item,time"], ["user,taste"]
    for person in range(PEOPLE):
        people.append(f"v{person},{'odd' if person % 2 else 'even'}")
        seen = [2 * draw.randrange(FILMS // 2) + person % 2 for _ in range(6)]
        log += [f"v{person},f{film},{1000 + time}" for time, film in enumerate(seen)]
        log.append(f"v{person},unheard{person},1900")
        clips += [f"v{person},c{draw.randrange(9)},{2000 + time}" for time in range(2)]
    for name, lines in (("log", log), ("clips", clips), ("people", people)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    answered(
        "pretrain", films, folder / "base", "--epochs", 2, "--batch-size", 16,
        "--set", "width=8", "--set", "max_length=16",
    )  # fmt: skip
    made = answered(
        "prepare", folder / "log.csv", folder / "others",
        "--vocabulary", films, "--users", folder / "people.csv",
    )  # fmt: skip
    assert made["items"] == 24
    assert made["dropped"] == {"item outside the vocabulary": PEOPLE}
    answered(
        "prepare", folder / "clips.csv", folder / "clips",
        "--link", folder / "others", "--split", "users",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    "method, task, settings",
    [
        ("peterrec", "profile:taste", []),
        ("popular", "profile:taste", []),
        ("user-knn", "profile:taste", []),
        ("finetune", "next-item", ["loss=sampled-softmax", "sampler=frequency"]),
        ("peterrec", "next-item", ["loss=bpr", "sampler=rank"]),
        ("popular", "next-item", []),
        ("user-knn", "next-item", []),
        ("peterrec", "cross-domain", []),
    ],
)
def test_a_base_is_transferred_to_a_second_population(second, tmp_path, method, task, settings):
    crossed = task == "cross-domain"
    options = ["--source", second / "others"] if crossed else []
    for setting in settings:
        options += ["--set", setting]
    target = second / ("clips" if crossed else "others")
    run = tmp_path / "run"
    answered(
        "transfer", second / "base", target, run,
        "--method", method, "--task", task, "--epochs", 1, *options,
    )  # fmt: skip
    by = "label" if task.startswith("profile") else "item-frequency"
    (told,) = answered("evaluate", run, "--by", by)["runs"]
    assert told["cases"] > 0


def test_the_base_itself_is_evaluated_on_a_second_population(second):
    (told,) = answered(
        "evaluate", second / "base", "--dataset", second / "others", "--by", "item-frequency"
    )["runs"]
    assert told["cases"] == PEOPLE


def test_a_base_can_be_made_from_a_second_population(second, tmp_path):
    """Half of its items never occur: samplers, validation and export have to bear that."""
    for sampler in ("frequency", "rank"):
        answered(
            "pretrain", second / "others", tmp_path / sampler, "--epochs", 1, "--set", "width=8",
            "--set", "max_length=16", "--set", "loss=bce", "--set", f"sampler={sampler}",
        )  # fmt: skip
    for what in ("users", "items", "recommendations"):
        out = tmp_path / f"{what}.parquet"
        answered("export", tmp_path / "rank", out, "--what", what)
        assert out.exists()
