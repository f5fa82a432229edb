"""The planted world: repeatable, as large as asked, and as predictable as it says."""

import numpy as np
import polars as pl
import pytest

from recxfer.data.dataset import Dataset
from recxfer.data.examples import next_item_cases
from recxfer.preparing.sources import synthetic
from recxfer.preparing.sources.contract import Request
from recxfer.preparing.sources.synthetic import Synthetic, SyntheticConfig
from recxfer.testing.commands import prepared, pretrained


def make(path, *assignments, **options):
    return Dataset(prepared("synthetic", path, *assignments, **options).path)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make(tmp_path_factory.mktemp("synthetic") / "films")


@pytest.fixture(scope="module")
def books(films):
    return make(films.path.parent / "books", "domain=target", "images=true", links=[films.path])


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    one, two, other = (
        make(tmp_path / name, "users=50", seed=seed)
        for name, seed in (("one", 3), ("two", 3), ("other", 4))
    )
    assert one.info.tables == two.info.tables
    assert one.info.tables != other.info.tables


def events_of(tmp_path, name, **settings):
    folder = tmp_path / name
    folder.mkdir()
    raw = Synthetic(SyntheticConfig(**settings)).read(Request(directory=folder))
    return raw.interactions.collect(), raw.users.collect()


def test_more_people_change_nobody_who_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "CHUNK_USERS", 64)
    few, _ = events_of(tmp_path, "few", users=50)
    many, _ = events_of(tmp_path, "many", users=200)
    people = few["user_id"].unique()
    before = few.group_by("user_id", maintain_order=True).agg(pl.col("item_id").first())
    after = many.filter(pl.col("user_id").is_in(people.implode()))
    after = after.group_by("user_id", maintain_order=True).agg(pl.col("item_id").first())
    assert before["user_id"].equals(after["user_id"])
    assert many["user_id"].n_unique() == 200


def test_lengths_have_the_mean_that_was_asked_for(tmp_path):
    events, people = events_of(tmp_path, "world", users=3000, events_per_user=20)
    assert people.height == 3000
    assert events.height / 3000 == pytest.approx(20, rel=0.08)
    assert events.group_by("user_id").len()["len"].min() >= 3


def test_domains_share_people_and_nothing_else(films, books):
    linked = (books.link_to(films) >= 0).sum()
    assert int(linked) == books.num_users
    assert 0.75 < books.num_users / films.num_users < 0.85
    assert not set(films.item_ids) & set(books.item_ids)
    assert int(films.events.time_E.max()) < int(books.events.time_E.min())


def test_some_people_are_cold_in_the_target(books):
    lengths = books.events.offset_U1.diff()
    cold = float((lengths <= 3).double().mean())
    assert 0.4 < cold < 0.65
    assert int(lengths.min()) >= 1


def test_items_have_text_and_images(books):
    frame = books.read("items", ["item_id", "text", "image"])
    assert frame["text"].n_unique() == frame.height
    assert (frame["text"].str.split(" ").list.len() == 4).all()
    image = (books.path / frame["image"][0]).read_bytes()
    assert image.startswith(b"\x89PNG")


def hit_rate(dataset, scores):
    rows = next_item_cases(dataset, "test", 1)
    hits = 0
    for row in range(len(rows)):
        score_V = scores(int(rows.item_E[rows.start_R[row]]) - 1).copy()
        target = int(rows.target_R[row])
        seen = rows.seen.item_E[rows.seen.start_R[row] : rows.seen.end_R[row]].long() - 1
        best = score_V[target]
        score_V[seen.numpy()] = -np.inf
        score_V[target] = best
        hits += (score_V >= best).sum() <= 10
    return hits / len(rows)


def test_counting_comes_close_to_the_oracle_and_popularity_does_not(films):
    events = films.events
    items, V = events.item_E.numpy() - 1, films.num_items
    train = (events.split_E == 0).numpy()
    follows = train[1:] & train[:-1] & (events.user_E.diff().numpy() == 0)
    count_VV = np.zeros((V, V))
    np.add.at(count_VV, (items[:-1][follows], items[1:][follows]), 1)
    popular_V = np.bincount(items[train], minlength=V) / 1e6
    best = films.info.known_answers["next-item/HR@10"]
    counted = hit_rate(films, lambda last: count_VV[last] + popular_V)
    assert 0.8 * best < counted < best
    assert hit_rate(films, lambda last: popular_V) < 0.4 * best


def test_labels_follow_from_behaviour(films):
    answers = films.info.known_answers
    for label in ("gender", "age"):
        codes, classes = films.labels(label)
        majority = float(np.bincount(codes.numpy()).max() / len(codes))
        assert len(classes) in (2, 4)
        assert majority + 0.3 < answers[f"profile:{label}/accuracy"] <= 1


def test_the_oracle_of_the_other_domain_beats_popularity(books):
    answers = books.info.known_answers
    rows = next_item_cases(books, "test", 1)
    popular = np.bincount(books.events.item_E.numpy() - 1).argsort()[::-1][:10]
    share = np.isin(rows.target_R.numpy(), popular).mean()
    assert answers["cross-domain/HR@10"] > share + 0.05


@pytest.mark.slow
def test_a_small_transformer_reaches_most_of_what_is_possible(films, tmp_path):
    settings = ["width=32", "max_length=50", "num_blocks=1", "dropout=0.1"]
    options = {"epochs": 12, "batch_size": 32, "precision": "fp32"}
    result = pretrained(films.path, tmp_path / "run", *settings, **options)
    assert result.validation["HR@10"] > 0.6 * films.info.known_answers["next-item/HR@10"]
