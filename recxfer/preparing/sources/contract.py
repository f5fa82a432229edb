"""What every source yields, whatever its format: lazy tables under fixed column names."""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from recxfer.data.schema import SourceFile

IMAGES_FOLDER: Final = "images"
"""Images that a source makes itself: `<directory>/images/`, kept as a part of the dataset."""

RAW_FOLDER: Final = "raw"
"""Tables that a source writes to scan them lazily: `<directory>/raw/`, removed when done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSource:
    """Raw tables, not yet indexed, filtered or split.

    A source that writes files gets a `directory`, the dataset that is being made: what it puts in
    `images/` stays there, what it puts in `raw/` is removed at the end.
    """

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
        """A column as a message names it: `log.csv: column 'when'`."""
        return f"{self.name}: column {self.raw_names.get(column, column)!r}"
