"""A split that follows another one: no event is held out here and trained on there."""

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recxfer.data.dataset import Dataset
from recxfer.data.examples import next_item_cases, next_item_training
from recxfer.foundation.errors import UsageError
from recxfer.preparing.linked_split import exposed
from recxfer.testing.commands import prepared


def log(path, seed, *, ties):
    """People rate films, some at one time; half of the ratings are fives."""
    draw = random.Random(seed)
    lines = ["user,item,time,rating"]
    for person in range(40):
        time = 1_600_000_000
        for film in draw.sample(range(30), draw.randint(1, 14)):
            time += draw.choice((0, 1, 7) if ties else (1, 7))
            lines.append(f"u{person},f{film},{time},{draw.choice((4, 5))}")
    path.write_text("\n".join(lines) + "\n")
    return path


def made(source, output, **options):
    return Dataset(prepared(source, output, **options).path)


@settings(max_examples=8)
@given(st.integers(0, 2**31), st.booleans(), st.sampled_from(["leave-last", "temporal"]))
def test_no_event_is_held_out_in_one_and_trained_on_in_the_other(
    tmp_path_factory, seed, ties, split
):
    folder = tmp_path_factory.mktemp("followed")
    source = log(folder / "log.csv", seed, ties=ties)
    every = made(source, folder / "all", split=split)
    options = {"where": "rating = 5", "links": [every.path], "vocabulary": every.path}
    liked = made(source, folder / "liked", split="linked", **options)
    assert exposed(liked, every) == exposed(every, liked) == 0
    assert liked.info.events_by_split["test"] > 0
    assert liked.info.users_by_split.keys() == every.info.users_by_split.keys()
    # The same from the rows that models see: no target of one is in a training row of the other.
    for one, other in ((every, liked), (liked, every)):
        trained = next_item_training(one, 50)
        met = {
            (one.user_ids[int(user)], one.item_ids[int(item) - 1])
            for row, user in enumerate(trained.user_R)
            for item in trained.item_E[
                trained.start_R[row] : trained.start_R[row] + trained.length_R[row]
            ]
        }
        tested = next_item_cases(other, "test", 50)
        assert not met & {
            (other.user_ids[int(user)], other.item_ids[int(item)])
            for user, item in zip(tested.user_R, tested.target_R, strict=True)
        }


def test_leave_last_in_both_is_found_out(tmp_path):
    source = log(tmp_path / "log.csv", 1, ties=False)
    every = made(source, tmp_path / "all")
    options = {"where": "rating = 5", "links": [every.path], "vocabulary": every.path}
    liked = made(source, tmp_path / "liked", **options)
    both = every_event(every).join(every_event(liked), on=["u", "i"])
    apart = both.filter((pl.col("s") == "train") != (pl.col("s_right") == "train")).height
    assert apart > 0
    assert exposed(liked, every) == exposed(every, liked) == apart


def every_event(dataset):
    frame = dataset.read("interactions", ["user", "item", "split"])
    return pl.DataFrame(
        {
            "u": dataset.user_ids.gather(frame["user"]),
            "i": dataset.item_ids.gather(frame["item"] - 1),
            "s": frame["split"].cast(pl.String),
        }
    )


def test_a_split_that_cannot_be_followed_is_refused(tmp_path):
    source = log(tmp_path / "log.csv", 2, ties=False)
    people = made(source, tmp_path / "people", split="users")
    with pytest.raises(UsageError, match="holds out people"):
        made(source, tmp_path / "x", split="linked", links=[people.path])
    with pytest.raises(UsageError, match="needs a dataset to follow"):
        made(source, tmp_path / "x", split="linked")
    assert not (tmp_path / "x").exists()
