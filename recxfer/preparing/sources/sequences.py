"""Files with one line per user: the user, then the items in order of time, with blanks between.

So are the files of S3-Rec and of the models that take its data (`Beauty.txt`). Files with one pair
of user and item per line, as SASRec's and BERT4Rec's `ml-1m.txt`, are read likewise.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, final

import polars as pl
from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.foundation.errors import DataError
from recxfer.foundation.names import ITEM_ID, USER_ID
from recxfer.preparing.sources.delimited import first_lines, scan_lines
from recxfer.preparing.sources.format import Format


@final
class Sequences(Format[Config]):
    """Read lines of a user and their items, in order of time; they have no times."""

    suffixes: ClassVar[tuple[str, ...]] = ()  # they end in .txt, as delimited files do

    @override
    def scan(self, paths: Sequence[Path], *, header: bool) -> pl.LazyFrame:
        """Scan lines without a header into the columns that `prepare` looks for."""
        for path in paths:
            line = first_lines(path)[0]
            words = line.split()
            if len(words) < 2 or not all(word.isprintable() for word in words):
                raise DataError(
                    f"{path} begins with {line[:80]!r}; expected a user and items, blanks between",
                    hint="files with another separator are read by their path alone",
                )
        word = pl.col("line").str.extract_all(r"\S+")
        return (
            scan_lines(paths)
            .select(word.list.first().alias(USER_ID), word.list.slice(1).alias(ITEM_ID))
            .explode(ITEM_ID)
        )
