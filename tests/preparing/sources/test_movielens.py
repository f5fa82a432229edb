"""MovieLens: both of GroupLens' formats, and the way to the wheel."""

import zipfile
from pathlib import Path

import polars as pl
import pytest

from recxfer.foundation.config import Config
from recxfer.foundation.errors import DataError
from recxfer.foundation.files import sha256_of
from recxfer.preparing.sources import download
from recxfer.preparing.sources.contract import Request
from recxfer.preparing.sources.download import Wheel, cache_directory, fetch
from recxfer.preparing.sources.movielens import MovieLens1M, MovieLens100K

ML_1M = {
    "ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
    "movies.dat": "1193::Café, The (1975)::Drama|War\n661::James (1996)::Children's\n",
    "users.dat": "1::F::1::10::48067\n2::M::56::16::70072-1234\n",
}
FLAGS = "|".join("1" if genre in {5, 8} else "0" for genre in range(19))
ML_100K = {
    "u.data": "196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
    "u.item": f"242|Kolya (1996)|24-Jan-1997||http://x|{FLAGS}\n302|L.A. (1997)|||y|{FLAGS}\n",
    "u.user": "196|49|M|writer|55105\n186|17|F|executive|00000\n",
}


def read(source, path=None):
    return source(Config()).read(Request(directory=Path("unused"), path=path))


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("latin-1"))
    return folder


def test_ml_1m_in_grouplens_format(tmp_path):
    source = read(MovieLens1M, write(tmp_path, ML_1M))
    assert source.name == "movielens-1m"
    events = source.interactions.collect()
    assert events.select("user_id", "item_id", "weight", "timestamp").rows() == [
        ("1", "1193", 5.0, 978300760),
        ("2", "661", 3.0, 978302109),
    ]
    assert source.items.collect()["text"].to_list() == [
        "Café, The (1975) Drama War",
        "James (1996) Children's",
    ]
    assert source.users.collect().rows() == [
        ("1", "F", "under 18", "K-12 student"),
        ("2", "M", "56+", "self-employed"),
    ]
    assert [file.name for file in source.files] == ["movies.dat", "ratings.dat", "users.dat"]


def test_ml_100k_in_grouplens_format(tmp_path):
    source = read(MovieLens100K, write(tmp_path, ML_100K))
    assert source.name == "movielens-100k"
    assert source.items.collect()["text"].to_list() == [
        "Kolya (1996) Comedy Drama",
        "L.A. (1997) Comedy Drama",
    ]
    assert source.users.collect().rows() == [
        ("196", "M", "45-49", "writer"),
        ("186", "F", "under 18", "executive"),
    ]


def test_age_bands_keep_their_order(tmp_path):
    ages = read(MovieLens1M, write(tmp_path, ML_1M)).users.collect()["age"]
    assert ages.dtype == pl.Enum(["under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+"])


def test_a_zip_is_read_like_its_folder(tmp_path):
    folder = write(tmp_path / "ml-1m", ML_1M)
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        for name in ML_1M:
            archive.write(folder / name, f"ml-1m/{name}")
    one, other = (read(MovieLens1M, path) for path in (folder, tmp_path / "ml-1m.zip"))
    assert one.interactions.collect().equals(other.interactions.collect())
    assert [file.name for file in other.files] == ["ml-1m.zip"]


def test_other_folders_are_no_movielens(tmp_path):
    folder = write(tmp_path, {"ratings.dat": "1::1::1::1\n"})
    assert not MovieLens1M.recognises(folder)
    with pytest.raises(DataError, match="does not hold movielens-1m"):
        read(MovieLens1M, folder)


def test_each_set_knows_its_own_copies(tmp_path):
    folders = {MovieLens1M: write(tmp_path / "1m", ML_1M), MovieLens100K: write(tmp_path, ML_100K)}
    for source in folders:
        assert [other for other, path in folders.items() if source.recognises(path)] == [source]


def test_the_cache_directory_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("RECXFER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "recxfer"
    monkeypatch.setenv("RECXFER_CACHE", str(tmp_path / "own"))
    assert cache_directory() == tmp_path / "own"


def test_what_lies_in_the_cache_is_taken_first(tmp_path, monkeypatch):
    monkeypatch.setenv("RECXFER_CACHE", str(tmp_path))
    write(tmp_path / "ml-1m", ML_1M)
    assert read(MovieLens1M).interactions.collect().height == 2
    write(tmp_path / "ml-100k", {"readme.txt": ""})
    with pytest.raises(DataError, match="does not hold movielens-100k"):
        read(MovieLens100K)


def no_registry(monkeypatch):
    def run(command, **_):
        assert "download" in command
        return download.subprocess.CompletedProcess(
            command, 1, "", "WARNING: retrying\nERROR: No matching distribution found\n"
        )

    monkeypatch.setattr(download.subprocess, "run", run)


def test_without_a_registry_the_error_names_the_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv("RECXFER_CACHE", str(tmp_path))
    no_registry(monkeypatch)
    with pytest.raises(DataError, match="No matching distribution found") as caught:
        read(MovieLens1M)
    assert "synthetic" in caught.value.hint
    assert "ml-1m.zip" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def serve(monkeypatch, name, data):
    def run(command, **_):
        folder = command[command.index("--dest") + 1]
        with open(f"{folder}/{name}", "wb") as file:  # noqa: PTH123 - a path in a string
            file.write(data)
        return download.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(download.subprocess, "run", run)


def test_a_download_is_verified_cached_and_then_reused(tmp_path, monkeypatch):
    monkeypatch.setenv("RECXFER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "original").write_bytes(b"wheel")
    wheel = Wheel("toy==1", "toy-1.whl", sha256_of(tmp_path / "original"))
    serve(monkeypatch, "toy-1.whl", b"wheel")
    assert fetch(wheel, hint="").read_bytes() == b"wheel"
    no_registry(monkeypatch)
    assert fetch(wheel, hint="").read_bytes() == b"wheel"


def test_a_wrong_download_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("RECXFER_CACHE", str(tmp_path / "cache"))
    serve(monkeypatch, "toy-1.whl", b"something else")
    with pytest.raises(DataError, match="expected 00"):
        fetch(Wheel("toy==1", "toy-1.whl", "00"), hint="")
    assert not (tmp_path / "cache" / "toy-1.whl").exists()
