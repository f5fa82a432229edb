"""What SOURCE stands for: a name, a name with a path, or a path."""

from pathlib import Path

import pytest

from recxfer.foundation.config import Config
from recxfer.foundation.errors import DataError, UsageError
from recxfer.preparing.sources import SOURCES
from recxfer.preparing.sources.choice import choose
from recxfer.preparing.sources.contract import Request

LOG = "user,item\na,x\n"


def chosen(source, columns=None):
    found = choose(str(source), columns or {})
    assert found.source is SOURCES.resolve(found.name)
    return found.name, found.path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text=LOG):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["movielens-1m", "movielens-100k", "synthetic"])
def test_a_name_alone_is_the_source_even_beside_a_folder_of_that_name(folder, name):
    write(folder / name / "log.csv")
    assert chosen(name) == (name, None)
    assert chosen(f"./{name}") == ("delimited", Path(name))


@pytest.mark.parametrize(
    "file, name",
    [
        ("log.csv", "delimited"),
        ("log.TSV.gz", "delimited"),
        ("ratings", "delimited"),
        ("log.pq", "parquet"),
        ("log.json.zst", "jsonl"),
        ("toy.inter", "atomic"),
    ],
)
def test_a_path_alone_is_recognised_by_its_name(folder, file, name):
    write(folder / file)
    assert chosen(file) == (name, Path(file))


def test_a_name_before_a_path_says_what_it_is(folder):
    write(folder / "events.txt", '{"user": "a", "item": "x"}\n')
    assert chosen("events.txt") == ("delimited", Path("events.txt"))
    assert chosen("jsonl:events.txt") == ("jsonl", Path("events.txt"))
    assert chosen("movielens-1m:some/where.zip") == ("movielens-1m", Path("some/where.zip"))
    assert chosen("delimited:parts/*.x") == ("delimited", Path("parts/*.x"))


def test_a_path_with_a_colon_that_exists_is_a_path(folder):
    write(folder / "parquet:log.csv")
    assert chosen("parquet:log.csv") == ("delimited", Path("parquet:log.csv"))
    write(folder / "C:" / "log.jsonl")
    assert chosen("C:/log.jsonl") == ("jsonl", Path("C:/log.jsonl"))


def test_a_folder_named_like_a_format_is_a_path(folder):
    write(folder / "parquet" / "log.csv")
    assert chosen("parquet") == ("delimited", Path("parquet"))


def test_a_format_needs_a_path(folder):
    with pytest.raises(UsageError, match="not which") as caught:
        choose("jsonl", {})
    assert caught.value.hint == "write jsonl:PATH"
    with pytest.raises(UsageError, match="names no path"):
        choose("jsonl:", {})


def test_a_generated_world_takes_no_path(folder):
    with pytest.raises(UsageError, match="synthetic reads no files") as caught:
        choose("synthetic:world", {})
    assert caught.value.hint == "write synthetic alone"


@pytest.mark.parametrize("source", ["movielens-2m", "movielens-2m:ml-2m.zip"])
def test_a_name_that_is_unknown_is_a_path_where_nothing_is(folder, source):
    choice = choose(source, {})
    with pytest.raises(DataError, match="does not exist") as caught:
        choice.source(Config()).read(Request(directory=folder, path=choice.path))
    assert caught.value.hint == "did you mean 'movielens-1m'?"


def test_a_copy_of_movielens_is_recognised_unless_columns_are_told(folder):
    for name in ("ratings.dat", "movies.dat", "users.dat"):
        write(folder / "ml" / name, "1::2::3::4\n")
    assert chosen("ml") == ("movielens-1m", Path("ml"))
    assert chosen("ml", {"user": "1", "item": "2"}) == ("delimited", Path("ml"))


def test_of_a_folder_only_events_count_where_atomic_files_are(folder):
    write(folder / "data" / "toy.inter")
    write(folder / "data" / "notes.csv")
    assert chosen("data") == ("atomic", Path("data"))
    assert SOURCES.resolve("atomic").files(Path("data")) == [Path("data/toy.inter")]


def test_a_named_format_reads_files_of_any_name_but_those_of_its_own_first(folder):
    delimited = SOURCES.resolve("delimited")
    for name in ("a.part", "b.part", "_SUCCESS"):
        write(folder / "data" / name)
    assert delimited.files(Path("data")) == [Path("data/a.part"), Path("data/b.part")]
    write(folder / "data" / "c.csv")
    assert delimited.files(Path("data")) == [Path("data/c.csv")]
