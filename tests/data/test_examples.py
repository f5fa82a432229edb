"""Rows of every task: what a history may hold, and what it must not."""

import polars as pl
import pytest
import torch

from recxfer.data import examples
from recxfer.data.dataset import Dataset
from recxfer.foundation.rng import Rng
from recxfer.testing.commands import prepared


def histories(rows):
    return [
        rows.item_E[start : start + length].tolist()
        for start, length in zip(rows.start_R.tolist(), rows.length_R.tolist(), strict=True)
    ]


def seen_items(rows, row):
    return rows.seen.item_E[rows.seen.start_R[row] : rows.seen.end_R[row]].tolist()


@pytest.fixture(scope="module")
def source(films):
    return Dataset(films)


@pytest.fixture(scope="module")
def target(books):
    return Dataset(books)


def test_every_train_event_but_the_first_is_a_target_once(source):
    events = source.events
    rows = examples.next_item_training(source, 4)
    assert int(rows.length_R.max()) <= 5
    targets = torch.zeros(events.item_E.numel(), dtype=torch.int64)
    for start, length in zip(rows.start_R.tolist(), rows.length_R.tolist(), strict=True):
        targets[start + 1 : start + length] += 1
    first = torch.zeros_like(targets, dtype=torch.bool)
    first[events.offset_U1[:-1]] = True
    expected = (events.split_E == 0) & ~first
    assert torch.equal(targets, expected.long())


def test_the_last_window_alone(source):
    rows = examples.next_item_training(source, 4, windows="last")
    assert len(rows) == rows.user_R.unique().numel()
    everything = examples.next_item_training(source, 1000)
    for short, whole in zip(histories(rows), histories(everything), strict=True):
        assert short == whole[-5:]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_case_sees_exactly_what_came_before(source, part):
    events = source.events
    rows = examples.next_item_cases(source, part, 6)
    assert len(rows) == source.num_users
    for row, history in enumerate(histories(rows)):
        user = int(rows.user_R[row])
        all_items = events.item_E[events.offset_U1[user] : events.offset_U1[user + 1]].tolist()
        cut = len(all_items) - (2 if part == "valid" else 1)
        assert history == all_items[max(0, cut - 6) : cut]
        assert int(rows.target_R[row]) == all_items[cut] - 1
        assert seen_items(rows, row) == all_items[:cut]


def test_profiles_never_read_a_held_out_event(source):
    """A label's history must not show the test event of the next-item task on the same people."""
    events = source.events
    for part in ("train", "valid", "test"):
        rows = examples.profile_rows(source, "taste", part, 1000)
        ends = rows.start_R + rows.length_R
        for start, end in zip(rows.start_R.tolist(), ends.tolist(), strict=True):
            assert (events.split_E[start:end] == 0).all()


def test_profile_parts_are_people_and_share_nobody(source):
    people = [
        set(examples.profile_rows(source, "taste", part, 10).user_R.tolist())
        for part in ("train", "valid", "test")
    ]
    assert sum(map(len, people)) == len(set.union(*people)) == source.num_users


def test_source_histories_end_before_the_target_event(tmp_path):
    """Books are read between films: only films before the book may be used to guess it."""
    (tmp_path / "films.csv").write_text(
        "user,item,time\n"
        + "".join(f"{u},f{t},{10 * t}\n" for u in "abcdefghij" for t in range(1, 8))
    )
    (tmp_path / "books.csv").write_text(
        "user,item,time\n"
        + "".join(f"{u},b{t},{t}\n" for u in "abcdefghij" for t in (5, 20, 45))
        + "stranger,b5,30\nstranger,b20,40\n"
    )
    for name, options in (("films", {}), ("books", {"links": [tmp_path / "films"]})):
        prepared(tmp_path / f"{name}.csv", tmp_path / name, **options)
    films, books = Dataset(tmp_path / "films"), Dataset(tmp_path / "books")
    for part in ("train", "valid", "test"):
        rows = examples.cross_domain_rows(films, books, part, 3)
        names = books.user_ids.to_list()
        for row, history in enumerate(histories(rows)):
            user = names[int(rows.user_R[row])]
            when = {"b5": 5, "b20": 20, "b45": 45}[books.item_ids[int(rows.target_R[row])]]
            ids = [films.item_ids[item - 1] for item in history]
            before = [f"f{t}" for t in range(1, 8) if 10 * t < when and user != "stranger"]
            assert ids == before[-3:]


def test_cold_people_have_no_target_event_in_training(source, target):
    trained = set(examples.cross_domain_rows(source, target, "train", 10).user_R.tolist())
    tested = set(examples.cross_domain_rows(source, target, "test", 10).user_R.tolist())
    assert tested
    assert not trained & tested


def test_shared_people_keep_their_part(source, target):
    other = target.link_to(source)
    linked = (other >= 0).nonzero().squeeze(1)
    assert torch.equal(target.user_split_U[linked], source.user_split_U[other[linked]])


def test_every_user_reads_everything(source, target):
    rows = examples.every_user(source, 1000, target)
    assert rows.length_R.tolist() == source.events.offset_U1.diff().tolist()
    frame = target.read("interactions", ["user", "item"])
    other = target.link_to(source).tolist()
    for user, items in frame.group_by("user").agg(pl.col("item")).rows():
        assert sorted(seen_items(rows, other[user])) == sorted(items)


def test_a_smaller_share_of_the_people_is_part_of_a_larger_one(source, target):
    rows = examples.cross_domain_rows(source, target, "train", 4)
    people = rows.user_R.unique().numel()
    shares = {share: examples.share_of_users(rows, share, Rng(3)) for share in (0.001, 0.3, 0.6, 1)}
    kept = {share: set(some.user_R.tolist()) for share, some in shares.items()}
    assert [len(kept[share]) for share in shares] == [
        1, round(0.3 * people), round(0.6 * people), people,
    ]  # fmt: skip
    assert kept[0.001] < kept[0.3] < kept[0.6] < kept[1]
    assert len(shares[0.6]) == sum(user in kept[0.6] for user in rows.user_R.tolist())
    assert kept[0.3] != set(examples.share_of_users(rows, 0.3, Rng(4)).user_R.tolist())
