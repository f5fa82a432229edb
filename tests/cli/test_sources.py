"""`recxfer prepare` with a source by name, by name and path, and with settings of its own."""

import json

import polars as pl
import pytest

from recxfer.testing.commands import answered, recxfer, sets

SMALL = {"users": 40, "items": 30}


def events(dataset):
    frame = pl.read_parquet(dataset / "interactions.parquet")
    frame = frame.join(pl.read_parquet(dataset / "users.parquet"), on="user", maintain_order="left")
    frame = frame.join(pl.read_parquet(dataset / "items.parquet"), on="item", maintain_order="left")
    return frame.select("user_id", "item_id").rows()


def test_settings_of_a_source_have_several_names_and_one_meaning(tmp_path):
    """`[synthetic]`, the name of the section before there was `[source]`, is read for ever."""
    ways = {
        "bare": [f"{key}={value}" for key, value in SMALL.items()],
        "source": [f"source.{key}={value}" for key, value in SMALL.items()],
        "synthetic": [f"synthetic.{key}={value}" for key, value in SMALL.items()],
    }
    found = set()
    for way, assignments in ways.items():
        answered("prepare", "synthetic", tmp_path / way / "toy", *sets(*assignments))
        found.add((tmp_path / way / "toy" / "dataset.json").read_text())
    for section in ("source", "synthetic"):
        file = tmp_path / f"{section}.toml"
        file.write_text(f"[{section}]\nusers = 40\nitems = 30\n")
        answered("prepare", "synthetic", tmp_path / f"{section}-file" / "toy", "--config", file)
        found.add((tmp_path / f"{section}-file" / "toy" / "dataset.json").read_text())
    assert len(found) == 1
    assert json.loads(found.pop())["settings"]["users"] == 40


def test_a_source_without_settings_says_so(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\na,x\nb,y\n")
    told = recxfer(
        "prepare", tmp_path / "log.csv", tmp_path / "toy", "--set", "source.users=3", code=2
    ).stderr
    assert "source.users (--set): unknown key; there are none" in told
    told = recxfer(
        "prepare", tmp_path / "log.csv", tmp_path / "toy", "--set", "synthetic.users=3", code=2
    ).stderr
    assert "unknown section; there are prepare, source" in told


@pytest.mark.parametrize(
    "text", ["u1 x y x\nu2\ty  z\n\nu3 x\n", "u1 x\nu1 y\nu2 y\nu1 x\nu2 z\nu3 x\n"]
)
def test_sequences_of_items_and_pairs_are_the_same_events(tmp_path, text):
    (tmp_path / "Beauty.txt").write_text(text)
    made = answered("prepare", f"sequences:{tmp_path / 'Beauty.txt'}", tmp_path / "toy")
    assert made["events"] == 6
    assert events(tmp_path / "toy") == [
        ("u1", "x"), ("u1", "y"), ("u1", "x"), ("u2", "y"), ("u2", "z"), ("u3", "x"),
    ]  # fmt: skip
    assert json.loads((tmp_path / "toy" / "dataset.json").read_text())["source"] == "Beauty.txt"


def test_a_name_says_what_a_file_is_whatever_its_suffix(tmp_path):
    log = tmp_path / "events.csv"
    log.write_text('{"user": "a", "item": "x"}\n{"user": "b", "item": "y"}\n')
    made = answered("prepare", f"jsonl:{log}", tmp_path / "toy")
    assert (made["users"], made["items"]) == (2, 2)


def test_an_output_inside_what_is_read_is_refused_with_a_name_before_the_path_too(tmp_path):
    dataset = tmp_path / "toy"
    answered("prepare", "synthetic", dataset, "--set", "users=40", "--set", "items=30")
    told = recxfer(
        "prepare", f"parquet:{dataset / 'interactions.parquet'}", dataset, "--overwrite", code=2
    ).stderr
    assert "interactions.parquet" in told
    assert (dataset / "dataset.json").exists()
