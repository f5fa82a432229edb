"""Contract of raw sources: what they are asked for, and the lazy tables that they return."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Literal, TypeAlias, TypeVar

import polars as pl

from recxfer.data.schema import SourceFile
from recxfer.foundation.config import Config
from recxfer.foundation.files import sha256_of
from recxfer.preparing.streams import stream_errors

ConfigT = TypeVar("ConfigT", bound=Config)
PathUse: TypeAlias = Literal["required", "optional", "refused"]

IMAGES_FOLDER: Final = "images"
"""Images that a source makes itself: `<directory>/images/`, kept as a part of the dataset."""

RAW_FOLDER: Final = "raw"
"""Tables that a source writes to scan them lazily: `<directory>/raw/`, removed when done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSource:
    """Raw tables, not yet indexed, filtered or split."""

    name: str
    """The source's name, or the raw path's last part; `dataset.json` keeps it."""

    interactions: pl.LazyFrame
    """`user_id`, `item_id` and, where there are any, `timestamp`, `event`, `weight`, in file order.

    Ids may be of any type that prints as text. Times are seconds (or milli-, micro-, nanoseconds:
    told by their size), dates, or text. Further columns may be named by `--where`.
    """

    items: pl.LazyFrame | None = None
    """`item_id` with `text`, `image` or both; image paths are relative to the dataset, or absolute.

    Items without an event are allowed, and left out later."""

    users: pl.LazyFrame | None = None
    """`user_id` and label columns. An Enum column keeps its order of classes, others are sorted."""

    files: tuple[SourceFile, ...] = ()
    """The raw files, in reading order; empty for a generated world."""

    known_answers: dict[str, float] = field(default_factory=dict)
    """Generated worlds: the best possible value of each metric, as `<task>/<metric>`."""

    raw_names: dict[str, str] = field(default_factory=dict)
    """What the source itself calls a column, where that is another name; for messages."""

    def locate(self, column: str) -> str:
        """Name a column in a message: `log.csv: column 'when'`."""
        return f"{self.name}: column {self.raw_names.get(column, column)!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Arguments of `Source.read`."""

    directory: Path
    """The dataset that is being made, for a source that writes files: what it puts in `images/`
    stays there, what it puts in `raw/` is removed at the end."""

    path: Path | None = None
    """The file, folder or glob to read; None where the user wrote the source's name alone."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """`--columns`, by role key; empty for a source that does not take them."""

    seed: int = 0
    """Of a world that the source generates."""


class Source(ABC, Generic[ConfigT]):
    """Read one kind of raw data, which users write as `NAME`, `NAME:PATH` or `PATH`.

    `recxfer.preparing.sources.format.Format` answers most of this for files that are tables.
    """

    config_type: ClassVar[type[Config]] = Config
    """Settings of section `[source]`; the default has none. `dataset.json` keeps their values
    beside those of `prepare`, so that no two may have one name."""

    path: ClassVar[PathUse] = "required"
    """Whether the name stands before a path (`parquet:DIR`), may, or stands alone (`synthetic`)."""

    takes_columns: ClassVar[bool] = False
    """Whether the columns have names that only users know: `--columns`."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether this source reads `path` where a user gives no name.

        Asked in the order of the table, and answered from names and first bytes: the first source
        that says yes is taken.

        Args:
            path: a file or folder that exists.
        """

    @abstractmethod
    def read(self, request: Request) -> RawSource:
        """Describe the raw tables, reading no more than it takes.

        Raises:
            DataError: nothing is there, it is damaged, or it is something else.
        """


AnySource: TypeAlias = Source[Any]
"""A source, whatever its settings."""


def source_file(path: Path) -> SourceFile:
    """Describe a raw file for `dataset.json`: its name and the sha256 of its bytes.

    Raises:
        DataError: it cannot be read.
    """
    with stream_errors(str(path)):
        return SourceFile(name=path.name, sha256=sha256_of(path))
