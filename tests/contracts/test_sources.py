"""Every line of `SOURCES` keeps the contract of a source."""

import json
import re
import zipfile
from pathlib import Path

import polars as pl
import pytest

from recxfer.preparing.sources import SOURCES
from recxfer.testing.source_contract import SourceContract

ROWS = [("a", "x", 1), ("a", "y", 2), ("b", "y", 1), ("b", "x", 3), ("b", "z", 4)]
NAMES = ("user", "item", "time")
MOVIES = "1::A (1990)::Drama\n2::B (1991)::War\n"


def movielens_1m(folder):
    """The zip from GroupLens."""
    path = folder / "ml-1m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-1m/ratings.dat", "1::1::5::10\n1::2::3::11\n2::2::4::9\n2::1::1::10\n")
        archive.writestr("ml-1m/movies.dat", MOVIES)
        archive.writestr("ml-1m/users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n")
    return path


def movielens_100k(folder):
    """The folder from GroupLens."""
    path = folder / "ml-100k"
    path.mkdir()
    flags = "|".join("0" for _ in range(19))
    (path / "u.data").write_text("1\t1\t5\t10\n1\t2\t3\t11\n2\t2\t4\t9\n2\t1\t1\t10\n")
    (path / "u.item").write_text(f"1|A (1990)|||x|{flags}\n2|B (1991)|||y|{flags}\n")
    (path / "u.user").write_text("1|24|M|writer|55105\n2|53|F|other|94043\n")
    return path


def lines(separator, header=NAMES):
    return "".join(separator.join(map(str, row)) + "\n" for row in [header, *ROWS])


def written(name, text):
    def write(folder):
        path = folder / name
        path.write_text(text)
        return path

    return write


def parquet(folder):
    path = folder / "log.parquet"
    pl.DataFrame(ROWS, schema=NAMES, orient="row").write_parquet(path)
    return path


MINIATURES = {
    "movielens-1m": movielens_1m,
    "movielens-100k": movielens_100k,
    "synthetic": lambda folder: None,
    "delimited": written("log.csv", lines(",")),
    "parquet": parquet,
    "jsonl": written(
        "log.jsonl",
        "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ROWS),
    ),
    "atomic": written("log.inter", lines("\t", ["user_id:token", "item_id:token", "time:float"])),
    "sequences": written("log.txt", "a x y\nb y x z\n"),
}

BY_NAME_ONLY = {"sequences"}
"""Sources whose files look like those of another."""


@pytest.mark.parametrize("name", SOURCES.names)
class TestSources(SourceContract):
    @pytest.fixture(autouse=True)
    def chosen(self, name):
        self.source = SOURCES.resolve(name)
        self.recognised = name not in BY_NAME_ONLY
        self.write = MINIATURES[name]


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "add-a-source.md"
_written: dict[str, object] = {}
for _block in re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
    exec(_block, _written)


class TestTheSourceOfTheGuide(_written["TestArrow"]):
    """The example of `docs/guides/add-a-source.md`, as it stands there."""
